//! Running other programs.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// What cargo sets for the program that it runs. Build scripts that watch one of these would run again, and everything behind
/// them, whenever a build is begun by turns from here and from a shell.
const OF_THIS_PACKAGE: &[&str] = &[
    "CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_AUTHORS", "CARGO_PKG_DESCRIPTION", "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE", "CARGO_PKG_LICENSE_FILE", "CARGO_PKG_NAME", "CARGO_PKG_README", "CARGO_PKG_REPOSITORY", "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION", "CARGO_PKG_VERSION_MAJOR", "CARGO_PKG_VERSION_MINOR", "CARGO_PKG_VERSION_PATCH", "CARGO_PKG_VERSION_PRE",
];

/// A command in the root of the workspace, with no standard input: nothing here ever asks a question.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    for name in OF_THIS_PACKAGE {
        command.env_remove(name);
    }
    command
}

/// Prints and runs a command and fails when it fails.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<()> {
    run_command(command(program, args))
}

/// Builds a program of the workspace as tests have it. The example is any one: with it the program is built with the features
/// that only tests ask of a library, as all tests are; without it most of the tree would be built a second time.
pub(crate) fn build_beside_tests(program: &str) -> Result<()> {
    run("cargo", &["build", "--workspace", "--locked", "--bin", program, "--example", "expect"])
}

/// The same for a command that was put together by the caller.
pub(crate) fn run_command(mut command: Command) -> Result<()> {
    let shown = shown(&command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("failed to start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and gives what it printed.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String> {
    let mut command = command(program, args);
    let shown = shown(&command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("failed to start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed bytes that are not UTF-8"))
}

/// Which of a program's streams is read while it is shown.
#[derive(Clone, Copy)]
pub(crate) enum Tee {
    Stdout,
    Stderr,
}

/// Runs a command, shows one of its streams as it comes and also gives each line of it to `see`. Answers whether the
/// command succeeded.
pub(crate) fn tee(mut command: Command, which: Tee, mut see: impl FnMut(&str)) -> Result<bool> {
    let shown = shown(&command);
    eprintln!("$ {shown}");
    match which {
        Tee::Stdout => command.stdout(Stdio::piped()),
        Tee::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| format!("failed to start `{shown}`"))?;
    let mut read = |source: &mut dyn BufRead, sink: &mut dyn Write| -> std::io::Result<()> {
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line)? > 0 {
            sink.write_all(&line)?;
            see(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        sink.flush()
    };
    let copied = match (child.stdout.take(), child.stderr.take()) {
        (Some(out), _) => read(&mut BufReader::new(out), &mut std::io::stdout().lock()),
        (None, Some(err)) => read(&mut BufReader::new(err), &mut std::io::stderr().lock()),
        (None, None) => Ok(()),
    };
    let status = child.wait().with_context(|| format!("failed to wait for `{shown}`"))?;
    copied.with_context(|| format!("failed to pass on what `{shown}` prints"))?;
    Ok(status.success())
}

/// Whether a program can be found.
pub(crate) fn has(program: &str) -> bool {
    let find = "command -v \"$1\" || [ -x \"/usr/sbin/$1\" ] || [ -x \"/sbin/$1\" ]";
    let status = command("sh", &["-c", find, "sh", program]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|s| s.success())
}

/// Whether `cargo nextest` is installed.
pub(crate) fn has_nextest() -> bool {
    has("cargo-nextest")
}

/// Whether this process is root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(output("id", &["-u"])?.trim() == "0")
}

/// Every file of the project, relative to the root, in order; without what is built or installed.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    const SKIPPED: &[&str] = &["target", ".git", "node_modules"];
    let mut found = Vec::new();
    let mut left = vec![root().to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("failed to list {}", dir.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.iter().any(|s| entry.file_name() == *s) {
                left.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path().strip_prefix(root())?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a file of the project.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("failed to read {}", path.display()))
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}
