//! A database that several daemons share: PostgreSQL.
//!
//! What is stored and what must be true of it is the same as with SQLite; here stands how such a database is opened, who
//! the daemons are that share it, and how each of them hears what another one changed.

mod changes;
mod open;
mod replica;
mod schema;

pub(crate) use changes::Listener;
pub use changes::{Change, Changes, Topic};
pub use open::Access;
pub(crate) use open::{Opened, open};
pub(crate) use replica::{CLOCK, Replica, retire};
pub use replica::{REPLICA_LOST_AFTER, ReplicaRow};
