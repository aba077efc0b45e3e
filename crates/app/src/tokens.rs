//! Tokens of the HTTP API.

use model::{Code, Failure, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{EVERY_TENANT, NewToken, TokenRow};

use crate::{App, Caller, Rights, Role, Scope};

/// A token to make.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenForm {
    /// For people.
    pub name: String,
    /// What it may do.
    pub scope: Rights,
    /// Whose sessions and envs it sees. An admin's token has none and sees all. A tenant's own token makes tokens of that tenant.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Seconds until it ends; never when left out.
    #[serde(default)]
    pub expires_s: Option<u64>,
}

/// A token as it is shown: never its text, but once when it is made.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TokenView {
    /// Its public identity.
    pub id: TokenId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scope: Rights,
    /// The person whose token it is, if it is one's: it ends when they leave, and never goes beyond their role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Whose things it sees; all when left out.
    pub tenant: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The token itself, only in the answer to its making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What every token begins with.
const PREFIX: &str = "lzt_";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// The longest name of a token, in characters.
const NAME_CHARS_MAX: usize = 200;
/// The longest life that can be asked for, in seconds: a hundred years.
const LIFE_S_MAX: u64 = 100 * 365 * 86_400;
/// The tokens of an [`App`], as one caller sees them.
pub struct TokensOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

/// Who brings a token, as the store knows it now.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The token.
    pub token: TokenView,
    /// What it may do now: no more than the person whose it is.
    pub rights: Rights,
    /// What the person is in the tenant, when it is a person's.
    pub role: Option<Role>,
    /// Requests in a minute that its tenant may make.
    pub requests_per_minute: Option<u32>,
}

impl TokensOf<'_> {
    /// Makes a token: `lzt_` and 64 hexadecimal digits. Only its hash is kept. `own` is what who asks may do: the token may do
    /// no more.
    ///
    /// # Errors
    /// The form is wrong, it asks for more than the caller has, the tenant has enough tokens, or the store cannot be written.
    pub async fn create(&self, mut form: TokenForm, own: &Rights) -> Result<TokenView, Failure> {
        match (&self.caller.tenant, &form.tenant) {
            (Some(own), None) => form.tenant = Some(own.clone()),
            (Some(own), Some(asked)) if own != asked => {
                return Err(Failure::new(Code::Forbidden, "a tenant's token makes tokens of its own tenant").field("tenant"));
            }
            _ => {}
        }
        check(&form)?;
        if !own.cover(&form.scope) {
            return Err(Failure::new(Code::Forbidden, "nobody gives more than they have")
                .hint(format!("ask for no more than `{own}`"))
                .field("scope"));
        }
        self.make(form, None).await
    }

    /// A token of a person who logged in.
    pub(crate) async fn make(&self, form: TokenForm, member: Option<UserId>) -> Result<TokenView, Failure> {
        let now = crate::now();
        let token = fresh_token()?;
        let new = NewToken {
            id: TokenId::from_bits(crate::clock::fresh_bits()),
            name: form.name,
            tenant: form.tenant.unwrap_or_else(|| EVERY_TENANT.to_owned()),
            scope: form.scope.to_string(),
            member,
            hash: Sha256::digest(token.as_bytes()).into(),
            expires: form.expires_s.map(|s| Timestamp(now.0.saturating_add(s.saturating_mul(1000)))),
            now,
        };
        let row = self.app.store().create_token(new).await.map_err(|e| e.failure())?;
        Ok(TokenView { token: Some(token), ..view(row)? })
    }

    /// The tokens that this caller sees.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<TokenView>, Failure> {
        let rows = self.app.store().list_tokens(self.caller.tenant.clone()).await.map_err(|e| e.failure())?;
        rows.into_iter().map(view).collect()
    }

    /// Ends a token at once: streams that it opened end too.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn revoke(&self, id: &str) -> Result<(), Failure> {
        let id: TokenId = id.parse().map_err(|e: model::IdError| Failure::new(Code::NotFound, e.to_string()).field("token"))?;
        let row = self.app.store().token(&id).await.map_err(|e| e.failure())?;
        if !self.caller.sees(&row.tenant) {
            return Err(store::StoreError::NotFound { what: "token", id: id.to_string() }.failure());
        }
        self.app.store().revoke_token(&id, crate::now()).await.map_err(|e| e.failure())?;
        self.app.rights_changed();
        Ok(())
    }

    /// Ends the token of a person's page, and no other. Whether it was one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn log_out(&self, hash: &[u8; 32]) -> Result<bool, Failure> {
        let Some(bearer) = self.check_hash(hash).await?.filter(|bearer| bearer.token.user.is_some()) else { return Ok(false) };
        self.app.store().revoke_token(&bearer.token.id, crate::now()).await.map_err(|e| e.failure())?;
        self.app.rights_changed();
        Ok(true)
    }

    /// Who brings the token with this SHA-256, if it is good now. It is looked up by the hash, so the time that this takes
    /// tells nothing of the tokens there are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn check_hash(&self, hash: &[u8; 32]) -> Result<Option<Bearer>, Failure> {
        let seen = self.app.store().token_seen(*hash).await.map_err(|e| e.failure())?;
        let Some(seen) = seen.filter(|seen| seen.is_active && seen.row.is_good(crate::now())) else { return Ok(None) };
        let role = seen.role.as_deref().and_then(Role::of);
        if seen.row.member.is_some() && role.is_none() {
            // A person who is not in the tenant any more.
            return Ok(None);
        }
        let token = view(seen.row)?;
        let most = match (&token.tenant, role) {
            (_, Some(role)) => role.scope(),
            (Some(_), None) => Scope::Manage,
            (None, None) => Scope::Admin,
        };
        Ok(Some(Bearer { rights: token.scope.within(most), token, role, requests_per_minute: seen.requests_per_minute }))
    }
}

