//! `lazaret agent`.

use app::{AgentForm, SelfPolicy};
use http::Method;
use model::{Code, EgressRule, Failure};
use serde_json::{Value, json};

use super::lists::{self, named};
use super::{Context, text};
use crate::args;
use crate::config::Config;
use crate::exit::{Done, clean};
use crate::home::Home;
use crate::{out, places};

/// The verbs of the configured personas.
pub(super) const AGENT_VERBS: &[&str] = &["add", "list", "show", "set", "remove", "templates", "new", "update"];
/// The longest instructions.
const INSTRUCTIONS_BYTES_MAX: usize = 200 << 10;

pub(super) async fn run(context: &Context, verb: args::Agent) -> Done {
    if let args::Agent::Other(words) = &verb {
        return Err(not_a_verb(words.first().map_or("", String::as_str)));
    }
    let client = context.client()?;
    match verb {
        args::Agent::Add { name, fields } => {
            let form = apply(context, AgentForm { name, group: "default".to_owned(), ..AgentForm::default() }, &fields)?;
            print(context, &client.json(Method::POST, "/v1/agents", Some(&json!(form))).await?)?;
        }
        args::Agent::List => {
            let agents: Vec<AgentForm> = lists::all(&client, "/v1/agents").await?;
            if context.json {
                agents.iter().try_for_each(out::json)?;
            } else {
                let row = |a: &AgentForm| {
                    let text = |o: &Option<String>| o.clone().unwrap_or_default();
                    vec![a.name.clone(), a.group.clone(), text(&a.engine), text(&a.model), a.instructions.clone()]
                };
                out::table(&["agent", "group", "engine", "model", "instructions"], &agents.iter().map(row).collect::<Vec<_>>());
            }
        }
        args::Agent::Show { name } => show(context, &client.json(Method::GET, &path(&name)?, None).await?)?,
        args::Agent::Set { name, fields } => {
            let before: AgentForm = client.json(Method::GET, &path(&name)?, None).await?;
            let form = apply(context, before, &fields)?;
            print(context, &client.json(Method::PUT, &path(&name)?, Some(&json!(form))).await?)?;
        }
        args::Agent::Remove { name } => {
            let _: Value = client.json(Method::DELETE, &path(&name)?, None).await?;
        }
        args::Agent::Templates => super::agent_template::list(context, &client).await?,
        args::Agent::New { name, how } => return super::agent_template::apply(context, &client, &path(&name)?, how, false).await,
        args::Agent::Update { name, how } => return super::agent_template::apply(context, &client, &path(&name)?, how, true).await,
        args::Agent::Other(_) => {}
    }
    Ok(0)
}

fn not_a_verb(verb: &str) -> Failure {
    let failure = Failure::new(Code::Usage, format!("`{}` is not a verb of `lazaret agent`", verb.escape_debug()));
    if super::branches::VERBS.contains(&verb) {
        return failure.hint(format!("`lazaret agents {verb}` is for agents that work on branches"));
    }
    failure.hint(format!("its verbs are {}", AGENT_VERBS.join(", ")))
}

fn path(name: &str) -> Result<String, Failure> {
    Ok(format!("/v1/agents/{}", named("agent", name)?))
}

