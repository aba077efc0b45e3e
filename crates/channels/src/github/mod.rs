//! GitHub: signed webhooks of repositories in, comments and reactions out, as a bot account or as an app.

mod heard;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use wire::chat::{Abilities, About, Act, Delivery, Failing, Who};
use zeroize::Zeroizing;

use crate::calls::{Called, Token, call, marked};
use crate::clock::now_ms;
use crate::http::{Ask, Base};
use crate::jwt::PrivateKey;
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, needs};
use crate::note::{Attempt, Steps};
use crate::reading::{id, name, path_id};
use crate::sign::is_hmac_sha256_hex;
use crate::surroundings::CredentialError;
pub(crate) use heard::mentions;

/// Characters of a comment: GitHub takes 65,536, and our mark needs room.
const TEXT_MAX: u32 = 65_000;
/// A delivery can be repeated at GitHub for three days; what is older came from somebody who kept it.
const AGE_MS_MAX: i64 = 4 * 24 * 60 * 60 * 1_000;
/// Pages of comments in which one of ours is looked for, newest first where GitHub can.
const PAGES_MAX: usize = 5;
/// How far back a comment of ours is looked for, in milliseconds.
const LOOK_MS: i64 = 24 * 60 * 60 * 1_000;
/// The version of the API that this was written for.
const VERSION: &str = "2022-11-28";

/// The network.
pub(crate) struct GitHub;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The login of the bot account; not for an app.
    #[serde(default)]
    login: Option<String>,
    /// The app's id and the id of its installation, for an app.
    #[serde(default)]
    app_id: Option<u64>,
    #[serde(default)]
    installation_id: Option<u64>,
    /// The repositories (`owner/name`) that are heard; all whose webhook knows the secret when none is listed.
    #[serde(default)]
    repositories: Vec<String>,
    #[serde(default = "base_url")]
    base_url: String,
}

fn base_url() -> String {
    "https://api.github.com".to_owned()
}

