//! Linear's GraphQL API and webhooks, as its public documentation describes them: one workspace with one issue. Queries are
//! told apart by the field that they ask for. What Linear answers to an id that it has is not documented; here it refuses.

use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, fresh};
use super::signed::{Posted, date, hmac_sha256_hex, now_s};
use super::{Call, Kept, Reply, Web};

/// The API key.
pub const KEY: &str = "lin_api_test";
/// The webhook's secret.
pub const SECRET: &str = "linear-secret-of-tests";
/// The account's user id.
pub const ME: &str = "user-me";
/// The issue's id.
pub const ISSUE: &str = "issue-1";

#[derive(Default)]
struct State {
    comments: Vec<Value>,
    reactions: Vec<Value>,
    files: Vec<Vec<u8>>,
}

/// The platform.
pub struct Linear {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl Linear {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (web, state) = Web::keeping(State::default(), answer);
        Self { web, state }
    }

    /// What is configured to reach it.
    #[must_use]
    pub fn config(&self) -> Value {
        json!({"base_url": self.web.url(), "files_url": self.web.url(), "team": "ENG"})
    }

    /// The comments that stand there.
    #[must_use]
    pub fn comments(&self) -> Vec<Value> {
        self.state.lock().comments.clone()
    }

    /// The reactions.
    #[must_use]
    pub fn reactions(&self) -> Vec<Value> {
        self.state.lock().reactions.clone()
    }

    /// A signed request with a comment, moved in time by some seconds.
    #[must_use]
    pub fn comment(&self, actor: &str, id: &str, body: &str, offset_s: i64) -> Posted {
        let issue = json!({"id": ISSUE, "teamId": "team-1", "team": {"id": "team-1", "key": "ENG", "name": "Engineering"}});
        Self::event(&json!({
            "action": "create", "type": "Comment", "createdAt": date(offset_s), "organizationId": "org-1",
            "actor": {"id": actor, "name": "Ann", "type": "user"}, "webhookTimestamp": (now_s() + offset_s) * 1_000,
            "data": {"id": id, "body": body, "issueId": ISSUE, "issue": issue},
        }))
    }

    /// A signed request with any event.
    #[must_use]
    pub fn event(body: &Value) -> Posted {
        let body = body.to_string();
        let signature = hmac_sha256_hex(SECRET, body.as_bytes());
        Posted::new(body).with("linear-signature", &signature).with("linear-delivery", "234d1a4e").with("linear-event", "Comment")
    }
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let url = format!("http://{}", call.header("host").unwrap_or_default());
    if let Some(n) = call.path().strip_prefix("/files/") {
        let at: usize = n.parse().unwrap_or(usize::MAX);
        return match call.method.as_str() {
            "PUT" if call.header("x-goog-content-length-range").is_some() && at == state.files.len() => {
                state.files.push(call.body.to_vec());
                Reply::status(200)
            }
            "GET" if call.header("authorization") == Some(KEY) => {
                state.files.get(at).map_or_else(|| Reply::status(404), |bytes| Reply::status(200).body(bytes.clone()))
            }
            _ => Reply::status(401),
        };
    }
    let refused = |status: u16, code: &str, message: &str| {
        Reply::json(status, &json!({"errors": [{"message": message, "extensions": {"code": code, "userPresentableMessage": message}}]}))
    };
    if call.header("authorization") != Some(KEY) {
        return refused(401, "AUTHENTICATION_ERROR", "Authentication required, not authenticated");
    }
    let body = call.json();
    let (query, variables) = (body["query"].as_str().unwrap_or_default(), &body["variables"]);
    let input = &variables["input"];
    let text = input["body"].as_str().unwrap_or_default();
    let data = |value: Value| Reply::json(200, &json!({"data": value}));
    if query.contains("viewer") {
        return data(json!({"viewer": {"id": ME, "name": "lazaret"}, "organization": {"id": "org-1"}}));
    }
    if query.contains("commentCreate") {
        if input["issueId"] != ISSUE || text.is_empty() {
            return refused(200, "INVALID_INPUT", "Entity not found: Issue");
        }
        if state.comments.iter().any(|comment| comment["id"] == input["id"]) {
            return refused(200, "INVALID_INPUT", "Entity with the id exists");
        }
        state.comments.push(input.clone());
        return data(json!({"commentCreate": {"success": true, "comment": {"id": input["id"]}}}));
    }
    if query.contains("commentUpdate") {
        return match state.comments.iter_mut().find(|comment| comment["id"] == variables["id"]) {
            Some(comment) => {
                comment["body"] = json!(text);
                data(json!({"commentUpdate": {"success": true}}))
            }
            None => refused(200, "INVALID_INPUT", "Entity not found: Comment"),
        };
    }
    if query.contains("reactionCreate") {
        state.reactions.push(input.clone());
        return data(json!({"reactionCreate": {"success": true}}));
    }
    if query.contains("fileUpload") {
        let place = format!("{url}/files/{}", state.files.len());
        let headers = json!([{"key": "x-goog-content-length-range", "value": "1,99"}]);
        return data(json!({"fileUpload": {"success": true, "uploadFile": {"uploadUrl": place, "assetUrl": place, "headers": headers}}}));
    }
    match state.comments.iter().find(|comment| comment["id"] == variables["id"]) {
        Some(comment) => data(json!({"comment": {"id": comment["id"]}})),
        None => refused(200, "INVALID_INPUT", "Entity not found: Comment"),
    }
}

impl Party for Linear {
    fn network(&self) -> &'static str {
        "linear"
    }

    fn config(&self) -> Value {
        Self::config(self)
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("api_key", KEY.to_owned()), ("webhook_secret", SECRET.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        Some(self.comment("ann", &format!("in-{}", fresh()), text, 0))
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let mut state = self.state.lock();
        state.files.push(b"attachment".to_vec());
        let body = format!("{text} [a.txt]({}/files/{})", self.web.url(), state.files.len() - 1);
        Some(SentFile { posted: Some(self.comment("ann", &format!("in-{}", fresh()), &body, 0)), bytes: b"attachment" })
    }

    fn standing(&self) -> Vec<Standing> {
        let state = self.state.lock();
        let stands = |comment: &Value| {
            let body = comment["body"].as_str().unwrap_or_default();
            let named = |n: usize| body.contains(&format!("{}/files/{n})", self.web.url()));
            let files = state.files.iter().enumerate().filter(|(n, _)| named(*n)).map(|(_, bytes)| bytes.clone()).collect();
            Standing { files, ..Standing::text(comment["id"].as_str().unwrap_or_default(), &comment["body"]) }
        };
        state.comments.iter().map(stands).collect()
    }
}
