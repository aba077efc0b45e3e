//! What is taken and what is refused.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

const LEAST: &str = "description = \"d\"\ncommand = [\"server\"]\ntools = \"all\"\n";

fn with(lines: &str) -> Result<Manifest, ManifestError> {
    Manifest::from_toml(&format!("{LEAST}{lines}"))
}

#[track_caller]
fn refused(text: &str, key: &str) -> String {
    let error = Manifest::from_toml(text).expect_err(text);
    let failure = error.failure();
    assert_eq!(failure.code, model::Code::PluginInvalid);
    assert!(failure.message.contains(key), "{key} is named in: {}", failure.message);
    failure.message
}

#[test]
fn three_lines_are_a_manifest() {
    let manifest = Manifest::from_toml(LEAST).expect("a manifest");
    assert_eq!(manifest.limits, PluginLimits::default());
    assert_eq!((manifest.hosts.len(), manifest.allowed_groups.as_ref()), (0, None));
    let tool = manifest.tool_for("getThing-2").expect("a tool");
    assert_eq!((tool.name.as_str(), tool.risk), ("get_thing_2", Risk::High));
    let manifest = with("low = [\"getThing-2\"]\nprefix = \"fs_\"\n").expect("a manifest");
    let tool = manifest.tool_for("getThing-2").expect("a tool");
    assert_eq!((tool.name.as_str(), tool.risk), ("fs_get_thing_2", Risk::Low));
    assert_eq!(Manifest::from_toml(LEAST).ok().and_then(|m| m.tool_for("list_tools")), None, "reserved");
    assert_eq!(Manifest::tool_name("", "1st"), None);
}

#[test]
fn a_whole_manifest() {
    let text = r#"
description = "Notes."
version = "1.2.3"
author = "me"
command = ["python3", "./handler.py", "--fast"]
hosts = ["api.example.com", "127.0.0.1:8080"]
allowed_groups = ["work"]
per_agent = true
state = true
session = "resume"
env = { MODE = "x" }
[limits]
memory = "64m"
cpus = 0.5
time = "5s"
idle = "1m"
[[tools]]
name = "note_add"
server_name = "note.add"
description = "Adds."
risk = "high"
[tools.arguments_schema]
type = "object"
additionalProperties = false
required = ["text"]
properties.text = { type = "string", maxLength = 100 }
properties.tags = { type = "array", items = { type = "string" } }
[[credentials]]
key = "token"
description = "A token."
env = "NOTES_TOKEN"
"#;
    let manifest = Manifest::from_toml(text).expect("a manifest");
    let tool = &manifest.named_tools().expect("named")[0];
    assert_eq!((tool.server_name.as_str(), tool.risk), ("note.add", Risk::High));
    assert_eq!(tool.schema.as_ref().map(|s| &s["properties"]["text"]["maxLength"]), Some(&json!(100)));
    assert_eq!(manifest.limits.cpu_millis, 500);
    assert_eq!(manifest.hosts[1].to_string(), "127.0.0.1:8080");
    assert!(manifest.credentials[0].required && manifest.per_agent && manifest.state);
    assert_eq!(manifest.tool_for("other"), None, "only what the manifest names");
}

