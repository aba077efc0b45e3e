//! What a job's form may say: every field has a limit, and a refusal names its field.
//!
//! Pure: what must be looked up (profile, engine, agent, env, hosts) is found wrong where it is looked up.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Code, Failure, PROMPT_BYTES_MAX};
use serde_json::{Map, Value};

use super::{JobFile, JobForm};

/// The longest `agent_id`.
const AGENT_ID_CHARS_MAX: usize = 64;
/// The longest name of an engine or profile.
const WORD_CHARS_MAX: usize = 64;
/// The longest name of a model.
const MODEL_CHARS_MAX: usize = 128;
/// The longest system prompt.
const SYSTEM_PROMPT_CHARS_MAX: usize = 500_000;
/// Rounds with the model.
const TURNS_MAX: u32 = 100;
/// The largest budget, in US dollars.
const BUDGET_USD_MAX: f64 = 50.0;
/// The longest address that a webhook goes to.
const WEBHOOK_URL_CHARS_MAX: usize = 2048;
/// The longest secret that webhooks are signed with.
const WEBHOOK_SECRET_BYTES_MAX: usize = 256;
/// The highest priority.
const PRIORITY_MAX: u8 = 9;
/// The longest time that a job may ask for: a day.
const TIMEOUT_S_MAX: u64 = 86_400;
/// The longest delay: 30 days.
const DELAY_S_MAX: u64 = 30 * 86_400;
/// How often a job may be tried again.
const RETRIES_MAX: u8 = 10;
/// Plugins, globs, labels and variables that one job names.
const ENTRIES_MAX: usize = 64;
/// The engine's own tools, or hosts, that one job names.
const RULES_MAX: usize = 256;
/// The longest name of a tool, glob or label.
const ENTRY_CHARS_MAX: usize = 256;
/// The longest key of a label.
const LABEL_KEY_CHARS_MAX: usize = 63;
/// The longest value of a variable for the engine.
const VARIABLE_BYTES_MAX: usize = 32 << 10;
/// The variables of a prompt, as JSON.
const VARS_BYTES_MAX: usize = 1 << 20;
/// MCP servers or a schema, as JSON.
const JSON_BYTES_MAX: usize = 256 << 10;
/// How deep values in a form may lie in one another.
const JSON_DEPTH_MAX: usize = 32;
/// Files that come with one job.
pub const JOB_FILES_MAX: usize = 1000;
/// Bytes of all files of one job together.
pub const JOB_FILES_BYTES_MAX: usize = 64 << 20;
/// The longest path of a file, below the working directory.
const PATH_BYTES_MAX: usize = 1024;
/// The longest address of a repository.
const REPO_CHARS_MAX: usize = 2048;
/// The longest name of a branch, tag or commit.
const REF_CHARS_MAX: usize = 256;

/// Checks a form, and takes out of its prompts what no engine can be told: NUL characters.
///
/// # Errors
/// A field has a value that it may not have.
pub fn check(form: &mut JobForm) -> Result<(), Failure> {
    for text in [&mut form.prompt, &mut form.system_prompt].into_iter().flatten() {
        strip(text);
    }
    form.prompt_vars.values_mut().chain(form.claude_md_vars.values_mut()).for_each(strip_all);
    check_words(form)?;
    check_texts(form)?;
    check_numbers(form)?;
    check_lists(form)?;
    check_webhook(form)?;
    check_repo(form)?;
    check_files(&form.files)
}

fn strip(text: &mut String) {
    if text.contains('\0') {
        text.retain(|c| c != '\0');
    }
}

fn strip_all(value: &mut Value) {
    match value {
        Value::String(text) => strip(text),
        Value::Array(items) => items.iter_mut().for_each(strip_all),
        Value::Object(fields) => fields.values_mut().for_each(strip_all),
        _ => {}
    }
}

fn wrong(field: &str, why: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, format!("{field}: {}", why.into())).field(field)
}

fn require(is_good: bool, field: &str, why: &str) -> Result<(), Failure> {
    if is_good { Ok(()) } else { Err(wrong(field, why)) }
}

/// Between 1 and `max` characters, all of them in the set.
fn is_word(text: &str, max: usize, more: &[u8]) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
    !text.is_empty() && text.len() <= max && text.bytes().all(plain)
}

/// Between 1 and `max` characters, none of which steers anything.
fn is_plain(text: &str, max: usize) -> bool {
    !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control)
}

