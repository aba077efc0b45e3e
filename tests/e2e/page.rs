//! The web page and the way in.

use serde_json::Value;

use crate::daemon::{get, http};
use crate::support::Lab;

#[test]
fn a_link_logs_in_once_and_the_page_is_closed_to_others() {
    let lab = Lab::new();
    let ready = lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds().out;
    assert!(ready.contains("/ui#lzc_"), "{ready}");
    let link = lab.run(&["ui"]).succeeds().out;
    let (page, code) = link.trim().split_once('#').expect("a code in the fragment");
    let address = page.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/ui")).expect("the page").to_owned();

    let page = get(&address, "/ui", "");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("default-src 'none'"), "{page}");
    for file in ["/ui/app.js", "/ui/style.css"] {
        assert!(get(&address, file, "").starts_with("HTTP/1.1 200"), "{file}");
    }

    let login = |code: &str| {
        let body = format!("{{\"code\":\"{code}\"}}");
        let head = format!(
            "POST /v1/login HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        );
        http(&address, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    };
    let answer = login(code);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    let bearer = format!("Authorization: Bearer {}\r\n", body["token"].as_str().expect("a token"));
    assert!(get(&address, "/v1/status", &bearer).starts_with("HTTP/1.1 200"));
    assert!(login(code).starts_with("HTTP/1.1 401"), "a code works once");
    assert!(login("lzc_guess").starts_with("HTTP/1.1 401"));
    assert!(get(&address, "/v1/status", &format!("Authorization: Bearer {code}\r\n")).starts_with("HTTP/1.1 401"), "a code is no token");
    let log = std::fs::read_to_string(lab.home().join("logs/daemon.log")).expect("a log");
    assert!(!log.contains("lzc_"), "the log holds no link");
}
