//! The paths of the container-per-chat server, as its own clients call them.

use serde_json::{Value, json};

use crate::http::Answer;
use crate::support::Lab;
use crate::web::Web;

/// The events of an answer by server-sent events.
#[track_caller]
fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert!(answer.head.to_lowercase().contains("content-type: text/event-stream"), "{}", answer.head);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

/// The one event of a type.
#[track_caller]
fn one<'a>(events: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = events.iter().filter(|event| event["type"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind} in {events:#?}");
    found[0]
}

/// A user's whole way: chat, save, join, look at files, clear away.
#[test]
fn a_chat_becomes_a_container_that_another_joins() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let ask = |method: &str, path: &str, body: Value| web.ask(&web.owner, method, path, body);
    let chat = |body: Value| events(&ask("POST", "/api/chat", body));

    let told = chat(json!({ "message": "hello there\nand more", "session_id": "new", "systemPrompt": "Be brief.", "mode": "cocreate" }));
    let kinds: Vec<&str> = told.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(&kinds[..2], ["session", "user_message"], "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"done"));
    let begun = one(&told, "session");
    assert_eq!((&begun["trustLevel"], &begun["workingDirectory"]), (&json!("sandboxed"), &json!("/home/sandbox")));
    assert_eq!(one(&told, "user_message")["content"], "hello there\nand more");
    assert!(told.iter().any(|event| event["type"] == "warning" && event["message"].as_str().is_some_and(|m| m.starts_with("mode"))));
    let text: String = told.iter().filter(|e| e["type"] == "text").filter_map(|e| e["delta"].as_str()).collect();
    let done = one(&told, "done");
    assert_eq!((&done["messageCount"], done["response"].as_str().map(str::trim)), (&json!(2), Some(text.trim())));
    assert_eq!(one(&told, "tool_use")["tool"]["id"], one(&told, "tool_result")["toolUseId"]);
    let id = begun["sessionId"].as_str().expect("an identity").to_owned();

    // It goes on in both ways of writing.
    let again = chat(json!({ "message": "and again", "sessionId": id, "containerId": "elsewhere" }));
    assert_eq!(one(&again, "session")["sessionId"], json!(id));
    assert_eq!(one(&again, "done")["messageCount"], 4);
    assert_eq!(one(&again, "done")["sessionResume"]["isNewSession"], false);
    let shown = ask("GET", &format!("/api/chat/{id}"), Value::Null).is(200);
    assert_eq!(shown["title"], "hello there");
    let roles: Vec<&Value> = shown["messages"].as_array().expect("messages").iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    let renamed = ask("PATCH", &format!("/api/chat/{id}/metadata"), json!({ "title": "Greetings" })).is(200);
    assert_eq!(renamed["session"]["title"], "Greetings");
    let transcript = ask("GET", &format!("/api/chat/{id}/transcript"), Value::Null).is(200);
    let kinds: Vec<&Value> = transcript["events"].as_array().expect("events").iter().map(|e| &e["type"]).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "result").count(), 2, "{transcript}");
    assert_eq!(ask("GET", "/api/chat/active-streams", Value::Null).is(200), json!({ "count": 0, "streams": [] }));
    // What was asked is shown whole, however long.
    let long = format!("long {}", "x".repeat(5000));
    chat(json!({ "message": long, "sessionId": id }));
    assert_eq!(ask("GET", &format!("/api/chat/{id}"), Value::Null).is(200)["messages"][4]["content"], json!(long));

    let saved = ask("POST", "/api/containers", json!({ "name": "My Project", "session_id": id })).is(201);
    assert_eq!((&saved["slug"], &saved["display_name"]), (&json!("my-project"), &json!("My Project")));
    assert!(saved["created_at"].as_str().is_some_and(|t| t.ends_with('Z')), "{saved}");
    let taken = ask("POST", "/api/containers", json!({ "name": "x", "slug": "my-project" })).is(409);
    assert!(taken["detail"].is_string(), "{taken}");
    let renamed = json!({ "displayName": "Ours", "coreMemory": "We write Rust." });
    let renamed = ask("PATCH", "/api/containers/my-project", renamed).is(200);
    assert_eq!((&renamed["display_name"], &renamed["core_memory"]), (&json!("Ours"), &json!("We write Rust.")));
    let list = ask("GET", "/api/containers", Value::Null).is(200);
    assert_eq!(list["containers"][0]["slug"], "my-project");

    let joined = chat(json!({ "message": "I join", "container_id": "my-project" }));
    assert_eq!(one(&joined, "session")["containerId"], "my-project");
    assert_eq!(one(&joined, "done")["messageCount"], 2);
    let other = one(&joined, "session")["sessionId"].as_str().expect("an identity").to_owned();
    let chats = ask("GET", "/api/chat?container_id=my-project", Value::Null).is(200);
    assert_eq!(chats["sessions"].as_array().map(Vec::len), Some(2), "{chats}");
    assert_eq!(ask("GET", "/api/chat?search=GREET&limit=5", Value::Null).is(200)["sessions"][0]["id"], json!(id));
    assert_eq!(ask("GET", "/api/chat?offset=1", Value::Null).is(200)["sessions"].as_array().map(Vec::len), Some(1));

    for chat in [&id, &other] {
        assert_eq!(ask("POST", &format!("/api/chat/{chat}/archive"), Value::Null).is(200)["session"]["archived"], true);
    }
    assert_eq!(ask("GET", "/api/chat", Value::Null).is(200)["sessions"], json!([]));
    assert_eq!(ask("POST", &format!("/api/chat/{id}/unarchive"), Value::Null).is(200)["session"]["archived"], false);
    assert_eq!(ask("DELETE", &format!("/api/chat/{id}"), Value::Null).is(200), json!({ "success": true, "deleted": id }));
    assert_eq!(ask("DELETE", "/api/containers/my-project", Value::Null).is(200), json!({ "deleted": true, "slug": "my-project" }));
    assert_eq!(ask("GET", "/api/containers", Value::Null).is(200)["containers"], json!([]));
}