#[test]
fn carapaces_form_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let manifest = json!({
        "description": "Echo.", "version": "0.1.0", "app_compat": ">=0.0.1", "author": { "name": "me", "url": "https://example.com" },
        "provides": { "channels": [], "tools": [{ "name": "echo", "description": "Echoes.", "risk_level": "low", "arguments_schema": {
            "type": "object", "additionalProperties": false, "required": ["text"], "properties": { "text": { "type": "string", "maxLength": 9 } } } }] },
        "subscribes": ["message.inbound"], "session": "explicit",
        "install": { "credentials": [{ "key": "API_KEY", "description": "k", "required": false, "obtain_url": "https://x", "format_hint": "abc" }] },
        "config_schema": { "type": "object", "additionalProperties": false, "properties": { "a": { "type": "string", "default": "b" } } }
    });
    fs::write(dir.path().join("manifest.json"), manifest.to_string()).expect("write");
    let error = Manifest::read_dir(dir.path()).expect_err("no handler");
    assert!(error.failure().message.contains("handler.py"), "{error}");
    fs::write(dir.path().join("handler.js"), "").expect("write");
    let manifest = Manifest::read_dir(dir.path()).expect("a manifest");
    assert_eq!(manifest.command, ["node", "./handler.js"]);
    assert_eq!(manifest.session, SessionPolicy::Explicit);
    assert_eq!(manifest.credentials[0].key, "API_KEY");
    assert_eq!(manifest.named_tools().map(|t| t[0].risk), Some(Risk::Low));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    assert!(refused("description = \"d\"\ncommand = [\"x\"]\ntools = \"all\"\nhook = 1\n", "hook").contains("line 4"));
    assert!(refused("description = \"d\"\ntools = [\n", "manifest.toml").contains("line"));
    let tool = |schema: &str| format!("description = \"d\"\ncommand = [\"x\"]\n[[tools]]\nname = \"t\"\narguments_schema = {schema}\n");
    for (text, key) in [
        ("command = [\"x\"]\ntools = \"all\"".to_owned(), "description"),
        ("description = \"d\"\ntools = \"all\"".to_owned(), "command"),
        ("description = \"d\"\ncommand = [\"x\"]".to_owned(), "tools"),
        (format!("{LEAST}hosts = [\"*.example.com\"]"), "line 4"),
        (format!("{LEAST}hosts = [\"a b\"]"), "HOST[:PORT]"),
        (format!("{LEAST}limits.memory = \"lots\""), "limits.memory"),
        (format!("{LEAST}limits.time = \"31s\""), "limits.time"),
        (format!("{LEAST}limits.cpus = nan"), "limits.cpus"),
        (format!("{LEAST}limits.gpu = 1"), "gpu"),
        (format!("{LEAST}env = {{ LD_PRELOAD = \"x\" }}"), "env.LD_PRELOAD"),
        (format!("{LEAST}env = {{ HTTPS_PROXY = \"x\" }}"), "env.HTTPS_PROXY"),
        (format!("{LEAST}app_compat = \">=99.0.0\""), "app_compat"),
        (format!("{LEAST}app_compat = \"new\""), "app_compat"),
        (format!("{LEAST}channels = [\"../x\"]"), "channels"),
        (format!("{LEAST}provides.tools = []"), "twice"),
        (format!("{LEAST}[[credentials]]\nkey = \"../k\""), "credentials[0].key"),
        (format!("{LEAST}[[credentials]]\nkey = \"k\"\n[[credentials]]\nkey = \"k\""), "credentials[1].key"),
        (format!("{LEAST}[oauth]\ntoken_url = \"http://x\"\nclient_id = \"c\""), "oauth"),
        (LEAST.replace("\"server\"", "\"../server\""), "command"),
        (LEAST.replace("\"server\"", "\"/bin/sh\""), "command"),
        (LEAST.replace("\"server\"", "\"-x\""), "command"),
        (LEAST.replace("\"server\"", "\"node\", \"./../x\""), "command"),
        (LEAST.replace("\"server\"", "\"@lazaret\""), "command"),
        (LEAST.replace("\"all\"", "\"some\""), "tools"),
        (LEAST.replace("\"all\"", "[\"list_tools\"]"), "tools[0].name"),
        (LEAST.replace("\"all\"", "[\"a\", \"a\"]"), "tools[1].name"),
        (LEAST.replace("\"all\"", "[{ name = \"A\" }]"), "tools[0].name"),
        (LEAST.replace("\"all\"", "[{ name = \"a\", handler = \"x\" }]"), "tools[0]"),
        (tool("{ type = \"object\" }"), "tools[0].arguments_schema.additionalProperties"),
        (tool("{ type = \"string\" }"), "tools[0].arguments_schema"),
        (
            tool("{ type = \"object\", additionalProperties = false, properties.a = { type = \"object\" } }"),
            "properties.a.additionalProperties",
        ),
        (
            tool("{ type = \"object\", additionalProperties = false, properties.a = { type = \"array\", items = { type = \"object\" } } }"),
            "properties.a.items.additionalProperties",
        ),
        (
            tool("{ type = \"object\", additionalProperties = false, properties.a = { anyOf = [{ type = \"object\" }] } }"),
            "anyOf[0].additionalProperties",
        ),
        (
            tool("{ type = \"object\", additionalProperties = false, properties.a = { type = [\"object\", \"null\"] } }"),
            "properties.a.additionalProperties",
        ),
        (
            tool("{ type = \"object\", additionalProperties = false, properties.a = { properties = {} } }"),
            "properties.a.additionalProperties",
        ),
        (tool("{ type = \"object\", additionalProperties = false, properties.a = {} }"), "properties.a.type"),
        (tool("{ type = \"object\", additionalProperties = false, properties.a = { type = \"array\" } }"), "properties.a.items"),
        (tool("{ type = \"object\", additionalProperties = false, properties.a = { \"$ref\" = \"http://x\" } }"), "properties.a"),
        (tool("{ type = \"object\", additionalProperties = false, patternProperties = {} }"), "patternProperties"),
        (tool("{ type = \"object\", additionalProperties = false, properties.constructor = { type = \"string\" } }"), "constructor"),
    ] {
        refused(&text, key);
    }
}