fn check(form: &TokenForm) -> Result<(), Failure> {
    let wrong = |why: String, field: &str| Err(Failure::new(Code::Usage, why).field(field));
    let chars = form.name.chars().count();
    if form.name.trim().is_empty() || chars > NAME_CHARS_MAX || form.name.chars().any(char::is_control) {
        return wrong(format!("a token needs a name of 1 to {NAME_CHARS_MAX} characters"), "name");
    }
    if let Some(tenant) = &form.tenant {
        if !model::is_name(tenant) {
            return wrong("a tenant's name has small letters, digits and `-`".to_owned(), "tenant");
        }
        if form.scope.most() == Scope::Admin {
            return wrong("a token that configures is no tenant's: what it changes is everybody's".to_owned(), "tenant");
        }
    }
    if form.expires_s.is_some_and(|s| s == 0 || s > LIFE_S_MAX) {
        return wrong(format!("a token lives from 1 to {LIFE_S_MAX} seconds, or for ever when nothing is said"), "expires_s");
    }
    Ok(())
}

fn fresh_token() -> Result<String, Failure> {
    let mut bytes = [0u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new(Code::Internal, format!("there are no random numbers: {e}")))?;
    Ok(bytes.iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

/// A row whose scope is none of ours opens nothing.
fn view(row: TokenRow) -> Result<TokenView, Failure> {
    let unreadable = |_| Failure::new(Code::StoreUnusable, format!("the scope of token {} cannot be read", row.id));
    let scope = row.scope.parse().map_err(unreadable)?;
    Ok(TokenView {
        id: row.id,
        name: row.name,
        scope,
        user: row.member,
        tenant: Some(row.tenant).filter(|tenant| tenant != EVERY_TENANT),
        created: row.created,
        expires: row.expires,
        revoked: row.revoked,
        token: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_tokens_are_made() {
        let form = |name: &str, scope, tenant: Option<&str>, expires_s| TokenForm {
            name: name.to_owned(),
            scope: Rights::from(scope),
            tenant: tenant.map(str::to_owned),
            expires_s,
        };
        let wrong = |form: TokenForm, field: &str| assert_eq!(check(&form).expect_err(field).field.as_deref(), Some(field));
        assert!(check(&form("ci", Scope::Write, Some("team-a"), Some(60))).is_ok());
        assert!(check(&form("ci", Scope::Admin, None, None)).is_ok());
        wrong(form(" ", Scope::Read, None, None), "name");
        wrong(form("a\u{1b}[2J", Scope::Read, None, None), "name");
        wrong(form("ci", Scope::Read, Some("*"), None), "tenant");
        wrong(form("ci", Scope::Admin, Some("team-a"), None), "tenant");
        wrong(form("ci", Scope::Read, None, Some(0)), "expires_s");
        wrong(form("ci", Scope::Read, None, Some(u64::MAX)), "expires_s");
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (fresh_token().expect("random"), fresh_token().expect("random"));
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[..4]), (4 + 64, "lzt_"));
    }
}
