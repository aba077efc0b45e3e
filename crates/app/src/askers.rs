//! For whom a turn acts: whoever asked it, as the host's own record has them. What the broker, the proxy and the sandbox allow is never more
//! than they may at that moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker::{Asker, Broker, Caller, Standing, Who};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::{Code, EgressRule, Failure, SandboxId, TurnId, TurnState};
use store::{AskerNow, Person, Store, TurnRow};

use crate::agent_tools::{FOR_WHO_LOOKS_AFTER, SET_INSTRUCTIONS};
use crate::agents::agent_in;
use crate::live::Live;
use crate::router::{is_admin, permits};
use crate::self_policy::kept_from;
use crate::turn::Running;
use crate::{AgentForm, App};

/// How much of an agent somebody has. Where it changes between two turns, nothing that ran in the first goes on in the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All of it.
    Whole,
    /// What it does for members, where that is less.
    Member,
    /// What it does for people who are not known: without its memory, its vault, its secrets.
    Guest,
}

/// What somebody is to an agent now.
fn standing_with(person: Option<&Person>, agent: &str) -> Option<Standing> {
    let person = person?;
    if is_admin(person, agent) {
        return Some(Standing::Admin);
    }
    permits(person, agent).then_some(Standing::Member)
}

/// What whoever asked a turn of this agent is to it now.
pub(crate) fn standing(now: &AskerNow, agent: &str) -> Standing {
    if matches!(now.state, TurnState::Done | TurnState::Failed | TurnState::Cancelled) {
        return Standing::Nobody;
    }
    // Somebody who became known since is still the stranger who asked; somebody whose handle is another's now is nobody.
    let person = now.person.as_ref().filter(|person| now.row.user.as_ref() == Some(&person.user));
    let first = now.row.via.first().map_or(agent, String::as_str);
    let outside = if now.is_public { Standing::Guest } else { Standing::Nobody };
    let mut least = standing_with(person, first).unwrap_or(outside);
    for next in now.row.via.iter().skip(1).map(String::as_str).chain((!now.row.via.is_empty()).then_some(agent)) {
        // An agent may pass things on to another whom they do not know: as a guest's.
        least = least.min(standing_with(person, next).unwrap_or(Standing::Guest));
    }
    least
}

/// Who asked, for the broker.
fn asker_of(now: &AskerNow, agent: &AgentForm) -> Asker {
    let standing = standing(now, &agent.name);
    let named = |names: &Vec<String>| names.iter().cloned().collect::<BTreeSet<String>>();
    let tools = match standing {
        Standing::Nobody | Standing::Guest => Some(named(&agent.guest_tools)),
        Standing::Member => {
            // An agent is changed for who answers for it, and for nobody else, whatever it is to do for members.
            let changes = |names: &Vec<String>| names.iter().any(|name| name == SET_INSTRUCTIONS);
            let names = agent.member_tools.as_ref().or_else(|| Some(&agent.tools).filter(|names| changes(names)));
            names.map(|names| named(names).into_iter().filter(|name| name != SET_INSTRUCTIONS).collect())
        }
        Standing::Admin => None,
    };
    let (channel, handle, user) = (now.row.channel.clone(), now.row.handle.clone(), now.row.user.clone());
    let role = now.person.as_ref().and_then(|person| person.role.as_deref());
    let looks_after = standing == Standing::Admin && matches!(role, Some("admin" | "owner"));
    let kept = if looks_after { BTreeSet::new() } else { FOR_WHO_LOOKS_AFTER.map(str::to_owned).into() };
    Asker { channel, handle, user, standing, tools, kept }
}

/// How much of an agent a turn has.
fn share_of(asker: Option<&Asker>) -> Share {
    match asker {
        None => Share::Whole,
        Some(Asker { standing: Standing::Nobody | Standing::Guest, .. }) => Share::Guest,
        Some(Asker { tools: Some(_), .. }) => Share::Member,
        Some(_) => Share::Whole,
    }
}

