//! People of chat networks as those who look after them see and change them.

use model::{AdmissionId, Code, Failure, PairingId, Timestamp, UserId};
use store::{AdmissionRow, AgentRoleRow, PairingRow, StoreError};

use super::forms::{AdmissionView, HandleForm, HandleView, PairForm, PairingView, RoleForm, RoleView};
use super::{CODE_DIGITS, code_hash};
use crate::clock::fresh_bits;
use crate::{App, Caller, Role, now};

/// How long a code can be used when nothing is said, and at most, in seconds.
const TTL_S: (u64, u64) = (600, 3600);
/// How often a fresh code is drawn when another one that can be used is the same.
const DRAWS_MAX: usize = 5;

/// The people that a caller sees.
pub struct PeopleOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
    /// What the caller is in the tenant, when that is a person.
    pub(crate) role: Option<Role>,
}

impl App {
    /// The people of chat networks that this caller sees.
    #[must_use]
    pub fn people_of(&self, caller: &Caller, role: Option<Role>) -> PeopleOf<'_> {
        PeopleOf { app: self, caller: caller.clone(), role }
    }

    /// Lets somebody in, or not; the message that is held is routed then, once.
    pub(super) async fn let_in(&self, id: &AdmissionId, allow: bool, by: &str) -> Result<AdmissionRow, Failure> {
        let row = self.store().answer_admission(id, allow, by, now()).await.map_err(|e| e.failure())?;
        model::crash::point("channel:admitted");
        let detail = serde_json::json!({ "id": id, "agent": row.agent, "handle": row.handle, "channel": row.channel });
        self.audit_change(by, if allow { "admission.allow" } else { "admission.deny" }, detail).await?;
        self.go_on_hosting(&row.channel);
        Ok(row)
    }
}

