//! Renews tokens before they end. What cannot be renewed is taken from the plugin, which then says what to do.

use std::time::Duration;

use model::Failure;
use zeroize::Zeroizing;

use super::{LoginTokens, Names, Tokens};
use crate::App;

/// How often it is looked whether a token ends soon.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long before its end a token is renewed, in milliseconds.
const AHEAD_MS: u64 = 5 * 60 * 1000;

impl App {
    /// Renews tokens as long as the daemon lives.
    pub(crate) fn keep_tokens_fresh(&self) {
        let app = self.clone();
        let cancel = self.cancel().clone();
        self.spawn(async move {
            // Where a plugin's tokens are renewed stands in its manifest.
            app.plugins_settled(crate::plugins::SETTLE_MAX).await;
            loop {
                app.renew_tokens().await;
                if let Err(failure) = app.secrets().keep_used().await {
                    tracing::warn!(%failure, "when secrets were used was not kept");
                }
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => (),
                }
            }
        });
    }

    async fn renew_tokens(&self) {
        let Ok(all) = self.logins().list().await else { return };
        for known in &all {
            self.tell_of_login(known).await;
        }
        let soon = crate::now().0.saturating_add(AHEAD_MS);
        for known in all.into_iter().filter(|known| known.trouble.is_none() && known.expires.0 < soon) {
            if let Err(failure) = self.renew(&known).await {
                // The service may be away for a while; the next look tries again.
                tracing::warn!(plugin = known.plugin, %failure, "a token was not renewed");
            }
        }
    }

    async fn renew(&self, known: &LoginTokens) -> Result<(), Failure> {
        let name = Names::of(&known.plugin, known.agent.as_deref());
        // A plugin that is gone, or cannot be read now, needs no token.
        let Ok(manifest) = self.manifest_of(&known.plugin) else { return Ok(()) };
        let refresh: Option<Zeroizing<String>> = self.secrets().value(&name.refresh());
        let (Some(oauth), Some(refresh)) = (&manifest.oauth, refresh) else {
            if known.expires > crate::now() {
                return Ok(());
            }
            return self.end_login(&name, known, "the token has expired and cannot be renewed").await;
        };
        let own = self.client_of(&name, known);
        let id = own.as_ref().map_or(oauth.client_id.as_str(), |own| own.id.as_str());
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh.as_str()), ("client_id", id)];
        form.extend(super::client::field(own.as_ref().and_then(|own| own.secret.as_ref())));
        let answer = self.ask_token(&oauth.token_url, &form).await?;
        if let Some(tokens) = Tokens::read(&answer.body) {
            let fresh = LoginTokens { expires: tokens.expires, ..known.clone() };
            tracing::info!(plugin = known.plugin, "a token was renewed");
            return self.keep_tokens(&name, &fresh, tokens).await;
        }
        let failure = answer.failure("renew the token");
        // Only the service's own word ends it; a gateway in between that fails does not.
        if (400..500).contains(&answer.status) && answer.status != 429 && answer.body["error"].is_string() {
            return self.end_login(&name, known, &failure.message).await;
        }
        Err(failure)
    }

    /// Takes an expired token away, so that the plugin is known to need a login.
    async fn end_login(&self, name: &Names, known: &LoginTokens, why: &str) -> Result<(), Failure> {
        tracing::warn!(plugin = known.plugin, why, "a login has ended");
        let ended = LoginTokens { trouble: Some(why.to_owned()), ..known.clone() };
        let text = serde_json::to_string(&ended).map_err(|e| Failure::new(model::Code::Internal, e.to_string()))?;
        self.secrets().set(&name.known(), text.into()).await?;
        for gone in [name.refresh(), name.access(&known.key)] {
            if self.secrets().value(&gone).is_some() {
                self.secrets().remove(&gone).await?;
            }
        }
        self.tell_of_login(&ended).await;
        Ok(())
    }
}
