//! The public behaviour of the store on PostgreSQL: the tests of the other database, all of them but those about its files,
//! and those about several daemons that share one.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

/// Whether the database is one that several daemons share: PostgreSQL.
const SHARED: bool = true;

#[path = "../it/access.rs"]
mod access;
#[path = "../it/agent_tools.rs"]
mod agent_tools;
#[path = "../it/approvals.rs"]
mod approvals;
#[path = "../it/askers.rs"]
mod askers;
#[path = "../it/audit.rs"]
mod audit;
#[path = "../it/branches.rs"]
mod branches;
#[path = "../it/budget.rs"]
mod budget;
#[path = "../it/chain.rs"]
mod chain;
#[path = "../it/channels.rs"]
mod channels;
#[path = "../it/checkpoints.rs"]
mod checkpoints;
#[path = "../it/common.rs"]
mod common;
#[path = "../it/configs.rs"]
mod configs;
#[path = "../it/crash.rs"]
mod crash;
#[path = "../it/crash_chats.rs"]
mod crash_chats;
#[path = "../it/crash_personas.rs"]
mod crash_personas;
#[path = "../it/crash_work.rs"]
mod crash_work;
/// The disk is the server's.
mod disk {
    use std::path::Path;

    use lazaret_store::Store;

    pub(crate) async fn full(_: &Store, _: &Path) {}
    pub(crate) async fn broken(_: &Store) {}
}
mod encrypted;
#[path = "../it/envs.rs"]
mod envs;
#[path = "../it/import.rs"]
mod import;
#[path = "../it/jobs.rs"]
mod jobs;
#[path = "../it/ledger.rs"]
mod ledger;
#[path = "../it/log.rs"]
mod log;
#[path = "../it/memory.rs"]
mod memory;
#[path = "../it/personas.rs"]
mod personas;
#[path = "../it/plugins.rs"]
mod plugins;
#[path = "../it/questions.rs"]
mod questions;
#[path = "../it/secrets.rs"]
mod secrets;
#[path = "../it/sessions.rs"]
mod sessions;
#[path = "../it/speed.rs"]
mod speed;
#[path = "../it/tasks.rs"]
mod tasks;
#[path = "../it/turns.rs"]
mod turns;
#[path = "../it/web.rs"]
mod web;

mod replicas;
