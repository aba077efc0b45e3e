//! Sandboxes that are made ahead, so that a job need not wait for one.
//!
//! A member is a sandbox that stands, has answered a ping, and has a fresh, empty tree of its own. Whoever claims it takes
//! sandbox and tree together, once and for good: it is labelled anew, and nothing of it comes back. So it is what a
//! sandbox made at that moment would be. What cannot be changed any more once a sandbox stands is its [`Shape`]; a job
//! gets a member only when its shape is the same to the last mount, else it gets a new sandbox as if there were no pool.
//! What is kept for the profile of one tenant is never given to another; what the owner's profiles keep is for everybody.
//!
//! One task keeps each profile's number of members, away from whoever claims. It is woken by claims, by the death of a
//! member, by changes, and by the age of the oldest. Nothing ever touches a sandbox that it did not make itself.

mod keep;
mod members;
mod settings;
mod shape;
mod view;
mod wanted;

pub use settings::{POOL_SIZE_MAX, POOL_TENANTS_MAX, PoolSettings};
pub use view::{PoolShelf, PoolView};

pub(crate) use members::{Member, Pool};
pub(crate) use shape::{Pattern, Shape};
pub(crate) use wanted::Kept;

/// What the label of a sandbox begins with that nobody has claimed yet.
pub(crate) const POOL_LABEL: &str = "pool:";
