//! Logins by an issuer: who gets in, as what, and every way in which one that lies is not believed.

use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http::Answer;
use crate::support::{Lab, first_line, project};
use crate::web::Web;

/// An issuer on loopback; dropping it ends it.
pub(crate) struct Issuer {
    process: Child,
    port: u16,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Issuer {
    pub(crate) fn start() -> Self {
        let script = project("tests/e2e/issuer.py");
        let mut process = Command::new("python3").arg("-I").arg(script).stdout(Stdio::piped()).spawn().expect("python");
        let port = first_line(&mut process).trim().parse().expect("a port");
        Self { process, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn web(&self) -> Web {
        Web { address: format!("127.0.0.1:{}", self.port), owner: String::new() }
    }

    /// What it says from now on.
    pub(crate) fn says(&self, told: Value) {
        assert_eq!(self.web().ask("", "POST", "/test", told).status, 200);
    }
}

/// A daemon whose people come from this issuer.
pub(crate) fn house(lab: &Lab, issuer: &Issuer, rules: &str) -> Web {
    lab.run_with(&["secret", "set", "sso", "-"], b"the-issuers-secret").succeeds();
    let text = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"lazaret\"\nsecret = \"sso\"\nprivate_ok = [\"127.0.0.1\"]\nrules = [{rules}]\n",
        issuer.url()
    );
    std::fs::write(lab.home().join("config.toml"), text).expect("write");
    Web::start(lab)
}

/// A page that logs somebody in.
struct Page<'a> {
    web: &'a Web,
    issuer: &'a Issuer,
    secret: &'static str,
}

impl Page<'_> {
    /// Goes to the issuer and comes back; gives what the daemon answers then.
    fn come_back(&self) -> Answer {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(self.secret));
        let url = self.web.ask("", "POST", "/v1/login/oidc", json!({ "challenge": challenge })).is(200)["url"].clone();
        let path = url.as_str().expect("an address").strip_prefix(&self.issuer.url()).expect("the issuer's").to_owned();
        let said = self.issuer.web().ask("", "GET", &path, Value::Null).is(200);
        let back = format!("/v1/login/callback?code={}&state={}", text(&said["code"]), text(&said["state"]));
        assert!(text(&said["redirect_uri"]).ends_with("/v1/login/callback"));
        self.web.ask("", "GET", &back, Value::Null)
    }

    /// The one-time code of who came back.
    #[track_caller]
    fn code(&self) -> String {
        let answer = self.come_back();
        assert_eq!(answer.status, 303, "{}{}", answer.head, String::from_utf8_lossy(&answer.body));
        let place = answer.head.lines().find_map(|l| l.strip_prefix("location: ")).expect("a place").to_owned();
        assert!(!place.contains('?') && !place.contains("lzt_"), "no token stands in an address: {place}");
        assert!(!answer.head.to_lowercase().contains("set-cookie"), "{}", answer.head);
        place.strip_prefix("/ui#").expect("the page").to_owned()
    }

    #[track_caller]
    fn token(&self) -> String {
        let code = self.code();
        let login = json!({ "code": code, "verifier": self.secret });
        text(&self.web.ask("", "POST", "/v1/login", login).is(200)["token"]).to_owned()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

pub(crate) const DOMAIN: &str =
    "{ domain = \"example.com\", tenant = \"crew\", role = \"member\" }, { group = \"chiefs\", tenant = \"crew\", role = \"owner\" }";

fn anna() -> Value {
    json!({ "sub": "anna", "email": "anna@example.com", "email_verified": true, "name": "Anna" })
}

#[test]
fn who_a_rule_names_gets_in_and_no_farther() {
    let (lab, issuer) = (Lab::new(), Issuer::start());
    let web = house(&lab, &issuer, DOMAIN);
    assert_eq!(web.ask("", "GET", "/v1/login/oidc", Value::Null).is(200)["enabled"], true);
    issuer.says(json!({ "claims": anna() }));
    let page = Page { web: &web, issuer: &issuer, secret: "a page's own secret" };
    let token = page.token();
    web.ask(&token, "POST", "/v1/sessions", json!({})).is(201);
    web.ask(&token, "GET", "/v1/users", Value::Null).is(200);
    web.ask(&token, "POST", "/v1/tokens", json!({ "name": "x", "scope": "read" })).refused(403, "FORBIDDEN");
    let own = web.ask(&web.owner, "GET", "/v1/users", Value::Null).is(200);
    assert_eq!(
        (&own["items"][0]["email"], &own["items"][0]["role"], &own["items"][0]["by_rule"]),
        (&json!("anna@example.com"), &json!("member"), &json!(true))
    );
    // They look only from now on, and later are gone: the token follows at once.
    let id = text(&own["items"][0]["id"]).to_owned();
    lab.run(&["user", "add", "anna@example.com", "--role", "viewer", "--tenant", "crew"]).succeeds();
    web.ask(&token, "POST", "/v1/sessions", json!({})).refused(403, "FORBIDDEN");
    web.ask(&token, "GET", "/v1/sessions", Value::Null).is(200);
    lab.run(&["user", "remove", &id, "--tenant", "crew"]).succeeds();
    web.ask(&token, "GET", "/v1/sessions", Value::Null).refused(401, "UNAUTHORIZED");
    // The issuer turns its keys over; logging out ends the token.
    issuer.says(json!({ "turn_keys": true }));
    let token = page.token();
    web.ask(&token, "POST", "/v1/sessions", json!({})).is(201);
    assert_eq!(web.ask(&token, "POST", "/v1/logout", json!({})).is(200)["ended"], true);
    web.ask(&token, "GET", "/v1/sessions", Value::Null).refused(401, "UNAUTHORIZED");
    let audit = lab.run(&["audit", "query", "--limit", "500", "--json"]).succeeds().out;
    assert!(audit.contains("\"login\"") && audit.contains(&format!("user:{id}")), "{audit}");
    let log = std::fs::read_to_string(lab.home().join("logs/daemon.log")).expect("a log");
    assert!(!log.contains("the-issuers-secret") && !log.contains(&token));
}

#[test]
fn nobody_else_gets_in() {
    let (lab, issuer) = (Lab::new(), Issuer::start());
    let web = house(&lab, &issuer, DOMAIN);
    let page = Page { web: &web, issuer: &issuer, secret: "one" };
    for claims in [
        json!({ "sub": "eve", "email": "eve@example.org", "email_verified": true }),
        json!({ "sub": "eve", "email": "eve@example.com", "email_verified": false }),
        json!({ "sub": "eve", "email": "eve@example.com" }),
        json!({ "sub": "eve", "groups": ["chief"] }),
    ] {
        issuer.says(json!({ "claims": claims }));
        page.come_back().refused(403, "FORBIDDEN");
    }
    issuer.says(json!({ "claims": anna() }));
    for lie in ["nonce", "audience", "old", "none", "key"] {
        issuer.says(json!({ "lie": lie }));
        page.come_back().refused(401, "UNAUTHORIZED");
    }
    issuer.says(json!({ "lie": null }));
    // A code that another page's person carries over, one that is used, one that nobody was given.
    let code = page.code();
    for verifier in [json!("another"), Value::Null] {
        web.ask("", "POST", "/v1/login", json!({ "code": code, "verifier": verifier })).refused(401, "UNAUTHORIZED");
    }
    web.ask("", "POST", "/v1/login", json!({ "code": code, "verifier": "one" })).refused(401, "UNAUTHORIZED");
    web.ask("", "GET", "/v1/login/callback?code=x&state=y", Value::Null).refused(401, "UNAUTHORIZED");
    web.ask("", "GET", "/v1/login/callback?error=access_denied&state=y", Value::Null).refused(401, "UNAUTHORIZED");
    web.ask("", "POST", "/v1/login/oidc", json!({ "challenge": "short" })).refused(422, "USAGE");
}

#[test]
fn an_invited_person_takes_up_the_place_and_an_issuer_is_only_where_it_may_be() {
    let (lab, issuer) = (Lab::new(), Issuer::start());
    let web = house(&lab, &issuer, "");
    lab.run(&["tenant", "add", "crew"]).succeeds();
    lab.run(&["user", "add", "Anna@example.com", "--role", "admin", "--tenant", "crew"]).succeeds();
    issuer.says(json!({ "claims": anna() }));
    let page = Page { web: &web, issuer: &issuer, secret: "one" };
    let token = page.token();
    web.ask(&token, "POST", "/v1/tokens", json!({ "name": "ci", "scope": "jobs:write" })).is(201);
    assert_eq!(web.ask(&token, "GET", "/v1/users", Value::Null).is(200)["items"][0]["name"], "Anna");
    // The same address at another person's hand is nobody.
    issuer.says(json!({ "claims": { "sub": "mallory", "email": "anna@example.com", "email_verified": true } }));
    page.come_back().refused(403, "FORBIDDEN");
    // Without its address on the list it is not even asked.
    let config = lab.home().join("config.toml");
    let text = std::fs::read_to_string(&config).expect("read").replace("private_ok = [\"127.0.0.1\"]\n", "");
    std::fs::write(&config, text).expect("write");
    lab.ask("POST", "/v1/reload", json!({})).is(200);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest("one"));
    let refused = web.ask("", "POST", "/v1/login/oidc", json!({ "challenge": challenge }));
    assert_eq!(refused.status, 500, "{}", String::from_utf8_lossy(&refused.body));
}
