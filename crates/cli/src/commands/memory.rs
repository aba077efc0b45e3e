//! `lazaret memory`.

use app::{MemoryForm, MemoryPurge, MemoryView};
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::sandbox::escaped;
use super::{Context, lists, text};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::out;

/// The longest text that is read; the daemon says what it takes.
const CONTENT_BYTES_MAX: usize = 16 << 10;

pub(super) async fn run(context: &Context, verb: args::Memory) -> Done {
    let client = context.client()?;
    match verb {
        args::Memory::List { agent, kind, tags, state, waiting, limit } => {
            let query = asked(&[("agent", agent), ("type", kind), ("tags", joined(&tags)), ("state", state)]);
            let path = format!("/v1/memory?waiting={waiting}{query}");
            let memories: Vec<MemoryView> = lists::list(&client, &path, limit).await?;
            print(context, &memories)?;
        }
        args::Memory::Search { query, agent, kind, tags, limit } => {
            let query = asked(&[("agent", Some(agent)), ("query", Some(query)), ("type", kind), ("tags", joined(&tags))]);
            let memories: Vec<MemoryView> = lists::all(&client, &format!("/v1/memory?limit={limit}{query}")).await?;
            print(context, &memories)?;
        }
        args::Memory::Show { id } => show(context, &client.json(Method::GET, &path(&id, "")?, None).await?)?,
        args::Memory::Add { content, agent, kind, tags, supersedes } => {
            let content = text::given("content", &content, CONTENT_BYTES_MAX)?;
            let supersedes = supersedes
                .map(|id| id.parse())
                .transpose()
                .map_err(|e: model::IdError| Failure::new(Code::Usage, e.to_string()).field("--supersedes"))?;
            let kind = serde_json::from_value(json!(kind)).map_err(|e| Failure::new(Code::Usage, e.to_string()).field("--type"))?;
            let form = MemoryForm { agent, kind, content, tags, supersedes };
            let made: MemoryView = client.json(Method::POST, "/v1/memory", Some(&json!(form))).await?;
            if context.json {
                out::json(&made)?;
            } else {
                out::line(made.memory.id.as_str());
            }
        }
        args::Memory::Confirm { ids } => {
            for id in ids {
                let memory: MemoryView = client.json(Method::POST, &path(&id, "/confirm")?, None).await?;
                if context.json {
                    out::json(&memory)?;
                }
            }
        }
        args::Memory::Delete { ids } => {
            for id in ids {
                let _: Value = client.json(Method::DELETE, &path(&id, "")?, None).await?;
            }
        }
        args::Memory::Purge { agent, all } => purge(context, &client, &MemoryPurge { agent, all }).await?,
        args::Memory::Export { agent } => {
            let path = format!("/v1/memory?{}", asked(&[("agent", Some(agent))]).trim_start_matches('&'));
            let memories: Vec<MemoryView> = lists::list(&client, &path, usize::MAX).await?;
            memories.iter().try_for_each(out::json)?;
        }
    }
    Ok(0)
}

async fn purge(context: &Context, client: &Client, form: &MemoryPurge) -> Result<(), Failure> {
    let answer: Value = client.json(Method::POST, "/v1/memory/purge", Some(&json!(form))).await?;
    if context.json {
        return out::json(&answer);
    }
    out::line(&format!("{} removed", answer["removed"]));
    Ok(())
}

/// What stands behind the `?`, each with a `&` before it.
fn asked(fields: &[(&str, Option<String>)]) -> String {
    fields.iter().filter_map(|(name, value)| Some(format!("&{name}={}", escaped(value.as_ref()?)))).collect()
}

fn joined(tags: &[String]) -> Option<String> {
    (!tags.is_empty()).then(|| tags.join(","))
}

fn path(id: &str, further: &str) -> Result<String, Failure> {
    let id: model::MemoryId =
        id.parse().map_err(|_| Failure::new(Code::NotFound, format!("there is no memory `{}`", id.escape_debug())))?;
    Ok(format!("/v1/memory/{id}{further}"))
}

fn print(context: &Context, memories: &[MemoryView]) -> Result<(), Failure> {
    if context.json {
        return memories.iter().try_for_each(out::json);
    }
    let row = |view: &MemoryView| {
        let memory = &view.memory;
        let state = if view.waiting { "waiting" } else { memory.state.as_str() };
        vec![
            memory.id.to_string(),
            memory.agent.clone(),
            memory.kind.as_str().to_owned(),
            state.to_owned(),
            out::ago(memory.created),
            memory.content.clone(),
        ]
    };
    out::table(&["memory", "agent", "type", "state", "made", "content"], &memories.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn show(context: &Context, view: &MemoryView) -> Result<(), Failure> {
    if context.json {
        return out::json(view);
    }
    let memory = &view.memory;
    let id = |id: &Option<model::MemoryId>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    let confirmed = match memory.confirmed {
        Some(time) => out::ago(time),
        None if view.waiting => format!("no; `lazaret memory confirm {}` puts it in force", memory.id),
        None => String::new(),
    };
    let lines = [
        ("memory", memory.id.to_string()),
        ("agent", memory.agent.clone()),
        ("type", memory.kind.as_str().to_owned()),
        ("state", memory.state.as_str().to_owned()),
        ("confirmed", confirmed),
        ("tags", memory.tags.join(", ")),
        ("made", out::ago(memory.created)),
        ("by", memory.by.as_str().to_owned()),
        ("session", memory.session.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("supersedes", id(&memory.supersedes)),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        out::line(&format!("{name:<12} {}", clean(value)));
    }
    out::line(&format!("\n{}", clean(&memory.content)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_escaped() {
        let fields = [("query", Some("a&b=c #?".to_owned())), ("agent", None), ("tags", joined(&["x".to_owned(), "y".to_owned()]))];
        assert_eq!(asked(&fields), "&query=a%26b%3Dc%20%23%3F&tags=x%2Cy");
        assert!(path("mem_../../sessions", "").is_err());
    }
}
