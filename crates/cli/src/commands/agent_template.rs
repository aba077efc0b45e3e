//! `lazaret agent templates|new|update`.

use std::collections::BTreeMap;
use std::path::Path;

use app::{TemplateApply, TemplateOrder, TemplatePlan, TemplateView};
use http::Method;
use model::{Code, Failure};
use serde_json::{Map, Value, json};

use super::{Context, branches, lists, text};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::out;

/// The files of a template.
const FILES: &[&str] = &["agent.toml", "instructions.md"];
/// The longest of them.
const FILE_BYTES_MAX: usize = 256 << 10;

pub(super) async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let all: Vec<TemplateView> = lists::all(client, "/v1/agent-templates").await?;
    if context.json {
        return all.iter().try_for_each(out::json);
    }
    for template in &all {
        out::line(&clean(&format!("{:<14} {}", template.name, template.description)));
        for (name, variable) in &template.variables {
            let must = if variable.required { " (must be given)" } else { "" };
            out::line(&clean(&format!("    --set {name}=...  {}{must}", variable.description)));
        }
    }
    Ok(())
}

/// Shows what would be made or changed, asks, and does exactly that.
pub(super) async fn apply(context: &Context, client: &Client, path: &str, how: args::AgentTemplate, update: bool) -> Done {
    if !update && how.template.is_none() {
        return Err(Failure::new(Code::Usage, "which template?").hint("`lazaret agent templates` names them").field("--template"));
    }
    let order = order(&how)?;
    let plan: TemplatePlan = client.json(Method::POST, &format!("{path}/plan"), Some(&json!(order))).await?;
    match (plan.updates, update) {
        (true, false) => {
            return Err(Failure::new(Code::Conflict, format!("there is an agent {} already", plan.agent))
                .hint(format!("bring it up to date: lazaret agent update {}", plan.agent)));
        }
        (false, true) => return Err(Failure::new(Code::NotFound, format!("there is no agent {}", plan.agent))),
        _ => {}
    }
    if context.json && (how.dry_run || plan.is_empty()) {
        out::json(&plan)?;
        return Ok(0);
    }
    if !context.json {
        show(&plan);
    }
    if how.dry_run || plan.is_empty() {
        return Ok(0);
    }
    if !how.yes && !branches::confirmed(if update { "change it so?" } else { "make it so?" })? {
        return Ok(1);
    }
    let apply = TemplateApply { order, hash: plan.hash };
    let done: TemplatePlan = client.json(Method::POST, &format!("{path}/apply"), Some(&json!(apply))).await?;
    if context.json {
        out::json(&done)?;
        return Ok(0);
    }
    out::line(&done.agent);
    done.hints.iter().for_each(|hint| out::note(&clean(hint)));
    Ok(0)
}

fn order(how: &args::AgentTemplate) -> Result<TemplateOrder, Failure> {
    let mut variables = Map::new();
    for pair in &how.set {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::new(Code::Usage, format!("`{}` is not NAME=VALUE", pair.escape_debug())).field("--set"))?;
        variables.insert(name.to_owned(), Value::from(value));
    }
    let Some(template) = &how.template else { return Ok(TemplateOrder { variables, ..TemplateOrder::default() }) };
    if !template.contains('/') {
        return Ok(TemplateOrder { template: Some(template.clone()), files: None, variables });
    }
    let mut files = BTreeMap::new();
    for name in FILES {
        let at = Path::new(template).join(name);
        if at.is_file() {
            files.insert((*name).to_owned(), text::given("--template", &format!("@{}", at.display()), FILE_BYTES_MAX)?);
        }
    }
    if files.is_empty() {
        return Err(Failure::new(Code::PathUnusable, format!("there is no {} in {template}", FILES[0])).field("--template"));
    }
    Ok(TemplateOrder { template: Some(template.clone()), files: Some(files), variables })
}

fn show(plan: &TemplatePlan) {
    let what = if plan.updates { "change" } else { "make" };
    out::line(&clean(&format!("{what} the agent {} by the template {}", plan.agent, plan.template)));
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => out::cut(text, 400),
        Value::Array(all) => {
            all.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    for field in plan.fields.iter().filter(|field| field.field != "name") {
        let mark = if field.how == "kept" { "=" } else { "~" };
        let note = if field.how == "kept" { "  (yours; the template has another word)" } else { "" };
        let shown = text(&field.then);
        if plan.updates || !shown.is_empty() {
            out::line(&clean(&format!("{mark} {:<13} {shown}{note}", field.field)));
        }
    }
    for task in plan.tasks.iter().filter(|task| task.makes) {
        out::line(&clean(&format!("+ task {} ({} {}), paused: {}", task.name, task.cron, task.zone, task.text)));
    }
    for missing in &plan.needs {
        out::line(&clean(&format!("! missing: {missing}")));
    }
    if plan.is_empty() {
        out::note("nothing changes");
    }
}
