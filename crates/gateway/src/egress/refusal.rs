//! How the proxy says no.

use std::net::IpAddr;

use model::{Code, Failure};

use super::head::{HeadError, Target};
use super::hello::HelloError;

/// Why a connection was refused or cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request could not be taken.
    #[error("{0}")]
    Head(#[from] HeadError),
    /// The request did not come in time.
    #[error("the request did not come in time")]
    SlowHead,
    /// The sandbox has too many connections open.
    #[error("the sandbox has too many connections open")]
    TooMany,
    /// No rule names the host and port.
    #[error("{}:{} is not on the list of hosts that this sandbox may reach", .0.host, .0.port)]
    NotListed(Target),
    /// Only a rule with a path or method names the host and port.
    #[error("{}:{} is listed with a path or method only, which needs inspection", .0.host, .0.port)]
    NeedsInspection(Target),
    /// The name has no address.
    #[error("{}:{} cannot be found", .0.host, .0.port)]
    Unresolved(Target),
    /// The name leads to an address that is never dialled.
    #[error("{}:{} leads to {address}, which is {range}", target.host, target.port)]
    Address {
        /// Where the request wanted to go.
        target: Target,
        /// The address.
        address: IpAddr,
        /// What it is.
        range: &'static str,
    },
    /// Nobody answers there.
    #[error("{}:{} cannot be reached", .0.host, .0.port)]
    Unreachable(Target),
    /// What came after the request is not TLS to the host.
    #[error("the connection was cut: {0}")]
    Hello(#[from] HelloError),
    /// Nothing moved for too long, or the connection took too long altogether.
    #[error("the connection took too long")]
    TooLong,
    /// More bytes moved than one connection may carry.
    #[error("the connection carried too much")]
    TooMuch,
    /// The sandbox or the daemon ended.
    #[error("the connection was ended")]
    Cancelled,
    /// One of both ends broke off.
    #[error("the connection broke")]
    Broken,
}

impl Refusal {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Head(_) => Code::Usage,
            Self::SlowHead | Self::TooLong => Code::Timeout,
            Self::TooMany => Code::Busy,
            Self::NotListed(_) | Self::NeedsInspection(_) | Self::Address { .. } | Self::Hello(_) => Code::EgressDenied,
            Self::Unresolved(_) | Self::Unreachable(_) | Self::Broken => Code::NotFound,
            Self::TooMuch => Code::OutputLimit,
            Self::Cancelled => Code::Cancelled,
        }
    }

    /// The status of the answer, for a refusal that comes before the tunnel stands.
    fn status(&self) -> &'static str {
        match self {
            Self::Head(HeadError::NotConnect) => "405 Method Not Allowed",
            Self::Head(HeadError::TooLong) => "431 Request Header Fields Too Large",
            Self::Head(HeadError::Malformed(_)) => "400 Bad Request",
            Self::SlowHead => "408 Request Timeout",
            Self::TooMany | Self::Cancelled => "503 Service Unavailable",
            Self::NotListed(_) | Self::NeedsInspection(_) | Self::Address { .. } | Self::Hello(_) => "403 Forbidden",
            Self::Unresolved(_) | Self::Unreachable(_) | Self::Broken => "502 Bad Gateway",
            Self::TooLong => "504 Gateway Timeout",
            Self::TooMuch => "413 Content Too Large",
        }
    }

    /// What a user is told, with the line that would allow it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.code(), self.to_string());
        match self {
            Self::NotListed(target) | Self::NeedsInspection(target) => {
                let rule = format!("{}:{}", target.host, target.port);
                failure.hint(format!("allow it with `--allow {rule}`, and add \"{rule}\" to `max` under [egress] in the configuration"))
            }
            Self::Address { address, .. } => {
                failure.hint(format!("if that is meant, add \"{address}\" to `private_ok` under [egress] in the configuration"))
            }
            _ => failure,
        }
    }

    /// The whole answer. It holds nothing of the request but a canonical host and port.
    pub(super) fn answer(&self) -> Vec<u8> {
        let body = serde_json::json!({ "error": self.failure() }).to_string();
        let allow = if matches!(self, Self::Head(HeadError::NotConnect)) { "Allow: CONNECT\r\n" } else { "" };
        format!(
            "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n{body}",
            self.status(),
            body.len()
        )
        .into_bytes()
    }
}
