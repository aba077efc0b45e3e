//! Parts of what an agent did, as one ordinary commit on a branch of their own: to be read, tested and merged like any other.
//!
//! It is computed on objects that came home, which were checked then, in the user's own repository and by the user's git without its
//! hooks, filters and drivers. No working tree and no branch that is there is touched.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use app::BranchView;
use model::{Code, Failure};
use serde_json::json;

use super::super::Context;
use super::super::repo::Clone;
use super::{repo, which};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::home::Home;
use crate::out;

/// Paths that one call takes.
const PATHS_MAX: usize = 200;
/// Files that one line names.
const FILES_SHOWN: usize = 10;
/// Who commits where nobody is known.
const NOBODY: (&str, &str) = ("Lazaret", "agent@localhost");

pub(super) async fn run(context: &Context, client: &Client, flags: args::Take) -> Done {
    let agent = which::one(client, &flags.on).await?;
    let home = Home::open(&context.env.home)?;
    let room = Clone::make(&home.run_dir()).map_err(|e| Failure::new(Code::PathUnusable, format!("there is no room: {e}")))?;
    let git = Git { repo: agent.repo.clone().into(), path: context.env.path.clone(), index: room.dir.join("index") };
    let taken = take(&git, context, &agent, &flags)?;
    if context.json {
        out::json(&json!({ "branch": agent.branch, "paths": flags.paths, "into": taken.into, "as": taken.name, "result": taken.result,
            "commit": taken.commit, "conflicts": taken.conflicts }))?;
    } else {
        out::line(&clean(&taken.sentence(&agent)));
    }
    Ok(if taken.conflicts.is_empty() { 0 } else { Code::MergeConflict.exit_status() })
}

/// What came of it.
struct Taken {
    into: String,
    name: String,
    result: &'static str,
    commit: Option<String>,
    conflicts: Vec<String>,
}

impl Taken {
    fn sentence(&self, agent: &BranchView) -> String {
        let (name, into) = (&self.name, &self.into);
        match self.result {
            "conflict" => {
                let shown = self.conflicts.iter().take(FILES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
                format!("the parts of {} conflict with {into}; nothing was made: {shown}", agent.branch)
            }
            "current" => format!("{into} has these parts of {} already", agent.branch),
            _ => {
                format!("{name} is {into} with these parts of {}; look: git show {name}; take it: git merge --ff-only {name}", agent.branch)
            }
        }
    }
}

fn take(git: &Git, context: &Context, agent: &BranchView, flags: &args::Take) -> Result<Taken, Failure> {
    let usage = |field: &str, why: String| Failure::new(Code::Usage, why).field(field);
    let tip = agent.tip.as_deref().filter(|tip| tip.bytes().all(|b| b.is_ascii_hexdigit()));
    let tip = tip.ok_or_else(|| Failure::new(Code::Conflict, "nothing of this agent came home yet").hint("see: lazaret agents status"))?;
    let into = flags.into.clone().or_else(|| agent.target.clone());
    let into = into.ok_or_else(|| usage("--into", format!("{} was begun at no branch; say on top of which", agent.branch)))?;
    let name = flags.name.clone().unwrap_or_else(|| format!("{}-parts", agent.branch));
    for name in [&into, &name] {
        model::check_branch_name(name).map_err(|e| usage("--into", e.to_string()))?;
    }
    if flags.paths.len() > PATHS_MAX {
        return Err(usage("--path", format!("at most {PATHS_MAX} paths are named")));
    }
    let (status, before, _) =
        git.answer(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("refs/heads/{into}^{{commit}}")], b"")?;
    if status != 0 {
        return Err(Failure::new(Code::NotFound, format!("there is no branch `{into}`")).field("--into"));
    }
    let before = String::from_utf8_lossy(&before).trim().to_owned();
    let base = git.text(&["merge-base", &before, tip])?;
    git.run(&["read-tree", &base], b"")?;
    for path in &flags.paths {
        let info = changed(git, &base, tip, path)?;
        git.run(&["update-index", "-z", "--index-info"], &info)?;
    }
    let author = repo::author(&git.repo, &context.env).map_or_else(|| (NOBODY.0.to_owned(), NOBODY.1.to_owned()), |by| (by.name, by.email));
    let parts = git.text(&["write-tree"])?;
    let parts = git.commit(&parts, &base, "parts", &author)?;
    let mut taken = Taken { into, name, result: "current", commit: None, conflicts: Vec::new() };
    let tree = match git.merged(&before, &parts)? {
        Ok(tree) => tree,
        Err(files) => return Ok(Taken { result: "conflict", conflicts: files, ..taken }),
    };
    if tree == git.text(&["rev-parse", &format!("{before}^{{tree}}")])? {
        return Ok(taken);
    }
    let message = format!("Take parts of {}\n\n{}\n\nTaken-From: {tip}\n", agent.branch, flags.paths.join("\n"));
    let commit = git.commit(&tree, &before, &message, &author)?;
    let zero = "0".repeat(commit.len());
    let made = git.answer(&["update-ref", &format!("refs/heads/{}", taken.name), &commit, &zero], b"")?;
    if made.0 != 0 {
        return Err(Failure::new(Code::Conflict, format!("the branch {} cannot be made: there is one, or one beside it", taken.name))
            .hint("name another: --as NAME")
            .field("--as"));
    }
    taken.result = "taken";
    taken.commit = Some(commit);
    Ok(taken)
}

