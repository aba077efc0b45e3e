//! The public behaviour of the store, on real files.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

/// Whether the database is one that several daemons share: PostgreSQL. The same tests hold for both.
const SHARED: bool = false;

mod access;
mod agent_tools;
mod approvals;
mod askers;
mod audit;
mod branches;
mod budget;
mod chain;
mod channels;
mod checkpoints;
mod common;
mod configs;
mod crash;
mod crash_chats;
mod crash_personas;
mod crash_work;
mod disk;
mod envs;
mod import;
mod jobs;
mod ledger;
mod log;
mod memory;
mod open;
mod personas;
mod plugins;
mod questions;
mod secrets;
mod sessions;
mod speed;
mod tasks;
mod tenants;
mod turns;
mod upgrade;
mod web;
