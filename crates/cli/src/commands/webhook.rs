//! `lazaret webhook`.

use std::io::Read as _;

use app::{WebhookSecretForm, WebhookSecretView, WebhookView};
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::sandbox::{escaped, plain};
use super::{Context, lists};
use crate::args;
use crate::client::Client;
use crate::exit::Done;
use crate::out;

/// Deliveries that are listed, or sent again by one command.
const LIST_MAX: usize = 1000;
/// Bytes of a secret that is read.
const SECRET_BYTES_MAX: u64 = 4096;

pub(super) async fn run(context: &Context, verb: args::Webhook) -> Done {
    let client = context.client()?;
    match verb {
        args::Webhook::List { status, job } => list(context, &client, status.as_deref(), job.as_deref()).await?,
        args::Webhook::Show { id } => {
            let view: WebhookView = client.json(Method::GET, &format!("/v1/webhooks/{}", plain(&id)?), None).await?;
            if context.json { out::json(&view)? } else { show(&view)? }
        }
        args::Webhook::Resend { ids, dead } => resend(context, &client, ids, dead).await?,
        args::Webhook::Secret { stdin, remove } => secret(context, &client, stdin, remove).await?,
    }
    Ok(0)
}

async fn list(context: &Context, client: &Client, status: Option<&str>, job: Option<&str>) -> Result<(), Failure> {
    let of = |name: &str, value: Option<&str>| value.map_or_else(String::new, |value| format!("{name}={}&", escaped(value)));
    let path = format!("/v1/webhooks?{}{}", of("status", status), of("job", job));
    let views: Vec<WebhookView> = lists::list(client, path.trim_end_matches(['&', '?']), LIST_MAX).await?;
    if context.json {
        return views.iter().try_for_each(out::json);
    }
    let row = |view: &WebhookView| {
        let why = view.error.clone().or_else(|| view.response.map(|status| status.to_string())).unwrap_or_default();
        vec![view.id.to_string(), view.status.clone(), view.tries.to_string(), view.event.clone(), view.job.clone(), why, view.url.clone()]
    };
    out::table(&["webhook", "status", "tries", "event", "job", "answer", "address"], &views.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn show(view: &WebhookView) -> Result<(), Failure> {
    let line = |name: &str, value: String| out::line(&format!("{name:<10} {}", crate::exit::clean(&value)));
    line("webhook", view.id.to_string());
    line("job", view.job.clone());
    line("event", view.event.clone());
    line("address", view.url.clone());
    line("status", view.status.clone());
    line("tries", view.tries.to_string());
    if let Some(tried) = view.tried {
        line("tried", out::ago(tried));
    }
    if let Some(next) = view.next {
        line("next", format!("in {} s", next.0.saturating_sub(app::now().0) / 1000));
    }
    if let Some(status) = view.response {
        line("answer", status.to_string());
    }
    if let Some(error) = &view.error {
        line("error", error.clone());
    }
    view.body.as_ref().map_or(Ok(()), out::json)
}

async fn resend(context: &Context, client: &Client, mut ids: Vec<String>, dead: bool) -> Result<(), Failure> {
    if dead {
        let views: Vec<WebhookView> = lists::list(client, "/v1/webhooks?status=dead", LIST_MAX).await?;
        ids = views.into_iter().map(|view| view.id.to_string()).collect();
    }
    for id in &ids {
        let view: WebhookView = client.json(Method::POST, &format!("/v1/webhooks/{}/resend", plain(id)?), None).await?;
        if context.json { out::json(&view)? } else { out::line(view.id.as_str()) }
    }
    Ok(())
}

async fn secret(context: &Context, client: &Client, stdin: bool, remove: bool) -> Result<(), Failure> {
    if remove {
        let _: Value = client.json(Method::DELETE, "/v1/webhook-secret", None).await?;
        return Ok(());
    }
    let given = stdin.then(read).transpose()?;
    let form = WebhookSecretForm { secret: given };
    let set: WebhookSecretView = client.json(Method::PUT, "/v1/webhook-secret", Some(&json!(form))).await?;
    if context.json {
        return out::json(&set);
    }
    if let Some(secret) = &set.secret {
        out::line(secret);
        out::note("it is not shown again");
    }
    Ok(())
}

fn read() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(SECRET_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|e| Failure::new(Code::Usage, format!("the secret could not be read: {e}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
