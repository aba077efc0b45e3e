//! The last commit of a turn: what the agent left uncommitted, where that was asked for.

use std::time::Duration;

use model::EventKind;

use crate::git::Seat;
use crate::jobs::Ran;
use crate::pump::Ending;
use crate::turn::Running;

/// How long it may take.
const COMMIT_TIME: Duration = Duration::from_secs(120);
/// Commits everything, in the agent's own clone and sandbox. A hook of the agent's is the agent's own business there.
const COMMIT: &str = "#!/bin/sh
set -eu
for dir in . $BESIDE; do
    cd \"$dir\" || continue
    [ -n \"$(git status --porcelain)\" ] || continue
    git add --all
    git commit --quiet --no-verify -m 'Keep what was left uncommitted'
done
";

impl Running<'_> {
    /// Makes a last commit of what is left, where the branch agent is to.
    pub(crate) async fn commit_rest(&self, ending: &mut Ending) {
        let Some(part) = self.live.spec.branch.as_ref().filter(|part| part.commit) else { return };
        // Their names have neither blanks nor anything else that a shell reads.
        let beside: Vec<String> = part.beside.iter().map(|name| Seat::Beside(name).inside()).collect();
        let held = self.live.sandbox.lock().await;
        let sandbox = held.as_ref().map(|housed| housed.sandbox.clone()).filter(|sandbox| sandbox.summary().alive);
        drop(held);
        let failed = match sandbox {
            None => "the sandbox is gone".to_owned(),
            Some(sandbox) => match self.script(&sandbox, "commit", COMMIT, &[("BESIDE", beside.join(" "))], COMMIT_TIME).await {
                Ok(Ran::Exited { status: 0, .. }) => return,
                Ok(Ran::Exited { output, .. }) => output.lines().last().unwrap_or("git says nothing").to_owned(),
                Ok(Ran::Late(_)) => "it took too long".to_owned(),
                Ok(Ran::Cancelled) => "it was stopped".to_owned(),
                Err(failure) => failure.message,
            },
        };
        ending.events.push(EventKind::Notice { text: format!("what is left uncommitted was not committed: {failed}") });
    }
}
