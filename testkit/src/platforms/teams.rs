//! Bot Framework's connector for Microsoft Teams, with the token service and the published keys, as the public documentation
//! describes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, each, fresh};
use super::signed::{PLATFORM_KEY, Posted, date, key_set, now_s, token};
use super::{Call, Kept, Reply, Web};

/// The app's id.
pub const APP: &str = "app-1";
/// The directory.
pub const TENANT: &str = "tenant-1";
/// The app's password.
pub const PASSWORD: &str = "password-of-tests";
/// The id of the published key.
pub const KID: &str = "k1";
/// A group with the account in it.
pub const GROUP: &str = "19:team@thread.v2";
const TOKEN: &str = "connector-token";

#[derive(Default)]
struct State {
    sent: Vec<Value>,
    edited: Vec<(String, Value)>,
    uploaded: Vec<Vec<u8>>,
}

/// The platform.
pub struct Teams {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl Teams {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (web, state) = Web::keeping(State::default(), answer);
        Self { web, state }
    }

    /// What is configured to reach it.
    #[must_use]
    pub fn config(&self) -> Value {
        let url = self.web.url();
        json!({"app_id": APP, "tenant": TENANT, "base_url": format!("{url}/teams"), "login_url": url, "openid_url": format!("{url}/openid")})
    }

    /// The activities that it took.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        self.state.lock().sent.clone()
    }

    /// The changes that it took.
    #[must_use]
    pub fn edited(&self) -> Vec<(String, Value)> {
        self.state.lock().edited.clone()
    }

    /// The files that were brought.
    #[must_use]
    pub fn uploaded(&self) -> Vec<Vec<u8>> {
        self.state.lock().uploaded.clone()
    }

    /// The claims of the token that comes with activities.
    #[must_use]
    pub fn claims(&self) -> Value {
        json!({"iss": "https://api.botframework.com", "aud": APP, "exp": now_s() + 3_600, "nbf": now_s() - 60, "serviceurl": self.service()})
    }

    /// The address of the connector.
    #[must_use]
    pub fn service(&self) -> String {
        format!("{}/emea/", self.web.url())
    }

    /// An activity of somebody's.
    #[must_use]
    pub fn activity(&self, person: &str, id: &str, more: &Value) -> Value {
        let mut activity = json!({
            "type": "message", "id": id, "timestamp": date(0), "serviceUrl": self.service(), "channelId": "msteams",
            "from": {"id": format!("29:{person}"), "aadObjectId": person, "name": "Ann"}, "recipient": {"id": format!("28:{APP}"), "name": "Lazaret"},
            "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": TENANT}, "channelData": {"tenant": {"id": TENANT}}, "text": "hi",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            activity[key] = value.clone();
        }
        activity
    }

    /// A request with an activity and the platform's token.
    #[must_use]
    pub fn post(&self, activity: &Value) -> Posted {
        Posted::new(activity.to_string()).with("authorization", &format!("Bearer {}", token(PLATFORM_KEY, KID, &self.claims())))
    }
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let path = call.path().to_owned();
    let host = call.header("host").unwrap_or_default();
    match (call.method.as_str(), path.as_str()) {
        ("GET", "/openid") => {
            return Reply::json(200, &json!({"issuer": "https://api.botframework.com", "jwks_uri": format!("http://{host}/keys")}));
        }
        ("GET", "/keys") => return Reply::json(200, &key_set(PLATFORM_KEY, KID, &json!({"endorsements": ["msteams"]}))),
        ("POST", "/tenant-1/oauth2/v2.0/token") => {
            let form = call.form();
            let has = |key: &str, value: &str| form.iter().any(|(k, v)| k == key && v == value);
            let fine = has("grant_type", "client_credentials")
                && has("client_id", APP)
                && has("client_secret", PASSWORD)
                && has("scope", "https://api.botframework.com/.default");
            return if fine {
                Reply::json(200, &json!({"token_type": "Bearer", "expires_in": 3_600, "access_token": TOKEN}))
            } else {
                Reply::json(401, &json!({"error": "invalid_client", "error_description": "AADSTS7000215"}))
            };
        }
        ("PUT", "/upload/1") if call.bearer().is_none() => {
            let whole = format!("bytes 0-{}/{}", call.body.len().saturating_sub(1), call.body.len());
            if call.header("content-range") != Some(whole.as_str()) {
                return Reply::status(416);
            }
            state.uploaded.push(call.body.to_vec());
            return Reply::json(201, &json!({"id": "1"}));
        }
        ("GET", "/emea/v3/attachments/img1/views/original") if call.bearer() == Some(TOKEN) => return Reply::status(200).body("picture"),
        _ => {}
    }
    if call.bearer() != Some(TOKEN) {
        return Reply::json(401, &json!({"message": "Authorization has been denied for this request."}));
    }
    let pieces: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    let body = call.json();
    let refused = |code: &str| Reply::json(400, &json!({"error": {"code": code, "message": "Bad syntax"}}));
    match (call.method.as_str(), pieces.as_slice()) {
        ("POST", ["v3", "conversations"]) if body["tenantId"] == TENANT && body["members"][0]["id"].is_string() => {
            Reply::json(201, &json!({"id": "a:new"}))
        }
        ("POST", ["v3", "conversations", conversation, "activities", ..]) => {
            if *conversation == "gone" {
                return Reply::json(
                    403,
                    &json!({"error": {"code": "BotNotInConversationRoster", "message": "The bot is not part of the conversation roster."}}),
                );
            }
            if body["type"] == "typing" {
                return Reply::json(202, &json!({}));
            }
            if body["type"] != "message"
                || call.body.len() > 1_500_000
                || (body["text"].as_str().unwrap_or_default().is_empty() && body["attachments"].is_null())
            {
                return refused("BadSyntax");
            }
            // A file is offered to one person.
            let is_offer = |part: &Value| part["contentType"] == "application/vnd.microsoft.teams.card.file.consent";
            if is_group(conversation) && body["attachments"].as_array().is_some_and(|parts| parts.iter().any(is_offer)) {
                return refused("BadArgument");
            }
            let mut kept = body;
            kept["at"] = json!(conversation);
            state.sent.push(kept);
            Reply::json(201, &json!({"id": format!("m{}", state.sent.len())}))
        }
        ("PUT", ["v3", "conversations", _, "activities", message]) => {
            let known = message.strip_prefix('m').and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n >= 1 && n <= state.sent.len());
            if !known {
                return Reply::json(404, &json!({"error": {"code": "ActivityNotFoundInConversation", "message": "not found"}}));
            }
            state.edited.push(((*message).to_owned(), body));
            Reply::json(200, &json!({"id": message}))
        }
        _ => Reply::status(404),
    }
}

