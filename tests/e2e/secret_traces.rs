//! Whatever a provider, a plugin and an agent do with credentials of the host: none of them is left anywhere that an agent,
//! a log or a copy shows, in any spelling.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use testkit::model_server::{Rule, Say, Script};

use crate::support::Lab;

/// The token of a plugin, in two halves so that this file is none of the places where it is found.
const HALVES: (&str, &str) = ("c4n4ryPluginToken", "ZXhpc3RzTm93aGVyZQ7");
/// The key of the provider, likewise.
const KEY_HALVES: (&str, &str) = ("sk-ant-api03-c4n4ryProvider", "S0hvdWxkTmV2ZXJCZVNlZW4");

/// A plugin that gives its token away in every way that it can.
const LEAKY: &str = r#"
import base64, urllib.parse
token = open(os.environ["LAZARET_CREDENTIALS"] + "/token").read()
def spellings():
    raw = token.encode()
    b = [base64.b64encode(b"x" * n + raw).decode() for n in range(3)]
    return [token, token[::-1], raw.hex(), raw.hex().upper(), urllib.parse.quote(token), "".join("%%%02x" % c for c in raw), token[:-7], token[7:]] + b
def tool_leak(a, m):
    print("on standard error: " + " ".join(spellings()), file=sys.stderr, flush=True)
    return {"content": [], "structuredContent": {"said": spellings(), "Authorization: Bearer " + token: 1, "one": " ".join(spellings())}}
def tool_leak_failing(a, m): raise ValueError("it failed with " + " and ".join(spellings()))
def tool_leak_asked(a, m): return text("\n".join(spellings()))
"#;

const MANIFEST: &str = r#"
[[tools]]
name = "leak"
description = "Gives its token away."
risk = "low"
[[tools]]
name = "leak_failing"
description = "Fails with its token."
risk = "low"
[[tools]]
name = "leak_asked"
description = "Gives its token away when a person said yes."
risk = "high"
[[credentials]]
key = "token"
description = "A token."
required = true
"#;

/// Every spelling that is looked for.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let raw = secret.as_bytes();
    let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
    let mut all = vec![raw.to_vec(), raw.iter().rev().copied().collect(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    all.extend([raw[..raw.len() - 7].to_vec(), raw[7..].to_vec()]);
    for shift in 0..3 {
        let padded = [&b"xxx"[..shift], raw].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&padded);
            // Without the characters that the neighbours decide.
            all.push(text.as_bytes()[(shift * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec());
        }
    }
    all
}

/// Refuses bytes that hold one of the secrets.
#[track_caller]
fn clean(place: &str, bytes: &[u8], secrets: &[String]) {
    for (n, secret) in secrets.iter().enumerate() {
        for spelling in spellings(secret) {
            let at = bytes.windows(spelling.len()).position(|window| window == spelling);
            let around = at.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..(at + 20).min(bytes.len())]).into_owned());
            assert_eq!(around, None, "secret {n} stands in {place} as {}", String::from_utf8_lossy(&spelling));
        }
    }
}

/// Every file below a directory, without following links.
fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

