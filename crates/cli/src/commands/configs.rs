//! `lazaret profile`, `lazaret template`, `lazaret hook`: texts with versions.

use std::io::Read;
use std::path::Path;

use app::{Checked, ConfigForm, ConfigView, ProfileView};
use http::Method;
use model::{Code, Failure};
use serde_json::{Map, Value, json};

use super::sandbox::escaped;
use super::{Context, import, lists};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::out;

/// The longest text, in bytes: 100,000 characters.
pub(super) const TEXT_BYTES_MAX: u64 = 400_000;

/// Which texts a verb is about: the path of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Profile,
    Template,
    Hook,
    Engine,
}

impl Kind {
    pub(super) fn path(self) -> &'static str {
        match self {
            Kind::Profile => "/v1/profiles",
            Kind::Template => "/v1/templates",
            Kind::Hook => "/v1/hooks",
            Kind::Engine => "/v1/engines",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Profile => "profile",
            Kind::Template => "template",
            Kind::Hook => "hook",
            Kind::Engine => "engine",
        }
    }
}

/// `lazaret profile`.
pub(super) async fn profile(context: &Context, verb: args::Profile) -> Done {
    let kind = Kind::Profile;
    let verb = match verb {
        args::Profile::List => return profiles(context).await,
        args::Profile::Check { file, vars } => return check(context, &file, &vars).await,
        args::Profile::Import { dir, dry_run } => return import::directory(context, &dir, dry_run, false, false).await,
        args::Profile::Show { name, version } => args::Text::Show { name, version },
        args::Profile::Set { name, file, description } => args::Text::Set { name, file, description },
        args::Profile::Remove { name } => args::Text::Remove { name },
        args::Profile::History { name } => args::Text::History { name },
        args::Profile::Reset { name, version } => args::Text::Reset { name, version },
    };
    text(context, kind, verb).await
}

/// `lazaret template` and `lazaret hook`.
pub(super) async fn text(context: &Context, kind: Kind, verb: args::Text) -> Done {
    let client = context.client()?;
    match verb {
        args::Text::List => {
            let all: Vec<ConfigView> = lists::all(&client, kind.path()).await?;
            table(context, &all)?;
        }
        args::Text::Show { name, version } => {
            let query = version.map(|version| format!("?version={version}")).unwrap_or_default();
            let view: ConfigView = client.json(Method::GET, &format!("{}{query}", path(kind, &name)), None).await?;
            if context.json {
                out::json(&view)?;
            } else {
                out::piece(&clean(view.content.as_deref().unwrap_or_default()));
            }
        }
        args::Text::Set { name, file, description } => {
            let form = ConfigForm { content: read(&file)?, description, ..ConfigForm::default() };
            print(context, &keep(&client, kind, &name, form).await?)?;
        }
        args::Text::Remove { name } => {
            let _: Value = client.json(Method::DELETE, &path(kind, &name), None).await?;
        }
        args::Text::History { name } => {
            let address = match kind {
                Kind::Template => format!("/v1/template-versions?name={}", escaped(&name)),
                _ => format!("{}/versions", path(kind, &name)),
            };
            let all: Vec<ConfigView> = lists::all(&client, &address).await?;
            table(context, &all)?;
        }
        args::Text::Reset { name, version } => {
            let form = json!({ "name": name, "version": version });
            let view: ConfigView = client.json(Method::POST, &format!("{}/reset", kind.path()), Some(&form)).await?;
            print(context, &view)?;
        }
    }
    Ok(0)
}

/// `lazaret engine add`: a description names its engine itself.
pub(super) async fn add_engine(context: &Context, file: &Path) -> Done {
    let client = context.client()?;
    let content = read(file)?;
    let name = engines::described_name(&content).or_else(|| {
        let custom = engines::Custom::parse(&content).ok()?;
        Some(engines::Engine::name(&custom).to_owned())
    });
    let name = match name {
        Some(name) => name,
        None => {
            let why = engines::Custom::parse(&content).err().map_or_else(|| "it names no engine".to_owned(), |e| e.to_string());
            return Err(Failure::new(Code::Usage, format!("failed to {why}")).field("file"));
        }
    };
    print(context, &keep(&client, Kind::Engine, &name, ConfigForm { content, ..ConfigForm::default() }).await?)?;
    Ok(0)
}

