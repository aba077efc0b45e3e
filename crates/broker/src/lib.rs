//! The door to tools.
//!
//! A request has three fields, and who asks is known from the socket. It passes six stages in order: envelope, topic, payload,
//! authorize, confirm, route. Only stage 5 makes an [`Approved`], and a [`Handler`] takes nothing else. What comes back is
//! sanitized and noted before it leaves.
//!
//! No vendor code, no credential, no HTTP here. What must be kept or asked is behind small traits that the application
//! implements: [`Confirm`], [`Audit`]. Start at [`Broker::call`].
//!
//! Keeps INV-2, INV-3, INV-4 and INV-7.

mod broker;
mod caller;
mod confirm;
pub mod manifest;
pub mod plugin;
mod tool;

pub use broker::{Broker, Rate};
pub use caller::Caller;
pub use confirm::{Answered, Approved, Ask, Audit, Confirm, Grant};
pub use manifest::{Manifest, ManifestError};
pub use tool::{CallFailure, Catalogue, Handler, Tool};