/// The form with what the flags name.
fn apply(context: &Context, mut form: AgentForm, fields: &args::AgentFields) -> Result<AgentForm, Failure> {
    if let Some(text) = &fields.instructions {
        form.instructions = text::given("--instructions", text, INSTRUCTIONS_BYTES_MAX)?;
    }
    let or_none = |text: &String| (!text.is_empty()).then(|| text.clone());
    if let Some(engine) = &fields.engine {
        form.engine = or_none(engine);
    }
    if let Some(model) = &fields.model {
        form.model = or_none(model);
    }
    if let Some(trigger) = &fields.trigger {
        form.trigger = or_none(trigger);
    }
    if let Some(group) = &fields.group {
        form.group = group.clone();
    }
    if !fields.tools.is_empty() {
        form.tools = fields.tools.clone();
    }
    if fields.all_for_members {
        form.member_tools = None;
    } else if !fields.member_tools.is_empty() {
        form.member_tools = Some(fields.member_tools.clone());
    }
    if fields.nothing_for_guests {
        (form.guest_tools, form.guest_egress) = (Vec::new(), Vec::new());
    }
    if !fields.guest_tools.is_empty() {
        form.guest_tools = fields.guest_tools.clone();
    }
    if !fields.fallback.is_empty() {
        form.fallback = fields.fallback.iter().filter(|name| !name.is_empty()).cloned().collect();
    }
    if !fields.skills.is_empty() {
        form.skills = fields.skills.iter().filter(|name| !name.is_empty()).cloned().collect();
    }
    let rules = |texts: &[String], flag: &str| {
        let rule = |text: &String| text.parse::<EgressRule>().map_err(|e| Failure::new(Code::Usage, e.to_string()).field(flag));
        texts.iter().map(rule).collect::<Result<Vec<_>, _>>()
    };
    if !fields.allow.is_empty() {
        form.egress = rules(&fields.allow, "--allow")?;
    }
    if !fields.guest_allow.is_empty() {
        form.guest_egress = rules(&fields.guest_allow, "--guest-allow")?;
    }
    if !fields.secrets.is_empty() {
        form.secrets = fields.secrets.clone();
    }
    if !fields.tenants.is_empty() {
        form.tenants = fields.tenants.iter().filter(|name| !name.is_empty()).cloned().collect();
    }
    let policy = |text: &String| -> Result<SelfPolicy, Failure> {
        serde_json::from_value(json!(text)).map_err(|e| Failure::new(Code::Usage, format!("`{text}` is no policy: {e}")))
    };
    if let Some(text) = &fields.instructions_policy {
        form.instructions_policy = policy(text)?;
    }
    if let Some(text) = &fields.memory_policy {
        form.memory_policy = policy(text)?;
    }
    let config = Config::load(Home::open(&context.env.home)?.path())?;
    if let Some(limits) = places::limits_if_any(&fields.limits, &config)? {
        form.limits = Some(limits);
    }
    Ok(form)
}

fn print(context: &Context, form: &AgentForm) -> Result<(), Failure> {
    if context.json {
        return out::json(form);
    }
    out::line(&form.name);
    Ok(())
}

fn show(context: &Context, form: &AgentForm) -> Result<(), Failure> {
    if context.json {
        return out::json(form);
    }
    let rules: Vec<String> = form.egress.iter().map(|rule| format!("{}:{}", rule.host, rule.port)).collect();
    let limits = form.limits.as_ref().map(|l| {
        let cpus = f64::from(l.cpu_millis) / 1000.0;
        format!(
            "memory {}, cpus {cpus}, pids {}, disk {}, {} s",
            out::bytes(l.memory_bytes),
            l.pids,
            out::bytes(l.disk_bytes),
            l.time.as_secs()
        )
    });
    let lines = [
        ("agent", form.name.clone()),
        ("group", form.group.clone()),
        ("engine", form.engine.clone().unwrap_or_default()),
        ("model", form.model.clone().unwrap_or_default()),
        ("fallback", form.fallback.join(" ")),
        ("tools", form.tools.join(" ")),
        ("for members", form.member_tools.as_ref().map(|tools| tools.join(" ")).unwrap_or_default()),
        ("for guests", form.guest_tools.join(" ")),
        ("skills", form.skills.join(" ")),
        ("hosts", rules.join(" ")),
        ("changes", format!("instructions {}, memory {}", form.instructions_policy.as_str(), form.memory_policy.as_str())),
        ("lent to", form.tenants.join(" ")),
        ("limits", limits.unwrap_or_default()),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        out::line(&format!("{name:<12} {}", clean(value)));
    }
    if !form.instructions.is_empty() {
        out::line(&format!("\n{}", clean(&form.instructions)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_word_names_the_right_one() {
        let hint = |failure: Failure| failure.hint.unwrap_or_default();
        assert!(hint(not_a_verb("merge")).contains("lazaret agents merge"));
        assert!(hint(not_a_verb("frobnicate")).contains("add, list"));
    }
}
