//! What a person is shown before a call: all of it, and nothing that could be read as something else.

use broker::{Ask, Caller, Standing};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::SaidBeside;

/// Bytes of one argument above which it is shown with its length and hash before it.
const MEASURED_BYTES: usize = 1 << 10;
/// Bytes of one argument above which a command line wants `--long` to approve.
pub(crate) const LONG_BYTES: usize = 64 << 10;

/// The whole call as text: who wants it, what is called, and each argument on a line of its own. Nothing is left out at any
/// length, and every character that does not show, moves the cursor or changes the order of reading is written as its number.
pub(crate) fn render(ask: &Ask<'_>) -> String {
    let caller = ask.caller;
    let of = if ask.tool.plugin.is_empty() { String::new() } else { format!(" of the plugin {}", plain(&ask.tool.plugin)) };
    let mut text = format!("{}{of} (risk {})\n", plain(&ask.tool.name), ask.tool.risk.as_str());
    match &caller.session {
        Some(session) => text.push_str(&format!("asked by agent {} in {session}\n", plain(&caller.agent))),
        None => text.push_str(&format!("asked by {}\n", plain(&caller.agent))),
    }
    match ask.arguments.as_object() {
        Some(arguments) if arguments.is_empty() => text.push_str("without arguments\n"),
        Some(arguments) => arguments.iter().for_each(|(name, value)| line(&mut text, name, value)),
        None => line(&mut text, "arguments", ask.arguments),
    }
    text
}

/// For whom it is asked, and whose words besides theirs the agent has read: what strangers wrote may be why it asks.
pub(crate) fn whom(caller: &Caller, beside: SaidBeside) -> String {
    let mut text = String::new();
    if let Some(asker) = &caller.asker {
        let (handle, channel) = (plain(&asker.handle), plain(&asker.channel));
        text.push_str(&format!("for {handle} on {channel}, {} of {}\n", article(asker.standing), plain(&caller.agent)));
    }
    let messages = |n: u64| if n == 1 { "1 message".to_owned() } else { format!("{n} messages") };
    match (beside.others, beside.strangers) {
        (0, _) => {}
        (others, 0) => text.push_str(&format!("it has also read {} of others here\n", messages(others))),
        (others, strangers) => {
            text.push_str(&format!("it has also read {} of others here, {} of strangers among them\n", messages(others), strangers));
        }
    }
    text
}

fn article(standing: Standing) -> &'static str {
    match standing {
        Standing::Nobody => "nobody",
        Standing::Guest => "a guest",
        Standing::Member => "a member",
        Standing::Admin => "an admin",
    }
}

fn line(text: &mut String, name: &str, value: &Value) {
    let json = value.to_string();
    let measure = if json.len() > MEASURED_BYTES {
        let hash: String = Sha256::digest(&json).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("({} bytes, sha256 {hash}...) ", json.len())
    } else {
        String::new()
    };
    text.push_str(&format!("  {} = {measure}{}\n", plain(name), plain(&json)));
}

/// Whether an argument is so long that nobody reads it by chance.
pub(crate) fn is_long(arguments: &Value) -> bool {
    match arguments.as_object() {
        Some(arguments) => arguments.values().any(|value| value.to_string().len() > LONG_BYTES),
        None => arguments.to_string().len() > LONG_BYTES,
    }
}

/// A text on one line in which everything can be seen.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) { shown.push(c) } else { shown.push_str(&c.escape_unicode().to_string()) }
    }
    shown
}

/// Whether a character is seen where it stands, as what it is.
pub(crate) fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        _ if c.is_control() || c.is_whitespace() => false,
        // Soft hyphen, joiners, fillers, directions, invisible operators, variation selectors, tags, marks of byte order.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => false,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' => false,
        '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' => false,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => false,
        // Marks that are drawn over what stands before them.
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}' => {
            false
        }
        // Characters of nobody's, and those for private use.
        '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{f0000}'..='\u{10ffff}' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use broker::{Approved, CallFailure, Caller, Handler, Tool};
    use futures_util::future::BoxFuture;
    use serde_json::json;

    use super::*;

    struct Nothing;

    impl Handler for Nothing {
        fn call<'a>(&'a self, _: &'a Approved) -> BoxFuture<'a, Result<Value, CallFailure>> {
            Box::pin(async { Ok(Value::Null) })
        }
    }

    fn rendered(arguments: &Value) -> String {
        let tool = Tool {
            name: "mail_send".to_owned(),
            plugin: "email".to_owned(),
            description: String::new(),
            risk: model::Risk::High,
            schema: json!({}),
            groups: None,
            is_owners: false,
            deadline: Duration::from_secs(1),
            handler: Arc::new(Nothing),
        };
        render(&Ask { caller: &Caller::owner(), correlation: "c", tool: &tool, arguments, hash: "h" })
    }

    #[test]
    fn each_argument_is_one_line_and_all_of_it() {
        let text = rendered(&json!({ "to": "a@example.org", "body": "hi\n  to = \"b@example.org\"", "n": [1, { "x": null }] }));
        assert_eq!(
            text,
            "mail_send of the plugin email (risk high)\nasked by owner\n  body = \"hi\\n  to = \\\"b@example.org\\\"\"\n  n = [1,{\"x\":null}]\n  to = \"a@example.org\"\n"
        );
    }

    #[test]
    fn nothing_hides_or_turns_around() {
        let hidden =
            ["\u{202e}", "\u{200b}", "\u{2066}", "\u{feff}", "\u{1b}[2J", "\r", "\u{a0}", "\u{e0041}", "\u{fe0f}", "\u{301}", "\u{2028}"];
        for bad in hidden {
            let text = rendered(&json!({ "to": format!("a{bad}b"), format!("x{bad}"): 1 }));
            let is_safe = text.chars().all(|c| c == '\n' || is_plain(c));
            assert!(is_safe && text.lines().count() == 4, "{bad:?}: {text:?}");
            // What differs is seen to differ.
            assert_ne!(text, rendered(&json!({ "to": "ab", "x": 1 })));
        }
        assert!(rendered(&json!({ "to": "grüße 你好" })).contains("grüße 你好"));
    }

    #[test]
    fn a_long_tail_is_shown() {
        let body = format!("{}TAIL", "a".repeat(90_000));
        let text = rendered(&json!({ "body": body }));
        assert!(text.contains("TAIL\"\n") && text.contains("(90006 bytes, sha256 "), "{}", &text[..200]);
        assert!(is_long(&json!({ "body": body })) && !is_long(&json!({ "body": "a" })));
    }
}
