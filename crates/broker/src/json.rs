//! JSON as a hostile client may write it: limits are counted before anything is built, and what two readers could
//! understand in two ways is refused.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting of arrays and objects in a message, the message itself included.
pub(crate) const DEPTH_MAX: usize = 64;
/// Keys that some languages take for something else than a name.
pub(crate) const KEYS_REFUSED: [&str; 3] = ["__proto__", "constructor", "prototype"];
/// The longest number, in bytes.
const NUMBER_BYTES_MAX: usize = 64;

/// Why a message is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Deeper than [`DEPTH_MAX`].
    #[error("the message is nested deeper than {DEPTH_MAX} levels")]
    Deep,
    /// A number that not every reader takes for the same.
    #[error("a number is too large or too long")]
    Number,
    /// A key stands twice in one object.
    #[error("the key `{0}` stands twice in one object")]
    Twice(String),
    /// One of [`KEYS_REFUSED`].
    #[error("the key `{0}` is not allowed")]
    Key(String),
    /// No JSON.
    #[error("the message is not valid JSON (line {line}, column {column})")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
}

/// What a look at the bytes shows, before they are read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Glance<'a> {
    /// The text of the one `correlation` of the outermost object, if it has exactly one without escapes.
    pub(crate) correlation: Option<&'a str>,
    /// A limit that is broken.
    pub(crate) fault: Option<JsonError>,
}

/// Looks at a message without building anything of it. Strings are respected; nothing else of the grammar is.
pub(crate) fn glance(raw: &[u8]) -> Glance<'_> {
    let (mut at, mut depth) = (0usize, 0usize);
    let (mut fault, mut found, mut is_named, mut is_value) = (None, Vec::new(), false, false);
    while let Some(&byte) = raw.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let end = string_end(raw, at);
                let text = &raw[at..end];
                match (depth, is_value) {
                    (1, false) => is_named = text == b"correlation",
                    (1, true) if is_named => found.push(text),
                    _ => (),
                }
                at = end + 1;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    fault.get_or_insert(JsonError::Deep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => is_value = true,
            b',' if depth == 1 => (is_value, is_named) = (false, false),
            b'-' | b'0'..=b'9' => {
                let length = raw[at..].iter().take_while(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')).count();
                if !is_number_plain(&raw[at - 1..at + length]) {
                    fault.get_or_insert(JsonError::Number);
                }
                at += length;
            }
            _ => (),
        }
    }
    let correlation = match found.as_slice() {
        [only] if !only.contains(&b'\\') => std::str::from_utf8(only).ok(),
        _ => None,
    };
    Glance { correlation, fault }
}

/// Where the string that begins at `at` ends: the place of its closing quote, or the end of all.
fn string_end(raw: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = raw.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    raw.len()
}

/// Whole numbers must fit 64 bits, since they would be rounded without a word; every number is of a sane length.
fn is_number_plain(token: &[u8]) -> bool {
    let text = std::str::from_utf8(token).unwrap_or("");
    let is_whole = !text.contains(['.', 'e', 'E']);
    text.len() <= NUMBER_BYTES_MAX && (!is_whole || text == "-" || text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok())
}

/// Reads a message whose limits [`glance`] has counted.
pub(crate) fn read(raw: &[u8]) -> Result<Value, JsonError> {
    let fault = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(raw);
    let read = Strict(&fault).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| fault.into_inner().unwrap_or_else(|| JsonError::Syntax { line: error.line(), column: error.column() }))
}

/// Builds a value, and keeps the reason when it will not.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a RefCell<Option<JsonError>>);

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, why: JsonError) -> E {
        *self.0.borrow_mut() = Some(why);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| self.refuse(JsonError::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if KEYS_REFUSED.contains(&key.as_str()) {
                return Err(self.refuse(JsonError::Key(key)));
            }
            if fields.contains_key(&key) {
                return Err(self.refuse(JsonError::Twice(key)));
            }
            let value = map.next_value_seed(self)?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

/// A value as bytes that are the same whenever the value is the same: keys sorted, no blanks.
pub(crate) fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                canonical(item, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (n, (key, value)) in fields.into_iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                leaf(key, out);
                out.push(b':');
                canonical(value, out);
            }
            out.push(b'}');
        }
        other => leaf(other, out),
    }
}

