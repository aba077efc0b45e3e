//! Files that go along with a message.

use std::io::Read;
use std::path::{Path, PathBuf};

use app::MessageFile;
use base64::Engine;
use model::{Code, Failure};

use crate::env::Env;
use crate::{out, places};

/// The largest file that goes along; larger ones belong into a mount or an env.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// All files of one message together.
const FILES_BYTES_MAX: usize = 20 << 20;
/// Files of one message.
const FILES_MAX: usize = 20;

/// Reads a file that the user named. Files in places of credentials are not sent.
pub(in crate::commands) fn read(path: &Path, env: &Env) -> Result<MessageFile, Failure> {
    let fail = |why: String| Failure::new(Code::PathUnusable, format!("{} cannot be attached: {why}", path.display()));
    let real = std::fs::canonicalize(path).map_err(|e| fail(e.to_string()))?;
    if let Some(why) = places::is_refused(&real, env) {
        return Err(fail(why));
    }
    let meta = std::fs::metadata(&real).map_err(|e| fail(e.to_string()))?;
    if !meta.is_file() {
        return Err(fail("it is not a file".to_owned()).hint("give a directory with --mount, or put it into an env"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&real).map_err(|e| fail(e.to_string()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(
            fail(format!("it is larger than {}", out::bytes(FILE_BYTES_MAX))).hint("put it into an env: lazaret env files ENV put FILE")
        );
    }
    let name = path.file_name().or_else(|| real.file_name()).and_then(|name| name.to_str()).map(str::to_owned);
    let name = name.ok_or_else(|| fail("its name is not UTF-8".to_owned()))?;
    Ok(MessageFile { name, data: base64::engine::general_purpose::STANDARD.encode(bytes) })
}

/// Whether so many files of this size may go along.
pub(in crate::commands) fn check(files: &[MessageFile]) -> Result<(), Failure> {
    let bytes: usize = files.iter().map(|file| file.data.len() / 4 * 3).sum();
    if files.len() > FILES_MAX || bytes > FILES_BYTES_MAX {
        let all = out::bytes(FILES_BYTES_MAX as u64);
        return Err(Failure::new(Code::Usage, format!("a message takes at most {FILES_MAX} files and {all} of them together")));
    }
    Ok(())
}

/// Where the files of a message are, below the working directory of a session.
pub(super) const UPLOADS: &str = "upload/";

/// A text in which `@path` of files that are there became their name below `place`, and those files.
pub(super) fn gather(text: &str, place: &str, env: &Env) -> Result<(String, Vec<MessageFile>), Failure> {
    let (mut out, mut files) = (String::with_capacity(text.len()), Vec::<MessageFile>::new());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let starts_word = before.chars().next_back().or_else(|| out.chars().next_back()).is_none_or(char::is_whitespace);
        let (named, left) = path_after(&after[1..]);
        if starts_word && named.is_file() {
            let mut file = read(&named, env)?;
            if files.iter().any(|other| other.name == file.name) {
                file.name = format!("{}-{}", files.len() + 1, file.name);
            }
            out.push_str(place);
            out.push_str(&file.name);
            files.push(file);
            rest = left;
        } else {
            out.push('@');
            rest = &after[1..];
        }
    }
    out.push_str(rest);
    check(&files)?;
    Ok((out, files))
}

/// The path that a text begins with, in quotes or up to a space, and what follows it. `~` is the user's home.
fn path_after(text: &str) -> (PathBuf, &str) {
    let (path, rest) = match text.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
        Some((path, rest)) => (path, rest),
        None => {
            let end = text.find(char::is_whitespace).unwrap_or(text.len());
            // What ends a sentence is not part of a name.
            let end = if Path::new(&text[..end]).is_file() {
                end
            } else {
                text[..end].trim_end_matches([',', '.', ';', ':', '?', '!', ')']).len()
            };
            text.split_at(end)
        }
    };
    (Env::in_user_home(path), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(home: &Path) -> Env {
        Env { home: home.to_owned(), log: None, crash_at: None, passphrase_file: None, path: String::new(), no_color: false }
    }

    #[test]
    fn files_that_are_there_go_along() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("sub")).expect("make");
        for (name, text) in [("a.txt", "one"), ("with space", "two"), ("sub/a.txt", "three")] {
            std::fs::write(at(name), text).expect("write");
        }
        let d = dir.path().display();
        let text = format!("see @{d}/a.txt, @\"{d}/with space\" and @{d}/sub/a.txt! mail me@{d}/a.txt @nobody");
        let (text, files) = gather(&text, UPLOADS, &env(&at("home"))).expect("gathered");
        assert_eq!(text, format!("see upload/a.txt, upload/with space and upload/3-a.txt! mail me@{d}/a.txt @nobody"));
        let names: Vec<_> = files.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["a.txt", "with space", "3-a.txt"]);
        assert_eq!(files[1].data, base64::engine::general_purpose::STANDARD.encode("two"));
    }

    #[test]
    fn credentials_and_large_files_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join(".ssh")).expect("make");
        let key = dir.path().join(".ssh/id");
        std::fs::write(&key, "secret").expect("write");
        let env = env(&dir.path().join("home"));
        assert!(read(&key, &env).expect_err("refused").message.contains("credentials"));
        std::os::unix::fs::symlink(&key, dir.path().join("innocent")).expect("link");
        assert!(gather(&format!("@{}", dir.path().join("innocent").display()), "", &env).is_err(), "a link to a key");
        let large = dir.path().join("large");
        std::fs::File::create(&large).and_then(|f| f.set_len(FILE_BYTES_MAX + 1)).expect("make");
        assert!(read(&large, &env).expect_err("refused").message.contains("10M"));
        assert!(read(dir.path(), &env).is_err(), "a directory");
        let small = MessageFile { name: "x".to_owned(), data: String::new() };
        assert!(check(&vec![small.clone(); FILES_MAX]).is_ok() && check(&vec![small; FILES_MAX + 1]).is_err());
    }
}
