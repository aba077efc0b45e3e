//! Chat networks: the lines of the channel protocol, requests that platforms sign, and answers that are split.

use std::sync::{Mutex, PoisonError};

use channels::Probe;
use serde_json::json;
use wire::chat::{FromChannel, ToChannel};

use super::{Target, hash};

pub(crate) const FROM_CHANNEL: Target =
    Target { name: "chat_from_channel", corpus: "chat_from_channel", recorded: None, words: LINES, run: from_channel };
pub(crate) const TO_CHANNEL: Target =
    Target { name: "chat_to_channel", corpus: "chat_to_channel", recorded: None, words: LINES, run: to_channel };
pub(crate) const HOOKS: Target = Target { name: "chat_hooks", corpus: "chat_hooks", recorded: None, words: REQUESTS, run: hooks };
pub(crate) const SPLIT: Target = Target {
    name: "chat_split",
    corpus: "chat_split",
    recorded: None,
    words: &[b"```", b"```rust\n", b"\n\n", b"\n", b" ", b"  ```", b"`", b"\xf0\x9f\x9a\xa2", b"\xc3\xa9", b"\r\n", b"a", b"\t"],
    run: split,
};

const LINES: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b"\"", b"null", b"-1", b"1e999", b"18446744073709551616", b"\\u0000", b"\\ud800", b"\"type\":", b"\"seq\":",
    b"\"event\":", b"\"kind\":\"button\"", b"\"chat\":", b"\"sender\":", b"\"files\":", b"\"abilities\":", b"\"health\"", b"\"state\":",
    b"\"configuration\"", b"\"do\":\"edit\"", b"\"buttons\":", b"\xff",
];
const REQUESTS: &[&[u8]] = &[
    b"\n\n", b"x-hub-signature-256: sha256=", b"x-spark-signature: ", b"linear-signature: ", b"svix-id: m", b"svix-timestamp: ",
    b"svix-signature: v1,", b"x-slack-signature: v0=", b"x-slack-request-timestamp: ", b"x-lazaret-signature: t=1,v1=",
    b"x-telegram-bot-api-secret-token: ", b"authorization: Bearer ", b"eyJhbGciOiJub25lIn0.e30.", b"?msg_signature=", b"&timestamp=",
    b"&nonce=", b"&encrypt_type=aes", b"&echostr=1", b"hub.verify_token=", b"<xml><Encrypt><![CDATA[", b"]]></Encrypt></xml>", b"00", b"=",
    b"%00", b"{\"type\":\"", b"\xff",
];

/// What the host reads of a channel's program.
fn from_channel(input: &[u8]) -> u64 {
    let read = serde_json::from_slice::<FromChannel>(input);
    if let Ok(line) = &read {
        let again = serde_json::to_vec(line).ok().and_then(|text| serde_json::from_slice::<FromChannel>(&text).ok());
        assert_eq!(again.as_ref(), Some(line), "a line does not survive the way");
    }
    shape(read.map(|line| std::mem::discriminant(&line)))
}

/// What a channel's program reads of the host.
fn to_channel(input: &[u8]) -> u64 {
    let read = serde_json::from_slice::<ToChannel>(input);
    if let Ok(line) = &read {
        let again = serde_json::to_vec(line).ok().and_then(|text| serde_json::from_slice::<ToChannel>(&text).ok());
        assert_eq!(again.as_ref(), Some(line), "a line does not survive the way");
    }
    shape(read.map(|line| std::mem::discriminant(&line)))
}

fn shape<T: std::hash::Hash>(read: Result<T, serde_json::Error>) -> u64 {
    match read {
        Ok(kind) => hash(&(true, kind)),
        // The words before the place; the place itself differs with every input.
        Err(error) => hash(&(false, error.to_string().split(" at line").next().unwrap_or_default().to_owned())),
    }
}

