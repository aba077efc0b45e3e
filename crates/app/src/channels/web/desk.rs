//! The account's own part: what is owed is settled at once, and files that came along are given over.

use std::time::Duration;

use model::Failure;
use store::{ChannelRow, OutOutcome};
use tokio::sync::mpsc;
use wire::chat::{Abilities, CHAT_FILE_BYTES_MAX, CHAT_PIECE_BYTES_MAX, Health, Who};

use super::whose;
use crate::channels::Desk;
use crate::clock::wait_until;
use crate::{App, now};

/// Characters of one message: both show long ones.
const TEXT_CHARS_MAX: u32 = 100_000;
/// How long the next look takes when nothing is owed and nobody says that something is.
const LOOK: Duration = Duration::from_secs(60);

/// Who the account is.
pub(super) fn me() -> Who {
    Who { id: "lazaret".to_owned(), name: "Lazaret".to_owned(), bot: true }
}

/// What the page and the terminal can show.
pub(super) fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_CHARS_MAX,
        file_max: CHAT_FILE_BYTES_MAX,
        edit: true,
        react: true,
        buttons: true,
        open_dm: true,
        idempotent: true,
        ..Abilities::default()
    }
}

impl App {
    /// Keeps the account: whatever becomes owed is there to be read from then on.
    pub(in crate::channels) async fn run_web(&self, desk: &Desk, row: &ChannelRow) -> Result<(), Failure> {
        let store = self.store();
        let told = (serde_json::json!(me()), serde_json::json!(abilities()));
        store.channel_ready(&row.name, told.0, told.1).await.map_err(|e| e.failure())?;
        store.release_out(&row.name, now()).await.map_err(|e| e.failure())?;
        self.go_on_hosting(&row.name);
        self.tell_of_admissions(&row.name);
        desk.tell(Some(Health::Well), "served by this daemon");
        loop {
            self.settle_web(&row.name).await?;
            let due = store.next_out(&row.name).await.map_err(|e| e.failure())?;
            tokio::select! {
                () = desk.wake.notified() => {}
                () = async { match due { Some(due) => wait_until(due).await, None => tokio::time::sleep(LOOK).await } } => {}
            }
        }
    }

    /// Settles what is due. The identity of a delivery is that of the message: settled twice, it is the same message.
    async fn settle_web(&self, channel: &str) -> Result<(), Failure> {
        loop {
            let rows = self.store().claim_out(channel, store::OUTBOX_AT_ONCE, now()).await.map_err(|e| e.failure())?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                // Files stay as long as the message can be read.
                let sent = OutOutcome::Sent(vec![row.id.to_string()], now());
                self.store().out_tried(&row.id, sent, now()).await.map_err(|e| e.failure())?;
                self.board().web.changed(whose(&row.chat));
            }
        }
    }

    /// Gives over a file that came along, piece by piece.
    pub(in crate::channels) fn give_web_file(&self, id: &str, pieces: mpsc::Sender<Result<(Vec<u8>, bool), String>>) -> Result<(), String> {
        let bytes = self.board().web.file(id).ok_or("it is no longer held: send it again")?;
        self.spawn(async move {
            let mut rest = bytes;
            loop {
                let piece = rest.split_to(rest.len().min(CHAT_PIECE_BYTES_MAX));
                let last = rest.is_empty();
                if pieces.send(Ok((piece.to_vec(), last))).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(())
    }
}
