//! Files that another install has: folders of skills, and what came or went with messages.

use base64::Engine as _;
use model::{Code, Failure, SessionId};

use super::of::{Came, Going};
use super::things::{BY, wrong};
use crate::SkillOrder;

/// The home of a session.
const HOME: &str = "/home/sandbox";
/// Where files of messages may come, below it.
const PLACES: [&str; 2] = ["inbox", "outbox"];
/// Parts of a path, and bytes of each.
const PARTS_MAX: (usize, usize) = (4, 200);

impl Going<'_> {
    /// Puts a skill on the shelf, from where a person gives it to agents. What hides something waits for a person here as anywhere.
    pub(super) async fn skill(&self, name: &str, source: &str, archive: &str) -> Result<Came, Failure> {
        let tar = bytes_of(archive)?;
        let skills = self.app.skills();
        let mut order = SkillOrder { source: source.to_owned(), ..SkillOrder::default() };
        let review = match skills.review(&order, tar.as_slice()).await {
            Ok(review) => review,
            Err(failure) if failure.code == Code::Conflict => {
                // The same folder lies beside several agents there.
                order.replaces = Some(name.to_owned());
                return Ok(match skills.review(&order, tar.as_slice()).await {
                    Ok(review) if review.changes.is_empty() => Came::There(review.name, String::new()),
                    _ => Came::Left(format!("{}; look at both: lazaret skill update NAME {source}", failure.message)),
                });
            }
            Err(failure) if failure.code == Code::SkillInvalid => return Ok(Came::Left(failure.message)),
            Err(failure) => return Err(failure),
        };
        if let Some(finding) = review.hidden() {
            return Ok(Came::Left(format!("it has {} in {}; read it, then: lazaret skill add {source}", finding.kind, finding.file)));
        }
        if !self.dry_run {
            skills.put(order, BY, tar.as_slice()).await?;
        }
        let note = format!("no agent has it yet; read it, then: lazaret agent set AGENT --skill {}", review.name);
        Ok(Came::New(review.name, note))
    }

    /// Brings a file where it belongs in its session: inside, as the agent would.
    pub(super) async fn file(&mut self, session: &str, path: &str, data: &str) -> Result<Came, Failure> {
        if !is_place(path) {
            return Err(wrong("its place is none"));
        }
        let bytes = bytes_of(data)?;
        let id: SessionId = self.named("session", session).await?.parse().map_err(|_| wrong("its session is none"))?;
        let at = format!("{HOME}/{path}");
        if self.dry_run {
            return Ok(Came::New(at, String::new()));
        }
        if self.filed.as_ref() != Some(&id) {
            self.end_files(Some(id.clone())).await;
        }
        let tar = archive_of(path, &bytes).map_err(|e| wrong(&format!("it cannot be packed: {e}")))?;
        self.app.sessions_of(&self.caller).put(id.as_str(), HOME, tar.as_slice()).await?;
        Ok(Came::New(at, String::new()))
    }

    /// Gives up the sandbox that took files, for that of another session.
    pub(super) async fn end_files(&mut self, next: Option<SessionId>) {
        if let Some(before) = std::mem::replace(&mut self.filed, next) {
            self.app.let_go(&before).await;
        }
    }
}

fn bytes_of(text: &str) -> Result<Vec<u8>, Failure> {
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| wrong("what is in it is no base64"))
}

/// Whether a path leads below the places for files of messages.
fn is_place(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_plain = |part: &&str| {
        !part.is_empty() && part.len() <= PARTS_MAX.1 && !matches!(*part, "." | "..") && !part.chars().any(|c| c.is_control() || c == '\\')
    };
    (2..=PARTS_MAX.0).contains(&parts.len()) && PLACES.contains(&parts[0]) && parts.iter().all(is_plain)
}

/// An archive of one file.
fn archive_of(path: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mtime(0);
    builder.append_data(&mut header, path, bytes)?;
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_messages_come_below_their_places_only() {
        for fine in ["inbox/in-4/menu.txt", "outbox/x/\u{e4}", "inbox/a", "inbox/a/b/c"] {
            assert!(is_place(fine), "{fine}");
        }
        let long = format!("inbox/{}", "x".repeat(201));
        for bad in [
            "", "inbox", "inbox/", "inbox//a", "/inbox/a", "inbox/../.bashrc", "inbox/.", ".claude/x", "inbox/a\nb", "inbox/a/b/c/d", &long,
        ] {
            assert!(!is_place(bad), "{bad}");
        }
    }
}
