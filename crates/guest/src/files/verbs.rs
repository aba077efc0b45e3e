//! The command line of `files`.
//!
//! - `list PATH [--after NAME] [--limit N]`: the entries of a directory in the order of their names' bytes, a line each:
//!   `{name, raw?, type: file|dir|link|other, size, mode, mtime_ms, target?}`.
//! - `stat PATH`: the same for one path.
//! - `read PATH`: the bytes of a regular file.
//! - `write PATH [--size N] [--parents]`: standard input into a file, whole or not at all.
//! - `mkdir PATH`: a directory with its parents.
//! - `remove PATH`: a file, a link itself, or a directory with all that is in it.
//! - `diff OLD NEW`: what differs between two directories, a line each, see [`super::diff`].
//! - `patch OLD NEW PATH`: what differs in one text file of both, as a unified diff.
//!
//! With `--hex` paths and names are given in hexadecimal digits.

use std::ffi::{CString, OsString};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use super::path::{Path, from_hex};
use super::trouble::Trouble;
use super::{diff, list, open, patch, remove, write};

/// Does what the arguments say; they begin with the verb.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> i32 {
    // What is printed is gathered into large pieces; a reader that is gone ends the work.
    let mut out = std::io::BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let done = Arguments::parse(args.map(OsString::into_vec)).and_then(|arguments| arguments.run(&mut out));
    let done = done.and_then(|()| out.flush().map_err(|error| Trouble::io("write the answer", &error)));
    let Err(trouble) = done else { return 0 };
    // What was gathered so far is not half an answer.
    drop(out.into_parts());
    drop(writeln!(std::io::stderr(), "{}", trouble.line()));
    1
}

/// What was asked for.
#[derive(Debug, Default)]
struct Arguments {
    verb: Vec<u8>,
    root: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    limit: Option<usize>,
    size: Option<u64>,
    parents: bool,
    hex: bool,
    paths: Vec<Vec<u8>>,
}

impl Arguments {
    fn parse(mut args: impl Iterator<Item = Vec<u8>>) -> Result<Self, Trouble> {
        let mut arguments = Self { verb: args.next().unwrap_or_default(), ..Self::default() };
        let mut is_path = false;
        while let Some(arg) = args.next() {
            if is_path || !arg.starts_with(b"--") {
                arguments.paths.push(arg);
                continue;
            }
            let mut value = || args.next().ok_or_else(|| Trouble::usage("an option needs a value"));
            match arg.as_slice() {
                b"--" => is_path = true,
                b"--root" => arguments.root = Some(value()?),
                b"--after" => arguments.after = Some(value()?),
                b"--limit" => arguments.limit = Some(number(&value()?)?),
                b"--size" => arguments.size = Some(number(&value()?)?),
                b"--parents" => arguments.parents = true,
                b"--hex" => arguments.hex = true,
                _ => return Err(Trouble::usage("there is no such option")),
            }
        }
        if arguments.hex {
            arguments.paths = arguments.paths.iter().map(|path| from_hex(path)).collect::<Result<_, _>>()?;
            arguments.after = arguments.after.as_deref().map(from_hex).transpose()?;
        }
        Ok(arguments)
    }

    fn run(&self, out: &mut impl Write) -> Result<(), Trouble> {
        let root = self.root.clone().ok_or_else(|| Trouble::usage("the option --root is needed"))?;
        let root: OwnedFd = open::root(&CString::new(root).map_err(|_| Trouble::usage("the root holds a NUL"))?)?;
        let paths = self.paths.iter().map(|path| Path::parse(path)).collect::<Result<Vec<Path>, Trouble>>()?;
        match (self.verb.as_slice(), paths.as_slice()) {
            (b"list", [path]) => {
                let limit = self.limit.unwrap_or(list::PAGE_MAX);
                if limit == 0 || limit > list::PAGE_MAX {
                    return Err(Trouble::usage(format!("the limit is from 1 to {}", list::PAGE_MAX)));
                }
                list::list(&root, path, self.after.as_deref(), limit, out)
            }
            (b"stat", [path]) => list::stat(&root, path, out),
            (b"read", [path]) => write::read(&root, path, out),
            (b"write", [path]) => write::write(&root, path, self.size, self.parents, &mut std::io::stdin().lock()),
            (b"mkdir", [path]) => write::mkdir(&root, path),
            (b"remove", [path]) => remove::remove(&root, path),
            (b"diff", [old, new]) => diff::diff(open::directory(&root, old.parts())?, open::directory(&root, new.parts())?, out),
            (b"patch", [old, new, path]) => {
                patch::patch(&open::directory(&root, old.parts())?, &open::directory(&root, new.parts())?, path, out)
            }
            _ => Err(Trouble::usage("this is not a verb with its paths: list, stat, read, write, mkdir, remove, diff, patch")),
        }
    }
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Result<N, Trouble> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Trouble::usage("the value of an option is not a number"))
}
