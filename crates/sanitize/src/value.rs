//! JSON: keys and values at every depth.

use serde_json::{Map, Value};

use crate::{PATHS_MAX, REDACTED, Sanitizer};

/// Keys whose values are credentials whatever they look like. Compared without case, `_` and `-`.
const TELLING: &[&str] = &[
    "apikey", "xapikey", "password", "passwd", "passphrase", "clientsecret", "secretkey", "secretaccesskey", "privatekey", "accesstoken",
    "refreshtoken", "authtoken", "sessiontoken", "privatetoken", "bearertoken",
];
/// A shorter value under such a key says something about it (`none`, `unset`).
const TOLD_BYTES_MIN: usize = 6;

/// The places that were changed: the first ones by name, the rest by number.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    named: Vec<String>,
    more: usize,
    current: String,
}

impl Paths {
    fn push(&mut self) {
        if self.named.len() < PATHS_MAX - 1 { self.named.push(self.current.clone()) } else { self.more += 1 }
    }

    fn within<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.current.len();
        self.current.push('/');
        self.current.push_str(&step.replace('~', "~0").replace('/', "~1"));
        let result = work(self);
        self.current.truncate(length);
        result
    }

    pub(crate) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.named.push(format!("and {} more", self.more));
        }
        self.named
    }
}

impl Sanitizer {
    pub(crate) fn walk(&self, value: &mut Value, paths: &mut Paths) {
        match value {
            Value::Null | Value::Bool(_) => (),
            Value::Number(number) => {
                // A value of digits alone can come back as a number.
                if !self.known().is_empty() && !self.known().find(number.to_string().as_bytes()).is_empty() {
                    *value = Value::String(REDACTED.to_owned());
                    paths.push();
                }
            }
            Value::String(text) => {
                if let Some(clean) = self.text(text) {
                    *text = clean;
                    paths.push();
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    paths.within(&n.to_string(), |paths| self.walk(item, paths));
                }
            }
            Value::Object(fields) => self.walk_object(fields, paths),
        }
    }

    fn walk_object(&self, fields: &mut Map<String, Value>, paths: &mut Paths) {
        if fields.keys().any(|key| self.text(key).is_some()) {
            let before = std::mem::take(fields);
            for (key, value) in before {
                let clean = self.text(&key);
                let is_changed = clean.is_some();
                let key = unique(fields, clean.unwrap_or(key));
                if is_changed {
                    paths.within(&key, Paths::push);
                }
                fields.insert(key, value);
            }
        }
        for (key, value) in fields.iter_mut() {
            paths.within(key, |paths| match value {
                Value::String(text) if text.len() >= TOLD_BYTES_MIN && text != REDACTED && is_telling(key) => {
                    *text = REDACTED.to_owned();
                    paths.push();
                }
                value => self.walk(value, paths),
            });
        }
    }
}

/// The key itself, or with a number where another field has it already.
fn unique(fields: &Map<String, Value>, key: String) -> String {
    if !fields.contains_key(&key) {
        return key;
    }
    (2u64..).map(|n| format!("{key}#{n}")).find(|key| !fields.contains_key(key)).unwrap_or(key)
}

fn is_telling(key: &str) -> bool {
    let mut plain = [0u8; 24];
    let mut length = 0;
    for byte in key.bytes().filter(|b| !matches!(b, b'_' | b'-')) {
        let Some(place) = plain.get_mut(length) else { return false };
        *place = byte.to_ascii_lowercase();
        length += 1;
    }
    TELLING.iter().any(|word| word.as_bytes() == &plain[..length])
}
