//! The web page: static files, and the way in.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use model::{Code, Failure};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation, of};
use crate::request::{At, Form};

/// What the page may do: its own files and this server, nothing else; nobody may frame it, and no text can become markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A file of the page: where it is below `/ui`, what it is, and its text.
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// Files of the page, by their path in `crates/api/ui`.
macro_rules! assets {
    ($($kind:ident: $($path:literal)+;)+) => {
        &[$($(Asset { path: $path, kind: $kind, text: include_str!(concat!("../../ui/", $path)) },)+)+]
    };
}

/// Every file that the page may load.
const ASSETS: &[Asset] = assets! {
    SCRIPT:
        "app.js" "api.js" "dom.js" "files.js" "keys.js" "log.js" "marked.js" "parts.js" "text.js"
        "pages/approvals.js" "pages/audit.js" "pages/envs.js" "pages/job.js" "pages/jobs.js" "pages/newjob.js" "pages/overview.js"
        "pages/activity.js" "pages/branches.js" "pages/channels.js" "pages/chat.js" "pages/setup.js" "pages/wirings.js"
        "pages/agents.js" "pages/memory.js" "pages/people.js" "pages/pool.js" "pages/secrets.js" "pages/webhooks.js"
        "pages/plugins.js" "pages/profiles.js" "pages/session.js" "pages/sessions.js" "pages/tasks.js" "pages/tokens.js" "pages/usage.js"
        "vendor/preact.js" "vendor/hooks.js" "vendor/htm.js";
    STYLE: "style.css";
    PICTURE: "icon.svg";
};

const KINDS: &[&str] = &["text/javascript", "text/css", "image/svg+xml"];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/", "Leads to the page.", || get(root)).needs(Needs::Nothing).gives_bytes(307, &[]),
    Operation::new(Get, "/ui", "The page.", || get(|| async { file(HTML, include_str!("../../ui/index.html")) }))
        .needs(Needs::Nothing)
        .gives_bytes(200, &["text/html"]),
    Operation::new(Get, "/ui/{file}", "A file of the page.", || get(top)).needs(Needs::Nothing).gives_bytes(200, KINDS),
    Operation::new(Get, "/ui/{folder}/{file}", "A file of the page.", || get(below)).needs(Needs::Nothing).gives_bytes(200, KINDS),
    Operation::new(Post, "/v1/login", "Exchanges the one-time code of a link for a token.", || post(login))
        .needs(Needs::Nothing)
        .takes(of::<Login>),
    Operation::new(Post, "/v1/login/link", "A new one-time link to the page.", || post(link)).needs(Needs::Whole(app::Scope::Admin)),
    Operation::new(Post, "/v1/logout", "Ends the login whose token is sent; a token that was made by hand stays.", || post(logout))
        .needs(Needs::Scope(app::Scope::Read)),
];

/// A static file.
pub(super) fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, text).into_response()
}

async fn root(State(api): State<Api>) -> Redirect {
    Redirect::temporary(&format!("{}/ui", api.base.as_str()))
}

async fn top(At(name): At<String>) -> Result<Response, Problem> {
    asset(&name)
}

async fn below(At((folder, name)): At<(String, String)>) -> Result<Response, Problem> {
    asset(&format!("{folder}/{name}"))
}

/// A file of the table. Nothing else is looked for, whatever the address says.
fn asset(path: &str) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|asset| asset.path == path);
    found.map(|asset| file(asset.kind, asset.text)).ok_or_else(|| Failure::new(Code::NotFound, "the page has no such file").into())
}

/// A way in.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// What stands behind the `#` of the link.
    code: String,
    /// The secret of the page, where the code comes from an issuer of logins.
    #[serde(default)]
    verifier: Option<String>,
}

async fn login(State(api): State<Api>, Form(form): Form<Login>) -> Result<Json<Value>, Problem> {
    super::oidc::redeem(&api, &form.code, form.verifier.as_deref()).await
}

async fn logout(State(api): State<Api>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    let token = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    let ended = match token {
        Some(token) => api.logins.end(token) || super::oidc::log_out(&api, token).await?,
        None => false,
    };
    Ok(Json(json!({ "ended": ended })))
}

/// A new link for the owner. The code stands in the fragment, which no browser sends anywhere.
async fn link(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let listen = api.listen.as_deref().ok_or_else(|| {
        Failure::new(Code::DaemonMissing, "the daemon listens on no HTTP port").hint("run: lazaret stop, then: lazaret start")
    })?;
    Ok(Json(json!({ "url": format!("http://{listen}{}/ui#{}", api.base.as_str(), api.logins.code()?) })))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What stands beside the page and is not part of it, or is served under another address.
    const OTHERS: &[&str] = &["index.html", "docs.html", "docs.js", "vendor/README.md", "vendor/LICENSE-preact", "vendor/LICENSE-htm"];

    fn files(dir: &Path, below: &str, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() { files(&entry.path(), &format!("{name}/"), into) } else { into.push(name) }
        }
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let mut there = Vec::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("ui"), "", &mut there);
        there.retain(|name| !OTHERS.contains(&name.as_str()));
        there.sort();
        let mut served: Vec<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        served.sort();
        assert_eq!(there, served);
    }

    /// The policy allows none of it, so that a page that needed it would be broken; and no view may make markup of text.
    #[test]
    fn the_page_has_nothing_inline_and_makes_no_markup() {
        let page = include_str!("../../ui/index.html");
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" on"), "inline");
        for asset in ASSETS.iter().filter(|a| a.kind == SCRIPT && !a.path.starts_with("vendor/") && a.path != "dom.js") {
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc", "window.open"]
            {
                assert!(!asset.text.contains(word), "{} has {word}", asset.path);
            }
        }
    }

    #[test]
    fn only_what_is_in_the_table_is_served() {
        for path in ["", "nothing.js", "../Cargo.toml", "vendor/README.md", "pages", "index.html"] {
            assert!(asset(path).is_err(), "{path}");
        }
    }
}
