//! A script that says whether a turn is worth an engine, run in the turn's own sandbox before the engine starts.

use std::time::Duration;

use model::{Code, Failure, escaped};
use sandbox::Sandbox;
use serde_json::Value;
use store::GateVerdict;

use crate::jobs::Ran;
use crate::turn::Running;

/// How long it may run.
const TIME_MAX: Duration = Duration::from_secs(30);
/// The exit status by which it says no.
const NOT_NOW: i32 = 1;
/// Bytes of what it prints that the agent is told.
const TOLD_BYTES_MAX: usize = 32 << 10;
/// Characters of what it prints that the log of the task keeps.
const NOTED_CHARS_MAX: usize = 200;

impl Running<'_> {
    /// Asks the gate of a turn, if it has one. `false` when the engine is not needed; what else it says stands in the prompt from now on.
    pub(crate) async fn gate(&mut self, sandbox: &Sandbox) -> Result<Gated, Failure> {
        // A job has hooks instead.
        if self.live.spec.job.is_some() {
            return Ok(Gated::Open);
        }
        let Some(gate) = self.app.store().gate_of(&self.turn.id).await.map_err(|e| e.failure())? else { return Ok(Gated::Open) };
        let verdict = match gate.verdict {
            Some(verdict) => verdict,
            None => match self.ask_gate(sandbox, &gate.script).await? {
                Some(verdict) => {
                    self.app.store().gate_said(&self.turn.id, verdict.clone()).await.map_err(|e| e.failure())?;
                    model::crash::point("gate:said");
                    verdict
                }
                None => return Ok(Gated::Cancelled),
            },
        };
        match verdict {
            GateVerdict::Shut(_) => Ok(Gated::Shut),
            GateVerdict::Open(told) => {
                if !told.is_empty() {
                    self.prompt.push_str(&format!("<script_output>\n{}\n</script_output>\n", escaped(&told)));
                }
                Ok(Gated::Open)
            }
        }
    }

    /// Runs the script; `None` when the turn was cancelled meanwhile.
    async fn ask_gate(&self, sandbox: &Sandbox, script: &str) -> Result<Option<GateVerdict>, Failure> {
        let failed = |how: String| Failure::new(Code::HookFailed, format!("the script of the task {how}"));
        match self.script(sandbox, "gate", script, &[], TIME_MAX).await? {
            Ran::Cancelled => Ok(None),
            Ran::Late(_) => Err(failed(format!("did not end within {} s", TIME_MAX.as_secs()))),
            Ran::Exited { status: 0, output } => Ok(Some(read(&output))),
            Ran::Exited { status: NOT_NOW, output } => Ok(Some(shut(&last_line(&output)))),
            Ran::Exited { status, output } => Err(failed(format!("ended with status {status}: {}", last_line(&output)))),
        }
    }
}

/// What comes of asking a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gated {
    /// The engine is asked.
    Open,
    /// It is not needed.
    Shut,
    /// Somebody stopped the turn meanwhile.
    Cancelled,
}

/// What the output of a script that ended well means: its last line may say that the agent need not be asked, and why it must.
fn read(output: &str) -> GateVerdict {
    let open = |text: &str| GateVerdict::Open(text.trim()[..text.trim().floor_char_boundary(TOLD_BYTES_MAX)].to_owned());
    let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let Ok(Value::Object(said)) = serde_json::from_str::<Value>(last.trim()) else { return open(output) };
    let data = said.get("data").map(Value::to_string).unwrap_or_default();
    match said.get("wakeAgent").and_then(Value::as_bool) {
        Some(false) => shut(&cut(&data)),
        Some(true) => open(&data),
        None => open(output),
    }
}

fn shut(why: &str) -> GateVerdict {
    let gap = if why.is_empty() { "" } else { ": " };
    GateVerdict::Shut(format!("its script said that it need not be done{gap}{why}"))
}

fn last_line(output: &str) -> String {
    cut(output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim())
}

fn cut(text: &str) -> String {
    text.chars().take(NOTED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_decides() {
        assert!(matches!(read("looking\n{\"wakeAgent\": false}\n"), GateVerdict::Shut(_)));
        assert_eq!(read("{\"wakeAgent\": true, \"data\": {\"n\": 3}}\n\n"), GateVerdict::Open("{\"n\":3}".to_owned()));
        assert!(matches!(read(&"é".repeat(TOLD_BYTES_MAX)), GateVerdict::Open(told) if told.len() <= TOLD_BYTES_MAX));
        for plain in ["", "three new mails\n", "{\"wakeAgent\": false}\nno, wait", "{\"wakeAgent\": \"false\"}", "[false]"] {
            assert_eq!(read(plain), GateVerdict::Open(plain.trim().to_owned()), "{plain}");
        }
    }
}
