//! `lazaret tools`.

use std::path::Path;

use app::ToolView;
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::sandbox::escaped;
use super::{Context, archive, lists};
use crate::args;
use crate::client::{Client, collect, internal};
use crate::exit::Done;
use crate::out;

pub(super) async fn run(context: &Context, verb: args::Tools) -> Done {
    let client = context.client()?;
    match verb {
        args::Tools::Install { names, agent } => {
            for name in names {
                if !context.json {
                    out::note(&format!("installing {} ...", crate::exit::clean(&name)));
                }
                let tool = install(&client, &name, agent.as_deref()).await?;
                if context.json { out::json(&tool)? } else { print(&[tool]) }
            }
        }
        args::Tools::List { agent } => {
            let tools: Vec<ToolView> = lists::all(&client, &format!("/v1/tools{}", of('?', agent.as_deref()))).await?;
            if context.json { tools.iter().try_for_each(out::json)? } else { print(&tools) }
        }
        args::Tools::Remove { names, agent } => {
            for name in names {
                let path = format!("/v1/tools?name={}{}", escaped(&name), of('&', agent.as_deref()));
                let _: Value = client.json(Method::DELETE, &path, None).await?;
            }
        }
    }
    Ok(0)
}

/// Whose tools are meant, behind this mark of the address.
fn of(mark: char, agent: Option<&str>) -> String {
    agent.map(|agent| format!("{mark}agent={}", escaped(agent))).unwrap_or_default()
}

/// Installs a package by name, or a file that is sent along.
async fn install(client: &Client, name: &str, agent: Option<&str>) -> Result<ToolView, Failure> {
    let Some(file) = name.strip_prefix("file:") else {
        return client.json(Method::POST, "/v1/tools", Some(&json!({ "name": name, "agent": agent }))).await;
    };
    let file = Path::new(file);
    let own = file.file_name().and_then(|name| name.to_str());
    let own = own.ok_or_else(|| Failure::new(Code::Usage, format!("`{}` has no file name", name.escape_debug())))?;
    let body = archive::body_of(file).await?;
    let path = format!("/v1/tools/files/{}{}", escaped(own), of('?', agent));
    let response = client.send(Method::PUT, &path, "application/octet-stream", body).await?;
    serde_json::from_slice(&collect(response).await?).map_err(|e| internal(&e.to_string()))
}

fn print(tools: &[ToolView]) {
    let row = |tool: &ToolView| vec![tool.name.clone(), tool.version.clone(), tool.programs.join(" "), out::ago(tool.installed)];
    out::table(&["tool", "version", "programs", "installed"], &tools.iter().map(row).collect::<Vec<_>>());
}
