//! A repository to be worked on, made as git takes it in fastest: one stream, one pack.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How large it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Files of the last commit.
    pub(super) files: usize,
    /// Bytes of each.
    pub(super) file_bytes: usize,
    /// Files that are only in the past, of a mebibyte each.
    pub(super) past: usize,
    /// Commits in which single files changed.
    pub(super) commits: usize,
}

/// Files of one directory.
const DIRECTORY: usize = 100;

/// The user's git, with nothing of the user's configuration.
pub(super) fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
    git.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    git
}

/// Runs git, which must succeed.
pub(super) fn run(dir: &Path, args: &[&str]) -> Result<()> {
    let status = git(dir).args(args).status().context("failed to run git")?;
    if !status.success() {
        bail!("git {args:?} failed: {status}");
    }
    Ok(())
}

/// Makes the repository at `dir`, with its last commit checked out on `main`.
pub(super) fn make(dir: &Path, shape: Shape) -> Result<()> {
    std::fs::create_dir(dir)?;
    run(dir, &["init", "--quiet", "--initial-branch=main", "."])?;
    for (key, value) in [("user.name", "Uma User"), ("user.email", "uma@example.org"), ("core.compression", "1")] {
        run(dir, &["config", key, value])?;
    }
    let mut import = git(dir).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().context("failed to run git")?;
    let mut stream = BufWriter::with_capacity(1 << 20, import.stdin.take().context("it has an input")?);
    write(&mut stream, shape)?;
    stream.flush()?;
    drop(stream);
    if !import.wait()?.success() {
        bail!("git did not take the repository in");
    }
    run(dir, &["reset", "--quiet", "--hard", "main"])
}

fn write(out: &mut impl Write, shape: Shape) -> Result<()> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut bytes = vec![0; (1 << 20).max(shape.file_bytes)];
    // The past: large files that came and went.
    for n in 0..shape.past {
        commit(out, &format!("large {n}"))?;
        if n > 0 {
            writeln!(out, "D past/{}", n - 1)?;
        }
        file(out, &format!("past/{n}"), noise.fill(&mut bytes[..1 << 20]))?;
    }
    commit(out, "all")?;
    if shape.past > 0 {
        writeln!(out, "D past/{}", shape.past - 1)?;
    }
    for n in 0..shape.files {
        file(out, &name(n), noise.fill(&mut bytes[..shape.file_bytes]))?;
    }
    writeln!(out, "M 100644 inline shared.txt\ndata 6\nfirst")?;
    writeln!(out)?;
    for n in 0..shape.commits {
        commit(out, &format!("change {n}"))?;
        file(out, &name(n % shape.files), noise.fill(&mut bytes[..shape.file_bytes]))?;
    }
    Ok(())
}

fn name(n: usize) -> String {
    format!("src/{}/{}/{n}.txt", n / DIRECTORY / DIRECTORY, n / DIRECTORY)
}

fn commit(out: &mut impl Write, subject: &str) -> Result<()> {
    writeln!(out, "commit refs/heads/main\ncommitter Uma User <uma@example.org> 1700000000 +0000\ndata {}\n{subject}", subject.len())?;
    Ok(())
}

fn file(out: &mut impl Write, name: &str, bytes: &[u8]) -> Result<()> {
    writeln!(out, "M 100644 inline {name}\ndata {}", bytes.len())?;
    out.write_all(bytes)?;
    writeln!(out)?;
    Ok(())
}

/// Bytes that cannot be made smaller, in lines: the same ones in each run.
struct Noise(u64);

impl Noise {
    fn fill<'a>(&mut self, bytes: &'a mut [u8]) -> &'a [u8] {
        for piece in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let word = self.0.to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
        // No NUL: text for git, in which changes have lines.
        bytes.iter_mut().for_each(|b| *b = if *b == 0 { b'\n' } else { *b });
        bytes
    }
}
