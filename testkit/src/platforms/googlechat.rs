//! Google Chat's REST API, the token service and the published keys, as the public documentation describes them.

use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, each, fresh};
use super::signed::{PLATFORM_KEY, Posted, STRANGER_KEY, claims_of, date, key_set, now_s, token};
use super::{Call, Kept, Reply, Web};

/// The project's number: the audience of events.
pub const PROJECT: &str = "1234567890";
/// The address of the service account.
pub const EMAIL: &str = "bot@acme.iam.gserviceaccount.com";
/// The id of the published key.
pub const KID: &str = "g1";
const TOKEN: &str = "ya29.test";

#[derive(Default)]
struct State {
    messages: Vec<Value>,
}

/// The platform.
pub struct GoogleChat {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl GoogleChat {
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
        json!({"audience": PROJECT, "base_url": url, "token_url": format!("{url}/token"), "keys_url": format!("{url}/keys")})
    }

    /// The key file of the service account; with a key that is not its own when `wrong`.
    #[must_use]
    pub fn key_file(wrong: bool) -> String {
        let key = if wrong { PLATFORM_KEY } else { STRANGER_KEY };
        json!({"type": "service_account", "client_email": EMAIL, "private_key": key, "token_uri": "https://evil.example/token"}).to_string()
    }

    /// The messages that stand there.
    #[must_use]
    pub fn messages(&self) -> Vec<Value> {
        self.state.lock().messages.clone()
    }

    /// The claims of the token that comes with events.
    #[must_use]
    pub fn claims() -> Value {
        json!({"iss": "chat@system.gserviceaccount.com", "aud": PROJECT, "iat": now_s() - 10, "exp": now_s() + 3_600})
    }

    /// A request with an event and the platform's token.
    #[must_use]
    pub fn event(more: &Value) -> Posted {
        let mut event = json!({
            "type": "MESSAGE", "eventTime": date(0), "space": {"name": "spaces/A", "displayName": "Team", "spaceType": "SPACE"},
            "user": {"name": "users/1", "displayName": "Ann", "type": "HUMAN"},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        Posted::new(event.to_string()).with("authorization", &format!("Bearer {}", token(PLATFORM_KEY, KID, &Self::claims())))
    }

    /// The message of an event.
    #[must_use]
    pub fn message(id: &str, text: &str) -> Value {
        json!({"message": {"name": format!("spaces/A/messages/{id}"), "sender": {"name": "users/1"}, "text": text, "thread": {"name": "spaces/A/threads/T"}}})
    }
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let failed = |status: u16, message: &str| Reply::json(status, &json!({"error": {"code": status, "message": message}}));
    match (call.method.as_str(), call.path()) {
        ("GET", "/keys") => return Reply::json(200, &key_set(PLATFORM_KEY, KID, &json!({}))),
        ("POST", "/token") => {
            let form = call.form();
            let value = |key: &str| form.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).unwrap_or_default();
            let claims = claims_of(STRANGER_KEY, value("assertion"));
            let fine = value("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer"
                && claims.is_some_and(|c| {
                    c["iss"] == EMAIL
                        && c["scope"].as_str().is_some_and(|s| s.ends_with("/chat.bot"))
                        && c["aud"].as_str().is_some_and(|a| a.ends_with("/token"))
                });
            return if fine {
                Reply::json(200, &json!({"access_token": TOKEN, "expires_in": 3_599, "token_type": "Bearer"}))
            } else {
                Reply::json(400, &json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}))
            };
        }
        _ => {}
    }
    if call.bearer() != Some(TOKEN) {
        return failed(401, "Request had invalid authentication credentials.");
    }
    let body = call.json();
    let query = call.query();
    let value = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap_or_default();
    let pieces: Vec<&str> = call.path().trim_matches('/').split('/').collect();
    match (call.method.as_str(), pieces.as_slice()) {
        ("POST", ["v1", "spaces", space, "messages"]) => {
            if *space == "gone" {
                return failed(403, "This Chat app is not a member of this space.");
            }
            let known = state.messages.iter().find(|message| message["request"] == value("requestId"));
            if let Some(known) = known {
                return Reply::json(200, known);
            }
            if (body["text"].as_str().unwrap_or_default().is_empty() && body["cardsV2"].is_null()) || call.body.len() > 32_000 {
                return failed(400, "Message cannot be empty.");
            }
            let mut message = body;
            message["name"] = json!(format!("spaces/{space}/messages/M{}", state.messages.len()));
            message["request"] = json!(value("requestId"));
            state.messages.push(message.clone());
            Reply::json(200, &message)
        }
        ("PATCH", ["v1", "spaces", space, "messages", id]) => {
            let name = format!("spaces/{space}/messages/{id}");
            match state.messages.iter_mut().find(|message| message["name"] == *name) {
                Some(message) if value("updateMask") == "text,cardsV2" => {
                    message["text"] = body["text"].clone();
                    message["cardsV2"] = body["cardsV2"].clone();
                    Reply::json(200, message)
                }
                _ => failed(404, "Message not found."),
            }
        }
        ("GET", ["v1", "media", "res%2Fa%3D%3D"]) if value("alt") == "media" => Reply::status(200).body("attachment"),
        ("GET", ["v1", "spaces:findDirectMessage"]) if value("name") == "users/1" => Reply::json(200, &json!({"name": "spaces/DM1"})),
        _ => failed(404, "Not found."),
    }
}

impl Party for GoogleChat {
    fn network(&self) -> &'static str {
        "googlechat"
    }

    fn config(&self) -> Value {
        Self::config(self)
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("service_account", Self::key_file(false))]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        Some(Self::event(&Self::message(&fresh().to_string(), text)))
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let mut told = Self::message(&fresh().to_string(), text);
        told["message"]["attachment"] = json!([{"contentName": "a.txt", "attachmentDataRef": {"resourceName": "res/a=="}}]);
        Some(SentFile { posted: Some(Self::event(&told)), bytes: b"attachment" })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        let message = self.messages().into_iter().find(|message| message["name"] == below.id.as_str()).unwrap_or_default();
        let action = buttons(&message).into_iter().find(|action| action["parameters"][0]["value"] == value).unwrap_or_default();
        let clicked = json!({"actionMethodName": action["function"], "parameters": action["parameters"]});
        Some(Self::event(&json!({"type": "CARD_CLICKED", "message": {"name": below.id}, "action": clicked})))
    }

    fn standing(&self) -> Vec<Standing> {
        let stands = |message: Value| {
            let id = message["name"].as_str().unwrap_or_default().to_owned();
            let values = Value::Array(buttons(&message));
            Standing { buttons: each(&values, "/parameters/0/value"), ..Standing::text(id, &message["text"]) }
        };
        self.messages().into_iter().map(stands).collect()
    }
}

/// The actions of a card's buttons.
fn buttons(message: &Value) -> Vec<Value> {
    let widgets = message["cardsV2"][0]["card"]["sections"][0]["widgets"].as_array().into_iter().flatten();
    let buttons = widgets.flat_map(|widget| widget["buttonList"]["buttons"].as_array().into_iter().flatten());
    buttons.map(|button| button["onClick"]["action"].clone()).collect()
}
