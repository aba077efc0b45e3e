//! One conversation on any network: somebody writes, sends a file and presses a button, and the chat shows what the account said. What
//! every emulator can do for it, so that one test talks through all of them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::signed::Posted;

/// What stands in the chat of the account's, as it stands there now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The platform's id.
    pub id: String,
    /// The text, in the platform's own marks.
    pub text: String,
    /// The values of the buttons.
    pub buttons: Vec<String>,
    /// The bytes of the files.
    pub files: Vec<Vec<u8>>,
}

impl Standing {
    /// A message of text alone.
    #[must_use]
    pub fn text(id: impl Into<String>, text: &Value) -> Self {
        Self { id: id.into(), text: text.as_str().unwrap_or_default().to_owned(), ..Self::default() }
    }
}

/// A file that somebody sends.
#[derive(Debug, Clone)]
pub struct SentFile {
    /// The request that tells it, where the platform posts what happens.
    pub posted: Option<Posted>,
    /// What is in the file.
    pub bytes: &'static [u8],
}

/// A platform with a chat of the account's and one person, who is always the same.
pub trait Party {
    /// The network's name.
    fn network(&self) -> &'static str;

    /// What is configured to reach it.
    fn config(&self) -> Value;

    /// The credentials that it takes.
    fn credentials(&self) -> Vec<(&'static str, String)>;

    /// The person writes: the request that tells it, where the platform posts what happens.
    fn writes(&self, text: &str) -> Option<Posted>;

    /// The person sends a file with a text. `None` on a network whose people send none.
    fn sends(&self, text: &str) -> Option<SentFile>;

    /// The person presses the button of a value below a message.
    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        panic!("{} has no buttons: `{value}` below {below:?}", self.network())
    }

    /// The person writes to the account in a group. `None` where the emulator has none.
    fn writes_in_group(&self, _text: &str) -> Option<Posted> {
        None
    }

    /// What stands in that group of the account's, in its order.
    fn standing_in_group(&self) -> Vec<Standing> {
        Vec::new()
    }

    /// Whether what is said while the account is away is told when it is back.
    fn keeps(&self) -> bool {
        true
    }

    /// What stands in the chat of the account's, in its order.
    fn standing(&self) -> Vec<Standing>;

    /// Whether the account was seen writing.
    fn was_seen_writing(&self) -> bool {
        false
    }
}

/// A number that no other message of this process has.
pub(super) fn fresh() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1000);
    LAST.fetch_add(1, Ordering::SeqCst)
}

/// The fields of `more` laid over those of `value`.
pub(super) fn over(mut value: Value, more: &Value) -> Value {
    for (key, field) in more.as_object().into_iter().flatten() {
        value[key] = field.clone();
    }
    value
}

/// The texts at a pointer in each element of a list.
pub(super) fn each(list: &Value, pointer: &str) -> Vec<String> {
    let found = list.as_array().into_iter().flatten().filter_map(|one| one.pointer(pointer));
    found.map(|value| value.as_str().unwrap_or_default().to_owned()).collect()
}

/// An object of nothing.
pub(super) fn nothing() -> Value {
    json!({})
}
