//! Tries to get out of a sandbox. The escape suite mounts this program into one and runs it there:
//! `escape_probe ATTACK[=ARGUMENT] ...`. Each attack runs in a child of its own and prints one line of JSON:
//! `{"attack": "...", "result": "denied", "errno": "EPERM"}` or `{"attack": "...", "result": "worked", "how": ...}`.
//! The exit status is 0 whatever came of the attacks; 2 means that the probe itself was used wrongly.

mod exhaust;
mod files;
mod kernel;
mod network;
mod processes;
mod sys;

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

/// What came of an attack: what it brought, or the error that stopped it.
type Outcome = Result<Value, sys::Errno>;
/// An attack takes the text after `=`, which may be empty.
type Attack = fn(&str) -> Outcome;

fn main() -> ExitCode {
    let registries = [kernel::ATTACKS, files::ATTACKS, network::ATTACKS, processes::ATTACKS, exhaust::ATTACKS];
    for word in std::env::args().skip(1) {
        let (name, argument) = word.split_once('=').unwrap_or((&word, ""));
        let Some((_, attack)) = registries.iter().flat_map(|r| r.iter()).find(|(known, _)| *known == name) else {
            let _ = writeln!(io::stderr(), "there is no attack `{name}`");
            return ExitCode::from(2);
        };
        let mut line = match in_child(*attack, argument) {
            Ended::Told(told) => told,
            Ended::Signal(signal) => json!({ "result": "denied", "errno": sys::signal_name(signal) }),
            Ended::Silent(status) => json!({ "result": "denied", "errno": format!("exit {status}") }),
        };
        line["attack"] = json!(word);
        let mut out = io::stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

enum Ended {
    Told(Value),
    Signal(i32),
    Silent(i32),
}

/// Runs one attack in a child, so that one that is killed leaves the others be.
fn in_child(attack: Attack, argument: &str) -> Ended {
    let Ok((mut read, mut write)) = io::pipe() else { return Ended::Silent(-1) };
    let pid = sys::fork();
    if pid == 0 {
        drop(read);
        let told = match attack(argument) {
            Ok(how) => json!({ "result": "worked", "how": how }),
            Err(errno) => json!({ "result": "denied", "errno": errno.to_string() }),
        };
        let _ = write.write_all(told.to_string().as_bytes());
        sys::exit_now(0);
    }
    drop(write);
    if pid < 0 {
        return Ended::Silent(-1);
    }
    let mut text = String::new();
    let _ = read.read_to_string(&mut text);
    let status = sys::wait(pid);
    match serde_json::from_str(&text) {
        Ok(told) => Ended::Told(told),
        Err(_) if libc::WIFSIGNALED(status) => Ended::Signal(libc::WTERMSIG(status)),
        Err(_) => Ended::Silent(libc::WEXITSTATUS(status)),
    }
}