impl Network for GitHub {
    fn about(&self) -> About {
        About {
            webhooks: true,
            ..needs(
                "github",
                "GitHub: issues and pull requests",
                &["api.github.com:443"],
                &[
                    ("webhook_secret", "the secret of the webhook", true),
                    ("token", "a token of the bot account that may write issues and pull requests", false),
                    ("private_key", "the app's private key (PEM), in the place of a token", false),
                ],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let identity = match (config.login, config.app_id, config.installation_id) {
            (Some(login), None, None) => {
                setup.credentials.line("token")?;
                Identity::Account(login)
            }
            (None, Some(app), Some(installation)) => {
                let text = setup.credentials.text("private_key")?;
                let key =
                    PrivateKey::read(&text).map_err(|_| CredentialError::Bad("private_key".to_owned(), "it is no private key in PEM"))?;
                Identity::App { app, installation, key: Box::new(key) }
            }
            _ => return Err(OpenError::Config("give either `login`, or `app_id` and `installation_id`".to_owned())),
        };
        Ok(Arc::new(Login {
            base: Base::named("base_url", &config.base_url)?,
            secret: setup.credentials.line("webhook_secret")?,
            repositories: config.repositories,
            identity,
            token: Token::default(),
            me: OnceCell::new(),
            setup,
        }))
    }
}

/// As whom it acts.
enum Identity {
    /// A bot account with this login.
    Account(String),
    /// An app where it is installed.
    App { app: u64, installation: u64, key: Box<PrivateKey> },
}

/// One account or installation.
struct Login {
    setup: Setup,
    base: Base,
    secret: Zeroizing<String>,
    repositories: Vec<String>,
    identity: Identity,
    /// The token of an installation.
    token: Token,
    /// Who it is: the name is the login by which it is mentioned.
    me: OnceCell<Who>,
}

/// A message in a repository, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Issue(u64),
    Comment(u64),
    Review(u64),
}

impl Account for Login {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.setup.introduce(abilities(), || async { self.me().await.cloned() }).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let repository = repository(&delivery.to.chat)?;
            match &delivery.act {
                Act::Send { text, .. } => {
                    if !files.is_empty() {
                        return Err(DeliverError::never("GitHub takes no files from programs"));
                    }
                    let (number, review) = thread(delivery.to.thread.as_deref())?;
                    let send = |attempt: Attempt| self.comment(repository, number, review, text, attempt);
                    steps.once("text", send).await.map(drop)
                }
                Act::Edit { message, text, .. } => {
                    let path = format!("/repos/{repository}/{}", of(message)?.path());
                    let edit = |_| async {
                        self.ask(Ask::new(Method::PATCH, self.base.at(&path)?).json(&json!({"body": text}))).await.map(|_| message.clone())
                    };
                    steps.once("edit", edit).await.map(drop)
                }
                Act::React { message, emoji } => {
                    let content = reaction(emoji).ok_or_else(|| DeliverError::never("GitHub knows eight reactions, and not this one"))?;
                    let path = format!("/repos/{repository}/{}/reactions", of(message)?.path());
                    // The same reaction once more gives the one that is there.
                    let react =
                        |_| async { self.ask(Ask::post(self.base.at(&path)?, &json!({"content": content}))).await.map(|_| String::new()) };
                    steps.once("react", react).await.map(drop)
                }
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let signature = request.header("x-hub-signature-256").and_then(|header| header.strip_prefix("sha256="));
            if !signature.is_some_and(|hex| is_hmac_sha256_hex(self.secret.as_bytes(), &[&request.body], hex)) {
                return Answer::status(401);
            }
            let (Some(event), Some(_)) = (request.header("x-github-event"), request.header("x-github-delivery")) else {
                return Answer::status(400);
            };
            let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return Answer::status(400) };
            if !self.is_ours(&body) {
                return Answer::status(403);
            }
            let Ok(me) = self.me().await else { return Answer::status(503) };
            if let Some(heard) = heard::read(event, &body, &me.name) {
                if heard.at_ms.abs_diff(now_ms()) > AGE_MS_MAX.unsigned_abs() {
                    return Answer::status(403);
                }
                if self.setup.link.tell(heard, None).await.is_err() {
                    return Answer::status(503);
                }
            }
            Answer::status(204)
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        threads: true,
        edit: true,
        react: true,
        // Nothing is sent twice: each comment carries a mark by which it is found again.
        idempotent: true,
        per_minute: 20,
        ..Abilities::default()
    }
}

