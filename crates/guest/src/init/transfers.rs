//! Trees on their way in or out.

use std::collections::BTreeMap;
use std::path::Path;

use wire::{FromGuest, Trouble};

use crate::channel::Channel;
use crate::tar::{Pack, Unpack};

/// Transfers at once.
pub(crate) const TRANSFERS_MAX: usize = 16;

/// The size of the pieces that a tree is sent in.
const PIECE_BYTES: usize = 128 << 10;

#[derive(Debug)]
enum Transfer {
    In(Box<Unpack>),
    Out(Box<Pack>),
}

/// All transfers.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    running: BTreeMap<u32, Transfer>,
}

impl Transfers {
    pub(crate) fn put(&mut self, stream: u32, path: &str) -> Result<(), Trouble> {
        self.place(stream)?;
        let unpack = Unpack::new(Path::new(path)).map_err(|e| trouble(e.errno(), &e))?;
        self.running.insert(stream, Transfer::In(Box::new(unpack)));
        Ok(())
    }

    pub(crate) fn get(&mut self, stream: u32, path: &str) -> Result<(), Trouble> {
        self.place(stream)?;
        let pack = Pack::new(Path::new(path)).map_err(|e| trouble(e.errno(), &e))?;
        self.running.insert(stream, Transfer::Out(Box::new(pack)));
        Ok(())
    }

    /// Unpacks a piece. After a failure the stream is forgotten, and what still comes for it is dropped.
    pub(crate) fn data(&mut self, stream: u32, bytes: &[u8]) -> Result<(), Trouble> {
        let Some(Transfer::In(unpack)) = self.running.get_mut(&stream) else { return Ok(()) };
        unpack.push(bytes).map_err(|error| {
            self.running.remove(&stream);
            trouble(error.errno(), &error)
        })
    }

    /// Ends a stream: how many entries were left out, or nothing when there is no such stream (any more), or when it
    /// was one that the host does not want to the end.
    pub(crate) fn end(&mut self, stream: u32) -> Result<Option<u64>, Trouble> {
        match self.running.remove(&stream) {
            Some(Transfer::In(unpack)) => unpack.finish().map(Some).map_err(|e| trouble(e.errno(), &e)),
            Some(Transfer::Out(_)) | None => Ok(None),
        }
    }

    /// Sends pieces while the channel takes them.
    pub(crate) fn pump(&mut self, channel: &mut Channel) {
        self.running.retain(|stream, transfer| {
            let Transfer::Out(pack) = transfer else { return true };
            if !channel.has_room() {
                return true;
            }
            let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
            let done = pack.next(&mut piece, PIECE_BYTES);
            if !piece.is_empty() {
                channel.push(&FromGuest::Data(piece), *stream, 0);
            }
            match done {
                Ok(false) => true,
                Ok(true) => {
                    channel.push(&FromGuest::End, *stream, pack.skipped());
                    false
                }
                Err(error) => {
                    channel.push(&FromGuest::Trouble(trouble(error.errno(), &error)), *stream, 0);
                    false
                }
            }
        });
    }

    /// Whether a tree is on its way out.
    pub(crate) fn has_output(&self) -> bool {
        self.running.values().any(|t| matches!(t, Transfer::Out(_)))
    }

    /// The host is gone, and with it the other end of every transfer.
    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }

    fn place(&self, stream: u32) -> Result<(), Trouble> {
        if self.running.contains_key(&stream) {
            return Err(Trouble { errno: 0, message: "begin a transfer on a stream that is in use".to_owned() });
        }
        if self.running.len() >= TRANSFERS_MAX {
            return Err(Trouble { errno: 0, message: format!("begin more than {TRANSFERS_MAX} transfers at once") });
        }
        Ok(())
    }
}

/// An error and what caused it, cut to a length that fits any frame.
pub(crate) fn trouble(errno: i32, error: &dyn std::error::Error) -> Trouble {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Trouble { errno, message: message.chars().take(4096).collect() }
}
