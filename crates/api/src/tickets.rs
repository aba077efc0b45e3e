//! Descriptors that a client of the owner's socket handed over, until a request takes them or the client goes.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Code, Failure};

/// Descriptors that wait, by ticket.
#[derive(Debug, Clone, Default)]
pub struct Tickets {
    /// Held for single map operations only.
    held: Arc<Mutex<HashMap<String, Vec<OwnedFd>>>>,
}

/// How many tickets may wait at once.
const TICKETS_MAX: usize = 256;

impl Tickets {
    /// Keeps descriptors and names the ticket.
    ///
    /// # Errors
    /// Too many wait already, or there are no random numbers.
    pub(crate) fn add(&self, fds: Vec<OwnedFd>) -> Result<String, Failure> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let name: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut held = self.lock();
        if held.len() >= TICKETS_MAX {
            return Err(Failure::new(Code::Busy, "too many descriptors wait"));
        }
        held.insert(name.clone(), fds);
        Ok(name)
    }

    /// The descriptors of a ticket; once.
    pub(crate) fn take(&self, name: &str) -> Result<Vec<OwnedFd>, Failure> {
        let taken = self.lock().remove(name);
        taken.ok_or_else(|| Failure::new(Code::Usage, "there are no descriptors under this ticket").field("ticket"))
    }

    pub(crate) fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<OwnedFd>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
