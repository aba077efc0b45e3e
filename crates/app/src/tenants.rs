//! Organisations, and the people in them.

use model::{Code, Failure, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use store::{MemberRow, Quota, StoreError, TenantRow, TenantState};

use crate::{App, Caller, Role};

/// A tenant to make.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantForm {
    /// Small letters, digits and `-`.
    pub name: String,
    /// What people call it.
    #[serde(default)]
    pub title: String,
    /// What it may have.
    #[serde(default)]
    pub quota: Quota,
}

/// What changes about a tenant; what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantPatch {
    /// What people call it.
    pub title: Option<String>,
    /// Whether it may work. The tokens of a suspended tenant open nothing; what it has stays.
    pub state: Option<TenantState>,
    /// What it may have, whole: what is left out in it is not limited.
    pub quota: Option<Quota>,
}

/// A tenant as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TenantView {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Whether it may work.
    pub state: TenantState,
    /// What it may have.
    pub quota: Quota,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// A person who is to be in a tenant.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberForm {
    /// The address under which the issuer of logins knows them.
    pub email: String,
    /// What they are.
    pub role: Role,
    /// The tenant; that of the token when left out.
    #[serde(default)]
    pub tenant: Option<String>,
}

/// A person in a tenant.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemberView {
    /// Their identity.
    pub id: UserId,
    /// The tenant.
    pub tenant: String,
    /// Their address.
    pub email: String,
    /// What they are called.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// Whether a rule of the configuration made them so; then a login may change it.
    pub by_rule: bool,
    /// When they last logged in.
    pub seen: Option<Timestamp>,
}

/// The highest limit of a quota that is a count.
const COUNT_MAX: u64 = 1_000_000_000;
/// The longest address of a person.
const EMAIL_CHARS_MAX: usize = 200;

/// The tenants of an [`App`], as one caller sees them.
pub struct TenantsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

/// The people of an [`App`], as one caller sees them.
pub struct MembersOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
    /// What who asks is in their tenant; `None` for who is above tenants.
    pub(crate) role: Option<Role>,
}

impl App {
    /// The tenants that this caller sees: all, or its own.
    #[must_use]
    pub fn tenants_of(&self, caller: &Caller) -> TenantsOf<'_> {
        TenantsOf { app: self, caller: caller.clone() }
    }

    /// The people that this caller sees. `role` is what who asks is in the tenant; a token that is nobody's counts as an admin.
    #[must_use]
    pub fn members_of(&self, caller: &Caller, role: Option<Role>) -> MembersOf<'_> {
        let role = caller.tenant.is_some().then(|| role.unwrap_or(Role::Admin));
        MembersOf { app: self, caller: caller.clone(), role }
    }
}

impl TenantsOf<'_> {
    /// Makes a tenant.
    ///
    /// # Errors
    /// The name is none or taken, or a quota is out of bounds.
    pub async fn create(&self, form: TenantForm) -> Result<TenantView, Failure> {
        if !model::is_name(&form.name) {
            return Err(Failure::new(Code::Usage, "a tenant's name has small letters, digits and `-`").field("name"));
        }
        check_quota(&form.quota)?;
        let made = self.app.store().put_tenant(&form.name, Some(form.title), None, Some(form.quota), crate::now(), true).await;
        made.map(view).map_err(|e| e.failure())
    }

    /// The tenants that this caller sees.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<TenantView>, Failure> {
        let rows = self.app.store().list_tenants(self.caller.tenant.clone()).await.map_err(|e| e.failure())?;
        Ok(rows.into_iter().map(view).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn show(&self, name: &str) -> Result<TenantView, Failure> {
        self.see(name)?;
        self.app.store().tenant(name).await.map(view).map_err(|e| e.failure())
    }

    /// Changes one.
    ///
    /// # Errors
    /// There is none of this name, or a quota is out of bounds.
    pub async fn update(&self, name: &str, patch: TenantPatch) -> Result<TenantView, Failure> {
        self.show(name).await?;
        patch.quota.as_ref().map(check_quota).transpose()?;
        let changed = self.app.store().put_tenant(name, patch.title, patch.state, patch.quota, crate::now(), false).await;
        let changed = changed.map_err(|e| e.failure())?;
        if changed.state == TenantState::Suspended {
            self.app.rights_changed();
        }
        Ok(view(changed))
    }

    /// Removes one that owns nothing any more; its tokens end at once.
    ///
    /// # Errors
    /// There is none of this name, it is the owner's own, or something is still its own.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        if name == crate::OWN_TENANT {
            return Err(Failure::new(Code::Conflict, "what the owner makes belongs to this tenant: it stays").field("name"));
        }
        self.see(name)?;
        self.app.store().remove_tenant(name, crate::now()).await.map_err(|e| e.failure())?;
        self.app.rights_changed();
        Ok(())
    }

    fn see(&self, name: &str) -> Result<(), Failure> {
        if self.caller.sees(name) { Ok(()) } else { Err(StoreError::NotFound { what: "tenant", id: name.to_owned() }.failure()) }
    }
}

