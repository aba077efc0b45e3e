//! The verbs, and those of them that make sandboxes or keep the house.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

use super::sessions::{Agent, Begin, Chat, Env, Session, Token, Tools};

/// Runs AI agents in sealed sandboxes: no network, no credential, every request through one door.
#[derive(Debug, Parser)]
#[command(name = "lazaret", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print JSON, one object a line, instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Fail (exit 3) rather than start a daemon.
    #[arg(long, global = true)]
    pub(crate) no_daemon: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Do the first steps: a model, an agent, a chat network, your chat, hello. Goes on where it stopped.
    Setup(Box<super::Setup>),
    /// Ask about this install: an agent that can look at logs, audit and state, and change nothing, answers.
    Ask(super::Ask),
    /// Run one task with an agent in a sandbox and print what it says.
    Run(Box<Run>),
    /// Talk with an agent, turn by turn, in a session that stays.
    Chat(Box<Chat>),
    /// Open a terminal in a new sandbox, or in that of a session.
    Shell(Box<Shell>),
    /// Come back to a terminal: of `run -it`, of `shell`.
    Attach(Attach),
    /// Jobs: one piece of work each, in a queue, with one result.
    #[command(subcommand)]
    Job(super::Job),
    /// Profiles: what jobs run with.
    #[command(subcommand)]
    Profile(super::Profile),
    /// Templates: what prompts and instructions are rendered from.
    #[command(subcommand)]
    Template(super::Text),
    /// Hooks: scripts that run inside before and after an engine.
    #[command(subcommand)]
    Hook(super::Text),
    /// Take over what another server has in files.
    #[command(subcommand)]
    Import(super::Import),
    /// Write all that this install has to a file, without secrets: agents, people, chats, tasks, memories, conversations.
    Export {
        /// A new file, a directory, or `-`
        #[arg(value_name = "DIR|FILE", value_hint = ValueHint::AnyPath)]
        to: PathBuf,
    },
    /// Sessions: list, show, send, undo, fork, compare, take along.
    #[command(subcommand)]
    Session(Session),
    /// Envs: named file trees that several sessions share.
    #[command(subcommand)]
    Env(Env),
    /// Agents: who a session is with.
    #[command(subcommand)]
    Agent(Agent),
    /// Begin an agent on a branch of a repository, in a clone of its own; on a branch that has one, give it a further task.
    Spawn(Box<super::Spawn>),
    /// Agents on branches: list, follow, read, merge, put away.
    #[command(subcommand)]
    Agents(super::Agents),
    /// Watch agents on branches on one screen: what each does and waits for, its log and changes; approve, stop, resume, merge.
    Board(super::Board),
    /// Tools for an agent program on this machine, for example Claude Code, that coordinates agents on branches: an MCP server on standard
    /// input and output.
    Mcp(super::Mcp),
    /// `agents list`, by its short name.
    #[command(hide = true)]
    ListAgents {
        /// Of this repository only
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        repo: Option<PathBuf>,
    },
    /// `agents status`, by its short name.
    #[command(hide = true)]
    StatusAgent(super::OnBranch),
    /// `agents summary`, by its short name.
    #[command(hide = true)]
    SummaryAgent(super::OnBranch),
    /// `agents logs`, by its short name.
    #[command(hide = true)]
    LogsAgent(super::OnBranch),
    /// `agents follow`, by its short name.
    #[command(hide = true)]
    FollowAgent(super::OnBranch),
    /// `agents stop`, by its short name.
    #[command(hide = true)]
    StopAgent(super::OnBranches),
    /// Programs and libraries that every sandbox sees at /opt/lazaret-tools, or one agent's at /opt/lazaret-agent.
    #[command(subcommand)]
    Tools(Tools),
    /// Plugins: what agents may call beside their engine's own tools.
    #[command(subcommand)]
    Plugin(super::Plugin),
    /// Model providers: where each answers, its key, and whether it does.
    #[command(subcommand)]
    Provider(super::Provider),
    /// Skills: folders that tell agents how something is done.
    #[command(subcommand)]
    Skill(super::Skill),
    /// What agents remember.
    #[command(subcommand)]
    Memory(super::Memory),
    /// Calls that wait for a person's yes.
    #[command(subcommand)]
    Approvals(super::Approvals),
    /// What was decided: a chain of rows.
    #[command(subcommand)]
    Audit(super::Audit),
    /// Tokens of the HTTP API.
    #[command(subcommand)]
    Token(Token),
    /// Organisations: whose everything is, and how much of it there may be.
    #[command(subcommand)]
    Tenant(super::Tenant),
    /// People who log in, and what each is in which tenant.
    #[command(subcommand)]
    User(super::User),
    /// Accounts of chat networks.
    #[command(subcommand)]
    Channel(super::Channel),
    /// Chats that were heard of.
    #[command(subcommand)]
    Chats(super::Chats),
    /// Which agent hears which chat, and where it may send to.
    #[command(subcommand)]
    Wire(super::Wire),
    /// People of chat networks: who is who, and who asks to be let in.
    #[command(subcommand)]
    People(super::People),
    /// What somebody is to an agent.
    #[command(subcommand)]
    Role(super::Role),
    /// What became of a message, turn, job or task, what stopped it, and what helps.
    Why {
        /// Its identity, or the platform's id of a message
        #[arg(value_name = "MESSAGE|TURN|JOB|TASK")]
        what: String,
    },
    /// Sandboxes without an agent.
    #[command(subcommand)]
    Sandbox(Sandbox),
    /// The agent programs.
    #[command(subcommand)]
    Engine(Engine),
    /// Credentials of plugins: keys, logins, and when they end.
    #[command(subcommand)]
    Auth(super::Auth),
    /// Keys and other secrets, encrypted at rest.
    #[command(subcommand)]
    Secret(Secret),
    /// The configuration file.
    #[command(subcommand)]
    Config(Config),
    /// Tasks: jobs and messages that are due at set times.
    #[command(subcommand)]
    Task(super::Task),
    /// Webhooks: the ends of jobs, told to addresses that the jobs named.
    #[command(subcommand)]
    Webhook(super::Webhook),
    /// What may be spent, by session, job, agent, tenant and day.
    #[command(subcommand)]
    Budget(super::Budget),
    /// Tokens and cost so far.
    Usage {
        /// What to sum by.
        #[arg(long, default_value = "model", value_parser = ["job", "agent", "profile", "model", "tenant", "session", "provider", "day"])]
        by: String,
        /// From this day on (UTC), for example 2026-01-31.
        #[arg(long, value_name = "DAY")]
        from: Option<String>,
        /// Before this day (UTC).
        #[arg(long, value_name = "DAY")]
        to: Option<String>,
    },
    /// Check this host and this home, and say what to do about what is wrong (exit 1 if anything is).
    Doctor(Doctor),
    /// Run the turns of a tape or session again without a model; exit 1 at the first request that differs.
    Replay {
        /// A tape file, or the identity of a session that was recorded.
        #[arg(value_hint = ValueHint::FilePath)]
        tape: String,
    },
    /// How well agents do what suites of scenarios ask: run, look at, compare.
    #[command(subcommand)]
    Eval(super::Eval),
    /// Be the daemon, in the foreground.
    Up(Up),
    /// Start the daemon and return when it is ready.
    Start(Up),
    /// Say whether the daemon is up (exit 0) or down (exit 1).
    Status,
    /// Stop the daemon.
    Stop {
        /// How long running work may take to end before it is cancelled.
        #[arg(long, default_value = "30s")]
        grace: String,
    },
    /// Print a new one-time link to the web page.
    Ui,
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Fetch an engine's packages (runs inside a sandbox).
    #[command(hide = true)]
    Fetch,
    /// Serve a plugin that ships on standard input and output (runs inside a sandbox).
    #[command(hide = true)]
    ServePlugin {
        /// Which.
        name: String,
    },
}

