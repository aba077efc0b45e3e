//! Saying something somewhere: a text, a file.

use futures_util::FutureExt as _;
use model::{Failure, Risk};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use wire::chat::CHAT_FILE_BYTES_MAX;

use super::within::Place;
use super::{Doing, OwnTool, Set, read, wrong};
use crate::delivery::{OutFile, Saying, Target, mime_of};
use crate::files::{FileStream, read_in, relative};
use crate::inside::Inside;
use crate::trees::Look;

/// Characters of one text.
pub(super) const TEXT_CHARS_MAX: usize = 40_000;
/// Characters of what stands beside a file.
const CAPTION_CHARS_MAX: usize = 4_000;
/// Characters of a path.
const PATH_CHARS_MAX: usize = 1_024;
/// Directories inside that files are sent from, each with what a path may begin with there.
const ROOTS: [(&str, &str); 2] = [("/workspace", "/workspace/"), ("/home/sandbox", "/home/sandbox/")];

pub(super) const MESSAGE: OwnTool = OwnTool {
    name: "send_message",
    about: "Sends a message now, before your answer: to the chat that asked (`here`), or to one of your destinations, which may also be \
            another agent. Your answer goes to the chat that asked by itself; do not send it twice. Gives the id by which it can be edited.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || {
        let text = json!({ "type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX, "description": "Markdown." });
        let reply =
            json!({ "type": "string", "pattern": "^msg_[0-9a-f]{32}$", "description": "The message of somebody's that it answers." });
        (&["text"], json!({ "to": to(), "text": text, "reply_to": reply }))
    },
    call: |doing| message(doing).boxed(),
};

pub(super) const FILE: OwnTool = OwnTool {
    name: "send_file",
    about: "Sends a file of yours, below /home/sandbox or /workspace, to the chat that asked or to one of your destinations.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || {
        let path = json!({ "type": "string", "minLength": 1, "maxLength": PATH_CHARS_MAX });
        let caption = json!({ "type": "string", "maxLength": CAPTION_CHARS_MAX });
        (&["path"], json!({ "to": to(), "path": path, "caption": caption }))
    },
    call: |doing| file(doing).boxed(),
};

/// The argument that names a place.
pub(super) fn to() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 200, "description": "A destination by its name; `here` when left out." })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageArgs {
    to: Option<String>,
    text: String,
    reply_to: Option<String>,
}

async fn message(doing: &Doing) -> Result<Value, Failure> {
    let args: MessageArgs = read(&doing.arguments)?;
    let text = doing.cleaned(&args.text);
    if text.trim().is_empty() {
        return Err(wrong("the text is empty"));
    }
    doing.must_have_room().await?;
    let target = match doing.place(args.to.as_deref()).await? {
        Place::Agent(agent) => return super::mail::send(doing, &agent, &text).await,
        Place::Chat(target) => target,
    };
    let reply_to = match &args.reply_to {
        Some(id) => Some(answered(doing, id, &target).await?),
        None => None,
    };
    owed(doing, target, Saying { text, reply_to, ..Saying::default() }).await
}

/// The platform's id of a message that is answered where it was said.
async fn answered(doing: &Doing, id: &str, target: &Target) -> Result<String, Failure> {
    let heard = doing.heard(id).await?;
    if heard.channel != target.channel || heard.chat != target.chat {
        return Err(wrong("the message that it answers was said in another chat"));
    }
    Ok(heard.message)
}