impl MembersOf<'_> {
    /// Puts a person into a tenant, or changes what they are there. Whoever never logged in is expected from then on.
    ///
    /// # Errors
    /// The address is none, the tenant is not seen, or the role is above what the caller may give or change.
    pub async fn put(&self, form: MemberForm) -> Result<MemberView, Failure> {
        let tenant = self.tenant(form.tenant.as_deref())?;
        let email = form.email.trim().to_lowercase();
        let is_address = email.split_once('@').is_some_and(|(who, host)| !who.is_empty() && host.contains('.'));
        if !is_address || email.chars().count() > EMAIL_CHARS_MAX || email.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Failure::new(Code::Usage, "this is no address of a person").field("email"));
        }
        self.may_touch(form.role)?;
        let now_there = self.app.store().list_members(Some(tenant.clone())).await.map_err(|e| e.failure())?;
        if let Some(row) = now_there.iter().find(|row| row.user.email == email) {
            self.may_touch(role_of(row)?)?;
        }
        let id = UserId::from_bits(crate::clock::fresh_bits());
        let row = self.app.store().put_member(id, &tenant, &email, form.role.as_str(), crate::now()).await.map_err(|e| e.failure())?;
        self.app.rights_changed();
        member_view(row)
    }

    /// The people of the tenants that this caller sees.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<MemberView>, Failure> {
        let rows = self.app.store().list_members(self.caller.tenant.clone()).await.map_err(|e| e.failure())?;
        rows.into_iter().map(member_view).collect()
    }

    /// Takes a person out of a tenant: their tokens there end at once.
    ///
    /// # Errors
    /// They are not in it, or are above the caller.
    pub async fn remove(&self, id: &str, tenant: Option<&str>) -> Result<(), Failure> {
        let tenant = self.tenant(tenant)?;
        let id: UserId = id.parse().map_err(|e: model::IdError| Failure::new(Code::NotFound, e.to_string()).field("user"))?;
        let row = self.app.store().member(&tenant, &id).await.map_err(|e| e.failure())?;
        self.may_touch(role_of(&row)?)?;
        self.app.store().remove_member(&tenant, &id, crate::now()).await.map_err(|e| e.failure())?;
        self.app.rights_changed();
        Ok(())
    }

    /// The tenant that is meant, where the caller sees it.
    fn tenant(&self, asked: Option<&str>) -> Result<String, Failure> {
        match asked {
            None => Ok(self.caller.makes_for().to_owned()),
            Some(name) if self.caller.sees(name) => Ok(name.to_owned()),
            Some(name) => Err(StoreError::NotFound { what: "tenant", id: name.to_owned() }.failure()),
        }
    }

    /// Whether who asks may make somebody this, or change somebody who is it.
    fn may_touch(&self, role: Role) -> Result<(), Failure> {
        match self.role {
            Some(own) if own < Role::Owner && role >= Role::Admin => {
                Err(Failure::new(Code::Forbidden, "only an owner of the tenant looks after admins and owners").field("role"))
            }
            _ => Ok(()),
        }
    }
}

fn check_quota(quota: &Quota) -> Result<(), Failure> {
    let wrong = |field: &str, why: String| Err(Failure::new(Code::Usage, why).field(field));
    let counts = [
        ("jobs_queued", quota.jobs_queued),
        ("running", quota.running),
        ("sessions", quota.sessions),
        ("envs", quota.envs),
        ("tokens", quota.tokens),
    ];
    if let Some((field, _)) = counts.iter().find(|(_, n)| n.is_some_and(|n| n > COUNT_MAX)) {
        return wrong(field, format!("a quota is at most {COUNT_MAX}"));
    }
    if quota.storage_bytes.is_some_and(|n| i64::try_from(n).is_err()) {
        return wrong("storage_bytes", "this is more than can be kept".to_owned());
    }
    if quota.usd_per_day.is_some() && quota.per_day().is_none() {
        return wrong("usd_per_day", "this is no amount of dollars".to_owned());
    }
    Ok(())
}

fn role_of(row: &MemberRow) -> Result<Role, Failure> {
    Role::of(&row.role).ok_or_else(|| Failure::new(Code::StoreUnusable, format!("the role of user {} cannot be read", row.user.id)))
}

fn member_view(row: MemberRow) -> Result<MemberView, Failure> {
    let role = role_of(&row)?;
    let MemberRow { tenant, user, by_rule, .. } = row;
    Ok(MemberView { id: user.id, tenant, email: user.email, name: user.name, role, by_rule, seen: user.seen })
}

fn view(row: TenantRow) -> TenantView {
    TenantView { name: row.name, title: row.title, state: row.state, quota: row.quota, created: row.created, updated: row.updated }
}
