//! `lazaret skill`.

use app::{SkillReview, SkillState, SkillVersionView, SkillView};
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::plugin::{Packed, packed};
use super::sandbox::escaped;
use super::{Context, branches, lists};
use crate::args;
use crate::client::{Client, collect, internal};
use crate::exit::{Done, clean};
use crate::out;

/// Findings that are only told: nothing of a skill is hidden by them.
const NOTES: &[&str] = &["binary"];

pub(super) async fn run(context: &Context, verb: args::Skill) -> Done {
    let client = context.client()?;
    match verb {
        args::Skill::Add { source, how } => return add(context, &client, Order { source, replaces: None, how }).await,
        args::Skill::List => {
            let skills: Vec<SkillView> = lists::all(&client, "/v1/skills").await?;
            if context.json { skills.iter().try_for_each(out::json)? } else { table(&skills) }
        }
        args::Skill::Show { name, versions } => {
            let skill: SkillView = client.json(Method::GET, &path(&name)?, None).await?;
            say(context, &skill)?;
            if versions {
                let all: Vec<SkillVersionView> = lists::all(&client, &format!("{}/versions", path(&name)?)).await?;
                for one in &all {
                    if context.json {
                        out::json(one)?;
                    } else {
                        let text = format!("version {}  {}  {}  by {}", one.version, one.hash, out::ago(one.approved), one.approved_by);
                        out::line(&clean(&text));
                    }
                }
            }
        }
        args::Skill::Update { name, source, how } => {
            let before: SkillView = client.json(Method::GET, &path(&name)?, None).await?;
            let known = Some(before.source).filter(|source| !matches!(source.as_str(), "archive" | "shipped"));
            let source = source.or(known).ok_or_else(|| {
                Failure::new(Code::Usage, format!("it is not known where {name} came from"))
                    .hint(format!("lazaret skill update {name} SOURCE"))
            })?;
            return add(context, &client, Order { source, replaces: Some(name), how }).await;
        }
        args::Skill::Verify { name, restore, approve } => return verify(context, &client, name, restore, approve).await,
        args::Skill::Remove { name, force } => {
            let _: Value = client.json(Method::DELETE, &format!("{}?force={force}", path(&name)?), None).await?;
        }
    }
    Ok(0)
}

fn path(name: &str) -> Result<String, Failure> {
    Ok(format!("/v1/skills/{}", lists::named("skill", name)?))
}

/// A skill to put in force.
struct Order {
    source: String,
    replaces: Option<String>,
    how: args::SkillHow,
}

/// Shows what would be put in force, asks, and does exactly that.
async fn add(context: &Context, client: &Client, order: Order) -> Done {
    let review = review(client, &order).await?;
    let is_same = review.replaces.is_some() && review.changes.is_empty();
    if context.json && (order.how.dry_run || is_same) {
        out::json(&review)?;
        return Ok(0);
    }
    if !context.json {
        shown(&review);
    }
    if order.how.dry_run {
        return Ok(0);
    }
    if is_same {
        out::note("nothing changed");
        return Ok(0);
    }
    let hides = review.findings.iter().any(|finding| !NOTES.contains(&finding.kind.as_str()));
    match &order.how.hash {
        Some(hash) if *hash != review.hash => {
            return Err(Failure::new(Code::SkillInvalid, format!("its files are {}, not {hash}", review.hash))
                .hint("somebody changed it, or the hash is of another version"));
        }
        Some(_) => {}
        None if order.how.yes && hides => {
            return Err(Failure::new(Code::SkillInvalid, "something in it is not seen by who reads it, or acts by itself: see above")
                .hint(format!("who wants it all the same says so by its hash: --hash {}", review.hash)));
        }
        None if order.how.yes => {}
        None if !branches::confirmed("put it in force?")? => return Ok(1),
        None => {}
    }
    let made = put(client, &order, &review.hash).await?;
    if context.json {
        out::json(&made)?;
    } else {
        out::line(&clean(&format!("{} is in force, version {}", made.name, made.version)));
        if made.agents.is_empty() {
            out::note(&format!("give it to an agent: lazaret agent set AGENT --skill {}", made.name));
        }
    }
    Ok(0)
}

async fn review(client: &Client, order: &Order) -> Result<SkillReview, Failure> {
    match packed(&order.source).await? {
        Packed::Remote(source) => {
            let body = json!({ "source": source, "path": order.how.path, "replaces": order.replaces, "hash": null });
            client.json(Method::POST, "/v1/skill-clones", Some(&body)).await
        }
        Packed::Here(label, body) => {
            let response = client.send(Method::POST, &address("/v1/skill-reviews", &label, order, None), "application/x-tar", body).await?;
            serde_json::from_slice(&collect(response).await?).map_err(|e| internal(&e.to_string()))
        }
    }
}

