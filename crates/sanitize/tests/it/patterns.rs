//! Credentials that nobody told us of.

use lazaret_sanitize::{REDACTED, Sanitizer};

fn clean(text: &str) -> Option<String> {
    Sanitizer::default().text(text)
}

/// No test holds the form of a real key in its source.
fn join(parts: &[&str]) -> String {
    parts.concat()
}

#[test]
fn every_form_is_taken_out() {
    let run = "abcDEF0123456789abcDEF0123456789abcDEF";
    let forms = [
        join(&["ghp", "_", run]),
        join(&["gho", "_", run]),
        join(&["ghs", "_", run]),
        join(&["ghu", "_", run]),
        join(&["ghr", "_", run]),
        join(&["github", "_pat_", run, "_", run]),
        join(&["ya29", ".", run, "-_", run]),
        join(&["sk", "-", "abcd1234"]),
        join(&["pk", "-", "abcd1234"]),
        join(&["sk", "-live_", "abcd1234"]),
        join(&["sk", "_live_", run]),
        join(&["rk", "_test_", run]),
        join(&["sk", "-ant-api03-", run, "-", run, "AA"]),
        join(&["sk", "-proj-", run, "_", run]),
        join(&["sk", "-or-v1-", run]),
        join(&["AK", "IA", "ABCDEFGHIJKLMNOP"]),
        join(&["AS", "IA", "ABCDEFGHIJKLMNOP"]),
        join(&["xox", "b-1234567890-", run]),
        join(&["xox", "p-1234567890-", run]),
        join(&["xox", "a-2-", run]),
        join(&["xox", "r-", run]),
        join(&["xapp", "-1-A000-", run]),
        join(&["123456789", ":AA", "Habcdefghijklmnopqrstuvwxyz012345_"]),
        join(&["eyJ", "hbGciOiJIUzI1NiJ9", ".", "eyJzdWIiOiIxIn0", ".", "c2lnbmF0dXJl-_"]),
        join(&["gl", "pat-", "abcdEFGH1234_-567890"]),
        join(&["npm", "_", run]),
        join(&["pypi", "-AgEIcHlwaS5vcmc", run, run]),
        join(&["AI", "za", "SyA0123456789abcdefghijklmnopqrstuv"]),
        join(&["hf", "_", run]),
        join(&["SG", ".", "abcdefghijklmnopqrstuv", ".", run]),
    ];
    for form in forms {
        for (before, after) in [("", ""), ("token: ", " end"), ("\"", "\""), ("(", ")"), ("=", "&x=1"), ("\\n", "\\n"), ("%3D", "%26")] {
            let text = format!("{before}{form}{after}");
            let cleaned = clean(&text).unwrap_or_else(|| panic!("{text} was not seen"));
            assert!(!cleaned.contains(&form[form.len() - 8..]), "{text} -> {cleaned}");
            assert!(cleaned.starts_with(before) && cleaned.ends_with(after), "{text} -> {cleaned}");
        }
    }
}

#[test]
fn what_names_a_credential_stays_and_its_value_goes() {
    for (text, expect) in [
        ("Authorization: Bearer abcdef", "Authorization: Bearer [REDACTED]"),
        ("authorization: bearer  abcdef.ghi-jkl==", "authorization: bearer  [REDACTED]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [REDACTED]"),
        ("X-API-Key: my-own-key-1", "X-API-Key: [REDACTED]"),
        ("x-api-key=\"my-own-key-1\"", "x-api-key=\"[REDACTED]\""),
        ("GET /?api_key=abcdefgh12&x=1", "GET /?api_key=[REDACTED]&x=1"),
        ("apikey = 'abcdefgh12'", "apikey = '[REDACTED]'"),
        ("{\\\"api_key\\\": \\\"abcdefgh12\\\"}", "{\\\"api_key\\\": \\\"[REDACTED]\\\"}"),
        ("client_secret: abcdefgh12", "client_secret: [REDACTED]"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzzz", "aws_secret_access_key = [REDACTED]"),
        ("\"SecretAccessKey\": \"wJalrXUtnFEMI/K7MDENG/bPxRfiCY\"", "\"SecretAccessKey\": \"[REDACTED]\""),
        ("postgres://u:p@ss/w0rd@db:5432/x y", "postgres://[REDACTED] y"),
        ("mongodb+srv://user:pass@cluster.example.net/db", "mongodb+srv://[REDACTED]"),
        ("redis://:pass@cache:6379", "redis://[REDACTED]"),
        ("amqp://guest:guest@mq", "amqp://[REDACTED]"),
        ("mysql://root:toor@localhost/a", "mysql://[REDACTED]"),
        ("https://user:token@github.com/x.git", "https://[REDACTED]@github.com/x.git"),
        ("hooks.slack.com/services/T000/B000/abcdefgh", "hooks.slack.com/services/[REDACTED]"),
    ] {
        assert_eq!(clean(text).as_deref(), Some(expect), "{text}");
    }
}

#[test]
fn private_keys_go_to_their_end_or_the_end_of_all() {
    for kind in ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "] {
        let block = format!("-----BEGIN {kind}PRIVATE KEY-----\nabc\ndef\n-----END {kind}PRIVATE KEY-----");
        assert_eq!(clean(&format!("a {block} b")).as_deref(), Some("a [REDACTED] b"));
        assert_eq!(clean(&format!("a {}", &block[..block.find("-----END").unwrap() + 3])).as_deref(), Some("a [REDACTED]"));
        assert_eq!(clean(&block.replace('\n', "\\n")).as_deref(), Some(REDACTED));
    }
    let pgp = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----";
    assert_eq!(clean(pgp).as_deref(), Some(REDACTED));
    assert_eq!(clean("-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"), None);
    assert_eq!(clean("-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----"), None);
}

#[test]
fn ordinary_text_is_left_as_it_is() {
    for text in [
        "",
        "The bearer of bad news; a bearer token is not one.",
        "task-management-system and disk-usage-report, risk-1234567890abc",
        "Asia and Akiachak are places.",
        "see https://example.com:8080/a@b and http://localhost:3000",
        "git@github.com:owner/repo.git, mailto:a@b.example",
        "api_key=os.environ[\"KEY\"] and api_key = load_key(path)",
        "eyJ is how JSON begins in base64; eyJ. is not a token",
        "ratio 12345:AAB and 10:30:AA",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "next_page_token: abcdefghijklmnop",
        "postgres://localhost/db and redis://cache:6379/0",
        "fn main() { let x: Vec<&str> = vec![\"a\"]; }",
        "550e8400-e29b-41d4-a716-446655440000",
    ] {
        assert_eq!(clean(text), None, "{text}");
    }
}

/// Texts made to be slow take about as long as others.
#[test]
fn time_does_not_grow_with_malice() {
    let size = 64 * 1024;
    let unit = [
        "eyJ", "eyJ_", "eyJ.", "postgres://", "api_key=", "api_key", "://a:", "Bearer ", "sk-ant-", "1234567:AA", "x-api-key", "SG.",
        "-----BEGIN PRIVATE KEY", "github_pat_", "https://:", "%3DeyJ", "a.eyJ-",
    ];
    for unit in unit {
        let text = unit.repeat(size / unit.len());
        let began = std::time::Instant::now();
        let _ = clean(&text);
        let _ = clean(&format!("{text}("));
        assert!(began.elapsed() < std::time::Duration::from_secs(240), "{unit}: {:?}", began.elapsed());
    }
}
