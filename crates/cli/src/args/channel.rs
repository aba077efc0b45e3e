//! Chat networks: accounts, chats, wirings and people.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// Add an account of a chat network, and begin it.
    Add(Box<ChannelAdd>),
    /// The accounts and how they are.
    List,
    /// Show an account.
    Show {
        /// Its name
        name: String,
    },
    /// Change an account and begin it again.
    Set {
        /// Its name
        name: String,
        /// What its program is told; replaces all that it was told before (JSON where it is JSON, else text)
        #[arg(long, value_name = "KEY=VALUE")]
        config: Vec<String>,
        /// A credential that it gets; `KEY=-` reads standard input
        #[arg(long, value_name = "KEY=-")]
        credential: Vec<String>,
        /// Look at somebody else's program again, and take it as it is now
        #[arg(long, value_name = "FOLDER")]
        program: Option<String>,
    },
    /// Switch an account on.
    On {
        /// Its name
        name: String,
    },
    /// Switch an account off; what it owes waits.
    Off {
        /// Its name
        name: String,
    },
    /// Forget an account with its chats, what was heard and what is owed.
    Remove {
        /// Its name
        name: String,
    },
    /// What chat networks are owed, the youngest first.
    Deliveries {
        /// waiting, sending, sent or dead
        #[arg(long, value_parser = ["waiting", "sending", "sent", "dead"])]
        state: Option<String>,
        /// Through this account
        #[arg(long)]
        channel: Option<String>,
    },
    /// Send once more what was given up.
    Resend {
        /// Which
        #[arg(value_name = "out_...", required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ChannelAdd {
    /// Its name
    pub(crate) name: String,
    /// Its network
    #[arg(long)]
    pub(crate) network: String,
    /// The folder below channels/ of the home that holds somebody else's program, named `channel`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) program: Option<String>,
    /// What its program is told (JSON where it is JSON, else text)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) config: Vec<String>,
    /// A credential; `KEY=-` reads standard input, and `-` alone is the one that the network needs
    #[arg(long, value_name = "KEY=-")]
    pub(crate) credential: Vec<String>,
    /// Whose it is
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Chats {
    /// The chats, the youngest first.
    List {
        /// Of this account
        #[arg(long)]
        channel: Option<String>,
    },
    /// Show a chat.
    Show {
        /// Its identity
        #[arg(value_name = "cht_...")]
        chat: String,
    },
    /// Make a chat known before anything was heard in it.
    Add {
        /// The account
        channel: String,
        /// The platform's id
        chat: String,
        /// What people call it
        #[arg(long, default_value = "")]
        name: String,
        /// Others than one person can be in it
        #[arg(long)]
        group: bool,
    },
    /// Change what becomes of who is not known, and whether anything of a chat is wanted.
    Set {
        /// Its identity
        #[arg(value_name = "cht_...")]
        chat: String,
        /// What becomes of who is not known
        #[arg(long, value_parser = ["strict", "request", "public"])]
        policy: Option<String>,
        /// Nothing of it is wanted
        #[arg(long, conflicts_with = "hear")]
        deny: bool,
        /// It is wanted again
        #[arg(long)]
        hear: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Wire {
    /// Let an agent hear a chat, or change how.
    Add(Box<WireAdd>),
    /// Which agent hears which chat.
    List {
        /// Of this chat
        #[arg(long, value_name = "cht_...|CHANNEL/ID")]
        chat: Option<String>,
    },
    /// Let an agent hear a chat no more.
    Remove {
        /// Which wiring
        #[arg(value_name = "wir_...")]
        id: String,
    },
    /// Make a code: whoever sends it in a chat has the chat wired, and is let in.
    Pair {
        /// The agent that hears the chat
        #[arg(long)]
        agent: Option<String>,
        /// What the sender becomes: member or admin of the agent, or owner; without an agent admin or owner
        #[arg(long)]
        role: Option<String>,
        /// The person whom the handle is linked to
        #[arg(long, value_name = "usr_...")]
        user: Option<String>,
        /// The only account that it can be used with
        #[arg(long)]
        channel: Option<String>,
    },
    /// Let an agent send to a chat, under a name.
    Destination {
        /// The agent
        agent: String,
        /// Its name for it
        name: String,
        /// The chat
        #[arg(value_name = "cht_...|CHANNEL/ID")]
        chat: String,
        /// The platform's id of a thread in it
        #[arg(long)]
        thread: Option<String>,
    },
    /// Where an agent may send to.
    Destinations {
        /// The agent
        agent: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WireAdd {
    /// The chat
    #[arg(value_name = "cht_...|CHANNEL/ID")]
    pub(crate) chat: String,
    /// The agent
    #[arg(long)]
    pub(crate) agent: String,
    /// When it engages [default: sticky in a group, every message in a direct chat]
    #[arg(long, value_parser = ["pattern", "mention", "sticky"])]
    pub(crate) engage: Option<String>,
    /// A regular expression that is looked for; `.` is every message
    #[arg(long)]
    pub(crate) pattern: Option<String>,
    /// Whose messages engage it [default: known]
    #[arg(long, value_parser = ["all", "known"])]
    pub(crate) senders: Option<String>,
    /// What becomes of the others [default: accumulate in a group]
    #[arg(long, value_parser = ["drop", "accumulate"])]
    pub(crate) ignored: Option<String>,
    /// Which messages belong to one conversation [default: shared]
    #[arg(long, value_parser = ["shared", "thread", "agent"])]
    pub(crate) mode: Option<String>,
    /// The higher is asked first
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub(crate) priority: i64,
    /// What other programs say is heard too
    #[arg(long)]
    pub(crate) bots: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum People {
    /// Who is who on chat networks.
    Handles,
    /// Link a handle to a person.
    Link {
        /// The account that verifies it
        channel: String,
        /// The network's id of them
        handle: String,
        /// Whose it is
        #[arg(value_name = "usr_...")]
        user: String,
    },
    /// Unlink a handle: whoever has it is unknown.
    Unlink {
        /// The account
        channel: String,
        /// The network's id of them
        handle: String,
    },
    /// Who asks to be let in.
    Admissions {
        /// Those that were answered too
        #[arg(long)]
        all: bool,
    },
    /// Let somebody in, or refuse.
    Admit {
        /// Who
        #[arg(value_name = "adm_...")]
        id: String,
        /// Refuse
        #[arg(long)]
        deny: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Make somebody a member or admin of an agent.
    Grant {
        /// Who
        #[arg(value_name = "usr_...")]
        user: String,
        /// The agent
        #[arg(long)]
        agent: String,
        /// What they become
        #[arg(long, default_value = "member", value_parser = ["member", "admin"])]
        role: String,
    },
    /// Take somebody's role with an agent away.
    Revoke {
        /// Who
        #[arg(value_name = "usr_...")]
        user: String,
        /// The agent
        #[arg(long)]
        agent: String,
    },
    /// Who is what to which agent.
    List,
}
