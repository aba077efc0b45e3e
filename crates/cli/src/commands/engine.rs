//! `lazaret engine`.

use app::EngineStatus;
use http::Method;
use serde_json::Value;

use super::Context;
use crate::args;
use crate::exit::{self, Done};
use crate::out;

pub(super) async fn run(context: &Context, verb: args::Engine) -> Done {
    let client = context.client()?;
    match verb {
        args::Engine::List => {
            for engine in list(&client).await? {
                print(context, &engine)?;
            }
        }
        args::Engine::Install { name } => {
            if !context.json {
                out::note(&format!("fetching {name} ..."));
            }
            let engine: EngineStatus = client.json(Method::POST, &path(&name, "/install"), None).await?;
            print(context, &engine)?;
        }
        args::Engine::Add { file } => return super::configs::add_engine(context, &file).await,
        args::Engine::Remove { name } => {
            let _: Value = client.json(Method::DELETE, &path(&name, ""), None).await?;
        }
        args::Engine::Verify { name } => {
            let names = match name {
                Some(name) => vec![name],
                None => list(&client).await?.into_iter().filter(|e| e.installed && !e.described).map(|e| e.name).collect(),
            };
            let mut worst = 0;
            for name in names {
                match client.json::<EngineStatus>(Method::POST, &path(&name, "/verify"), None).await {
                    Ok(engine) => print(context, &engine)?,
                    Err(failure) => {
                        worst = failure.code.exit_status();
                        exit::print(&failure, context.json);
                    }
                }
            }
            return Ok(worst);
        }
    }
    Ok(0)
}

async fn list(client: &crate::client::Client) -> Result<Vec<EngineStatus>, model::Failure> {
    #[derive(serde::Deserialize)]
    struct Items {
        items: Vec<EngineStatus>,
    }
    Ok(client.json::<Items>(Method::GET, "/v1/engines", None).await?.items)
}

fn print(context: &Context, engine: &EngineStatus) -> Result<(), model::Failure> {
    if context.json {
        return out::json(engine);
    }
    if engine.described {
        out::line(&format!("{:<12} described by a file", engine.name));
        return Ok(());
    }
    let version = engine.version.as_deref().unwrap_or("built in");
    let state = match (engine.installed, engine.verified) {
        (true, Some(true)) => "installed, verified",
        (true, _) => "installed",
        (false, _) => "not installed",
    };
    let size = if engine.disk_bytes == 0 { String::new() } else { format!("  {}", out::bytes(engine.disk_bytes)) };
    out::line(&format!("{:<12} {:<12} {state}{size}", engine.name, version));
    Ok(())
}

/// Names of engines are words; anything else finds no engine, and must not find another route.
fn path(name: &str, verb: &str) -> String {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("/v1/engines/{}{verb}", if plain == name { plain } else { "unknown".to_owned() })
}
