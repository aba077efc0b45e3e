//! The broker from outside: each stage's refusal, what a person allows, and what goes over a connection.

mod asked;
mod fakes;
mod intrinsic;
mod line;
mod refused;
mod routed;
