//! What tokens may do: a level everywhere, or in one area only.

use std::fmt;
use std::str::FromStr;

use model::{Code, Failure};
use serde::{Deserialize, Serialize};

/// How far a right goes. Each allows what those before it allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Work: make sessions and envs, ask, undo, delete.
    Write,
    /// Answer confirmations: say what the work may do.
    Approve,
    /// Look after a tenant: its people, its tokens, what its work may cost.
    Manage,
    /// Configure: agents, secrets, engines, tools, the daemon itself. Never a tenant's.
    Admin,
}

impl Scope {
    /// Every scope, the weakest first.
    pub const ALL: [Scope; 5] = [Scope::Read, Scope::Write, Scope::Approve, Scope::Manage, Scope::Admin];

    /// The printed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Approve => "approve",
            Scope::Manage => "manage",
            Scope::Admin => "admin",
        }
    }

    fn of(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// The areas that a right may be narrowed to.
pub const AREAS: &[&str] = &[
    "agents", "approvals", "audit", "branches", "budgets", "chats", "daemon", "engines", "envs", "jobs", "memory", "metrics", "plugins",
    "profiles", "sandboxes", "secrets", "sessions", "tasks", "tenants", "tokens", "tools", "usage", "users", "webhooks",
];

/// Rights that one token may have.
const GRANTS_MAX: usize = 32;

/// Everything that a token may do: words with spaces between them. `read`, `write`, `approve`, `manage` and `admin` hold
/// everywhere; `jobs:write` holds in one area, `jobs:*` is all of it but to configure, and `jobs` alone is to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rights(Vec<Grant>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grant {
    /// Everywhere when `None`.
    area: Option<&'static str>,
    scope: Scope,
}

impl schemars::JsonSchema for Rights {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rights".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let scopes = Scope::ALL.map(Scope::as_str).join("|");
        let word = format!("({scopes}|({})(:({scopes}|\\*))?)", AREAS.join("|"));
        schemars::json_schema!({
            "type": "string",
            "description": "What it may do: words with spaces between them. `read`, `write`, `approve`, `manage` and `admin` hold \
                            everywhere; `jobs:write` in one area; `jobs:*` is all of it but to configure; `jobs` alone is to look.",
            "pattern": format!("^{word}( {word})*$"),
            "examples": ["write", "jobs:write sessions:read", "metrics"],
        })
    }
}

impl From<Scope> for Rights {
    fn from(scope: Scope) -> Self {
        Self(vec![Grant { area: None, scope }])
    }
}

impl Rights {
    /// Whether something of this area may be done that needs this scope.
    #[must_use]
    pub fn allow(&self, area: &str, scope: Scope) -> bool {
        self.0.iter().any(|grant| grant.scope >= scope && grant.area.is_none_or(|own| own == area))
    }

    /// Whether everything that `other` allows is allowed.
    #[must_use]
    pub fn cover(&self, other: &Rights) -> bool {
        let covered =
            |wanted: &Grant| self.0.iter().any(|own| own.scope >= wanted.scope && (own.area.is_none() || own.area == wanted.area));
        other.0.iter().all(covered)
    }

    /// The farthest that any of them goes.
    #[must_use]
    pub fn most(&self) -> Scope {
        self.0.iter().map(|grant| grant.scope).max().unwrap_or(Scope::Read)
    }

    /// What is left of them for somebody who may do no more than `most`.
    #[must_use]
    pub fn within(&self, most: Scope) -> Rights {
        Self(self.0.iter().map(|grant| Grant { scope: grant.scope.min(most), ..*grant }).collect())
    }
}

impl FromStr for Rights {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let mut grants = Vec::new();
        for word in text.split_ascii_whitespace() {
            let grant = grant(word).ok_or_else(|| unknown(word))?;
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        }
        if grants.is_empty() || grants.len() > GRANTS_MAX {
            return Err(Failure::new(Code::Usage, format!("a token has from 1 to {GRANTS_MAX} rights")).field("scope"));
        }
        Ok(Self(grants))
    }
}

fn grant(word: &str) -> Option<Grant> {
    if let Some(scope) = Scope::of(word) {
        return Some(Grant { area: None, scope });
    }
    let (area, scope) = word.split_once(':').unwrap_or((word, Scope::Read.as_str()));
    let area = AREAS.iter().copied().find(|known| *known == area)?;
    let scope = if scope == "*" { Scope::Manage } else { Scope::of(scope)? };
    Some(Grant { area: Some(area), scope })
}

fn unknown(word: &str) -> Failure {
    let word: String = word.chars().take(64).collect();
    Failure::new(Code::Usage, format!("`{}` is no right", word.escape_debug()))
        .hint(format!(
            "a right is read, write, approve, manage or admin, or one of them in an area, like jobs:write; areas: {}",
            AREAS.join(", ")
        ))
        .field("scope")
}

impl TryFrom<String> for Rights {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|f: Failure| f.message)
    }
}

impl From<Rights> for String {
    fn from(rights: Rights) -> String {
        rights.to_string()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, grant) in self.0.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            match grant.area {
                None => write!(f, "{space}{}", grant.scope.as_str())?,
                Some(area) => write!(f, "{space}{area}:{}", grant.scope.as_str())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(text: &str) -> Rights {
        text.parse().expect(text)
    }

    #[test]
    fn a_right_holds_where_it_says_and_no_farther() {
        let check = |text: &str, area: &str, scope, expect: bool| assert_eq!(rights(text).allow(area, scope), expect, "{text} {area}");
        check("write", "jobs", Scope::Write, true);
        check("write", "jobs", Scope::Approve, false);
        check("jobs:write", "jobs", Scope::Read, true);
        check("jobs:write", "sessions", Scope::Read, false);
        check("sessions:*", "sessions", Scope::Manage, true);
        check("sessions:*", "sessions", Scope::Admin, false);
        check("metrics", "metrics", Scope::Read, true);
        check("metrics", "metrics", Scope::Write, false);
        check("jobs:read sessions:write", "sessions", Scope::Write, true);
        check("jobs:write", "", Scope::Read, false);
    }

    #[test]
    fn what_is_given_on_is_never_more() {
        assert!(rights("manage").cover(&rights("jobs:write approve")));
        assert!(rights("jobs:*").cover(&rights("jobs:write")));
        assert!(!rights("jobs:*").cover(&rights("write")));
        assert!(!rights("write").cover(&rights("jobs:approve")));
        assert!(!rights("jobs:write").cover(&rights("sessions:read")));
        assert_eq!(rights("manage jobs:admin").within(Scope::Write).to_string(), "write jobs:write");
    }

    #[test]
    fn only_known_words_are_rights() {
        for bad in ["", " ", "root", "jobs:", ":write", "jobs:root", "jobs:write:x", "Jobs:write", "*", "*:*", "jobs,read"] {
            assert!(bad.parse::<Rights>().is_err(), "{bad:?}");
        }
        assert_eq!(rights("jobs  read read").to_string(), "jobs:read read");
        assert_eq!(rights(&rights("sessions:*").to_string()), rights("sessions:*"));
    }
}
