//! The use cases: what people and programs ask for, carried out over the store, the sandboxes and the doors.
//!
//! Everything that asks for work becomes a turn of a session; everything that happens becomes an event. A turn is durable
//! before it is acknowledged, has one runner under a fencing number, and is taken up again after a crash where it stood:
//! its sandbox lives on, what the engine printed meanwhile waits in the guest, and each piece is recorded together with
//! its place, so nothing is lost and nothing is logged twice.
//!
//! It does not know HTTP, command lines or configuration files. Start at [`App::open`]; a turn is followed in `turn.rs`.
//!
//! Keeps INV-2, INV-4, INV-6, INV-7, INV-8 and INV-9.

mod adopt;
mod app;
mod bridge;
mod choose;
mod clock;
mod doors;
mod follow;
mod installs;
mod ledger;
mod live;
mod pump;
mod raw_log;
mod replay;
mod sandboxes;
mod secrets;
mod sessions;
mod spec;
mod turn;

pub use app::{App, Busy, Opening, Reload, Settings, Status};
pub use bridge::{ExecForm, bridge};
pub use choose::{Chosen, Provider, choose};
pub use clock::now;
pub use follow::Follow;
pub use installs::{EngineInstalls, EngineStatus, EnginesOf, FetchFile, FetchOrder, RegistryFinder};
pub use sandboxes::SandboxForm;
pub use secrets::SecretBook;
pub use sessions::{SessionForm, SessionView, SessionsOf};
pub use spec::{ImageRef, MountNote, ProgramSource, SessionSpec, Tape};

pub use ::sandbox::{HostMount, Summary};
