//! What hides in a change, or acts where nobody looks.

use std::collections::BTreeMap;

use super::error::{is_bidi, is_invisible};
use super::read::FileChange;

/// A line that is longer than this, in bytes, is scrolled past.
const LONG_LINE_BYTES: usize = 1000;
/// The first lines in which a file says that it is generated.
const NOTICE_LINES: usize = 10;

/// Why a change deserves a second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flag {
    /// Characters that turn the direction of the text: what is seen is not what is there.
    Bidi,
    /// Characters that take no place.
    Invisible,
    /// Control characters that a terminal acts upon.
    Control,
    /// Its content is no text.
    Binary,
    /// It is made by a program, or looks like it, and is seldom read.
    Generated,
    /// It became a program, or is none any more.
    Mode,
    /// It is a link, or was one.
    Link,
    /// Another repository at another commit.
    Submodule,
    /// It says how git treats files.
    Attributes,
    /// It is run by itself: hooks, CI, tasks of editors, settings of agents.
    RunsByItself,
    /// Lines so long that their end is not seen.
    LongLine,
    /// Nothing but spaces and empty lines differs.
    WhitespaceOnly,
    /// Its name holds characters that hide or mislead.
    Name,
    /// There is too much of it to be looked at line by line.
    NotLookedAt,
}

/// What the lines of one file's patch hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    bidi: bool,
    invisible: bool,
    control: bool,
    long: bool,
    generated: bool,
}

/// Files that say how git treats others.
const ATTRIBUTES: &[&str] = &[".gitattributes", ".gitmodules", ".gitconfig", ".mailmap", ".gitignore", ".lfsconfig"];
/// Directories whose files are run by themselves.
const RUN_DIRS: &[&str] = &[
    ".github/", ".gitlab/", ".circleci/", ".buildkite/", ".husky/", ".githooks/", "hooks/", ".vscode/", ".idea/", ".claude/", ".codex/",
    ".gemini/", ".cursor/", ".devcontainer/", ".opencode/", ".cargo/",
];
/// Files that are run, or say what is run, by themselves.
const RUN_FILES: &[&str] = &[
    ".gitlab-ci.yml", ".travis.yml", "azure-pipelines.yml", "jenkinsfile", "bitbucket-pipelines.yml", ".pre-commit-config.yaml",
    "lefthook.yml", ".envrc", ".mcp.json", "package.json", "build.rs", "conftest.py", "setup.py", "makefile", "justfile", "dockerfile",
    "claude.md", "agents.md", "gemini.md", ".npmrc", ".yarnrc.yml", "sitecustomize.py", ".cursorrules",
];
/// Endings of files that programs make.
const GENERATED_ENDINGS: &[&str] = &[".lock", ".min.js", ".min.css", ".map", ".pb.go", ".snap", "-lock.json", "go.sum", ".generated.ts"];
/// Directories that hold what programs make, or what others wrote.
const GENERATED_DIRS: &[&str] = &["dist/", "build/", "vendor/", "node_modules/", "third_party/", "generated/", "target/"];

/// Adds what is to be said of a change.
pub(crate) fn flags_of(change: &mut FileChange, lines: Option<&Lines>) {
    let path = String::from_utf8_lossy(&change.raw_path).to_lowercase();
    let name = path.rsplit('/').next().unwrap_or(&path);
    let below = |dirs: &[&str]| dirs.iter().any(|dir| path.starts_with(dir) || path.contains(&format!("/{dir}")));
    let (before, after) = (change.modes.0.as_str(), change.modes.1.as_str());
    let none = Lines::default();
    let lines = lines.unwrap_or(&none);
    let raw = String::from_utf8_lossy(&change.raw_path);
    let is_mode = before != after && before != "000000" && after != "000000" || before == "000000" && after == "100755";
    let found = [
        (Flag::Bidi, lines.bidi),
        (Flag::Invisible, lines.invisible),
        (Flag::Control, lines.control),
        (Flag::Binary, change.added.is_none() && after != "160000"),
        (Flag::Generated, lines.generated || below(GENERATED_DIRS) || GENERATED_ENDINGS.iter().any(|end| path.ends_with(end))),
        (Flag::Mode, is_mode),
        (Flag::Link, before == "120000" || after == "120000"),
        (Flag::Submodule, before == "160000" || after == "160000"),
        (Flag::Attributes, ATTRIBUTES.contains(&name)),
        (Flag::RunsByItself, below(RUN_DIRS) || RUN_FILES.contains(&name)),
        (Flag::LongLine, lines.long),
        (
            Flag::Name,
            std::str::from_utf8(&change.raw_path).is_err() || raw.chars().any(|c| c.is_control() || is_bidi(c) || is_invisible(c)),
        ),
    ];
    change.flags.extend(found.into_iter().filter(|(_, is)| *is).map(|(flag, _)| flag));
    change.flags.sort_unstable();
    change.flags.dedup();
}

