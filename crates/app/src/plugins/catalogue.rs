//! What the broker is told of plugins: their tools, and which of them work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::manifest::RESERVED_TOOLS;
use broker::{Catalogue, Tool};
use model::{Code, Failure};

use super::PluginState;
use super::book::{Entry, Offered};
use crate::App;

/// How much longer than the plugin's own limit the broker waits for an answer.
const ANSWER_MORE: Duration = Duration::from_secs(2);

impl App {
    /// Tells the broker which plugins work, for the agents that may use them.
    pub(super) fn tell_health(&self) {
        let all = self.book().entries().into_iter().filter(|(_, entry)| entry.state != PluginState::Off);
        let health = all.map(|(plugin, entry)| broker::Health {
            groups: entry.found.as_ref().and_then(|found| found.manifest.allowed_groups.clone()),
            category: entry.category().map(|category| category.as_str().to_owned()),
            plugin,
        });
        self.broker().set_health(health.collect());
    }

    /// Makes the catalogue anew.
    pub(super) fn offer_plugins(&self) {
        let mut entries = self.book().lock_entries();
        let mut taken: BTreeMap<String, String> = RESERVED_TOOLS.iter().map(|name| ((*name).to_owned(), "the daemon".to_owned())).collect();
        // The daemon's own tools stand first, whatever they are called.
        let mut tools = self.own_tools();
        taken.extend(tools.iter().map(|tool| (tool.name.clone(), "the daemon".to_owned())));
        // What ships comes first, then what was there first: no later one takes the name of a tool away from it.
        let mut names: Vec<String> = entries.keys().cloned().collect();
        names.sort_by_key(|name| {
            let entry = &entries[name];
            (entry.found.as_ref().is_none_or(|f| f.folder.is_some()), entry.since, name.clone())
        });
        for name in names {
            let Some(entry) = entries.get_mut(&name).filter(|e| e.state == PluginState::Ready) else { continue };
            let clash =
                entry.offered.iter().find_map(|tool| taken.get(&tool.definition.name).map(|by| (tool.definition.name.clone(), by.clone())));
            if let Some((tool, by)) = clash {
                entry.refuse(Failure::new(Code::PluginInvalid, format!("its tool {tool} is offered by {by} already")));
                continue;
            }
            for tool in &entry.offered {
                taken.insert(tool.definition.name.clone(), format!("plugin {name}"));
                tools.push(entry.tool(&name, tool));
            }
        }
        let (catalogue, refused) = Catalogue::new(tools);
        for (tool, why) in refused {
            tracing::warn!(tool, why, "a tool cannot be offered");
            for entry in entries.values_mut().filter(|entry| entry.offered.iter().any(|o| o.definition.name == tool)) {
                entry.left_out.push((tool.clone(), why.clone()));
                entry.offered.retain(|o| o.definition.name != tool);
            }
        }
        drop(entries);
        self.broker().set_catalogue(catalogue);
    }

    /// Tools that the daemon carries out itself.
    fn own_tools(&self) -> Vec<Tool> {
        let mut tools = crate::memory::tools(self);
        tools.extend(crate::agent_tools::tools(self));
        tools.extend(crate::ask::tools(self));
        tools
    }
}

impl Entry {
    fn tool(&self, plugin: &str, offered: &Offered) -> Tool {
        let manifest = self.found.as_ref().map(|found| &found.manifest);
        Tool {
            name: offered.definition.name.clone(),
            plugin: plugin.to_owned(),
            description: offered.definition.description.clone(),
            risk: offered.definition.risk,
            schema: offered.definition.schema.clone(),
            groups: manifest.and_then(|m| m.allowed_groups.clone()),
            is_owners: manifest.is_none_or(|m| m.uses_accounts()),
            deadline: manifest.map_or(ANSWER_MORE, |m| m.limits.time + ANSWER_MORE),
            handler: Arc::clone(&offered.handler) as Arc<dyn broker::Handler>,
        }
    }

    fn refuse(&mut self, failure: Failure) {
        (self.state, self.why) = (PluginState::Failed, Some(failure));
        self.offered.clear();
    }
}