/// What a sandbox may use and see; the same on every verb that makes one.
#[derive(Debug, Clone, Args)]
pub(crate) struct Limits {
    /// Memory of everything inside together, for example 512m or 2g [default: 2g]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Processors, for example 0.5 or 2 [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<f64>,
    /// Processes and threads [default: 256]
    #[arg(long, value_name = "N")]
    pub(crate) pids: Option<u32>,
    /// Bytes written to the sandbox's files [default: 4g]
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<String>,
    /// Wall-clock time, for example 90s or 1h [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
}

/// Where a sandbox's files come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Places {
    /// The root file system: `host` (this machine's /usr, read-only), `host+local` (with /usr/local), or a directory tree
    #[arg(long, value_name = "REF", default_value = Places::IMAGE_DEFAULT)]
    pub(crate) image: String,
    /// A host directory as /workspace; changes land on the host unless `:ro`
    #[arg(long, value_name = "DIR[:ro]", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<String>,
    /// A further host directory, read-only unless `:rw`; a plain name for GUEST means /home/sandbox/NAME
    #[arg(long = "mount", value_name = "HOST:GUEST[:rw]")]
    pub(crate) mounts: Vec<String>,
    /// An environment variable inside: K=V, or K to hand on the caller's value. For `run` and `chat`, a NAME in small
    /// letters, digits and hyphens is the env to work in
    #[arg(long = "env", value_name = "K=V|NAME")]
    pub(crate) env: Vec<String>,
    /// A host that may be reached: HOST[:PORT][/PATH][,METHOD], within `egress.max` of the configuration; the method WS stands
    /// for a WebSocket
    #[arg(long = "allow", value_name = "HOST")]
    pub(crate) allow: Vec<String>,
}

