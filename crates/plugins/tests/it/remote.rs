use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use testkit::servers::{Everything, Page, Pages};

use crate::support::Lab;

#[test]
fn the_reference_server_is_bridged() {
    let server = Everything::start();
    let lab = Lab::new(&json!({"url": format!("http://127.0.0.1:{}/mcp", server.port)}), &[]);
    let tools = lab.tools("remote-mcp").unwrap();
    assert!(tools.iter().any(|t| t["name"] == "echo" && t["inputSchema"]["type"] == "object"), "{tools:?}");
    let calls: Vec<_> = (0..5).map(|n| ("echo", json!({"message": format!("tide {n}")}), None)).collect();
    for (n, answer) in lab.call_all("remote-mcp", &calls).into_iter().enumerate() {
        let text = answer.unwrap()["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.contains(&format!("tide {n}")), "{text}");
    }
    assert!(lab.call("remote-mcp", "echo", json!({"message": 3})).is_err());
    assert!(lab.call("remote-mcp", "no-such-tool", json!({})).is_err());
}

/// A server of two answers: for what it is asked, and for what comes with a session that it has forgotten.
fn forgetful(token: &'static str) -> Pages {
    let sessions = AtomicUsize::new(0);
    Pages::start(None, move |seen| {
        if seen.header("authorization") != Some(token) {
            return Page::new(401, "text/plain", "who are you");
        }
        let message = seen.json();
        let done = |result| json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
        match message["method"].as_str() {
            Some("initialize") => {
                let n = sessions.fetch_add(1, Ordering::SeqCst);
                Page::json(200, &done(json!({"protocolVersion": "2025-06-18"}))).header("Mcp-Session-Id", &format!("s{n}"))
            }
            Some("notifications/initialized") => Page::new(202, "text/plain", ""),
            // The first session is forgotten at once.
            _ if seen.header("mcp-session-id") == Some("s0") => Page::new(404, "text/plain", "no such session"),
            Some("tools/call") if message["params"]["name"] == "cut" => Page::new(200, "text/event-stream", ": nothing comes\n\n"),
            Some("tools/call") => {
                let ask = json!({"jsonrpc": "2.0", "id": "p1", "method": "sampling/createMessage", "params": {}});
                let answer = done(json!({"content": [{"type": "text", "text": message["params"]["arguments"]["n"].to_string()}]}));
                Page::new(200, "text/event-stream", format!("event: message\ndata: {ask}\n\ndata: {answer}\n\n"))
            }
            _ => Page::new(202, "text/plain", ""),
        }
    })
}

#[test]
fn sessions_are_begun_again_and_tokens_hold() {
    let server = forgetful("Bearer t1");
    let lab = Lab::new(&json!({"url": format!("http://127.0.0.1:{}/mcp", server.port)}), &[("token", "t1")]);
    let answer = lab.call("remote-mcp", "count", json!({"n": 4})).unwrap();
    assert_eq!(answer["content"][0]["text"], "4");
    let seen = server.seen();
    let begun = seen.iter().filter(|s| s.json()["method"] == "initialize").count();
    assert_eq!(begun, 2);
    // What the server asked of the client is refused.
    let refusal = seen.iter().find(|s| s.json()["id"] == "p1").expect("an answer to the server");
    assert_eq!(refusal.json()["error"]["code"], -32_601);
    assert!(lab.call("remote-mcp", "cut", json!({})).unwrap_err().contains("not known whether"));
    std::fs::write(lab.dir().join("credentials/token"), "t2").unwrap();
    let refused = lab.call("remote-mcp", "count", json!({"n": 1})).unwrap_err();
    assert!(refused.contains("does not take the token") && !refused.contains("t2"), "{refused}");
    let dead = Lab::new(&json!({"url": "http://127.0.0.1:1/mcp"}), &[]);
    assert!(dead.tools("remote-mcp").unwrap_err().contains("cannot be reached"));
}
