//! What the issuer is asked: where its doors are, its keys, and what a code stands for.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway::egress::{Address, Courier, Reach};
use http::{HeaderMap, HeaderValue, Method, header};
use model::{Code, Failure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::OidcSettings;
use super::jwt::Keys;

/// How long one answer of the issuer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 512 << 10;

/// Where an issuer's doors are.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Doors {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// What a code stands for.
#[derive(Deserialize)]
pub(super) struct Exchanged {
    pub(super) id_token: String,
}

/// An issuer, as it is asked.
pub(super) struct Issuer<'a> {
    pub(super) settings: &'a OidcSettings,
    pub(super) courier: &'a Courier,
    /// Private addresses that may be dialled.
    pub(super) reach: Reach,
}

impl Issuer<'_> {
    /// Finds its doors.
    pub(super) async fn doors(&self) -> Result<Doors, Failure> {
        let own = self.settings.issuer.trim_end_matches('/');
        let doors: Doors = self.get(&format!("{own}/.well-known/openid-configuration")).await?;
        if doors.issuer != self.settings.issuer {
            return Err(broken("it calls itself by another name than the configuration"));
        }
        let is_sealed = self.settings.issuer.starts_with("https://");
        for url in [&doors.authorization_endpoint, &doors.token_endpoint, &doors.jwks_uri] {
            if is_sealed && !url.starts_with("https://") {
                return Err(broken("one of its doors is without TLS"));
            }
        }
        Ok(doors)
    }

    /// Its keys of this moment.
    pub(super) async fn keys(&self, doors: &Doors) -> Result<Keys, Failure> {
        self.get(&doors.jwks_uri).await
    }

    /// Exchanges a code.
    pub(super) async fn exchange(
        &self,
        doors: &Doors,
        code: &str,
        verifier: &str,
        redirect: &str,
        secret: Option<&str>,
    ) -> Result<Exchanged, Failure> {
        let mut form = vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect), ("code_verifier", verifier)];
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let methods = &doors.token_endpoint_auth_methods_supported;
        // Basic is what every issuer takes that does not say otherwise.
        let only_post = !methods.is_empty() && !methods.iter().any(|m| m == "client_secret_basic");
        match secret {
            Some(secret) if !only_post => {
                let pair = STANDARD.encode(format!("{}:{}", encoded(&self.settings.client_id), encoded(secret)));
                let mut value = HeaderValue::from_str(&format!("Basic {pair}")).map_err(|_| broken("its secret cannot be sent"))?;
                value.set_sensitive(true);
                fields.insert(header::AUTHORIZATION, value);
            }
            Some(secret) => form.extend([("client_id", self.settings.client_id.as_str()), ("client_secret", secret)]),
            None => form.push(("client_id", &self.settings.client_id)),
        }
        let body = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&");
        self.ask(Method::POST, &doors.token_endpoint, fields, body.into()).await
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, Failure> {
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        self.ask(Method::GET, url, fields, Bytes::new()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, url: &str, fields: HeaderMap, body: Bytes) -> Result<T, Failure> {
        let address = Address::parse(url).map_err(|why| broken(&why.to_string()))?;
        let asked = self.courier.ask(method, &address, &self.reach, fields, body, (ANSWER_WAIT, ANSWER_BYTES_MAX)).await;
        let answer = asked.map_err(|error| broken(&model::chain(&error)))?;
        if !answer.status.is_success() {
            return Err(broken(&format!("it answers {}", answer.status.as_u16())));
        }
        serde_json::from_slice(&answer.body).map_err(|_| broken("its answer is not what was asked for"))
    }
}

fn broken(why: &str) -> Failure {
    Failure::new(Code::ProviderError, format!("the issuer of logins cannot be used: {why}")).hint("check [oidc] in the configuration")
}

/// A text as a form or a query has it.
pub(super) fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        if plain(b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_field() {
        assert_eq!(encoded("a b&c=d%é"), "a%20b%26c%3Dd%25%C3%A9");
        assert_eq!(encoded("A-z_0.9~"), "A-z_0.9~");
    }
}