/// Looks at the lines that a patch adds, by file.
pub(crate) fn read_patch(patch: &[u8]) -> BTreeMap<Vec<u8>, Lines> {
    let mut files: BTreeMap<Vec<u8>, Lines> = BTreeMap::new();
    let (mut path, mut left, mut number): (Option<Vec<u8>>, (u64, u64), usize) = (None, (0, 0), 0);
    for line in patch.split(|b| *b == b'\n') {
        if left == (0, 0) {
            if let Some(name) = line.strip_prefix(b"+++ ") {
                path = unquoted(name).and_then(|name| name.strip_prefix(b"b/").map(<[u8]>::to_vec));
            } else if let Some(counts) = line.strip_prefix(b"@@ ").and_then(hunk) {
                left = (counts.0, counts.1);
                number = counts.2;
            }
            continue;
        }
        match line.first() {
            Some(b'+') => {
                left.1 = left.1.saturating_sub(1);
                if let Some(path) = &path {
                    look(&line[1..], number, files.entry(path.clone()).or_default());
                }
                number += 1;
            }
            Some(b'-') => left.0 = left.0.saturating_sub(1),
            Some(b'\\') => {}
            _ => {
                left = (left.0.saturating_sub(1), left.1.saturating_sub(1));
                number += 1;
            }
        }
    }
    files
}

fn look(line: &[u8], number: usize, lines: &mut Lines) {
    let text = String::from_utf8_lossy(line);
    lines.bidi |= text.chars().any(is_bidi);
    lines.invisible |= text.chars().any(is_invisible);
    lines.control |= text.trim_end_matches('\r').chars().any(|c| c.is_control() && c != '\t' && c != '\u{c}');
    lines.long |= line.len() > LONG_LINE_BYTES;
    let small = if number <= NOTICE_LINES { text.to_lowercase() } else { String::new() };
    lines.generated |= ["@generated", "do not edit", "code generated by", "autogenerated"].iter().any(|notice| small.contains(notice));
}

/// Lines before, lines after, and the first line after, of `-1,2 +3,4 @@ ...`.
fn hunk(text: &[u8]) -> Option<(u64, u64, usize)> {
    let text = std::str::from_utf8(text.get(..text.windows(3).position(|w| w == b" @@")?)?).ok()?;
    let (old, new) = text.split_once(' ')?;
    let count = |part: &str| part.split_once(',').map_or(Some(1), |(_, n)| n.parse().ok());
    let first = new.strip_prefix('+')?.split(',').next()?.parse().ok()?;
    Some((count(old)?, count(new)?, first))
}

/// A name as git prints it in a patch: between quotes, with escapes, where it has other than plain letters.
fn unquoted(name: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) else {
        // A name with spaces is followed by a tab.
        return Some(name.strip_suffix(b"\t").unwrap_or(name).to_vec());
    };
    let (mut out, mut bytes) = (Vec::new(), inner.iter().copied());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next()? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            first @ b'0'..=b'7' => {
                let (second, third) = (bytes.next()?, bytes.next()?);
                let digit = |byte: u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
                u8::try_from(digit(first)? * 64 + digit(second)? * 8 + digit(third)?).ok()?
            }
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_read_by_its_counts_and_not_by_what_lines_look_like() {
        let patch = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,3 @@\n++++ b/other\n+\xe2\x80\xae\n+@@ -1 +1 @@\n\
diff --git \"a/\\303\\274\" \"b/\\303\\274\"\n+++ \"b/\\303\\274\"\n@@ -1 +1 @@ \xe2\x80\xae\n-a\n+b\xe2\x80\x8b\n";
        let files = read_patch(patch);
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files[b"x".as_slice()].bidi && !files[b"x".as_slice()].invisible);
        let other = &files["ü".as_bytes()];
        assert!(other.invisible && !other.bidi, "{other:?}");
    }
}
