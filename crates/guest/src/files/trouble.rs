//! Why a verb was not done.

use rustix::io::Errno;
use serde_json::json;

/// A failure, as the host shows it.
#[derive(Debug)]
pub(super) struct Trouble {
    /// One of the program's stable codes.
    pub(super) code: &'static str,
    /// For a person.
    pub(super) message: String,
}

impl Trouble {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new("USAGE", message)
    }

    /// A failure of the operating system while doing `what`.
    pub(super) fn os(what: &str, errno: Errno) -> Self {
        let code = match errno {
            Errno::NOENT => "NOT_FOUND",
            Errno::EXIST | Errno::NOTEMPTY | Errno::BUSY | Errno::ISDIR | Errno::NOTDIR => "CONFLICT",
            Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::LOOP => "FORBIDDEN",
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => "DISK_LIMIT",
            Errno::NAMETOOLONG | Errno::INVAL => "USAGE",
            _ => "INTERNAL",
        };
        Self::new(code, format!("failed to {what}: {errno}"))
    }

    pub(super) fn io(what: &str, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => Self::os(what, Errno::from_raw_os_error(code)),
            None => Self::new("INTERNAL", format!("failed to {what}: {error}")),
        }
    }

    /// The line on standard error.
    pub(super) fn line(&self) -> String {
        json!({ "code": self.code, "message": self.message }).to_string()
    }
}