impl Places {
    /// The root file system when nothing is said.
    pub(crate) const IMAGE_DEFAULT: &str = "host";
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) begin: Begin,
    /// A git repository that is cloned into /workspace (its current branch alone); given again, one that is cloned beside it, into
    /// /home/sandbox/repos/NAME: the directory's name, or the one that is said
    #[arg(long, value_name = "[NAME=]DIR", conflicts_with = "workspace", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Vec<String>,
    /// Write every exchange with the model to this file
    #[arg(long, value_name = "TAPE", value_hint = ValueHint::FilePath, conflicts_with = "replay")]
    pub(crate) record: Option<PathBuf>,
    /// Answer from this tape instead of a model
    #[arg(long, value_name = "TAPE", value_hint = ValueHint::FilePath)]
    pub(crate) replay: Option<PathBuf>,
    /// Copy /workspace into this directory afterwards
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    /// A further turn in a session
    #[arg(long, value_name = "ses_...")]
    pub(crate) resume: Option<String>,
    /// Keep the session for `--resume` (what happens anyway)
    #[arg(long, conflicts_with = "no_keep")]
    pub(crate) keep: bool,
    /// Forget the session when it is done
    #[arg(long)]
    pub(crate) no_keep: bool,
    /// Use the engine's own program on this terminal; with -t the same, so that `-it` does what it does elsewhere
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// The same as -i
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// With -it: the keys that leave the program running, for example ctrl-a,d [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// What to do; `-` reads standard input. With -it: what is said first
    #[arg(value_name = "PROMPT|-", required_unless_present_any = ["interactive", "tty"])]
    pub(crate) prompt: Option<String>,
}

impl Run {
    /// Whether a person uses the engine's own program.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive || self.tty
    }
}

