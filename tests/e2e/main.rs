//! The shipped binary as a user runs it.

mod http;
mod registry;
mod support;
mod typed;

mod agent_verbs;
mod budgets;
mod chat;
mod daemon;
mod ends;
mod engines;
mod envs_attacks;
mod env_verbs;
mod faults;
mod first_run;
mod history;
mod homes;
mod limits;
mod models;
mod page;
mod places;
mod refusals;
mod replay;
mod restart;
mod resume;
mod rootless;
mod sandboxes;
mod session_verbs;
mod sessions;
mod settings;
mod words;