/// Whether a conversation, as a path names it, is the group.
fn is_group(conversation: &str) -> bool {
    conversation.contains("thread.v2")
}

impl Party for Teams {
    fn network(&self) -> &'static str {
        "teams"
    }

    fn config(&self) -> Value {
        Self::config(self)
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("app_password", PASSWORD.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        Some(self.post(&self.activity("ann", &fresh().to_string(), &json!({"text": text}))))
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let url = format!("{}v3/attachments/img1/views/original", self.service());
        let picture = json!([{"contentType": "image/png", "contentUrl": url, "name": "a.png"}]);
        let posted = self.post(&self.activity("ann", &fresh().to_string(), &json!({"text": text, "attachments": picture})));
        Some(SentFile { posted: Some(posted), bytes: b"picture" })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        let press = json!({"value": {"lazaret": value}, "replyToId": below.id, "text": null});
        Some(self.post(&self.activity("ann", &fresh().to_string(), &press)))
    }

    fn writes_in_group(&self, text: &str) -> Option<Posted> {
        let more = json!({
            "text": format!("<at>Lazaret</at> {text}"),
            "conversation": {"id": GROUP, "conversationType": "groupChat", "isGroup": true, "tenantId": TENANT},
            "entities": [{"type": "mention", "text": "<at>Lazaret</at>", "mentioned": {"id": format!("28:{APP}"), "name": "Lazaret"}}],
        });
        Some(self.post(&self.activity("ann", &fresh().to_string(), &more)))
    }

    fn standing_in_group(&self) -> Vec<Standing> {
        let sent = self.state.lock().sent.clone();
        let stands = Party::standing(self).into_iter().zip(sent);
        stands.filter(|(_, sent)| sent["at"].as_str().is_some_and(is_group)).map(|(stands, _)| stands).collect()
    }

    fn standing(&self) -> Vec<Standing> {
        let state = self.state.lock();
        let stands = |(n, sent): (usize, &Value)| {
            let id = format!("m{}", n + 1);
            let now = state.edited.iter().rev().find(|(edited, _)| *edited == id).map_or(sent, |(_, body)| body);
            let card = &now["attachments"][0]["content"]["body"];
            let text = if card.is_array() { card[0]["text"].clone() } else { now["text"].clone() };
            let buttons = card.as_array().into_iter().flatten().flat_map(|part| each(&part["actions"], "/data/lazaret")).collect();
            let picture = now["attachments"][0]["contentUrl"].as_str().and_then(|url| url.split_once("base64,"));
            let files = picture.and_then(|(_, data)| STANDARD.decode(data).ok()).into_iter().collect();
            Standing { buttons, files, ..Standing::text(id, &text) }
        };
        state.sent.iter().enumerate().map(stands).collect()
    }

    fn was_seen_writing(&self) -> bool {
        self.web.calls("/activities").iter().any(|call| call.json()["type"] == "typing")
    }
}
