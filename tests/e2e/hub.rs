//! The program as a module of a hub: below a path of its own, with a card that says where.

use serde_json::Value;

use crate::daemon::get;
use crate::support::{Lab, project};

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).unwrap_or_default()
}

#[test]
fn everything_answers_below_the_base_path_and_nothing_beside_it() {
    let lab = Lab::new();
    let ready = lab.run(&["start", "--listen", "127.0.0.1:0", "--base-path", "/agent"]).succeeds().out;
    assert!(ready.contains("/agent/ui#lzc_"), "{ready}");
    let link = lab.run(&["ui"]).succeeds().out;
    let (page, _) = link.trim().split_once('#').expect("a code");
    let address = page.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/agent/ui")).expect("the page").to_owned();

    // The card and health need no token, and stand where a hub looks.
    for path in ["/.well-known/parachute.json", "/agent/.well-known/parachute.json", "/agent/api/discovery"] {
        let answer = get(&address, path, "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert_eq!(body(&answer)["uiUrl"], "/agent/ui", "{path}");
    }
    let card = body(&get(&address, "/agent/api/discovery", ""));
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(project("share/hub/.parachute/module.json")).expect("the manifest")).expect("JSON");
    for key in ["name", "displayName", "kind", "paths", "uiUrl", "health"] {
        assert_eq!(card[key], manifest[key], "the manifest and the card say the same of {key}");
    }
    assert_eq!(body(&get(&address, manifest["health"].as_str().expect("a path"), ""))["status"], "ok");

    // The page and what it loads.
    let page = get(&address, "/agent/ui", "");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for path in ["/agent", "/agent/", "/"] {
        let answer = get(&address, path, "").to_lowercase();
        assert!(answer.starts_with("http/1.1 307") && answer.contains("location: /agent/ui\r\n"), "{path}: {answer}");
    }
    for path in ["/agent/ui/app.js", "/agent/docs", "/agent/openapi.json", "/agent/health"] {
        assert!(get(&address, path, "").starts_with("HTTP/1.1 200"), "{path}");
    }
    let bearer = format!("Authorization: Bearer {}\r\n", std::fs::read_to_string(lab.home().join("token")).expect("a token").trim());
    assert!(get(&address, "/agent/v1/status", &bearer).starts_with("HTTP/1.1 200"));
    // Beside the path there is nothing, and below it the same is refused as ever.
    for path in ["/v1/status", "/ui", "/agents/v1/status", "/agentv1/status"] {
        assert!(get(&address, path, &bearer).starts_with("HTTP/1.1 404"), "{path}");
    }
    assert!(get(&address, "/agent/v1/status", "").starts_with("HTTP/1.1 401"));
    lab.run(&["stop"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0", "--base-path", "agent"]).ends_with(2);
}