/// Says it, and gives what an agent needs to know of that.
pub(super) async fn owed(doing: &Doing, target: Target, saying: Saying) -> Result<Value, Failure> {
    let ids = doing.app.delivery().say(target, saying).await?;
    model::crash::point("tool:said");
    Ok(json!({ "id": ids.last(), "parts": ids.len(), "note": "it is on its way; you are told if it cannot be delivered" }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileArgs {
    to: Option<String>,
    path: String,
    caption: Option<String>,
}

async fn file(doing: &Doing) -> Result<Value, Failure> {
    let args: FileArgs = read(&doing.arguments)?;
    doing.must_have_room().await?;
    let target = doing.chat(args.to.as_deref()).await?;
    if let Some(row) = doing.app.store().out_of(&target.cause).await.map_err(|e| e.failure())? {
        // It came before: the file is kept already, or was sent.
        return Ok(json!({ "id": row.id, "parts": 1 }));
    }
    let most = doing.app.delivery().file_max(&target.channel).await?;
    let text = doing.cleaned(args.caption.as_deref().unwrap_or_default());
    let name = args.path.rsplit('/').next().unwrap_or("file").to_owned();
    if most == 0 {
        let text = without(doing, &args.path, &name, &text).await?;
        let mut said = owed(doing, target, Saying { text, ..Saying::default() }).await?;
        said["note"] = json!("this network carries no files: the chat is told the file's name and where it lies, and not what is in it");
        return Ok(said);
    }
    let bytes = bytes_of(doing, &args.path, most.min(CHAT_FILE_BYTES_MAX)).await?;
    let file = OutFile { mime: mime_of(&name, &bytes).to_owned(), name, bytes };
    owed(doing, target, Saying { text, files: vec![file], ..Saying::default() }).await
}

/// What is said of a file in a chat that no file can come to: what it is called, and where whoever may see the session finds it.
async fn without(doing: &Doing, path: &str, name: &str, caption: &str) -> Result<String, Failure> {
    let (place, size, _) = open(doing, path).await?;
    // Marks of a text would show another name than the file has.
    let plain = |text: &str| doing.cleaned(text).chars().filter(|c| !c.is_control() && *c != '`').collect::<String>();
    let session = doing.session()?;
    let told = format!(
        "(File `{}`, {size} bytes: this network carries no files. It lies at `{}` of session {session}.)",
        plain(name),
        plain(&place)
    );
    Ok(if caption.trim().is_empty() { told } else { format!("{caption}\n\n{told}") })
}

/// The bytes of a file of the agent's, read inside its sandbox: what its links lead to is not.
async fn bytes_of(doing: &Doing, path: &str, most: u64) -> Result<Vec<u8>, Failure> {
    let (_, size, stream) = open(doing, path).await?;
    if size > most {
        return Err(wrong(format!("the file has {size} bytes, and the network takes {most}")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    stream.take(most).read_to_end(&mut bytes).await.map_err(|e| wrong(format!("the file cannot be read: {e}")))?;
    Ok(bytes)
}

/// A file of the agent's: where it is, its size, and what is in it.
async fn open(doing: &Doing, path: &str) -> Result<(String, u64, FileStream), Failure> {
    let (root, path) = place_of(path)?;
    let gone = || wrong("the sandbox is gone");
    let live = doing.app.live(doing.session()?).ok_or_else(gone)?;
    let held = live.sandbox.lock().await;
    let sandbox = held.as_ref().map(|housed| housed.sandbox.clone()).filter(|sandbox| sandbox.summary().alive).ok_or_else(gone)?;
    drop(held);
    let (size, stream) = read_in(Inside { look: Look::own(sandbox), root: root.to_owned() }, &path).await?;
    Ok((format!("{root}/{}", path.trim_start_matches("./")), size, stream))
}

/// The directory that a path is in, and the path below it.
fn place_of(path: &str) -> Result<(&'static str, String), Failure> {
    let path = path.strip_prefix("~/").map_or_else(|| path.to_owned(), |rest| format!("/home/sandbox/{rest}"));
    if !path.starts_with('/') {
        return Err(wrong("the path is not absolute").hint("for example /home/sandbox/report.pdf"));
    }
    for (root, prefix) in ROOTS {
        if let Some(rest) = path.strip_prefix(prefix) {
            return Ok((root, relative(rest.trim_start_matches('/'))?));
        }
    }
    Err(wrong("files are sent from below /home/sandbox and /workspace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sent_from_the_agents_own_directories() {
        assert_eq!(place_of("~/a/b.txt").ok(), Some(("/home/sandbox", "./a/b.txt".to_owned())));
        assert_eq!(place_of("/workspace//x").ok(), Some(("/workspace", "./x".to_owned())));
        for bad in
            ["/etc/passwd", "a.txt", "/workspace/../etc/passwd", "~/../x", "/home/sandboxed/x", "/workspace", "~", "/home/sandbox/a\0"]
        {
            assert!(place_of(bad).is_err(), "{bad}");
        }
    }
}
