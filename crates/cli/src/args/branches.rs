//! The verbs of agents that work on branches.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::verbs::Limits;

/// A new agent on a branch, or a further task for the one that is there.
#[derive(Debug, Clone, Args)]
pub(crate) struct Spawn {
    /// The branch; made where the repository stands now when it is not there
    #[arg(long, short, value_name = "BRANCH")]
    pub(crate) branch: String,
    /// What to do; `-` reads standard input
    #[arg(long, short, value_name = "TEXT|-")]
    pub(crate) task: String,
    /// The repository [default: the one around the current directory]; given again, one beside it, in a clone of its own at
    /// /home/sandbox/repos/NAME: the directory's name, or the one that is said
    #[arg(long, value_name = "[NAME=]DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Vec<String>,
    /// Where the branch begins: a branch, tag or commit [default: what is checked out]
    #[arg(long, value_name = "REF")]
    pub(crate) from: Option<String>,
    /// What kind of task it is: feature, fix, test, mutation, review, refactor, docs, explore, other, or one of your own from
    /// `branch-types` in the home [default: found out]
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// A directory with further types, one file NAME.toml each, for example the repository's own: they are what agents are told
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) types: Option<PathBuf>,
    /// So many agents on the same task, each on a branch of its own: BRANCH-1 and so on
    #[arg(short, long, value_name = "N")]
    pub(crate) n: Option<usize>,
    /// The agent program: mini, claude-code, codex, opencode, gemini, or a path to any other program
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// The model, as its provider names it, or PROVIDER/MODEL
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<String>,
    /// Who does it [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// What the agent sees of the repository's past: `all`, or `branch` for what its own branch reaches and nothing else
    #[arg(long, default_value = "all", value_parser = ["all", "branch"])]
    pub(crate) history: String,
    /// Check out only this directory, with the files at the top; may be given several times
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub(crate) sparse: Vec<String>,
    /// Carry uncommitted and untracked files of the repository in
    #[arg(long)]
    pub(crate) carry: bool,
    /// Carry in a file that git ignores, for example .env; a path in the repository
    #[arg(long = "file", value_name = "PATH")]
    pub(crate) files: Vec<String>,
    /// Make a last commit of what is left uncommitted after each turn
    #[arg(long)]
    pub(crate) commit: bool,
    /// A command whose success says that the work is good, for example "cargo test"; run in a sandbox
    #[arg(long, value_name = "CMD")]
    pub(crate) check: Option<String>,
    /// Wait for the end, show what happens, and exit as `run` does
    #[arg(long)]
    pub(crate) wait: bool,
    /// A host that may be reached: HOST[:PORT][/PATH][,METHOD], within `egress.max` of the configuration
    #[arg(long = "allow", value_name = "HOST")]
    pub(crate) allow: Vec<String>,
    /// A bound secret that it may use besides its agent's
    #[arg(long = "secret", value_name = "NAME")]
    pub(crate) secrets: Vec<String>,
    /// The most that each agent may cost, in US dollars
    #[arg(long, value_name = "N", alias = "budget-usd")]
    pub(crate) max_cost: Option<String>,
    /// The same as --timeout
    #[arg(long, value_name = "TIME", conflicts_with = "timeout")]
    pub(crate) time: Option<String>,
    /// From 0 to 9; a higher one goes first [default: 5]
    #[arg(long, value_name = "N")]
    pub(crate) priority: Option<u8>,
    /// A word for finding it again
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// Which agent.
#[derive(Debug, Clone, Args)]
pub(crate) struct OnBranch {
    /// The branch
    #[arg(value_name = "BRANCH", required_unless_present = "branch_flag")]
    pub(crate) branch: Option<String>,
    /// The branch
    #[arg(long = "branch", short = 'b', value_name = "BRANCH", conflicts_with = "branch", id = "branch_flag")]
    pub(crate) branch_flag: Option<String>,
    /// The repository [default: the one around the current directory, or the only one with such an agent]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
}