#[test]
fn schemas_have_limits() {
    let nest = |levels: usize| {
        let mut schema = json!({ "type": "string" });
        for _ in 1..levels {
            schema = json!({ "type": "object", "additionalProperties": false, "properties": { "a": schema } });
        }
        schema
    };
    assert_eq!(schema::check(&nest(SCHEMA_DEPTH_MAX)), Ok(()));
    assert!(schema::check(&nest(SCHEMA_DEPTH_MAX + 1)).is_err());
    let wide = |n: usize| {
        let properties: Map<String, Value> = (0..n).map(|n| (format!("p{n}"), json!({ "type": "string" }))).collect();
        json!({ "type": "object", "additionalProperties": false, "properties": properties })
    };
    assert_eq!(schema::check(&wide(SCHEMA_PROPERTIES_MAX)), Ok(()));
    assert!(schema::check(&wide(SCHEMA_PROPERTIES_MAX + 1)).is_err());
}

#[test]
fn files_of_the_folder_are_plain() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, error) = (dir.path(), |dir: &std::path::Path| Manifest::read_dir(dir).map(drop).map_err(|e| e.failure().message));
    assert!(error(path).is_err_and(|m| m.contains("neither")));
    fs::write(path.join("real"), LEAST).expect("write");
    symlink("real", path.join("manifest.toml")).expect("link");
    assert!(error(path).is_err_and(|m| m.contains("not a plain file")), "a link is not followed");
    fs::remove_file(path.join("manifest.toml")).expect("remove");
    fs::write(path.join("manifest.toml"), LEAST.replace("\"server\"", "\"node\", \"./handler.js\"")).expect("write");
    assert!(error(path).is_err_and(|m| m.contains("handler.js")), "the handler is missing");
    symlink("/etc/passwd", path.join("handler.js")).expect("link");
    assert!(error(path).is_err_and(|m| m.contains("handler.js")), "the handler is a link");
    fs::remove_file(path.join("handler.js")).expect("remove");
    fs::write(path.join("handler.js"), "").expect("write");
    assert_eq!(error(path), Ok(()));
    fs::create_dir(path.join("skills")).expect("make");
    symlink("/etc/passwd", path.join("skills/a.md")).expect("link");
    assert!(error(path).is_err_and(|m| m.contains("skills/a.md")));
    fs::remove_file(path.join("skills/a.md")).expect("remove");
    fs::write(path.join("skills/a\u{202e}.md"), "x").expect("write");
    assert!(error(path).is_err_and(|m| m.contains("\\u{202e}")), "what reorders text is escaped");
    fs::remove_file(path.join("skills/a\u{202e}.md")).expect("remove");
    fs::write(path.join("skills/a.md"), "text").expect("write");
    assert_eq!(skills(path).map(|s| s.len()).ok(), Some(1));
    fs::write(path.join("manifest.json"), "{}").expect("write");
    assert!(error(path).is_err_and(|m| m.contains("both")));
    fs::remove_file(path.join("manifest.json")).expect("remove");
    fs::write(path.join("manifest.toml"), vec![b'#'; 65_537]).expect("write");
    assert!(error(path).is_err_and(|m| m.contains("65536")));
}
