//! Who gets in, and as what.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::jwt::Claims;
use crate::Role;

/// How people log in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OidcSettings {
    /// The issuer's address, exactly as it names itself.
    pub issuer: String,
    /// What the issuer calls this daemon.
    pub client_id: String,
    /// The stored secret that proves it; none for a public client.
    pub secret: Option<String>,
    /// Where the issuer sends people back to, when it is not the daemon's own address.
    pub redirect_url: Option<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// Who gets in.
    pub rules: Vec<OidcRule>,
    /// Private addresses at which the issuer may be.
    pub private_ok: Vec<IpAddr>,
}

/// Lets people in to whom all that it names applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcRule {
    /// The part of their address behind the `@`. Only addresses count that the issuer has verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A group that they are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The tenant.
    pub tenant: String,
    /// What they are there.
    pub role: Role,
}

impl OidcSettings {
    /// What is wrong with them, if anything is.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub fn check(&self) -> Result<(), String> {
        let address = |text: &str| gateway::egress::Address::parse(text).map_err(|e| e.to_string());
        address(&self.issuer).map_err(|why| format!("oidc.issuer: {why}"))?;
        if self.issuer.contains('?') {
            return Err("oidc.issuer: an issuer has no query".to_owned());
        }
        if self.client_id.is_empty() {
            return Err("oidc.client_id: say what the issuer calls this daemon".to_owned());
        }
        if let Some(url) = &self.redirect_url {
            address(url).map_err(|why| format!("oidc.redirect_url: {why}"))?;
        }
        for rule in &self.rules {
            if rule.domain.is_none() && rule.email.is_none() && rule.group.is_none() {
                return Err("oidc.rules: a rule that names nobody would let everybody in; name a domain, an email or a group".to_owned());
            }
            if !model::is_name(&rule.tenant) {
                return Err(format!("oidc.rules: `{}` is no name of a tenant", rule.tenant.escape_debug()));
            }
        }
        Ok(())
    }

    /// What the rules give to whom these claims speak of: tenant and role, the first rule of each tenant.
    pub(super) fn given(&self, claims: &Claims) -> Vec<(String, String)> {
        let mut given: Vec<(String, String)> = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.fits(claims, &self.groups_claim)) {
            if !given.iter().any(|(tenant, _)| *tenant == rule.tenant) {
                given.push((rule.tenant.clone(), rule.role.as_str().to_owned()));
            }
        }
        given
    }
}

impl OidcRule {
    fn fits(&self, claims: &Claims, groups_claim: &str) -> bool {
        let email = claims.own_email();
        let of_domain = |domain: &str| email.rsplit_once('@').is_some_and(|(_, host)| host.eq_ignore_ascii_case(domain));
        let in_group = |group: &str| match claims.rest.get(groups_claim) {
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(group)),
            Some(Value::String(one)) => one == group,
            _ => false,
        };
        self.domain.as_deref().is_none_or(of_domain)
            && self.email.as_deref().is_none_or(|own| !email.is_empty() && email.eq_ignore_ascii_case(own))
            && self.group.as_deref().is_none_or(in_group)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(domain: Option<&str>, email: Option<&str>, group: Option<&str>, role: Role) -> OidcRule {
        let text = |t: Option<&str>| t.map(str::to_owned);
        OidcRule { domain: text(domain), email: text(email), group: text(group), tenant: "a".to_owned(), role }
    }

    fn settings(rules: Vec<OidcRule>) -> OidcSettings {
        OidcSettings {
            issuer: "https://id.example.com".to_owned(),
            client_id: "lazaret".to_owned(),
            groups_claim: "groups".to_owned(),
            rules,
            ..OidcSettings::default()
        }
    }

    #[test]
    fn only_whom_a_rule_names_gets_in() {
        let check = |rule: OidcRule, claims: Value, expect: bool| {
            let claims: Claims = serde_json::from_value(claims).expect("claims");
            assert_eq!(!settings(vec![rule.clone()]).given(&claims).is_empty(), expect, "{rule:?}");
        };
        let of = |email: &str, verified: Value| json!({ "iss": "i", "sub": "s", "aud": "c", "exp": 1, "email": email, "email_verified": verified });
        let domain = || rule(Some("example.com"), None, None, Role::Member);
        check(domain(), of("a@example.com", json!(true)), true);
        check(domain(), of("a@EXAMPLE.com", json!(true)), true);
        check(domain(), of("a@example.com", json!(false)), false);
        check(domain(), of("a@example.com", json!("true")), false);
        check(domain(), of("a@example.com.evil.org", json!(true)), false);
        check(domain(), of("a@sub.example.com", json!(true)), false);
        check(domain(), json!({ "iss": "i", "sub": "s", "aud": "c", "exp": 1, "email": "a@example.com" }), false);
        check(
            rule(None, None, Some("dev"), Role::Member),
            json!({ "iss": "i", "sub": "s", "aud": "c", "exp": 1, "groups": ["ops", "dev"] }),
            true,
        );
        check(
            rule(None, None, Some("dev"), Role::Member),
            json!({ "iss": "i", "sub": "s", "aud": "c", "exp": 1, "groups": ["devs"] }),
            false,
        );
        check(rule(Some("example.com"), None, Some("dev"), Role::Member), of("a@example.com", json!(true)), false);
    }

    #[test]
    fn a_rule_names_somebody() {
        assert!(settings(vec![rule(None, None, None, Role::Owner)]).check().is_err());
        assert!(settings(vec![rule(Some("x.org"), None, None, Role::Viewer)]).check().is_ok());
        assert!(OidcSettings { issuer: "ftp://x".to_owned(), ..settings(vec![]) }.check().is_err());
    }
}
