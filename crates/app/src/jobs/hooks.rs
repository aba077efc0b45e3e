//! Scripts that run in the sandbox before and after the engine.
//!
//! They run as the engine does: in the same walls, in the working directory, with no credential. One that ended is not run
//! again, whatever daemon goes on with the turn. A daemon that ends while one runs lets the next one begin it anew: it is
//! told the turn and how often it was begun, so that it can do once what is to be done once.

use std::time::Duration;

use model::{Code, EventKind, Failure, Outcome};
use sandbox::{Exec, Piece, Sandbox, Stdio};

use super::hook_note::{Ended, Place};
use crate::inside::tar_of;
use crate::pump::Ending;
use crate::turn::{HOME, Running};

/// The longest time of a script before the engine; the turn's own limit may end it sooner.
const PRE_TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// The longest time of a script after the engine. It has this much also when the turn's time is up.
const POST_TIME_MAX: Duration = Duration::from_secs(120);
/// How much is kept of what a script prints, in bytes: its end.
const OUTPUT_BYTES_MAX: usize = 8 << 10;
/// SIGKILL.
const KILL: i32 = 9;

/// How a script ended.
pub(crate) enum Ran {
    /// With this status, having printed this.
    Exited { status: i32, output: String },
    /// Its time was up.
    Late(String),
    /// The turn was cancelled meanwhile.
    Cancelled,
}

