//! The command line: every verb and flag. Help, completions and the reference page come from here.

mod memory;
mod sessions;
mod verbs;

pub(crate) use memory::Memory;
pub(crate) use sessions::{Agent, AgentFields, Begin, Chat, Env, EnvFiles, Fork, Send, Session, SessionList, Token, Tools};
pub(crate) use verbs::{Cli, Config, Engine, Limits, Places, Run, Sandbox, SandboxRun, Secret, Shell, Up, Verb};
