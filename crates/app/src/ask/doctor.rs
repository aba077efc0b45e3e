//! What `lazaret doctor` finds, for an agent that looks: the program itself is asked, in a process of its own, as the owner would.

use std::process::Stdio;
use std::time::Duration;

use model::{Code, Failure};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::App;

/// How long the tool may take, and the command of it, which reads files and asks this daemon. Inside, an answer is waited for 35 s.
pub(super) const DEADLINE: Duration = Duration::from_secs(32);
const WAIT: Duration = Duration::from_secs(30);
/// How much of what it prints is read, in bytes; what is beyond is left out.
const OUT_BYTES_MAX: u64 = 256 << 10;

/// Each check as the command prints it: `label`, `status`, `detail`, and `fix` where something is to be done.
pub(super) async fn look(app: &App) -> Result<Value, Failure> {
    let failed = |why: &str| Failure::new(Code::Internal, format!("the checks cannot be made: {why}"));
    let mut child = tokio::process::Command::new(app.program())
        .args(["--json", "--no-daemon", "doctor"])
        .env("LAZARET_HOME", app.home())
        // A point at which the daemon is to die is none of the command's.
        .env_remove("LAZARET_CRASH_AT")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| failed(&e.to_string()))?;
    let out = child.stdout.take().ok_or_else(|| failed("it says nothing"))?;
    let mut said = Vec::new();
    let mut out = out.take(OUT_BYTES_MAX);
    let read = tokio::time::timeout(WAIT, out.read_to_end(&mut said)).await;
    read.map_err(|_| failed("they take too long"))?.map_err(|e| failed(&e.to_string()))?;
    // Its status says whether everything is well, and so do the checks.
    let _ = child.start_kill();
    let _ = child.wait().await;
    let checks: Vec<Value> = said.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    if checks.is_empty() { Err(failed("nothing was said")) } else { Ok(Value::Array(checks)) }
}
