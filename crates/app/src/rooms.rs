//! Places that all tenants share: there are so many at once, and no tenant takes all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Code, Failure};

/// So many places. Clones share them.
#[derive(Debug, Clone)]
pub struct Room {
    what: &'static str,
    most: usize,
    each: usize,
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Seat {
    room: Room,
    tenant: String,
}

impl Room {
    /// Places for `most` at once, of which one tenant takes no more than three of four. `what` says of whom or what, as in "16 `what`".
    #[must_use]
    pub fn new(most: usize, what: &'static str) -> Self {
        Self { what, most, each: (most * 3 / 4).max(1), taken: Arc::default() }
    }

    /// Takes a place for a tenant.
    ///
    /// # Errors
    /// `BUSY`: all are taken, or as many by this tenant as one may have.
    pub fn enter(&self, tenant: &str) -> Result<Seat, Failure> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |why: String| Err(Failure::new(Code::Busy, why).hint("try again in a moment"));
        if taken.values().sum::<usize>() >= self.most {
            return busy(format!("{} {}", self.most, self.what));
        }
        let own = taken.entry(tenant.to_owned()).or_default();
        if *own >= self.each {
            return busy(format!("{} {} for one tenant, which is as many as one may have", self.each, self.what));
        }
        *own += 1;
        drop(taken);
        Ok(Seat { room: self.clone(), tenant: tenant.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_leaves_a_place_to_others() {
        let room = Room::new(4, "guests are in");
        let mut held: Vec<Seat> = (0..3).map(|_| room.enter("red").expect("a place")).collect();
        let full = room.enter("red").expect_err("three are red's");
        assert!(full.code == Code::Busy && full.message.contains("one tenant"), "{full:?}");
        held.push(room.clone().enter("blue").expect("the last"));
        assert_eq!(room.enter("green").expect_err("all").message, "4 guests are in");
        held.remove(0);
        held.push(room.enter("red").expect("red's own again"));
        drop(held);
        assert!(room.taken.lock().expect("held").is_empty());
    }
}
