//! Other daemons on the same database: what they change is heard here, and what they leave behind is ended.
//!
//! Files and sandboxes stay on the machine that made them, so each session belongs to one daemon; all of them can be asked
//! about all of it. Nothing here looks again and again: the database tells.

use std::process::Stdio;
use std::time::Duration;

use model::{Code, Failure, SessionId, TurnEvent};
use store::{Change, Changes, StoreError, Topic};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::App;
use crate::live::Live;

/// How long a neighbour's daemon may take to come up before the next one is looked at.
const RAISE_WAIT: Duration = Duration::from_secs(30);
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
                        self.cancel_begun(&live).await;
                    }
                }
                Change::Topic(topic) => self.heard_of(topic).await,
                Change::Any => self.look_at_all().await,
            }
        }
    }

    /// Ends what another daemon was asked to end: those that wait are ended by it.
    async fn cancel_begun(&self, live: &Live) {
        match self.store().open_turns(&live.id).await {
            Ok(open) => {
                let begun = open.into_iter().filter(|turn| turn.state != model::TurnState::Queued);
                begun.for_each(|turn| live.cancel_turn(turn.id));
            }
            Err(error) => {
                tracing::warn!(session = %live.id, error = model::chain(&error), "what is to end cannot be read");
                live.cancel_now();
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
            // Read anew at each use; what was made ahead may be of no use any more.
            Topic::Configs => {
                if let Err(failure) = self.skills_changed().await {
                    tracing::warn!(%failure, "it cannot be read which skills are in force");
                }
                self.pool().changed();
            }
            Topic::Sessions => {}
            Topic::Secrets => {
                if let Err(failure) = self.read_secrets_again().await {
                    tracing::warn!(%failure, "the secrets as another daemon left them cannot be read: those from before stay in force");
                }
            }
        }
    }

    /// The way to the database was lost for a while.
    async fn look_at_all(&self) {
        self.wake_all_followers();
        for topic in
            [Topic::Secrets, Topic::Jobs, Topic::Tasks, Topic::Webhooks, Topic::Approvals, Topic::Questions, Topic::Access, Topic::Configs]
        {
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
    pub(crate) async fn look_into(&self, session: &SessionId) {
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
            self.raise_neighbours().await;
            let lost = match self.store().lost_turns().await {
                Ok(lost) => lost,
                Err(error) => {
                    tracing::warn!(error = model::chain(&error), "it cannot be read which daemons went away");
                    continue;
                }
            };
            for row in lost {
                let why = "the daemon that has this session's files went away";
                let record = crate::stops::ended_unrun(&row, TurnEvent::Fail, Code::HostLost, why);
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

    /// Starts the daemons of this machine again that were killed: each takes up the sandboxes that run in its home, and ends when it
    /// has nothing to do. One whose daemon only was silent finds it up, and leaves.
    async fn raise_neighbours(&self) {
        let killed = match self.store().killed_neighbours().await {
            Ok(killed) => killed,
            Err(error) => {
                tracing::warn!(error = model::chain(&error), "it cannot be read which neighbours were killed");
                return;
            }
        };
        for home in killed {
            // Not ended with this daemon: it is the other home's.
            let started = tokio::process::Command::new(self.program())
                .args(["up", "--on-demand"])
                .env("LAZARET_HOME", &home)
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let mut child = match started {
                Ok(child) => child,
                Err(error) => {
                    tracing::warn!(home = %home.display(), %error, "the daemon of a neighbour's home cannot be started");
                    continue;
                }
            };
            tracing::warn!(home = %home.display(), "a neighbour's daemon was killed: another one is started there");
            let mut said = String::new();
            if let Some(out) = child.stdout.take() {
                // One line says that it is up; it says nothing where another one is.
                let _ = tokio::time::timeout(RAISE_WAIT, BufReader::new(out).read_line(&mut said)).await;
            }
            let cancel = self.cancel().clone();
            self.spawn(async move {
                cancel.run_until_cancelled(child.wait()).await;
            });
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
