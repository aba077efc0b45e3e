//! The canonical form of a request.

use serde_json::Value;

/// Members of the outermost object that say who asks, not what.
const LEFT_OUT: &[&str] = &["metadata", "prompt_cache_key", "session_id", "user", "client_metadata", "safety_identifier"];
/// Letters and digits in a row, with at least one digit, that make an identifier.
const IDENTIFIER_MIN: usize = 16;

/// The canonical form of a request's body. What is no JSON stands as its text.
#[must_use]
pub fn canonical(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return Value::String(String::from_utf8_lossy(body).into_owned());
    };
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
    }
    walk(&mut value);
    value
}

/// Depth is bounded by the parser (128).
fn walk(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(plain) = plain(text) {
                *text = plain;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(walk),
        Value::Object(fields) => fields.values_mut().for_each(walk),
        _ => (),
    }
}

/// A text without what differs from run to run, or `None` when there is nothing of it.
fn plain(text: &str) -> Option<String> {
    if text.starts_with("data:") || !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        // A word begins here and the byte before it was no part of one.
        let word = rest.bytes().take_while(|b| is_word(*b)).count();
        if word == 0 {
            let other = rest.char_indices().find(|(_, c)| c.is_ascii() && is_word(*c as u8)).map_or(rest.len(), |(at, _)| at);
            out.push_str(&rest[..other]);
            rest = &rest[other..];
            continue;
        }
        out.push_str(stand_in(&rest[..word]));
        rest = &rest[word..];
    }
    (out != text).then_some(out)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.')
}

/// What stands for a word.
fn stand_in(word: &str) -> &str {
    let trimmed = word.trim_end_matches(['.', ':', '-', '_']);
    let shape: Vec<u8> = trimmed.bytes().map(|b| if b.is_ascii_digit() { b'0' } else { b }).collect();
    let is_hex = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = trimmed.split('-');
    let is_uuid = [8, 4, 4, 4, 12].iter().all(|len| parts.next().is_some_and(|p| is_hex(p, *len))) && parts.next().is_none();
    if is_uuid {
        "<uuid>"
    } else if shape.starts_with(b"0000-00-00") {
        "<date>"
    } else if matches!(&shape[..], b"00:00" | b"0:00" | b"00:00:00" | b"0:00:00") || shape.starts_with(b"00:00:00.") {
        "<time>"
    } else if is_fraction(&shape) {
        "<seconds>"
    } else if is_identifier(trimmed) {
        "<id>"
    } else {
        word
    }
}

/// `0.0512`: a measured time. Shorter fractions are versions and prices.
fn is_fraction(shape: &[u8]) -> bool {
    let point = shape.iter().position(|b| *b == b'.');
    point.is_some_and(|at| at > 0 && at <= 3 && shape.len() - at > 3 && shape.iter().enumerate().all(|(i, b)| i == at || *b == b'0'))
}

fn is_identifier(word: &str) -> bool {
    let last = word.rsplit('_').next().unwrap_or(word);
    last.len() >= IDENTIFIER_MIN && last.bytes().all(|b| b.is_ascii_alphanumeric()) && last.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_by_nature_is_replaced_and_the_rest_stays() {
        let check = |text: &str, expect: &str| assert_eq!(canonical(json!({ "x": text }).to_string().as_bytes()), json!({ "x": expect }));
        check("id 0193e4a1-7b1c-7000-8000-0123456789ab!", "id <uuid>!");
        check("toolu_01A2b3C4d5E6f7G8h9 and call_1", "<id> and call_1");
        check("Today's date: 2026-11-21.", "Today's date: <date>");
        check("2026-11-21T04:27:05Z", "<date>");
        check("at 04:27 or 04:27:05", "at <time> or <time>");
        check("Wall time: 0.0512 seconds", "Wall time: <seconds> seconds");
        check("version 1.25 of lib-0.3.0, port 8080, 127.0.0.1", "version 1.25 of lib-0.3.0, port 8080, 127.0.0.1");
        check("internationalization é ü 漢字 2", "internationalization é ü 漢字 2");
        assert_eq!(canonical(br#"{"b":1,"a":2,"metadata":{"user_id":"x"}}"#).to_string(), r#"{"a":2,"b":1}"#);
        assert_eq!(canonical(b""), Value::Null);
        assert_eq!(canonical(b"\xff{"), json!("\u{fffd}{"));
    }
}
