//! What the owner sees of secrets: whose each is, what uses it, and who still has the value before.

use model::{Code, Failure, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::App;

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Whose it is: `install`, `agent:NAME`, `plugin:NAME` or `channel:NAME`.
    pub scope: String,
    /// What uses it: providers, agents, and hosts that it is bound to.
    pub uses: Vec<String>,
    /// The agent whose engines hold it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_to: Option<String>,
    /// When it was first set.
    pub created: Timestamp,
    /// When it was last set.
    pub updated: Timestamp,
    /// When it was last used, to half a minute; null when it never was.
    pub used: Option<Timestamp>,
}

/// What came of keeping a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SecretKept {
    /// Its name.
    pub name: String,
    /// Sessions whose turn runs with the value before. Further turns have the new one.
    pub sessions: Vec<SecretSession>,
    /// Whether those turns were ended.
    pub restarted: bool,
}

/// A session that has the value before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SecretSession {
    /// The session.
    pub session: SessionId,
    /// Its agent.
    pub agent: String,
}

impl App {
    /// All secrets, by name and scope, without values.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn secret_views(&self) -> Result<Vec<SecretView>, Failure> {
        self.secrets().keep_used().await?;
        let agents = self.agents().list().await?;
        let (bound, exposed, providers) = (self.bound().list(), self.exposed().list(), self.providers());
        let view = |entry: store::SecretEntry| {
            let name = entry.name.as_str();
            let part = |prefix: &str| name.strip_prefix(prefix).map(|rest| rest.split('.').next().unwrap_or(rest).to_owned());
            let plugin = part("plugin.").or_else(|| part("oauth.plugin.")).map(|plugin| format!("plugin:{plugin}"));
            let whose = plugin.or_else(|| part("channel.").map(|channel| format!("channel:{channel}")));
            let is_agents = |agent: &str| entry.scope.strip_prefix("agent:").is_none_or(|own| own == agent);
            let mut uses: Vec<String> = Vec::new();
            uses.extend(providers.contains_key(name).then(|| format!("provider {name}")));
            uses.extend(bound.iter().filter(|b| b.name == name).map(|b| format!("host {}:{}", b.binding.host, b.binding.port)));
            let having = agents.iter().filter(|agent| agent.secrets.iter().any(|own| own == name) && is_agents(&agent.name));
            uses.extend(having.map(|agent| format!("agent {}", agent.name)));
            SecretView {
                scope: if entry.scope == "install" { whose.unwrap_or_else(|| entry.scope.clone()) } else { entry.scope.clone() },
                exposed_to: exposed.iter().find(|e| e.name == name && is_agents(&e.agent)).map(|e| e.agent.clone()),
                uses,
                created: entry.created,
                updated: entry.updated,
                used: entry.used,
                name: entry.name,
            }
        };
        Ok(self.secrets().list().await?.into_iter().map(view).collect())
    }

    /// Keeps a secret: of the install, or of one agent. Tells whose turns run with the value before, and ends them with `restart`.
    ///
    /// # Errors
    /// The name or value is malformed, there is no such agent, or the store cannot be written.
    pub async fn keep_secret(
        &self,
        name: &str,
        agent: Option<&str>,
        value: Zeroizing<String>,
        restart: bool,
    ) -> Result<SecretKept, Failure> {
        match agent {
            None => self.secrets().set(name, value).await?,
            Some(agent) => {
                self.agents().show(agent).await.map_err(|failure| failure.field("agent"))?;
                if self.providers().contains_key(name) {
                    return Err(Failure::new(Code::Usage, "the key of a provider is the install's: an agent has none of its own")
                        .hint("give a second provider in the configuration the other key, and name it as the agent's model: PROVIDER/MODEL")
                        .field("agent"));
                }
                self.secrets().set_of(name, agent, value).await?;
            }
        }
        let sessions = self.sessions_with_old(name, agent, restart).await?;
        Ok(SecretKept { name: name.to_owned(), sessions, restarted: restart })
    }

    /// The sessions, at whichever daemon, whose turn runs with the value before. With `restart` those turns are ended.
    async fn sessions_with_old(&self, name: &str, agent: Option<&str>, restart: bool) -> Result<Vec<SecretSession>, Failure> {
        let mut sessions: Vec<SecretSession> = Vec::new();
        for held in self.exposed().list().into_iter().filter(|held| held.name == name && agent.is_none_or(|agent| agent == held.agent)) {
            for turn in self.store().turns_at_work(&held.agent).await.map_err(|e| e.failure())? {
                if sessions.iter().any(|one| one.session == turn.session) {
                    continue;
                }
                match self.live(&turn.session) {
                    Some(live) if restart => live.cancel_turn(turn.id),
                    // Its daemon hears of the new value first.
                    None if restart => self.store().signal_cancel(&turn.session).await.map_err(|e| e.failure())?,
                    _ => {}
                }
                sessions.push(SecretSession { session: turn.session, agent: held.agent.clone() });
            }
        }
        Ok(sessions)
    }

    /// Reads the secrets again, with what is bound and exposed: another daemon has changed some of it.
    pub(crate) async fn read_secrets_again(&self) -> Result<(), Failure> {
        self.secrets().read_again().await?;
        self.egress_book().read_again().await?;
        self.pool().changed();
        Ok(())
    }

    /// Forgets a secret: of the install, or of one agent.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn forget_secret(&self, name: &str, agent: Option<&str>) -> Result<(), Failure> {
        match agent {
            None => self.secrets().remove(name).await,
            Some(agent) => self.secrets().remove_of(name, agent).await,
        }
    }
}
