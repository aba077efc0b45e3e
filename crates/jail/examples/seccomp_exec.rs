//! Runs a command under the system-call filter alone: `seccomp_exec enforce|log COMMAND [ARGUMENTS]`. With `log` the
//! kernel's log then names every call that the list would refuse, which is how the list is derived.

use std::io::{Error, ErrorKind};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use lazaret_jail::seccomp::{Profile, install};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let profile = match arguments.next().as_deref().and_then(|word| word.to_str()) {
        Some("enforce") => Profile::Enforce,
        Some("log") => Profile::Log,
        _ => return Err(Error::new(ErrorKind::InvalidInput, "say enforce or log, then a command").into()),
    };
    let command = arguments.next().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a command is missing"))?;
    // SAFETY: sets a flag of this process.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(Error::last_os_error().into());
    }
    install(profile)?;
    Err(Command::new(command).args(arguments).exec().into())
}
