//! The verbs of skills.

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Skill {
    /// Look at a skill and, with a yes, put it in force: a folder with a SKILL.md.
    Add {
        /// DIR, FILE.tar[.gz], https://HOST/PATH[#BRANCH], or a repository that your own git reaches (ssh://, USER@HOST:PATH, file://)
        #[arg(value_hint = ValueHint::AnyPath)]
        source: String,
        #[command(flatten)]
        how: SkillHow,
    },
    /// Skills, and which agents have them.
    List,
    /// One skill: its files, what was found in it, who approved it, and whether its files are still the same.
    Show {
        /// The skill
        name: String,
        /// What was in force before, too
        #[arg(long)]
        versions: bool,
    },
    /// Look at what came of a skill since and, with a yes, put it in force. Sandboxes that are there keep theirs.
    Update {
        /// The skill
        name: String,
        /// Where the new one comes from; else where it came from before
        #[arg(value_hint = ValueHint::AnyPath)]
        source: Option<String>,
        #[command(flatten)]
        how: SkillHow,
    },
    /// Compare a skill's files in the home with what was approved; all skills when none is named. Exit 1 where they differ.
    Verify {
        /// The skill
        name: Option<String>,
        /// Put the approved files back
        #[arg(long, requires = "name", conflicts_with = "approve")]
        restore: bool,
        /// Approve the files as they are in the home now
        #[arg(long, value_name = "sha256:HEX", requires = "name")]
        approve: Option<String>,
    },
    /// Forget a skill that was added.
    Remove {
        /// The skill
        name: String,
        /// Also when an agent has it, whose sessions will not begin any more
        #[arg(long)]
        force: bool,
    },
}

/// How a skill is added.
#[derive(Debug, Clone, Args)]
pub(crate) struct SkillHow {
    /// The folder in it that is the skill, where there are several
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// What its files must be; a yes to exactly these, without a question
    #[arg(long, value_name = "sha256:HEX")]
    pub(crate) hash: Option<String>,
    /// Yes, without a question, unless something is hidden in it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Look only
    #[arg(long, conflicts_with_all = ["yes", "hash"])]
    pub(crate) dry_run: bool,
}
