//! `lazaret spawn`.

use std::collections::BTreeMap;
use std::path::Path;

use app::{BranchHistory, SpawnForm, Spawned};
use http::Method;
use model::{Code, EgressRule, Failure, Money};
use serde_json::json;

use super::super::begin::again;
use super::super::own_engine::{Brought, brought};
use super::super::{Context, text};
use super::{repo, wait};
use crate::args;
use crate::client::{Client, collect, full, internal};
use crate::config::Config;
use crate::exit::{Done, clean};
use crate::home::{Home, random_hex};
use crate::{out, places};

/// Types that one directory brings.
const TYPES_MAX: usize = 64;
/// The longest file of one, in bytes.
const TYPE_BYTES_MAX: u64 = 16 << 10;

pub(in super::super) async fn run(context: &Context, flags: args::Spawn) -> Done {
    let task = text::prompt(&flags.task)?;
    let home = Home::open(&context.env.home)?;
    let config = Config::load(home.path())?;
    let client = Client::new(&home, context.may_start);
    let (may_wait, is_many) = (flags.wait, flags.n.is_some());
    let form = form(context, &config, flags, task)?;
    let spawned = ask(&client, &form).await?;
    if !context.json {
        say(&spawned);
    }
    if !may_wait {
        if context.json {
            spawned.items.iter().try_for_each(out::json)?;
        }
        return Ok(u8::from(!spawned.failed.is_empty()));
    }
    if !is_many && let [one] = &spawned.items[..] {
        return wait::watch(context, &client, &one.agent, Some(one.turn.clone())).await;
    }
    let agents: Vec<_> = spawned.items.into_iter().map(|one| one.agent).collect();
    let some_failed = u8::from(!spawned.failed.is_empty());
    Ok(wait::all(context, &client, agents, None).await?.max(some_failed))
}

/// Asks for the agents; accepted once, however often it has to be said.
async fn ask(client: &Client, form: &SpawnForm) -> Result<Spawned, Failure> {
    let key = random_hex::<16>()?;
    let sent = again(async || {
        let places = std::iter::once(&form.repo).chain(form.also.iter().map(|other| &other.repo));
        let opened = places.map(|place| repo::open(place)).collect::<Result<Vec<_>, _>>()?;
        let ticket = client.hand_over(&opened).await?;
        let mut body = json!(form);
        body["ticket"] = json!(ticket.name);
        let request = http::Request::builder()
            .method(Method::POST)
            .uri("/v1/branches")
            .header("host", "lazaret")
            .header("content-type", "application/json")
            .header("idempotency-key", &key)
            .body(full(serde_json::to_vec(&body).map_err(|e| internal(&e.to_string()))?))
            .map_err(|e| internal(&e.to_string()))?;
        collect(client.connection().await?.send_request(request).await?).await
    });
    serde_json::from_slice(&sent.await?).map_err(|e| internal(&format!("the daemon's answer is not understood: {e}")))
}

fn form(context: &Context, config: &Config, flags: args::Spawn, task: String) -> Result<SpawnForm, Failure> {
    let (place, also) = repo::several(&flags.repo)?;
    let wrong = |flag: &str, why: String| Failure::new(Code::Usage, format!("{flag}: {why}")).field(flag);
    let rule = |text: &String| text.parse::<EgressRule>().map_err(|e| wrong("--allow", e.to_string()));
    let mut limits = flags.limits;
    limits.timeout = limits.timeout.or(flags.time);
    let budget = flags.max_cost.as_deref().map(str::parse::<Money>).transpose().map_err(|e| wrong("--max-cost", e.to_string()))?;
    let mut labels = BTreeMap::new();
    for text in &flags.labels {
        let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| wrong("--label", format!("`{}` is not KEY=VALUE", text.escape_debug())))?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    let own = flags.engine.as_deref().map(|engine| brought(engine, app::OWN_ENGINE_DIR)).transpose()?.flatten();
    let (engine, program, engine_dir) = match own {
        Some(Brought { name, program, root }) => (Some(name), Some(program), root),
        None => (flags.engine, None, None),
    };
    Ok(SpawnForm {
        author: repo::author(&place, &context.env),
        repo: place,
        also,
        branch: flags.branch,
        task,
        from: flags.from,
        types: flags.types.as_deref().map(types).transpose()?.unwrap_or_default(),
        kind: flags.kind,
        n: flags.n,
        agent: flags.agent,
        engine,
        program,
        engine_dir,
        model: flags.model,
        history: if flags.history == "branch" { BranchHistory::Branch } else { BranchHistory::All },
        sparse: flags.sparse.iter().map(|dir| dir.trim_end_matches('/').to_owned()).collect(),
        carry: flags.carry,
        files: flags.files,
        commit: flags.commit,
        check: flags.check,
        egress: flags.allow.iter().map(rule).collect::<Result<_, _>>()?,
        secrets: flags.secrets,
        budget,
        limits: places::limits_if_any(&limits, config)?,
        priority: flags.priority,
        labels,
    })
}

/// The types of a directory that the user names, by their files' names.
fn types(dir: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let unusable =
        |path: &Path, why: String| Failure::new(Code::PathUnusable, format!("{} cannot be read: {why}", path.display())).field("--types");
    let mut types = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|e| unusable(dir, e.to_string()))? {
        let path = entry.map_err(|e| unusable(dir, e.to_string()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".toml")).map(str::to_owned) else { continue };
        let meta = std::fs::symlink_metadata(&path).map_err(|e| unusable(&path, e.to_string()))?;
        if !meta.is_file() || meta.len() > TYPE_BYTES_MAX || types.len() >= TYPES_MAX {
            return Err(unusable(&path, format!("there are at most {TYPES_MAX} types, files of at most {TYPE_BYTES_MAX} bytes")));
        }
        types.insert(name, std::fs::read_to_string(&path).map_err(|e| unusable(&path, e.to_string()))?);
    }
    Ok(types)
}

/// What came of it, for a person.
fn say(spawned: &Spawned) {
    for one in &spawned.items {
        let how = if one.is_new { "a new agent" } else { "a further task for the agent" };
        let found = if spawned.inferred && one.is_new { ", found out" } else { "" };
        out::line(&clean(&format!("{}: {how} (type {}{found}, {})", one.agent.branch, one.agent.kind, one.agent.engine)));
    }
    for one in &spawned.failed {
        out::note(&clean(&format!("{} did not begin: error[{}]: {}", one.branch, one.code, one.message)));
    }
    for note in &spawned.notes {
        out::note(&clean(note));
    }
    if spawned.is_fallback {
        out::note("no provider key is stored: this is a rehearsal, answered by a script and not by a model");
        out::note("to use a model: lazaret secret set anthropic -");
    }
}
