use std::io::{Read as _, Seek as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::*;

fn record(exchanges: &[(&str, &str, &[&[u8]], bool)]) -> String {
    let mut file = tempfile::tempfile().unwrap();
    let writer = Arc::new(Writer::create(file.try_clone().unwrap(), "0.1.0").unwrap());
    for (path, body, pieces, whole) in exchanges {
        let request = Request { method: "POST".into(), path: (*path).into(), body: Bytes::from((*body).to_owned()), by: None };
        let mut tap = writer.tap(request, 200, "text/event-stream");
        for piece in *pieces {
            tap.piece(&Bytes::copy_from_slice(piece));
        }
        tap.end(*whole);
    }
    writer.finish().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn open(text: &str) -> Result<Reader, TapeError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    Reader::open(file)
}

fn two() -> String {
    record(&[("/m", r#"{"a":1,"t":"x 04:27"}"#, &[b"one", b"\xff\xfe"], true), ("/m", r#"{"a":2}"#, &[b"two"], false)])
}

#[test]
fn what_was_recorded_is_answered() {
    let reader = open(&two()).unwrap();
    assert_eq!((reader.version(), reader.left()), ("0.1.0", 2));
    // The second may be asked for first; the time of day does not count.
    let second = reader.answer("POST", "/m", &canonical(br#"{"a":2}"#)).unwrap();
    assert!(!second.is_whole);
    let first = reader.answer("POST", "/m", &canonical(br#"{"t":"x 05:11","a":1}"#)).unwrap();
    assert_eq!(first.pieces, [Bytes::from_static(b"one"), Bytes::from_static(b"\xff\xfe")]);
    assert_eq!((first.status, first.content_type.as_str(), first.is_whole), (200, "text/event-stream", true));
    assert!(reader.answer("POST", "/m", &json!({})).unwrap_err().contains("at its end"));
}

#[test]
fn a_difference_is_shown_where_it_is() {
    let body = r#"{"model":"m","messages":[{"content":"the quick brown fox jumps over the lazy dog"}]}"#;
    let reader = open(&record(&[("/m", body, &[], true)])).unwrap();
    let differs = |path: &str, body: &str| reader.answer("POST", path, &canonical(body.as_bytes())).unwrap_err();
    let message = differs("/m", &body.replace("lazy dog", "lazy cat"));
    assert_eq!(
        message,
        r#"request 1: POST /m differs at `/messages/0/content`: …"jumps over the lazy dog" on the tape, …"jumps over the lazy cat" now"#
    );
    assert!(differs("/m", &body.replace("model", "mo~/del")).contains("`/model`: \"m\" on the tape, nothing now"));
    assert!(differs("/m", &body.replace("}]", "},7]")).contains("`/messages/1`: nothing on the tape, 7 now"));
    assert!(differs("/other", body).contains("POST /m on the tape, POST /other now"));
    assert_eq!(reader.left(), 1);
}

#[test]
fn a_cut_or_changed_tape_is_invalid() {
    let text = two();
    let lines: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| lines.iter().map(|l| format!("{l}\n")).collect::<String>();
    assert!(open(&text).is_ok());
    for cut in 0..text.len() {
        assert!(matches!(open(&text[..cut]), Err(TapeError::Invalid { .. })), "cut at {cut}");
    }
    let swapped = join(&[lines[0], lines[2], lines[1], lines[3]]);
    let without = join(&[lines[0], lines[2], lines[3]]);
    let twice = join(&[lines[0], lines[1], lines[1], lines[2], lines[3]]);
    let behind = format!("{text}{}\n", lines[1]);
    for bad in [
        &swapped,
        &without,
        &twice,
        &behind,
        &text.replace("\"one\"", "\"eno\""),
        &text.replace("\"status\":200", "\"status\":201"),
        &text.replace("0.1.0", "0.1.1"),
    ] {
        assert!(matches!(open(bad), Err(TapeError::Invalid { .. })), "{bad}");
    }
}
