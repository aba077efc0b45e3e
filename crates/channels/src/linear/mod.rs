//! Linear: signed webhooks of a workspace in, comments by GraphQL out.

mod heard;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{Method, Uri};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use wire::chat::{Abilities, About, Act, Delivery, Failing, Who};
use zeroize::Zeroizing;

use crate::calls::{Called, call};
use crate::clock::now_ms;
use crate::http::{Ask, Base};
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, needs};
use crate::note::{Attempt, Steps};
use crate::reading::{id, name};
use crate::sign::{hex, is_hmac_sha256_hex, is_recent};
use crate::sink::Sink;

/// Characters of a comment.
const TEXT_MAX: u32 = 60_000;
/// How long to wait when Linear does not say it.
const LATER: Duration = Duration::from_secs(60);

const WHO: &str = "query { viewer { id name } organization { id } }";
const SAY: &str = "mutation($input: CommentCreateInput!) { commentCreate(input: $input) { success comment { id } } }";
const SAID: &str = "query($id: String!) { comment(id: $id) { id } }";
const CHANGE: &str = "mutation($id: String!, $input: CommentUpdateInput!) { commentUpdate(id: $id, input: $input) { success } }";
const REACT: &str = "mutation($input: ReactionCreateInput!) { reactionCreate(input: $input) { success } }";
const UPLOAD: &str = "mutation($contentType: String!, $filename: String!, $size: Int!) { fileUpload(contentType: $contentType, filename: $filename, size: $size) { success uploadFile { uploadUrl assetUrl headers { key value } } } }";

/// The network.
pub(crate) struct Linear;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The one team (its id or its key) that is heard; all when none is given.
    #[serde(default)]
    team: Option<String>,
    #[serde(default = "base_url")]
    base_url: String,
    /// Where files lie that are named in comments.
    #[serde(default = "files_url")]
    files_url: String,
}

fn base_url() -> String {
    "https://api.linear.app".to_owned()
}

fn files_url() -> String {
    "https://uploads.linear.app".to_owned()
}

impl Network for Linear {
    fn about(&self) -> About {
        About {
            addresses: ["files_url"].map(str::to_owned).to_vec(),
            webhooks: true,
            ..needs(
                "linear",
                "Linear: issues and their comments",
                &["api.linear.app:443", "uploads.linear.app:443", "storage.googleapis.com:443"],
                &[("api_key", "an API key or OAuth token of the account", true), ("webhook_secret", "the webhook's signing secret", true)],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        setup.credentials.line("api_key")?;
        Ok(Arc::new(Member {
            base: Base::named("base_url", &config.base_url)?,
            files: Base::named("files_url", &config.files_url)?,
            secret: setup.credentials.line("webhook_secret")?,
            team: config.team,
            me: OnceCell::new(),
            setup,
        }))
    }
}

/// One account in a workspace.
struct Member {
    setup: Setup,
    base: Base,
    files: Base,
    secret: Zeroizing<String>,
    team: Option<String>,
    /// Who it is, and its workspace.
    me: OnceCell<(Who, String)>,
}

impl Account for Member {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.setup.introduce(abilities(), || async { Ok(self.me().await?.0.clone()) }).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            match &delivery.act {
                Act::Send { text, reply_to, .. } => {
                    let issue = delivery
                        .to
                        .thread
                        .as_deref()
                        .ok_or_else(|| DeliverError::never("on Linear one writes below an issue: the thread is its id"))?;
                    let send = |attempt: Attempt| self.comment(issue, text, reply_to.as_deref(), files, attempt);
                    steps.once("text", send).await.map(drop)
                }
                Act::Edit { message, text, .. } => {
                    let variables = json!({"id": message, "input": {"body": text}});
                    let change = |_| async { self.ask(CHANGE, variables).await.map(|_| message.clone()) };
                    steps.once("edit", change).await.map(drop)
                }
                Act::React { message, emoji } => {
                    // With an id of ours a second try is the same reaction.
                    let react = |attempt: Attempt| async move {
                        let input = json!({"id": uuid(&attempt), "commentId": message, "emoji": emoji});
                        match self.ask(REACT, json!({"input": input})).await {
                            Err(error) if !(attempt.doubtful && error.why == Failing::Final) => Err(error),
                            _ => Ok(String::new()),
                        }
                    };
                    steps.once("react", react).await.map(drop)
                }
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let signed =
                request.header("linear-signature").is_some_and(|hex| is_hmac_sha256_hex(self.secret.as_bytes(), &[&request.body], hex));
            if !signed {
                return Answer::status(401);
            }
            let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return Answer::status(400) };
            // The time is in the body, and so signed.
            if !body["webhookTimestamp"].as_i64().is_some_and(|at| is_recent(at, now_ms())) {
                return Answer::status(401);
            }
            let Ok((me, workspace)) = self.me().await else { return Answer::status(503) };
            if body["organizationId"] != **workspace {
                return Answer::status(403);
            }
            if let Some(heard) = heard::read(&body, self.team.as_deref(), me, &self.files)
                && self.setup.link.tell(heard, None).await.is_err()
            {
                return Answer::status(503);
            }
            Answer::status(200)
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let url: Uri = file.parse().map_err(|_| "the file has no address")?;
            if !self.files.is_origin_of(&url) {
                return Err("the file does not lie where Linear keeps files".to_owned());
            }
            let key = self.authorization().map_err(|e| e.to_string())?;
            let reply = self.setup.http.send(Ask::get(url).header(AUTHORIZATION, &key)).await.map_err(|e| e.to_string())?;
            reply.into_sink(sink).await
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        file_max: wire::chat::CHAT_FILE_BYTES_MAX,
        threads: true,
        edit: true,
        react: true,
        idempotent: true,
        per_minute: 30,
        ..Abilities::default()
    }
}

impl Member {
    /// Writes a comment under an id of ours: Linear takes an id once.
    async fn comment(
        &self,
        issue: &str,
        text: &str,
        parent: Option<&str>,
        files: &[File],
        attempt: Attempt,
    ) -> Result<String, DeliverError> {
        let ours = uuid(&attempt);
        if attempt.doubtful && self.stands(&ours).await? {
            return Ok(ours);
        }
        let mut body = text.to_owned();
        for file in files {
            let url = self.upload(file).await?;
            let mark = if file.mime().starts_with("image/") { "!" } else { "" };
            body.push_str(&format!("\n\n{mark}[{}]({url})", file.name().replace(['[', ']', '\\'], "_")));
        }
        let mut input = json!({"id": ours, "issueId": issue, "body": body});
        if let Some(parent) = parent {
            input["parentId"] = json!(parent);
        }
        let answer = self.ask(SAY, json!({"input": input})).await?;
        id(&answer["commentCreate"]["comment"]["id"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "Linear named no comment"))
    }