/// What the index is told of a path: what was there goes, what the agent has there comes.
fn changed(git: &Git, base: &str, tip: &str, path: &str) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &str| Failure::new(Code::Usage, format!("--path {}: {why}", path.escape_debug())).field("--path");
    let bare = path.strip_suffix('/').unwrap_or(path);
    let is_plain = !bare.is_empty()
        && !bare.contains('\0')
        && Path::new(bare).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !is_plain {
        return Err(wrong("it is a path in the repository, without `..`"));
    }
    let list = |commit: &str| git.run(&["ls-tree", "-r", "-z", "--full-tree", commit, "--", bare], b"");
    let (old, new) = (list(base)?, list(tip)?);
    if old == new {
        return Err(wrong("the agent changed nothing there"));
    }
    let mut info = Vec::new();
    for entry in old.split(|b| *b == 0).filter(|entry| !entry.is_empty()) {
        let tab = entry.iter().position(|b| *b == b'\t').unwrap_or(entry.len());
        info.extend_from_slice(b"0 ");
        info.extend(std::iter::repeat_n(b'0', base.len()));
        info.extend_from_slice(&entry[tab..]);
        info.push(0);
    }
    info.extend_from_slice(&new);
    Ok(info)
}

/// The user's git in the user's repository, with an index of ours and without anything that configuration or attributes could start.
struct Git {
    repo: PathBuf,
    path: String,
    index: PathBuf,
}

impl Git {
    fn answer(&self, args: &[&str], input: &[u8]) -> Result<(i32, Vec<u8>, String), Failure> {
        self.answer_as(args, input, &[])
    }

    fn answer_as(&self, args: &[&str], input: &[u8], env: &[(&str, &str)]) -> Result<(i32, Vec<u8>, String), Failure> {
        let fail = |e: std::io::Error| Failure::new(Code::PathUnusable, format!("git cannot be run: {e}"));
        let mut git = Command::new("git");
        git.env_clear().env("PATH", &self.path).env("LC_ALL", "C").env("GIT_INDEX_FILE", &self.index);
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_LITERAL_PATHSPECS", "1"),
        ] {
            git.env(name, value);
        }
        git.envs(env.iter().copied());
        for setting in
            ["core.hooksPath=/dev/null", "core.fsmonitor=false", "core.splitIndex=false", "protocol.allow=never", "safe.directory=*"]
        {
            git.args(["-c", setting]);
        }
        git.arg("-C").arg(&self.repo).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = git.spawn().map_err(fail)?;
        let mut pipe = child.stdin.take();
        let bytes = input.to_vec();
        // Written beside, so that neither side waits for the other; one that has heard enough may close it.
        let writer = std::thread::spawn(move || pipe.take().map(|mut pipe| pipe.write_all(&bytes)));
        let out = child.wait_with_output().map_err(fail)?;
        let _ = writer.join();
        Ok((out.status.code().unwrap_or(128), out.stdout, String::from_utf8_lossy(&out.stderr).trim().to_owned()))
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Result<Vec<u8>, Failure> {
        let (status, out, complaint) = self.answer(args, input)?;
        if status == 0 { Ok(out) } else { Err(refused(args, &complaint)) }
    }

    fn text(&self, args: &[&str]) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.run(args, b"")?).trim().to_owned())
    }

    fn commit(&self, tree: &str, parent: &str, message: &str, (name, email): &(String, String)) -> Result<String, Failure> {
        let by = [("GIT_AUTHOR_NAME", name), ("GIT_AUTHOR_EMAIL", email), ("GIT_COMMITTER_NAME", name), ("GIT_COMMITTER_EMAIL", email)];
        let by = by.map(|(key, value)| (key, value.as_str()));
        let args = ["commit-tree", tree, "-p", parent, "-F", "-"];
        let (status, out, complaint) = self.answer_as(&args, message.as_bytes(), &by)?;
        if status == 0 { Ok(String::from_utf8_lossy(&out).trim().to_owned()) } else { Err(refused(&args, &complaint)) }
    }

    /// The files of a merge as a tree, or those that conflict.
    fn merged(&self, ours: &str, theirs: &str) -> Result<Result<String, Vec<String>>, Failure> {
        // Attributes of no tree: an agent's could name a driver that the user's configuration has.
        let none = String::from_utf8_lossy(&self.run(&["hash-object", "-w", "-t", "tree", "--stdin"], b"")?).trim().to_owned();
        let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs];
        let (status, out, complaint) = self.answer_as(&args, b"", &[("GIT_ATTR_SOURCE", &none)])?;
        let mut words = out.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).filter(|word| !word.is_empty());
        let tree = words.next().unwrap_or_default();
        match status {
            0 => Ok(Ok(tree)),
            1 => Ok(Err(words.collect())),
            _ => Err(refused(&args, &complaint)),
        }
    }
}

fn refused(args: &[&str], complaint: &str) -> Failure {
    let verb = args.first().copied().unwrap_or_default();
    Failure::new(Code::Conflict, format!("git did not {verb}: {}", clean(complaint)))
}