impl Running<'_> {
    /// Runs the script that comes before the engine, if there is one. `false` when the turn was cancelled meanwhile.
    pub(crate) async fn before_engine(&self, sandbox: &Sandbox) -> Result<bool, Failure> {
        let Some(script) = self.live.spec.job.as_ref().and_then(|job| job.hooks.pre.as_deref()) else { return Ok(true) };
        let left = self.live.spec.limits.time.saturating_sub(self.started.elapsed());
        let (failed, output) = match self.hook(sandbox, "pre", script, &[], PRE_TIME_MAX.min(left)).await? {
            Ran::Cancelled => return Ok(false),
            Ran::Exited { status: 0, output } => (None, output),
            Ran::Exited { status, output } => (Some(format!("ended with status {status}")), output),
            Ran::Late(output) => (Some("did not end in time".to_owned()), output),
        };
        self.say(said("before", &output)).await?;
        match failed {
            None => Ok(true),
            Some(how) => {
                let last = output.lines().last().unwrap_or_default();
                let why = if last.is_empty() { String::new() } else { format!(": {last}") };
                Err(Failure::new(Code::HookFailed, format!("the script before the engine {how}{why}")))
            }
        }
    }

    /// Runs the script that comes after the engine, however that ended, unless somebody stopped the work. What it prints and
    /// how it fails is noted with the end.
    pub(crate) async fn after_engine(&self, ending: &mut Ending) {
        let Some(job) = self.live.spec.job.as_ref() else { return };
        let Some(script) = job.hooks.post.as_deref().filter(|_| ending.outcome != Outcome::Cancelled) else { return };
        let held = self.live.sandbox.lock().await;
        let sandbox = held.as_ref().map(|housed| housed.sandbox.clone()).filter(|sandbox| sandbox.summary().alive);
        drop(held);
        let Some(sandbox) = sandbox else {
            ending.events.push(EventKind::Notice { text: "the script after the engine did not run: the sandbox is gone".to_owned() });
            return;
        };
        let is_good = ending.outcome == Outcome::Completed;
        let variables = [
            ("JOB_STATUS", if is_good { "completed" } else { "failed" }.to_owned()),
            ("JOB_EXIT_CODE", if is_good { "0" } else { "1" }.to_owned()),
            ("JOB_ERROR_CODE", ending.code.map(|code| code.to_string()).unwrap_or_default()),
        ];
        let (failed, output) = match self.hook(&sandbox, "post", script, &variables, POST_TIME_MAX).await {
            Ok(Ran::Cancelled) => (Some("was stopped".to_owned()), String::new()),
            Ok(Ran::Exited { status: 0, output }) => (None, output),
            Ok(Ran::Exited { status, output }) => (Some(format!("ended with status {status}")), output),
            Ok(Ran::Late(output)) => (Some("did not end in time".to_owned()), output),
            Err(failure) => (Some(format!("did not run: {}", failure.message)), String::new()),
        };
        ending.events.extend(said("after", &output));
        ending.events.extend(failed.map(|how| EventKind::Notice { text: format!("the script after the engine {how}") }));
    }

    /// Runs a hook, unless it ended already under an earlier daemon: then it is said how.
    async fn hook(&self, sandbox: &Sandbox, name: &str, script: &str, more: &[(&str, String)], time: Duration) -> Result<Ran, Failure> {
        let place = Place::new(&self.app.session_dir(&self.live.id), &self.turn.id, name);
        let mut note = place.read()?;
        if let Some(Ended { status, output }) = note.ended {
            return Ok(status.map_or_else(|| Ran::Late(output.clone()), |status| Ran::Exited { status, output: output.clone() }));
        }
        if note.attempt > 0 {
            // The earlier daemon's may still run.
            sandbox.kill_commands().await.map_err(|e| e.failure())?;
        }
        note.attempt = note.attempt.saturating_add(1);
        place.write(&note)?;
        model::crash::point("hook:begun");
        let mut more = more.to_vec();
        more.extend([("LAZARET_TURN", self.turn.id.to_string()), ("LAZARET_ATTEMPT", note.attempt.to_string())]);
        let ran = self.script(sandbox, name, script, &more, time).await?;
        note.ended = match &ran {
            Ran::Exited { status, output } => Some(Ended { status: Some(*status), output: output.clone() }),
            Ran::Late(output) => Some(Ended { status: None, output: output.clone() }),
            Ran::Cancelled => return Ok(ran),
        };
        place.write(&note)?;
        model::crash::point("hook:ended");
        Ok(ran)
    }

    /// Runs a script in the working directory.
    pub(crate) async fn script(
        &self,
        sandbox: &Sandbox,
        name: &str,
        script: &str,
        more: &[(&str, String)],
        time: Duration,
    ) -> Result<Ran, Failure> {
        let path = format!("{HOME}/.lazaret/hooks/{name}");
        let file = engines::File { path: path.clone(), bytes: script.as_bytes().to_vec(), mode: 0o700 };
        sandbox.put("/", tar_of(&[file])?.as_slice()).await.map_err(|e| e.failure())?;
        let mut env = self.surroundings(Vec::new()).await?;
        if let Some(job) = &self.live.spec.job {
            env.push(("JOB_ID".to_owned(), job.id.clone()));
        }
        env.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        // Its own first line says what runs it; without one it is the shell.
        let argv = if script.starts_with("#!") { vec![path] } else { vec!["/bin/sh".to_owned(), path] };
        let exec = Exec { argv, env, cwd: self.live.spec.workdir.clone(), stdio: Stdio::Pipes { stdin: false }, lease: 0 };
        let command = sandbox.exec(exec).await.map_err(|e| e.failure())?;
        let (mut printed, control) = (command.output, command.control);
        let mut tail = Tail::default();
        let late = tokio::time::sleep(time);
        tokio::pin!(late);
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => { control.signal(KILL); return Ok(Ran::Cancelled); }
                () = self.live.cancel.cancelled() => { control.signal(KILL); return Ok(Ran::Cancelled); }
                () = &mut late => {
                    control.signal(KILL);
                    return Ok(Ran::Late(tail.text()));
                }
                next = printed.next() => match next.map_err(|e| e.failure())? {
                    Some(piece) => {
                        control.ack(piece.number);
                        match piece.piece {
                            Piece::Stdout(bytes) | Piece::Stderr(bytes) => tail.add(&bytes),
                            Piece::Exited(exit) => {
                                let status = exit.code.unwrap_or_else(|| 128 + exit.signal.unwrap_or_default());
                                return Ok(Ran::Exited { status, output: tail.text() });
                            }
                        }
                    }
                    None => return Err(Failure::new(Code::SandboxFailed, "the sandbox ended while a script ran")),
                },
            }
        }
    }
}

/// The end of what a script prints.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let over = self.bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
        if over > 0 {
            self.bytes.drain(..over);
            self.is_cut = true;
        }
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n' || *c == '\t').collect();
        let text = text.trim_end();
        if self.is_cut { format!("[...]\n{text}") } else { text.to_owned() }
    }
}

fn said(when: &str, output: &str) -> Option<EventKind> {
    (!output.is_empty()).then(|| EventKind::Notice { text: format!("the script {when} the engine says:\n{output}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_is_printed_is_kept() {
        let mut tail = Tail::default();
        tail.add(b"one\x1b[2K\ntwo\n");
        assert_eq!(tail.text(), "one[2K\ntwo");
        tail.add(&vec![b'x'; OUTPUT_BYTES_MAX]);
        assert!(tail.text().starts_with("[...]\nx") && tail.text().len() < OUTPUT_BYTES_MAX + 10);
    }
}
