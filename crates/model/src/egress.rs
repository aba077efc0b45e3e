//! Which host a sandbox may reach: `HOST[:PORT][/PATH][,METHOD]`.

use serde::{Deserialize, Serialize};

/// One allowed target. The host is canonical: lower case, no trailing dot, ASCII (punycode for other scripts).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct EgressRule {
    /// An exact host name. No wildcard: a suffix rule is how allow-lists are got round.
    pub host: String,
    /// The port; 443 when none was written.
    pub port: u16,
    /// A path prefix, which needs inspection; `None` allows every path. `/a` is for `/a` and all below it, `/a/` only for
    /// what is below.
    pub path: Option<String>,
    /// A method, which needs inspection; `None` allows every method, but no WebSocket. [`WEBSOCKET`] allows that and nothing
    /// else.
    pub method: Option<String>,
}

/// What a rule says in place of a method to allow a WebSocket.
pub const WEBSOCKET: &str = "WS";

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not HOST[:PORT][/PATH][,METHOD]: {why}")]
pub struct EgressRuleError {
    /// What was given, escaped and cut to 64 characters.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The longest host name of RFC 1035.
const HOST_BYTES_MAX: usize = 253;
/// The longest label of RFC 1035.
const LABEL_BYTES_MAX: usize = 63;

/// The canonical form of a host name, or why it has none. The only parser of host names in the project.
///
/// # Errors
/// A reason for people, when `host` is not a plain ASCII name.
pub fn canonical_host(host: &str) -> Result<String, &'static str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err("the host is empty");
    }
    if host.len() > HOST_BYTES_MAX {
        return Err("the host is longer than 253 bytes");
    }
    for label in host.split('.') {
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            return Err("a label of the host is empty or longer than 63 bytes");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err("the host has a character that is not a letter, digit, hyphen or dot (write other scripts in punycode)");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label of the host begins or ends with a hyphen");
        }
    }
    // A last label of digits (also hexadecimal) is an IPv4 address in one of its odd spellings.
    let last = host.rsplit('.').next().unwrap_or("");
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || (last.len() > 1 && last[..2].eq_ignore_ascii_case("0x") && last[2..].bytes().all(|b| b.is_ascii_hexdigit()));
    if numeric && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err("the host is an address in a form that programs read differently");
    }
    Ok(host.to_ascii_lowercase())
}

impl EgressRule {
    /// Whether everything that `other` allows is allowed by this rule too.
    #[must_use]
    pub fn covers(&self, other: &EgressRule) -> bool {
        let path = match (&self.path, &other.path) {
            (None, _) => true,
            (Some(_), Some(other)) => self.has_path(other),
            (Some(_), None) => false,
        };
        let method = match (&self.method, other.method.as_deref()) {
            // Only what is carried unread can be a WebSocket without a word about it.
            (None, Some(WEBSOCKET)) => self.path.is_none(),
            (None, _) => true,
            (own, other) => own.as_deref() == other,
        };
        self.host == other.host && self.port == other.port && path && method
    }

    /// Whether this path, in its one canonical form, is the rule's or lies below it.
    #[must_use]
    pub fn has_path(&self, path: &str) -> bool {
        let Some(own) = self.path.as_deref() else { return true };
        path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || own.ends_with('/') || rest.starts_with('/'))
    }

    /// Whether each request must be looked at to know if the rule allows it.
    #[must_use]
    pub fn needs_inspection(&self) -> bool {
        self.path.is_some() || self.method.is_some()
    }
}

