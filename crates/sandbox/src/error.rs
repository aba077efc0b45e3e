//! Why a sandbox could not be had or does not go on.

use model::{Code, Failure, TreeId};

/// Why a sandbox could not be had or does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The operating system refused something.
    #[error("failed to {what}")]
    Io {
        /// What was tried, completing "failed to".
        what: String,
        /// Its answer.
        source: std::io::Error,
    },
    /// A layer or limit that was required cannot be had on this host.
    #[error("the layer {layer} cannot be had: {why}")]
    Layer {
        /// The layer's name in the level.
        layer: String,
        /// Why not.
        why: String,
        /// What would give it.
        remedy: String,
    },
    /// A limit of this daemon is reached.
    #[error("the limit of {max} {what} is reached")]
    Busy {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The home does not have the right form, owner or mode.
    #[error("the home cannot be used: {0}")]
    Home(String),
    /// A host path in the request cannot be used.
    #[error("the path {path} cannot be used: {why}")]
    Path {
        /// The path as given.
        path: String,
        /// Why not.
        why: String,
    },
    /// The image is not there or is no image.
    #[error("the image cannot be used: {0}")]
    Image(String),
    /// The sandbox could not be built.
    #[error("failed to build the sandbox: {0}")]
    Start(String),
    /// The guest broke the rules of the channel.
    #[error("the guest broke the protocol: {0}")]
    Protocol(String),
    /// The sandbox has ended.
    #[error("the sandbox has ended: {0}")]
    Gone(String),
    /// The sandbox was ended because it used up its memory.
    #[error("the sandbox used up its memory")]
    Memory,
    /// A command could not be started, or a transfer could not be done, inside.
    #[error("{message} (error number {errno})")]
    Inside {
        /// The error number inside, 0 when there is none.
        errno: i32,
        /// What was tried.
        message: String,
    },
    /// It did not answer in time.
    #[error("{what} took longer than {limit_ms} ms")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// The limit.
        limit_ms: u64,
    },
    /// A file tree breaks a limit of transfers.
    #[error("the file tree cannot be taken over: {0}")]
    Tree(String),
    /// Sandboxes have the tree, and what was asked needs it alone.
    #[error("the tree {tree} is in use: {why}")]
    TreeInUse {
        /// Which tree.
        tree: TreeId,
        /// By whom, or what would have to be otherwise.
        why: String,
    },
    /// There is no such tree.
    #[error("there is no tree {0}")]
    TreeMissing(TreeId),
    /// There is such a tree already.
    #[error("there is a tree {0} already")]
    TreeExists(TreeId),
    /// No sandbox of this identity.
    #[error("there is no sandbox {0}")]
    Unknown(String),
}

impl SandboxError {
    /// An operating system error with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The stable code of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Io { .. } | Self::Start(_) | Self::Protocol(_) | Self::Gone(_) => Code::SandboxFailed,
            Self::Layer { .. } => Code::LayerMissing,
            Self::Busy { .. } => Code::Busy,
            Self::Home(_) => Code::HomeUnsafe,
            Self::Path { .. } | Self::Tree(_) | Self::Inside { .. } => Code::PathUnusable,
            Self::Image(_) => Code::ImageMissing,
            Self::Memory => Code::MemoryLimit,
            Self::Timeout { .. } => Code::Timeout,
            Self::TreeInUse { .. } | Self::TreeExists(_) => Code::Conflict,
            Self::Unknown(_) | Self::TreeMissing(_) => Code::NotFound,
        }
    }

    /// The failure as a user sees it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.code(), model::chain(self));
        match self {
            Self::Layer { remedy, .. } => failure.hint(remedy.clone()),
            _ => failure,
        }
    }
}
