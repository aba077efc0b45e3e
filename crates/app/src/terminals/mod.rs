//! Terminals: programs of sessions that a person uses as if they were here.
//!
//! A terminal is a turn. It waits for its place, is leased and metered, and ends with a result and a checkpoint like any other; only its
//! engine talks with a person instead of with us. The program goes on when nobody looks. Whoever comes sees its screen as it is; the first
//! who comes types, all others watch.

mod cell;
mod desk;
mod forms;
mod grid;
mod launch;
mod parse;
mod screen;
mod work;

pub use desk::{Attached, carry};
pub(crate) use desk::{Closing, Terminals};
pub(crate) use forms::form_of;
pub use forms::{AttachForm, TerminalForm, TerminalView};
pub use screen::{RESET as TERMINAL_RESET, Screen, Taken};
pub(crate) use work::work;

use std::time::Duration;

/// Output is drawn in pieces of this size, with a look at the clock between them.
pub(crate) const PIECE_BYTES: usize = 1 << 10;
/// A piece that took longer than this is followed by a pause.
const DRAWN_AT_ONCE: Duration = Duration::from_millis(1);

/// Three times as long as drawing a piece took: no program makes the daemon draw all the time.
pub(crate) async fn pause(took: Duration) {
    if took > DRAWN_AT_ONCE {
        tokio::time::sleep(took * 3).await;
    }
}
