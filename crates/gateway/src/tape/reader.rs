//! Reading a tape.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{TAPE_BYTES_MAX, TapeError, VERSION, link};

/// Engines ask several things at once (an answer, a title), in an order that is not fixed: so many exchanges ahead are looked at.
const AHEAD_MAX: usize = 8;
/// Characters of each value that a difference shows.
const SHOWN_MAX: usize = 120;

/// Answers requests from a tape, each recorded exchange once.
pub struct Reader {
    version: String,
    /// What was not asked for yet. Held for a search of a few entries.
    rest: Mutex<VecDeque<Exchange>>,
}

struct Exchange {
    n: u64,
    method: String,
    path: String,
    body: Value,
    answer: Answer,
}

/// A recorded reply.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) pieces: VecDeque<Bytes>,
    pub(crate) is_whole: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    hash: &'a str,
    #[serde(borrow)]
    entry: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    tape: u64,
    lazaret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    end: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExchange {
    n: u64,
    method: String,
    path: String,
    body: Value,
    status: u16,
    #[serde(rename = "type")]
    content_type: String,
    pieces: Vec<RawPiece>,
    whole: bool,
    #[serde(default, rename = "by")]
    _by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPiece {
    t: Option<String>,
    b: Option<String>,
    #[serde(rename = "w")]
    _wait: u8,
}

impl Reader {
    /// Reads and checks a whole tape.
    ///
    /// # Errors
    /// [`TapeError::Invalid`] when a line was changed, lost or cut, or when it is of another version.
    pub fn open(file: File) -> Result<Self, TapeError> {
        let mut text = Vec::new();
        // Each line adds at most a hash and braces to what the writer counted.
        file.take(TAPE_BYTES_MAX * 2).read_to_end(&mut text)?;
        let text = String::from_utf8(text).map_err(|_| TapeError::Invalid { line: 1, why: "it is not UTF-8" })?;
        let mut hash = String::new();
        let mut rest = VecDeque::new();
        let mut version = None;
        let mut is_ended = false;
        for (at, line) in text.split_inclusive('\n').enumerate() {
            let wrong = |why| TapeError::Invalid { line: at + 1, why };
            let line = line.strip_suffix('\n').ok_or_else(|| wrong("the line is cut"))?;
            let line: Line<'_> = serde_json::from_str(line).map_err(|_| wrong("it is not a line of a tape"))?;
            hash = link(&hash, line.entry.get());
            if hash != line.hash {
                return Err(wrong("it, or a line before it, was changed"));
            }
            if is_ended {
                return Err(wrong("it stands behind the end"));
            }
            let form = |_| wrong("it is not an entry of a tape");
            if version.is_none() {
                let first: First = serde_json::from_str(line.entry.get()).map_err(form)?;
                if first.tape != VERSION {
                    return Err(wrong("the tape is of another version"));
                }
                version = Some(first.lazaret);
            } else if let Ok(last) = serde_json::from_str::<Last>(line.entry.get()) {
                if last.end != rest.len() as u64 {
                    return Err(wrong("the count is wrong"));
                }
                is_ended = true;
            } else {
                let raw: RawExchange = serde_json::from_str(line.entry.get()).map_err(form)?;
                rest.push_back(raw.into_exchange().ok_or_else(|| wrong("a piece is not base64"))?);
            }
        }
        let lines = text.lines().count();
        let version = version.filter(|_| is_ended).ok_or(TapeError::Invalid { line: lines, why: "the tape has no end: it was cut" })?;
        Ok(Self { version, rest: Mutex::new(rest) })
    }

    /// The version of the program that recorded it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Exchanges that were not asked for yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The recorded reply to a request, or how the request differs from the next one on the tape.
    pub(crate) fn answer(&self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |e: &Exchange| e.method == method && e.path == path && e.body == *body;
        if let Some(at) = rest.iter().take(AHEAD_MAX).position(same)
            && let Some(exchange) = rest.remove(at)
        {
            return Ok(exchange.answer);
        }
        let Some(next) = rest.front() else {
            return Err(format!("the tape is at its end, and {method} {path} is asked for"));
        };
        // The nearest is most likely what is meant: same call, else simply the next.
        let near = rest.iter().take(AHEAD_MAX).find(|e| e.method == method && e.path == path).unwrap_or(next);
        if near.method != method || near.path != path {
            return Err(format!("request {}: {} {} on the tape, {method} {path} now", near.n, near.method, near.path));
        }
        let (at, was, is) = difference(&near.body, body).unwrap_or_else(|| (String::new(), "the same".to_owned(), "the same".to_owned()));
        Err(format!("request {}: {method} {path} differs at `{at}`: {was} on the tape, {is} now", near.n))
    }
}

impl RawExchange {
    fn into_exchange(self) -> Option<Exchange> {
        let mut pieces = VecDeque::with_capacity(self.pieces.len());
        for piece in self.pieces {
            pieces.push_back(match (piece.t, piece.b) {
                (Some(text), None) => Bytes::from(text),
                (None, Some(base64)) => Bytes::from(STANDARD.decode(base64).ok()?),
                _ => return None,
            });
        }
        let answer = Answer { status: self.status, content_type: self.content_type, pieces, is_whole: self.whole };
        Some(Exchange { n: self.n, method: self.method, path: self.path, body: self.body, answer })
    }
}

/// The first place where two values differ, as a JSON pointer, and both values there, cut.
fn difference(was: &Value, is: &Value) -> Option<(String, String, String)> {
    match (was, is) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, x) in a {
                let step = name.replace('~', "~0").replace('/', "~1");
                match b.get(name) {
                    Some(y) => {
                        if let Some((rest, x, y)) = difference(x, y) {
                            return Some((format!("/{step}{rest}"), x, y));
                        }
                    }
                    None => return Some((format!("/{step}"), shown(x, 0), "nothing".to_owned())),
                }
            }
            let (name, y) = b.iter().find(|(name, _)| !a.contains_key(*name))?;
            Some((format!("/{}", name.replace('~', "~0").replace('/', "~1")), "nothing".to_owned(), shown(y, 0)))
        }
        (Value::Array(a), Value::Array(b)) => {
            for at in 0..a.len().max(b.len()) {
                match (a.get(at), b.get(at)) {
                    (Some(x), Some(y)) => {
                        if let Some((rest, x, y)) = difference(x, y) {
                            return Some((format!("/{at}{rest}"), x, y));
                        }
                    }
                    (x, y) => {
                        return Some((
                            format!("/{at}"),
                            x.map_or_else(|| "nothing".to_owned(), |x| shown(x, 0)),
                            y.map_or_else(|| "nothing".to_owned(), |y| shown(y, 0)),
                        ));
                    }
                }
            }
            None
        }
        _ if was == is => None,
        _ => {
            // Of two long texts the part that differs is shown.
            let same = match (was, is) {
                (Value::String(a), Value::String(b)) => a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count(),
                _ => 0,
            };
            Some((String::new(), shown(was, same), shown(is, same)))
        }
    }
}

fn shown(value: &Value, same: usize) -> String {
    const BEFORE: usize = 20;
    let text = match value {
        Value::String(text) => format!("{:?}", text.chars().skip(same.saturating_sub(BEFORE)).take(SHOWN_MAX).collect::<String>()),
        other => other.to_string().chars().take(SHOWN_MAX).collect(),
    };
    if same > BEFORE { format!("…{text}") } else { text }
}
