//! A conversation as the page shows it: what was heard and what was owed, in one order, with later texts in the place of earlier ones.

use std::collections::HashMap;

use store::{OutRow, Told};
use wire::chat::{Act, Heard};

use super::forms::{WebFile, WebMessage, WebMessages};
use crate::channels::why::fix_of;
use crate::delivery::OUT_PREFIX;
use crate::router::Got;

/// Hexadecimal digits of an identity.
const ID_DIGITS: usize = 32;

/// The digits that order an identity among those of other kinds.
fn order(id: &str) -> &str {
    id.get(id.len().saturating_sub(ID_DIGITS)..).unwrap_or_default()
}

/// What is done to a message that stands elsewhere.
#[expect(clippy::large_enum_variant, reason = "a page of them lives for one answer")]
enum Later {
    Text(WebMessage),
    Reaction(String),
}

/// Puts a page together from the youngest of both, each the youngest first. At most `limit` of them are used.
pub(super) fn page(told: Vec<Told>, outs: Vec<OutRow>, limit: usize, version: u64) -> WebMessages {
    enum Row {
        Told(Told),
        Out(OutRow),
    }
    let is_full = told.len() + outs.len() > limit;
    let mut rows: Vec<(String, Row)> = told.into_iter().map(|told| (order(told.row.id.as_str()).to_owned(), Row::Told(told))).collect();
    rows.extend(outs.into_iter().map(|out| (order(out.id.as_str()).to_owned(), Row::Out(out))));
    rows.sort_by(|(one, _), (other, _)| other.cmp(one));
    rows.truncate(limit);
    let next = if is_full { rows.last().map(|(order, _)| order.clone()) } else { None };
    let (mut items, mut later) = (Vec::new(), Vec::new());
    for (_, row) in rows.into_iter().rev() {
        match row {
            Row::Told(told) => of_told(told, &mut items, &mut later),
            Row::Out(out) => of_out(out, &mut items, &mut later),
        }
    }
    let places: HashMap<String, usize> = items.iter().enumerate().map(|(n, item)| (item.id.clone(), n)).collect();
    let mut edits: Vec<WebMessage> = Vec::new();
    for (of, change) in later {
        match (places.get(&of), change) {
            (Some(&at), Later::Text(edit)) => apply(&mut items[at], edit),
            (Some(&at), Later::Reaction(emoji)) => items[at].reactions.push(emoji),
            (None, Later::Text(edit)) => edits.push(WebMessage { id: of, edited: true, ..edit }),
            (None, Later::Reaction(_)) => {}
        }
    }
    WebMessages { items, edits, next, version }
}

fn apply(to: &mut WebMessage, edit: WebMessage) {
    to.text = edit.text;
    to.buttons = edit.buttons;
    to.edited = true;
}

fn of_told(told: Told, items: &mut Vec<WebMessage>, later: &mut Vec<(String, Later)>) {
    let Told { row, turn, session, state } = told;
    let got: Vec<Got> = serde_json::from_value(row.body["got"].clone()).unwrap_or_default();
    let mut body = row.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("got");
    }
    let Ok(heard) = serde_json::from_value::<Heard>(body) else { return };
    let said = WebMessage {
        text: heard.text,
        outcome: Some(row.outcome.clone()),
        gate: row.gate.clone(),
        reason: row.reason.clone(),
        fix: row.gate.as_deref().and_then(|gate| fix_of(gate, &row)),
        turn,
        session,
        state,
        ..WebMessage::new(row.message.clone(), "you", row.heard)
    };
    match row.kind.as_str() {
        "message" => {
            let file = |(n, file): (usize, &wire::chat::Attachment)| {
                let got = got.get(n);
                let error = got.and_then(|got| got.error.clone());
                WebFile { id: None, name: file.name.clone(), size: file.size, error }
            };
            items.push(WebMessage { files: heard.files.iter().enumerate().map(file).collect(), ..said });
        }
        // One that came too late changed nothing, and the message stands as it was said.
        "edit" if row.outcome == "kept" => {
            if let Some(of) = heard.about {
                later.push((of, Later::Text(said)));
            }
        }
        _ => {}
    }
}

fn of_out(out: OutRow, items: &mut Vec<WebMessage>, later: &mut Vec<(String, Later)>) {
    let Ok(act) = serde_json::from_value::<Act>(out.act.clone()) else { return };
    let by = if out.agent.is_some() { "agent" } else { "host" };
    let fresh = WebMessage { agent: out.agent.clone(), ..WebMessage::new(out.id.to_string(), by, out.created) };
    match act {
        Act::Send { text, files, reply_to, buttons } => {
            let file = |file: wire::chat::Attachment| WebFile { id: Some(file.id), name: file.name, size: file.size, error: None };
            items.push(WebMessage {
                text,
                reply_to,
                asks: !buttons.is_empty() || out.cause.starts_with("question:"),
                buttons: buttons.into_iter().map(Into::into).collect(),
                files: files.into_iter().map(file).collect(),
                turn: out.turn,
                session: out.session,
                ..fresh
            });
        }
        Act::Edit { message, text, buttons } => {
            let of = message.strip_prefix(OUT_PREFIX).unwrap_or(&message).to_owned();
            let buttons = buttons.into_iter().map(Into::into).collect();
            later.push((of, Later::Text(WebMessage { text, buttons, edited: true, ..fresh })));
        }
        Act::React { message, emoji } => later.push((message, Later::Reaction(emoji))),
    }
}

