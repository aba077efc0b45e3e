//! In how many ways a mirror can write a value.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// A shorter value is no secret: words of this length stand in ordinary text.
pub(crate) const VALUE_BYTES_MIN: usize = 8;
/// Bytes of a value that are looked for.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;
/// A longer value is a document that holds secrets beside public words: only its long words are looked for, and it in base64.
const TOKEN_BYTES_MAX: usize = 512;
/// A word of a document that is looked for.
const WORD_BYTES_MIN: usize = 20;

/// All ways to write a value.
#[derive(Debug, Default)]
pub(crate) struct Spellings {
    pub(crate) all: Vec<Vec<u8>>,
    /// What of it is public, like a host's name: a piece of that gives nothing away.
    pub(crate) public: Vec<Vec<u8>>,
}

/// All ways that are looked for.
pub(crate) fn of(value: &str) -> Spellings {
    let bytes = &value.as_bytes()[..value.len().min(VALUE_BYTES_MAX)];
    if bytes.len() < VALUE_BYTES_MIN {
        return Spellings::default();
    }
    let is_token = bytes.len() <= TOKEN_BYTES_MAX;
    let mut all = if is_token { plain(value) } else { words(bytes).map(<[u8]>::to_vec).collect() };
    all.extend(base64s(bytes));
    all.retain(|spelling| spelling.len() >= VALUE_BYTES_MIN);
    Spellings { all, public: if is_token { public(value) } else { Vec::new() } }
}

fn plain(value: &str) -> Vec<Vec<u8>> {
    let bytes = value.as_bytes();
    let mut all = vec![bytes.to_vec()];
    let mut add = |bytes: Vec<u8>| {
        if !all.contains(&bytes) {
            all.push(bytes);
        }
    };
    add(value.chars().rev().collect::<String>().into_bytes());
    add(bytes.iter().rev().copied().collect());
    json(value).into_iter().for_each(&mut add);
    for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        let hex = |prefix: &[u8], byte: u8| [prefix, &[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]].concat();
        add(bytes.iter().flat_map(|b| hex(b"", *b)).collect());
        add(bytes.iter().flat_map(|b| hex(b"%", *b)).collect());
        // The sets that forms, components, and whole addresses leave as they are.
        for kept in [&b"-_.~"[..], b"-_.!~*'()", b"*-._", b"-_.~:/?#[]@!$&'()*+,;="] {
            let one = |b: &u8| if b.is_ascii_alphanumeric() || kept.contains(b) { vec![*b] } else { hex(b"%", *b) };
            let text: Vec<u8> = bytes.iter().flat_map(one).collect();
            add(String::from_utf8_lossy(&text).replace("%20", "+").into_bytes());
            add(text);
        }
    }
    all
}

/// As it stands in a JSON text: with as few escapes as can be, with slashes escaped, and in ASCII alone.
fn json(value: &str) -> Vec<Vec<u8>> {
    let least = serde_json::Value::from(value).to_string();
    let least = &least[1..least.len() - 1];
    let mut ascii = String::new();
    for char in least.chars() {
        if char.is_ascii() {
            ascii.push(char);
        } else {
            let mut units = [0; 2];
            char.encode_utf16(&mut units).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
    }
    vec![least.as_bytes().to_vec(), least.replace('/', "\\/").into_bytes(), ascii.into_bytes()]
}

/// In base64, at each of three places among what stands before, without the characters that the neighbours would change.
fn base64s(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for shift in 0..3 {
        let padded = [&b"\0\0"[..shift], bytes].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&padded).into_bytes();
            let (from, to) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
            let inner = text[from..to.max(from)].to_vec();
            if !all.contains(&inner) {
                all.push(inner);
            }
        }
    }
    all
}

/// Long words that are no plain names: they have digits and letters.
fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_' | b'.' | b'~' | b'%');
    // In a document within JSON, lines end in a backslash and an n.
    bytes.split(move |b| !is_word(b)).map(|word| word.strip_prefix(b"n").unwrap_or(word)).filter(|word| {
        let has = |is: fn(&u8) -> bool| word.iter().any(is);
        word.len() >= WORD_BYTES_MIN && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !word.starts_with(b"//")
    })
}

/// What of an address is public: its scheme and host.
fn public(value: &str) -> Vec<Vec<u8>> {
    let Some(scheme) = value.find("://").map(|at| at + 3) else { return Vec::new() };
    let end = value[scheme..].find('/').map_or(value.len(), |at| scheme + at + 1);
    let host = value[scheme..end].rfind('@').map_or(0, |at| scheme + at + 1);
    vec![value.as_bytes()[host..end].to_vec()]
}
