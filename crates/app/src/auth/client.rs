//! An application of the owner's own at a service, in place of the one that a manifest names: its id stays with what is known of the login,
//! its secret is a secret, and neither is given to the plugin.

use model::{Code, Failure};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{LoginForm, LoginTokens, Names};
use crate::App;

/// The longest id or secret of an application, in bytes.
const BYTES_MAX: usize = 4096;

/// The secret of an application. It is never shown, not in a log either.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct ClientSecret(pub String);

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

/// An application of the owner's.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) id: String,
    pub(super) secret: Option<Zeroizing<String>>,
}

/// The field that proves an application, where it has a secret.
pub(super) fn field(secret: Option<&Zeroizing<String>>) -> Option<(&'static str, &str)> {
    secret.map(|secret| ("client_secret", secret.as_str()))
}

impl App {
    /// The application that a login is for: as the form says, else as the login before it was.
    pub(super) fn own_client(&self, plugin: &str, form: &LoginForm) -> Result<Option<Own>, Failure> {
        let Some(id) = &form.client_id else {
            if form.client_secret.is_some() {
                return Err(Failure::new(Code::Usage, "a client_secret needs its client_id").field("client_id"));
            }
            let name = Names::of(plugin, form.agent.as_deref());
            let known = self.secrets().value(&name.known()).and_then(|text| serde_json::from_str::<LoginTokens>(&text).ok());
            return Ok(known.and_then(|known| self.client_of(&name, &known)));
        };
        let secret = form.client_secret.as_ref().map(|secret| Zeroizing::new(secret.0.trim().to_owned()));
        let is_plain = |text: &str| !text.is_empty() && text.len() <= BYTES_MAX && text.chars().all(|c| !c.is_control());
        if !is_plain(id) {
            return Err(Failure::new(Code::Usage, format!("a client_id is one line of at most {BYTES_MAX} bytes")).field("client_id"));
        }
        if !secret.as_ref().is_none_or(|secret| is_plain(secret)) {
            return Err(
                Failure::new(Code::Usage, format!("a client_secret is one line of at most {BYTES_MAX} bytes")).field("client_secret")
            );
        }
        Ok(Some(Own { id: id.clone(), secret }))
    }

    /// The owner's own application of a login, where it has one.
    pub(super) fn client_of(&self, name: &Names, known: &LoginTokens) -> Option<Own> {
        let id = known.client_id.clone()?;
        Some(Own { id, secret: self.secrets().value(&name.client()) })
    }

    /// Keeps the secret of an application beside the tokens of its login; one of another application goes.
    pub(super) async fn keep_client(&self, name: &Names, own: Option<&Own>) -> Result<(), Failure> {
        match own.and_then(|own| own.secret.clone()) {
            Some(secret) => self.secrets().set(&name.client(), secret).await.map(drop),
            None if self.secrets().value(&name.client()).is_some() => self.secrets().remove(&name.client()).await.map(drop),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_an_application_is_not_printed() {
        let form: LoginForm =
            serde_json::from_str(r#"{ "flow": "device", "client_id": "mine", "client_secret": "s3cr3t" }"#).expect("a form");
        let printed = format!("{form:?}");
        assert!(printed.contains("mine") && !printed.contains("s3cr3t"), "{printed}");
    }
}
