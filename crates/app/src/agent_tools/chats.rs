//! Which chats an agent hears, as whoever looks after the tenant says it in a chat instead of at the command line. They are named by identity: what
//! people call a chat is theirs to change, also between a card and its yes.

use broker::Ask;
use futures_util::FutureExt as _;
use model::{ChatId, Code, Engage, Failure, Risk};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{ChatFilter, ChatRow, LIST_MAX};

use super::{Doing, OwnTool, Set, read};
use crate::self_policy::is_undisputed;
use crate::shown::plain;
use crate::{App, Caller, WiringForm};

/// Tools that are called for nobody but admins and owners of the tenant, and in no turn that no chat asked.
pub(crate) const FOR_WHO_LOOKS_AFTER: [&str; 3] = ["list_chats", "join_chat", "leave_chat"];
/// Chats that are told at once.
const SHOWN_MAX: usize = 50;
/// Chats that are looked through for a name: the youngest.
const SEEN_MAX: usize = 5_000;
/// Characters of a part of a name.
const NAME_CHARS_MAX: usize = 100;

pub(super) const LIST: OwnTool = OwnTool {
    name: FOR_WHO_LOOKS_AFTER[0],
    about: "Lists the chats that are known, the youngest first, and who hears each: for who looks after them, where nobody else reads along.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || {
        let named = json!({ "type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX, "description": "A part of the name; all when left out." });
        (&[], json!({ "named": named }))
    },
    call: |doing| list(doing).boxed(),
};

pub(super) const JOIN: OwnTool = OwnTool {
    name: FOR_WHO_LOOKS_AFTER[1],
    about: "Lets you hear a chat, and send to it. A person is asked before.",
    risk: Risk::High,
    set: Set::Chat,
    asks: false,
    schema: || {
        let engage = json!({
            "type": "string", "enum": ["every", "mention", "sticky"],
            "description": "What you answer to: every message, being spoken to, or that and what follows it. In a group sticky, else every, when left out."
        });
        (&["chat"], json!({ "chat": identity(), "engage": engage }))
    },
    call: |doing| join(doing).boxed(),
};

pub(super) const LEAVE: OwnTool = OwnTool {
    name: FOR_WHO_LOOKS_AFTER[2],
    about: "Lets you hear a chat no more. A person is asked before.",
    risk: Risk::High,
    set: Set::Chat,
    asks: false,
    schema: || (&["chat"], json!({ "chat": identity() })),
    call: |doing| leave(doing).boxed(),
};

fn identity() -> Value {
    json!({ "type": "string", "pattern": "^cht_[0-9a-f]{32}$", "description": "Its identity, as list_chats tells it." })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListArgs {
    named: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinArgs {
    chat: ChatId,
    engage: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaveArgs {
    chat: ChatId,
}

async fn list(doing: &Doing) -> Result<Value, Failure> {
    let args: ListArgs = read(&doing.arguments)?;
    let store = doing.app.store();
    if !is_undisputed(store, &doing.caller).await? {
        return Err(Failure::new(Code::Forbidden, "others have a word in this conversation: what chats there are is not told here")
            .hint("whoever looks after them may ask in a direct chat"));
    }
    let wanted = args.named.unwrap_or_default().to_lowercase();
    let filter = ChatFilter { tenant: Some(doing.caller.tenant.clone()), channel: None };
    let (mut found, mut left_out, mut seen, mut after) = (Vec::new(), 0_usize, 0_usize, None);
    loop {
        let page = store.list_chats(filter.clone(), after, LIST_MAX).await.map_err(|e| e.failure())?;
        seen += page.items.len();
        for row in page.items {
            if !row.name.to_lowercase().contains(&wanted) && !row.chat.to_lowercase().contains(&wanted) {
                continue;
            }
            if found.len() < SHOWN_MAX {
                found.push(row);
            } else {
                left_out += 1;
            }
        }
        after = page.next.and_then(|next| next.parse().ok());
        if after.is_none() || seen >= SEEN_MAX {
            break;
        }
    }
    let mut told = Vec::with_capacity(found.len());
    for row in found {
        let view = doing.app.chats_of(&doing.tenant()).show(row.id.as_str()).await?;
        told.push(json!({
            "chat": row.id, "name": plain(&row.name), "channel": row.channel, "group": row.is_group, "heard_by": view.agents,
            "is_heard_by_you": view.agents.contains(&doing.caller.agent),
        }));
    }
    Ok(json!({ "chats": told, "left_out": left_out }))
}

/// When a wiring engages by the word of the tool; what is usual for its chat when nothing is said.
fn engage_of(word: Option<&str>) -> Option<Engage> {
    match word? {
        "mention" => Some(Engage::Mention),
        "sticky" => Some(Engage::Sticky),
        _ => Some(Engage::Pattern),
    }
}

async fn join(doing: &Doing) -> Result<Value, Failure> {
    let args: JoinArgs = read(&doing.arguments)?;
    let form = WiringForm {
        chat: args.chat.to_string(),
        agent: doing.caller.agent.clone(),
        engage: engage_of(args.engage.as_deref()),
        pattern: None,
        senders: None,
        ignored: None,
        mode: None,
        priority: 0,
        bots: false,
    };
    let wired = doing.app.chats_of(&doing.tenant()).wire(form).await?;
    let detail = json!({ "id": wired.id, "chat": wired.chat, "agent": wired.agent });
    doing.app.audit_change(&doing.caller.actor(), "wiring.put", detail).await?;
    Ok(json!({ "chat": wired.chat, "note": "you hear it from now on" }))
}

async fn leave(doing: &Doing) -> Result<Value, Failure> {
    let args: LeaveArgs = read(&doing.arguments)?;
    let (tenant, agent) = (doing.tenant(), &doing.caller.agent);
    let chats = doing.app.chats_of(&tenant);
    let wirings = chats.wirings(Some(args.chat.as_str())).await?;
    let own = wirings.into_iter().find(|wiring| wiring.agent == *agent);
    let own = own.ok_or_else(|| Failure::new(Code::NotFound, "you do not hear this chat"))?;
    let gone = chats.unwire(own.id.as_str()).await?;
    let detail = json!({ "id": gone.id, "chat": gone.chat, "agent": gone.agent });
    doing.app.audit_change(&doing.caller.actor(), "wiring.remove", detail).await?;
    Ok(json!({ "chat": gone.chat, "note": "you hear it no more" }))
}

/// What a call of these tools comes to, for the person who is asked: which chat, by what it is called now, and what is heard of it.
pub(super) async fn effect(app: &App, ask: &Ask<'_>) -> Option<String> {
    let agent = &ask.caller.agent;
    let heard = |chat: &ChatRow| {
        let name = if chat.name.is_empty() { "a chat without a name".to_owned() } else { plain(&chat.name) };
        format!("the {} {name} ({}/{})", if chat.is_group { "group" } else { "direct chat" }, chat.channel, plain(&chat.chat))
    };
    if ask.tool.name == JOIN.name {
        let args: JoinArgs = read(ask.arguments).ok()?;
        let chat = known(app, ask, &args.chat).await?;
        let how = match engage_of(args.engage.as_deref()).unwrap_or(if chat.is_group { Engage::Sticky } else { Engage::Pattern }) {
            Engage::Pattern => "answers every message of its members",
            Engage::Mention => "answers its members where it is spoken to",
            Engage::Sticky => "answers its members where it is spoken to, and what follows that",
        };
        return Some(format!("{agent} hears {} from now on, may send to it, and {how}\n", heard(&chat)));
    }
    if ask.tool.name == LEAVE.name {
        let args: LeaveArgs = read(ask.arguments).ok()?;
        let chat = known(app, ask, &args.chat).await?;
        return Some(format!("{agent} hears {} no more\n", heard(&chat)));
    }
    None
}

/// A chat of the caller's tenant.
async fn known(app: &App, ask: &Ask<'_>, chat: &ChatId) -> Option<ChatRow> {
    let (tenant, row) = app.store().chat(chat).await.ok()?;
    Caller { tenant: Some(ask.caller.tenant.clone()) }.sees(&tenant).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_the_tool_is_one_of_a_wiring() {
        let (_, properties) = (JOIN.schema)();
        let words: Vec<&str> = properties["engage"]["enum"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
        let all: Vec<Option<Engage>> = words.iter().map(|word| engage_of(Some(word))).collect();
        assert_eq!(all, [Some(Engage::Pattern), Some(Engage::Mention), Some(Engage::Sticky)]);
        assert_eq!(engage_of(None), None);
    }
}