impl Login {
    /// Whether an event is of a repository and an installation that are configured.
    fn is_ours(&self, body: &Value) -> bool {
        let listed = self.repositories.is_empty()
            || self
                .repositories
                .iter()
                .any(|known| body["repository"]["full_name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(known)));
        // A ping has no repository where it comes from an organisation.
        let pinged = body["repository"].is_null();
        let installed = match &self.identity {
            Identity::App { installation, .. } => body["installation"]["id"] == *installation || pinged,
            Identity::Account(_) => true,
        };
        (listed || pinged) && installed
    }

    /// Writes a comment; where nobody knows whether an earlier try wrote it, it is looked for first.
    async fn comment(
        &self,
        repository: &str,
        number: u64,
        review: Option<u64>,
        text: &str,
        attempt: Attempt,
    ) -> Result<String, DeliverError> {
        let mark = format!("<!-- lazaret:{} -->", attempt.key(43));
        let prefix = if review.is_some() { 'r' } else { 'c' };
        let list = match review {
            Some(_) => format!("/repos/{repository}/pulls/{number}/comments?sort=created&direction=desc&per_page=100"),
            None => {
                let since = crate::reading::rfc3339(now_ms() - LOOK_MS);
                format!("/repos/{repository}/issues/{number}/comments?since={since}&per_page=100")
            }
        };
        if attempt.doubtful
            && let Some(known) = self.find(&list, &mark).await?
        {
            return Ok(format!("{prefix}{known}"));
        }
        let path = match review {
            Some(first) => format!("/repos/{repository}/pulls/{number}/comments/{first}/replies"),
            None => format!("/repos/{repository}/issues/{number}/comments"),
        };
        let body = json!({"body": format!("{}\n\n{mark}", marked(text, false))});
        let answer = self.ask(Ask::post(self.base.at(&path)?, &body)).await?;
        let id = id(&answer["id"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "GitHub named no comment"))?;
        Ok(format!("{prefix}{id}"))
    }

    async fn find(&self, list: &str, mark: &str) -> Result<Option<String>, DeliverError> {
        for page in 1..=PAGES_MAX {
            let found = self.ask(Ask::get(self.base.at(&format!("{list}&page={page}"))?)).await?;
            let comments = found.as_array().map(Vec::as_slice).unwrap_or_default();
            // Others can copy the mark, but not write as the account.
            let login = &self.me().await?.name;
            let ours = |comment: &&Value| {
                comment["body"].as_str().is_some_and(|body| body.contains(mark))
                    && comment["user"]["login"].as_str().is_some_and(|by| by.eq_ignore_ascii_case(login))
            };
            if let Some(comment) = comments.iter().find(ours) {
                return Ok(id(&comment["id"]));
            }
            if comments.len() < 100 {
                return Ok(None);
            }
        }
        // It may be on a page beyond: sent again it could be there twice.
        Ok(None)
    }

    async fn me(&self) -> Result<&Who, DeliverError> {
        let odd = || DeliverError::new(Failing::Passing, "GitHub did not say who the account is");
        let ask = || async {
            match &self.identity {
                Identity::Account(login) => {
                    let user = self.ask(Ask::get(self.base.at("/user")?)).await?;
                    if !user["login"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(login)) {
                        return Err(DeliverError::new(Failing::Credential, "the token is of another account than `login`"));
                    }
                    Ok(Who { id: id(&user["id"]).ok_or_else(odd)?, name: name(&user["login"]), bot: true })
                }
                Identity::App { app, key, .. } => {
                    let found = self.send(Ask::get(self.base.at("/app")?), &proof(*app, key)?).await?;
                    let slug = found["slug"].as_str().and_then(path_id).ok_or_else(odd)?;
                    Ok(Who { id: id(&found["id"]).ok_or_else(odd)?, name: format!("{slug}[bot]"), bot: true })
                }
            }
        };
        self.me.get_or_try_init(ask).await
    }

    /// Asks as the account, or as the installation with a token that is drawn for it.
    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let token = match &self.identity {
            Identity::Account(_) => {
                self.setup.credentials.line("token").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?
            }
            Identity::App { app, installation, key } => {
                let draw = || async {
                    let url = self.base.at(&format!("/app/installations/{installation}/access_tokens"))?;
                    let answer = self.send(Ask::post(url, &json!({})), &proof(*app, key)?).await?;
                    let token = answer["token"].as_str().ok_or_else(|| DeliverError::new(Failing::Passing, "GitHub gave no token"))?;
                    let until = crate::reading::rfc3339_ms(answer["expires_at"].as_str().unwrap_or_default()).unwrap_or(0);
                    Ok((Zeroizing::new(token.to_owned()), (until - now_ms()) / 1_000))
                };
                self.token.get(now_ms(), draw).await?
            }
        };
        self.send(ask, &token).await
    }

    async fn send(&self, ask: Ask, token: &str) -> Result<Value, DeliverError> {
        let accept = ask.bearer(token).header(http::header::ACCEPT, "application/vnd.github+json");
        let ask = accept.header(http::HeaderName::from_static("x-github-api-version"), VERSION);
        let called = call(&self.setup.http, ask).await?;
        if let Some(limit) = limited(&called) {
            return Err(limit);
        }
        called.ok(|body| body["message"].as_str().unwrap_or_default().to_owned())
    }
}

/// GitHub says with 403 too that it was asked too often: by `Retry-After`, or by a moment when nothing is left until then.
fn limited(called: &Called) -> Option<DeliverError> {
    let refused = matches!(called.status.as_u16(), 403 | 429);
    let reset = called.reset.map(|at| Duration::from_secs(u64::try_from(at - now_ms() / 1_000).unwrap_or(1).clamp(1, 3_600)));
    let secondary = called.body["message"].as_str().is_some_and(|words| words.to_ascii_lowercase().contains("rate limit"));
    let after = called.after.or(reset).or_else(|| secondary.then_some(Duration::from_secs(60)));
    after.filter(|_| refused).map(|after| DeliverError::new(Failing::Rate, "GitHub was asked too often").after(Some(after)))
}

fn proof(app: u64, key: &PrivateKey) -> Result<String, DeliverError> {
    key.sign(json!({"iss": app.to_string()}), now_ms() / 1_000).map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))
}

