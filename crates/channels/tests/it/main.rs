//! Networks through the real program, each against an emulator of its platform.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something is wrong")]

mod contract;
mod discord;
mod email;
mod every;
mod first;
mod matrix;
mod slack;
mod telegram;
mod webhook;