impl PeopleOf<'_> {
    /// The handles, by account.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn handles(&self) -> Result<Vec<HandleView>, Failure> {
        let rows = self.app.store().list_handles(self.caller.tenant.clone(), None).await.map_err(|e| e.failure())?;
        let view = |row: store::HandleRow| HandleView {
            channel: row.channel,
            handle: row.handle,
            name: row.name,
            user: row.user,
            dm: row.dm.is_some(),
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// Links a handle to a person of the account's tenant.
    ///
    /// # Errors
    /// There is no such account or person.
    pub async fn link(&self, form: HandleForm) -> Result<(), Failure> {
        let channel = self.app.channel_seen(&self.caller, &form.channel).await?;
        self.may_link(&channel.tenant, &form.user).await?;
        self.app.store().link_handle(&channel.name, &form.handle, &form.name, &form.user, now()).await.map_err(|e| e.failure())
    }

    /// Unlinks a handle: whoever has it is unknown from then on.
    ///
    /// # Errors
    /// There is no such handle.
    pub async fn unlink(&self, channel: &str, handle: &str) -> Result<(), Failure> {
        let channel = self.app.channel_seen(&self.caller, channel).await?;
        self.app.store().unlink_handle(&channel.name, handle).await.map_err(|e| e.failure())
    }

    /// Who is what to which agent.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn roles(&self) -> Result<Vec<RoleView>, Failure> {
        let rows = self.app.store().list_agent_roles(self.caller.tenant.clone()).await.map_err(|e| e.failure())?;
        Ok(rows.into_iter().map(|row| RoleView { agent: row.agent, user: row.user, role: row.role, tenant: row.tenant }).collect())
    }

    /// Gives somebody a role with an agent.
    ///
    /// # Errors
    /// The role, agent or person is none.
    pub async fn grant(&self, form: RoleForm, by: &str) -> Result<(), Failure> {
        if !["member", "admin"].contains(&form.role.as_str()) {
            return Err(Failure::new(Code::Usage, "a role with an agent is member or admin").field("role"));
        }
        let agent = self.app.agents().show(&form.agent).await?.name;
        let tenant = self.caller.makes_for().to_owned();
        self.person_seen(&tenant, &form.user).await?;
        let row = AgentRoleRow { tenant, agent, user: form.user, role: form.role };
        self.app.store().grant_agent(row, by, now()).await.map_err(|e| e.failure())
    }

    /// Takes somebody's role with an agent away.
    ///
    /// # Errors
    /// They have none.
    pub async fn revoke(&self, agent: &str, user: &UserId) -> Result<(), Failure> {
        self.app.store().revoke_agent(self.caller.makes_for(), agent, user).await.map_err(|e| e.failure())
    }

    /// Makes a code, and shows it this once.
    ///
    /// # Errors
    /// The role, agent, person or account is none, or too many codes can be used.
    pub async fn pair(&self, form: PairForm) -> Result<PairingView, Failure> {
        let wrong = |field: &str, why: &str| Failure::new(Code::Usage, why).field(field);
        let allowed: &[&str] = if form.agent.is_some() { &["member", "admin", "owner"] } else { &["admin", "owner"] };
        if form.role.as_deref().is_some_and(|role| !allowed.contains(&role)) {
            return Err(wrong("role", "a role is member or admin of an agent, or, without one, admin or owner of the tenant"));
        }
        let agent = match &form.agent {
            Some(agent) => Some(self.app.agents().show(agent).await?.name),
            None => None,
        };
        let tenant = match &form.channel {
            Some(channel) => self.app.channel_seen(&self.caller, channel).await?.tenant,
            None => self.caller.makes_for().to_owned(),
        };
        if let Some(user) = &form.user {
            self.may_link(&tenant, user).await?;
        } else if agent.is_none() && form.role.is_none() {
            return Err(wrong("agent", "a code is for an agent, a role or a person"));
        }
        if form.role.as_deref() == Some("owner") || (form.agent.is_none() && form.role.is_some()) {
            self.must_own("makes admins and owners")?;
        }
        let ttl = form.ttl_s.unwrap_or(TTL_S.0);
        if ttl == 0 || ttl > TTL_S.1 {
            return Err(wrong("ttl_s", "a code can be used for an hour at most"));
        }
        let at = now();
        for _ in 0..DRAWS_MAX {
            let code = drawn()?;
            let row = PairingRow {
                id: PairingId::from_bits(fresh_bits()),
                tenant: tenant.clone(),
                hash: code_hash(&code),
                user: form.user.clone(),
                agent: agent.clone(),
                role: form.role.clone(),
                channel: form.channel.clone(),
                expires: Timestamp(at.0 + ttl * 1000),
                used: None,
                used_by: None,
                created: at,
            };
            match self.app.store().put_pairing(row.clone()).await {
                Ok(()) => return Ok(PairingView { code: Some(code), ..pairing_view(row) }),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.failure()),
            }
        }
        Err(Failure::new(Code::Busy, "no free code was found"))
    }

    /// The codes of late, the youngest first; none is shown.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn pairings(&self) -> Result<Vec<PairingView>, Failure> {
        let rows = self.app.store().list_pairings(self.caller.tenant.clone()).await.map_err(|e| e.failure())?;
        Ok(rows.into_iter().map(pairing_view).collect())
    }

    /// Who asks to be let in, the youngest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn admissions(&self, state: Option<String>) -> Result<Vec<AdmissionView>, Failure> {
        let rows = self.app.store().list_admissions(self.caller.tenant.clone(), state).await.map_err(|e| e.failure())?;
        Ok(rows.into_iter().map(admission_view).collect())
    }

    /// Lets somebody in, or not.
    ///
    /// # Errors
    /// There is no such admission, or it was answered.
    pub async fn answer(&self, id: &str, allow: bool, by: &str) -> Result<AdmissionView, Failure> {
        let id: AdmissionId = id.parse().map_err(|e: model::IdError| Failure::new(Code::NotFound, e.to_string()))?;
        let row = self.app.store().admission(&id).await.map_err(|e| e.failure())?;
        if !self.caller.sees(&row.tenant) {
            return Err(StoreError::NotFound { what: "admission", id: id.to_string() }.failure());
        }
        self.app.let_in(&id, allow, by).await.map(admission_view)
    }

    /// Refuses who is not an owner what would make somebody more than they are themselves.
    fn must_own(&self, why: &str) -> Result<(), Failure> {
        if self.caller.tenant.is_none() || self.role == Some(Role::Owner) {
            return Ok(());
        }
        Err(Failure::new(Code::Forbidden, format!("only an owner {why}")))
    }

    /// Whoever has a handle may do what its person may: only an owner links one to an admin or owner.
    async fn may_link(&self, tenant: &str, user: &UserId) -> Result<(), Failure> {
        self.person_seen(tenant, user).await?;
        let role = self.app.store().rights_of(tenant, user).await.map_err(|e| e.failure())?.role;
        if matches!(role.as_deref(), Some("admin" | "owner")) { self.must_own("links a handle to an admin or owner") } else { Ok(()) }
    }

    /// A person of this tenant: a member of it, or somebody who has a handle or a role there.
    async fn person_seen(&self, tenant: &str, user: &UserId) -> Result<(), Failure> {
        let store = self.app.store();
        let person = store.rights_of(tenant, user).await.map_err(|e| e.failure())?;
        if person.role.is_some() || !person.agents.is_empty() {
            return Ok(());
        }
        let handles = store.list_handles(Some(tenant.to_owned()), Some(user.clone())).await.map_err(|e| e.failure())?;
        if handles.is_empty() { Err(StoreError::NotFound { what: "user", id: user.to_string() }.failure()) } else { Ok(()) }
    }
}

/// A code of the operating system's randomness, each equally likely.
fn drawn() -> Result<String, Failure> {
    let most = (0..CODE_DIGITS).fold(1_u64, |n, _| n * 10);
    // Beyond the last whole multiple some would be likelier than others.
    let limit = u64::MAX - u64::MAX % most;
    loop {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|e| Failure::new(Code::Internal, format!("there is no randomness: {e}")))?;
        let n = u64::from_le_bytes(bytes);
        if n < limit {
            return Ok(format!("{:0CODE_DIGITS$}", n % most));
        }
    }
}

fn pairing_view(row: PairingRow) -> PairingView {
    PairingView { id: row.id, code: None, agent: row.agent, role: row.role, expires: row.expires, used_by: row.used_by }
}

fn admission_view(row: AdmissionRow) -> AdmissionView {
    AdmissionView {
        id: row.id,
        channel: row.channel,
        chat: row.chat,
        agent: row.agent,
        handle: row.handle,
        name: row.name,
        state: row.state,
        created: row.created,
    }
}