#[test]
fn files_of_a_container_go_in_and_out() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let ask = |method: &str, path: &str| web.ask(&web.owner, method, path, Value::Null);
    web.ask(&web.owner, "POST", "/api/containers", json!({ "name": "box" })).is(201);
    let files = "/api/containers/box/files";
    let form = "--XX\r\nContent-Disposition: form-data; name=\"files\"; filename=\"../a.txt\"\r\n\r\none\r\n\
                --XX\r\nContent-Disposition: form-data; name=\"files\"; filename=\"b.bin\"\r\n\r\n\x00two\r\n\
                --XX\r\nContent-Disposition: form-data; name=\"files\"; filename=\"..\"\r\n\r\nbad\r\n--XX--\r\n";
    let kind = "content-type: multipart/form-data; boundary=XX\r\n";
    let done = web.ask_with(&web.owner, "POST", &format!("{files}/upload?path=dir"), kind, form.as_bytes()).is(200);
    let done: Vec<(&Value, &Value)> = done.as_array().expect("a list").iter().map(|d| (&d["success"], &d["path"])).collect();
    assert_eq!(done, [(&json!(true), &json!("dir/a.txt")), (&json!(true), &json!("dir/b.bin")), (&json!(false), &json!(".."))]);
    assert_eq!(ask("POST", &format!("{files}/mkdir?path=dir/sub")).is(200)["success"], true);
    let listed = ask("GET", &format!("{files}?path=/dir")).is(200);
    let entries: Vec<(&str, &str)> = listed["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|e| (e["path"].as_str().unwrap_or(""), e["type"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(entries, [("dir/a.txt", "file"), ("dir/b.bin", "file"), ("dir/sub", "directory")]);
    let bytes = ask("GET", &format!("{files}/download?path=dir/b.bin"));
    assert_eq!((bytes.status, bytes.body.as_slice()), (200, &b"\x00two"[..]));
    assert!(bytes.head.contains("attachment; filename*=UTF-8''b.bin"), "{}", bytes.head);
    for path in ["../../etc/passwd", "dir/../../x", "dir/none"] {
        let refused = ask("GET", &format!("{files}/download?path={path}"));
        assert!((400..500).contains(&refused.status), "{path}: {}", refused.status);
        assert!(refused.is(refused_status(path))["detail"].is_string());
    }
    assert_eq!(ask("DELETE", &format!("{files}?path=dir")).is(200)["success"], true);
    assert_eq!(ask("GET", files).is(200)["entries"], json!([]));
    assert_eq!(ask("GET", "/api/containers/none/files").status, 404);
}

fn refused_status(path: &str) -> u16 {
    if path == "dir/none" { 404 } else { 422 }
}

#[test]
fn what_is_refused_is_refused_in_the_seeds_form() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let id = lab.session(json!({}));
    let ask = |path: &str, body: Value, status: u16| {
        let answer = web.ask(&web.owner, "POST", path, body).is(status);
        assert!(answer["detail"].is_string() && answer.get("error").is_none(), "{path}: {answer}");
    };
    ask("/api/chat", json!({ "message": "" }), 422);
    ask("/api/chat", json!({ "message": "x".repeat(102_401) }), 422);
    ask("/api/chat", json!({ "message": 7 }), 422);
    ask("/api/chat", json!({ "message": "x", "session_id": "ses_00000000000000000000000000000000" }), 404);
    ask("/api/chat", json!({ "message": "x", "container_id": "none" }), 404);
    ask(&format!("/api/chat/{id}/abort"), json!({}), 404);
    ask(&format!("/api/chat/{id}/inject"), json!({ "message": "x" }), 404);
    ask(&format!("/api/chat/{id}/inject"), json!({ "message": "x".repeat(32_001) }), 422);
    ask(&format!("/api/chat/{id}/answer"), json!({ "request_id": "qst_00000000000000000000000000000000", "answers": { "q": "a" } }), 404);
    ask("/api/nowhere", json!({}), 404);
    let status = web.ask(&web.owner, "GET", &format!("/api/chat/{id}/stream-status"), Value::Null).is(200);
    assert_eq!(status, json!({ "active": false, "sessionId": id }));
    assert_eq!(web.ask("", "POST", "/api/chat", json!({ "message": "x" })).is(401)["code"], "UNAUTHORIZED");
    assert_eq!(
        web.ask(&web.owner, "GET", "/api/chat", Value::Null).is(200)["sessions"].as_array().map(Vec::len),
        Some(1),
        "nothing was made"
    );
}
