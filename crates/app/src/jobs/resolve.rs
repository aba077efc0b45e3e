//! From what is asked to what is run.

use std::time::Duration;

use model::{Code, EgressRule, Failure, Limits, Money};
use profiles::Profile;
use serde_json::{Value, json};

use super::{Hooks, JobForm, OutputFormat, ResolvedJob};
use crate::{App, Caller, PluginState};

/// The profile of a job that names none.
pub(crate) const DEFAULT_PROFILE: &str = "default";

/// Brings a form, its profile and the configuration together, for the tenant of `caller`. The request beats the profile;
/// limits and hooks of the profile hold unless the request has limits of its own. The outcome is kept with the job.
///
/// # Errors
/// The profile, a template, a hook or the engine is missing, a variable is missing or of the wrong type, or there is no
/// prompt.
pub(crate) async fn resolve(app: &App, caller: &Caller, form: &JobForm) -> Result<ResolvedJob, Failure> {
    let name = form.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
    let (profile, profile_version) = app.configs_of(caller).profile(name).await?;
    resolve_with(app, caller, form, name, (profile, profile_version)).await
}

/// The same with this profile.
pub(super) async fn resolve_with(
    app: &App,
    caller: &Caller,
    form: &JobForm,
    name: &str,
    (mut profile, profile_version): (Profile, u64),
) -> Result<ResolvedJob, Failure> {
    let configs = app.configs_of(caller);
    let limits = limits(app, form, &profile);
    let timeout = form.timeout_s.or(profile.timeout_s).map(Duration::from_secs);
    if form.prompt.is_some() {
        // What is asked outright needs no template.
        profile.prompt = None;
    }
    let fixed = fixed(limits.as_ref().unwrap_or(&app.settings().limits), timeout);
    let rendered = configs.render(&profile, &form.prompt_vars, &form.claude_md_vars, &fixed).await?;
    let prompt = match (&form.prompt, rendered.prompt) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(prompt)) => prompt,
        (None, None) => {
            return Err(Failure::new(Code::PromptInvalid, format!("the profile `{name}` has no prompt of its own, and the job has none"))
                .field("prompt"));
        }
    };
    if prompt.trim().is_empty() {
        return Err(Failure::new(Code::PromptInvalid, "the prompt is empty").field("prompt"));
    }
    let engine = form.engine.clone().or_else(|| profile.engine.clone());
    let engine_text = match &engine {
        Some(engine) => app.described_engine(caller, engine).await?,
        None => None,
    };
    let hooks = Hooks { pre: configs.script(profile.pre.as_ref()).await?, post: configs.script(profile.post.as_ref()).await? };
    Ok(ResolvedJob {
        profile: name.to_owned(),
        profile_version,
        // A profile's model is one of its engine's.
        model: form.model.clone().or_else(|| profile.model.clone().filter(|_| form.engine.is_none() || form.engine == profile.engine)),
        engine,
        prompt,
        instructions: rendered.instructions.trim().to_owned(),
        system_prompt: form.system_prompt.clone().or_else(|| profile.system_prompt.clone()),
        allowed_tools: form.allowed_tools.clone().or_else(|| profile.allowed_tools.clone()),
        plugins: plugins(app, form, &profile).await?,
        mcp_config: form.mcp_config.clone().filter(|config| !config.is_null()),
        max_turns: form.max_turns.or(profile.max_turns),
        budget: form.max_budget_usd.or(profile.max_budget_usd).and_then(Money::from_usd),
        output_format: form.output_format.or_else(|| format_of(&profile)).unwrap_or_default(),
        timeout,
        limits,
        egress: egress(form, &profile)?,
        hooks,
        engine_text,
    })
}

/// The limits that were asked for, or the profile's over the configured ones; `None` for those.
fn limits(app: &App, form: &JobForm, profile: &Profile) -> Option<Limits> {
    let is_plain = profile.memory_bytes.is_none() && profile.cpu_millis.is_none();
    if form.limits.is_some() || is_plain {
        return form.limits;
    }
    let configured = app.settings().limits;
    Some(Limits {
        memory_bytes: profile.memory_bytes.unwrap_or(configured.memory_bytes),
        cpu_millis: profile.cpu_millis.unwrap_or(configured.cpu_millis),
        ..configured
    })
}

/// What every template may use without declaring it.
fn fixed(limits: &Limits, timeout: Option<Duration>) -> serde_json::Map<String, Value> {
    let memory = match limits.memory_bytes {
        bytes if bytes % (1 << 30) == 0 => format!("{}g", bytes >> 30),
        bytes => format!("{}m", bytes >> 20),
    };
    let cpus = format!("{:.1}", f64::from(limits.cpu_millis) / 1000.0);
    let values = [("timeout", json!(timeout.unwrap_or(limits.time).as_secs())), ("mem_limit", json!(memory)), ("cpu_limit", json!(cpus))];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The plugins of the profile and the request. One whose tools are not there stops the job before it begins: its agent would
/// do without them and say nothing.
async fn plugins(app: &App, form: &JobForm, profile: &Profile) -> Result<Vec<String>, Failure> {
    let mut plugins = profile.plugins.clone();
    plugins.extend(form.plugins.iter().cloned());
    plugins.sort();
    plugins.dedup();
    if !plugins.is_empty() {
        app.plugins_settled(crate::plugins::SETTLE_AGENT).await;
    }
    for name in &plugins {
        let view = app.plugins().show(name).await.map_err(|failure| failure.field("plugins"))?;
        if view.state == PluginState::Ready {
            continue;
        }
        let why = view.why.as_ref().map(|why| format!(": {}", why.message)).unwrap_or_default();
        let failure = Failure::new(Code::Conflict, format!("the plugin `{name}` of this job is not ready{why}")).field("plugins");
        let hint = view.why.and_then(|why| why.hint).unwrap_or_else(|| format!("see: lazaret plugin show {name}"));
        return Err(failure.hint(hint));
    }
    Ok(plugins)
}

fn format_of(profile: &Profile) -> Option<OutputFormat> {
    Some(match profile.output_format.as_deref()? {
        "text" => OutputFormat::Text,
        "stream-json" => OutputFormat::StreamJson,
        _ => OutputFormat::Json,
    })
}

fn egress(form: &JobForm, profile: &Profile) -> Result<Vec<EgressRule>, Failure> {
    let mut rules = form.egress.clone();
    for rule in &profile.egress {
        let rule: EgressRule =
            rule.parse().map_err(|e: model::EgressRuleError| Failure::new(Code::Usage, e.to_string()).field("egress"))?;
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    Ok(rules)
}
