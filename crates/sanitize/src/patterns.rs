//! Credentials that are not known, by their form.
//!
//! Each begins with one of a few words. Three bytes at a time are looked up in a small table of how those words begin; only
//! where one does stand, its pattern is tried, once, and none reads far for nothing. So the time is that of one pass over the
//! text whatever stands in it.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::known::merge;

/// Compiled once for the process: it is a constant, only not one that a compiler can make.
static PATTERNS: LazyLock<Patterns> = LazyLock::new(Patterns::new);

/// What must stand before the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Anything,
    /// No letter, digit, `_` or dash, so that it is not the middle of a word.
    Edge,
    /// Six to twelve digits, which belong to it.
    Digits,
    /// The name of a scheme whose addresses hold passwords.
    Store,
}

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    /// The first group of the pattern, or all of it when it has none.
    Match,
    /// The value of an assignment: unless code that calls or indexes something stands there.
    Assigned,
    /// Everything from here to the line that ends the key, or to the end of the text.
    Key,
}

struct Rule {
    /// In lower case; the text's case does not matter for finding them.
    words: &'static [&'static str],
    before: Before,
    take: Take,
    pattern: &'static str,
}

const fn rule(words: &'static [&'static str], before: Before, pattern: &'static str) -> Rule {
    Rule { words, before, take: Take::Match, pattern }
}

const fn assigned(words: &'static [&'static str], pattern: &'static str) -> Rule {
    Rule { words, before: Before::Anything, take: Take::Assigned, pattern }
}

