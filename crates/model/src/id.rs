//! Identities: a prefix that says what is named, and 128 bits that sort by time of making (UUIDv7, hex).

use serde::{Deserialize, Serialize};

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an identity of the form {prefix}<32 hex digits>")]
pub struct IdError {
    /// What was given, cut to 64 characters.
    pub text: String,
    /// The prefix that was expected.
    pub prefix: &'static str,
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = concat!("^", $prefix, "[0-9a-f]{32}$")), with = "String")]
        pub struct $name(String);

        impl $name {
            /// What every identity of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an identity from 128 bits, for example those of a UUIDv7.
            #[must_use]
            pub fn from_bits(bits: u128) -> Self {
                Self(format!("{}{bits:032x}", $prefix))
            }

            /// The printed form.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                let rest = text.strip_prefix($prefix).unwrap_or("");
                let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if rest.len() == 32 && rest.bytes().all(plain) {
                    Ok(Self(text))
                } else {
                    Err(IdError { text: text.chars().take(64).collect(), prefix: $prefix })
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identity!(
    /// A conversation with one agent.
    SessionId, "ses_"
);
identity!(
    /// One piece of work asked of a session.
    TurnId, "trn_"
);
identity!(
    /// One running isolated environment.
    SandboxId, "sbx_"
);
identity!(
    /// A file tree that is kept: of a session, an env or a checkpoint.
    TreeId, "tre_"
);
identity!(
    /// A token of the HTTP API; public, the token itself is not stored.
    TokenId, "tok_"
);
identity!(
    /// A person who logs in.
    UserId, "usr_"
);
identity!(
    /// Something that a person is asked in a turn.
    QuestionId, "qst_"
);
identity!(
    /// A confirmation that a person is asked for.
    ApprovalId, "apr_"
);
identity!(
    /// Something that an agent remembers.
    MemoryId, "mem_"
);
identity!(
    /// One delivery that somebody is owed.
    WebhookId, "whk_"
);
identity!(
    /// A conversation on a chat network.
    ChatId, "cht_"
);
identity!(
    /// What makes an agent hear a chat.
    WiringId, "wir_"
);
identity!(
    /// Something that was said on a chat network.
    InboundId, "msg_"
);
identity!(
    /// One effect that a chat network is owed.
    OutboxId, "out_"
);
identity!(
    /// Somebody unknown who asks to be let in.
    AdmissionId, "adm_"
);
identity!(
    /// A code by which somebody proves that a handle or a chat is theirs.
    PairingId, "pai_"
);
identity!(
    /// Work that is done at set times.
    TaskId, "tsk_"
);
identity!(
    /// An agent that works on a branch.
    BranchId, "brn_"
);
identity!(
    /// Branches that are merged one after the other.
    MergeQueueId, "mrq_"
);
identity!(
    /// One time that a task was due, and what came of it.
    TaskRunId, "tkr_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_an_identity() {
        let id = SessionId::from_bits(7);
        assert_eq!(id.as_str(), "ses_00000000000000000000000000000007");
        assert_eq!(id.as_str().parse::<SessionId>(), Ok(id.clone()));
        for bad in [
            "", "ses_", "sbx_00000000000000000000000000000007", "ses_0000000000000000000000000000000G",
            "ses_../../../../../../../../etc/passwd",
        ] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