async fn put(client: &Client, order: &Order, hash: &str) -> Result<SkillView, Failure> {
    match packed(&order.source).await? {
        Packed::Remote(source) => {
            let body = json!({ "source": source, "path": order.how.path, "replaces": order.replaces, "hash": hash });
            client.json(Method::POST, "/v1/skill-clones", Some(&body)).await
        }
        Packed::Here(label, body) => {
            let response = client.send(Method::POST, &address("/v1/skills", &label, order, Some(hash)), "application/x-tar", body).await?;
            serde_json::from_slice(&collect(response).await?).map_err(|e| internal(&e.to_string()))
        }
    }
}

fn address(at: &str, label: &str, order: &Order, hash: Option<&str>) -> String {
    let part = |name: &str, value: Option<&str>| value.map_or_else(String::new, |value| format!("&{name}={}", escaped(value)));
    let (path, replaces) = (part("path", order.how.path.as_deref()), part("replaces", order.replaces.as_deref()));
    format!("{at}?source={}{path}{replaces}{}", escaped(label), part("hash", hash))
}

/// Everything that a yes is for.
fn shown(review: &SkillReview) {
    out::line(&clean(&format!("{}: {}", review.name, review.description)));
    out::line(&clean(&format!("from {}", review.source)));
    out::line(&review.hash);
    match review.replaces {
        Some(version) => {
            out::line(&format!("against version {version}:"));
            review.changes.iter().for_each(|change| out::line(&clean(&format!("  {change}"))));
        }
        None => files(&review.files),
    }
    found(&review.findings);
}

fn files(all: &[app::SkillFile]) {
    for file in all {
        let program = if file.executable { "  a program" } else { "" };
        out::line(&clean(&format!("  {:>9}  {}{program}", out::bytes(file.bytes), file.path)));
    }
}

fn found(all: &[app::SkillFinding]) {
    for finding in all {
        let place = if finding.line > 0 { format!("{}:{}", finding.file, finding.line) } else { finding.file.clone() };
        out::line(&clean(&format!("! {:<9} {place}  {}", finding.kind, finding.text)));
    }
}

fn table(skills: &[SkillView]) {
    let row = |skill: &SkillView| {
        let from = if skill.shipped { "shipped".to_owned() } else { skill.source.clone() };
        vec![skill.name.clone(), skill.version.to_string(), skill.agents.join(" "), from, skill.description.clone()]
    };
    out::table(&["skill", "version", "agents", "from", "for"], &skills.iter().map(row).collect::<Vec<_>>());
}

fn say(context: &Context, skill: &SkillView) -> Result<(), Failure> {
    if context.json {
        return out::json(skill);
    }
    out::line(&clean(&format!("{} (version {}): {}", skill.name, skill.version, skill.description)));
    out::line(&clean(&format!("from {}", skill.source)));
    out::line(&skill.hash);
    if let (Some(who), Some(at)) = (&skill.approved_by, skill.approved) {
        out::line(&clean(&format!("approved {} by {who}", out::ago(at))));
    }
    if !skill.agents.is_empty() {
        out::line(&format!("had by {}", skill.agents.join(", ")));
    }
    files(&skill.files);
    found(&skill.findings);
    changed(skill);
    Ok(())
}

/// What was changed in the home, and what can be done about it.
fn changed(skill: &SkillView) {
    if skill.state != Some(SkillState::Changed) {
        return;
    }
    out::line("CHANGED in the home: no session begins with it");
    skill.changes.iter().for_each(|change| out::line(&clean(&format!("  {change}"))));
    let name = &skill.name;
    out::note(&format!("put it back: lazaret skill verify {name} --restore"));
    if let Some(found) = skill.found.as_ref().filter(|_| !skill.shipped) {
        out::note(&format!("or approve what is there: lazaret skill verify {name} --approve {found}"));
    }
}

/// Compares files with what was approved: exit 1 where they differ.
async fn verify(context: &Context, client: &Client, name: Option<String>, restore: bool, approve: Option<String>) -> Done {
    let names = match name {
        Some(name) => vec![name],
        None => lists::all::<SkillView>(client, "/v1/skills").await?.into_iter().map(|skill| skill.name).collect(),
    };
    let mut status = 0;
    for name in names {
        let at = path(&name)?;
        let skill: SkillView = match &approve {
            Some(hash) => {
                let _: Value = client.json(Method::POST, &format!("{at}/approve"), Some(&json!({ "hash": hash }))).await?;
                client.json(Method::GET, &at, None).await?
            }
            None if restore => client.json(Method::POST, &format!("{at}/restore"), None).await?,
            None => client.json(Method::GET, &at, None).await?,
        };
        let is_ready = skill.state == Some(SkillState::Ready);
        status |= u8::from(!is_ready);
        if context.json {
            out::json(&skill)?;
        } else {
            let word = if is_ready { "as approved" } else { "changed" };
            out::line(&format!("{:<24} {word}  {}", skill.name, skill.hash));
            changed(&skill);
        }
    }
    Ok(status)
}
