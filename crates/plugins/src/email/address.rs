//! Mail addresses that can stand in a head and in a command, and nothing else.

/// The longest address.
const ADDRESS_BYTES_MAX: usize = 254;
/// The longest part before the `@`.
const LOCAL_BYTES_MAX: usize = 64;
/// The longest name beside an address.
const NAME_BYTES_MAX: usize = 256;

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a mail address: {why}")]
pub(crate) struct AddressError {
    text: String,
    why: &'static str,
}

/// An address, perhaps with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    name: Option<String>,
    mailbox: String,
}

impl Address {
    /// Reads `local@domain` or `Name <local@domain>`.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let bad = |why| AddressError { text: text.escape_debug().take(64).collect(), why };
        let trimmed = text.trim();
        let (name, mailbox) = match trimmed.strip_suffix('>').and_then(|t| t.split_once('<')) {
            Some((name, mailbox)) => (name.trim().trim_matches('"').trim(), mailbox),
            None => ("", trimmed),
        };
        if mailbox.len() > ADDRESS_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let (local, domain) = mailbox.rsplit_once('@').ok_or_else(|| bad("it has no @"))?;
        let atom = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b));
        if local.len() > LOCAL_BYTES_MAX || !local.split('.').all(atom) {
            return Err(bad("what stands before the @ has characters that addresses do not have"));
        }
        let label = |part: &str| {
            let inside = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            (1..=63).contains(&part.len()) && inside && !part.starts_with('-') && !part.ends_with('-')
        };
        if !domain.split('.').all(label) {
            return Err(bad("what stands after the @ is no domain (write other scripts in punycode)"));
        }
        let address = Self { name: None, mailbox: mailbox.to_owned() };
        if name.is_empty() { Ok(address) } else { address.named(name) }
    }

    /// The same address with a name.
    pub(crate) fn named(self, name: &str) -> Result<Self, AddressError> {
        if name.chars().any(|c| c.is_control() || crate::text::is_deceptive(c)) || name.len() > NAME_BYTES_MAX {
            return Err(AddressError {
                text: name.escape_debug().take(64).collect(),
                why: "its name has control characters or is too long",
            });
        }
        Ok(Self { name: Some(name.to_owned()), ..self })
    }

    /// `local@domain`.
    pub(crate) fn mailbox(&self) -> &str {
        &self.mailbox
    }

    /// What stands after the `@`, in small letters.
    pub(crate) fn domain(&self) -> String {
        self.mailbox.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase()
    }

    /// How it stands in a head.
    pub(crate) fn head(&self) -> String {
        match &self.name {
            None => self.mailbox.clone(),
            Some(name) if name.is_ascii() => {
                format!("\"{}\" <{}>", name.replace('\\', "\\\\").replace('"', "\\\""), self.mailbox)
            }
            Some(name) => format!("{} <{}>", super::compose::encoded_words(name), self.mailbox),
        }
    }

    /// Whether one of the owner's rules, `local@domain` or `@domain`, names it.
    pub(crate) fn is_among(&self, rules: &[String]) -> bool {
        let domain = format!("@{}", self.domain());
        rules.iter().any(|rule| rule.eq_ignore_ascii_case(&self.mailbox) || rule.eq_ignore_ascii_case(&domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expect) in [
            ("a@b.test", "a@b.test"),
            (" Ann <ann.o'neil+x@mail.example.com> ", "\"Ann\" <ann.o'neil+x@mail.example.com>"),
            ("\"A, \\B\" <a@b.test>", "\"A, \\\\B\" <a@b.test>"),
            ("Änn <a@b.test>", "=?UTF-8?B?w4Rubg==?= <a@b.test>"),
        ] {
            assert_eq!(Address::parse(text).map(|a| a.head()).as_deref(), Ok(expect), "{text}");
        }
        for wrong in [
            "", "a", "@b.test", "a@", "a b@c.test", "a@b.test\r\nBcc: x@y.test", "a@b.test, c@d.test", "a@-b.test", "a@b..test",
            "a..b@c.test", "a@b.test>\r\nDATA", "<a@b.test", "a@[127.0.0.1]", "\"x\r\nBcc: y\" <a@b.test>", "x\u{202e} <a@b.test>",
            "ä@b.test",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rules_name_whole_addresses_or_domains() {
        let address = Address::parse("Ann@Example.com").unwrap();
        let among = |rule: &str| address.is_among(&[rule.to_owned()]);
        assert!(among("ann@example.com") && among("@example.COM"));
        assert!(!among("example.com") && !among("@ple.com") && !among("nn@example.com"));
    }
}
