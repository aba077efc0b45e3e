//! `lazaret provider`: who is asked for models. What is not secret stands in the configuration, the key among the secrets.

use app::{ProviderKey, ProviderModels, ProviderView, SessionView};
use http::Method;
use model::{Code, Failure, Outcome};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::screen::Form;
use super::{Context, config, lists, once, secret};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::home::Home;
use crate::out;

/// Where a server of this machine usually answers.
const OLLAMA_URL: &str = "http://127.0.0.1:11434/v1";
/// The model of a well-known provider that a small call asks for when none is named: one that costs little.
const SMALL: [(&str, &str); 3] = [("anthropic", "claude-haiku-4-5"), ("openai", "gpt-5-nano"), ("gemini", "gemini-2.5-flash-lite")];

pub(super) async fn run(context: &Context, verb: args::Provider) -> Done {
    let home = Home::open(&context.env.home)?;
    let client = Client::new(&home, context.may_start);
    match verb {
        args::Provider::List => {
            let all = listed(&client).await?;
            if context.json { all.iter().try_for_each(out::json)? } else { table(&all) }
        }
        args::Provider::Show { name } => {
            let found = find(&client, lists::named("provider", &name)?).await?;
            let listed = models(&client, &found.name, false).await;
            if context.json {
                out::json(&json!({ "provider": found, "models": listed.as_ref().ok().map(|listed| &listed.models) }))?;
            } else {
                table(std::slice::from_ref(&found));
                match &listed {
                    Ok(listed) => names(listed),
                    Err(failure) => out::line(&clean(&format!("  its models are not known: {}", failure.message))),
                }
            }
        }
        args::Provider::Models { name, fresh } => {
            let listed = models(&client, lists::named("provider", &name)?, fresh).await?;
            if context.json { listed.models.iter().try_for_each(out::json)? } else { names(&listed) }
        }
        args::Provider::Add(form) => return add(context, &home, &client, form).await,
        args::Provider::Test { name, model } => {
            let name = lists::named("provider", &name)?;
            let found = find(&client, name).await?;
            return test(context, &client, &found, model).await;
        }
        args::Provider::Remove { name, keep_key, force } => {
            let name = lists::named("provider", &name)?;
            let found = find(&client, name).await?;
            remove(context, &home, &client, &found, (keep_key, force)).await?;
        }
    }
    Ok(0)
}

async fn listed(client: &Client) -> Result<Vec<ProviderView>, Failure> {
    lists::all(client, "/v1/providers").await
}

async fn find(client: &Client, name: &str) -> Result<ProviderView, Failure> {
    listed(client).await?.into_iter().find(|provider| provider.name == name).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no provider `{name}`")).hint(format!("lazaret provider add {name} --base-url URL"))
    })
}

/// The models of a provider, as it lists them itself.
pub(super) async fn models(client: &Client, name: &str, fresh: bool) -> Result<ProviderModels, Failure> {
    let query = if fresh { "?fresh=true" } else { "" };
    client.json(Method::GET, &format!("/v1/providers/{name}/models{query}"), None).await
}

/// Each as an agent names it.
fn names(listed: &ProviderModels) {
    for model in &listed.models {
        let title = model.title.as_ref().map(|title| format!("  {title}")).unwrap_or_default();
        out::line(&clean(&format!("  {}/{}{title}", listed.provider, model.id)));
    }
    if listed.models.is_empty() {
        out::line("  it lists no model");
    } else if listed.more {
        out::line("  and more");
    }
}

fn table(all: &[ProviderView]) {
    for provider in all {
        let free = if provider.free { ", free" } else { "" };
        out::line(&clean(&format!(
            "{:<16} {:<10} {:<13} {}{free}",
            provider.name,
            provider.kind,
            provider.key.as_str(),
            provider.base_url
        )));
        for one in &provider.agents {
            let model = one.model.as_deref().unwrap_or("its engine's usual model");
            let place = if one.place == 0 { "asked first".to_owned() } else { format!("stands in, number {}", one.place) };
            out::line(&clean(&format!("  {:<14} {place}: {model}", one.agent)));
        }
    }
}

/// The settings of a provider, as keys below its own, in an order in which each step is right by itself.
fn settings(form: &args::ProviderAdd, there: Option<&ProviderView>) -> Result<Vec<(&'static str, String)>, Failure> {
    let is_ollama = form.kind.as_deref() == Some("ollama");
    let url = form.base_url.clone().or_else(|| (is_ollama && there.is_none()).then(|| OLLAMA_URL.to_owned()));
    if url.is_none() && there.is_none() {
        return Err(Failure::new(Code::Usage, format!("where {} answers is not known", form.name))
            .hint("--base-url URL, as its documentation gives it for programs")
            .field("--base-url"));
    }
    let mut all = Vec::new();
    all.extend(url.map(|url| ("base_url", url)));
    all.extend(form.kind.as_deref().map(|kind| ("kind", if is_ollama { "openai" } else { kind }.to_owned())));
    if form.keyless || is_ollama {
        all.push(("keyless", "true".to_owned()));
    } else if form.key.is_some() && there.is_some_and(|there| there.key == ProviderKey::NotNeeded) {
        all.push(("keyless", "false".to_owned()));
    }
    if form.free || is_ollama {
        all.push(("free", "true".to_owned()));
    }
    Ok(all)
}

