//! The one static program inside a sandbox. What it is depends on its first argument, or on the name it was called by.

mod dial;
mod files;
mod ipc;
mod mini;
mod prove;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let called = args.first().map_or("", |a| a.rsplit('/').next().unwrap_or(""));
    let by_name = matches!(called, "mini" | "ipc");
    let verb = if by_name { called } else { args.get(1).map_or("", String::as_str) };
    let status = match verb {
        "launch" => guest::launch(),
        "mini" => mini::main(args),
        "ipc" => ipc::main(&std::env::args_os().skip(if by_name { 1 } else { 2 }).collect::<Vec<_>>()),
        "prove" => prove::main(args.get(2..).unwrap_or_default()),
        "ask-proxy" => prove::ask_proxy(args.get(2..).unwrap_or_default()),
        "dial" => dial::dial(args.get(2..).unwrap_or_default()),
        "listening" => dial::listening(),
        "files" => files::main(std::env::args_os().skip(2)),
        _ => 2,
    };
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
