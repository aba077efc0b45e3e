//! The API document: what it says is what is answered.

use serde_json::{Value, json};

use crate::support::{Lab, project};
use crate::web::Web;

/// Holds a value against a schema of the document; gives what is wrong.
fn wrong(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("a reference of this document");
        return wrong(document, document.pointer(pointer).expect("a schema"), value, at);
    }
    for alternatives in ["oneOf", "anyOf"] {
        if let Some(all) = schema[alternatives].as_array()
            && !all.iter().any(|one| wrong(document, one, value, at).is_none())
        {
            return Some(format!("{at}: {value} is none of {alternatives}"));
        }
    }
    if let Some(all) = schema["enum"].as_array()
        && !all.contains(value)
    {
        return Some(format!("{at}: {value} is none of {all:?}"));
    }
    if schema.get("const").is_some_and(|one| one != value) {
        return Some(format!("{at}: {value} is not {}", schema["const"]));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let is_a = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    if !types.is_empty() && !types.iter().any(is_a) {
        return Some(format!("{at}: {value} is no {types:?}"));
    }
    if let (Some(items), Some(all)) = (schema.get("items"), value.as_array()) {
        return all.iter().enumerate().find_map(|(n, one)| wrong(document, items, one, &format!("{at}[{n}]")));
    }
    let fields = value.as_object()?;
    let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).find(|name| !fields.contains_key(*name));
    if let Some(missing) = missing {
        return Some(format!("{at}: {missing} is missing"));
    }
    fields.iter().find_map(|(name, value)| match (&schema["properties"][name], &schema["additionalProperties"]) {
        (Value::Null, Value::Bool(false)) => Some(format!("{at}: {name} is unknown")),
        (Value::Null, _) => None,
        (schema, _) => wrong(document, schema, value, &format!("{at}.{name}")),
    })
}

#[test]
fn a_wrong_answer_would_be_seen() {
    let document = json!({ "s": { "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"], "additionalProperties": false } });
    let schema = json!({ "$ref": "#/s" });
    assert_eq!(wrong(&document, &schema, &json!({ "a": 1 }), "x"), None);
    for value in [json!({}), json!({ "a": "1" }), json!({ "a": 1, "b": 2 }), json!([])] {
        assert!(wrong(&document, &schema, &value, "x").is_some(), "{value}");
    }
}

#[test]
fn answers_are_what_the_document_says() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let document = web.document();
    let kept = std::fs::read_to_string(project("docs/reference/openapi.json")).expect("a document");
    assert_eq!(document, serde_json::from_str::<Value>(&kept).expect("JSON"), "run `cargo xtask docs`");

    let check = |method: &str, template: &str, path: &str, body: Value| -> Value {
        let answer = web.ask(&web.owner, method, path, body);
        let responses = &document["paths"][template][method.to_lowercase()]["responses"];
        let said = responses.get(answer.status.to_string()).unwrap_or_else(|| &responses["default"]);
        let schema = &said["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {template} says nothing of {}", answer.status);
        let value: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(wrong(&document, schema, &value, "answer"), None, "{method} {path}: {value}");
        value
    };
    let same = |method: &str, path: &str, body: Value| check(method, path, path, body);
    let session = same("POST", "/v1/sessions", json!({ "labels": { "a": "b" } }))["id"].as_str().expect("an identity").to_owned();
    lab.turn(&session, "hello");
    let at = |path: &str| path.replace("{id}", &session).replace("{slug}", "lab").replace("{name}", "writer");
    same("POST", "/v1/envs", json!({ "name": "lab" }));
    same("POST", "/v1/agents", json!({ "name": "writer" }));
    same("POST", "/v1/tokens", json!({ "name": "t", "scope": "read" }));
    same("POST", "/v1/sessions", json!({ "engin": "x" }));
    same("POST", "/api/chat", json!({ "message": "" }));
    for path in [
        "/v1/sessions", "/v1/envs", "/v1/agents", "/v1/tokens", "/v1/tools", "/v1/engines", "/v1/secrets", "/v1/usage", "/v1/sandboxes",
        "/v1/status", "/health", "/ready", "/api/containers", "/api/chat",
    ] {
        same("GET", path, Value::Null);
    }
    for path in [
        "/v1/sessions/{id}", "/v1/sessions/{id}/turns", "/v1/sessions/{id}/events", "/v1/sessions/{id}/diff", "/v1/envs/{slug}",
        "/v1/envs/{slug}/files", "/v1/agents/{name}", "/api/chat/{id}", "/api/containers/{slug}",
    ] {
        check("GET", path, &at(path), Value::Null);
    }
    check("PATCH", "/v1/sessions/{id}", &at("/v1/sessions/{id}"), json!({ "title": "x" }));
    check("POST", "/v1/sessions/{id}/messages", &at("/v1/sessions/{id}/messages"), json!({ "text": "more" }));
    check("POST", "/v1/sessions/{id}/messages", &at("/v1/sessions/{id}/messages"), json!({ "texts": "more" }));
    check("GET", "/v1/sessions/{id}", "/v1/sessions/ses_00000000000000000000000000000000", Value::Null);
}

#[test]
fn the_page_needs_nobody_else() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    for (path, kind) in [("/docs", "text/html"), ("/docs/docs.js", "text/javascript"), ("/openapi.json", "application/json")] {
        let answer = web.ask("", "GET", path, Value::Null);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.to_lowercase().contains(kind), "{}", answer.head);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("http://") && !text.contains("https://"), "{path} leads elsewhere");
    }
    assert!(web.ask("", "GET", "/docs", Value::Null).head.contains("default-src 'none'"));
}
