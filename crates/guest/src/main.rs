//! The one program inside a sandbox, told what it is by its first argument or by the name that it was called by.

mod mini;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let called = args.next().unwrap_or_default();
    let name = called.rsplit('/').next().unwrap_or_default();
    let role = if name == "mini" { Some(name.to_owned()) } else { args.next() };
    let status = match role.as_deref() {
        Some("launch") => guest::launch(),
        Some("mini") => mini::main(args.collect()),
        // What is not known is said by the status alone: there may be nothing to write to.
        _ => 2,
    };
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