/// `owner/name`, as two plain pieces of a path.
fn repository(chat: &str) -> Result<&str, DeliverError> {
    let fine = chat.split_once('/').is_some_and(|(owner, name)| path_id(owner).is_some() && path_id(name).is_some());
    if fine { Ok(chat) } else { Err(DeliverError::never("that is no repository")) }
}

/// The number of an issue or pull request, and the first comment of a review's thread.
fn thread(thread: Option<&str>) -> Result<(u64, Option<u64>), DeliverError> {
    let read = |text: &str| text.parse::<u64>().ok();
    let parsed = thread.and_then(|thread| match thread.split_once("/r") {
        Some((number, first)) => Some((read(number)?, Some(read(first)?))),
        None => Some((read(thread)?, None)),
    });
    parsed.ok_or_else(|| DeliverError::never("on GitHub one writes below an issue or a pull request: the thread is its number"))
}

fn of(message: &str) -> Result<Message, DeliverError> {
    let number = message.get(1..).and_then(|digits| digits.parse().ok());
    match (message.as_bytes().first(), number) {
        (Some(b'i'), Some(n)) => Ok(Message::Issue(n)),
        (Some(b'c'), Some(n)) => Ok(Message::Comment(n)),
        (Some(b'r'), Some(n)) => Ok(Message::Review(n)),
        _ => Err(DeliverError::never("that is nothing on GitHub that can be edited or reacted to")),
    }
}

impl Message {
    fn path(self) -> String {
        match self {
            Self::Issue(n) => format!("issues/{n}"),
            Self::Comment(n) => format!("issues/comments/{n}"),
            Self::Review(n) => format!("pulls/comments/{n}"),
        }
    }
}

fn reaction(emoji: &str) -> Option<&'static str> {
    match emoji.trim_end_matches('\u{FE0F}') {
        "👍" | "✅" => Some("+1"),
        "👎" | "❌" => Some("-1"),
        "😄" | "😂" => Some("laugh"),
        "🎉" => Some("hooray"),
        "😕" => Some("confused"),
        "❤" => Some("heart"),
        "🚀" => Some("rocket"),
        "👀" => Some("eyes"),
        _ => None,
    }
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(event: &str, value: &Value) -> bool {
    heard::read(event, value, "me").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_plain() {
        assert_eq!(thread(Some("12")).ok(), Some((12, None)));
        assert_eq!(thread(Some("12/r7")).ok(), Some((12, Some(7))));
        for bad in [None, Some(""), Some("x"), Some("12/7"), Some("-1"), Some("12/r7/../../user")] {
            assert!(thread(bad).is_err(), "{bad:?}");
        }
        assert!(repository("acme/shop").is_ok());
        for bad in ["acme", "acme/..", "acme/shop/x", "../x", "acme/sh op"] {
            assert!(repository(bad).is_err(), "{bad}");
        }
        assert_eq!(of("c9").map(Message::path).ok().as_deref(), Some("issues/comments/9"));
        assert!(of("v9").is_err() && of("").is_err() && of("é").is_err());
    }
}
