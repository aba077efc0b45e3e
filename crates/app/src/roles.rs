//! What people are in a tenant.

use serde::{Deserialize, Serialize};

use crate::Scope;

/// What a person is in a tenant. Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Works.
    Member,
    /// Answers confirmations, and looks after members, viewers and tokens.
    Admin,
    /// Looks after admins and owners too.
    Owner,
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];

    /// The printed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn of(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// The most that somebody in this role may do.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Role::Viewer => Scope::Read,
            Role::Member => Scope::Write,
            Role::Admin | Role::Owner => Scope::Manage,
        }
    }
}