#[cfg(test)]
mod tests {
    use model::{InboundId, OutboxId, Timestamp};
    use serde_json::{Value, json};
    use store::InboundRow;

    use super::*;

    fn told(bits: u128, kind: &str, more: Value) -> Told {
        let mut body = json!({ "kind": kind, "id": format!("m{bits}"), "chat": { "id": "u.andy", "group": false },
            "sender": { "id": "u" }, "text": format!("heard {bits}"), "at_ms": 0 });
        more.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
        let row = InboundRow {
            id: InboundId::from_bits(bits),
            channel: "web".into(),
            chat: "u.andy".into(),
            message: format!("m{bits}"),
            kind: kind.into(),
            thread: None,
            sender: "u".into(),
            sender_name: "U".into(),
            body,
            outcome: if kind == "edit" { "kept" } else { "turn" }.into(),
            gate: None,
            reason: None,
            note: None,
            is_open: false,
            heard: Timestamp(7),
        };
        Told { row, turn: None, session: None, state: None }
    }

    fn out(bits: u128, act: Value) -> OutRow {
        OutRow {
            id: OutboxId::from_bits(bits),
            channel: "web".into(),
            tenant: "default".into(),
            chat: "u.andy".into(),
            thread: None,
            act,
            cause: bits.to_string(),
            agent: Some("andy".into()),
            session: None,
            turn: None,
            state: "sent".into(),
            attempts: 1,
            due: Timestamp(0),
            messages: Vec::new(),
            error: None,
            created: Timestamp(8),
            settled: None,
        }
    }

    fn texts(page: &WebMessages) -> Vec<&str> {
        page.items.iter().map(|item| item.text.as_str()).collect()
    }

    #[test]
    fn both_sides_stand_in_one_order_and_pages_meet() {
        let all = || {
            (
                vec![told(5, "message", json!({})), told(1, "message", json!({}))],
                vec![out(6, json!({ "do": "send", "text": "said 6" })), out(2, json!({ "do": "send", "text": "said 2" }))],
            )
        };
        let (heard, said) = all();
        let whole = page(heard, said, 10, 3);
        assert_eq!(texts(&whole), ["heard 1", "said 2", "heard 5", "said 6"]);
        assert_eq!((whole.next.clone(), whole.version), (None, 3));
        let (heard, said) = all();
        let young = page(heard, said, 2, 3);
        assert_eq!(texts(&young), ["heard 5", "said 6"]);
        assert_eq!(young.next.as_deref(), Some(format!("{:032x}", 5).as_str()));
    }

    #[test]
    fn a_later_text_takes_the_place_of_the_earlier_one_and_its_buttons_go() {
        let id = OutboxId::from_bits(2);
        let card = json!({ "do": "send", "text": "yes?", "buttons": [{ "label": "Yes", "value": "y" }] });
        let edit = json!({ "do": "edit", "message": format!("out:{id}"), "text": "approved", "buttons": [] });
        let react = json!({ "do": "react", "message": "m1", "emoji": "+" });
        let shown = page(vec![told(1, "message", json!({}))], vec![out(4, react), out(3, edit.clone()), out(2, card)], 10, 0);
        assert_eq!(texts(&shown), ["heard 1", "approved"]);
        assert!(shown.items[1].edited && shown.items[1].buttons.is_empty());
        assert_eq!(shown.items[0].reactions, ["+"]);
        // Its message stands on an older page.
        let apart = page(Vec::new(), vec![out(3, edit)], 10, 0);
        assert!(apart.items.is_empty());
        assert_eq!((apart.edits[0].id.as_str(), apart.edits[0].text.as_str()), (id.as_str(), "approved"));
    }

    #[test]
    fn what_somebody_changed_too_late_stays_as_it_was_said() {
        let mut late = told(3, "edit", json!({ "about": "m1", "text": "other" }));
        late.row.outcome = "dropped".into();
        let taken = told(2, "edit", json!({ "about": "m1", "text": "better" }));
        assert_eq!(texts(&page(vec![late.clone(), told(1, "message", json!({}))], Vec::new(), 10, 0)), ["heard 1"]);
        assert_eq!(texts(&page(vec![late, taken, told(1, "message", json!({}))], Vec::new(), 10, 0)), ["better"]);
    }

    #[test]
    fn files_say_what_became_of_them() {
        let more = json!({ "files": [{ "id": "f1", "name": "a.txt", "size": 3 }, { "id": "f2", "name": "b", "size": 9 }],
            "got": [{ "name": "1-a.txt", "called": "a.txt", "size": 3 }, { "name": null, "called": "b", "size": 0, "error": "too large" }] });
        let shown = page(vec![told(1, "message", more)], Vec::new(), 10, 0);
        let files: Vec<_> =
            shown.items[0].files.iter().map(|file| (file.name.as_str(), file.error.as_deref(), file.id.is_none())).collect();
        assert_eq!(files, [("a.txt", None, true), ("b", Some("too large"), true)]);
    }
}