impl std::str::FromStr for EgressRule {
    type Err = EgressRuleError;
    fn from_str(text: &str) -> Result<Self, EgressRuleError> {
        let bad = |why| EgressRuleError { text: text.escape_debug().take(64).collect(), why };
        let (target, method) = match text.rsplit_once(',') {
            Some((target, method)) => (target, Some(method)),
            None => (text, None),
        };
        if method.is_some_and(|m| m.is_empty() || m.len() > 16 || !m.bytes().all(|b| b.is_ascii_uppercase())) {
            return Err(bad("a method is written in capitals, like GET"));
        }
        let (authority, path) = match target.find('/') {
            Some(at) => (&target[..at], Some(&target[at..])),
            None => (target, None),
        };
        if path.is_some_and(|p| !is_plain_path(p)) {
            return Err(bad("a path is plain ASCII without `.`, `..` or empty parts, and without any of \\ % ; ? #"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => {
                let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|p| digits && *p != 0);
                (host, port.ok_or_else(|| bad("the port is not a number from 1 to 65535"))?)
            }
            None => (authority, 443),
        };
        let host = canonical_host(host).map_err(bad)?;
        Ok(Self { host, port, path: path.map(str::to_owned), method: method.map(str::to_owned) })
    }
}

/// Whether a path is in the one form that every server reads alike.
fn is_plain_path(path: &str) -> bool {
    let parts = path.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\%;?#".contains(&b);
    let part = |part: &str| !matches!(part, "" | "." | "..");
    path == "/" || parts.is_some_and(|parts| parts.split('/').all(part)) && path.bytes().all(plain)
}

impl TryFrom<String> for EgressRule {
    type Error = EgressRuleError;
    fn try_from(text: String) -> Result<Self, EgressRuleError> {
        text.parse()
    }
}

impl From<EgressRule> for String {
    fn from(rule: EgressRule) -> String {
        rule.to_string()
    }
}

impl std::fmt::Display for EgressRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, self.path.as_deref().unwrap_or(""))?;
        match &self.method {
            Some(method) => write!(f, ",{method}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_canonical_form() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(text.parse::<EgressRule>().ok().map(|r| r.to_string()).as_deref(), expect, "{text:?}");
        };
        check("Example.COM.", Some("example.com:443"));
        check("example.com:8080/api,GET", Some("example.com:8080/api,GET"));
        check("127.0.0.1:9", Some("127.0.0.1:9"));
        for bad in [
            "", ".", "a..b", "*.example.com", "exa mple.com", "evil\0.example.com", "user@example.com", "[::1]:80", "example.com:0",
            "example.com:99999", "example.com:+80", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "bücher.de", "-a.com", "a.com/../b",
            "a.com,get", "a.com//b", "a.com/b//", "a.com/./b", "a.com/%2e/b", "a.com/b;c", "a.com/b?c", "a.com/b#c", "a.com/b\\c",
        ] {
            check(bad, None);
        }
        for good in ["a.com:443/", "a.com:443/a/", "a.com:443/@x/y.git", "a.com:80/socket,WS", "a.com:443/a..b"] {
            check(good, Some(good));
        }
    }

    #[test]
    fn a_rule_covers_what_lies_within_it() {
        let check = |own: &str, other: &str, expect: bool| {
            let rule = |text: &str| text.parse::<EgressRule>().unwrap();
            assert_eq!(rule(own).covers(&rule(other)), expect, "{own} covers {other}");
        };
        check("a.com", "a.com/x,GET", true);
        check("a.com/x", "a.com", false);
        check("a.com/x", "a.com/x/y", true);
        check("a.com/x", "a.com/x/", true);
        check("a.com/x", "a.com/xy", false);
        check("a.com/x/", "a.com/x", false);
        check("a.com/x/", "a.com/x/y", true);
        check("a.com,GET", "a.com", false);
        check("a.com,GET", "a.com,POST", false);
        check("a.com", "a.com:80", false);
        // What is not looked at may be a WebSocket; what is looked at is one only where a rule says so.
        check("a.com", "a.com/x,WS", true);
        check("a.com/x", "a.com/x,WS", false);
        check("a.com/x,WS", "a.com/x,WS", true);
        check("a.com/x,WS", "a.com/x,GET", false);
    }
}
