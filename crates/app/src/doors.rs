//! What stands behind the doors of each sandbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use broker::Broker;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gateway::egress::{Egress, Policy};
use gateway::{Gateway, Identity};
use model::{Money, SandboxId, TurnId, Usage};
use sandbox::{Door, Doors, Hold};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::lock;

/// Gateways of earlier settings that are kept for the turns that called through them. Of one more the oldest ends, with its calls.
const GATEWAYS_BEFORE_MAX: usize = 8;
/// How long a call waits for the tools after the daemon's start.
const TOOLS_WAIT: Duration = Duration::from_secs(20);

/// Who is behind a sandbox's doors, and what they may.
#[derive(Clone)]
pub(crate) struct Occupant {
    /// For the gateway; without one no model answers.
    pub(crate) identity: Option<Arc<Identity>>,
    /// For the broker; without one no tool is called.
    pub(crate) tools: Option<Arc<dyn broker::Who>>,
    /// For the egress proxy; without one no host is reached.
    pub(crate) egress: Option<Arc<Policy>>,
    /// Ends every connection.
    pub(crate) cancel: CancellationToken,
}

/// An occupant, and what ends its connections to models alone.
#[derive(Clone)]
struct Present {
    occupant: Occupant,
    models: CancellationToken,
}

/// Who is behind each sandbox's doors. Held for single map operations.
type Occupants = Arc<Mutex<HashMap<SandboxId, Present>>>;

/// Whoever is behind a sandbox's doors at the moment of a call: a connection outlives the turn in which it was made, and what it asks for
/// is done for whoever asked the turn that runs then.
struct Behind {
    occupants: Occupants,
    sandbox: SandboxId,
}

impl broker::Who for Behind {
    fn who(&self) -> BoxFuture<'_, Option<Arc<broker::Caller>>> {
        let present = lock(&self.occupants).get(&self.sandbox).and_then(|present| present.occupant.tools.clone());
        async move { present?.who().await }.boxed()
    }

    fn line(&self) -> String {
        self.sandbox.to_string()
    }
}

/// Takes every connection from a sandbox and hands it to the door that it names.
pub(crate) struct DoorKeeper {
    occupants: Occupants,
    gateway: RwLock<Gateway>,
    /// Those of earlier settings, as long as turns that called through them are not over.
    before: Mutex<Vec<Gateway>>,
    broker: Broker,
    egress: Egress,
    /// Whether the tools were looked for since the daemon's start.
    tools: watch::Sender<bool>,
    tasks: TaskTracker,
}

impl DoorKeeper {
    pub(crate) fn new(gateway: Gateway, broker: Broker, egress: Egress, tasks: TaskTracker) -> Self {
        Self {
            occupants: Occupants::default(),
            gateway: RwLock::new(gateway),
            before: Mutex::default(),
            broker,
            egress,
            tools: watch::Sender::new(false),
            tasks,
        }
    }

    /// From now on connections go to this gateway; those that are open stay with theirs, to which calls that are under way are charged.
    /// [`DoorKeeper::end_idle`] is to follow.
    pub(crate) fn replace_gateway(&self, gateway: Gateway) {
        let mut held = self.gateway.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        lock(&self.before).push(std::mem::replace(&mut *held, gateway));
    }

    /// Ends the gateways of earlier settings that no turn uses any more, and the oldest ones beyond a number.
    pub(crate) async fn end_idle(&self) {
        let over = {
            let mut before = lock(&self.before);
            let many = before.len().saturating_sub(GATEWAYS_BEFORE_MAX);
            let mut over: Vec<Gateway> = before.drain(..many).collect();
            let (idle, used) = std::mem::take(&mut *before).into_iter().partition::<Vec<_>, _>(Gateway::is_idle);
            *before = used;
            over.extend(idle);
            over
        };
        for gateway in over {
            gateway.shutdown().await;
        }
    }

    /// Ends the calls of a turn, through whichever gateway they went: what they used and cost.
    pub(crate) async fn finish_calls(&self, turn: &TurnId) -> (Usage, Money) {
        // In this order: one that is replaced in between is met twice, and has nothing to say the second time.
        let now = self.gateway();
        let before = lock(&self.before).clone();
        let (mut usage, mut cost) = now.finish(turn).await;
        for gateway in &before {
            let (used, paid) = gateway.finish(turn).await;
            (usage, cost) = (usage.plus(used), cost.plus(paid));
        }
        if !before.is_empty() {
            self.end_idle().await;
        }
        (usage, cost)
    }

    /// Ends every connection to models.
    pub(crate) async fn end_gateways(&self) {
        let before = std::mem::take(&mut *lock(&self.before));
        for gateway in before.into_iter().chain([self.gateway()]) {
            gateway.shutdown().await;
        }
    }

    pub(crate) fn egress(&self) -> &Egress {
        &self.egress
    }

    pub(crate) fn gateway(&self) -> Gateway {
        self.gateway.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Lets a sandbox through its doors. Connections to models that are open end: whoever asks is told apart by the
    /// connection, and an engine that lives on would go on asking as its turn before.
    pub(crate) fn admit(&self, sandbox: &SandboxId, occupant: Occupant) {
        let models = occupant.cancel.child_token();
        let before = lock(&self.occupants).insert(sandbox.clone(), Present { occupant, models });
        if let Some(before) = before {
            before.models.cancel();
        }
    }

    /// The tools that there are can be called from now on. Calls that came before wait: they may have come again from a time
    /// before the daemon's start, and are not to hear that there is no such tool.
    pub(crate) fn open_tools(&self) {
        self.tools.send_replace(true);
    }

    /// Closes the doors of a sandbox and every connection.
    pub(crate) fn dismiss(&self, sandbox: &SandboxId) {
        if let Some(present) = lock(&self.occupants).remove(sandbox) {
            present.occupant.cancel.cancel();
        }
    }
}

impl Doors for DoorKeeper {
    fn open(&self, sandbox: &SandboxId, door: Door, stream: UnixStream, read: Bytes, hold: Hold) {
        let found = lock(&self.occupants).get(sandbox).cloned();
        let Some(Present { occupant, models }) = found else {
            tracing::debug!(%sandbox, ?door, "nobody is behind this door");
            return;
        };
        let cancel = occupant.cancel.clone();
        match (door, occupant.identity, occupant.tools, occupant.egress) {
            (Door::Gateway, Some(identity), ..) => {
                let gateway = self.gateway();
                self.tasks.spawn(async move {
                    gateway.serve(stream, read, identity, models).await;
                    drop(hold);
                });
            }
            (Door::Broker, _, Some(_), _) => {
                let who = Arc::new(Behind { occupants: Arc::clone(&self.occupants), sandbox: sandbox.clone() });
                let (broker, mut tools) = (self.broker.clone(), self.tools.subscribe());
                self.tasks.spawn(async move {
                    let ready = async {
                        let _ = tools.wait_for(|ready| *ready).await;
                    };
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        _ = tokio::time::timeout(TOOLS_WAIT, ready) => {}
                    }
                    broker.serve(stream, read, who, cancel).await;
                    drop(hold);
                });
            }
            (Door::Egress, .., Some(policy)) => {
                let egress = self.egress.clone();
                self.tasks.spawn(async move {
                    egress.serve(stream, read, policy, cancel).await;
                    drop(hold);
                });
            }
            (door, ..) => tracing::debug!(%sandbox, ?door, "this door is closed"),
        }
    }
}
