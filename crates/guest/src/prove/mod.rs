//! `lazaret-guest prove FACTS`: tries, from inside a sandbox, what must not be possible there.
//!
//! FACTS is a JSON object with what the host prepared ([`Facts`]): things that exist and work outside, so that a failure here
//! means something. Each probe prints one JSON line `{"probe", "holds", "detail"}`; one whose failure has another reason than
//! the wall counts as not holding. Nothing is sent to any address: whether one can be reached is decided by the routes. Exit
//! status: 0 all hold, 1 one does not, 2 wrong arguments.

mod files;
mod kernel;
mod network;
mod processes;
mod proxy;

use std::io::Write;

use rustix::io::Errno;
use serde::Deserialize;
use serde_json::json;

pub(crate) use proxy::ask_proxy;

/// What the host prepared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    /// A loopback port of the host on which somebody listens.
    port: u16,
    /// A name in the host's abstract sockets on which somebody listens.
    socket: String,
    /// A file of the host's user that exists outside.
    file: String,
    /// How many processes and threads the sandbox may have.
    pids: usize,
}

/// How a wall showed itself, or what got through it.
type Found = Result<String, String>;

/// One thing that must not be possible.
struct Probe {
    /// What is tried.
    name: &'static str,
    run: fn(&Facts) -> Found,
}

/// Tries everything. Returns the exit status.
pub(crate) fn main(args: &[String]) -> i32 {
    let Some(facts) = args.first().and_then(|text| serde_json::from_str::<Facts>(text).ok()) else { return 2 };
    let mut all_hold = true;
    for probe in [network::ALL, files::ALL, processes::ALL, kernel::ALL].into_iter().flatten() {
        let found = (probe.run)(&facts);
        all_hold &= found.is_ok();
        let (holds, detail) = match found {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        let line = json!({ "probe": probe.name, "holds": holds, "detail": detail });
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return 1;
        }
    }
    i32::from(!all_hold)
}

/// Something that had to fail with one of these.
fn denied<T>(tried: Result<T, Errno>, expected: &[Errno]) -> Found {
    match tried {
        Ok(_) => Err("it worked".to_owned()),
        Err(errno) if expected.contains(&errno) => Ok(errno.to_string()),
        Err(errno) => Err(format!("it failed for another reason: {errno}")),
    }
}

/// The same for what the standard library does.
fn denied_io<T>(tried: std::io::Result<T>, expected: &[Errno]) -> Found {
    denied(tried.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)), expected)
}

/// Several attempts of one kind, of which none may work.
fn none<T>(attempts: impl IntoIterator<Item = (T, Found)>) -> Found
where
    T: std::fmt::Display,
{
    let mut last = String::new();
    for (what, found) in attempts {
        last = found.map_err(|why| format!("{what}: {why}"))?;
    }
    Ok(last)
}
