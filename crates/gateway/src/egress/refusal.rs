//! How the proxy says no.

use std::net::IpAddr;

use model::{Code, Failure};

use super::bound::Misplaced;
use super::budget::Spent;
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
    /// No rule allows this method and path there.
    #[error("{method} {path} is not what this sandbox may ask {}:{} for", target.host, target.port)]
    NotAllowed {
        /// Where the request wanted to go.
        target: Target,
        /// The method; `WS` for a WebSocket.
        method: String,
        /// The path, escaped and cut.
        path: String,
    },
    /// The path cannot be held against a rule.
    #[error("the path that {}:{} was asked for cannot be held against a rule: {why}", target.host, target.port)]
    Ambiguous {
        /// Where the request wanted to go.
        target: Target,
        /// Why not.
        why: &'static str,
    },
    /// A placeholder of a secret where none belongs, or the caller's own credential towards a host that one is bound to.
    #[error("a request to {}:{} was refused: {what}", target.host, target.port)]
    Secret {
        /// Where the request wanted to go.
        target: Target,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The session has moved all that it may.
    #[error("the session has used up its {} for hosts", .0.key().0)]
    Spent(Spent),
    /// The owner took the rule back.
    #[error("{}:{} may not be reached any more", .0.host, .0.port)]
    Withdrawn(Target),
    /// The host's certificate is not trusted, or it speaks no TLS that is safe.
    #[error("{}:{} is not trusted: {why}", target.host, target.port)]
    Untrusted {
        /// Where the request wanted to go.
        target: Target,
        /// What TLS says.
        why: String,
    },
    /// The host answers in an encoding in which a bound secret could hide.
    #[error("{}:{} answers in an encoding that cannot be looked into", .0.host, .0.port)]
    Encoding(Target),
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
    /// A credential is not where it belongs.
    pub(super) fn secret(target: &Target, misplaced: Misplaced) -> Self {
        let what = match misplaced {
            Misplaced::Address => "the placeholder of a secret stands in its address",
            Misplaced::Header => "the placeholder of a secret is not bound to this host, path, method and header, or to this session",
            Misplaced::Body => "the placeholder of a secret stands in its body",
            Misplaced::Value => "there is no value for the placeholder of its secret, or none that can be taken out of an answer again",
            Misplaced::Own => "a credential stands in its query, and a secret is bound to this host",
        };
        Self::Secret { target: target.clone(), what }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Head(_) => Code::Usage,
            Self::SlowHead | Self::TooLong => Code::Timeout,
            Self::TooMany => Code::Busy,
            Self::NotListed(_)
            | Self::NeedsInspection(_)
            | Self::Address { .. }
            | Self::Hello(_)
            | Self::NotAllowed { .. }
            | Self::Ambiguous { .. }
            | Self::Secret { .. }
            | Self::Withdrawn(_)
            | Self::Encoding(_) => Code::EgressDenied,
            Self::Spent(_) => Code::BudgetExceeded,
            Self::Unresolved(_) | Self::Unreachable(_) | Self::Broken | Self::Untrusted { .. } => Code::NotFound,
            Self::TooMuch => Code::OutputLimit,
            Self::Cancelled => Code::Cancelled,
        }
    }

    /// The status of the answer, for a refusal that comes before the tunnel stands.
    fn status(&self) -> &'static str {
        match self {
            Self::Head(HeadError::Method(_)) => "405 Method Not Allowed",
            Self::Head(HeadError::TooLong) => "431 Request Header Fields Too Large",
            Self::Head(HeadError::Malformed(_)) => "400 Bad Request",
            Self::SlowHead => "408 Request Timeout",
            Self::TooMany | Self::Cancelled => "503 Service Unavailable",
            Self::NotListed(_)
            | Self::NeedsInspection(_)
            | Self::Address { .. }
            | Self::Hello(_)
            | Self::NotAllowed { .. }
            | Self::Ambiguous { .. }
            | Self::Secret { .. }
            | Self::Withdrawn(_) => "403 Forbidden",
            Self::Spent(_) => "429 Too Many Requests",
            Self::Unresolved(_) | Self::Unreachable(_) | Self::Broken | Self::Untrusted { .. } | Self::Encoding(_) => "502 Bad Gateway",
            Self::TooLong => "504 Gateway Timeout",
            Self::TooMuch => "413 Content Too Large",
        }
    }

    /// What a user is told, with the line that would allow it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.code(), self.to_string());
        match self {
            Self::NeedsInspection(_) => failure.hint("the daemon has no certificate authority: its log says why"),
            Self::NotAllowed { target, method, path } => {
                let rule = format!("{}:{}{path},{method}", target.host, target.port);
                failure.hint(format!("allow it with `--allow {rule}`, and add \"{rule}\" to `max` under [egress] in the configuration"))
            }
            Self::Spent(spent) => failure.hint(format!("raise `{}` under [egress] in the configuration", spent.key().1)),
            Self::Untrusted { .. } => {
                failure.hint("if its authority is your own, name a file with it as `extra_roots` under [egress] in the configuration")
            }
            Self::NotListed(target) => {
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
        format!(
            "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.status(),
            body.len()
        )
        .into_bytes()
    }
}
