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
        args::Tools::Install { names } => {
            for name in names {
                if !context.json {
                    out::note(&format!("installing {} ...", crate::exit::clean(&name)));
                }
                let tool = install(&client, &name).await?;
                if context.json { out::json(&tool)? } else { print(&[tool]) }
            }
        }
        args::Tools::List => {
            let tools: Vec<ToolView> = lists::all(&client, "/v1/tools").await?;
            if context.json { tools.iter().try_for_each(out::json)? } else { print(&tools) }
        }
        args::Tools::Remove { names } => {
            for name in names {
                let _: Value = client.json(Method::DELETE, &format!("/v1/tools?name={}", escaped(&name)), None).await?;
            }
        }
    }
    Ok(0)
}

/// Installs a package by name, or a file that is sent along.
async fn install(client: &Client, name: &str) -> Result<ToolView, Failure> {
    let Some(file) = name.strip_prefix("file:") else {
        return client.json(Method::POST, "/v1/tools", Some(&json!({ "name": name }))).await;
    };
    let file = Path::new(file);
    let own = file.file_name().and_then(|name| name.to_str());
    let own = own.ok_or_else(|| Failure::new(Code::Usage, format!("`{}` has no file name", name.escape_debug())))?;
    let body = archive::body_of(file).await?;
    let response = client.send(Method::PUT, &format!("/v1/tools/files/{}", escaped(own)), "application/octet-stream", body).await?;
    serde_json::from_slice(&collect(response).await?).map_err(|e| internal(&e.to_string()))
}

fn print(tools: &[ToolView]) {
    let row = |tool: &ToolView| vec![tool.name.clone(), tool.version.clone(), tool.programs.join(" "), out::ago(tool.installed)];
    out::table(&["tool", "version", "programs", "installed"], &tools.iter().map(row).collect::<Vec<_>>());
}
