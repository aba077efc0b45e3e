//! Archives of sessions, also such as nobody should take over.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::support::Lab;

const VALUE: &str = "a-value-that-stays-at-home";
const BLOCK: usize = 512;

fn lab() -> (Lab, ModelServer) {
    let lab = Lab::new();
    let rule = |contains: &str, command: &str| Rule {
        contains: contains.to_owned(),
        say: vec![Say::Shell(command.to_owned()), Say::Text("done".to_owned())],
    };
    let rules = vec![rule("write", "echo kept > note; mkdir -p deep; echo w > /workspace/w"), rule("read", "cat note /workspace/w; ls")];
    let server = lab.model(Script { rules, ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    (lab, server)
}

fn exported(lab: &Lab) -> (String, Vec<u8>) {
    let session = lab.session(json!({ "title": "of old", "variables": [["MY_VARIABLE", VALUE]] }));
    assert_eq!(lab.turn(&session, "write")["status"], "completed");
    let answer = lab.ask("GET", &format!("/v1/sessions/{session}/export"), Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.head);
    (session, answer.body)
}

fn import(lab: &Lab, archive: &[u8]) -> crate::http::Answer {
    lab.ask_with("POST", "/v1/sessions/import", &[("content-type", "application/x-tar")], archive)
}

/// The parts of an archive: name and bytes.
fn parts(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut all, mut at) = (Vec::new(), 0);
    while archive[at] != 0 {
        let text = |from: usize, len: usize| {
            String::from_utf8_lossy(&archive[at + from..at + from + len]).trim_end_matches(['\0', ' ']).to_owned()
        };
        let size = usize::from_str_radix(text(124, 12).trim(), 8).expect("a size");
        let from = at + BLOCK;
        all.push((text(0, 100), archive[from..from + size].to_vec()));
        at = from + size.next_multiple_of(BLOCK);
    }
    all
}

/// One entry of a tar stream: a header and its bytes.
fn entry(name: &str, kind: u8, target: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0u8; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0001750");
    put(116, "0001750");
    put(124, &format!("{:011o}", bytes.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(157, target);
    put(257, "ustar");
    put(263, "00");
    header[156] = kind;
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(bytes);
    header.resize(header.len().next_multiple_of(BLOCK), 0);
    header
}

/// An archive of these parts, whose manifest tells the truth about them.
fn archive(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut manifest: Value = serde_json::from_slice(&parts[0].1).expect("JSON");
    for (name, bytes) in &parts[1..] {
        manifest["parts"][name] = json!({ "bytes": bytes.len(), "sha256": sha256(bytes) });
    }
    let mut all = entry(&parts[0].0, b'0', "", &serde_json::to_vec(&manifest).expect("JSON"));
    for (name, bytes) in &parts[1..] {
        all.extend(entry(name, b'0', "", bytes));
    }
    all.resize(all.len() + 2 * BLOCK, 0);
    all
}

fn sha256(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("run sha256sum");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("write");
    let out = child.wait_with_output().expect("wait");
    String::from_utf8_lossy(&out.stdout).split(' ').next().expect("a hash").to_owned()
}

fn sessions(lab: &Lab) -> usize {
    lab.ask("GET", "/v1/sessions?limit=100", Value::Null).is(200)["items"].as_array().expect("items").len()
}

#[test]
fn a_session_goes_on_elsewhere_with_its_files_and_its_past() {
    let (lab, _server) = lab();
    let (session, bytes) = exported(&lab);
    let names: Vec<String> = parts(&bytes).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["manifest.json", "turns.jsonl", "events.jsonl", "tree/home.tar", "tree/workspace.tar"]);
    let manifest = String::from_utf8_lossy(&parts(&bytes)[0].1).into_owned();
    assert!(manifest.contains("MY_VARIABLE"), "what is left out is named: {manifest}");
    assert!(!bytes.windows(VALUE.len()).any(|w| w == VALUE.as_bytes()), "its value is not there");
    let made = import(&lab, &bytes).is(201);
    let id = made["id"].as_str().expect("an identity").to_owned();
    assert_ne!(id, session);
    assert_eq!((&made["title"], &made["turns"], &made["head"]), (&json!("of old"), &json!(1), &json!(1)), "{made}");
    let kinds = |id: &str| lab.log(id).iter().map(|e| (e["seq"].clone(), e["type"].clone())).collect::<Vec<_>>();
    assert_eq!(kinds(&id), kinds(&session), "the same log");
    lab.ask("DELETE", &format!("/v1/sessions/{session}"), Value::Null).is(200);
    let turn = lab.send(&id, "read");
    assert_eq!(lab.result_of(&id, &turn)["status"], "completed");
    let log = lab.log(&id);
    assert!(log.iter().any(|e| e["type"] == "tool_result" && e["output"].as_str().is_some_and(|o| o.contains("kept\nw\n"))), "{log:#?}");
    // What was rebuilt by this test's own means is taken too, so that the refusals below are for what was changed.
    import(&lab, &archive(&parts(&bytes))).is(201);
}

#[test]
fn what_was_changed_cut_or_comes_from_later_is_refused_and_leaves_nothing() {
    let (lab, _server) = lab();
    let (_, bytes) = exported(&lab);
    let good = parts(&bytes);
    let mut changed = bytes.clone();
    let at = changed.windows(5).rposition(|w| w == b"kept\n").expect("the file is in it");
    changed[at] ^= 1;
    let with = |n: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut all = good.clone();
        change(&mut all[n].1);
        archive(&all)
    };
    let manifest = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        with(0, &move |text| *text = String::from_utf8_lossy(text).replace(&from, &to).into_bytes())
    };
    let line = |n: usize, from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        with(n, &move |text| *text = String::from_utf8_lossy(text).replace(&from, &to).into_bytes())
    };
    let mut swapped = good.clone();
    swapped.swap(3, 4);
    for (what, archive) in [
        ("a changed byte", changed),
        ("a cut", bytes[..bytes.len() / 2].to_vec()),
        ("nothing", Vec::new()),
        ("no archive", b"hello".repeat(1000)),
        ("a later form", manifest("\"form\":1", "\"form\":2")),
        ("another field", manifest("\"form\":1", "\"form\":1,\"more\":1")),
        ("an option as the conversation's name", manifest("\"head\":1", "\"head\":9")),
        ("parts in another order", archive(&swapped)),
        ("a turn that is not over", line(1, "\"state\":\"done\"", "\"state\":\"running\"")),
        ("a turn that comes before itself", line(1, "\"parent\":0", "\"parent\":1")),
        ("an event of no turn", line(2, "\"turn\":1", "\"turn\":7")),
        ("no result", line(2, "\"type\":\"result\"", "\"type\":\"other\"")),
    ] {
        import(&lab, &archive).refused(422, "USAGE");
        assert_eq!(sessions(&lab), 1, "{what}");
    }
}