async fn add(context: &Context, home: &Home, client: &Client, form: args::ProviderAdd) -> Done {
    let name = lists::named("provider", &form.name)?.to_owned();
    let there = listed(client).await?.into_iter().find(|provider| provider.name == name);
    let settings = settings(&form, there.as_ref())?;
    let keyless = settings.iter().any(|(key, value)| *key == "keyless" && value == "true");
    let key = key_of(&form, there.as_ref(), keyless)?;
    for (key, value) in settings {
        config::put(context, home, &format!("providers.{name}.{key}"), &value).await?;
    }
    if let Some(key) = key {
        let body = json!({ "value": key.as_str() });
        client.json::<Value>(Method::PUT, &format!("/v1/secrets/{name}"), Some(&body)).await?;
    }
    let found = find(client, &name).await?;
    if form.no_test {
        if context.json {
            out::json(&found)?;
        } else {
            table(std::slice::from_ref(&found));
        }
        return Ok(0);
    }
    test(context, client, &found, form.model).await
}

/// The key: as it was given, else asked for where somebody sits at a terminal and it is needed.
fn key_of(form: &args::ProviderAdd, there: Option<&ProviderView>, keyless: bool) -> Result<Option<Zeroizing<String>>, Failure> {
    match form.key.as_deref() {
        Some("-") => secret::read(&form.name).map(Some),
        Some(_) => Err(Failure::new(Code::Usage, "a key is not taken from the command line, where others can see it")
            .hint("--key -   and type or pipe it")
            .field("--key")),
        None if keyless || there.is_some_and(|there| there.usable) => Ok(None),
        None if std::io::IsTerminal::is_terminal(&std::io::stdin()) => secret::read(&form.name).map(Some),
        None => Err(Failure::new(Code::KeyMissing, format!("{} needs a key, or --keyless", form.name)).hint("--key -   and pipe it")),
    }
}

/// One small call, the whole way: sandbox, door, provider.
async fn test(context: &Context, client: &Client, provider: &ProviderView, model: Option<String>) -> Done {
    let named = provider.agents.iter().filter(|one| one.place == 0).find_map(|one| one.model.clone());
    let small = SMALL.iter().find(|(name, _)| *name == provider.name).map(|(_, model)| (*model).to_owned());
    let model = model.or(named).or(small).ok_or_else(|| {
        Failure::new(Code::Usage, format!("which model {} is to be asked for is not known", provider.name))
            .hint(format!("--model NAME, as `lazaret provider models {}` names it", provider.name))
            .field("--model")
    })?;
    let form =
        json!({ "engine": "mini", "model": format!("{}/{model}", provider.name), "title": "provider test", "workdir": "/workspace" });
    let session: SessionView = client.json(Method::POST, "/v1/sessions", Some(&form)).await?;
    let result = once::turn(client, &session, Form::Silent, "Answer with the one word: ready".to_owned(), false).await?;
    let is_well = result.status == Outcome::Completed;
    if context.json {
        out::json(&json!({
            "provider": provider.name, "model": model, "status": if is_well { "completed" } else { "failed" }, "code": result.code,
            "message": if is_well { None } else { Some(&result.text) },
            "duration_ms": result.duration_ms, "cost_usd": result.cost_usd, "usage": result.usage,
        }))?;
        return Ok(u8::from(!is_well));
    }
    if !is_well {
        return Err(Failure::new(
            result.code.unwrap_or(Code::ProviderDown),
            format!("{}/{model} did not answer: {}", provider.name, result.text),
        )
        .hint("check address, key and the model's name; what was set is kept: `lazaret provider add` changes it"));
    }
    let price = if provider.free { "free".to_owned() } else { format!("${:.6}", result.cost_usd) };
    out::line(&clean(&format!(
        "{}/{model} answered in {} ms; {price} ({} tokens in, {} out)",
        provider.name, result.duration_ms, result.usage.input_tokens, result.usage.output_tokens
    )));
    Ok(0)
}

async fn remove(
    context: &Context,
    home: &Home,
    client: &Client,
    provider: &ProviderView,
    (keep_key, force): (bool, bool),
) -> Result<(), Failure> {
    if let (Some(first), false) = (provider.agents.first(), force) {
        let others = provider.agents.len() - 1;
        let more = if others == 0 { String::new() } else { format!(" and {others} more") };
        return Err(Failure::new(Code::Conflict, format!("agent {}{more} asks {}", first.agent, provider.name))
            .hint(format!("lazaret agent set {} --model OTHER, or --force", first.agent)));
    }
    config::forget(context, home, &format!("providers.{}", provider.name)).await?;
    if !keep_key && provider.key == ProviderKey::Stored {
        client.json::<Value>(Method::DELETE, &format!("/v1/secrets/{}", provider.name), None).await?;
    }
    if !context.json {
        let what = if provider.built_in { "its configuration and key are gone; the name stays known" } else { "it is gone" };
        out::line(&format!("{}: {}", provider.name, if keep_key { "its configuration is gone" } else { what }));
    }
    Ok(())
}
