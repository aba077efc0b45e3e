//! Sandboxes that people make by hand, without an agent.

use std::sync::Arc;

use gateway::egress::{Policy, Watch};
use model::{Code, EgressRule, Failure, Limits, SandboxId};
use sandbox::{HostMount, Sandbox, Summary, TarStream, Tree};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use crate::doors::Occupant;
use crate::{App, ImageRef, MountNote};

/// A sandbox to make.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SandboxForm {
    /// What it may use.
    pub limits: Limits,
    /// The root file system.
    pub image: ImageRef,
    /// Host directories; the descriptors come beside the form.
    #[serde(default)]
    pub mounts: Vec<MountNote>,
    /// Hosts that may be reached.
    #[serde(default)]
    pub egress: Vec<EgressRule>,
}

/// The loopback port inside that leads to models.
pub(crate) const GATEWAY_PORT: u16 = 4100;
/// The loopback port inside that leads to hosts.
pub(crate) const EGRESS_PORT: u16 = 4101;
/// How long a sandbox lives without a daemon.
pub(crate) const ORPHAN: std::time::Duration = std::time::Duration::from_secs(600);

/// What sandboxes made by hand are labelled.
pub(crate) const LABEL: &str = "by hand";

/// The relays that a sandbox of any kind gets.
pub(crate) fn relays() -> Vec<sandbox::Relay> {
    vec![
        sandbox::Relay { port: GATEWAY_PORT, door: sandbox::Door::Gateway },
        sandbox::Relay { port: EGRESS_PORT, door: sandbox::Door::Egress },
    ]
}

/// The variables that lead programs to the egress proxy.
pub(crate) fn proxy_env() -> Vec<(String, String)> {
    let proxy = format!("http://127.0.0.1:{EGRESS_PORT}");
    let names = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
    let mut env: Vec<(String, String)> = names.into_iter().map(|name| (name.to_owned(), proxy.clone())).collect();
    for name in ["NO_PROXY", "no_proxy"] {
        env.push((name.to_owned(), "127.0.0.1,localhost".to_owned()));
    }
    env
}

/// What stands beside a sandbox made by hand, so that a later daemon opens the same doors.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// Hosts that may be reached.
    egress: Vec<EgressRule>,
}

impl App {
    /// Every sandbox that runs, of sessions too.
    #[must_use]
    pub fn sandbox_list(&self) -> Vec<Summary> {
        self.sandboxes().list()
    }

    /// Makes a sandbox that stays until it is removed.
    ///
    /// # Errors
    /// What stops its start.
    pub async fn sandbox_create(&self, form: SandboxForm, mounts: Vec<HostMount>) -> Result<Summary, Failure> {
        crate::sessions::check_limits(&form.limits)?;
        let id = SandboxId::from_bits(crate::clock::fresh_bits());
        let mut request = sandbox::Request::new(id.clone(), LABEL);
        request.files = self.trust_files(&form.image, &form.egress, &[]).await?;
        request.image = form.image.into();
        request.limits = form.limits;
        request.mounts = mounts;
        request.extra_ro = self.tools_mounts()?;
        request.tree = Tree::Ephemeral;
        request.relays = relays();
        request.orphan = ORPHAN;
        request.note =
            serde_json::to_string(&Note { egress: form.egress.clone() }).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        self.doors().admit(&id, self.by_hand(form.egress));
        match self.sandboxes().start(request).await {
            Ok(made) => Ok(made.summary()),
            Err(error) => {
                self.doors().dismiss(&id);
                Err(error.failure())
            }
        }
    }

    /// What a sandbox is and uses.
    ///
    /// # Errors
    /// There is none of this identity.
    pub fn sandbox_show(&self, id: &str) -> Result<Value, Failure> {
        let found = self.sandbox(id)?;
        let mut value = serde_json::to_value(found.summary()).unwrap_or_default();
        value["stats"] = json!(found.stats());
        Ok(value)
    }

    /// Stops and removes a sandbox.
    ///
    /// # Errors
    /// There is none of this identity, a session works in it, or something of it could not be removed.
    pub async fn sandbox_remove(&self, id: &str) -> Result<(), Failure> {
        let found = self.sandbox(id)?;
        if found.summary().label != LABEL {
            return Err(Failure::new(Code::Conflict, "this sandbox belongs to a session").hint("end the session's work first"));
        }
        self.doors().dismiss(found.id());
        found.stop().await.map_err(|e| e.failure())
    }

    /// A file or tree inside as a tar stream.
    ///
    /// # Errors
    /// There is no such sandbox or path.
    pub async fn sandbox_get(&self, id: &str, path: &str) -> Result<TarStream, Failure> {
        self.sandbox(id)?.get(path).await.map_err(|e| e.failure())
    }

    /// Unpacks a tar stream inside.
    ///
    /// # Errors
    /// There is no such sandbox, or the guest could not unpack.
    pub async fn sandbox_put(&self, id: &str, path: &str, tar: impl AsyncRead + Send + Unpin) -> Result<(), Failure> {
        self.sandbox(id)?.put(path, tar).await.map(drop).map_err(|e| e.failure())
    }

    fn by_hand(&self, egress: Vec<EgressRule>) -> Occupant {
        let egress = (!egress.is_empty()).then(|| Arc::new(self.policy_of(egress, false, None)));
        Occupant { identity: None, tools: None, egress, cancel: CancellationToken::new() }
    }

    /// Opens the doors of a sandbox that an earlier daemon made by hand, as they were. A note that is not understood
    /// opens none.
    pub(crate) fn admit_again(&self, sandbox: &Sandbox) {
        let note = serde_json::from_str(sandbox.note()).unwrap_or_else(|error| {
            tracing::warn!(sandbox = %sandbox.id(), %error, "a sandbox reaches no host any more: its note is not understood");
            Note::default()
        });
        self.doors().admit(sandbox.id(), self.by_hand(note.egress));
    }

    pub(crate) fn sandbox(&self, id: &str) -> Result<Sandbox, Failure> {
        let missing =
            || Failure::new(Code::NotFound, format!("there is no sandbox {}", id.escape_debug())).hint("`lazaret sandbox list` names them");
        let parsed: SandboxId = id.parse().map_err(|_| missing())?;
        self.sandboxes().get(&parsed).ok_or_else(missing)
    }

    /// What was allowed when a sandbox that runs was made: hosts, and bound secrets by name.
    pub(crate) fn allowed(&self, sandbox: &Sandbox) -> (Vec<EgressRule>, Vec<String>) {
        let summary = sandbox.summary();
        if summary.label == LABEL {
            let note: Note = serde_json::from_str(sandbox.note()).unwrap_or_default();
            return (note.egress, Vec::new());
        }
        let live = summary.label.parse().ok().and_then(|id| self.live(&id));
        live.map(|live| (live.spec.egress.clone(), live.spec.secrets.clone())).unwrap_or_default()
    }

    /// What a sandbox of the daemon's own may reach. Refusals are told to `watch`.
    pub(crate) fn policy(&self, rules: Vec<EgressRule>, watch: Option<Arc<dyn Watch>>) -> Arc<Policy> {
        Arc::new(self.policy_of(rules, true, watch))
    }
}