#[test]
fn files_that_lead_outside_are_refused_or_stay_inside() {
    let (lab, _server) = lab();
    let (_, bytes) = exported(&lab);
    let good = parts(&bytes);
    for (name, kind, target) in [("../escaped", b'0', ""), ("/escaped", b'0', ""), ("sandbox/../../escaped", b'0', "")] {
        let mut all = good.clone();
        all[3].1 = [entry(name, kind, target, b"x"), vec![0; 2 * BLOCK]].concat();
        let answer = import(&lab, &archive(&all));
        assert!(answer.status >= 400, "{name}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(sessions(&lab), 1, "{name}");
    }
    // Nothing is written through a link.
    let mut all = good.clone();
    let link = entry("sandbox/out", b'2', "/etc", b"");
    let through = entry("sandbox/out/escaped", b'0', "", b"x");
    all[3].1 = [link, through, vec![0; 2 * BLOCK]].concat();
    import(&lab, &archive(&all)).refused(403, "PATH_UNUSABLE");
    assert_eq!(sessions(&lab), 1);
    assert!(!std::path::Path::new("/etc/escaped").exists());
    // Devices and pipes are left out.
    all[3].1 = [entry("sandbox/pipe", b'6', "", b""), entry("sandbox/fine", b'0', "", b"x"), vec![0; 2 * BLOCK]].concat();
    let id = import(&lab, &archive(&all)).is(201)["id"].as_str().expect("id").to_owned();
    lab.ask("POST", "/v1/envs", json!({ "name": "look", "session_id": id })).is(201);
    let items = lab.ask("GET", "/v1/envs/look/files?path=", Value::Null).is(200)["items"].clone();
    let names: Vec<&str> = items.as_array().expect("items").iter().filter_map(|i| i["name"].as_str()).collect();
    assert_eq!(names, ["fine"]);
}
