//! A card: a title, fields and links, as one message.

use futures_util::FutureExt as _;
use model::{Failure, Risk};
use serde::Deserialize;
use serde_json::{Value, json};

use super::send::{owed, to};
use super::within::is_plain;
use super::{Doing, OwnTool, Set, read, wrong};
use crate::delivery::Saying;

/// Fields and links of one card, each.
const FIELDS_MAX: usize = 20;
/// Characters of a title, a name or a label.
const LABEL_CHARS_MAX: usize = 200;
/// Characters of a field.
const FIELD_CHARS_MAX: usize = 1_000;
/// Characters of an address.
const URL_CHARS_MAX: usize = 2_000;

pub(super) const SEND: OwnTool = OwnTool {
    name: "send_card",
    about: "Sends a card: a title, a text, named fields, and buttons that open addresses. To have something decided, use ask_user.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || {
        let label = |what: &str| json!({ "type": "string", "minLength": 1, "maxLength": LABEL_CHARS_MAX, "description": what });
        let closed = |required: &[&str], properties: Value| json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
        let value = json!({ "type": "string", "minLength": 1, "maxLength": FIELD_CHARS_MAX });
        let url = json!({ "type": "string", "pattern": "^https?://", "maxLength": URL_CHARS_MAX });
        let field = closed(&["name", "value"], json!({ "name": label("What it is."), "value": value }));
        let button = closed(&["label", "url"], json!({ "label": label("What it says."), "url": url }));
        let text = json!({ "type": "string", "maxLength": 4_000 });
        let many = |of: Value| json!({ "type": "array", "maxItems": FIELDS_MAX, "items": of });
        (&["title"], json!({ "to": to(), "title": label("The title."), "text": text, "fields": many(field), "buttons": many(button) }))
    },
    call: |doing| send(doing).boxed(),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    to: Option<String>,
    title: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    fields: Vec<Field>,
    #[serde(default)]
    buttons: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    label: String,
    url: String,
}

async fn send(doing: &Doing) -> Result<Value, Failure> {
    let args: Args = read(&doing.arguments)?;
    let text = doing.cleaned(&drawn(&args)?);
    doing.must_have_room().await?;
    let target = doing.chat(args.to.as_deref()).await?;
    owed(doing, target, Saying { text, ..Saying::default() }).await
}

/// The card as Markdown.
fn drawn(args: &Args) -> Result<String, Failure> {
    if !is_plain(&args.title, LABEL_CHARS_MAX) {
        return Err(wrong("the title is empty, or not on one line"));
    }
    let mut text = format!("**{}**\n", args.title.trim().replace('*', "\\*"));
    if !args.text.trim().is_empty() {
        text.push_str(&format!("\n{}\n", args.text.trim()));
    }
    if !args.fields.is_empty() {
        text.push('\n');
    }
    for field in &args.fields {
        text.push_str(&format!("- {}: {}\n", field.name.trim(), field.value.trim().replace('\n', " ")));
    }
    if !args.buttons.is_empty() {
        text.push('\n');
    }
    for link in &args.buttons {
        let is_address = link.url.bytes().all(|b| b.is_ascii_graphic() && !b"()<>\"'`\\".contains(&b));
        if !is_address || !is_plain(&link.label, LABEL_CHARS_MAX) {
            return Err(wrong("a button has a label on one line and a plain http or https address"));
        }
        let label: String = link.label.chars().filter(|c| !"[]()".contains(*c)).collect();
        text.push_str(&format!("- [{}]({})\n", label.trim(), link.url));
    }
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(value: Value) -> Args {
        read(&value).expect("a card")
    }

    #[test]
    fn a_card_is_drawn_on_lines_of_its_own() {
        let card = args(json!({
            "title": "Rain", "text": "Take a coat.", "fields": [{ "name": "Wind", "value": "7\nkn" }],
            "buttons": [{ "label": "M[a]p", "url": "https://maps.example/x" }]
        }));
        assert_eq!(drawn(&card).expect("drawn"), "**Rain**\n\nTake a coat.\n\n- Wind: 7 kn\n\n- [Map](https://maps.example/x)");
        for url in ["https://x.example/) [y](javascript:alert(1)", "https://a b", "https://x\n"] {
            assert!(drawn(&args(json!({ "title": "T", "buttons": [{ "label": "L", "url": url }] }))).is_err(), "{url}");
        }
        assert!(drawn(&args(json!({ "title": "a\nb" }))).is_err());
    }
}
