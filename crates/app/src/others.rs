//! Other daemons on the same database: what they change is heard here, and what they leave behind is ended.
//!
//! Files and sandboxes stay on the machine that made them, so each session belongs to one daemon; all of them can be asked
//! about all of it. Nothing here looks again and again: the database tells.

use std::time::Duration;

use model::{Code, Failure, SessionId, TurnEvent};
use store::{Change, Changes, StoreError, Topic};

use crate::{App, turn};

/// How often it is looked for daemons that went away.
const LOOK: Duration = Duration::from_secs(5);

impl App {
    /// Hears what other daemons change, until the end. Where there are none, nothing is done.
    pub(crate) fn hear_others(&self) {
        let Some(changes) = self.store().changes() else { return };
        let app = self.clone();
        self.spawn(async move {
            let cancel = app.cancel().clone();
            cancel.run_until_cancelled(app.hear(changes)).await;
        });
        let app = self.clone();
        self.spawn(async move {
            let cancel = app.cancel().clone();
            cancel.run_until_cancelled(app.end_lost()).await;
        });
    }

    async fn hear(&self, mut changes: Changes) {
        while let Some(change) = changes.next().await {
            match change {
                Change::Session(session) => self.wake_followers(&session),
                Change::Inbox(session) => {
                    self.wake_followers(&session);
                    self.look_into(&session).await;
                }
                Change::Cancel(session) => {
                    if let Some(live) = self.live(&session) {
                        live.cancel_turn();
                    }
                }
                Change::Topic(topic) => self.heard_of(topic).await,
                Change::Any => self.look_at_all().await,
            }
        }
    }

    async fn heard_of(&self, topic: Topic) {
        match topic {
            Topic::Jobs => {
                self.desk_of_jobs().others_changed();
                self.drop_lost_jobs().await;
            }
            Topic::Tasks => self.wake_tasks(),
            Topic::Webhooks => self.wake_webhooks(),
            Topic::Approvals => self.approvals().others_changed(),
            Topic::Questions => self.live_sessions().iter().for_each(|live| live.answered.notify_waiters()),
            Topic::Access => {
                self.rights_changed();
                self.raised().send_modify(|n| *n += 1);
            }
            // Read anew at each use.
            Topic::Configs | Topic::Sessions => {}
        }
    }

    /// The way to the database was lost for a while.
    async fn look_at_all(&self) {
        self.wake_all_followers();
        for topic in [Topic::Jobs, Topic::Tasks, Topic::Webhooks, Topic::Approvals, Topic::Questions, Topic::Access] {
            self.heard_of(topic).await;
        }
        match self.store().unfinished_turns().await {
            Ok(open) => {
                for turn in open {
                    self.look_into(&turn.session).await;
                }
            }
            Err(error) => tracing::warn!(error = model::chain(&error), "what is to be done cannot be read"),
        }
    }

    /// Another daemon took a message for a session, or a part of its work ended.
    async fn look_into(&self, session: &SessionId) {
        if let Some(live) = self.live(session) {
            live.wake.notify_one();
            return;
        }
        match self.store().session_elsewhere(session).await {
            Ok(None) => {
                if let Err(failure) = self.bring(session, None, None).await {
                    tracing::warn!(%session, %failure, "a session cannot be worked on");
                }
            }
            Ok(Some(_)) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => tracing::warn!(%session, error = model::chain(&error), "where a session is cannot be read"),
        }
    }

    /// Lets go of jobs that another daemon has stopped.
    async fn drop_lost_jobs(&self) {
        for id in self.desk_of_jobs().at_work() {
            if self.store().job(&id).await.is_ok_and(|job| job.state.is_final()) {
                self.desk_of_jobs().stop(&id);
            }
        }
    }

    /// Ends the turns of daemons that went away, whoever of those who are left comes first.
    async fn end_lost(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let lost = match self.store().lost_turns().await {
                Ok(lost) => lost,
                Err(error) => {
                    tracing::warn!(error = model::chain(&error), "it cannot be read which daemons went away");
                    continue;
                }
            };
            for row in lost {
                let why = "the daemon that has this session's files went away";
                let record = turn::ended_unrun(&row, TurnEvent::Fail, Code::HostLost, why);
                match self.store().record(record).await {
                    Ok(events) => {
                        tracing::warn!(turn = %row.id, session = %row.session, "a turn is ended: its daemon went away");
                        self.publish(&row.session, &events);
                    }
                    // Another daemon was quicker, or the one that was lost is back.
                    Err(StoreError::Conflict(_) | StoreError::StaleFence { .. } | StoreError::Transition { .. }) => {}
                    Err(error) => tracing::warn!(turn = %row.id, error = model::chain(&error), "a turn cannot be ended"),
                }
            }
        }
    }

    /// Refuses what only the daemon that has a session's files can do.
    ///
    /// # Errors
    /// It is another one (`CONFLICT`).
    pub(crate) async fn check_here(&self, session: &SessionId) -> Result<(), Failure> {
        match self.store().session_elsewhere(session).await.map_err(|e| e.failure())? {
            None => Ok(()),
            Some(replica) => Err(Failure::new(Code::Conflict, format!("the files of session {session} are on another machine"))
                .hint(format!("ask replica {replica}"))),
        }
    }
}
