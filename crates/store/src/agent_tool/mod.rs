//! What agents do through tools of the daemon's own: what they ask people, what they ask of one another, and what they want done later.

mod about;
mod ask;
mod make;
mod order;
mod place;

pub use about::{ABOUT_PLACES_MAX, GATE_BYTES_MAX, Gate, GateVerdict, Mail, Origin, OutPlace, TurnAbout};
pub use ask::{NewToolQuestion, ToolAsked};
pub use order::{NewOrder, ORDERS_OPEN_MAX, OrderRow};
pub use place::{NewTaskPlace, TaskPatch, TaskPlaceRow};

pub(crate) use about::{places_of, reply, said};
pub(crate) use place::{broke, claim, put as put_place};
