//! Known values in every spelling, wherever they stand and wherever a stream breaks.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use lazaret_sanitize::{Known, REDACTED, Sanitizer, Stream, WINDOW};
use proptest::prelude::*;

const KEY: &str = "zq-CANARY-0123456789/abc+def=XYZ\"q\\é";

fn percent(value: &str, keep: impl Fn(u8) -> bool, upper: bool) -> String {
    let one = |b: u8| match (keep(b), upper) {
        (true, _) => char::from(b).to_string(),
        (false, true) => format!("%{b:02X}"),
        (false, false) => format!("%{b:02x}"),
    };
    value.bytes().map(one).collect()
}

/// Spellings made by other means than the ones under test.
fn spellings(value: &str) -> Vec<String> {
    let hex = |upper: bool| {
        value.bytes().fold(String::new(), |mut text, b| {
            let _ = if upper { write!(text, "{b:02X}") } else { write!(text, "{b:02x}") };
            text
        })
    };
    let json = serde_json::Value::from(value).to_string();
    let mut all = vec![
        value.to_owned(),
        json[1..json.len() - 1].to_owned(),
        value.chars().rev().collect(),
        hex(true),
        hex(false),
        percent(value, |_| false, true),
        percent(value, |_| false, false),
        percent(value, |b| b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b), true),
        percent(value, |b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b), true),
    ];
    for before in ["", "a", "ab"] {
        let text = format!("{before}{value}");
        all.extend([STANDARD.encode(&text), URL_SAFE.encode(&text), STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]);
        all.push(STANDARD.encode(format!("{text}zz")));
    }
    all
}

/// The longest part of `spelling` that still stands in `text`.
fn longest_left(text: &str, spelling: &str) -> usize {
    let bytes = spelling.as_bytes();
    let holds = |part: &[u8]| text.as_bytes().windows(part.len()).any(|window| window == part);
    let lengths = |from: usize| (1..=bytes.len() - from).take_while(move |n| holds(&bytes[from..from + n])).last().unwrap_or(0);
    (0..bytes.len()).map(lengths).max().unwrap_or(0)
}

