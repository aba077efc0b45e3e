//! The verbs of sessions, envs, agents, tools and tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::verbs::{Limits, Places};

/// What a new conversation begins with.
#[derive(Debug, Clone, Args)]
pub(crate) struct Begin {
    /// The agent program: mini, claude-code, codex, opencode, gemini, or a path to any other program
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// The model, as its provider names it, or PROVIDER/MODEL
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<String>,
    /// Who it is with [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// A directory of its own below /home/sandbox to work in, made when missing
    #[arg(long, value_name = "DIR")]
    pub(crate) subdir: Option<String>,
    /// Let no other session of the env work while a turn of this one runs
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// What to call the session
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// A word for finding it again
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// A bound secret that it may use besides its agent's: see `lazaret secret bind`
    #[arg(long = "secret", value_name = "NAME")]
    pub(crate) secrets: Vec<String>,
    /// The most that it may cost, in US dollars
    #[arg(long, value_name = "N")]
    pub(crate) budget_usd: Option<String>,
    #[command(flatten)]
    pub(crate) places: Places,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

impl Begin {
    /// What a shell is begun with.
    pub(crate) fn of_shell(flags: &super::Shell) -> Self {
        Self {
            engine: None,
            model: None,
            agent: None,
            subdir: None,
            exclusive: false,
            title: None,
            labels: Vec::new(),
            secrets: Vec::new(),
            budget_usd: None,
            places: flags.places.clone(),
            limits: flags.limits.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Chat {
    /// Go on with a session instead of beginning one
    #[arg(long, value_name = "ses_...")]
    pub(crate) session: Option<String>,
    /// Talk over the network `terminal`: through wirings, rights and confirmations, as on any chat network
    #[arg(long, conflicts_with = "session")]
    pub(crate) channel: bool,
    /// With --channel, another conversation with the same agent, by a name of its own
    #[arg(long, value_name = "NAME", requires = "channel")]
    pub(crate) chat: Option<String>,
    #[command(flatten)]
    pub(crate) begin: Begin,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// The sessions, the youngest first.
    List(SessionList),
    /// Everything about a session.
    Show {
        /// The session
        #[arg(value_name = "ses_...")]
        id: String,
    },
    /// Its turns, those that were undone included.
    Turns {
        /// The session
        #[arg(value_name = "ses_...")]
        id: String,
    },
    /// Its log.
    Events {
        /// The session
        #[arg(value_name = "ses_...")]
        id: String,
        /// Begin after this event
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
        /// Go on with what comes, until interrupted
        #[arg(long, short)]
        follow: bool,
    },
    /// Ask for a turn; without --wait it goes on by itself.
    Send(Send),
    /// Cancel what runs and what waits.
    Cancel {
        /// The session
        #[arg(value_name = "ses_...")]
        id: String,
    },
    /// Answer what a turn asks.
    Answer {
        /// The session
        #[arg(value_name = "ses_...")]
        id: String,
        /// Which question; needed when several are open
        #[arg(long, value_name = "qst_...")]
        question: Option<String>,
        /// The answer; `-` reads standard input
        #[arg(value_name = "TEXT|-")]
        text: String,
    },
    /// Keep the files, give the sandbox up, take no more turns.
    Archive {
        /// The sessions
        #[arg(value_name = "ses_...", required = true)]
        ids: Vec<String>,
    },
    /// Take turns again.
    Unarchive {
        /// The sessions
        #[arg(value_name = "ses_...", required = true)]
        ids: Vec<String>,
    },
    /// Cancel and forget: log, files and sandbox.
    Delete {
        /// The sessions
        #[arg(value_name = "ses_...", required = true)]
        ids: Vec<String>,
    },
    /// Go back to the end of an earlier turn: files, transcript, place in the conversation.
    Undo {
        /// The session
        #[arg(value_name = "ses_...")]
        id: String,
        /// The turn whose end to go back to, 0 for the beginning [default: the one before the last]
        #[arg(long, value_name = "TURN")]
        to: Option<u64>,
        /// In an env that others changed since: go on in a private copy
        #[arg(long, conflicts_with = "force")]
        private: bool,
        /// In an env that others changed since: take their changes back too
        #[arg(long)]
        force: bool,
    },
    /// Make sessions that begin where this one stood, each with files of its own.
    Fork(Fork),
    /// What a turn changed in the files.
    Diff {
        /// The session
        #[arg(value_name = "ses_...")]
        id: String,
        /// The turn [default: the last]
        turn: Option<u64>,
        /// Show the changes of this text file
        #[arg(long, value_name = "PATH")]
        patch: Option<String>,
    },
    /// Write the session as one archive: turns, log, files; no secret.
    Export {
        /// The session
        #[arg(value_name = "ses_...")]
        id: String,
        /// The file; standard output when left out
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Make a session of an archive.
    Import {
        /// The file; `-` reads standard input
        #[arg(value_name = "FILE|-", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SessionList {
    /// Those in this env
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Those with this agent
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Those with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Option<String>,
    /// Those that are archived
    #[arg(long)]
    pub(crate) archived: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The session
    #[arg(value_name = "ses_...")]
    pub(crate) id: String,
    /// A file that is put into `upload/` of the working directory first
    #[arg(long = "file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Into the turn that runs, before all that waits
    #[arg(long, conflicts_with_all = ["files", "wait"])]
    pub(crate) inject: bool,
    /// Show what happens until the result, and end with its status
    #[arg(long)]
    pub(crate) wait: bool,
    /// What to do; `-` reads standard input
    #[arg(value_name = "TEXT|-")]
    pub(crate) text: String,
}

#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// The session
    #[arg(value_name = "ses_...")]
    pub(crate) id: String,
    /// The turn at whose end the new sessions begin [default: the last]
    #[arg(long, value_name = "TURN")]
    pub(crate) at: Option<u64>,
    /// How many
    #[arg(short, long = "number", value_name = "N", default_value_t = 1)]
    pub(crate) n: usize,
    /// Ask this of each, wait for all, and show the results side by side; `-` reads standard input
    #[arg(long, value_name = "TEXT|-")]
    pub(crate) prompt: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Env {
    /// The envs.
    List,
    /// Everything about an env.
    Show {
        /// The env
        #[arg(value_name = "ENV")]
        slug: String,
    },
    /// Make an empty env.
    Create {
        /// What to call it; its short name is made of it
        name: String,
        /// Its short name
        #[arg(long, value_name = "NAME")]
        slug: Option<String>,
        /// A host directory that each of its sessions sees at /home/sandbox/NAME, below the configured roots
        #[arg(long = "mount", value_name = "HOST[:NAME][:rw]")]
        mounts: Vec<String>,
    },
    /// Make an env of the files of a session, which goes on in it.
    Save {
        /// The session
        #[arg(long, value_name = "ses_...")]
        session: String,
        /// Its short name
        #[arg(long, value_name = "NAME")]
        slug: Option<String>,
        /// What to call it
        name: String,
    },
    /// Talk in an env: the same as `chat --env`.
    Join {
        /// The env
        #[arg(value_name = "ENV")]
        slug: String,
        #[command(flatten)]
        begin: Box<Begin>,
    },
    /// Make an env of a copy of its files.
    Clone {
        /// The env
        #[arg(value_name = "ENV")]
        slug: String,
        /// What to call the copy
        name: String,
    },
    /// Call it something else; its short name stays.
    Rename {
        /// The env
        #[arg(value_name = "ENV")]
        slug: String,
        /// What to call it
        name: String,
    },
    /// Print the core memory, which stands in the instructions of each of its sessions, or replace it.
    Memory {
        /// The env
        #[arg(value_name = "ENV")]
        slug: String,
        /// The new text; `-` reads standard input
        #[arg(value_name = "TEXT|-")]
        text: Option<String>,
    },
    /// Delete it with its files; refused while it is in use.
    Delete {
        /// The env
        #[arg(value_name = "ENV")]
        slug: String,
        /// Also when sessions work in it: their work is cancelled
        #[arg(long)]
        force: bool,
    },
    /// Its files, below /home/sandbox.
    Files {
        /// The env
        #[arg(value_name = "ENV")]
        slug: String,
        #[command(subcommand)]
        verb: EnvFiles,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EnvFiles {
    /// What is in a directory.
    Ls {
        /// The directory
        #[arg(default_value = "")]
        path: String,
    },
    /// Read a file.
    Get {
        /// The file
        path: String,
        /// Where to; standard output when left out
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Write a file, whole or not at all.
    Put {
        /// The file here; `-` reads standard input
        #[arg(value_name = "FILE|-", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Where to; the file's own name when left out
        path: Option<String>,
    },
    /// Make a directory with its parents.
    Mkdir {
        /// The directory
        path: String,
    },
    /// Remove a file, link or whole directory.
    Rm {
        /// What to remove
        path: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tools {
    /// Install packages: NAME[==VERSION] from PyPI, npm:NAME[@VERSION], or file:PATH.
    Install {
        /// The packages
        #[arg(required = true, value_name = "NAME|npm:NAME|file:PATH")]
        names: Vec<String>,
        /// For this agent alone; for every sandbox when left out
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
    },
    /// What is installed.
    List {
        /// What this agent has for itself; what every sandbox sees when left out
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
    },
    /// Remove packages.
    Remove {
        /// The packages
        #[arg(required = true, value_name = "NAME|npm:NAME|file:NAME")]
        names: Vec<String>,
        /// From what this agent has for itself; from what every sandbox sees when left out
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Make an agent.
    Add {
        /// Its name: small letters, digits and hyphens
        name: String,
        #[command(flatten)]
        fields: Box<AgentFields>,
    },
    /// The agents.
    List,
    /// Everything about an agent.
    Show {
        /// The agent
        name: String,
    },
    /// Change an agent; what is not named stays.
    Set {
        /// The agent
        name: String,
        #[command(flatten)]
        fields: Box<AgentFields>,
    },
    /// Remove an agent.
    Remove {
        /// The agent
        name: String,
    },
    /// Templates of agents that ship, and what each wants to be told.
    Templates,
    /// Make an agent from a template: shows the plan, asks, and does exactly that.
    New {
        /// Its name
        name: String,
        #[command(flatten)]
        how: AgentTemplate,
    },
    /// Bring an agent up to date with its template; what you changed stays.
    Update {
        /// The agent
        name: String,
        #[command(flatten)]
        how: AgentTemplate,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Which template, and what it is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct AgentTemplate {
    /// A template that ships, or a folder with agent.toml and instructions.md (named by its path, like ./mine)
    #[arg(long, value_name = "NAME|DIR")]
    pub(crate) template: Option<String>,
    /// A variable of the template
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Show the plan only
    #[arg(long, visible_alias = "plan")]
    pub(crate) dry_run: bool,
    /// Yes, without a question
    #[arg(long, visible_alias = "apply", conflicts_with = "dry_run")]
    pub(crate) yes: bool,
}

/// What an agent is made of.
#[derive(Debug, Clone, Args)]
pub(crate) struct AgentFields {
    /// Standing instructions; `-` reads standard input, `@FILE` a file
    #[arg(long, value_name = "TEXT|-|@FILE", allow_hyphen_values = true)]
    pub(crate) instructions: Option<String>,
    /// The agent program; empty for the configured one
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// The model; empty for the engine's own choice
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<String>,
    /// Who is asked in turn when its provider does not answer or a budget does not cover the call; those named replace those
    /// before, and an empty name takes all away
    #[arg(long, value_name = "PROVIDER[/MODEL]", value_delimiter = ',')]
    pub(crate) fallback: Vec<String>,
    /// Which skills and tools it may see
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// The word that addresses it in chats; empty for @Andy
    #[arg(long, value_name = "WORD")]
    pub(crate) trigger: Option<String>,
    /// A tool that it may call; those named replace those before
    #[arg(long = "tool", value_name = "NAME")]
    pub(crate) tools: Vec<String>,
    /// One of its tools that it calls for members; those named replace those before, and without any it calls all
    #[arg(long = "member-tool", value_name = "NAME")]
    pub(crate) member_tools: Vec<String>,
    /// Call all of its tools for members again
    #[arg(long, conflicts_with = "member_tools")]
    pub(crate) all_for_members: bool,
    /// A tool of low risk that it calls for people who are not known, in chats that hear everybody; those named replace those before
    #[arg(long = "guest-tool", value_name = "NAME")]
    pub(crate) guest_tools: Vec<String>,
    /// A host that may be reached for them, within what it may reach itself; those named replace those before
    #[arg(long = "guest-allow", value_name = "HOST[:PORT]")]
    pub(crate) guest_allow: Vec<String>,
    /// Do nothing for people who are not known but answer them
    #[arg(long, conflicts_with_all = ["guest_tools", "guest_allow"])]
    pub(crate) nothing_for_guests: bool,
    /// A skill that it has; those named replace those before, and an empty name takes all away
    #[arg(long = "skill", alias = "skills", value_name = "NAME", value_delimiter = ',')]
    pub(crate) skills: Vec<String>,
    /// A host that may be reached, within `egress.max` of the configuration; those named replace those before
    #[arg(long = "allow", value_name = "HOST[:PORT]")]
    pub(crate) allow: Vec<String>,
    /// A bound secret that its sessions may use; those named replace those before
    #[arg(long = "secret", value_name = "NAME")]
    pub(crate) secrets: Vec<String>,
    /// A tenant whose sessions have all of it, your vault, secrets and accounts among it; `*` for every tenant. Those named replace those
    /// before, and an empty name takes all away
    #[arg(long = "lend-to", value_name = "TENANT", value_delimiter = ',')]
    pub(crate) tenants: Vec<String>,
    /// What becomes of a change that it makes to its own instructions, where it has the tool: none is made, who answers for it says
    /// yes to each, or it makes those that they ask for where nobody else has a word
    #[arg(long, value_name = "off|confirm|free", value_parser = ["off", "confirm", "free"])]
    pub(crate) instructions_policy: Option<String>,
    /// The same for what it remembers and would act on in other sessions; off takes its memory away whole
    #[arg(long, value_name = "off|confirm|free", value_parser = ["off", "confirm", "free"])]
    pub(crate) memory_policy: Option<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it, once.
    Add {
        /// For people
        name: String,
        /// What it may do: read, write, approve, manage or admin, each of which allows what those before it allow; or one of them
        /// in an area, like jobs:write. Can be given several times
        #[arg(long, required = true, value_name = "SCOPE|AREA:SCOPE")]
        scope: Vec<String>,
        /// Whose sessions and envs it sees; all when left out
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// How long it is good, for example 12h or 30d; for ever when left out
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// The tokens, never their text.
    List,
    /// End a token at once.
    Revoke {
        /// Its identity or its name
        #[arg(value_name = "tok_...|NAME")]
        token: String,
    },
}
