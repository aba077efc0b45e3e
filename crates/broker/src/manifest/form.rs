//! The text of a manifest, and how it becomes a [`Manifest`]. One form for TOML and JSON: what Carapace puts below `provides`
//! and `install` may stand at the top too.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use model::{EgressRule, Risk, parse_bytes, parse_duration};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::shown;
use super::schema::{self, join};
use super::{
    Author, Credential, DESCRIPTION_CHARS_MAX, Manifest, ManifestError, OAuth, OWN_PROGRAM, PluginLimits, SessionPolicy, TOOLS_MAX,
    ToolDef, Tools, is_tool_name,
};

/// Which kind of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Toml,
    Json,
}

impl Kind {
    /// The file that holds it.
    pub(super) fn file(self) -> &'static str {
        match self {
            Kind::Toml => "manifest.toml",
            Kind::Json => "manifest.json",
        }
    }
}

/// Entries that a list of a manifest may have.
const LIST_MAX: usize = 64;
/// The longest short text: a name, an address, a word of a command.
const TEXT_CHARS_MAX: usize = 512;
/// Credentials that a plugin may need.
const CREDENTIALS_MAX: usize = 16;
/// What a plugin's process may have at most, whatever it asks for.
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 16 << 20..=8 << 30;
const CPU_MILLIS: std::ops::RangeInclusive<u32> = 50..=16_000;
const PIDS: std::ops::RangeInclusive<u32> = 4..=2048;
/// A call that takes longer would be answered after its client has given up.
const TIME_MILLIS: std::ops::RangeInclusive<u128> = 100..=30_000;
const IDLE_MILLIS: std::ops::RangeInclusive<u128> = 1_000..=86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    description: String,
    version: Option<String>,
    app_compat: Option<String>,
    author: Option<AuthorForm>,
    provides: Option<Provides>,
    channels: Option<Vec<String>>,
    tools: Option<Value>,
    low: Option<Vec<String>>,
    prefix: Option<String>,
    #[serde(default)]
    subscribes: Vec<String>,
    allowed_groups: Option<Vec<String>>,
    #[serde(default)]
    session: SessionPolicy,
    install: Option<Install>,
    credentials: Option<Vec<Credential>>,
    config_schema: Option<Value>,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    hosts: Vec<EgressRule>,
    #[serde(default)]
    hosts_from_config: bool,
    #[serde(default)]
    limits: LimitsForm,
    #[serde(default)]
    per_agent: bool,
    #[serde(default)]
    state: bool,
    #[serde(default)]
    vault: bool,
    oauth: Option<OAuth>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AuthorForm {
    Name(String),
    Full(Author),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provides {
    #[serde(default)]
    channels: Vec<String>,
    tools: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Install {
    #[serde(default)]
    credentials: Vec<Credential>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsForm {
    memory: Option<String>,
    cpus: Option<f64>,
    pids: Option<u32>,
    time: Option<String>,
    idle: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolForm {
    name: String,
    server_name: Option<String>,
    description: Option<String>,
    #[serde(alias = "risk_level")]
    risk: Option<Risk>,
    #[serde(alias = "schema")]
    arguments_schema: Option<Value>,
}

/// A manifest whose command is not settled.
#[derive(Debug)]
pub(super) struct Read {
    kind: Kind,
    manifest: Manifest,
}

impl Read {
    /// The command, or the handler that stands for one.
    pub(super) fn with_command(self, handler: Option<String>) -> Result<Manifest, ManifestError> {
        let Self { kind, mut manifest } = self;
        if manifest.command.is_empty() {
            let missing = || ManifestError::Key {
                file: kind.file(),
                key: "command".to_owned(),
                why: "is missing, and there is no handler.py, handler.js or handler.sh; write for example [\"python3\", \"./handler.py\"]"
                    .to_owned(),
            };
            let handler = handler.ok_or_else(missing)?;
            let runner = match handler.rsplit('.').next() {
                Some("py") => "python3",
                Some("js") => "node",
                _ => "/bin/sh",
            };
            manifest.command = vec![runner.to_owned(), format!("./{handler}")];
        }
        Ok(manifest)
    }

    pub(super) fn needs_handler(&self) -> bool {
        self.manifest.command.is_empty()
    }
}

/// Reads and checks a text.
pub(super) fn read(text: &str, kind: Kind) -> Result<Read, ManifestError> {
    let form: Form = match kind {
        Kind::Toml => toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            ManifestError::Syntax { file: kind.file(), line, why: shown_why(e.message()) }
        })?,
        Kind::Json => serde_json::from_str(text).map_err(|e| ManifestError::Syntax {
            file: kind.file(),
            line: e.line().max(1),
            why: shown_why(&e.to_string()),
        })?,
    };
    let manifest = form.check().map_err(|(key, why)| ManifestError::Key { file: kind.file(), key, why })?;
    Ok(Read { kind, manifest })
}

/// What a parser said; it may quote the text.
fn shown_why(why: &str) -> String {
    why.chars()
        .take(300)
        .flat_map(|c| {
            if c.is_control() || !c.is_ascii() { c.escape_unicode().to_string() } else { c.to_string() }.chars().collect::<Vec<_>>()
        })
        .collect()
}

type Wrong = (String, String);

fn wrong<T>(key: impl Into<String>, why: impl Into<String>) -> Result<T, Wrong> {
    Err((key.into(), why.into()))
}

impl Form {
    fn check(self) -> Result<Manifest, Wrong> {
        text_at("description", &self.description, DESCRIPTION_CHARS_MAX)?;
        if self.description.trim().is_empty() {
            return wrong("description", "is empty: say in one line what the plugin is for");
        }
        let version = self.version.unwrap_or_else(|| "0.0.0".to_owned());
        text_at("version", &version, 64)?;
        if let Some(wanted) = &self.app_compat {
            compat(wanted)?;
        }
        let provides = self.provides.unwrap_or(Provides { channels: Vec::new(), tools: None });
        let channels = one_of("channels", self.channels, (!provides.channels.is_empty()).then_some(provides.channels))?.unwrap_or_default();
        names("channels", &channels, model::is_name, "is not a name: small letters, digits and `-`")?;
        let tools = one_of("tools", self.tools, provides.tools)?.unwrap_or_else(|| Value::Array(Vec::new()));
        let tools = tools_of(&tools, self.low, self.prefix)?;
        if matches!(&tools, Tools::Named(tools) if tools.is_empty()) && channels.is_empty() {
            return wrong("tools", "offers nothing: name tools, or write tools = \"all\" to offer what the server lists");
        }
        list("subscribes", &self.subscribes)?;
        let groups = self.allowed_groups;
        list("allowed_groups", groups.as_deref().unwrap_or_default())?;
        let own = self.install.map(|install| install.credentials).filter(|all| !all.is_empty());
        let credentials = one_of("credentials", self.credentials, own)?.unwrap_or_default();
        check_credentials(&credentials)?;
        if let Some(schema) = &self.config_schema {
            schema::check(schema).map_err(|(at, why)| (join("config_schema", &at), why))?;
        }
        command(&self.command)?;
        for (name, value) in &self.env {
            variable(&format!("env.{}", shown(name)), name)?;
            text_at(&format!("env.{name}"), value, 4096)?;
        }
        if self.env.len() > LIST_MAX || self.hosts.len() > LIST_MAX {
            return wrong("hosts", format!("has more than {LIST_MAX} entries"));
        }
        if let Some(oauth) = &self.oauth {
            check_oauth(oauth)?;
        }
        let author = self.author.map(|author| match author {
            AuthorForm::Name(name) => Author { name, url: None },
            AuthorForm::Full(author) => author,
        });
        if let Some(author) = &author {
            text_at("author.name", &author.name, TEXT_CHARS_MAX)?;
            text_at("author.url", author.url.as_deref().unwrap_or_default(), TEXT_CHARS_MAX)?;
        }
        Ok(Manifest {
            description: self.description,
            version,
            author,
            command: self.command,
            env: self.env,
            channels,
            tools,
            subscribes: self.subscribes,
            allowed_groups: groups.map(|groups| groups.into_iter().collect()),
            session: self.session,
            credentials,
            config_schema: self.config_schema,
            config: self.config,
            hosts: self.hosts,
            hosts_from_config: self.hosts_from_config,
            limits: self.limits.check()?,
            per_agent: self.per_agent,
            state: self.state,
            vault: self.vault,
            oauth: self.oauth,
        })
    }
}

/// A value that may stand in one of two places, not in both.
fn one_of<T>(key: &str, here: Option<T>, there: Option<T>) -> Result<Option<T>, Wrong> {
    match (here, there) {
        (Some(_), Some(_)) => wrong(key, "is written twice: at the top and in the table that Carapace uses"),
        (here, there) => Ok(here.or(there)),
    }
}

fn tools_of(value: &Value, low: Option<Vec<String>>, prefix: Option<String>) -> Result<Tools, Wrong> {
    let prefix = prefix.unwrap_or_default();
    let begins = prefix.is_empty() || (prefix.len() <= 32 && is_tool_name(prefix.trim_end_matches('_')));
    if !begins {
        return wrong("prefix", "does not begin a tool's name: small letters, digits and `_`, at most 32");
    }
    let low: BTreeSet<String> = low.unwrap_or_default().into_iter().collect();
    if low.len() > TOOLS_MAX {
        return wrong("low", format!("names more than {TOOLS_MAX} tools"));
    }
    let entries = match value {
        Value::String(word) if word == "all" => return Ok(Tools::All { low, prefix }),
        Value::Array(entries) if entries.len() <= TOOLS_MAX => entries,
        Value::Array(entries) => return wrong("tools", format!("has {} entries; at most {TOOLS_MAX} are taken", entries.len())),
        _ => return wrong("tools", "is neither a list of tools nor \"all\""),
    };
    let (mut tools, mut seen) = (Vec::new(), HashSet::new());
    for (n, entry) in entries.iter().enumerate() {
        let tool = tool_of(&format!("tools[{n}]"), entry, &low, &prefix)?;
        if !seen.insert(tool.name.clone()) {
            return wrong(format!("tools[{n}].name"), format!("is `{}` for the second time", tool.name));
        }
        tools.push(tool);
    }
    if let Some(name) = low.iter().find(|name| !tools.iter().any(|t| t.name == **name || t.server_name == **name)) {
        return wrong("low", format!("names `{}`, which is none of the tools", shown(name)));
    }
    Ok(Tools::Named(tools))
}

fn tool_of(at: &str, entry: &Value, low: &BTreeSet<String>, prefix: &str) -> Result<ToolDef, Wrong> {
    let form = match entry {
        Value::String(name) => ToolForm {
            name: Manifest::tool_name(prefix, name).unwrap_or_else(|| name.clone()),
            server_name: Some(name.clone()),
            description: None,
            risk: None,
            arguments_schema: None,
        },
        entry => ToolForm::deserialize(entry).map_err(|e| (at.to_owned(), format!("is not a tool: {}", shown_why(&e.to_string()))))?,
    };
    if !is_tool_name(&form.name) {
        let why = format!(
            "is `{}`; a tool is named by small letters, digits and `_`, at most 64, and not like one of Lazaret's own",
            shown(&form.name)
        );
        return wrong(format!("{at}.name"), why);
    }
    let server_name = form.server_name.unwrap_or_else(|| form.name.clone());
    text_at(&format!("{at}.server_name"), &server_name, TEXT_CHARS_MAX)?;
    if let Some(description) = &form.description {
        text_at(&format!("{at}.description"), description, DESCRIPTION_CHARS_MAX)?;
    }
    if let Some(schema) = &form.arguments_schema {
        schema::check(schema).map_err(|(key, why)| (join(&format!("{at}.arguments_schema"), &key), why))?;
    }
    let is_low = low.contains(&form.name) || low.contains(&server_name);
    let risk = match form.risk {
        Some(Risk::High) if is_low => return wrong("low", format!("names `{}`, whose risk is high", form.name)),
        Some(risk) => risk,
        None if is_low => Risk::Low,
        None => Risk::High,
    };
    Ok(ToolDef { name: form.name, server_name, description: form.description, risk, schema: form.arguments_schema })
}

fn check_credentials(all: &[Credential]) -> Result<(), Wrong> {
    if all.len() > CREDENTIALS_MAX {
        return wrong("credentials", format!("has more than {CREDENTIALS_MAX} entries"));
    }
    let mut seen = HashSet::new();
    for (n, credential) in all.iter().enumerate() {
        let at = |key: &str| format!("credentials[{n}].{key}");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        let key = credential.key.as_str();
        if key.is_empty() || key.len() > 32 || key.starts_with('.') || !key.bytes().all(plain) {
            return wrong(at("key"), format!("is `{}`; letters, digits, `_`, `-` and `.` are taken, at most 32", shown(key)));
        }
        if !seen.insert(key) {
            return wrong(at("key"), format!("is `{key}` for the second time"));
        }
        for (name, text) in [
            ("description", Some(credential.description.as_str())),
            ("obtain_url", credential.obtain_url.as_deref()),
            ("format_hint", credential.format_hint.as_deref()),
        ] {
            text_at(&at(name), text.unwrap_or_default(), TEXT_CHARS_MAX)?;
        }
        if let Some(name) = &credential.env {
            variable(&at("env"), name)?;
        }
    }
    Ok(())
}

/// A variable that a plugin may set for its own process.
fn variable(at: &str, name: &str) -> Result<(), Wrong> {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return wrong(at, "is not the name of a variable: capitals, digits and `_`");
    }
    let ours = ["PATH", "HOME", "USER", "SHELL", "PWD", "NO_PROXY"];
    if ours.contains(&name) || ["LD_", "LAZARET_"].iter().any(|p| name.starts_with(p)) || name.ends_with("_PROXY") {
        return wrong(at, "is a variable that Lazaret sets itself");
    }
    Ok(())
}

fn command(words: &[String]) -> Result<(), Wrong> {
    if words.len() > LIST_MAX {
        return wrong("command", format!("has more than {LIST_MAX} words"));
    }
    for word in words {
        text_at("command", word, 4096)?;
    }
    let Some(first) = words.first() else { return Ok(()) };
    if first == OWN_PROGRAM {
        let named = words.len() == 2 && model::is_name(&words[1]);
        return if named { Ok(()) } else { wrong("command", format!("needs one name after {OWN_PROGRAM}")) };
    }
    for word in words.iter().filter(|word| word.starts_with("./")) {
        if word.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..") {
            return wrong("command", format!("names `{}`, which is no plain path in the folder", shown(word)));
        }
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+".contains(&b);
    let is_program = first.starts_with("./") || (!first.is_empty() && !first.starts_with('-') && first.bytes().all(plain));
    if !is_program {
        return wrong(
            "command",
            format!("begins with `{}`; a file of the folder (./handler) or the name of a program is taken", shown(first)),
        );
    }
    Ok(())
}

fn check_oauth(oauth: &OAuth) -> Result<(), Wrong> {
    let urls = [
        ("oauth.authorize_url", oauth.authorize_url.as_deref()),
        ("oauth.token_url", Some(oauth.token_url.as_str())),
        ("oauth.device_url", oauth.device_url.as_deref()),
    ];
    for (key, url) in urls {
        let Some(url) = url else { continue };
        text_at(key, url, TEXT_CHARS_MAX)?;
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://127.0.0.1:"));
        if rest.is_none_or(|rest| rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_graphic())) {
            return wrong(key, "is not an https:// address");
        }
    }
    if oauth.authorize_url.is_none() && oauth.device_url.is_none() {
        return wrong("oauth", "has neither authorize_url nor device_url");
    }
    text_at("oauth.client_id", &oauth.client_id, TEXT_CHARS_MAX)?;
    list("oauth.scopes", &oauth.scopes)
}