/// Which agents.
#[derive(Debug, Clone, Args)]
pub(crate) struct OnBranches {
    /// The branches
    #[arg(value_name = "BRANCH")]
    pub(crate) branches: Vec<String>,
    /// One more branch
    #[arg(long = "branch", short = 'b', value_name = "BRANCH", id = "branch_flags")]
    pub(crate) branch_flags: Vec<String>,
    /// The repository [default: the one around the current directory]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agents {
    /// The agents, the youngest first.
    List {
        /// Of this repository only [default: the one around the current directory, else all]
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        repo: Option<PathBuf>,
        /// Of every repository
        #[arg(long, short, conflicts_with = "repo")]
        all: bool,
    },
    /// Begin one; the same as `lazaret spawn`.
    Spawn(Box<Spawn>),
    /// Where one stands.
    Status(OnBranch),
    /// What one did: its last words, its commits, what it changed.
    Summary(OnBranch),
    /// What happened in one.
    Logs {
        #[command(flatten)]
        on: OnBranch,
        /// Go on with what comes, until its turn is over
        #[arg(long, short)]
        follow: bool,
    },
    /// What happens in one, as it happens.
    Follow(OnBranch),
    /// Wait until agents are over; exit as `run` does, with the worst of them.
    Wait {
        #[command(flatten)]
        on: OnBranches,
        /// Give up waiting (exit 4) after this time; the agents go on
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
    },
    /// Stop agents; what they did so far comes home.
    Stop(OnBranches),
    /// Give one a further task, or let it go on.
    Resume {
        #[command(flatten)]
        on: OnBranch,
        /// What to do now; `-` reads standard input
        #[arg(long, short, value_name = "TEXT|-")]
        task: Option<String>,
        /// Wait for the end
        #[arg(long)]
        wait: bool,
    },
    /// What one changed, with what hides in it.
    Diff {
        #[command(flatten)]
        on: OnBranch,
        /// The changes of one file
        #[arg(long, value_name = "PATH")]
        file: Option<String>,
        /// Names and numbers only
        #[arg(long)]
        stat: bool,
    },
    /// Read one's work, say what you think, and let it mend it.
    Review(Box<Review>),
    /// Run the check command on an agent's last commit, in a sandbox without doors.
    Check {
        #[command(flatten)]
        on: OnBranches,
        /// The command [default: the one that it was spawned with]
        #[arg(long = "run", value_name = "CMD")]
        command: Option<String>,
    },
    /// Which branches would conflict if they were merged; touches nothing.
    Preview {
        #[command(flatten)]
        on: OnBranches,
        /// Into this branch [default: the one that each was spawned from]
        #[arg(long, value_name = "BRANCH")]
        into: Option<String>,
    },
    /// Merge agents' branches, one after the other; stop at the first conflict (exit 5) with nothing of that one changed.
    Merge(Box<Merge>),
    /// The merge queues, or what one stands at; it goes on without being watched.
    Queue {
        /// The queue
        #[arg(value_name = "QUEUE")]
        id: Option<String>,
        /// Those of this repository [default: the one around the current directory, else all]
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "id")]
        repo: Option<PathBuf>,
        /// Stop it before its next step
        #[arg(long, requires = "id")]
        stop: bool,
        /// Let it go on with the branch that it stopped at
        #[arg(long, requires = "id", conflicts_with = "stop")]
        resume: bool,
    },
    /// Agents on the same task side by side, the best first.
    Compare {
        #[command(flatten)]
        on: OnBranches,
        /// Run this command on each first [default: the one that they were spawned with]
        #[arg(long, value_name = "CMD")]
        check: Option<String>,
    },
    /// Merge one of several agents on the same task, and put the others away.
    Pick {
        #[command(flatten)]
        on: OnBranch,
        /// Into this branch [default: the one that it was spawned from]
        #[arg(long, value_name = "BRANCH")]
        into: Option<String>,
        /// Ask nothing
        #[arg(long, short)]
        yes: bool,
    },
    /// Take parts of what an agent did: a new branch with one commit on top of the target, to read, test and merge.
    Take(Box<Take>),
    /// Push an agent's branch to a remote of the repository, with your own git and credentials.
    Push {
        #[command(flatten)]
        on: OnBranch,
        /// The remote
        #[arg(long, value_name = "NAME", default_value = "origin")]
        remote: String,
        /// Refuse when the branch is no longer at this commit; of several repositories COMMIT,NAME=COMMIT,...
        #[arg(long, value_name = "COMMIT")]
        expect: Option<String>,
        /// Ask nothing
        #[arg(long, short)]
        yes: bool,
    },
    /// Open a pull request through the GitHub plugin, after your yes.
    Pr {
        #[command(flatten)]
        on: OnBranch,
        /// Its title [default: the subject of the last commit]
        #[arg(long, value_name = "TEXT")]
        title: Option<String>,
        /// What it says [default: the agent's first task]
        #[arg(long, value_name = "TEXT")]
        body: Option<String>,
        /// Into this branch [default: the one that it was spawned from]
        #[arg(long, value_name = "BRANCH")]
        into: Option<String>,
        /// The remote that the branch is pushed to
        #[arg(long, value_name = "NAME", default_value = "origin")]
        remote: String,
        /// The repository there [default: found out from the remote's address]
        #[arg(long, value_name = "OWNER/NAME")]
        github: Option<String>,
        /// Refuse when the branch is no longer at this commit
        #[arg(long, value_name = "COMMIT")]
        expect: Option<String>,
        /// Ask nothing: push, and open it
        #[arg(long, short)]
        yes: bool,
    },
    /// Make a working tree with what came home last, by your own git's means and without its hooks and filters; `clean` removes it.
    Worktree {
        #[command(flatten)]
        on: OnBranch,
        /// Where: a directory that is not there yet
        #[arg(long = "at", value_name = "DIR", value_hint = ValueHint::DirPath)]
        at: PathBuf,
        /// Check the commit out and not the branch, so that further work still comes home to the branch
        #[arg(long)]
        detach: bool,
    },
    /// Forget agents whose work is merged; refuses what would be lost.
    Clean {
        #[command(flatten)]
        on: OnBranches,
        /// All whose work is merged
        #[arg(long)]
        merged: bool,
        /// Those that `branches.keep_merged` and `branches.keep_idle` of the configuration let go, as the daemon does every hour
        #[arg(long, conflicts_with_all = ["merged", "force", "archive", "delete_branch"])]
        policy: bool,
        /// Keep what would be lost in an archive first
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        archive: Option<PathBuf>,
        /// Lose unmerged, uncommitted and untracked work
        #[arg(long, conflicts_with = "archive")]
        force: bool,
        /// Remove the branch from the repository too
        #[arg(long)]
        delete_branch: bool,
        /// Say what would be done, and how much it would free
        #[arg(long)]
        dry_run: bool,
    },
    /// Open a server that listens in an agent's sandbox in a browser of this machine: prints a link that works once.
    Open {
        #[command(flatten)]
        on: OnBranch,
        /// Where it listens [default: the only port on which something does]
        #[arg(value_name = "PORT")]
        port: Option<u16>,
        /// Print the link alone
        #[arg(long)]
        print: bool,
        /// Let its pages load from other hosts and speak with them: the agent's files could leave through the browser
        #[arg(long)]
        outside: bool,
    },
    /// Bring an agent's commits home now.
    Fetch(OnBranch),
    /// Another word
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Parts of an agent's work.
#[derive(Debug, Clone, Args)]
pub(crate) struct Take {
    #[command(flatten)]
    pub(crate) on: OnBranch,
    /// A file, or a directory with all below it
    #[arg(long = "path", value_name = "PATH", required = true)]
    pub(crate) paths: Vec<String>,
    /// On top of this branch [default: the one that it was spawned from]
    #[arg(long, value_name = "BRANCH")]
    pub(crate) into: Option<String>,
    /// The new branch [default: BRANCH-parts]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// A review.
#[derive(Debug, Clone, Args)]
pub(crate) struct Review {
    #[command(flatten)]
    pub(crate) on: OnBranch,
    /// Only this file
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<String>,
    /// A comment on a line, a file or, with `.`, the whole: two words, FILE[:LINE] and TEXT
    #[arg(long = "comment", num_args = 2, value_names = ["FILE[:LINE]", "TEXT"])]
    pub(crate) comments: Vec<String>,
    /// Send the comments that were not sent yet to the agent, as its next turn
    #[arg(long)]
    pub(crate) send: bool,
    /// Run this command on the last commit, in a sandbox without doors
    #[arg(long, value_name = "CMD")]
    pub(crate) check: Option<String>,
    /// The work is good
    #[arg(long, conflicts_with = "reject")]
    pub(crate) approve: bool,
    /// The work is not good
    #[arg(long)]
    pub(crate) reject: bool,
    /// With --send: wait for the end of the turn
    #[arg(long)]
    pub(crate) wait: bool,
}

/// A merge.
#[derive(Debug, Clone, Args)]
pub(crate) struct Merge {
    #[command(flatten)]
    pub(crate) on: OnBranches,
    /// Into this branch [default: the one that each was spawned from]
    #[arg(long, value_name = "BRANCH")]
    pub(crate) into: Option<String>,
    /// Ask nothing
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Put each branch on top of the one before, run the check command on the result, and merge it only when that passes; goes on when
    /// this command or the daemon dies
    #[arg(long)]
    pub(crate) queue: bool,
    /// The check command of the queue [default: the one that each was spawned with]
    #[arg(long, value_name = "CMD")]
    pub(crate) check: Option<String>,
    /// Refuse when the branch is no longer at this commit; of several repositories COMMIT,NAME=COMMIT,...
    #[arg(long, value_name = "COMMIT")]
    pub(crate) expect: Option<String>,
    /// Give a conflict to the agent, as its next turn
    #[arg(long)]
    pub(crate) resolve: bool,
    /// With --resolve: wait for the agent, and merge again
    #[arg(long)]
    pub(crate) wait: bool,
}