#[test]
fn no_credential_is_left_anywhere() {
    let secrets = [format!("{}{}", HALVES.0, HALVES.1), format!("{}{}", KEY_HALVES.0, KEY_HALVES.1)];
    let lab = Lab::new();
    // In halves, so that the search does not find itself.
    let look = format!(
        "t='{}'; t=\"${{t}}{}\"; k='{}'; k=\"${{k}}{}\"; wanted() {{ printf '%s\\n' \"$t\" \"$k\"; }}; \
         for p in /proc/[0-9]*; do cat $p/environ $p/cmdline; done 2>/dev/null | tr '\\0' '\\n' > /tmp/seen; \
         wanted | grep -c -F -f - /tmp/seen; wanted | grep -r -l -F -f - /home /workspace /tmp /etc /run /opt/lazaret 2>/dev/null; echo looked",
        HALVES.0, HALVES.1, KEY_HALVES.0, KEY_HALVES.1
    );
    let call = |name: &str| Say::Tool { name: name.to_owned(), input: json!({}) };
    let echo = Say::Text(format!("your provider's key is {}", secrets[1]));
    let rule = |contains: &str, say: &[Say]| Rule { contains: contains.to_owned(), say: say.to_vec() };
    let server = lab.model(Script {
        rules: vec![
            rule("give", &[call("leak"), call("leak_failing"), call("leak_asked"), Say::Shell(look), echo]),
            rule("go on", &[Say::Text("done".to_owned())]),
        ],
        ..Script::default()
    });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run_with(&["secret", "set", "anthropic", "-"], secrets[1].as_bytes()).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.run_with(&["secret", "set", "plugin.leaky.token", "-"], secrets[0].as_bytes()).succeeds();
    lab.plugin("leaky", MANIFEST, LEAKY);
    lab.reload_plugins();
    lab.plugin_is_ready("leaky");

    let session = lab.session(json!({}));
    let turn = lab.send(&session, "give");
    let asked = lab.event_where(&session, |e| e["type"] == "approval" && e["status"] == "pending");
    lab.run(&["approvals", "approve", asked["id"].as_str().expect("an identity")]).succeeds();
    let result = lab.result_of(&session, &turn);
    assert_eq!(result["status"], "completed", "{result}");
    let log = lab.log(&session);
    let outputs: Vec<&str> = log.iter().filter(|e| e["type"] == "tool_result").filter_map(|e| e["output"].as_str()).collect();
    assert_eq!(outputs.len(), 4, "{log:?}");
    assert!(outputs[..3].iter().all(|text| text.contains("[REDACTED]")), "the tools did say it: {outputs:?}");
    assert_eq!(outputs[3].trim(), "0\nlooked", "inside there is nothing");
    // The model server was given its key and no other secret.
    let to_model: Vec<u8> = server.requests().iter().flat_map(|r| r.body.to_vec()).collect();
    clean("what the model was sent", &to_model, &secrets);

    let shown = |path: &str| lab.ask("GET", path, Value::Null).body;
    let places = [
        format!("/v1/sessions/{session}/events?limit=1000"),
        format!("/v1/sessions/{session}/export"),
        format!("/v1/sessions/{session}/turns"),
        "/v1/approvals".to_owned(),
        "/v1/audit?limit=1000".to_owned(),
        "/v1/plugins".to_owned(),
        "/v1/plugins/leaky".to_owned(),
        "/v1/sandboxes".to_owned(),
        "/v1/status".to_owned(),
    ];
    for place in &places {
        clean(place, &shown(place), &secrets);
    }
    // A checkpoint's files, through a session that is made of it.
    let fork = lab.ask("POST", &format!("/v1/sessions/{session}/fork"), json!({})).is(201)["items"][0]["id"].clone();
    clean("a fork", &shown(&format!("/v1/sessions/{}/export", fork.as_str().expect("an identity"))), &secrets);
    // Whatever the daemon keeps, once it has ended and written all of it.
    lab.run(&["stop", "--grace", "5s"]).succeeds();
    let mut found = Vec::new();
    files(&lab.home(), &mut found);
    assert!(found.iter().any(|path| path.ends_with("lazaret.db")) && found.iter().any(|path| path.ends_with("master.key")), "{found:?}");
    for path in found.iter().filter(|path| fs::metadata(path).is_ok_and(|m| m.len() < 64 << 20)) {
        clean(&path.display().to_string(), &fs::read(path).expect("read"), &secrets);
    }
}

/// What is looked for is found where it stands.
#[test]
fn a_credential_that_is_somewhere_is_found() {
    let secret = format!("{}{}", HALVES.0, HALVES.1);
    let said = |text: &str| std::panic::catch_unwind(|| clean("here", text.as_bytes(), std::slice::from_ref(&secret))).is_err();
    assert!(said(&format!("x{secret}x")) && said(&STANDARD.encode(format!("ab{secret}c"))) && !said("nothing"));
}
