//! Changing what was said, and reacting to what others say.

use futures_util::FutureExt as _;
use model::{Code, Failure, OutboxId, Risk};
use serde::Deserialize;
use serde_json::{Value, json};

use super::within::is_plain;
use super::{Doing, OwnTool, Set, read, wrong};
use crate::delivery::Target;

/// Characters of an emoji: some are made of many.
const EMOJI_CHARS_MAX: usize = 32;

pub(super) const EDIT: OwnTool = OwnTool {
    name: "edit_message",
    about: "Gives a message that you sent in this conversation another text. `id` is what send_message gave.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || {
        let id = json!({ "type": "string", "pattern": "^out_[0-9a-f]{32}$" });
        let text = json!({ "type": "string", "minLength": 1, "maxLength": 4_000, "description": "The whole new text." });
        (&["id", "text"], json!({ "id": id, "text": text }))
    },
    call: |doing| edit(doing).boxed(),
};

pub(super) const REACT: OwnTool = OwnTool {
    name: "add_reaction",
    about: "Reacts with an emoji to a message of somebody's in this conversation. `id` is the one that stands at the message.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || {
        let id = json!({ "type": "string", "pattern": "^msg_[0-9a-f]{32}$" });
        let emoji = json!({ "type": "string", "minLength": 1, "maxLength": EMOJI_CHARS_MAX });
        (&["id", "emoji"], json!({ "id": id, "emoji": emoji }))
    },
    call: |doing| react(doing).boxed(),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditArgs {
    id: OutboxId,
    text: String,
}

async fn edit(doing: &Doing) -> Result<Value, Failure> {
    let args: EditArgs = read(&doing.arguments)?;
    doing.must_have_room().await?;
    let missing = || Failure::new(Code::NotFound, "you sent no message of this id in this conversation");
    let row = doing.app.store().out(&args.id).await.map_err(|_| missing())?;
    let is_own = row.tenant == doing.caller.tenant && row.agent.as_deref() == Some(&doing.caller.agent);
    if !is_own || row.session.as_ref() != Some(doing.session()?) || row.act["do"] != "send" {
        return Err(missing());
    }
    let text = doing.cleaned(&args.text);
    doing.app.delivery().edit(&row.id, &text, doing.cause()).await?;
    Ok(json!({ "id": row.id }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReactArgs {
    id: String,
    emoji: String,
}

async fn react(doing: &Doing) -> Result<Value, Failure> {
    let args: ReactArgs = read(&doing.arguments)?;
    if !is_plain(&args.emoji, EMOJI_CHARS_MAX) {
        return Err(wrong("this is no emoji"));
    }
    doing.must_have_room().await?;
    let heard = doing.heard(&args.id).await?;
    let target = Target {
        channel: heard.channel,
        chat: heard.chat,
        thread: heard.thread,
        cause: doing.cause(),
        agent: Some(doing.caller.agent.clone()),
        session: Some(doing.session()?.clone()),
        turn: Some(doing.turn()?.clone()),
    };
    doing.app.delivery().react(target, &heard.message, args.emoji.trim()).await?;
    Ok(json!({ "id": args.id }))
}
