//! GitHub's REST API and webhooks, as its public documentation describes them: one repository, a bot account and an app; pull requests of
//! repositories whose branches lie in a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, fresh};
use super::signed::{APP_KEY, Posted, claims_of, date, hmac_sha256_hex};
use super::{Call, Kept, Reply, Web};

/// The bot account's token.
pub const TOKEN: &str = "ghp_test";
/// The login of the bot account.
pub const LOGIN: &str = "lazaret-bot";
/// The webhook's secret.
pub const SECRET: &str = "hook-secret-of-tests";
/// The app's id and its installation's.
pub const APP: (u64, u64) = (11, 22);
const APP_TEXT: &str = "11";
const INSTALLED: &str = "ghs_installation";

#[derive(Default)]
struct State {
    comments: Vec<Value>,
    reactions: Vec<(String, String)>,
    pulls: Vec<Value>,
    /// The bare repository behind each one of `acme` that has branches.
    branches: BTreeMap<String, PathBuf>,
}

/// The platform.
pub struct GitHub {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl GitHub {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (web, state) = Web::keeping(State::default(), answer);
        Self { web, state }
    }

    /// The comments that stand there.
    #[must_use]
    pub fn comments(&self) -> Vec<Value> {
        self.state.lock().comments.clone()
    }

    /// The reactions: to what, and which.
    #[must_use]
    pub fn reactions(&self) -> Vec<(String, String)> {
        self.state.lock().reactions.clone()
    }

    /// Gives the repository `acme/NAME` the branches of a bare one that others push to.
    pub fn holds(&self, name: &str, bare: &Path) {
        self.state.lock().branches.insert(name.to_owned(), bare.to_owned());
    }

    /// The pull requests that stand there.
    #[must_use]
    pub fn pulls(&self) -> Vec<Value> {
        self.state.lock().pulls.clone()
    }

    /// Puts a comment of somebody's there.
    pub fn put(&self, login: &str, body: &str) {
        let mut state = self.state.lock();
        let id = state.comments.len() + 1;
        state.comments.push(json!({"id": id, "body": body, "user": {"login": login}, "at": "12", "review": false}));
    }

    /// A signed request with a comment below issue 12.
    #[must_use]
    pub fn comment(&self, id: u64, user: &Value, body: &str) -> Posted {
        let comment = json!({"id": id, "body": body, "user": user, "created_at": date(0), "updated_at": date(0)});
        self.event(
            "issue_comment",
            &json!({"action": "created", "issue": {"number": 12, "title": "t"}, "comment": comment, "sender": user}),
        )
    }

    /// A signed request with any event of the repository.
    #[must_use]
    pub fn event(&self, event: &str, more: &Value) -> Posted {
        let mut body = json!({"repository": {"id": 5, "full_name": "acme/shop"}, "installation": {"id": APP.1}});
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let body = body.to_string();
        let signature = format!("sha256={}", hmac_sha256_hex(SECRET, body.as_bytes()));
        Posted::new(body)
            .with("x-github-event", event)
            .with("x-github-delivery", "72d3162e-cc78-11e3")
            .with("x-hub-signature-256", &signature)
    }
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let said =
        |status: u16, message: &str| Reply::json(status, &json!({"message": message, "documentation_url": "https://docs.github.com/rest"}));
    let bearer = call.bearer().unwrap_or_default();
    let app = claims_of(APP_KEY, bearer).is_some_and(|claims| claims["iss"].as_str() == Some(APP_TEXT));
    let login = match bearer {
        TOKEN => LOGIN,
        INSTALLED => "lazaret-app[bot]",
        _ if app => "",
        _ => return said(401, "Bad credentials"),
    };
    if call.header("user-agent").is_none() {
        return said(403, "Request forbidden by administrative rules.");
    }
    let body = call.json();
    let pieces: Vec<&str> = call.path().trim_matches('/').split('/').collect();
    match (call.method.as_str(), pieces.as_slice()) {
        ("GET", ["app"]) if app => return Reply::json(200, &json!({"id": APP.0, "slug": "lazaret-app"})),
        ("POST", ["app", "installations", "22", "access_tokens"]) if app => {
            return Reply::json(201, &json!({"token": INSTALLED, "expires_at": date(3_600)}));
        }
        _ if app => return said(401, "A JSON web token could not be decoded"),
        ("GET", ["user"]) if bearer == TOKEN => return Reply::json(200, &json!({"id": 900, "login": LOGIN})),
        _ => {}
    }
    if let ["repos", "acme", name, "pulls"] = pieces.as_slice()
        && let Some(bare) = state.branches.get(*name).cloned()
    {
        return pulls(&mut state.pulls, call, name, &bare, login);
    }
    let ["repos", "acme", "shop", rest @ ..] = pieces.as_slice() else { return said(404, "Not Found") };
    let text = body["body"].as_str().unwrap_or_default();
    match (call.method.as_str(), rest) {
        ("POST", ["issues", "12", "comments"] | ["pulls", "12", "comments", "7", "replies"]) => {
            if text.trim().is_empty() || text.chars().count() > 65_536 {
                return said(422, "Validation Failed");
            }
            let id = state.comments.len() + 1;
            state.comments.push(json!({"id": id, "body": text, "user": {"login": login}, "at": rest[1], "review": rest[0] == "pulls"}));
            Reply::json(201, &json!({"id": id}))
        }
        ("GET", [kind, "12", "comments"]) => {
            let page: usize = call.query().iter().find(|(key, _)| key == "page").and_then(|(_, page)| page.parse().ok()).unwrap_or(1);
            let wanted = state.comments.iter().filter(|comment| comment["review"] == (*kind == "pulls"));
            let page: Vec<&Value> = wanted.skip((page - 1) * 100).take(100).collect();
            Reply::json(200, &json!(page))
        }
        ("PATCH", ["issues" | "pulls", "comments", id]) => {
            match state.comments.iter_mut().find(|comment| comment["id"].as_u64() == id.parse().ok()) {
                Some(comment) if comment["user"]["login"] == login => {
                    comment["body"] = json!(text);
                    Reply::json(200, &json!({"id": comment["id"]}))
                }
                Some(_) => said(403, "Must have admin rights to Repository."),
                None => said(404, "Not Found"),
            }
        }
        ("POST", [kind @ ("issues" | "pulls"), rest @ .., "reactions"]) => {
            let content = body["content"].as_str().unwrap_or_default();
            if !["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"].contains(&content) {
                return said(422, "Validation Failed");
            }
            let entry = (format!("{kind}/{}", rest.join("/")), content.to_owned());
            let known = state.reactions.contains(&entry);
            if !known {
                state.reactions.push(entry);
            }
            Reply::json(if known { 200 } else { 201 }, &json!({"id": 1}))
        }
        _ => said(404, "Not Found"),
    }
}