impl LimitsForm {
    fn check(self) -> Result<PluginLimits, Wrong> {
        let mut limits = PluginLimits::default();
        if let Some(text) = self.memory {
            let bytes = parse_bytes(&text).filter(|bytes| MEMORY_BYTES.contains(bytes));
            limits.memory_bytes = bytes.ok_or_else(|| ("limits.memory".to_owned(), "is not a size from 16m to 8g".to_owned()))?;
        }
        if let Some(cpus) = self.cpus {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the cast saturates, and the range is checked next"
            )]
            let millis = (cpus * 1000.0) as u32;
            if !CPU_MILLIS.contains(&millis) {
                return wrong("limits.cpus", "is not a number from 0.05 to 16");
            }
            limits.cpu_millis = millis;
        }
        if let Some(pids) = self.pids {
            if !PIDS.contains(&pids) {
                return wrong("limits.pids", "is not a number from 4 to 2048");
            }
            limits.pids = pids;
        }
        if let Some(text) = self.time {
            let time = parse_duration(&text).filter(|time| TIME_MILLIS.contains(&time.as_millis()));
            limits.time = time.ok_or_else(|| ("limits.time".to_owned(), "is not a time from 100ms to 30s".to_owned()))?;
        }
        if let Some(text) = self.idle {
            let idle = parse_duration(&text).filter(|idle| IDLE_MILLIS.contains(&idle.as_millis()));
            limits.idle = idle.ok_or_else(|| ("limits.idle".to_owned(), "is not a time from 1s to 1d".to_owned()))?;
        }
        Ok(limits)
    }
}

