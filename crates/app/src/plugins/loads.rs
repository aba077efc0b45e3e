//! When plugins are loaded: at the daemon's start, when they or their credentials change, and again when they failed. Never in the hands of
//! whoever only waits for it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use model::{Code, Failure};
use tokio::sync::Notify;

use super::book::{Entry, How};
use super::{Category, PluginState};
use crate::App;
use crate::live::lock;

/// How long the owner waits for the plugins of a daemon that has just started.
pub(crate) const SETTLE_MAX: Duration = Duration::from_secs(180);
/// How long the work of an agent does.
pub(crate) const SETTLE_AGENT: Duration = Duration::from_secs(30);
/// How often plugins are tried again whose program failed.
const RETRY_EVERY: Duration = Duration::from_secs(60);

/// Plugins whose credentials have changed.
#[derive(Default)]
pub(crate) struct Touched {
    names: Mutex<BTreeSet<String>>,
    changed: Notify,
}

impl Touched {
    /// A secret was set or removed.
    pub(crate) fn secret(&self, name: &str) {
        let Some(plugin) = name.strip_prefix("plugin.").and_then(|rest| rest.split('.').next()) else { return };
        lock(&self.names).insert(plugin.to_owned());
        self.changed.notify_one();
    }
}

impl App {
    /// Loads all plugins for the first time, and from then on each whose credentials change.
    pub(crate) fn open_plugins(&self) {
        let app = self.clone();
        self.spawn(async move {
            let cancel = app.cancel().clone();
            let work = async {
                if let Err(failure) = app.load_plugins(None, How::Changed).await {
                    tracing::error!(%failure, "the plugins were not loaded");
                }
                app.book().settled.send_replace(true);
                app.doors().open_tools();
                loop {
                    tokio::select! {
                        () = app.book().touched.changed.notified() => app.load_touched().await,
                        () = tokio::time::sleep(RETRY_EVERY) => app.try_again().await,
                    }
                }
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
            app.book().close();
        });
    }

    /// Waits until the plugins of a daemon that has just started were looked at, and those whose credentials have changed.
    pub(crate) async fn plugins_settled(&self, limit: Duration) {
        let mut settled = self.book().settled.subscribe();
        let wait = async {
            let _ = settled.wait_for(|settled| *settled).await;
            self.load_touched().await;
        };
        tokio::select! {
            // They never will be.
            () = self.cancel().cancelled() => {}
            waited = tokio::time::timeout(limit, wait) => if waited.is_err() {
                tracing::warn!("the plugins are not loaded yet");
            },
        }
    }

    /// Loads plugins again whose program failed: what it needs may be there now.
    async fn try_again(&self) {
        let failed = |(name, entry): (String, Entry)| {
            let passes = matches!(entry.category(), Some(Category::Internal | Category::Network));
            (entry.state == PluginState::Failed && passes).then_some(name)
        };
        for name in self.book().entries().into_iter().filter_map(failed) {
            if let Err(failure) = self.load_plugins(Some(&name), How::Again).await {
                tracing::debug!(name, %failure, "a plugin was not loaded again");
            }
        }
        // Trouble that comes and goes is told too.
        self.tell_health();
    }

    /// Loads those whose credentials have changed. Whoever waits may go away: it is done to its end.
    async fn load_touched(&self) {
        let app = self.clone();
        let load = async move {
            // Taken by whoever loads them: a second one who finds none knows that they are loaded.
            let _one = app.book().change.lock().await;
            let names = std::mem::take(&mut *lock(&app.book().touched.names));
            for name in names {
                if let Err(failure) = app.load_alone(Some(&name), How::Again).await {
                    tracing::debug!(name, %failure, "credentials of no plugin have changed");
                }
            }
            Ok(())
        };
        if let Err(failure) = self.see_loaded(load).await {
            tracing::debug!(%failure, "changed credentials wait for the next start");
        }
    }

    /// Loads one plugin or all again, to the end, also when whoever asked goes away. What runs comes to its end on what it began with.
    pub(crate) async fn load_plugins(&self, only: Option<&str>, how: How) -> Result<(), Failure> {
        let (app, only) = (self.clone(), only.map(str::to_owned));
        let load = async move {
            let _one = app.book().change.lock().await;
            app.load_alone(only.as_deref(), how).await
        };
        self.see_loaded(load).await
    }

    /// Loads to the end, or to the daemon's.
    async fn see_loaded(&self, load: impl Future<Output = Result<(), Failure>> + Send + 'static) -> Result<(), Failure> {
        let cancel = self.cancel().clone();
        let ends = || Err(Failure::new(Code::PluginUnavailable, "the daemon ends"));
        self.see_through(async move { cancel.run_until_cancelled(load).await.unwrap_or_else(ends) }).await
    }
}