    /// Whether a comment of this id is there. Linear refuses to name one that is not; where it does not answer, nothing is known, and what
    /// is written again would be refused for good though it stands there.
    async fn stands(&self, comment: &str) -> Result<bool, DeliverError> {
        match self.ask(SAID, json!({"id": comment})).await {
            Ok(found) => Ok(found["comment"]["id"] == *comment),
            Err(error) if error.why == Failing::Final => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Brings a file to where Linear keeps files. Nobody sees it until a comment names it.
    async fn upload(&self, file: &File) -> Result<String, DeliverError> {
        let answer = self.ask(UPLOAD, json!({"contentType": file.mime(), "filename": file.name(), "size": file.bytes.len()})).await?;
        let place = &answer["fileUpload"]["uploadFile"];
        let odd = || DeliverError::new(Failing::Passing, "Linear gave no place for a file");
        let url: Uri = place["uploadUrl"].as_str().and_then(|url| url.parse().ok()).ok_or_else(odd)?;
        let host = url.host().unwrap_or_default();
        let storage = url.scheme_str() == Some("https") && (host == "storage.googleapis.com" || host.ends_with(".storage.googleapis.com"));
        if !storage && !self.files.is_origin_of(&url) {
            return Err(DeliverError::never("Linear's place for a file is not one of its own"));
        }
        let mut ask = Ask::new(Method::PUT, url).body(file.mime(), file.bytes.clone());
        for header in place["headers"].as_array().into_iter().flatten().take(16) {
            let key = header["key"].as_str().and_then(|key| key.parse().ok());
            if let (Some(key), Some(value)) = (key, header["value"].as_str()) {
                ask = ask.header(key, value);
            }
        }
        call(&self.setup.http, ask).await?.ok(|_| "the file".to_owned())?;
        // It is written into a comment: nothing but an address.
        let asset =
            place["assetUrl"].as_str().filter(|url| !url.contains(|c: char| c.is_whitespace() || c == ')' || c == '(')).ok_or_else(odd)?;
        Ok(asset.to_owned())
    }

    async fn me(&self) -> Result<&(Who, String), DeliverError> {
        let ask = || async {
            let odd = || DeliverError::new(Failing::Passing, "Linear did not say who the account is");
            let found = self.ask(WHO, json!({})).await?;
            let me = Who { id: id(&found["viewer"]["id"]).ok_or_else(odd)?, name: name(&found["viewer"]["name"]), bot: true };
            Ok((me, id(&found["organization"]["id"]).ok_or_else(odd)?))
        };
        self.me.get_or_try_init(ask).await
    }

    /// API keys are sent as they are, tokens of applications as bearers.
    fn authorization(&self) -> Result<Zeroizing<String>, DeliverError> {
        let key = self.setup.credentials.line("api_key").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?;
        Ok(if key.starts_with("lin_api_") { key } else { Zeroizing::new(format!("Bearer {}", *key)) })
    }

    async fn ask(&self, query: &str, variables: Value) -> Result<Value, DeliverError> {
        let ask = Ask::post(self.base.at("/graphql")?, &json!({"query": query, "variables": variables}))
            .header(AUTHORIZATION, &self.authorization()?);
        let Called { status, after, body, .. } = call(&self.setup.http, ask).await?;
        let error = &body["errors"][0];
        let words =
            error["extensions"]["userPresentableMessage"].as_str().or_else(|| error["message"].as_str()).unwrap_or_default().to_owned();
        match error["extensions"]["code"].as_str().or_else(|| error["extensions"]["type"].as_str()) {
            Some("RATELIMITED" | "ratelimited") => Err(DeliverError::new(Failing::Rate, words).after(after.or(Some(LATER)))),
            Some("AUTHENTICATION_ERROR" | "authentication error") => {
                Err(DeliverError::new(Failing::Credential, "Linear does not take the key"))
            }
            _ if !status.is_success() => Err(crate::http::refused(status, after, &words)),
            // GraphQL refuses with 200.
            _ if error.is_object() => Err(DeliverError::never(format!("Linear answered: {}", crate::reading::clip_chars(&words, 300)))),
            _ => Ok(body["data"].clone()),
        }
    }
}

/// An id in the form that Linear wants, the same for each try.
fn uuid(attempt: &Attempt) -> String {
    let hash = digest(&SHA256, attempt.key(43).as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    // Version 4, as far as anybody can tell.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(value: &Value, me: &Who, files: &Base) -> bool {
    heard::read(value, None, me, files).is_some()
}
