//! Where an agent may send to.

use futures_util::FutureExt as _;
use model::{Failure, Risk};
use serde_json::{Value, json};

use super::within::HERE;
use super::{Doing, OwnTool, Set};

/// Destinations that are told at once.
const SHOWN_MAX: usize = 200;

pub(super) const DESTINATIONS: OwnTool = OwnTool {
    name: "list_destinations",
    about: "Lists where you may send to, by name: chats and other agents, and whether this turn was asked in a chat (`here`).",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || (&[], json!({})),
    call: |doing| list(doing).boxed(),
};

async fn list(doing: &Doing) -> Result<Value, Failure> {
    let store = doing.app.store();
    let rows = store.destinations(&doing.caller.tenant, &doing.caller.agent).await.map_err(|e| e.failure())?;
    let more = rows.len().saturating_sub(SHOWN_MAX);
    let mut told = Vec::new();
    for row in rows.into_iter().take(SHOWN_MAX) {
        let mut one = json!({ "name": row.name, "kind": if row.target.is_some() { "agent" } else { "chat" } });
        if let Some(agent) = row.target {
            one["agent"] = json!(agent);
        }
        if let Some(id) = &row.chat {
            // One that is gone since is no place any more.
            let Ok((_, chat)) = store.chat(id).await else { continue };
            one["channel"] = json!(chat.channel);
            one["chat"] = json!(chat.name);
            one["group"] = json!(chat.is_group);
        }
        told.push(one);
    }
    let here = match doing.caller.turn {
        Some(_) => doing.asker().await?.map(|asker| json!({ "name": HERE, "channel": asker.channel })),
        None => None,
    };
    Ok(json!({ "here": here, "destinations": told, "left_out": more }))
}
