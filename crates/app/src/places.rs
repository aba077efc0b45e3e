//! Places: how many turns run at once, and who goes first.
//!
//! A turn that may not run yet waits here, in memory: the turn itself is a durable row, and a daemon that starts again
//! puts it back. The highest priority goes first; among equals the tenant that was served longest ago, then whoever
//! asked first. So a tenant with a thousand turns does not keep another one waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::SessionSettings;
use crate::live::lock;

/// Turns that may wait for a place; each session has one at most.
const WAITING_MAX: usize = 1 << 16;

/// What a turn needs to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) tenant: String,
    pub(crate) agent: String,
    pub(crate) priority: u8,
    /// The env that it works in, and whether alone.
    pub(crate) env: Option<(String, bool)>,
}

/// How many may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Most {
    pub(crate) all: usize,
    pub(crate) agent: usize,
    pub(crate) tenant: usize,
}

impl From<&SessionSettings> for Most {
    fn from(settings: &SessionSettings) -> Self {
        Self { all: settings.running_max, agent: settings.agent_running_max, tenant: settings.tenant_running_max }
    }
}

/// All places of a daemon. A cheap handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: usize,
    agents: HashMap<String, usize>,
    tenants: HashMap<String, usize>,
    envs: HashMap<String, Users>,
    waiting: Vec<Waiting>,
    /// When each tenant was last served, counted in turns that began.
    served: HashMap<String, u64>,
    clock: u64,
    arrived: u64,
    most: Option<Most>,
}

#[derive(Debug, Default)]
struct Users {
    many: usize,
    alone: bool,
}

#[derive(Debug)]
struct Waiting {
    need: Need,
    arrived: u64,
    go: oneshot::Sender<Place>,
}

/// The right to run; dropping it gives the place to the next.
#[derive(Debug)]
pub(crate) struct Place {
    need: Need,
    places: Option<Places>,
}

impl Places {
    /// Waits for a place. Whoever stops waiting loses nothing but its place in the queue. `None` when too many wait.
    pub(crate) async fn take(&self, need: Need, most: Most) -> Option<Place> {
        let (go, came) = oneshot::channel();
        {
            let mut state = lock(&self.0);
            state.most = Some(most);
            state.waiting.retain(|w| !w.go.is_closed());
            if state.waiting.len() >= WAITING_MAX {
                return None;
            }
            state.arrived += 1;
            let arrived = state.arrived;
            state.waiting.push(Waiting { need, arrived, go });
        }
        self.serve();
        came.await.ok()
    }

    /// Gives free places away.
    fn serve(&self) {
        loop {
            let given = {
                let mut state = lock(&self.0);
                let Some(at) = state.next() else { return };
                let waiting = state.waiting.swap_remove(at);
                state.enter(&waiting.need);
                waiting
            };
            let place = Place { need: given.need, places: Some(self.clone()) };
            // Whoever went away has left it, and the next is served: by this loop, as thousands may have gone away together.
            if let Err(mut left) = given.go.send(place) {
                left.places = None;
                let mut state = lock(&self.0);
                state.waiting.retain(|w| !w.go.is_closed());
                state.leave(&left.need);
            }
        }
    }
}

impl State {
    /// Who goes next, if anybody may.
    fn next(&self) -> Option<usize> {
        let most = self.most?;
        if self.running >= most.all {
            return None;
        }
        let open = self.waiting.iter().enumerate().filter(|(_, w)| self.may(&w.need, most));
        let key = |w: &Waiting| (std::cmp::Reverse(w.need.priority), self.served.get(&w.need.tenant).copied().unwrap_or(0), w.arrived);
        open.min_by_key(|(_, w)| key(w)).map(|(at, _)| at)
    }

    fn may(&self, need: &Need, most: Most) -> bool {
        let count = |of: &HashMap<String, usize>, name: &str| of.get(name).copied().unwrap_or(0);
        let free = match &need.env {
            None => true,
            Some((slug, alone)) => self.envs.get(slug).is_none_or(|users| !users.alone && (!alone || users.many == 0)),
        };
        free && count(&self.agents, &need.agent) < most.agent && count(&self.tenants, &need.tenant) < most.tenant
    }

    fn enter(&mut self, need: &Need) {
        self.running += 1;
        *self.agents.entry(need.agent.clone()).or_default() += 1;
        *self.tenants.entry(need.tenant.clone()).or_default() += 1;
        if let Some((slug, alone)) = &need.env {
            let users = self.envs.entry(slug.clone()).or_default();
            users.many += 1;
            users.alone |= *alone;
        }
        self.clock += 1;
        self.served.insert(need.tenant.clone(), self.clock);
    }