fn check_words(form: &JobForm) -> Result<(), Failure> {
    let id = is_word(&form.agent_id, AGENT_ID_CHARS_MAX, b"_-");
    require(id, "agent_id", "1 to 64 letters, digits, `_` and `-` are needed")?;
    let optional = |value: &Option<String>, field: &str, more: &[u8], max: usize, why: &str| {
        require(value.as_deref().is_none_or(|text| is_word(text, max, more)), field, why)
    };
    optional(&form.engine, "engine", b"._-", WORD_CHARS_MAX, "1 to 64 letters, digits, `.`, `_` and `-` are taken")?;
    optional(&form.profile, "profile", b"_-", WORD_CHARS_MAX, "1 to 64 letters, digits, `_` and `-` are taken")?;
    optional(&form.model, "model", b"._/-:@", MODEL_CHARS_MAX, "1 to 128 letters, digits, `.`, `_`, `/`, `:`, `@` and `-` are taken")?;
    for (value, field) in [(&form.agent, "agent"), (&form.env, "env")] {
        require(value.as_deref().is_none_or(model::is_name), field, "small letters, digits and hyphens are taken, at most 63")?;
    }
    Ok(())
}

fn check_texts(form: &JobForm) -> Result<(), Failure> {
    if let Some(prompt) = &form.prompt {
        let too_long = format!("it has {} bytes; at most {PROMPT_BYTES_MAX} are taken", prompt.len());
        require(prompt.len() <= PROMPT_BYTES_MAX, "prompt", &too_long)?;
    }
    if let Some(text) = form.system_prompt.as_deref().filter(|text| text.len() > SYSTEM_PROMPT_CHARS_MAX) {
        require(text.chars().count() <= SYSTEM_PROMPT_CHARS_MAX, "system_prompt", "at most 500,000 characters are taken")?;
    }
    for (vars, field) in [(&form.prompt_vars, "prompt_vars"), (&form.claude_md_vars, "claude_md_vars")] {
        check_vars(vars, field)?;
    }
    for (value, field) in [(&form.mcp_config, "mcp_config"), (&form.output_schema, "output_schema")] {
        let Some(value) = value else { continue };
        let is_form = value.is_object() || (field == "output_schema" && value.is_boolean());
        require(is_form, field, "it is not a JSON object")?;
        check_json(value, field, JSON_BYTES_MAX)?;
    }
    Ok(())
}

fn check_vars(vars: &Map<String, Value>, field: &str) -> Result<(), Failure> {
    require(vars.len() <= RULES_MAX, field, "at most 256 variables are taken")?;
    require(vars.keys().all(|name| is_plain(name, WORD_CHARS_MAX)), field, "a variable's name has 1 to 64 characters")?;
    let bytes: usize = vars.iter().map(|(name, value)| name.len() + size_of(value)).sum();
    require(bytes <= VARS_BYTES_MAX, field, "the variables have more than 1 MiB together")?;
    require(vars.values().all(|value| depth_of(value) <= JSON_DEPTH_MAX), field, "values lie too deep in one another")
}

fn check_json(value: &Value, field: &str, bytes_max: usize) -> Result<(), Failure> {
    require(size_of(value) <= bytes_max, field, &format!("it has more than {bytes_max} bytes"))?;
    require(depth_of(value) <= JSON_DEPTH_MAX, field, "values lie too deep in one another")
}

/// About how many bytes a value has as JSON.
fn size_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| size_of(item) + 1).sum::<usize>(),
        Value::Object(fields) => 2 + fields.iter().map(|(name, item)| name.len() + 4 + size_of(item)).sum::<usize>(),
        _ => 8,
    }
}

/// How deep values lie in one another. JSON that was parsed is at most 128 deep, so this ends.
fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

fn check_numbers(form: &JobForm) -> Result<(), Failure> {
    let in_turns = form.max_turns.is_none_or(|n| (1..=TURNS_MAX).contains(&n));
    require(in_turns, "max_turns", "1 to 100 rounds are taken")?;
    let in_budget = form.max_budget_usd.is_none_or(|usd| usd > 0.0 && usd <= BUDGET_USD_MAX);
    require(in_budget, "max_budget_usd", "above 0 and at most 50 dollars are taken")?;
    require(form.priority.is_none_or(|n| n <= PRIORITY_MAX), "priority", "it is from 0 to 9")?;
    require(form.timeout_s.is_none_or(|n| (1..=TIMEOUT_S_MAX).contains(&n)), "timeout_s", "1 to 86,400 seconds are taken")?;
    require(form.delay_s.is_none_or(|n| n <= DELAY_S_MAX), "delay_s", "at most 2,592,000 seconds are taken")?;
    require(form.retries.is_none_or(|n| n <= RETRIES_MAX), "retries", "0 to 10 are taken")
}

