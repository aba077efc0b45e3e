//! The verbs, a file each.

mod agent;
mod agent_template;
mod approvals;
mod archive;
mod ask;
mod ask_token;
mod audit;
mod auth;
mod begin;
mod board;
mod branches;
mod budget;
mod carry;
mod channel;
mod chat;
pub(crate) mod completions;
pub(crate) mod config;
mod configs;
pub(crate) mod doctor;
mod engine;
mod env;
mod env_files;
mod eval;
pub(crate) mod fetch;
mod follow;
mod fork;
mod forward;
mod import;
mod interactive;
mod job;
mod job_files;
mod job_form;
mod job_log;
pub(crate) mod lifecycle;
mod lists;
mod mcp;
mod memory;
mod nanoclaw;
mod once;
mod own_engine;
mod plugin;
mod provider;
mod replay;
pub(crate) mod repo;
mod run;
mod sandbox;
pub(crate) mod sandbox_run;
mod screen;
mod secret;
pub(crate) mod serve_plugin;
mod session;
mod setup;
mod shell;
mod sit;
mod skill;
mod task;
mod tenant;
mod terminal;
mod text;
mod token;
mod tools;
mod usage;
mod user;
mod webhook;

use crate::args::{Agents, Verb};
use crate::client::Client;
use crate::env::Env;
use crate::exit::Done;
use crate::home::Home;

/// What every verb starts from.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) json: bool,
    pub(crate) may_start: bool,
    pub(crate) env: Env,
}

impl Context {
    /// A client of the home's daemon.
    fn client(&self) -> Result<Client, model::Failure> {
        Ok(Client::new(&Home::open(&self.env.home)?, self.may_start))
    }
}

/// Runs a verb that needs the daemon, or watches over it.
pub(crate) async fn run(context: Context, verb: Verb) -> Done {
    match verb {
        Verb::Setup(flags) => setup::run(&context, *flags).await,
        Verb::Ask(flags) => ask::run(&context, flags).await,
        Verb::Run(flags) => run::run(&context, *flags).await,
        Verb::Chat(flags) => chat::run(&context, *flags).await,
        Verb::Job(verb) => job::run(&context, verb).await,
        Verb::Profile(verb) => configs::profile(&context, verb).await,
        Verb::Template(verb) => configs::text(&context, configs::Kind::Template, verb).await,
        Verb::Hook(verb) => configs::text(&context, configs::Kind::Hook, verb).await,
        Verb::Export { to } => carry::export(&context, &to).await,
        Verb::Import(verb) => import::run(&context, verb).await,
        Verb::Session(verb) => session::run(&context, verb).await,
        Verb::Env(verb) => env::run(&context, verb).await,
        Verb::Agent(verb) => agent::run(&context, verb).await,
        Verb::Spawn(flags) => branches::spawn::run(&context, *flags).await,
        Verb::Agents(verb) => branches::run(&context, verb).await,
        Verb::Board(flags) => board::run(&context, flags).await,
        Verb::Mcp(flags) => mcp::run(&context, flags).await,
        Verb::ListAgents { repo } => branches::run(&context, Agents::List { repo, all: false }).await,
        Verb::StatusAgent(on) => branches::run(&context, Agents::Status(on)).await,
        Verb::SummaryAgent(on) => branches::run(&context, Agents::Summary(on)).await,
        Verb::LogsAgent(on) => branches::run(&context, Agents::Logs { on, follow: false }).await,
        Verb::FollowAgent(on) => branches::run(&context, Agents::Follow(on)).await,
        Verb::StopAgent(on) => branches::run(&context, Agents::Stop(on)).await,
        Verb::Approvals(verb) => approvals::run(&context, verb).await,
        Verb::Audit(verb) => audit::run(&context, verb).await,
        Verb::Tools(verb) => tools::run(&context, verb).await,
        Verb::Plugin(verb) => plugin::run(&context, verb).await,
        Verb::Provider(verb) => provider::run(&context, verb).await,
        Verb::Skill(verb) => skill::run(&context, verb).await,
        Verb::Memory(verb) => memory::run(&context, verb).await,
        Verb::Token(verb) => token::run(&context, verb).await,
        Verb::Tenant(verb) => tenant::run(&context, verb).await,
        Verb::User(verb) => user::run(&context, verb).await,
        Verb::Channel(verb) => channel::channel(&context, verb).await,
        Verb::Chats(verb) => channel::chats(&context, verb).await,
        Verb::Wire(verb) => channel::wire(&context, verb).await,
        Verb::People(verb) => channel::people(&context, verb).await,
        Verb::Role(verb) => channel::role(&context, verb).await,
        Verb::Why { what } => channel::why(&context, &what).await,
        Verb::Attach(flags) => interactive::attach(&context, &flags).await,
        Verb::Shell(flags) => shell::run(&context, *flags).await,
        Verb::Sandbox(verb) => sandbox::run(&context, verb).await,
        Verb::Engine(verb) => engine::run(&context, verb).await,
        Verb::Auth(verb) => auth::run(&context, verb).await,
        Verb::Secret(verb) => secret::run(&context, verb).await,
        Verb::Budget(verb) => budget::run(&context, verb).await,
        Verb::Usage { by, from, to } => usage::run(&context, &by, from.as_deref(), to.as_deref()).await,
        Verb::Task(verb) => task::run(&context, verb).await,
        Verb::Webhook(verb) => webhook::run(&context, verb).await,
        Verb::Eval(verb) => eval::run(&context, verb).await,
        Verb::Replay { tape } => replay::run(&context, &tape).await,
        Verb::Start(flags) => lifecycle::start(&context, &flags).await,
        Verb::Status => lifecycle::status(&context).await,
        Verb::Stop { grace } => lifecycle::stop(&context, &grace).await,
        Verb::Ui => lifecycle::ui(&context).await,
        Verb::Config(_) | Verb::Completions { .. } | Verb::Doctor(_) | Verb::Fetch | Verb::ServePlugin { .. } | Verb::Up(_) => {
            Err(crate::client::internal("this verb is run elsewhere"))
        }
    }
}