fn leaf(value: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) {
    // Writing text and numbers into memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_ambiguous_is_refused_at_any_depth() {
        let twice = |key: &str| JsonError::Twice(key.to_owned());
        let key = |key: &str| JsonError::Key(key.to_owned());
        for (raw, expect) in [
            (r#"{"a":1,"a":2}"#, twice("a")),
            (r#"{"a":1,"\u0061":2}"#, twice("a")),
            (r#"[{"b":[{"a":1,"a":1}]}]"#, twice("a")),
            (r#"{"a":[{"__proto__":1}]}"#, key("__proto__")),
            (r#"{"a":[[{"\u005f_proto__":1}]]}"#, key("__proto__")),
            (r#"{"constructor":{}}"#, key("constructor")),
            (r#"{"a":{"prototype":null}}"#, key("prototype")),
        ] {
            assert_eq!(read(raw.as_bytes()), Err(expect), "{raw}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let cases: &[&[u8]] = &[
            b"", b" ", b"{", b"{}{}", b"{} x", b"{'a':1}", b"{\"a\":NaN}", b"[Infinity]", b"[1e999]", b"[-1e999]", b"[01]", b"[.5]",
            b"[1.]", b"\"\\ud800\"", b"\"\\udc00\\ud800\"", b"\"\xff\"", b"\"\xed\xa0\x80\"", b"\"\xc0\xaf\"", b"\"a\nb\"", b"[1,]",
            b"{\"a\":1,}", b"\xef\xbb\xbf{}", b"nul", b"\"\\x41\"", b"// {}",
        ];
        for raw in cases {
            assert!(matches!(read(raw), Err(JsonError::Syntax { .. })), "{:?}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn limits_are_seen_before_anything_is_built() {
        let deep = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        assert_eq!(glance(&deep(DEPTH_MAX)).fault, None);
        assert_eq!(glance(&deep(DEPTH_MAX + 1)).fault, Some(JsonError::Deep));
        assert_eq!(glance(format!("[\"{}\"]", "[".repeat(500)).as_bytes()).fault, None);
        assert_eq!(glance(format!("[\"\\\"{}\"]", "{".repeat(500)).as_bytes()).fault, None);
        for (number, is_fine) in [
            ("18446744073709551615", true),
            ("-9223372036854775808", true),
            ("18446744073709551616", false),
            ("-9223372036854775809", false),
            ("1.5e10", true),
            (&"1".repeat(400), false),
            (&format!("0.{}", "1".repeat(100)), false),
        ] {
            let raw = format!("[{number}]");
            assert_eq!(glance(raw.as_bytes()).fault.is_none(), is_fine, "{number}");
        }
    }

    #[test]
    fn the_correlation_is_found_in_what_cannot_be_read() {
        for (raw, expect) in [
            (r#"{"topic":1,"correlation":"c-1","arguments":"#, Some("c-1")),
            (r#"{"arguments":{"correlation":"inner"},"correlation": "c" "#, Some("c")),
            (r#"{"arguments":{"correlation":"inner"}}"#, None),
            (r#"{"correlation":"a","correlation":"b"}"#, None),
            (r#"{"correlation":7}"#, None),
            (r#"{"x":"correlation","y":"z"}"#, None),
            (r#"{"correlation":"a\u0062"}"#, None),
        ] {
            assert_eq!(glance(raw.as_bytes()).correlation, expect, "{raw}");
        }
    }

    #[test]
    fn the_same_value_has_the_same_bytes() {
        let bytes = |raw: &str| {
            let mut out = Vec::new();
            canonical(&read(raw.as_bytes()).unwrap(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(bytes(r#" {"b" : [1, {"d":"\u00e9","c":2.0}], "a":null} "#), "{\"a\":null,\"b\":[1,{\"c\":2.0,\"d\":\"é\"}]}");
        assert_eq!(bytes(r#"{"a":"\/"}"#), bytes(r#"{"a":"/"}"#));
        assert_ne!(bytes(r#"{"a":1}"#), bytes(r#"{"a":"1"}"#));
        assert_eq!(read(br#"{"a":[true,-1,1.5,"x"]}"#).unwrap(), json!({"a": [true, -1, 1.5, "x"]}));
    }
}