fn check_lists(form: &JobForm) -> Result<(), Failure> {
    require(form.plugins.len() <= ENTRIES_MAX, "plugins", "at most 64 are taken")?;
    require(form.plugins.iter().all(|name| is_word(name, WORD_CHARS_MAX, b"._-")), "plugins", "a plugin's name is wrong")?;
    let tools = form.allowed_tools.as_deref().unwrap_or_default();
    require(tools.len() <= RULES_MAX, "allowed_tools", "at most 256 are taken")?;
    require(tools.iter().all(|tool| is_plain(tool, ENTRY_CHARS_MAX)), "allowed_tools", "a tool has 1 to 256 characters")?;
    require(form.egress.len() <= RULES_MAX, "egress", "at most 256 rules are taken")?;
    require(form.labels.len() <= ENTRIES_MAX, "labels", "at most 64 are taken")?;
    for (key, value) in &form.labels {
        let is_good = is_word(key, LABEL_KEY_CHARS_MAX, b"._/-") && (value.is_empty() || is_plain(value, ENTRY_CHARS_MAX));
        require(is_good, "labels", "a key has 1 to 63 letters, digits, `.`, `_`, `/` and `-`, a value at most 256 characters")?;
    }
    require(form.variables.len() <= ENTRIES_MAX, "variables", "at most 64 are taken")?;
    for (name, value) in &form.variables {
        let is_name = is_word(name, ENTRY_CHARS_MAX, b"_") && !name.starts_with(|c: char| c.is_ascii_digit());
        require(is_name, "variables", "a name has letters, digits and `_`, and begins with no digit")?;
        require(value.len() <= VARIABLE_BYTES_MAX && !value.contains('\0'), "variables", "a value has at most 32 KiB and no NUL")?;
    }
    require(form.artifacts.len() <= ENTRIES_MAX, "artifacts", "at most 64 globs are taken")?;
    for glob in &form.artifacts {
        let below = is_plain(glob, ENTRY_CHARS_MAX) && !glob.starts_with('/') && !glob.split('/').any(|part| part == "..");
        require(below, "artifacts", "a glob is a path below the working directory, at most 256 characters, without `..`")?;
    }
    Ok(())
}

fn check_webhook(form: &JobForm) -> Result<(), Failure> {
    if let Some(url) = &form.webhook_url {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or("");
        let is_address = !host.is_empty() && !host.starts_with(['/', ':', '?', '#']);
        require(is_address, "webhook_url", "an address that begins with http:// or https:// is needed")?;
        let is_plain = url.len() <= WEBHOOK_URL_CHARS_MAX && url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        require(is_plain, "webhook_url", "at most 2,048 characters of ASCII without spaces are taken")?;
        let authority = host.split(['/', '?', '#']).next().unwrap_or("");
        require(!authority.contains('@'), "webhook_url", "an address with a user name is not taken; use webhook_secret")?;
    }
    let Some(secret) = &form.webhook_secret else { return Ok(()) };
    let is_good = is_plain(secret, WEBHOOK_SECRET_BYTES_MAX) && secret.len() <= WEBHOOK_SECRET_BYTES_MAX;
    require(is_good, "webhook_secret", "1 to 256 bytes without control characters are taken")
}

fn check_repo(form: &JobForm) -> Result<(), Failure> {
    if let Some(repo) = &form.repo {
        let is_good = is_plain(repo, REPO_CHARS_MAX) && !repo.starts_with('-') && !repo.contains(' ');
        require(is_good, "repo", "an address or path of at most 2,048 characters is needed")?;
    }
    let Some(reference) = &form.reference else { return Ok(()) };
    require(form.repo.is_some(), "ref", "it says something about `repo`, which is left out")?;
    let is_good = is_word(reference, REF_CHARS_MAX, b"._/-+#@") && !reference.starts_with(['-', '/']) && !reference.contains("..");
    require(is_good, "ref", "a branch, tag or commit is needed: at most 256 letters, digits, `.`, `_`, `/`, `+`, `#`, `@` and `-`")
}