/// A turn's caller. Where somebody on a chat network asked it, what they may is looked up for each call.
pub(crate) struct TurnCaller {
    pub(crate) store: Store,
    pub(crate) base: Arc<Caller>,
    pub(crate) turn: TurnId,
    /// For a job of an agent that names no tools.
    of_job: Option<OfJob>,
}

/// The tools of a job's plugins. They are looked up for each call: a turn that a daemon took over goes on before its plugins are
/// loaded.
struct OfJob {
    broker: Broker,
    plugins: Vec<String>,
}

impl OfJob {
    fn tools(&self) -> BTreeSet<String> {
        let catalogue = self.broker.catalogue();
        catalogue.iter().filter(|tool| self.plugins.contains(&tool.plugin)).map(|tool| tool.name.clone()).collect()
    }
}

impl TurnCaller {
    /// Who calls, without whoever asked.
    fn base(&self) -> Arc<Caller> {
        match &self.of_job {
            Some(job) => Arc::new(Caller { tools: Some(job.tools()), ..(*self.base).clone() }),
            None => Arc::clone(&self.base),
        }
    }

    async fn now(&self) -> Result<Caller, Failure> {
        let gone = || Failure::new(Code::NotFound, "it is not known who asked this turn");
        let now = self.store.asker_now(&self.turn).await.map_err(|e| e.failure())?.ok_or_else(gone)?;
        let agent = agent_in(&self.store, &self.base.agent).await?;
        Ok(Caller { asker: Some(asker_of(&now, &agent)), ..(*self.base()).clone() })
    }
}

impl Who for TurnCaller {
    fn who(&self) -> BoxFuture<'_, Option<Arc<Caller>>> {
        async move {
            if self.base.asker.is_none() {
                return Some(self.base());
            }
            match self.now().await {
                Ok(caller) => Some(Arc::new(caller)),
                Err(failure) => {
                    tracing::warn!(turn = %self.turn, %failure, "for whom a call is made cannot be told: it is not made");
                    None
                }
            }
        }
        .boxed()
    }

    fn line(&self) -> String {
        self.base.line()
    }
}

impl App {
    /// Who asked a turn; `None` where no chat asked it.
    pub(crate) async fn asker_of_turn(&self, turn: &TurnId, agent: &AgentForm) -> Result<Option<Asker>, Failure> {
        let now = self.store().asker_now(turn).await.map_err(|e| e.failure())?;
        Ok(now.map(|now| asker_of(&now, agent)))
    }

    /// Makes way for a turn of somebody who has another share of the agent than whoever asked the last one: what that left running ends with
    /// its sandbox. Files and the conversation stay.
    pub(crate) async fn part(&self, live: &Live, turn: &TurnRow, agent: &AgentForm, share: Share) -> Result<(), Failure> {
        let before = self.store().asker_before(&live.id, turn.n).await.map_err(|e| e.failure())?;
        let before = match &before {
            None | Some(None) => Share::Whole,
            // That turn is over; what they were while it ran is what they would be if it still did.
            Some(Some(now)) => share_of(Some(&asker_of(&AskerNow { state: TurnState::Running, ..now.clone() }, agent))),
        };
        if before != share {
            self.close_sandbox(live).await;
        }
        Ok(())
    }
}

