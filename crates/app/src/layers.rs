//! Agents' own tools volumes: what one agent was given is seen in its sandboxes, and in no other agent's.
//!
//! An agent's volume is made when its first sandbox is, so that what is installed later is seen at once. It is called by the
//! agent's name and the time it was made: an agent that is made again under a name finds nothing of the one before, wherever a
//! removal was cut off.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use model::{Code, Failure, Timestamp};
use store::{AgentRow, StoreError};

use crate::volume::{Volume, unusable};
use crate::{App, DEFAULT_AGENT};

/// Where an agent's own tools are seen inside; they come before those of [`crate::TOOLS_DIR`].
const LAYER_DIR: &str = "/opt/lazaret-agent";
/// Where the volumes are in the home.
const LAYERS: &str = "agent-tools";

/// What the volume of an agent is called. The default agent is there whether somebody made it or not, and stays the same one.
fn key_of(name: &str, made: Timestamp) -> String {
    let made = if name == DEFAULT_AGENT { 0 } else { made.0 };
    format!("{name}@{made}")
}

impl App {
    /// What a sandbox of this agent sees of tools: host path and path inside. An agent that is gone has nothing of its own.
    pub(crate) async fn tools_mounts_of(&self, agent: &str) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        let mut mounts = self.tools_mounts()?;
        match self.layer_of(agent).await {
            Ok(layer) => mounts.push((layer.dir().to_owned(), PathBuf::from(LAYER_DIR))),
            Err(failure) if failure.code == Code::NotFound => {}
            Err(failure) => return Err(failure),
        }
        Ok(mounts)
    }

    /// The volume of an agent, made when it is not there.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such agent; the volume cannot be made.
    pub(crate) async fn layer_of(&self, agent: &str) -> Result<Volume, Failure> {
        let made = match self.store().agent(agent).await {
            Ok(row) => row.created,
            Err(StoreError::NotFound { .. }) if agent == DEFAULT_AGENT => Timestamp(0),
            Err(error) => return Err(error.failure()),
        };
        Volume::open(self.home().join(LAYERS).join(key_of(agent, made)))
    }

    /// Removes the volume of an agent that was removed. Trouble is told in the log, and tried again at the next start.
    pub(crate) async fn drop_layer(&self, row: &AgentRow) {
        if row.name == DEFAULT_AGENT {
            return;
        }
        let dir = self.home().join(LAYERS).join(key_of(&row.name, row.created));
        let removed = tokio::task::spawn_blocking(move || remove(&dir));
        if let Err(error) = removed.await.map_err(io::Error::other).flatten() {
            tracing::warn!(agent = row.name, %error, "the tools of a removed agent are still there");
        }
    }

    /// Removes what killed installations left in agents' volumes, and the volumes of agents that are gone.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn sweep_layers(&self) -> Result<(), Failure> {
        let Ok(entries) = std::fs::read_dir(self.home().join(LAYERS)) else { return Ok(()) };
        // Before the agents are read: the volume of one that is made meanwhile is not looked at.
        let there: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let agents = self.store().list_agents().await.map_err(|e| e.failure())?;
        let mut known: HashSet<String> = agents.iter().map(|row| key_of(&row.name, row.created)).collect();
        known.insert(key_of(DEFAULT_AGENT, Timestamp(0)));
        for path in there {
            let is_known = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| known.contains(name));
            let swept = if is_known {
                Volume::open(path.clone()).and_then(|volume| volume.sweep())
            } else {
                remove(&path).map_err(|e| unusable("remove one that is no agent's any more", &e))
            };
            if let Err(failure) = swept {
                tracing::warn!(path = %path.display(), %failure, "the tools of an agent were not swept");
            }
        }
        Ok(())
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_made_again_is_another_one() {
        assert_ne!(key_of("anna", Timestamp(1)), key_of("anna", Timestamp(2)));
        assert_ne!(key_of("anna", Timestamp(1)), key_of("anna-1", Timestamp(1)));
        assert_eq!(key_of(DEFAULT_AGENT, Timestamp(0)), key_of(DEFAULT_AGENT, Timestamp(7)));
    }
}
