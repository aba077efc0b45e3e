//! How a turn is made to stop, and which limit stopped one.

use model::{Code, EventKind, Failure, Level, Outcome, ResultEvent, TurnEvent, Usage};
use sandbox::{CommandOutput, Piece, Sandbox};
use store::{Record, TurnRow};

use crate::now;
use crate::pump::{Pump, unkept};

/// How long an engine that is asked to end its turn may take before it is killed. Who cancels waits for 2 s at most.
const INTERRUPT_GRACE: std::time::Duration = std::time::Duration::from_millis(800);

impl Pump<'_> {
    /// Asks an engine that has a word for it to end its turn, and waits for its last lines: it keeps its conversation then.
    pub(crate) async fn interrupt(&mut self, output: &mut CommandOutput) -> Result<(), Failure> {
        let word = self.feed.interrupt();
        let Some(input) = self.input.clone().filter(|_| !word.is_empty()) else { return Ok(()) };
        input.write(word)?;
        let until = tokio::time::Instant::now() + INTERRUPT_GRACE;
        while !self.feed.is_over() {
            let Ok(Ok(Some(piece))) = tokio::time::timeout_at(until, output.next()).await else { break };
            let is_kept = match piece.piece {
                _ if piece.number <= self.read => true,
                Piece::Stdout(bytes) => self.keep(piece.number, false, &bytes).map_err(unkept)?,
                Piece::Stderr(bytes) => self.keep(piece.number, true, &bytes).map_err(unkept)?,
                Piece::Exited(_) => false,
            };
            if !is_kept {
                break;
            }
        }
        Ok(())
    }
}

/// Whether a limit of the sandbox explains an engine's failure.
pub(crate) fn limit_reached(sandbox: &Sandbox, limits: &model::Limits, code: Option<Code>) -> Option<(Code, String)> {
    code?;
    let stats = sandbox.stats();
    if stats.oom_kills.is_some_and(|n| n > 0) {
        return Some((Code::MemoryLimit, format!("the memory limit of {} MiB was reached", limits.memory_bytes >> 20)));
    }
    // The last block may not fit any more although some bytes are free.
    if stats.disk_bytes.is_some_and(|n| n >= limits.disk_bytes - limits.disk_bytes / 64) {
        return Some((Code::DiskLimit, format!("the disk limit of {} MiB was reached", limits.disk_bytes >> 20)));
    }
    None
}

/// The end of a turn that never ran.
pub(crate) fn ended_unrun(turn: &TurnRow, change: TurnEvent, code: Code, message: &str) -> Record {
    Record::new(turn.id.clone(), turn.fence, ended_badly(code, message).into(), now()).change(change)
}

/// The last two events of a turn that never came to an end of its own.
pub(crate) fn ended_badly(code: Code, message: &str) -> [EventKind; 2] {
    let result = ResultEvent {
        status: Outcome::of_failure(code),
        text: String::new(),
        usage: Usage::default(),
        cost_usd: 0.0,
        duration_ms: 0,
        level: Level::default(),
        code: Some(code),
    };
    [EventKind::Error { code, message: message.to_owned(), retriable: false }, EventKind::Result(result)]
}