/// Lists pull requests of a repository, the youngest first, or opens one between branches that are there.
fn pulls(pulls: &mut Vec<Value>, call: &Call, name: &str, bare: &Path, login: &str) -> Reply {
    let full_name = format!("acme/{name}");
    if call.method == "GET" {
        let found: Vec<&Value> = pulls.iter().rev().filter(|pull| pull["base"]["repo"]["full_name"] == full_name.as_str()).collect();
        return Reply::json(200, &json!(found));
    }
    let invalid = |error: Value| Reply::json(422, &json!({"message": "Validation Failed", "errors": [error]}));
    let body = call.json();
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let at = |branch: &str| std::fs::read_to_string(bare.join("refs/heads").join(branch)).ok().filter(|_| !branch.is_empty());
    let (head, base) = (text("head"), text("base"));
    for (field, branch) in [("head", head), ("base", base)] {
        if at(branch).is_none() {
            return invalid(json!({"resource": "PullRequest", "field": field, "code": "invalid"}));
        }
    }
    if at(head) == at(base) {
        let message = format!("No commits between {base} and {head}");
        return invalid(json!({"resource": "PullRequest", "code": "custom", "message": message}));
    }
    let is_same = |pull: &Value| {
        pull["state"] == "open"
            && (&pull["base"]["repo"]["full_name"], &pull["head"]["ref"], &pull["base"]["ref"])
                == (&json!(full_name), &json!(head), &json!(base))
    };
    if pulls.iter().any(is_same) {
        let message = format!("A pull request already exists for acme:{head}.");
        return invalid(json!({"resource": "PullRequest", "code": "custom", "message": message}));
    }
    let number = pulls.len() + 1;
    let sha = at(head).unwrap_or_default();
    let pull = json!({
        "number": number, "id": 1_000 + number, "state": "open", "draft": body["draft"], "title": text("title"), "body": text("body"),
        "html_url": format!("https://github.test/{full_name}/pull/{number}"), "user": {"login": login},
        "head": {"ref": head, "label": format!("acme:{head}"), "sha": sha.trim()}, "base": {"ref": base, "repo": {"full_name": full_name}},
    });
    pulls.push(pull.clone());
    Reply::json(201, &pull)
}

impl Party for GitHub {
    fn network(&self) -> &'static str {
        "github"
    }

    fn config(&self) -> Value {
        json!({"login": LOGIN, "base_url": self.web.url(), "repositories": ["acme/shop"]})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", TOKEN.to_owned()), ("webhook_secret", SECRET.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        Some(self.comment(fresh(), &json!({"id": 5, "login": "ann", "type": "User"}), &format!("@{LOGIN} {text}")))
    }

    fn sends(&self, _text: &str) -> Option<SentFile> {
        None
    }

    fn standing(&self) -> Vec<Standing> {
        let own = self.comments().into_iter().filter(|comment| comment["user"]["login"] == LOGIN);
        own.map(|comment| Standing::text(format!("c{}", comment["id"]), &comment["body"])).collect()
    }
}
