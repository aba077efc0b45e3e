//! What the words of the other install mean here.

use model::{Engage, Ignored, Senders, SessionMode, Timestamp};
use serde_json::{Map, Value};

/// Characters of a name that is made: another may get a number behind it.
const NAME_CHARS: usize = 48;

/// A row of one of its tables.
pub(super) type Fields = Map<String, Value>;

/// A text of a row; empty when it has none.
pub(super) fn text(row: &Fields, name: &str) -> String {
    match row.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(n)) => n.to_string(),
        _ => String::new(),
    }
}

/// A number of a row.
pub(super) fn number(row: &Fields, name: &str) -> i64 {
    match row.get(name) {
        Some(Value::Number(n)) => n.as_i64().unwrap_or(0),
        Some(Value::String(text)) => text.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

/// A time of a row: an instant, a text of SQLite in UTC, or milliseconds.
pub(super) fn time(row: &Fields, name: &str) -> Option<Timestamp> {
    instant(&text(row, name))
}

/// The same of a text.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(n) = text.parse::<u64>() {
        // Seconds, where they cannot be milliseconds of this century.
        return Some(Timestamp(if n < 100_000_000_000 { n.checked_mul(1000)? } else { n }));
    }
    let mut whole = text.replacen(' ', "T", 1);
    let zoned = whole.ends_with(['Z', 'z']) || whole.get(10..).is_some_and(|rest| rest.contains(['+', '-']));
    if !zoned {
        whole.push('Z');
    }
    let at: jiff::Timestamp = whole.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp)
}

/// The network that speaks to the same people here.
pub(super) fn network(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "telegram" => "telegram",
        "discord" => "discord",
        "slack" => "slack",
        "whatsapp" => "whatsapp-bridge",
        "whatsapp-cloud" | "whatsapp_cloud" => "whatsapp",
        "teams" => "teams",
        "imessage" => "imessage",
        "matrix" => "matrix",
        "gchat" | "googlechat" | "google-chat" => "googlechat",
        "webex" => "webex",
        "linear" => "linear",
        "github" => "github",
        "wechat" => "wechat-bridge",
        "resend" | "email" => "resend",
        "signal" => "signal",
        _ => return None,
    })
}

/// The account of a network's bot, and the platform's own id of a chat, of how the other install wrote the chat. In the fork each bot has
/// a number of its own in front.
pub(super) fn place(kind: &str, instance: &str, id: &str, is_fork: bool) -> (String, String) {
    let rest = id.strip_prefix(kind).and_then(|rest| rest.strip_prefix(':')).unwrap_or(id);
    let (bot, native) = match rest.split_once(':') {
        Some((bot, native)) if is_fork && matches!(kind, "telegram" | "discord") && !native.is_empty() => (bot, native),
        _ => ("", rest),
    };
    let own = match kind {
        // A server and a channel in it; the channel names itself.
        "discord" => native.rsplit(':').next().unwrap_or(native),
        _ => native,
    };
    let more = if !bot.is_empty() {
        bot
    } else if instance != kind {
        instance
    } else {
        ""
    };
    let account = if more.is_empty() { name(kind) } else { name(&format!("{kind}-{more}")) };
    (account, own.to_owned())
}

/// A name as one is here; `agent` where nothing of the text can stand in one.
pub(super) fn name(text: &str) -> String {
    let made = model::name_of(text).unwrap_or_else(|| "agent".to_owned());
    made.chars().take(NAME_CHARS).collect::<String>().trim_end_matches('-').to_owned()
}

/// When a wiring engages.
pub(super) fn engage(mode: &str, pattern: &str) -> (Engage, Option<String>) {
    match mode {
        "pattern" if !pattern.is_empty() => (Engage::Pattern, Some(pattern.to_owned())),
        "pattern" | "all" => (Engage::Pattern, Some(".".to_owned())),
        "mention-sticky" => (Engage::Sticky, None),
        _ => (Engage::Mention, None),
    }
}

/// Whose messages engage it.
pub(super) fn senders(scope: &str) -> Senders {
    if matches!(scope, "all" | "unrestricted") { Senders::All } else { Senders::Known }
}

/// What becomes of the others.
pub(super) fn ignored(policy: &str) -> Ignored {
    if policy == "accumulate" { Ignored::Accumulate } else { Ignored::Drop }
}

/// Which messages belong together.
pub(super) fn mode(mode: &str) -> SessionMode {
    match mode {
        "per-thread" => SessionMode::Thread,
        "agent-shared" => SessionMode::Agent,
        _ => SessionMode::Shared,
    }
}

/// A text without control characters, of at most `max` characters, on one line.
pub(super) fn short(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_an_account_and_the_platforms_own_id() {
        for (kind, instance, id, is_fork, expect) in [
            ("telegram", "telegram", "telegram:-1001", false, ("telegram", "-1001")),
            ("telegram", "", "telegram:77:-1001", true, ("telegram-77", "-1001")),
            ("discord", "discord", "discord:11:22", false, ("discord", "22")),
            ("discord", "", "discord:9:11:22", true, ("discord-9", "22")),
            ("slack", "work", "slack:C1", false, ("slack-work", "C1")),
            ("matrix", "", "!room:example.org", false, ("matrix", "!room:example.org")),
            ("whatsapp", "", "491@s.whatsapp.net", false, ("whatsapp", "491@s.whatsapp.net")),
        ] {
            let (account, own) = place(kind, instance, id, is_fork);
            assert_eq!((account.as_str(), own.as_str()), expect, "{kind} {id}");
        }
    }

    #[test]
    fn times_come_in_three_forms() {
        let expect = Some(Timestamp(1_767_225_600_000));
        for text in ["2026-01-01T00:00:00.000Z", "2026-01-01 00:00:00", "2026-01-01T01:00:00+01:00", "1767225600000", "1767225600"] {
            assert_eq!(instant(text), expect, "{text}");
        }
        assert!(["", "soon", "2026-13-01", "-5"].iter().all(|text| instant(text).is_none()));
    }

    #[test]
    fn names_are_made_names() {
        for text in ["Family Chat!", "_main", "a__b", "", "../../etc", "\u{202e}x", "; rm -rf /"] {
            assert!(model::is_name(&name(text)), "{text}");
        }
        assert!(name(&"x".repeat(500)).len() <= NAME_CHARS);
    }
}