const RULES: &[Rule] = &[
    rule(&["bearer"], Before::Edge, r"(?i)bearer(?:[ \t]|%20)+([A-Za-z0-9._~+/=:-]{6,})"),
    rule(
        &["authorization"],
        Before::Anything,
        r#"(?i)authorization\\?["']?\s*[:=]\s*\\?["']?(?:basic|token|digest|apikey)[ \t]+([A-Za-z0-9._~+/=:-]{6,})"#,
    ),
    rule(&["ghp_", "gho_", "ghs_", "ghu_", "ghr_"], Before::Anything, r"gh[posur]_[A-Za-z0-9]{10,}"),
    rule(&["github_pat_"], Before::Anything, r"github_pat_[A-Za-z0-9_]{10,}"),
    rule(
        &["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glagent-"],
        Before::Edge,
        r"gl[a-z]{2,6}-[A-Za-z0-9_.=-]{12,}",
    ),
    rule(&["ya29."], Before::Edge, r"ya29\.[A-Za-z0-9._-]{8,}"),
    rule(&["1//0"], Before::Edge, r"1//0[A-Za-z0-9_-]{30,}"),
    rule(&["aiza"], Before::Edge, r"AIza[A-Za-z0-9_-]{35}"),
    rule(&["gocspx-"], Before::Edge, r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    rule(&["sk-", "pk-", "rk-"], Before::Edge, r"[spr]k-(?:(?:live|test)[_-])?[A-Za-z0-9]{8,}[A-Za-z0-9_-]*"),
    rule(
        &["sk-ant-", "sk-proj-", "sk-or-", "sk-svcacct-", "sk-admin-", "sk-lf-", "pk-lf-"],
        Before::Edge,
        r"[sp]k-[a-z]{2,7}-[A-Za-z0-9_-]{8,}",
    ),
    rule(&["sk_live_", "sk_test_", "pk_live_", "pk_test_", "rk_live_", "rk_test_"], Before::Edge, r"[spr]k_(?:live|test)_[A-Za-z0-9]{8,}"),
    rule(&["whsec_"], Before::Edge, r"whsec_[A-Za-z0-9+/=]{16,}"),
    rule(&["akia", "asia"], Before::Edge, r"A[KS]IA[A-Z0-9]{16}"),
    assigned(&["secret_access_key", "secretaccesskey"], r#"(?i)secret_?access_?key\\?["']?\s*[:=]\s*\\?["']?([A-Za-z0-9/+=]{16,})"#),
    assigned(
        &["session_token", "sessiontoken", "security-token"],
        r#"(?i)(?:session_?|security-)token\\?["']?\s*[:=]\s*\\?["']?([A-Za-z0-9/+=_-]{16,})"#,
    ),
    rule(
        &["xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"],
        Before::Edge,
        r"(?:xox[a-eoprs][.-]|xapp-)(?:[A-Za-z0-9.-]|%2[BbFf]|%3[Dd]){8,}",
    ),
    rule(&["hooks.slack.com/services/"], Before::Anything, r"(?i)hooks\.slack\.com/services/([A-Za-z0-9/_-]{16,})"),
    rule(&[":aa"], Before::Digits, r":AA[A-Za-z0-9_-]{30,}"),
    rule(&["eyj"], Before::Edge, r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*"),
    rule(&["npm_"], Before::Edge, r"npm_[A-Za-z0-9]{30,}"),
    rule(&["pypi-"], Before::Edge, r"pypi-[A-Za-z0-9_-]{32,}"),
    rule(&["hf_"], Before::Edge, r"hf_[A-Za-z0-9]{30,}"),
    rule(&["gsk_", "xai-", "r8_"], Before::Edge, r"(?:gsk_|xai-|r8_)[A-Za-z0-9]{30,}"),
    rule(&["sg."], Before::Edge, r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    rule(&["dop_v1_", "doo_v1_", "dor_v1_"], Before::Edge, r"do[opr]_v1_[a-f0-9]{32,}"),
    rule(&["shpat_", "shpca_", "shppa_", "shpss_"], Before::Edge, r"shp[a-z]{2}_[a-fA-F0-9]{32,}"),
    rule(&["lin_api_", "ntn_", "secret_"], Before::Edge, r"(?:lin_api_|ntn_|secret_)[A-Za-z0-9]{32,}"),
    rule(&["age-secret-key-1"], Before::Anything, r"AGE-SECRET-KEY-1[A-Z0-9]{40,}"),
    assigned(
        &["x-api-key", "x-auth-token", "x-goog-api-key", "x-gitlab-token", "private-token", "x-vault-token"],
        r#"(?i)[a-z-]{6,24}\\?["']?\s*[:=]\s*\\?["']?([^\s"',;\\\[<>{}()][^\s"',;\\<>{}()]{5,})"#,
    ),
    assigned(
        &[
            "api_key", "apikey", "api-key", "access_token", "accesstoken", "refresh_token", "refreshtoken", "client_secret",
            "clientsecret", "secret_key", "secretkey", "auth_token", "authtoken", "private_token", "id_token",
        ],
        r#"(?i)[a-z_-]{6,24}\\?["']?\s*(?:[:=]|%3D)\s*\\?["']?([A-Za-z0-9._~+/=%:-]{8,})"#,
    ),
    rule(&["://"], Before::Store, r#"://([^\s"'<>`\\]{0,300}:[^\s"'<>`\\]{0,300}@[^\s"'<>`\\]*)"#),
    rule(&["://"], Before::Anything, r#"://([^\s/@:"'<>`\\]*:[^\s/@"'<>`\\\[]+)@"#),
    Rule {
        words: &["-----begin"],
        before: Before::Anything,
        take: Take::Key,
        pattern: r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----",
    },
];

/// Schemes whose addresses are taken out whole when they hold a password, since one may hold `@` and `/`.
const STORES: &[&str] = &[
    "postgres", "postgresql", "mysql", "mariadb", "mongodb", "mongodb+srv", "redis", "rediss", "amqp", "amqps", "mssql", "sqlserver",
    "clickhouse", "cockroachdb", "nats", "smtp", "smtps", "imap", "imaps", "ldap", "ldaps", "kafka", "mqtt", "mqtts",
];
/// The longest name of a scheme that is looked at.
const SCHEME_BYTES_MAX: usize = 40;

/// The longest name of something that is called.
const CODE_BYTES_MAX: usize = 64;

struct Patterns {
    starts: Starts,
    compiled: Vec<Regex>,
}

impl Patterns {
    fn new() -> Self {
        let compiled = RULES.iter().map(|rule| Regex::new(&format!(r"(?-u)\A(?:{})", rule.pattern)).expect("the table is a constant"));
        Self { starts: Starts::new(), compiled: compiled.collect() }
    }
}

/// How the words begin.
struct Starts {
    /// A bit for each mark that a word begins with.
    bits: Box<[u64; 1 << (MARK_BITS - 6)]>,
    /// By mark: the word, and its rule.
    words: Vec<(usize, &'static str, usize)>,
}

/// Bits of a mark, which stands for three bytes without case.
const MARK_BITS: u32 = 15;

impl Starts {
    fn new() -> Self {
        let (mut bits, mut words) = (Box::new([0; 1 << (MARK_BITS - 6)]), Vec::new());
        for (n, rule) in RULES.iter().enumerate() {
            for word in rule.words {
                let bytes = word.as_bytes();
                let mark = mark(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]));
                bits[mark >> 6] |= 1 << (mark & 63);
                words.push((mark, *word, n));
            }
        }
        // Of two words that begin alike the longer one says more.
        words.sort_by_key(|(mark, word, n)| (*mark, std::cmp::Reverse(word.len()), *n));
        Self { bits, words }
    }

    fn may_begin(&self, mark: usize) -> bool {
        self.bits[mark >> 6] & (1 << (mark & 63)) != 0
    }

    /// The rules of the words that stand at the beginning of `text`.
    fn rules<'a>(&'a self, mark: usize, text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let from = self.words.partition_point(|(known, ..)| *known < mark);
        let same = self.words[from..].iter().take_while(move |(known, ..)| *known == mark);
        same.filter(|(_, word, _)| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes())))
            .map(|(.., n)| *n)
    }
}

/// The mark of three bytes, of which a fourth is no part.
fn mark(bytes: u32) -> usize {
    let folded = (bytes & 0x00ff_ffff) | 0x0020_2020;
    (folded.wrapping_mul(0x9e37_79b1) >> (32 - MARK_BITS)) as usize
}

/// Where credentials stand by their form, in order; ranges do not touch.
pub(crate) fn find(text: &[u8]) -> Vec<Range<usize>> {
    let patterns = &*PATTERNS;
    let (mut found, mut covered) = (Vec::new(), 0);
    // A credential is longer than the three bytes that the last windows miss.
    for (at, window) in text.windows(4).enumerate() {
        let mark = mark(u32::from_le_bytes(window.try_into().expect("a window has four bytes")));
        if !patterns.starts.may_begin(mark) || at < covered {
            continue;
        }
        let tried = patterns.starts.rules(mark, &text[at..]);
        if let Some(range) = tried.filter_map(|n| matched(&RULES[n], &patterns.compiled[n], text, at)).next() {
            covered = range.end;
            found.push(range);
        }
    }
    merge(found)
}

fn matched(rule: &Rule, pattern: &Regex, text: &[u8], at: usize) -> Option<Range<usize>> {
    let start = begins(rule.before, text, at)?;
    let captures = pattern.captures(&text[at..])?;
    let whole = captures.get(0)?;
    if rule.take == Take::Key {
        return Some(at..key_end(text, at + whole.end()));
    }
    let range = captures.get(1).map_or_else(|| start..at + whole.end(), |group| at + group.start()..at + group.end());
    let is_code = rule.take == Take::Assigned && is_code(&text[range.clone()], text.get(range.end));
    (!is_code).then_some(range)
}

/// Whether something is called or indexed: `api_key=os.environ["KEY"]` names a credential and holds none. Only short ones
/// count, so that what was looked at for nothing stays short.
fn is_code(value: &[u8], next: Option<&u8>) -> bool {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
    matches!(next, Some(b'(' | b'[')) && value.len() <= CODE_BYTES_MAX && value.iter().all(is_name)
}

/// Where it begins, if what stands before allows it.
fn begins(before: Before, text: &[u8], at: usize) -> Option<usize> {
    match before {
        Before::Anything => Some(at),
        Before::Edge => is_edge(text, at).then_some(at),
        Before::Digits => {
            let digits = text[..at].iter().rev().take(13).take_while(|b| b.is_ascii_digit()).count();
            (6..=12).contains(&digits).then(|| at - digits)
        }
        Before::Store => {
            let is_scheme = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-');
            let length = text[..at].iter().rev().take(SCHEME_BYTES_MAX).take_while(is_scheme).count();
            let scheme = text[at - length..at].to_ascii_lowercase();
            // `jdbc:postgresql` and `postgresql+asyncpg` are stores as well.
            let name = scheme.split(|b| *b == b'+').next().unwrap_or_default();
            STORES.iter().any(|store| store.as_bytes() == name || store.as_bytes() == scheme).then_some(at)
        }
    }
}

/// Whether a word begins at `at`: after no letter, digit, `_` or dash, or after an escape that ends in one.
fn is_edge(text: &[u8], at: usize) -> bool {
    let Some(last) = at.checked_sub(1).map(|n| text[n]) else { return true };
    if !(last.is_ascii_alphanumeric() || matches!(last, b'-' | b'_')) {
        return true;
    }
    let before = |n: usize| at.checked_sub(n).map(|n| text[n]);
    let is_escape = before(2) == Some(b'\\') && matches!(last, b'n' | b'r' | b't' | b'b' | b'f');
    let is_percent = before(3) == Some(b'%') && last.is_ascii_hexdigit() && before(2).is_some_and(|b| b.is_ascii_hexdigit());
    is_escape || is_percent
}

/// Where a key that was begun ends.
fn key_end(text: &[u8], from: usize) -> usize {
    let rest = &text[from..];
    let Some(end) = position(rest, b"-----END") else { return text.len() };
    match position(&rest[end + 8..], b"-----") {
        Some(last) => from + end + 8 + last + 5,
        None => text.len(),
    }
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}