impl Running<'_> {
    /// Who asks for tools.
    pub(crate) fn caller(&self, sandbox: &SandboxId, denied: BTreeSet<String>) -> TurnCaller {
        let agent = &self.ground.agent;
        let base = broker::Caller {
            session: Some(self.live.id.clone()),
            turn: Some(self.turn.id.clone()),
            sandbox: Some(sandbox.clone()),
            agent: agent.name.clone(),
            group: if self.live.spec.ask { crate::ask::GROUP.to_owned() } else { agent.group.clone() },
            tenant: self.ground.row.tenant.clone(),
            tools: self.tools(),
            denied,
            is_trusted: agent.is_lent(&self.ground.row.tenant),
            asker: self.asker.clone(),
        };
        let job = self.live.spec.job.as_ref().filter(|_| !self.live.spec.ask && agent.tools.is_empty());
        let of_job = job.map(|job| OfJob { broker: self.app.broker().clone(), plugins: job.plugins.clone() });
        TurnCaller { store: self.app.store().clone(), base: Arc::new(base), turn: self.turn.id.clone(), of_job }
    }

    /// The tools that may be called: the agent's, or all of them. A job of an agent that names none has those of its
    /// plugins only: none here, and [`OfJob`] tells which there are.
    fn tools(&self) -> Option<BTreeSet<String>> {
        if self.live.spec.ask {
            return Some(crate::ask::NAMES.map(str::to_owned).into());
        }
        let agent = &self.ground.agent;
        if !agent.tools.is_empty() {
            return Some(agent.tools.iter().cloned().collect());
        }
        self.live.spec.job.is_some().then(BTreeSet::new)
    }

    /// Tools of the daemon's own that the turn does not have because its agent names none, or is not to change itself.
    pub(crate) async fn withheld(&self) -> Result<BTreeSet<String>, Failure> {
        let agent = &self.ground.agent;
        let mut names: BTreeSet<String> = kept_from(agent).map(str::to_owned).collect();
        if self.asker.is_none() {
            // What is said at the command line is done there.
            names.extend(FOR_WHO_LOOKS_AFTER.map(str::to_owned));
        }
        // A job has only what it names.
        if self.live.spec.job.is_none() {
            names.extend(self.app.withheld_tools(agent, &self.ground.row.tenant, &self.turn.id).await?);
        }
        Ok(names)
    }
}

/// What a guest's turn may reach: what the agent names for guests, within what its session may.
pub(crate) fn guest_rules(agent: &AgentForm, session: &[EgressRule]) -> Vec<EgressRule> {
    agent.guest_egress.iter().filter(|rule| crate::sessions::check_egress(std::slice::from_ref(*rule), session).is_ok()).cloned().collect()
}