/// The networks whose platforms sign, with credentials that no input knows.
const SIGNED: &[(&str, &str)] = &[
    ("telegram", r#"{"mode":"webhook"}"#),
    ("slack", r#"{"mode":"webhook"}"#),
    ("webhook", "{}"),
    ("whatsapp", r#"{"phone_number_id":"7"}"#),
    ("teams", r#"{"app_id":"app","tenant":"tenant"}"#),
    ("googlechat", r#"{"audience":"1"}"#),
    ("webex", "{}"),
    ("github", r#"{"login":"bot"}"#),
    ("linear", r#"{"team":"ENG"}"#),
    ("resend", r#"{"from":"a@b.test","authserv":"mx.b.test"}"#),
    ("wechat", r#"{"app_id":"wx1"}"#),
    ("imessage", r#"{"base_url":"http://127.0.0.1:1"}"#),
];

/// A request that nobody signed says nothing to the host, whatever it is: the first byte chooses the network, the head ends at an empty line.
fn hooks(input: &[u8]) -> u64 {
    let Some((&chosen, request)) = input.split_first() else { return 0 };
    let end = request.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((request, &b""[..]), |end| (&request[..end], &request[end + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let path = lines.next().unwrap_or_default().to_owned();
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let method = if path.contains("echostr") || path.contains("hub.") { "GET" } else { "POST" };
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, probe) = ready.get_or_insert_with(|| probe().expect("the networks can be opened"));
    let (status, reports) = probe.request(usize::from(chosen), method, &path, headers, body);
    drop(ready);
    assert_eq!(reports, 0, "something unsigned was reported");
    assert!(status != 200 || method == "POST", "a challenge was answered to who does not know the words");
    hash(&(usize::from(chosen) % SIGNED.len(), status))
}

/// The accounts, once they were needed, and where they keep files.
static READY: Mutex<Option<(tempfile::TempDir, Probe)>> = Mutex::new(None);

/// Takes away what the accounts kept.
pub(crate) fn close() {
    READY.lock().unwrap_or_else(PoisonError::into_inner).take();
}

fn probe() -> Result<(tempfile::TempDir, Probe), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let at = dir.path().join("credentials");
    std::fs::create_dir(&at).map_err(|e| e.to_string())?;
    let secret = "nobody can guess these words 7d1f";
    let encoding = "kjhgfdsaqwertyuiopzxcvbnm0123456789ABCDEFGH";
    let account = json!({"type": "service_account", "client_email": "a@b.test", "private_key": include_str!("../../../testkit/src/platforms/keys/stranger.pem")}).to_string();
    let credentials = [
        ("token", "123456:nobody-can-guess-these-words"),
        ("webhook_secret", "whsec_bm9ib2R5IGNhbiBndWVzcyB0aGVzZSB3b3Jkcw=="),
        ("signing_secret", secret),
        ("app_token", secret),
        ("secret", secret),
        ("access_token", secret),
        ("app_secret", secret),
        ("verify_token", secret),
        ("app_password", secret),
        ("service_account", account.as_str()),
        ("api_key", secret),
        ("encoding_key", encoding),
        ("password", secret),
    ];
    for (key, value) in credentials {
        std::fs::write(at.join(key), value).map_err(|e| e.to_string())?;
    }
    let accounts: Vec<(&str, serde_json::Value)> =
        SIGNED.iter().map(|(name, config)| (*name, serde_json::from_str(config).unwrap_or_default())).collect();
    let probe = Probe::open(dir.path(), &accounts)?;
    Ok((dir, probe))
}

/// Pieces fit, nothing of the text is lost but space, and each piece closes the block of code that it opens.
fn split(input: &[u8]) -> u64 {
    let Some((&size, text)) = input.split_first() else { return 0 };
    let (max, text) = (64 + usize::from(size), String::from_utf8_lossy(text));
    let pieces = model::split_text(&text, max);
    for piece in &pieces {
        assert!(piece.chars().count() <= max, "a piece of {} characters, {max} fit", piece.chars().count());
        assert!(!piece.trim().is_empty(), "a piece of nothing");
    }
    // What is put in at a cut is fences and the words behind them; without any, all that can be seen is there, in its order.
    if !text.contains("```") {
        let seen = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        assert_eq!(pieces.iter().map(|piece| seen(piece)).collect::<String>(), seen(&text), "something was lost");
    }
    hash(&(pieces.len().min(16), text.contains("```"), pieces.first().map(|piece| piece.ends_with("```"))))
}
