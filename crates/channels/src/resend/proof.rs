//! Whether a mail is from whom it says. Anybody can write any sender into a mail; what counts is what the receiving server
//! found out about it and wrote above it (RFC 8601).

/// The most of a mail's head that is looked at, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 256 << 10;

/// The head of a mail: names in small letters, values unfolded, in their order.
#[derive(Debug)]
pub(crate) struct Head(Vec<(String, String)>);

impl Head {
    /// Reads the head of a mail, up to its empty line.
    pub(crate) fn read(raw: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&raw[..raw.len().min(HEAD_BYTES_MAX)]);
        let mut all: Vec<(String, String)> = Vec::new();
        for line in text.split('\n').map(|line| line.trim_end_matches('\r')) {
            if line.is_empty() {
                break;
            }
            match (line.starts_with([' ', '\t']), all.last_mut(), line.split_once(':')) {
                (true, Some((_, value)), _) => value.push_str(line),
                (false, _, Some((name, value))) => all.push((name.trim().to_ascii_lowercase(), value.to_owned())),
                _ => {}
            }
        }
        Self(all)
    }

    /// The value of a header that is there once.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.trim());
        match (found.next(), found.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    }

    /// The address that wrote it, in small letters, where `server` found that it is so: by DMARC, or by a DKIM signature of the
    /// address's own domain. Only the topmost finding counts, and only above what came with the mail: at most one `Received`,
    /// the server's own, stands before it.
    pub(crate) fn proven(&self, server: &str) -> Option<String> {
        let from = address(self.one("from")?)?;
        let domain = from.rsplit_once('@')?.1.to_owned();
        let at = self.0.iter().position(|(name, _)| name == "authentication-results")?;
        if self.0[..at].iter().filter(|(name, _)| name == "received").count() > 1 {
            return None;
        }
        let bare = without_comments(&self.0[at].1)?;
        let mut parts = bare.split(';').map(str::trim);
        // A version may follow the name.
        if !parts.next()?.split_whitespace().next()?.eq_ignore_ascii_case(server) {
            return None;
        }
        parts.any(|part| proves(part, &domain)).then_some(from)
    }
}

/// The one address of a `From` header, in small letters.
pub(crate) fn address(header: &str) -> Option<String> {
    let bare = without_comments(header)?;
    let found = match bare.rsplit_once('<') {
        // What stands before the address is a name, which may look like an address too; a second address makes two senders.
        Some((name, rest)) => {
            let (inner, after) = rest.split_once('>')?;
            (!name.contains(['<', '>', ',', ';']) && after.trim().is_empty()).then_some(inner)?
        }
        None => bare.as_str(),
    };
    let found = found.trim().to_ascii_lowercase();
    let (local, domain) = found.split_once('@')?;
    let fine = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(c);
    let plain = !local.is_empty()
        && local.chars().all(fine)
        && domain.contains('.')
        && domain.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
    (plain && found.len() <= 254).then_some(found)
}

/// Whether one finding proves that a domain sent it.
fn proves(finding: &str, domain: &str) -> bool {
    let mut words = finding.split_whitespace();
    let property = |words: std::str::SplitWhitespace<'_>, name: &str| {
        words
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_start_matches('@').to_ascii_lowercase())
    };
    match words.next().map(str::to_ascii_lowercase).as_deref() {
        Some("dmarc=pass") => property(words, "header.from").is_some_and(|from| from == domain),
        Some("dkim=pass") => {
            let signer = property(words.clone(), "header.d")
                .or_else(|| property(words, "header.i").and_then(|i| i.rsplit('@').next().map(str::to_owned)));
            // A domain speaks for those below it, as DMARC has it by default; one without a dot is nobody's own.
            signer.is_some_and(|d| d.contains('.') && (domain == d || domain.strip_suffix(&d).is_some_and(|rest| rest.ends_with('.'))))
        }
        _ => false,
    }
}

/// A header's value without comments and with quoted text left out, so that neither can look like a finding. `None` when one of
/// them does not end.
fn without_comments(value: &str) -> Option<String> {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::with_capacity(value.len()), 0_u32, false, false);
    for c in value.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    (depth == 0 && !quoted).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(results: &str, from: &str) -> Option<String> {
        let mail = format!(
            "Received: by mx\r\nAuthentication-Results: {results}\r\nReceived: by other\r\nFrom: {from}\r\nSubject: x\r\n\r\nFrom: not@a.header\r\n"
        );
        Head::read(mail.as_bytes()).proven("mx.acme.example")
    }

    #[test]
    fn only_the_named_servers_findings_about_the_sender_count() {
        let from = "Ann <Ann@Example.org>";
        for (results, expect) in [
            ("mx.acme.example; dmarc=pass (p=reject) header.from=example.org", true),
            ("MX.acme.example 1;\r\n spf=pass smtp.mailfrom=x;\r\n dkim=pass header.d=example.org", true),
            ("mx.acme.example; dkim=pass header.i=@example.org", true),
            ("mx.acme.example; dkim=pass header.d=org", false),
            ("mx.acme.example; dkim=pass header.d=evil.example", false),
            ("mx.acme.example; dkim=pass header.d=ample.org", false),
            ("mx.acme.example; dmarc=fail header.from=example.org; dkim=fail header.d=example.org", false),
            ("mx.acme.example; dmarc=pass header.from=evil.example", false),
            ("mx.acme.example; spf=pass smtp.mailfrom=example.org", false),
            ("mx.acme.example; none (; dmarc=pass header.from=example.org)", false),
            ("mx.acme.example; x=\"; dmarc=pass header.from=example.org\"", false),
            ("mx.acme.example; dmarc=pass (open header.from=example.org", false),
            ("other.example; dmarc=pass header.from=example.org", false),
        ] {
            assert_eq!(proven(results, from).as_deref(), expect.then_some("ann@example.org"), "{results}");
        }
    }

    #[test]
    fn senders_that_say_two_things_are_nobody() {
        for (from, expect) in [
            ("ann@example.org", Some("ann@example.org")),
            ("\"owner@acme.example\" <ann@example.org>", Some("ann@example.org")),
            ("owner@acme.example <ann@example.org>", Some("ann@example.org")),
            ("<a@example.org>, <b@example.org>", None),
            ("a@example.org, b@example.org", None),
            ("<ann@example.org> x", None),
            ("Ann", None),
            ("ann@localhost", None),
            ("ann@@example.org", None),
        ] {
            assert_eq!(address(from).as_deref(), expect, "{from}");
        }
        let two =
            "Authentication-Results: mx.acme.example; dmarc=pass header.from=example.org\nFrom: a@example.org\nFrom: b@example.org\n\n";
        assert_eq!(Head::read(two.as_bytes()).proven("mx.acme.example"), None);
    }

    #[test]
    fn a_finding_that_came_with_the_mail_does_not_count() {
        let forged = "Received: by mx\nReceived: by evil\nAuthentication-Results: mx.acme.example; dmarc=pass header.from=example.org\nFrom: a@example.org\n\n";
        assert_eq!(Head::read(forged.as_bytes()).proven("mx.acme.example"), None);
        let below = "Authentication-Results: mx.acme.example; dmarc=fail\nAuthentication-Results: mx.acme.example; dmarc=pass header.from=example.org\nFrom: a@example.org\n\n";
        assert_eq!(Head::read(below.as_bytes()).proven("mx.acme.example"), None);
        assert!(Head::read(b"").proven("x").is_none() && Head::read(b"\xff\xfe: x\n y").proven("x").is_none());
    }
}