/// How much of the agent a turn has, and a refusal where nothing is done for whoever asked.
pub(crate) fn admitted(asker: Option<&Asker>, agent: &str) -> Result<Share, Failure> {
    match asker {
        Some(Asker { standing: Standing::Nobody, .. }) => {
            Err(Failure::new(Code::Forbidden, format!("whoever asked this may not ask {agent} for anything any more")))
        }
        asker => Ok(share_of(asker)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::UserId;
    use store::AskerRow;

    use super::*;

    fn now(user: Option<u128>, person: Option<(u128, &str, &str)>, public: bool, via: &[&str]) -> AskerNow {
        AskerNow {
            row: AskerRow {
                turn: TurnId::from_bits(1),
                user: user.map(UserId::from_bits),
                channel: "lab".into(),
                chat: "c".into(),
                thread: None,
                handle: "h".into(),
                message: None,
                inbound: None,
                via: via.iter().map(|name| (*name).to_owned()).collect(),
            },
            state: TurnState::Running,
            person: person.map(|(user, agent, role)| Person {
                user: UserId::from_bits(user),
                role: None,
                agents: BTreeMap::from([(agent.to_owned(), role.to_owned())]),
            }),
            is_public: public,
        }
    }

    #[test]
    fn somebody_is_what_they_are_now_and_no_more_than_when_they_asked() {
        let check = |now: &AskerNow, expect| assert_eq!(standing(now, "andy"), expect, "{now:?}");
        check(&now(Some(7), Some((7, "andy", "admin")), false, &[]), Standing::Admin);
        check(&now(Some(7), Some((7, "andy", "member")), false, &[]), Standing::Member);
        // The role went, the handle went to somebody else, or was unlinked.
        check(&now(Some(7), Some((7, "bob", "admin")), false, &[]), Standing::Nobody);
        check(&now(Some(7), Some((8, "andy", "admin")), false, &[]), Standing::Nobody);
        check(&now(Some(7), None, false, &[]), Standing::Nobody);
        check(&now(Some(7), None, true, &[]), Standing::Guest);
        // A stranger, also one who was let in since.
        check(&now(None, None, true, &[]), Standing::Guest);
        check(&now(None, None, false, &[]), Standing::Nobody);
        check(&now(None, Some((7, "andy", "admin")), true, &[]), Standing::Guest);
        // The turn is over.
        check(&AskerNow { state: TurnState::Done, ..now(Some(7), Some((7, "andy", "admin")), true, &[]) }, Standing::Nobody);
    }

    #[test]
    fn an_agent_is_not_changed_for_members() {
        let of = |form: AgentForm, role: &str| asker_of(&now(Some(7), Some((7, "andy", role)), false, &[]), &form).tools;
        let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let andy = |tools: &[&str], members: Option<&[&str]>| AgentForm {
            name: "andy".into(),
            tools: names(tools),
            member_tools: members.map(names),
            ..AgentForm::default()
        };
        assert_eq!(of(andy(&["a", SET_INSTRUCTIONS], None), "member"), set(&["a"]));
        assert_eq!(of(andy(&["a", SET_INSTRUCTIONS], Some(&[SET_INSTRUCTIONS])), "member"), set(&[]));
        assert_eq!(of(andy(&["a", SET_INSTRUCTIONS], None), "admin"), None, "all of them");
        assert_eq!(of(andy(&["a"], None), "member"), None, "all of them");
    }

    #[test]
    fn who_looks_after_the_tenant_says_which_chats_are_heard_and_nobody_else() {
        let kept = |now: &AskerNow| asker_of(now, &AgentForm { name: "andy".into(), ..AgentForm::default() }).kept;
        let is_of_tenant = |role: &str, via: &[&str]| {
            let mut now = now(Some(7), Some((7, "other", "member")), false, via);
            now.person.as_mut().expect("one").role = Some(role.into());
            now
        };
        for (role, is_kept) in [("owner", false), ("admin", false), ("member", true), ("viewer", true)] {
            assert_eq!(!kept(&is_of_tenant(role, &[])).is_empty(), is_kept, "{role}");
        }
        // An admin of the agent alone, and a stranger.
        assert_eq!(kept(&now(Some(7), Some((7, "andy", "admin")), false, &[])).len(), FOR_WHO_LOOKS_AFTER.len());
        assert_eq!(kept(&now(None, None, true, &[])).len(), FOR_WHO_LOOKS_AFTER.len());
        // A handle that is somebody else's now.
        let mut moved = is_of_tenant("owner", &[]);
        moved.row.user = Some(UserId::from_bits(8));
        assert!(!kept(&moved).is_empty());
    }

    #[test]
    fn rights_never_grow_along_a_chain() {
        let check = |now: &AskerNow, expect| assert_eq!(standing(now, "andy"), expect, "{now:?}");
        check(&now(Some(7), Some((7, "bob", "admin")), false, &["bob"]), Standing::Guest);
        check(&now(Some(7), Some((7, "andy", "admin")), false, &["bob"]), Standing::Nobody);
        check(&now(Some(7), Some((7, "andy", "admin")), true, &["bob"]), Standing::Guest);
        check(&now(None, None, true, &["bob", "eve"]), Standing::Guest);
        let mut both = now(Some(7), Some((7, "andy", "admin")), false, &["bob"]);
        both.person.as_mut().expect("one").agents.insert("bob".into(), "member".into());
        check(&both, Standing::Member);
    }

    #[test]
    fn a_guest_reaches_no_more_than_the_session() {
        let rule = |text: &str| text.parse::<EgressRule>().expect(text);
        let agent = AgentForm { guest_egress: vec![rule("a.example"), rule("b.example")], ..AgentForm::default() };
        assert_eq!(guest_rules(&agent, &[rule("a.example")]), [rule("a.example")]);
        assert!(guest_rules(&agent, &[]).is_empty());
    }
}