fn stream(known: &Arc<Known>, text: &[u8], cut: usize) -> Vec<u8> {
    let mut stream = Stream::new(Arc::clone(known));
    let mut out = Vec::new();
    for piece in text.chunks(cut) {
        out.extend_from_slice(&stream.feed(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&stream.finish());
    out
}

#[test]
fn no_spelling_passes_in_a_text() {
    let sanitizer = Sanitizer::new([KEY]);
    for spelling in spellings(KEY) {
        let clean = sanitizer.text(&format!("before {spelling} after")).unwrap_or_else(|| panic!("{spelling} was not seen"));
        assert!(longest_left(&clean, &spelling) <= 6, "{spelling} in {clean}");
        assert!(clean.starts_with("before ") && clean.ends_with(" after") && clean.contains(REDACTED), "{clean}");
    }
}

#[test]
fn no_spelling_passes_in_a_stream_at_any_cut() {
    let known = Arc::new(Known::new([KEY]));
    for spelling in spellings(KEY) {
        let text = format!("{{\"echo\":\"{spelling}\"}} {spelling}{spelling}\n");
        for cut in 1..text.len().min(80) {
            let out = stream(&known, text.as_bytes(), cut);
            assert_eq!(out.len(), text.len());
            let out = String::from_utf8_lossy(&out);
            assert!(longest_left(&out, &spelling) <= 6, "{spelling} in {out}, cut {cut}");
        }
    }
}

#[test]
fn cut_off_ends_do_not_help() {
    let key = "abcdefghijklmnopqrstuvwxyz0123456789";
    let sanitizer = Sanitizer::new([key]);
    for from in 0..=7 {
        for to in key.len() - 7..=key.len() {
            let clean = sanitizer.text(&format!("<{}>", &key[from..to])).unwrap();
            assert_eq!(clean, format!("<{REDACTED}>"));
        }
    }
    assert_eq!(sanitizer.text(&key[..WINDOW - 1]), None, "less than a piece gives nothing away");
}

#[test]
fn short_values_are_found_as_a_whole_and_words_are_left() {
    let sanitizer = Sanitizer::new(["hunter2-x", "secret7"]);
    assert_eq!(sanitizer.text("the word is hunter2-x!").as_deref(), Some("the word is [REDACTED]!"));
    assert_eq!(sanitizer.text(&format!("in base64 {}", STANDARD.encode("hunter2-x"))).as_deref(), Some("in base64 [REDACTED]"));
    assert_eq!(sanitizer.text("hunter2 and secret7 are left"), None);
    let known = Arc::new(Known::new(["hunter2-x"]));
    for cut in 1..20 {
        assert_eq!(stream(&known, b"the word is hunter2-x!", cut), b"the word is *********!", "cut {cut}");
    }
}

#[test]
fn addresses_keep_their_public_part() {
    let sanitizer = Sanitizer::new([
        "https://chat.example.com/services/T0000/B0000/abcdefghijklmnop",
        "app://user:pa55word-long@db.example.com:5432/main",
    ]);
    assert_eq!(sanitizer.text("see https://chat.example.com/ and db.example.com:5432/"), None);
    assert!(sanitizer.text("https://chat.example.com/services/T0000/B0000/abcdefghijklmnop").unwrap().contains(REDACTED));
    assert!(!sanitizer.text("x user:pa55word-long@db.example.com y").unwrap().contains("pa55word-long"));
}

#[test]
fn documents_are_known_by_their_long_words() {
    let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    let filler = "x".repeat(600);
    let document = format!("{{\"type\": \"service_account\", \"comment\": \"{filler}\", \"key\": \"{key}\\nrest\"}}");
    let sanitizer = Sanitizer::new([document.as_str()]);
    assert_eq!(sanitizer.text(&format!("line {key}")).as_deref(), Some("line [REDACTED]"));
    assert_eq!(sanitizer.text("{\"type\": \"service_account\", \"comment\": \"mine\"}"), None);
    let encoded = STANDARD.encode(&document);
    assert!(longest_left(&sanitizer.text(&encoded).unwrap(), &encoded) < WINDOW);
}

#[test]
fn nothing_is_held_that_cannot_be_a_secret() {
    let mut stream = Sanitizer::new([KEY]).stream();
    for event in ["data: {\"delta\":\"hello\"}\n\n", "data: {\"t\":\"abcdef 0123\"}\n\n", "data: [DONE]\n\n"] {
        assert_eq!(stream.feed(Bytes::from(event)), event);
        assert!(stream.is_empty() && stream.held() == 0);
    }
    assert_eq!(stream.feed(Bytes::from("x zq-CAN")), "x ");
    assert_eq!(stream.held(), 6);
    assert_eq!(stream.finish(), "zq-CAN");
}

#[test]
fn bytes_and_masks() {
    let sanitizer = Sanitizer::new([KEY]);
    let mut bytes = [b"\xff\x00".to_vec(), KEY.as_bytes().to_vec(), b"\xfe Bearer abcdefgh12345".to_vec()].concat();
    assert_eq!(sanitizer.bytes(&mut bytes), 2);
    assert_eq!(bytes, b"\xff\x00[REDACTED]\xfe Bearer [REDACTED]");
    let mut masked = format!("a{KEY}b").into_bytes();
    assert_eq!(sanitizer.known().mask(&mut masked), 1);
    assert_eq!(masked, [b"a".to_vec(), vec![b'*'; KEY.len()], b"b".to_vec()].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every spelling of every value is gone, whatever stands around it and wherever the stream breaks.
    #[test]
    fn gone_wherever_split(
        values in prop::collection::vec("[!-~é]{16,60}", 1..4),
        which in 0usize..4, how in 0usize..24, cut in 1usize..70,
        before in "[ -~]{0,40}", after in "[ -~]{0,40}",
    ) {
        let value = &values[which % values.len()];
        let all = spellings(value);
        let spelling = &all[how % all.len()];
        let text = format!("{before} {spelling} {after}");
        let known = Arc::new(Known::new(values.iter().map(String::as_str)));
        let out = stream(&known, text.as_bytes(), cut);
        prop_assert_eq!(out.len(), text.len());
        let mut whole = text.clone().into_bytes();
        known.mask(&mut whole);
        prop_assert_eq!(&out, &whole, "a stream and a whole text give the same");
        // Only what stands between two plain ends of a base64 text may be left.
        let start = before.len() + 1;
        let left = out[start..start + spelling.len()].iter().zip(spelling.as_bytes()).filter(|(b, was)| **b != b'*' || **was == b'*').count();
        prop_assert!(left <= 20 && longest_left(&String::from_utf8_lossy(&out[start..start + spelling.len()]), spelling) < WINDOW);
    }

    /// Text that holds no credential is given back as it was, in pieces of any size.
    #[test]
    fn clean_text_is_unchanged(text in "[ a-zA-Z0-9.,;(){}\n-]{0,200}", cut in 1usize..50) {
        let known = Arc::new(Known::new(["0f3b9c7d-not-in-there-1234567890"]));
        prop_assert_eq!(stream(&known, text.as_bytes(), cut), text.as_bytes());
    }

    /// What was cleaned is clean.
    #[test]
    fn cleaning_twice_changes_nothing(text in "(Bearer |sk-|ghp_|eyJ|api_key=|://|:AA|[ -~]|[a-z0-9]{8,20}|[.@:/=]){0,30}") {
        let sanitizer = Sanitizer::new(["0f3b9c7d-value-1234567890"]);
        if let Some(once) = sanitizer.text(&text) {
            prop_assert_eq!(sanitizer.text(&once), None, "{}", once);
        }
    }
}
