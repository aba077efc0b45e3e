//! The command line: every verb and flag. Help, completions and the reference page come from here.

mod approvals;
mod auth;
mod configs;
mod job;
mod memory;
mod plugin;
mod sessions;
mod task;
mod tenants;
mod verbs;
mod webhook;

pub(crate) use approvals::{Answer, Approvals, Audit, AuditWhich};
pub(crate) use auth::Auth;
pub(crate) use configs::{Import, Profile, Text};
pub(crate) use job::{Job, JobCreate, JobList};
pub(crate) use memory::Memory;
pub(crate) use plugin::Plugin;
pub(crate) use sessions::{Agent, AgentFields, Begin, Chat, Env, EnvFiles, Fork, Send, Session, SessionList, Token, Tools};
pub(crate) use task::{Task, TaskAdd};
pub(crate) use tenants::{Budget, Quotas, Tenant, User};
pub(crate) use verbs::{Cli, Config, Doctor, Engine, Limits, Places, Run, Sandbox, SandboxRun, Secret, Shell, Up, Verb};
pub(crate) use webhook::Webhook;
