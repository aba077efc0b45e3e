use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testkit::servers::{Page, Pages, Seen};

use crate::support::Lab;

/// A server of GitHub's form that keeps what is made.
fn github() -> (Lab, Pages) {
    let made: Arc<Mutex<Vec<Value>>> = Arc::default();
    let pages = Pages::start(None, move |seen| answer(seen, &made));
    let lab = Lab::new(&json!({"base_url": format!("http://127.0.0.1:{}", pages.port)}), &[("token", "ghp_test")]);
    (lab, pages)
}

fn answer(seen: &Seen, made: &Mutex<Vec<Value>>) -> Page {
    if seen.header("authorization") != Some("Bearer ghp_test") {
        return Page::json(401, &json!({"message": "Bad credentials"}));
    }
    let mut made = made.lock().expect("no test has failed inside");
    let path = seen.target.split('?').next().unwrap_or("");
    match (seen.method.as_str(), path) {
        ("POST", "/repos/o/lost/issues") => Page::cut(),
        ("POST", path) => {
            let mut item = seen.json();
            item["number"] = json!(made.len() + 1);
            item["html_url"] = json!(format!("https://github.test{path}/{}", made.len() + 1));
            item["path"] = json!(path);
            made.push(item.clone());
            Page::json(201, &item)
        }
        ("GET", "/repos/o/r/contents/docs/a%20b.md") => Page::json(200, &json!({"size": 4, "content": "RWJi\nCg==\n", "type": "file"})),
        ("GET", "/repos/o/r/contents/") => Page::json(200, &json!([{"name": "docs", "type": "dir", "size": 0}])),
        ("GET", "/repos/o/r/issues/7") => {
            Page::json(200, &json!({"number": 7, "title": "A\u{202e}B", "body": "text", "state": "open", "user": {"login": "ann"}}))
        }
        ("GET", path) => Page::json(200, &json!(made.iter().filter(|item| item["path"] == path).collect::<Vec<_>>())),
        _ => Page::json(404, &json!({"message": "Not Found"})),
    }
}

#[test]
fn what_is_made_is_made_once() {
    let (lab, pages) = github();
    let issue = json!({"repo": "o/r", "title": "Leak", "body": "At pier 4", "labels": ["bug"]});
    let comment = json!({"repo": "o/r", "number": 7, "body": "Seen"});
    let pull = json!({"repo": "o/r", "title": "Fix", "head": "fix", "base": "main"});
    for (tool, arguments) in [("github_create_issue", issue), ("github_comment", comment), ("github_create_pull", pull)] {
        let first = lab.call_as("github", "key1", tool, arguments.clone()).unwrap();
        let again = lab.call_as("github", "key1", tool, arguments.clone()).unwrap();
        assert_eq!((&first["already_there"], &again["already_there"]), (&json!(false), &json!(true)), "{tool}");
        assert_eq!(first["url"], again["url"]);
        assert_eq!(lab.call_as("github", "key2", tool, arguments).unwrap()["already_there"], false);
    }
    let posts: Vec<Seen> = pages.seen().into_iter().filter(|seen| seen.method == "POST").collect();
    assert_eq!(posts.len(), 6);
    let body = posts[0].json()["body"].as_str().unwrap().to_owned();
    assert!(body.starts_with("At pier 4\n\n<!-- lazaret:") && !body.contains("key1"), "{body}");
}

#[test]
fn reading() {
    let (lab, pages) = github();
    let file = lab.call("github", "github_file", json!({"repo": "o/r", "path": "docs/a b.md", "ref": "a&b"})).unwrap();
    assert_eq!(file["text"], "Ebb\n");
    assert!(pages.seen().last().unwrap().target.ends_with("?ref=a%26b"));
    let top = lab.call("github", "github_file", json!({"repo": "o/r"})).unwrap();
    assert_eq!(top["entries"][0]["name"], "docs");
    let issue = lab.call("github", "github_issue", json!({"repo": "o/r", "number": 7})).unwrap();
    assert_eq!((&issue["issue"]["title"], &issue["issue"]["author"]), (&json!("AB"), &json!("ann")));
    assert!(lab.call("github", "github_issues", json!({"repo": "o/r", "labels": ["a b"]})).is_ok());
    for repo in ["o", "o/r/../x", "../x", "o/..", "o/r?x", "o/r#"] {
        assert!(lab.call("github", "github_issues", json!({ "repo": repo })).unwrap_err().contains("OWNER/NAME"), "{repo}");
    }
    assert!(lab.call("github", "github_file", json!({"repo": "o/r", "path": "a/../../../user"})).is_err());
}

#[test]
fn limits_of_the_owner_and_of_the_server() {
    let (lab, pages) = github();
    let before = pages.seen().len();
    lab.configure(&json!({"base_url": format!("http://127.0.0.1:{}", pages.port), "repos": ["o/r", "mine/*"]}));
    assert!(lab.call("github", "github_issues", json!({"repo": "other/r"})).unwrap_err().contains("not one of the repositories"));
    assert_eq!(pages.seen().len(), before);
    assert!(lab.call("github", "github_issues", json!({"repo": "mine/x"})).is_ok());
    assert!(lab.call("github", "github_issues", json!({"repo": "O/R"})).is_ok());
    lab.configure(&json!({"base_url": format!("http://127.0.0.1:{}", pages.port)}));
    let lost = lab.call("github", "github_create_issue", json!({"repo": "o/lost", "title": "x"})).unwrap_err();
    assert!(lost.contains("not known whether"), "{lost}");
    std::fs::write(lab.dir().join("credentials/token"), "ghp_other").unwrap();
    let refused = lab.call("github", "github_issues", json!({"repo": "o/r"})).unwrap_err();
    assert!(refused.contains("does not take the token") && !refused.contains("ghp_other"), "{refused}");
}