    fn leave(&mut self, need: &Need) {
        self.running -= 1;
        let one_less = |of: &mut HashMap<String, usize>, name: &str| {
            if let Some(n) = of.get_mut(name) {
                *n -= 1;
                if *n == 0 {
                    of.remove(name);
                }
            }
        };
        one_less(&mut self.agents, &need.agent);
        one_less(&mut self.tenants, &need.tenant);
        if let Some((slug, alone)) = &need.env
            && let Some(users) = self.envs.get_mut(slug)
        {
            users.many -= 1;
            users.alone &= !*alone;
            if users.many == 0 {
                self.envs.remove(slug);
            }
        }
        if self.running == 0 && self.waiting.is_empty() {
            // Nobody waits, so nobody is behind another.
            self.served.clear();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.places.take() {
            lock(&places.0).leave(&self.need);
            places.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Most = Most { all: 2, agent: 2, tenant: 2 };

    fn need(tenant: &str, priority: u8) -> Need {
        Need { tenant: tenant.to_owned(), agent: "a".to_owned(), priority, env: None }
    }

    /// Asks in this order while all places are taken, then frees them one by one; gives the order of service.
    async fn order(needs: Vec<(&'static str, Need)>) -> Vec<&'static str> {
        let places = Places::default();
        let most = Most { all: 1, ..MOST };
        let held = places.take(need("z", 5), most).await.expect("free");
        let mut all = Vec::new();
        for (name, need) in needs {
            let mut taking = Box::pin({
                let places = places.clone();
                async move { (name, places.take(need, most).await.expect("room")) }
            });
            // Asked, not served: the order of asking is that of this loop.
            assert!(futures_util::poll!(&mut taking).is_pending());
            all.push(taking);
        }
        drop(held);
        let mut served = Vec::new();
        while !all.is_empty() {
            let ((name, place), _, rest) = futures_util::future::select_all(all).await;
            served.push(name);
            drop(place);
            all = rest;
        }
        served
    }

    #[tokio::test]
    async fn the_higher_priority_goes_first() {
        let needs = vec![("low", need("t", 1)), ("high", need("t", 9)), ("middle", need("t", 5))];
        assert_eq!(order(needs).await, ["high", "middle", "low"]);
    }

    #[tokio::test]
    async fn a_flood_of_one_tenant_does_not_hold_up_another() {
        let needs = vec![("a1", need("a", 5)), ("a2", need("a", 5)), ("a3", need("a", 5)), ("b1", need("b", 5))];
        assert_eq!(order(needs).await, ["a1", "b1", "a2", "a3"]);
    }

    #[tokio::test]
    async fn each_agent_and_tenant_has_its_own_number() {
        let places = Places::default();
        let most = Most { all: 9, agent: 9, tenant: 1 };
        let first = places.take(need("a", 5), most).await.expect("free");
        let second = places.take(need("a", 5), most);
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        let _other = places.take(need("b", 5), most).await.expect("another tenant's");
        drop(first);
        assert!(second.await.is_some());
    }

    #[tokio::test]
    async fn one_alone_in_an_env() {
        let places = Places::default();
        let most = Most { all: 9, agent: 9, tenant: 9 };
        let within = |alone| Need { env: Some(("e".to_owned(), alone)), ..need("t", 5) };
        let many = (places.take(within(false), most).await, places.take(within(false), most).await);
        let alone = places.take(within(true), most);
        tokio::pin!(alone);
        assert!(futures_util::poll!(&mut alone).is_pending(), "two work there");
        drop(many);
        let held = alone.await.expect("nobody works there");
        let late = places.take(within(false), most);
        tokio::pin!(late);
        assert!(futures_util::poll!(&mut late).is_pending(), "one works there alone");
        drop(held);
        assert!(late.await.is_some());
    }

    #[test]
    fn thousands_who_stop_waiting_together_cost_no_stack() {
        let small = std::thread::Builder::new().stack_size(256 << 10);
        let ended = small.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let places = Places::default();
                let most = Most { all: 1, ..MOST };
                let held = places.take(need("a", 5), most).await;
                let mut all: Vec<_> = (0..3_000).map(|_| Box::pin(places.take(need("a", 5), most))).collect();
                for taking in &mut all {
                    assert!(futures_util::poll!(taking).is_pending());
                }
                drop(all);
                drop(held);
                let state = lock(&places.0);
                assert_eq!((state.running, state.waiting.len()), (0, 0));
            });
        });
        ended.expect("a thread").join().expect("it ends well");
    }

    #[tokio::test]
    async fn whoever_stops_waiting_keeps_no_place() {
        let places = Places::default();
        let most = Most { all: 1, ..MOST };
        let held = places.take(need("a", 5), most).await;
        {
            let given_up = places.take(need("a", 9), most);
            tokio::pin!(given_up);
            assert!(futures_util::poll!(&mut given_up).is_pending());
        }
        let next = places.take(need("a", 5), most);
        tokio::pin!(next);
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(held);
        assert!(next.await.is_some());
        assert_eq!(lock(&places.0).running, 0);
    }
}
