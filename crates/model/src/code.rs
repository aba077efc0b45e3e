//! The closed set of ways to fail that a user can see.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $exit:literal, $retriable:literal;)*) => {
        /// A stable, documented error code. The same on the command line, in HTTP answers and in events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum Code {
            $($(#[doc = $doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code, in the order of the reference page.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The printed form.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }

            /// The exit status of a command that ends with this code.
            #[must_use]
            pub fn exit_status(self) -> u8 {
                match self { $(Code::$name => $exit),* }
            }

            /// What it means, for the reference page.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => concat!($($doc),*).trim_ascii_start()),* }
            }

            /// Whether the same request may succeed later without a change.
            #[must_use]
            pub fn is_retriable(self) -> bool {
                match self { $(Code::$name => $retriable),* }
            }
        }
    };
}

codes! {
    /// The command line, a field or a value has the wrong form.
    Usage = "USAGE", 2, false;
    /// The prompt is empty, too long, or holds a NUL.
    PromptInvalid = "PROMPT_INVALID", 2, false;
    /// The configuration file has an unknown key or a wrong value.
    ConfigInvalid = "CONFIG_INVALID", 2, false;
    /// A request, a file or an archive is longer than is taken.
    TooLarge = "TOO_LARGE", 2, false;
    /// What was named does not exist.
    NotFound = "NOT_FOUND", 2, false;
    /// The state of the thing does not allow it now.
    Conflict = "CONFLICT", 1, false;
    /// Two branches change the same lines; nothing was changed.
    MergeConflict = "MERGE_CONFLICT", 5, false;
    /// Work of an agent that is nowhere else would be lost.
    WorkUnsaved = "WORK_UNSAVED", 1, false;
    /// Other sessions of the env have changed its files since.
    EnvShared = "ENV_SHARED", 1, false;
    /// There is no checkpoint to go back to.
    CheckpointMissing = "CHECKPOINT_MISSING", 2, false;
    /// A policy or a missing right says no.
    Forbidden = "FORBIDDEN", 3, false;
    /// No engine of this name is known or installed.
    EngineMissing = "ENGINE_MISSING", 3, false;
    /// The engine's files differ from what was pinned.
    EngineTampered = "ENGINE_TAMPERED", 3, false;
    /// No image of this name is known.
    ImageMissing = "IMAGE_MISSING", 3, false;
    /// The engine or model needs a key that the store does not have.
    KeyMissing = "KEY_MISSING", 3, false;
    /// The stored credential was refused or has expired.
    CredentialExpired = "CREDENTIAL_EXPIRED", 1, false;
    /// A host path cannot be read, written or mounted.
    PathUnusable = "PATH_UNUSABLE", 3, false;
    /// A sandbox layer or limit that was required cannot be had on this host.
    LayerMissing = "LAYER_MISSING", 3, false;
    /// The home belongs to somebody else, is readable by others, or is in use.
    HomeUnsafe = "HOME_UNSAFE", 3, false;
    /// The database is damaged or made by a newer version.
    StoreUnusable = "STORE_UNUSABLE", 3, false;
    /// No daemon answers and none may be started.
    DaemonMissing = "DAEMON_MISSING", 3, true;
    /// The request came without a valid token.
    Unauthorized = "UNAUTHORIZED", 3, false;
    /// A host is not on the list that this sandbox may reach.
    EgressDenied = "EGRESS_DENIED", 3, false;
    /// The budget does not cover the next model call.
    BudgetExceeded = "BUDGET_EXCEEDED", 1, false;
    /// The price of the model is not known, so no budget can hold.
    PriceUnknown = "PRICE_UNKNOWN", 3, false;
    /// The provider cannot be reached.
    ProviderDown = "PROVIDER_DOWN", 1, true;
    /// The provider answers that there is too much traffic.
    ProviderLimited = "PROVIDER_LIMITED", 1, true;
    /// The provider answered with an error, or with something that is no answer.
    ProviderError = "PROVIDER_ERROR", 1, true;
    /// The provider's stream ended before its end.
    StreamCut = "STREAM_CUT", 1, true;
    /// The time limit was reached.
    Timeout = "TIMEOUT", 4, false;
    /// Somebody stopped it.
    Cancelled = "CANCELLED", 130, false;
    /// It asked its model as often as it may.
    TurnLimit = "TURN_LIMIT", 1, false;
    /// The script that runs before the engine failed.
    HookFailed = "HOOK_FAILED", 1, false;
    /// The engine ended with an error.
    EngineFailed = "ENGINE_FAILED", 1, false;
    /// The engine wrote more, or a longer line, than is allowed.
    OutputLimit = "OUTPUT_LIMIT", 1, false;
    /// The sandbox used up its memory and was ended.
    MemoryLimit = "MEMORY_LIMIT", 1, false;
    /// The sandbox used up its disk.
    DiskLimit = "DISK_LIMIT", 1, false;
    /// What a job left is larger than is kept; the message says how large it is.
    ResultTooLarge = "RESULT_TOO_LARGE", 1, false;
    /// The result does not fit the schema that was asked for, also after it was to be mended.
    OutputInvalid = "OUTPUT_INVALID", 1, false;
    /// The daemon ended again and again while it worked on this.
    Poisoned = "POISONED", 1, false;
    /// The sandbox could not be started, or ended by itself.
    SandboxFailed = "SANDBOX_FAILED", 1, true;
    /// The machine that had the files went away; nobody else can go on.
    HostLost = "HOST_LOST", 1, true;
    /// A replayed request differs from the tape.
    ReplayDiffers = "REPLAY_DIFFERS", 1, false;
    /// The tape cannot be read or was cut.
    TapeInvalid = "TAPE_INVALID", 2, false;
    /// No tool of this name can be called.
    UnknownTool = "UNKNOWN_TOOL", 2, false;
    /// The arguments of a tool call do not fit its schema, or the call is malformed.
    ValidationFailed = "VALIDATION_FAILED", 2, false;
    /// The tenant has as much as its quota allows.
    QuotaExceeded = "QUOTA_EXCEEDED", 1, true;
    /// Too many tool calls or requests in too short a time.
    RateLimited = "RATE_LIMITED", 1, true;
    /// Nobody confirmed the call in time.
    ConfirmationTimeout = "CONFIRMATION_TIMEOUT", 1, true;
    /// A person refused the call.
    ConfirmationDenied = "CONFIRMATION_DENIED", 3, false;
    /// The plugin did not answer in time.
    PluginTimeout = "PLUGIN_TIMEOUT", 1, true;
    /// The plugin is not running, or ended during the call.
    PluginUnavailable = "PLUGIN_UNAVAILABLE", 1, true;
    /// The plugin answered with something that is no answer.
    PluginError = "PLUGIN_ERROR", 1, false;
    /// The tool failed.
    HandlerError = "HANDLER_ERROR", 1, false;
    /// A plugin's folder, manifest or archive is malformed or not safe to install.
    PluginInvalid = "PLUGIN_INVALID", 2, false;
    /// A skill's folder or archive is malformed or not safe to add.
    SkillInvalid = "SKILL_INVALID", 2, false;
    /// A skill is missing, or its files in the home are not those that were approved.
    SkillChanged = "SKILL_CHANGED", 3, false;
    /// The chain of audit rows is broken.
    AuditBroken = "AUDIT_BROKEN", 1, false;
    /// A limit of the daemon (sandboxes, connections, sessions) is reached.
    Busy = "BUSY", 1, true;
    /// A bug. The log has the details.
    Internal = "INTERNAL", 1, false;
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as a user sees it: what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, schemars::JsonSchema)]
#[error("{message}")]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// What is wrong and where, for a person. No secret, no host path that the user did not give.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The field or argument that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, field: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the field that is meant.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

/// An error and everything that caused it, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_map_to_the_contract() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code}");
            assert!([1, 2, 3, 4, 5, 130].contains(&code.exit_status()), "{code}");
        }
        assert_eq!(serde_json::to_string(&Code::KeyMissing).ok().as_deref(), Some("\"KEY_MISSING\""));
    }
}
