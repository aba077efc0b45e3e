//! Shows where an agent is at work, as long as it is.

use std::time::Duration;

use model::{SessionId, TurnId};

use crate::App;

/// How often it is shown again: networks forget it after a few seconds.
const AGAIN: Duration = Duration::from_secs(4);
/// How soon it is looked again whether work has begun, as long as nothing was shown: at first quickly.
const SOON: (Duration, Duration) = (Duration::from_millis(100), AGAIN);
/// The longest that it is shown for one turn.
const LONGEST: Duration = Duration::from_secs(1800);

impl App {
    /// Shows that an agent writes while its turn is worked on, and not while it waits.
    pub(crate) fn show_typing(&self, turn: &TurnId, session: &SessionId) {
        let (app, turn, session) = (self.clone(), turn.clone(), session.clone());
        self.spawn(async move {
            let cancel = app.cancel().clone();
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = tokio::time::timeout(LONGEST, app.type_while(&turn, &session)) => {}
            }
        });
    }

    async fn type_while(&self, turn: &TurnId, session: &SessionId) {
        let Ok(Some(asker)) = self.store().asker(turn).await else { return };
        let place = wire::chat::Address { chat: asker.chat, thread: asker.thread };
        let (mut is_shown, mut soon) = (false, SOON.0);
        while let Ok(row) = self.store().turn(turn).await {
            if row.state.is_final() {
                break;
            }
            let is_at_work = row.state == model::TurnState::Running && self.live(session).is_some_and(|live| !live.waits.stands());
            if is_at_work || is_shown {
                self.type_at(&asker.channel, place.clone(), is_at_work);
            }
            is_shown = is_at_work;
            tokio::time::sleep(if is_shown { AGAIN } else { soon }).await;
            soon = (soon * 2).min(SOON.1);
        }
        if is_shown {
            self.type_at(&asker.channel, place, false);
        }
    }
}
