//! `lazaret agents open`: a server inside, in a browser of this machine.

use app::PortForm;
use http::Method;
use model::Failure;
use serde_json::{Value, json};

use super::super::Context;
use super::which;
use crate::args;
use crate::client::Client;
use crate::exit::clean;
use crate::out;

pub(super) async fn run(
    context: &Context,
    client: &Client,
    on: &args::OnBranch,
    port: Option<u16>,
    print: bool,
    outside: bool,
) -> Result<(), Failure> {
    let agent = which::one(client, on).await?;
    let form = PortForm { port, outside };
    let opened: Value = client.json(Method::POST, &format!("/v1/sessions/{}/open", agent.session), Some(&json!(form))).await?;
    if context.json {
        return out::json(&opened);
    }
    let url = clean(opened["url"].as_str().unwrap_or_default());
    out::line(&url);
    if !print {
        out::note(&format!(
            "the link works once and for five minutes; it leads to port {} in the sandbox of {}",
            opened["port"],
            clean(&agent.branch)
        ));
        if outside {
            out::note("its pages may load from other hosts: what is in the sandbox can leave through the browser");
        }
    }
    Ok(())
}