/// Which terminal.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The session, or the branch of an agent
    #[arg(value_name = "ses_...|BRANCH")]
    pub(crate) what: String,
    /// The repository of the branch [default: the one around the current directory, or the only one with such an agent]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    /// Only look
    #[arg(long)]
    pub(crate) watch: bool,
    /// Type, although somebody else does: they watch from now on
    #[arg(long, conflicts_with = "watch")]
    pub(crate) take: bool,
    /// The keys that leave the program running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Shell {
    #[command(flatten)]
    pub(crate) places: Places,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// A git repository that is cloned into /workspace (its current branch alone); given again, one that is cloned beside it, into
    /// /home/sandbox/repos/NAME: the directory's name, or the one that is said
    #[arg(long, value_name = "[NAME=]DIR", conflicts_with = "workspace", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Vec<String>,
    /// In the sandbox of this session, beside what it has: a turn of it
    #[arg(long, value_name = "ses_...", conflicts_with_all = ["repo", "agent", "keep"])]
    pub(crate) session: Option<String>,
    /// The same for the agent on this branch
    #[arg(long, value_name = "BRANCH", conflicts_with_all = ["repo", "keep"])]
    pub(crate) agent: Option<String>,
    /// Keep the session and its files afterwards
    #[arg(long)]
    pub(crate) keep: bool,
    /// The keys that leave the program running, for example ctrl-a,d [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// The program to run instead of bash
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sandbox {
    /// Start a sandbox, run a command in it with this terminal's streams, and remove it.
    Run(Box<SandboxRun>),
    /// Start a sandbox that stays, and print its identity.
    Create(Box<SandboxCreate>),
    /// Run a command in a sandbox that is up.
    Exec {
        /// Give the command a terminal
        #[arg(short = 't', long)]
        tty: bool,
        /// The working directory
        #[arg(long, default_value = "/workspace")]
        cwd: String,
        /// An environment variable: K=V
        #[arg(long = "env", value_name = "K=V")]
        env: Vec<String>,
        /// The sandbox
        id: String,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Copy files between this machine and a sandbox: one side is ID:PATH.
    Cp {
        /// A path, or ID:PATH
        from: String,
        /// A path, or ID:PATH
        to: String,
    },
    /// The sandboxes that are up.
    List,
    /// Stop and remove a sandbox.
    Rm {
        /// The sandboxes
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SandboxRun {
    #[command(flatten)]
    pub(crate) places: Places,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Leave walls out, to find which one denies something: seccomp, landlock, privileges, network, proc, read_only, pids
    #[arg(long, value_name = "WALL", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// The command
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SandboxCreate {
    #[command(flatten)]
    pub(crate) places: Places,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Engine {
    /// The engines and whether they are installed.
    List,
    /// Install the pinned version of an engine into the home.
    Install {
        /// The engine
        name: String,
    },
    /// Describe an engine that is not built in, or change its description.
    Add {
        /// The TOML file; `-` for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: std::path::PathBuf,
    },
    /// Remove an installed engine, or the description of one that is not built in.
    Remove {
        /// The engine
        name: String,
    },
    /// Compare an installed engine with its pinned hash.
    Verify {
        /// The engine; all that are installed when left out
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Store a secret; `-` reads it from standard input without echo.
    Set {
        /// Its name; a provider's name makes it that provider's key
        name: String,
        /// `-`
        value: String,
        /// Let this one agent hold it, in its engine's environment
        #[arg(long, value_name = "AGENT")]
        expose: Option<String>,
        /// For this agent alone: where it uses a secret of this name, this value is meant
        #[arg(long, value_name = "AGENT", conflicts_with = "expose")]
        agent: Option<String>,
        /// End turns that run with the value before
        #[arg(long)]
        restart: bool,
    },
    /// The names, never the values: whose each is, what uses it, when it was last used, and how old it is.
    List,
    /// Forget a secret. What it was goes on being taken out of what agents say.
    Remove {
        /// Its name
        name: String,
        /// That of this agent alone
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
    },
    /// Store the provider keys that this environment holds.
    ImportEnv,
    /// Let a secret go to one host: agents hold a placeholder that is worth nothing anywhere else.
    Bind {
        /// Its name, and the variable that holds the placeholder inside
        name: String,
        /// The host that gets the value
        #[arg(long, value_name = "HOST[:PORT]")]
        host: String,
        /// Only for this path and what is below
        #[arg(long, value_name = "/PATH")]
        path: Option<String>,
        /// Only for this method
        #[arg(long, value_name = "METHOD")]
        method: Option<String>,
        /// The header that carries it [default: Authorization]
        #[arg(long, value_name = "NAME")]
        header: Option<String>,
    },
    /// Let one agent hold a secret itself, in its engine's environment: the one exception to "no agent holds a credential".
    Expose {
        /// Its name, and the variable that holds it inside
        name: String,
        /// The agent
        #[arg(long, value_name = "NAME")]
        agent: String,
    },
    /// Let no agent hold a secret any more.
    Hide {
        /// Its name
        name: String,
    },
    /// The secrets that are bound, and where to.
    Bound,
    /// Let a secret go to a host no longer, from this moment on.
    Unbind {
        /// Its name
        name: String,
        /// Only this host; all of them when left out
        #[arg(long, value_name = "HOST[:PORT]")]
        host: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every setting that is in force.
    Show,
    /// Print one setting.
    Get {
        /// For example limits.memory
        key: String,
    },
    /// Change one setting in the file.
    Set {
        /// For example providers.anthropic.base_url
        key: String,
        /// The value, as TOML or as plain text
        value: String,
    },
    /// Print where the file is.
    Path,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Doctor {
    /// Ask each plugin whether it works and each provider whether it can be reached; starts the daemon
    #[arg(long)]
    pub(crate) live: bool,
    /// Try from inside a new sandbox what must not be possible there, and say what holds
    #[arg(long)]
    pub(crate) prove: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// Where the HTTP API listens [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Answer below this path only, as a hub's module does: /agent
    #[arg(long, value_name = "PATH")]
    pub(crate) base_path: Option<String>,
    /// Started by a command: no HTTP port, and end when idle.
    #[arg(long, hide = true)]
    pub(crate) on_demand: bool,
}
