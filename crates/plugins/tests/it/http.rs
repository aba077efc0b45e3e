use serde_json::json;
use testkit::servers::{Page, Pages};

use crate::support::Lab;

#[test]
fn declared_endpoints_are_tools() {
    let pages = Pages::start(None, |seen| match seen.target.as_str() {
        "/fail" => Page::new(500, "text/plain", "broken inside"),
        "/leave" => Page::redirect("http://evil.test/"),
        _ => Page::json(200, &json!({"target": seen.target, "key": seen.header("x-key"), "body": seen.json()})),
    });
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", pages.port);
    let lab = Lab::new(
        &json!({"endpoints": [
            {"name": "tide", "description": "The tide", "url": at("/tide/{place}"), "credential": "token", "credential_header": "X-Key",
             "headers": ["Accept: application/json"], "arguments": [{"name": "place"}, {"name": "days", "type": "integer"}]},
            {"name": "book", "method": "POST", "url": at("/book"), "arguments": [{"name": "berth", "required": true}]},
            {"name": "fail", "url": at("/fail")},
            {"name": "leave", "url": at("/leave")},
        ]}),
        &[("token", "k1")],
    );
    let tools = lab.tools("http").unwrap();
    let names: Vec<&str> = tools.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["http_book", "http_fail", "http_leave", "http_tide"]);
    assert_eq!(tools[3]["inputSchema"]["required"], json!(["place"]));
    assert_eq!(tools[3]["inputSchema"]["additionalProperties"], false);
    let tide = lab.call("http", "http_tide", json!({"place": "a/../b", "days": 3})).unwrap();
    assert_eq!(tide["body"], json!({"target": "/tide/a%2F..%2Fb?days=3", "key": "k1", "body": null}));
    let book = lab.call("http", "http_book", json!({"berth": "4"})).unwrap();
    assert_eq!((&book["body"]["body"], &book["body"]["key"]), (&json!({"berth": "4"}), &json!(null)));
    for (tool, arguments, why) in [
        ("http_tide", json!({"place": ".."}), "cannot be a part"),
        ("http_tide", json!({"place": "x", "days": "3"}), "wrong kind"),
        ("http_tide", json!({"place": "x", "host": "evil.test"}), "does not have"),
        ("http_book", json!({}), "missing"),
        ("http_fail", json!({}), "500"),
        ("http_leave", json!({}), "302"),
        ("http_none", json!({}), "no tool"),
    ] {
        let refused = lab.call("http", tool, arguments).unwrap_err();
        assert!(refused.contains(why), "{tool}: {refused}");
    }
    lab.configure(&json!({"endpoints": [{"name": "x", "url": "https://{host}/", "arguments": [{"name": "host"}]}]}));
    assert_eq!(lab.refused("http"), 78);
}
