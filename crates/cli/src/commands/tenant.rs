//! `lazaret tenant`.

use app::{Quota, TenantForm, TenantPatch, TenantState, TenantView};
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::{Context, lists};
use crate::args;
use crate::client::Client;
use crate::exit::Done;
use crate::out;

pub(super) async fn run(context: &Context, verb: args::Tenant) -> Done {
    let client = context.client()?;
    match verb {
        args::Tenant::Add { name, title, quotas } => {
            let form = TenantForm { name, title, quota: set(Quota::default(), &quotas)? };
            print(context, &client.json(Method::POST, "/v1/tenants", Some(&json!(form))).await?)?;
        }
        args::Tenant::List => {
            let tenants: Vec<TenantView> = lists::all(&client, "/v1/tenants").await?;
            if context.json {
                tenants.iter().try_for_each(out::json)?;
            } else {
                let row = |t: &TenantView| vec![t.name.clone(), state(t).to_owned(), quota_text(&t.quota), t.title.clone()];
                out::table(&["tenant", "state", "quota", "title"], &tenants.iter().map(row).collect::<Vec<_>>());
            }
        }
        args::Tenant::Show { name } => print(context, &client.json(Method::GET, &at(&name)?, None).await?)?,
        args::Tenant::Quota { name, quotas, clear } => {
            let before: TenantView = client.json(Method::GET, &at(&name)?, None).await?;
            let quota = set(if clear { Quota::default() } else { before.quota }, &quotas)?;
            change(context, &client, &name, TenantPatch { quota: Some(quota), ..TenantPatch::default() }).await?;
        }
        args::Tenant::Suspend { name } => {
            change(context, &client, &name, TenantPatch { state: Some(TenantState::Suspended), ..TenantPatch::default() }).await?;
        }
        args::Tenant::Resume { name } => {
            change(context, &client, &name, TenantPatch { state: Some(TenantState::Active), ..TenantPatch::default() }).await?;
        }
        args::Tenant::Remove { name } => {
            let _: Value = client.json(Method::DELETE, &at(&name)?, None).await?;
        }
    }
    Ok(0)
}

async fn change(context: &Context, client: &Client, name: &str, patch: TenantPatch) -> Result<(), Failure> {
    print(context, &client.json(Method::PATCH, &at(name)?, Some(&json!(patch))).await?)
}

fn print(context: &Context, tenant: &TenantView) -> Result<(), Failure> {
    if context.json {
        return out::json(tenant);
    }
    out::line(&format!("{}  {}  {}", tenant.name, state(tenant), quota_text(&tenant.quota)));
    Ok(())
}

fn state(tenant: &TenantView) -> &'static str {
    match tenant.state {
        TenantState::Active => "active",
        TenantState::Suspended => "suspended",
    }
}

/// A quota on one line: what is limited, by name.
fn quota_text(quota: &Quota) -> String {
    let fields = serde_json::to_value(quota).unwrap_or_default();
    let all: Vec<String> = fields.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    if all.is_empty() { "no quota".to_owned() } else { all.join(" ") }
}

fn set(mut quota: Quota, asked: &args::Quotas) -> Result<Quota, Failure> {
    let wrong =
        |text: &str| Failure::new(Code::Usage, format!("--storage: `{}` is not a size like 10g", text.escape_debug())).field("--storage");
    let storage = asked.storage.as_deref().map(|text| model::parse_bytes(text).ok_or_else(|| wrong(text))).transpose()?;
    quota.jobs_queued = asked.jobs.or(quota.jobs_queued);
    quota.running = asked.running.or(quota.running);
    quota.sessions = asked.sessions.or(quota.sessions);
    quota.envs = asked.envs.or(quota.envs);
    quota.tokens = asked.tokens.or(quota.tokens);
    quota.storage_bytes = storage.or(quota.storage_bytes);
    quota.usd_per_day = asked.usd_per_day.or(quota.usd_per_day);
    quota.requests_per_minute = asked.requests.or(quota.requests_per_minute);
    Ok(quota)
}

/// Where a tenant of this name is; a name that is none leads nowhere.
fn at(name: &str) -> Result<String, Failure> {
    if model::is_name(name) {
        return Ok(format!("/v1/tenants/{name}"));
    }
    Err(Failure::new(Code::Usage, "a tenant's name has small letters, digits and `-`").field("name"))
}