fn check_files(files: &[JobFile]) -> Result<(), Failure> {
    require(files.len() <= JOB_FILES_MAX, "files", "at most 1,000 are taken")?;
    let mut seen = HashSet::new();
    let mut bytes = 0;
    for file in files {
        check_job_path(&file.path)?;
        require(seen.insert(file.path.as_str()), "files", &format!("`{}` comes twice", file.path.escape_debug()))?;
        bytes += file.data.len() / 4 * 3;
        if bytes > JOB_FILES_BYTES_MAX + 3 * JOB_FILES_MAX {
            return Err(too_large());
        }
        let is_base64 = STANDARD.decode(&file.data).is_ok();
        require(is_base64, "files", &format!("the data of `{}` is not base64", file.path.escape_debug()))?;
    }
    for path in &seen {
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends {
            require(!seen.contains(&path[..end]), "files", &format!("`{}` is a file and a directory", path[..end].escape_debug()))?;
        }
    }
    Ok(())
}

pub(super) fn too_large() -> Failure {
    Failure::new(Code::TooLarge, format!("the files of a job have at most {JOB_FILES_BYTES_MAX} bytes together")).field("files")
}

/// Checks where a file of a job is put: a path below the working directory.
///
/// # Errors
/// It is absolute, leads out, is an address, or is no path.
pub fn check_job_path(path: &str) -> Result<(), Failure> {
    let shown: String = path.chars().take(128).flat_map(char::escape_debug).collect();
    let refuse = |why: &str| Err(wrong("files", format!("`{shown}` {why}")));
    if path.contains("://") {
        return Err(wrong("files", format!("`{shown}` is an address; files come as bytes"))
            .hint("send the bytes, name a repository in `repo`, or let the agent fetch it from a host in `egress`"));
    }
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return refuse("has not 1 to 1,024 bytes");
    }
    if path.chars().any(char::is_control) || path.contains('\\') {
        return refuse("holds a control character or a backslash");
    }
    if path.starts_with('/') {
        return refuse("is absolute; paths are below the working directory");
    }
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.len() > 255;
    if path.split('/').any(bad) {
        return refuse("has an empty, too long, `.` or `..` part");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(extra: Value) -> JobForm {
        let mut whole = json!({ "agent_id": "test", "prompt": "x" });
        if let (Some(whole), Value::Object(extra)) = (whole.as_object_mut(), extra) {
            whole.extend(extra);
        }
        serde_json::from_value(whole).expect("a form")
    }

    #[track_caller]
    fn refused(extra: Value, field: &str) {
        let failure = check(&mut form(extra.clone())).expect_err(&extra.to_string());
        assert_eq!(failure.field.as_deref(), Some(field), "{extra}: {failure}");
        assert_eq!(failure.code, Code::Usage, "{extra}: {failure}");
    }

    #[track_caller]
    fn taken(extra: Value) {
        if let Err(failure) = check(&mut form(extra.clone())) {
            panic!("{extra}: {failure}");
        }
    }

    #[test]
    fn words_have_their_letters() {
        for id in ["", "a b", "a/b", "é", &"a".repeat(65), "a\n"] {
            refused(json!({ "agent_id": id }), "agent_id");
        }
        taken(json!({ "agent_id": "A_b-9" }));
        refused(json!({ "engine": "../x" }), "engine");
        refused(json!({ "profile": "a.b" }), "profile");
        refused(json!({ "model": "a b" }), "model");
        refused(json!({ "model": "" }), "model");
        refused(json!({ "model": "m".repeat(129) }), "model");
        taken(json!({ "model": "anthropic/claude-3.5_x", "engine": "claude-code", "profile": "code-review" }));
        refused(json!({ "agent": "A" }), "agent");
        refused(json!({ "env": "../x" }), "env");
    }

    #[test]
    fn numbers_have_their_bounds() {
        let cases = [
            ("max_turns", json!(0), json!(1)),
            ("max_turns", json!(101), json!(100)),
            ("max_budget_usd", json!(0), json!(0.01)),
            ("max_budget_usd", json!(-1), json!(50)),
            ("max_budget_usd", json!(50.01), json!(50.0)),
            ("priority", json!(10), json!(9)),
            ("timeout_s", json!(0), json!(1)),
            ("timeout_s", json!(86_401), json!(86_400)),
            ("delay_s", json!(2_592_001), json!(2_592_000)),
            ("retries", json!(11), json!(10)),
        ];
        for (field, bad, good) in cases {
            refused(json!({ field: bad }), field);
            taken(json!({ field: good }));
        }
    }

    #[test]
    fn texts_and_lists_have_their_lengths() {
        refused(json!({ "system_prompt": "x".repeat(500_001) }), "system_prompt");
        taken(json!({ "system_prompt": "é".repeat(500_000) }));
        refused(json!({ "plugins": ["a b"] }), "plugins");
        refused(json!({ "plugins": vec!["a"; 65] }), "plugins");
        refused(json!({ "allowed_tools": [""] }), "allowed_tools");
        refused(json!({ "allowed_tools": vec!["a"; 257] }), "allowed_tools");
        refused(json!({ "labels": { "a b": "x" } }), "labels");
        refused(json!({ "labels": { "a": "x".repeat(257) } }), "labels");
        taken(json!({ "labels": { "team/a": "", "b": "é" } }));
        refused(json!({ "variables": { "1A": "x" } }), "variables");
        refused(json!({ "variables": { "A": "x\u{0}" } }), "variables");
        refused(json!({ "artifacts": ["/etc/*"] }), "artifacts");
        refused(json!({ "artifacts": ["a/../*"] }), "artifacts");
        taken(json!({ "artifacts": ["**/*.md", "out/*"] }));
        refused(json!({ "mcp_config": [] }), "mcp_config");
        refused(json!({ "output_schema": 7 }), "output_schema");
        refused(json!({ "prompt_vars": { "": 1 } }), "prompt_vars");
        refused(json!({ "prompt_vars": { "a": "x".repeat((1 << 20) + 1) } }), "prompt_vars");
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        refused(json!({ "claude_md_vars": { "a": deep } }), "claude_md_vars");
    }

    #[test]
    fn webhooks_and_repositories_are_addresses() {
        for url in ["ftp://x", "http://", "https:///x", "x", "http://a b", "http://u:p@x/", &format!("http://x/{}", "a".repeat(2048))] {
            refused(json!({ "webhook_url": url }), "webhook_url");
        }
        taken(json!({ "webhook_url": "https://example.com/hook?x=1", "webhook_secret": "s" }));
        refused(json!({ "webhook_secret": "" }), "webhook_secret");
        refused(json!({ "repo": "--upload-pack=x" }), "repo");
        refused(json!({ "ref": "main" }), "ref");
        for reference in ["-x", "a..b", "a b", ""] {
            refused(json!({ "repo": "https://example.com/x.git", "ref": reference }), "ref");
        }
        taken(json!({ "repo": "https://example.com/x.git", "ref": "feature/a#1" }));
    }

    #[test]
    fn files_stay_below_the_working_directory() {
        let file = |path: &str| json!({ "files": [{ "path": path, "data": "eA==" }] });
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", ".", "a/.", "a\\b", "a\nb", "a\u{0}b", "https://example.com/x"] {
            refused(file(path), "files");
        }
        refused(file(&"a/".repeat(600)), "files");
        refused(file(&"a".repeat(256)), "files");
        taken(file("src/a b.txt"));
        refused(json!({ "files": [{ "path": "a", "data": "no base64!" }] }), "files");
        refused(json!({ "files": [{ "path": "a", "data": "" }, { "path": "a", "data": "" }] }), "files");
        refused(json!({ "files": [{ "path": "a", "data": "" }, { "path": "a/b", "data": "" }] }), "files");
        let many: Vec<Value> = (0..=JOB_FILES_MAX).map(|n| json!({ "path": n.to_string(), "data": "" })).collect();
        refused(json!({ "files": many }), "files");
    }

    #[test]
    fn no_engine_is_told_a_nul() {
        let mut form = form(json!({ "prompt": "a\u{0}b", "system_prompt": "\u{0}", "prompt_vars": { "x": ["a\u{0}"] } }));
        check(&mut form).expect("good");
        assert_eq!((form.prompt.as_deref(), form.system_prompt.as_deref()), (Some("ab"), Some("")));
        assert_eq!(form.prompt_vars["x"], json!(["a"]));
    }
}
