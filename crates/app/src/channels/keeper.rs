//! Keeps the programs of channels running: each by itself, begun again after a rest when it ends.

use std::sync::Arc;
use std::time::Duration;

use model::{Code, Failure};
use tokio::time::Instant;
use wire::chat::Health;

use super::talk::Talk;
use super::{Desk, IT_CONNECTS, launch, web};
use crate::live::lock;
use crate::{App, now};

/// The first and the longest rest between two starts.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long a program must have run for its next start to rest as after the first.
const STEADY: Duration = Duration::from_secs(120);
/// How often old messages and deliveries are looked through for those that go.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// How often a channel that could not be begun for want of a credential looks again.
const ENDED_WAIT: Duration = Duration::from_secs(10);

/// What a person must mend before a channel's program can begin.
fn health_of(failure: &Failure) -> Option<Health> {
    match failure.code {
        Code::KeyMissing => Some(Health::Credential),
        Code::ConfigInvalid => Some(Health::Configuration),
        _ => None,
    }
}

impl App {
    /// Begins every channel that is switched on and this daemon's to run.
    pub(crate) async fn open_channels(&self) -> Result<(), Failure> {
        for row in self.store().list_channels(None).await.map_err(|e| e.failure())? {
            // A page and a terminal are served by every daemon.
            if row.is_on && (row.host.as_deref() == self.store().replica() || web::is_own(&row.name)) {
                self.begin_channel(&row.name);
            }
        }
        let app = self.clone();
        self.spawn(async move {
            let cancel = app.cancel().clone();
            tokio::select! {
                () = cancel.cancelled() => {}
                () = app.forget_chat_logs() => {}
            }
        });
        Ok(())
    }

    /// Keeps a channel running from now on.
    pub(super) fn begin_channel(&self, name: &str) {
        if self.board().desk(name).is_some() {
            return;
        }
        let desk = Arc::new(Desk::new(name, self.cancel()));
        self.board().put(name, Arc::clone(&desk));
        let app = self.clone();
        self.spawn(async move {
            tokio::select! {
                () = desk.cancel.cancelled() => {}
                () = app.keep_channel(&desk) => {}
            }
            *lock(&desk.orders) = None;
            desk.gone.cancel();
        });
    }

    /// Keeps a channel running no more, and waits until its program is gone.
    pub(super) async fn end_channel(&self, name: &str) {
        let Some(desk) = self.board().take(name) else { return };
        desk.cancel.cancel();
        desk.gone.cancelled().await;
    }

    async fn keep_channel(&self, desk: &Arc<Desk>) {
        let mut rest = REST.0;
        loop {
            let began = Instant::now();
            let ended = Box::pin(self.run_channel(desk)).await;
            *lock(&desk.orders) = None;
            if began.elapsed() >= STEADY {
                rest = REST.0;
            }
            let (health, why) = match ended {
                Ok(()) => (None, "its program ended".to_owned()),
                Err(failure) => (health_of(&failure), self.secrets().clean(failure.message)),
            };
            {
                // What a person must mend stays the reason until it is mended.
                let stays = health.is_none() && desk.waits_for_a_person();
                let mut state = lock(&desk.state);
                state.restarts = state.restarts.saturating_add(1);
                // A program that could not begin may have said why.
                let said = (health.is_none() && state.health == Some(Health::Connecting)).then(|| state.message.clone());
                if !stays {
                    state.health = health;
                    state.message = match said.filter(|said| !said.is_empty() && said != IT_CONNECTS) {
                        Some(said) => format!("{why}: {said}"),
                        None => why.clone(),
                    };
                }
            }
            tracing::warn!(channel = desk.name, why, rest_s = rest.as_secs(), "a channel ended and begins again after a rest");
            // Up to a quarter more, so that what fell together does not rise together.
            let spread = rest.mul_f64(f64::from((crate::clock::fresh_bits() & 0xff) as u8) / 1024.0);
            tokio::time::sleep(rest + spread).await;
            rest = (rest * 2).min(REST.1);
        }
    }

    /// Runs a channel's program once.
    async fn run_channel(&self, desk: &Arc<Desk>) -> Result<(), Failure> {
        let row = self.store().channel(&desk.name).await.map_err(|e| e.failure())?;
        if web::is_own(&row.name) {
            return self.run_web(desk, &row).await;
        }
        let process = self.launch_channel(&row).await?;
        let broker::plugin::Process { input, output, running } = process;
        let talked = Talk::new(self, desk, row).run(input, output).await;
        let words = running.last_words();
        let _ = tokio::time::timeout(ENDED_WAIT, running.end()).await;
        if !words.trim().is_empty() {
            let words: String = words.lines().last().unwrap_or_default().chars().take(300).collect();
            tracing::info!(channel = desk.name, words, "the last words of a channel");
        }
        talked
    }

    /// Shows in a chat that somebody writes, or no longer. A channel that is busy or away shows nothing.
    pub(crate) fn type_at(&self, channel: &str, to: wire::chat::Address, on: bool) {
        if let Some(desk) = self.board().desk(channel) {
            let _ = desk.order(super::Order::Typing { to, on });
        }
    }

    /// The trees in which channels that are there keep files, whether they run or not.
    pub(crate) async fn channel_trees(&self) -> Result<Vec<model::TreeId>, Failure> {
        let rows = self.store().list_channels(None).await.map_err(|e| e.failure())?;
        Ok(rows.iter().map(|row| launch::channel_tree(&row.name)).collect())
    }

    async fn forget_chat_logs(&self) {
        loop {
            let keep = u64::try_from(self.settings().channels.keep.as_millis()).unwrap_or(u64::MAX);
            let before = model::Timestamp(now().0.saturating_sub(keep));
            loop {
                match self.store().forget_chat_log(before).await {
                    Ok(gone) if gone >= store::OUTBOX_AT_ONCE => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(error = model::chain(&error), "what was said long ago was not removed");
                        break;
                    }
                }
            }
            self.sweep_inbox_files().await;
            self.sweep_out_files().await;
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }
}
