//! What is printed of plugins. Nearly every word of it was written by somebody else.

use app::{Pending, PluginInstalled, PluginState, PluginView};
use model::Failure;
use serde_json::{Value, json};

use super::{Context, Detail};
use crate::exit::clean;
use crate::out;

fn state(plugin: &PluginView) -> &'static str {
    match plugin.state {
        PluginState::Ready => "ready",
        PluginState::Off => "off",
        PluginState::Failed => "failed",
        PluginState::Pending => "pending",
    }
}

/// A line for each plugin.
pub(super) fn table(plugins: &[PluginView]) {
    let row = |plugin: &PluginView| {
        let why = plugin.why.as_ref().map_or_else(|| plugin.description.clone(), |why| why.message.clone());
        let from = if plugin.shipped { "shipped" } else { "home" };
        vec![plugin.name.clone(), state(plugin).to_owned(), from.to_owned(), plugin.version.clone(), plugin.tools.len().to_string(), why]
    };
    out::table(&["plugin", "state", "from", "version", "tools", "about"], &plugins.iter().map(row).collect::<Vec<_>>());
}

/// Everything about one plugin.
pub(super) fn whole(detail: &Detail) {
    let plugin = &detail.plugin;
    let line = |text: String| out::line(&clean(&text.replace('\n', " ")));
    line(format!("{} {} ({})", plugin.name, plugin.version, state(plugin)));
    line(plugin.description.clone());
    if let Some(why) = &plugin.why {
        line(format!("{}: {}", why.code, why.message));
        if let Some(hint) = &why.hint {
            line(format!("hint: {hint}"));
        }
    }
    for tool in &plugin.tools {
        line(format!("tool {} ({} risk): {}", tool.name, tool.risk.as_str(), out::cut(&tool.description, 200)));
    }
    for (tool, why) in &plugin.left_out {
        line(format!("not offered: {tool}: {why}"));
    }
    for host in &plugin.hosts {
        line(format!("host {host}"));
    }
    for credential in &plugin.credentials {
        let stands = match (credential.set, credential.required) {
            (true, _) => "set",
            (false, true) => "missing",
            (false, false) => "not set",
        };
        line(format!("credential {} ({stands}): {}", credential.key, credential.description));
    }
    if let Some(record) = &detail.record {
        line(format!("from {}, {}", record.source, record.hash));
        if let Some(pending) = &record.pending {
            changes(&plugin.name, pending);
        }
    }
    if !plugin.last_words.is_empty() {
        out::line("its last words:");
        out::line(&clean(&plugin.last_words));
    }
}

/// What waits for approval, and how to approve it.
pub(super) fn waiting(context: &Context, detail: &Detail) -> Result<(), Failure> {
    let pending = detail.record.as_ref().and_then(|record| record.pending.as_ref());
    if context.json {
        return out::json(&json!({ "name": detail.plugin.name, "pending": pending }));
    }
    match pending {
        Some(pending) => changes(&detail.plugin.name, pending),
        None => out::line(&format!("nothing of {} waits for approval", detail.plugin.name)),
    }
    Ok(())
}

fn changes(name: &str, pending: &Pending) {
    for change in &pending.changes {
        out::line(&clean(&format!("changed: {}", change.what)));
        side('-', &change.before, &change.after);
        side('+', &change.after, &change.before);
    }
    out::line(&format!("to approve exactly this: lazaret plugin approve {name} --hash {}", pending.hash));
}

/// One side of a change: of a table only the keys that differ.
fn side(mark: char, value: &Value, other: &Value) {
    let lines = match value {
        Value::Null => return,
        Value::Object(all) => {
            let differs = |key: &String| other.get(key) != all.get(key);
            all.iter().filter(|(key, _)| differs(key)).map(|(key, value)| format!("{key} = {value}")).collect()
        }
        value => vec![value.to_string()],
    };
    for line in lines {
        out::line(&clean(&format!("  {mark} {line}")));
    }
}

/// A plugin that was just put in place, and what is left to do.
pub(super) fn installed(installed: &PluginInstalled, what: &str) {
    out::line(&clean(&format!("{} {} is {what}: {}", installed.name, installed.version, installed.hash)));
    if !installed.hosts.is_empty() {
        out::line(&clean(&format!("it may reach: {}", installed.hosts.join(", "))));
    }
    for credential in &installed.credentials {
        let stands = match (credential.stored, credential.required) {
            (true, _) => "stored",
            (false, true) => "needed",
            (false, false) => "optional",
        };
        out::line(&clean(&format!("credential {} ({stands}): {}", credential.key, credential.description)));
        if !credential.stored {
            out::line(&format!("  set it: {}", credential.command));
            for (name, text) in [("get one", &credential.obtain_url), ("it looks like", &credential.format_hint)] {
                if let Some(text) = text {
                    out::line(&clean(&format!("  {name}: {text}")));
                }
            }
        }
    }
    if let Some(pending) = &installed.pending {
        out::line("nothing of it is offered until you approve what changed");
        changes(&installed.name, pending);
    }
}
