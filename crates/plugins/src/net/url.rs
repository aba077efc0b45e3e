//! Addresses of the web, read strictly: what is not plainly one is refused.

use std::fmt;

/// The longest address, in bytes.
const URL_BYTES_MAX: usize = 4096;
/// The longest host name.
const HOST_BYTES_MAX: usize = 253;

/// An absolute address of `http` or `https`, without user, password and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) secure: bool,
    /// Lower case, no dot at the end.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, beginning with a slash; plain ASCII.
    pub(crate) path: String,
}

/// Why a text is not an address that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be used as an address: {why}")]
pub(crate) struct UrlError {
    text: String,
    why: &'static str,
}

impl Url {
    /// Reads an absolute address.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        let bad = |why| UrlError { text: text.escape_debug().take(128).collect(), why };
        if text.len() > URL_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(bad("it has control characters or backslashes"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it does not begin with https:// or http://"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(bad("only https:// and http:// are known")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("user names and passwords do not belong into an address"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            None => (authority, if secure { 443 } else { 80 }),
            Some((host, port)) => {
                let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                (host, port.parse().ok().filter(|p| *p != 0 && digits).ok_or_else(|| bad("its port is not a number"))?)
            }
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
        if host.is_empty() || host.len() > HOST_BYTES_MAX || !plain || host.split('.').any(str::is_empty) {
            return Err(bad("its host is not a plain name (write other scripts in punycode)"));
        }
        Ok(Self { secure, host, port, path: clean_path(tail) })
    }

    /// What a link or a redirect on this page leads to.
    pub(crate) fn join(&self, link: &str) -> Result<Self, UrlError> {
        let link = link.trim();
        let scheme_end = link.find(':').filter(|at| link[..*at].bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)));
        if scheme_end.is_some_and(|at| at > 0) {
            return Self::parse(link);
        }
        if let Some(rest) = link.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme()));
        }
        let (path, _) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let target = match link.as_bytes().first() {
            None | Some(b'#') => self.path.clone(),
            Some(b'/') => link.to_owned(),
            Some(b'?') => format!("{path}{link}"),
            Some(_) => format!("{}/{link}", path.rsplit_once('/').map_or("", |(directory, _)| directory)),
        };
        Self::parse(&format!("{}{target}", self.origin()))
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }

    /// Host and, where it is not the usual one, port: what belongs into the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether both lead to the same server in the same way.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// The same place with this path and query after its own path.
    pub(crate) fn below(&self, path: &str) -> Self {
        let base = self.path.split('?').next().unwrap_or("").trim_end_matches('/');
        Self { path: clean_path(&format!("{base}/{}", path.trim_start_matches('/'))), ..self.clone() }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

/// Cuts the fragment, resolves `.` and `..`, and writes what is not plain ASCII in percents.
fn clean_path(tail: &str) -> String {
    let tail = tail.split('#').next().unwrap_or("");
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    let mut kept: Vec<&str> = Vec::new();
    let parts: Vec<&str> = path.split('/').skip(usize::from(path.starts_with('/'))).collect();
    for (n, part) in parts.iter().enumerate() {
        let last = n + 1 == parts.len();
        match part.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "." => {
                if last {
                    kept.push("");
                }
            }
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(part),
        }
    }
    let mut clean = format!("/{}", kept.join("/"));
    if let Some(query) = query {
        clean = clean + "?" + query;
    }
    let mut plain = String::with_capacity(clean.len());
    for byte in clean.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^') {
            plain.push(char::from(byte));
        } else {
            push_percent(&mut plain, byte);
        }
    }
    plain
}

fn push_percent(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            push_percent(&mut encoded, byte);
        }
    }
    encoded
}

/// A value as one piece of a path: it can add no piece of its own, and is never `.` or `..`.
pub(crate) fn encode_path(value: &str) -> String {
    match value {
        // Left as they are they would be resolved on the way, even in percents.
        "." | ".." => String::new(),
        _ => encode(value),
    }
}

/// A value of a query: it can add no key of its own.
pub(crate) fn encode_query(value: &str) -> String {
    encode(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for (text, expect) in [
            ("https://Example.COM", "https://example.com/"),
            ("https://example.com.:443/a/../b?q=1#frag", "https://example.com/b?q=1"),
            ("http://example.com:8080?x", "http://example.com:8080/?x"),
            ("https://example.com/ä b", "https://example.com/%C3%A4%20b"),
            ("https://example.com/a/%2e%2e/%2E/c", "https://example.com/c"),
            ("https://example.com/../../etc", "https://example.com/etc"),
        ] {
            assert_eq!(Url::parse(text).map(|u| u.to_string()).as_deref(), Ok(expect), "{text}");
        }
        for wrong in [
            "example.com", "ftp://example.com", "https://", "https://user:pw@example.com/", "https://a b/", "https://a\r\nHost: b/",
            "https://example.com\\@evil.test/", "https://exa mple/", "https://[::1]/", "https://a:0/", "https://a:99999/", "https://a:+1/",
            "https://a..b/", "javascript:alert(1)", "https://exämple.com/",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn links_are_resolved() {
        let page = Url::parse("https://example.com/a/b?q=1").unwrap();
        for (link, expect) in [
            ("c", "https://example.com/a/c"),
            ("../c", "https://example.com/c"),
            ("/c?d", "https://example.com/c?d"),
            ("?r=2", "https://example.com/a/b?r=2"),
            ("#top", "https://example.com/a/b?q=1"),
            ("", "https://example.com/a/b?q=1"),
            ("//other.test/x", "https://other.test/x"),
            ("http://other.test", "http://other.test/"),
        ] {
            assert_eq!(page.join(link).map(|u| u.to_string()).as_deref(), Ok(expect), "{link}");
        }
        assert!(page.join("javascript:alert(1)").is_err());
        assert!(page.join("file:///etc/passwd").is_err());
        assert_eq!(page.below("x/y").to_string(), "https://example.com/a/b/x/y");
    }

    #[test]
    fn values_stay_one_piece() {
        assert_eq!(encode_path("a/b?c#d"), "a%2Fb%3Fc%23d");
        assert_eq!((encode_path(".."), encode_path(".")), (String::new(), String::new()));
        assert_eq!(encode_query("a&b=c\r\n"), "a%26b%3Dc%0D%0A");
    }

    proptest::proptest! {
        #[test]
        fn an_address_reads_as_it_is_written(text in "https?://[a-zA-Z0-9.:@/?#%\\\\ äé{}<>-]{0,60}", link in "[a-zA-Z0-9.:@/?#%\\\\ ä-]{0,40}") {
            if let Ok(url) = Url::parse(&text) {
                proptest::prop_assert_eq!(Url::parse(&url.to_string()), Ok(url.clone()));
                proptest::prop_assert!(url.to_string().parse::<http::Uri>().is_ok_and(|uri| uri.host() == Some(&url.host)));
                if let Ok(joined) = url.join(&link) {
                    proptest::prop_assert_eq!(Url::parse(&joined.to_string()), Ok(joined));
                }
            }
        }
    }
}