fn text_at(at: &str, text: &str, max: usize) -> Result<(), Wrong> {
    if text.chars().count() > max {
        return wrong(at, format!("is longer than {max} characters"));
    }
    if text.contains('\0') {
        return wrong(at, "holds a NUL");
    }
    Ok(())
}

fn list(at: &str, all: &[String]) -> Result<(), Wrong> {
    if all.len() > LIST_MAX {
        return wrong(at, format!("has more than {LIST_MAX} entries"));
    }
    all.iter().try_for_each(|text| text_at(at, text, TEXT_CHARS_MAX))
}

fn names(at: &str, all: &[String], fits: fn(&str) -> bool, why: &str) -> Result<(), Wrong> {
    list(at, all)?;
    match all.iter().find(|name| !fits(name)) {
        Some(name) => wrong(at, format!("`{}` {why}", shown(name))),
        None => Ok(()),
    }
}

/// Whether this version is one that the plugin works with: comparisons like `>=0.1.0 <2`, all of which must hold.
fn compat(wanted: &str) -> Result<(), Wrong> {
    let not_read = || ("app_compat".to_owned(), "is not a list of comparisons like >=0.1.0 <2.0.0".to_owned());
    let own = version(env!("CARGO_PKG_VERSION")).ok_or_else(not_read)?;
    for part in wanted.split([' ', ',']).filter(|part| !part.is_empty() && *part != "*") {
        let digits = part.find(|c: char| c.is_ascii_digit()).ok_or_else(not_read)?;
        let (sign, number) = part.split_at(digits);
        let number = version(number).ok_or_else(not_read)?;
        let holds = match sign {
            ">=" => own >= number,
            ">" => own > number,
            "<=" => own <= number,
            "<" => own < number,
            "=" | "" => own == number,
            "^" if number.0 > 0 => own >= number && own.0 == number.0,
            "^" | "~" => own >= number && (own.0, own.1) == (number.0, number.1),
            _ => return Err(not_read()),
        };
        if !holds {
            return wrong("app_compat", format!("wants Lazaret {}, and this is {}", shown(wanted), env!("CARGO_PKG_VERSION")));
        }
    }
    Ok(())
}

fn version(text: &str) -> Option<(u64, u64, u64)> {
    let mut parts = text.split(['-', '+']).next()?.split('.');
    let mut part = || parts.next().map_or(Some(0), |p| if p == "x" { Some(0) } else { p.parse().ok() });
    let found = (part()?, part()?, part()?);
    parts.next().is_none().then_some(found)
}
