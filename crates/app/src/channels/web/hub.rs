//! What the pages that are open wait for, and the files that were sent along and not taken yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use model::{Code, Failure};
use tokio::sync::watch;

use crate::live::lock;

/// People whose conversations are counted; beyond it those that nobody waits for are forgotten.
const LANES_MAX: usize = 10_000;
/// Bytes of files that were sent along and are being taken over.
const HELD_BYTES_MAX: usize = 256 << 20;
/// A page keeps a version as a number: this many bits of one are exact there.
const VERSION_BITS: u32 = 53;

/// Held for single map operations.
#[derive(Default)]
pub(crate) struct Hub {
    lanes: Mutex<HashMap<String, watch::Sender<u64>>>,
    held: Arc<Mutex<HashMap<String, Bytes>>>,
}

impl Hub {
    /// Something changed in the conversations of a person.
    pub(crate) fn changed(&self, who: &str) {
        self.lane(who, |lane| lane.send_modify(|version| *version += 1));
    }

    /// Watches the conversations of a person. The version is another one after a restart, and after it was forgotten.
    pub(super) fn watch(&self, who: &str) -> watch::Receiver<u64> {
        self.lane(who, watch::Sender::subscribe)
    }

    fn lane<T>(&self, who: &str, of: impl FnOnce(&watch::Sender<u64>) -> T) -> T {
        let mut lanes = lock(&self.lanes);
        if lanes.len() >= LANES_MAX && !lanes.contains_key(who) {
            lanes.retain(|_, lane| lane.receiver_count() > 0);
        }
        let bits = crate::clock::fresh_bits() & u128::from((1_u64 << (VERSION_BITS - 1)) - 1);
        let first = || watch::Sender::new(u64::try_from(bits).unwrap_or_default());
        of(lanes.entry(who.to_owned()).or_insert_with(first))
    }

    /// Holds files until what is returned is dropped.
    pub(super) fn hold(&self, files: Vec<(String, Bytes)>) -> Result<Holding, Failure> {
        let mut held = lock(&self.held);
        let bytes: usize = held.values().chain(files.iter().map(|(_, bytes)| bytes)).map(Bytes::len).sum();
        if bytes > HELD_BYTES_MAX {
            return Err(Failure::new(Code::Busy, "too many files are being sent along").hint("try again in a moment"));
        }
        let names = files.iter().map(|(id, _)| id.clone()).collect();
        held.extend(files);
        Ok(Holding { held: Arc::clone(&self.held), names })
    }

    /// A file that is held.
    pub(super) fn file(&self, id: &str) -> Option<Bytes> {
        lock(&self.held).get(id).cloned()
    }
}

/// Files that are held.
pub(super) struct Holding {
    held: Arc<Mutex<HashMap<String, Bytes>>>,
    names: Vec<String>,
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        self.names.iter().for_each(|name| drop(held.remove(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_who_looked_before_it() {
        let hub = Hub::default();
        let before = *hub.watch("usr_1").borrow();
        hub.changed("usr_2");
        assert_eq!(*hub.watch("usr_1").borrow(), before, "of another person");
        hub.changed("usr_1");
        assert_ne!(*hub.watch("usr_1").borrow(), before);
        assert!(before < 1 << VERSION_BITS);
    }

    #[test]
    fn people_are_forgotten_that_nobody_waits_for() {
        let hub = Hub::default();
        let waits = hub.watch("usr_waits");
        let seen = *waits.borrow();
        (0..LANES_MAX + 10).for_each(|n| hub.changed(&n.to_string()));
        assert!(lock(&hub.lanes).len() <= LANES_MAX);
        hub.changed("usr_waits");
        assert_eq!(*waits.borrow(), seen + 1);
    }

    #[test]
    fn files_are_held_while_they_are_wanted_and_no_more_than_fit() {
        let hub = Hub::default();
        let file = |id: &str, size: usize| (id.to_owned(), Bytes::from(vec![0; size]));
        let holding = hub.hold(vec![file("a", HELD_BYTES_MAX)]).expect("room");
        assert!(hub.hold(vec![file("b", 1)]).is_err() && hub.file("b").is_none());
        drop(holding);
        assert!(hub.file("a").is_none() && hub.hold(vec![file("b", 1)]).is_ok());
    }
}
