//! What users write: egress rules, sizes, times, amounts, identities.

use model::{EgressRule, Money, SessionId, canonical_host, parse_bytes, parse_duration};

use super::{Target, hash};

pub(crate) const EGRESS_RULE: Target = Target {
    name: "model_egress_rule",
    corpus: "model_egress_rule",
    recorded: None,
    words: &[b":", b"/", b",", b".", b"..", b"@", b"%", b"\0", b"[::1]", b"0x7f.1", b"127.1", b"xn--", b":443", b",GET", b"\xc2\xad"],
    run: egress_rule,
};
pub(crate) const AMOUNTS: Target = Target {
    name: "model_amounts",
    corpus: "model_amounts",
    recorded: None,
    words: &[b"k", b"t", b"ms", b"h", b".", b"1000000", b"18446744073709551615"],
    run: amounts,
};
pub(crate) const IDENTITIES: Target = Target {
    name: "model_identities",
    corpus: "model_identities",
    recorded: None,
    words: &[b"ses_", b"0123456789abcdef", b"../"],
    run: identities,
};

/// A rule that was read prints to a rule that reads the same, and its host is one that every program reads the same.
fn egress_rule(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    if let Ok(host) = canonical_host(&text) {
        assert_eq!(canonical_host(&host), Ok(host.clone()), "canonical twice");
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        assert!(!host.is_empty() && host.bytes().all(plain), "{host:?}");
        // A name whose last label is a number would be dialled as an address by some programs.
        let last = host.rsplit('.').next().unwrap_or("");
        let numeric = last.bytes().all(|b| b.is_ascii_digit());
        assert!(!numeric || host.parse::<std::net::Ipv4Addr>().is_ok(), "{host:?}");
    }
    match text.parse::<EgressRule>() {
        Ok(rule) => {
            assert_eq!(rule.to_string().parse::<EgressRule>(), Ok(rule.clone()), "{text:?}");
            hash(&(rule.path.is_some(), rule.method.is_some(), rule.port == 443, rule.host.len().min(8)))
        }
        Err(error) => {
            assert!(error.text.chars().count() <= 64 && !error.text.contains(['\n', '\0', '\x1b']), "an error carries raw input");
            hash(&error.why)
        }
    }
}

fn amounts(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let money = text.parse::<Money>().ok();
    assert!(money.is_none_or(|m| m.0 < 1_000_001 * Money::PER_USD), "{text:?}");
    hash(&(parse_bytes(&text).map(u64::leading_zeros), parse_duration(&text).map(|d| d.as_secs().leading_zeros()), money.is_some()))
}

fn identities(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input).into_owned();
    let read = SessionId::try_from(text.clone());
    if let Ok(id) = &read {
        assert_eq!(id.as_str(), text);
        assert!(text.starts_with("ses_") && text[4..].bytes().all(|b| b.is_ascii_hexdigit()), "{text:?}");
    }
    hash(&(read.is_ok(), text.len().min(40)))
}