/// Makes one, or gives it a new version.
pub(super) async fn keep(client: &Client, kind: Kind, name: &str, form: ConfigForm) -> Result<ConfigView, Failure> {
    match client.json::<ConfigView>(Method::PUT, &path(kind, name), Some(&json!(form))).await {
        Err(failure) if failure.code == Code::NotFound => {
            let form = ConfigForm { name: Some(name.to_owned()), ..form };
            client.json(Method::POST, kind.path(), Some(&json!(form))).await
        }
        done => done,
    }
}

/// The address of one of them.
pub(super) fn path(kind: Kind, name: &str) -> String {
    format!("{}/{}", kind.path(), escaped(name))
}

/// A text from a file, or from standard input for `-`.
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    let fail = |why: String| Failure::new(Code::Usage, format!("`{}` cannot be read: {why}", file.display())).field("file");
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(|e| fail(e.to_string()))?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(fail(format!("it is longer than {TEXT_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".to_owned()))
}

async fn profiles(context: &Context) -> Done {
    let all: Vec<ProfileView> = lists::all(&context.client()?, "/v1/profiles").await?;
    if context.json {
        all.iter().try_for_each(out::json)?;
        return Ok(0);
    }
    let row = |p: &ProfileView| {
        let vars: Vec<String> = p.prompt_vars.iter().map(|(name, v)| if v.required { format!("{name}*") } else { name.clone() }).collect();
        let of = if p.shipped { "shipped".to_owned() } else { p.version.to_string() };
        vec![p.name.clone(), of, p.engine.clone(), p.model.clone(), vars.join(" "), clean(&p.description)]
    };
    out::table(&["profile", "version", "engine", "model", "variables", "description"], &all.iter().map(row).collect::<Vec<_>>());
    Ok(0)
}

async fn check(context: &Context, file: &Path, vars: &[String]) -> Done {
    let mut values = Map::new();
    for var in vars {
        let (key, value) =
            var.split_once('=').ok_or_else(|| Failure::new(Code::Usage, "a variable is given as KEY=VALUE").field("--var"))?;
        values.insert(key.to_owned(), Value::from(value));
    }
    let mut form = json!({ "content": read(file)? });
    if !values.is_empty() {
        form["prompt_vars"] = Value::Object(values);
    }
    let checked: Checked = context.client()?.json(Method::POST, "/v1/profiles/check", Some(&form)).await?;
    if context.json {
        out::json(&checked)?;
        return Ok(0);
    }
    for warning in &checked.warnings {
        out::note(&clean(warning));
    }
    match checked.prompt {
        Some(prompt) => out::line(&clean(&prompt)),
        None => out::line("it can be kept"),
    }
    Ok(0)
}

fn table(context: &Context, all: &[ConfigView]) -> Result<(), Failure> {
    if context.json {
        return all.iter().try_for_each(out::json);
    }
    let row = |view: &ConfigView| {
        let state = match (view.removed, view.shipped) {
            (true, _) => "removed",
            (false, true) => "shipped",
            (false, false) => "",
        };
        let changed = if view.shipped { String::new() } else { out::ago(view.updated) };
        vec![view.name.clone(), view.version.to_string(), state.to_owned(), changed, clean(&view.description)]
    };
    out::table(&["name", "version", "", "changed", "description"], &all.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn print(context: &Context, view: &ConfigView) -> Result<(), Failure> {
    if context.json {
        return out::json(view);
    }
    for warning in &view.warnings {
        out::note(&clean(warning));
    }
    out::line(&format!("{} version {}", view.name, view.version));
    Ok(())
}
