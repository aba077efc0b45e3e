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
mod intrinsic;
mod json;
pub mod manifest;
pub mod plugin;
mod rate;
mod refusal;
mod schema;
mod seams;
mod seats;
mod serve;
mod stages;
mod tool;
mod trace;

pub use broker::Broker;
pub use caller::{Asker, Caller, Standing, Who};
pub use manifest::{Manifest, ManifestError};
pub use rate::Rate;
pub use schema::{SchemaError, check_output_schema, check_schema, close_schema, fits_schema};
pub use seams::{Answered, Ask, Audit, Confirm, Diagnostics, Grant, Health, Wanted};
pub use seats::CALLS_MAX;
pub use serve::{CONNECTIONS_MAX, MESSAGE_TIME_MAX};
pub use stages::confirm::Approved;
pub use stages::envelope::{ARGUMENT_BYTES_MAX, CORRELATION_BYTES_MAX, Envelope, EnvelopeKind, Payload};
pub use stages::route::{DEADLINE_MAX, RESULT_BYTES_MAX};
pub use stages::topic::TOPIC_PREFIX;
pub use tool::{CallFailure, Catalogue, Handler, INTRINSIC, TOOL_NAME_BYTES_MAX, TOOLS_MAX, Tool};
