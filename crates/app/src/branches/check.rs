//! Checks: a command run on a commit, in a sandbox that has the files of it, no doors and no credential.

use std::time::{Duration, Instant};

use model::{Code, Failure};
use sandbox::{Exec, Piece, Sandbox, Stdio, Tree};
use store::{BranchPatch, BranchRow};

use super::BranchesOf;
use super::forms::{CheckOrder, CheckView, Options};
use super::read::{Ground, base_of, tip_of};
use crate::git::{Beside, BesideOrder, CloneOrder, History, Oid};
use crate::sessions::read_spec;
use crate::{App, now};

/// The longest time of a check.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// How much is kept of what a check prints, in bytes: its end.
const OUTPUT_BYTES_MAX: usize = 16 << 10;
/// How much of that a report shows, in characters: its end.
pub(super) const CHECK_OUTPUT_CHARS_SHOWN: usize = 2000;
/// Checks that run at once.
pub(super) const CHECKS_MAX: usize = 4;
/// The branch in the clone that a check sees.
const BRANCH: &str = "check";
/// Who would commit there.
const NOBODY: (&str, &str) = ("Lazaret", "agent@localhost");

impl BranchesOf<'_> {
    /// Runs an agent's check on the commit that came home last, and keeps what it said.
    ///
    /// # Errors
    /// There is none of this identity, nothing of it came home, there is no command, or no sandbox can be had.
    pub async fn check(&self, id: &str, order: CheckOrder) -> Result<CheckView, Failure> {
        let row = self.row(id).await?;
        let tip = tip_of(&row)?;
        let command = command_of(&row, order.command)?;
        let ground = self.app.ground_of_branch(&row).await.map_err(|e| e.failure())?;
        let check = self.app.run_check(&row, &ground, &tip, &command).await?;
        let value = serde_json::to_value(&check).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let patch = BranchPatch { checked: Some(value), ..BranchPatch::default() };
        self.app.store().update_branch(&row.id, patch, now()).await.map_err(|e| e.failure())?;
        self.app.branch_news(&row.session);
        Ok(check)
    }
}

/// The command that is asked for, or the agent's own.
pub(super) fn command_of(row: &BranchRow, asked: Option<String>) -> Result<String, Failure> {
    let own = || serde_json::from_value::<Options>(row.options.clone()).ok().and_then(|options| options.check);
    let command = asked.or_else(own).filter(|command| !command.trim().is_empty() && !command.contains('\0'));
    command
        .ok_or_else(|| Failure::new(Code::Usage, "there is no check command").hint("name one, or spawn with --check CMD").field("command"))
}

impl App {
    /// Runs a command on the files of a commit.
    pub(super) async fn run_check(&self, row: &BranchRow, ground: &Ground, commit: &Oid, command: &str) -> Result<CheckView, Failure> {
        let others = self.others_of_check(row).await?;
        let beside: Vec<(&str, &Ground, &Oid)> = others.iter().map(|(name, ground, commit)| (name.as_str(), ground, commit)).collect();
        self.run_check_beside(row, (ground, commit), &beside, command).await
    }

    /// The same, with each of the repositories beside the first one at a commit of its own.
    pub(super) async fn run_check_beside(
        &self,
        row: &BranchRow,
        (ground, commit): (&Ground, &Oid),
        others: &[(&str, &Ground, &Oid)],
        command: &str,
    ) -> Result<CheckView, Failure> {
        let _place = self.branch_desk().checks.acquire().await.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let session = self.store().session(&row.session).await.map_err(|e| e.failure())?;
        let spec = read_spec(&session)?;
        let mut helper = self.helper();
        let tree = helper.tree();
        let beside = others.iter().map(|&(name, ground, commit)| BesideOrder {
            of: Beside { name, repo: &ground.repo, mirror: &ground.mirror, commit },
            upstream: None,
            carried: None,
        });
        let clone = CloneOrder {
            repo: &ground.repo,
            mirror: &ground.mirror,
            branch: BRANCH,
            commit,
            upstream: None,
            sparse: &[],
            history: History::All,
            author: NOBODY,
            trailer: None,
            carried: None,
            disk_bytes: spec.limits.disk_bytes,
            beside: beside.collect(),
        };
        ground.shop.clone_into(clone, &tree).await.map_err(|e| e.failure())?;
        let mut request = helper.request(format!("{}{tree}", crate::trees::LOOK_LABEL));
        request.limits = spec.limits;
        request.image = spec.image.clone().into();
        request.tree = Tree::Kept { id: tree };
        request.extra_ro = vec![ground.shop.show(&ground.mirror)];
        request.extra_ro.extend(others.iter().map(|(_, ground, _)| ground.shop.show(&ground.mirror)));
        request.extra_ro.extend(self.tools_mounts_of(&session.agent).await?);
        let sandbox = helper.start(request).await?;
        let checked = run(&sandbox, &spec.limits, command).await;
        helper.close().await;
        let (status, output, took) = checked?;
        Ok(CheckView {
            command: command.to_owned(),
            passed: status == Some(0),
            status,
            output,
            commit: commit.to_string(),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            at: now(),
        })
    }
}

impl App {
    /// The repositories beside the first one, each at what came home of it, or where it began.
    async fn others_of_check(&self, row: &BranchRow) -> Result<Vec<(String, Ground, Oid)>, Failure> {
        let mut others = Vec::with_capacity(row.also.len());
        for other in &row.also {
            let seen = row.seen_from(other);
            let commit = tip_of(&seen).or_else(|_| base_of(&seen))?;
            let ground = self.ground_of_branch(&seen).await.map_err(|e| e.failure())?;
            others.push((other.name.clone(), ground, commit));
        }
        Ok(others)
    }
}

/// The status of a command, `None` when it did not end in time; the end of what it printed; how long it took.
async fn run(sandbox: &Sandbox, limits: &model::Limits, command: &str) -> Result<(Option<i32>, String, Duration), Failure> {
    let argv = ["/bin/sh", "-c", command].map(str::to_owned).into();
    let env = sandbox::base_env(limits);
    let began = Instant::now();
    let exec = Exec { argv, env, cwd: "/workspace".to_owned(), stdio: Stdio::Pipes { stdin: false }, lease: 0 };
    let mut started = sandbox.exec(exec).await.map_err(|e| e.failure())?;
    let mut tail: Vec<u8> = Vec::new();
    let read = async {
        loop {
            let Some(piece) = started.output.next().await.map_err(|e| e.failure())? else {
                return Err(Failure::new(Code::SandboxFailed, "the sandbox ended while the check ran"));
            };
            started.control.ack(piece.number);
            match piece.piece {
                Piece::Stdout(bytes) | Piece::Stderr(bytes) => {
                    tail.extend_from_slice(&bytes);
                    let over = tail.len().saturating_sub(OUTPUT_BYTES_MAX);
                    tail.drain(..over);
                }
                Piece::Exited(exit) => return Ok(exit.code.unwrap_or_else(|| 128 + exit.signal.unwrap_or_default())),
            }
        }
    };
    let status = match tokio::time::timeout(TIME_MAX.min(limits.time), read).await {
        Ok(status) => Some(status?),
        Err(_) => None,
    };
    let text = String::from_utf8_lossy(&tail);
    let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n' || *c == '\t').collect();
    Ok((status, text.trim_end().to_owned(), began.elapsed()))
}
