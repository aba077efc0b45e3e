//! `lazaret auth`: keys and logins of plugins, against a service on loopback that gives tokens.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::channel::{Effect, LabNetwork, TOKEN, said};

use crate::http::PATIENCE;
use crate::support::{Lab, Ran, first_line};

/// Tells its token by its length, which no cleaning takes out.
const SCRIPT: &str = "def tool_length(a, m): return text(str(len(open(os.environ['LAZARET_CREDENTIALS'] + '/token').read())))";

/// A service that gives tokens, and what it was sent.
#[derive(Clone, Default)]
struct Service {
    /// The answers, one for each form, in order; the last one again and again.
    answers: Arc<Mutex<Vec<(u16, Value)>>>,
    forms: Arc<Mutex<Vec<HashMap<String, String>>>>,
}

impl Service {
    fn start(answers: Vec<(u16, Value)>) -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("bound").port();
        let service = Self { answers: Arc::new(Mutex::new(answers)), ..Self::default() };
        let serving = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.answer(stream);
            }
        });
        (service, port)
    }

    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        if length == 0 || reader.read_exact(&mut body).is_err() {
            return;
        }
        let text = String::from_utf8(body).expect("a form");
        let form = text.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        self.forms.lock().expect("sound").push(form);
        let mut answers = self.answers.lock().expect("sound");
        let (status, value) = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        let body = value.to_string();
        let head =
            format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        drop(reader.get_mut().write_all(format!("{head}{body}").as_bytes()));
    }

    fn say(&self, answers: Vec<(u16, Value)>) {
        *self.answers.lock().expect("sound") = answers;
    }

    fn form(&self, at: usize) -> HashMap<String, String> {
        self.forms.lock().expect("sound")[at].clone()
    }
}

fn tokens(length: usize, expires_s: u64) -> (u16, Value) {
    (200, json!({ "access_token": "a".repeat(length), "refresh_token": format!("refresh-{length}"), "expires_in": expires_s }))
}

/// A home with a plugin that needs a token of the service.
fn lab(port: u16) -> Lab {
    let lab = Lab::with_plugins();
    let manifest = format!(
        "tools = \"all\"\nlow = [\"length\"]\n[[credentials]]\nkey = \"token\"\n[oauth]\nauthorize_url = \"http://127.0.0.1:{port}/auth\"\n\
         token_url = \"http://127.0.0.1:{port}/token\"\ndevice_url = \"http://127.0.0.1:{port}/device\"\nclient_id = \"lab\"\nscopes = [\"read\"]\n"
    );
    lab.plugin("svc", &manifest, SCRIPT);
    lab.reload_plugins();
    assert_eq!(lab.plugin_view("svc")["category"], "AUTH");
    lab
}

fn restart(lab: &Lab) {
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < end, "it never came to be so: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An account of the lab's network, on which ann answers for the agent and bob does not.
fn people(lab: &Lab) -> LabNetwork {
    let network = LabNetwork::start().expect("a network");
    let base = format!("base_url={}", network.base_url());
    let add = ["channel", "add", "lab", "--network", "lab", "--program", "lab", "--config", &base, "--credential", "-"];
    lab.run_with(&add, TOKEN.as_bytes()).succeeds();
    until("the account is well", || lab.ask("GET", "/v1/channels/lab", Value::Null).is(200)["health"] == "well");
    for (sender, role) in [("ann", "admin"), ("bob", "member")] {
        let code = lab.run(&["wire", "pair", "--agent", "default", "--role", role]).succeeds();
        network.say(said(&format!("pair-{sender}"), &format!("d-{sender}"), sender, code.out.trim()));
        network.wait(PATIENCE, |effects| told(effects, sender).any(|text| text.starts_with("Paired")));
    }
    network
}

/// What somebody was told in their own chat.
fn told<'a>(effects: &'a [Effect], sender: &str) -> impl Iterator<Item = &'a str> {
    let chat = format!("d-{sender}");
    effects.iter().filter(move |effect| effect.chat == chat).map(Effect::text)
}

fn state(lab: &Lab) -> Value {
    let rows = lab.run(&["auth", "status", "--json"]).succeeds().events();
    rows.iter().find(|row| row["plugin"] == "svc").expect("a row")["state"].clone()
}

#[test]
fn a_key_is_stored_for_all_or_for_one_agent() {
    let lab = lab(9);
    assert_eq!(state(&lab), "missing");
    let ran = lab.run_with(&["auth", "api-key", "--plugin", "svc"], b"1234567890\n").succeeds();
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    assert_eq!((state(&lab), lab.tool("length", json!({}))), (json!("set"), Ok(json!("10"))));
    let ran = lab.run(&["auth", "api-key", "--plugin", "svc", "--key", "12345678901"]).succeeds();
    assert!(ran.err.contains("warning") && !ran.err.contains("12345678901") && !ran.out.contains("12345678901"), "{}", ran.err);
    assert_eq!(lab.tool("length", json!({})), Ok(json!("11")));
    lab.run_with(&["auth", "api-key", "--plugin", "svc", "--agent", "ann", "--key", "-"], b"for-ann-only").succeeds();
    let secrets = lab.run(&["secret", "list"]).succeeds().out;
    assert!(secrets.contains("plugin.svc.token@ann") && !secrets.contains("for-ann-only"), "{secrets}");
    lab.run_with(&["auth", "api-key", "--plugin", "svc", "--name", "other"], b"x").fails("NOT_FOUND", 2);
    lab.run_with(&["auth", "api-key", "--plugin", "nobody"], b"x").fails("NOT_FOUND", 2);
}

/// A code is typed elsewhere; the token is renewed while the owner does nothing; when the service ends it, all say so, and who answers for
/// the install is told where they chat.
#[test]
fn a_login_by_device_is_renewed_until_the_service_ends_it() {
    let device = json!({ "device_code": "dc-1", "user_code": "WXYZ-1", "verification_uri": "http://127.0.0.1/enter", "interval": 1 });
    let pending = (400, json!({ "error": "authorization_pending" }));
    let (service, port) = Service::start(vec![(200, device), pending, tokens(20, 60)]);
    let lab = lab(port);
    LabNetwork::install(&lab.home()).expect("the program");
    let ran = lab.run(&["auth", "login", "--plugin", "svc", "--device"]).succeeds();
    assert!(ran.out.contains("WXYZ-1") && ran.out.contains("http://127.0.0.1/enter") && !ran.out.contains("dc-1"), "{}", ran.out);
    assert_eq!((service.form(0)["client_id"].as_str(), service.form(0)["scope"].as_str()), ("lab", "read"));
    assert_eq!((service.form(2)["device_code"].as_str(), service.form(2).len()), ("dc-1", 3));
    assert_eq!((state(&lab), lab.tool("length", json!({}))), (json!("set"), Ok(json!("20"))));

    service.say(vec![tokens(30, 7200)]);
    restart(&lab);
    until("the token is renewed", || lab.tool("length", json!({})) == Ok(json!("30")));
    let renewed = service.form(3);
    assert_eq!((renewed["grant_type"].as_str(), renewed["refresh_token"].as_str()), ("refresh_token", "refresh-20"));

    let network = people(&lab);
    // The next one that ends soon is refused.
    service.say(vec![
        (200, json!({ "device_code": "dc-2", "user_code": "WXYZ-2", "verification_uri": "http://127.0.0.1/enter" })),
        tokens(40, 60),
    ]);
    lab.run(&["auth", "login", "--plugin", "svc", "--device"]).succeeds();
    service.say(vec![(400, json!({ "error": "invalid_grant", "error_description": "the grant was revoked" }))]);
    restart(&lab);
    until("the login has ended", || state(&lab) == "expired");
    until("the plugin needs its token", || lab.plugin_view("svc")["category"] == "AUTH");
    assert_eq!(lab.tool("length", json!({})), Err("UNKNOWN_TOOL".to_owned()));
    let status = lab.run(&["status"]).succeeds().out;
    assert!(status.contains("ALERT") && status.contains("the grant was revoked"), "{status}");
    let doctor = lab.run(&["doctor", "--json"]).ends_with(1).events();
    assert!(doctor.iter().any(|c| c["label"] == "login svc" && c["status"] == "fail" && c["fix"].is_string()), "{doctor:?}");
    let is_over = |text: &str| text.starts_with("The login of svc has ended") && text.contains("the grant was revoked");
    let effects = network.wait(PATIENCE, |effects| told(effects, "ann").any(is_over));
    assert!(told(&effects, "ann").any(|text| text.contains("lazaret auth login --plugin svc")), "{effects:#?}");
    let ends = |text: &str| text.starts_with("The login of svc ends within a day");
    assert!(!told(&effects, "ann").any(ends), "what renews itself is not told of before its end: {effects:#?}");

    // One that nothing renews is told of while there is time.
    service.say(vec![
        (200, json!({ "device_code": "dc-3", "user_code": "WXYZ-3", "verification_uri": "http://127.0.0.1/enter" })),
        (200, json!({ "access_token": "b".repeat(50), "expires_in": 3600 })),
    ]);
    lab.run(&["auth", "login", "--plugin", "svc", "--device"]).succeeds();
    restart(&lab);
    let effects = network.wait(PATIENCE, |effects| told(effects, "ann").any(ends));
    assert_eq!(told(&effects, "ann").filter(|text| is_over(text)).count(), 1, "each is told once: {effects:#?}");
    assert!(!told(&effects, "bob").any(|text| text.contains("login")), "only who answers for the agent is told: {effects:#?}");
}

/// One login by a browser: the page's address, and the process that waits.
fn browser(lab: &Lab) -> (std::process::Child, Value) {
    let mut child = lab
        .command(&["--json", "auth", "login", "--plugin", "svc"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let line = first_line(&mut child);
    (child, serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
}

fn field(url: &str, name: &str) -> String {
    let query = url.split_once('?').expect("a query").1;
    query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).expect("a field").to_owned()
}

/// A browser comes back with this query.
fn visit(redirect: &str, query: &str) -> String {
    let authority = redirect.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(authority).expect("the port of the login");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(format!("GET /{query} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn a_login_by_browser_proves_who_began_it() {
    let (service, port) = Service::start(vec![tokens(25, 7200)]);
    let lab = lab(port);
    // Somebody else's answer ends the login, and nothing is asked of the service.
    let (child, begun) = browser(&lab);
    let redirect = begun["redirect"].as_str().expect("a redirect").to_owned();
    assert!(visit(&redirect, "favicon.ico").starts_with("HTTP/1.1 404"));
    visit(&redirect, "?code=stolen&state=guessed");
    let ran = Ran::wait(child);
    assert!(ran.status != 0 && ran.err.contains("FORBIDDEN"), "{}", ran.err);
    assert!(service.forms.lock().expect("sound").is_empty());

    let (child, begun) = browser(&lab);
    let (url, redirect) = (begun["url"].as_str().expect("a page"), begun["redirect"].as_str().expect("a redirect"));
    assert_eq!((field(url, "client_id").as_str(), field(url, "code_challenge_method").as_str()), ("lab", "S256"));
    visit(redirect, &format!("?code=c0de&state={}", field(url, "state")));
    Ran::wait(child).succeeds();
    let form = service.form(0);
    assert_eq!((form["grant_type"].as_str(), form["code"].as_str()), ("authorization_code", "c0de"));
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"])), field(url, "code_challenge"));
    assert_eq!(lab.tool("length", json!({})), Ok(json!("25")));
    // No token in what is kept for people.
    let log = std::fs::read_to_string(lab.home().join("logs/daemon.log")).unwrap_or_default();
    assert!(!log.contains("refresh-25") && !log.contains(&"a".repeat(25)));
}

/// An application of the owner's own at the service: it proves itself with its secret, at the login and whenever the token is renewed, and stays.
#[test]
fn an_application_of_the_owners_own_proves_itself_and_stays() {
    let device =
        |n: u32| (200, json!({ "device_code": format!("dc-{n}"), "user_code": "WXYZ", "verification_uri": "http://127.0.0.1/enter" }));
    let (service, port) = Service::start(vec![device(1), tokens(20, 60)]);
    let lab = lab(port);
    let secret = "s3cr3t-of-my-own";
    lab.run(&["auth", "login", "--plugin", "svc", "--device", "--client-secret", "-"]).ends_with(2);
    lab.run(&["auth", "login", "--plugin", "svc", "--device", "--client-id", "mine", "--client-secret", secret]).fails("USAGE", 2);
    let login = ["auth", "login", "--plugin", "svc", "--device", "--client-id", "mine", "--client-secret", "-"];
    let ran = lab.run_with(&login, secret.as_bytes()).succeeds();
    for at in [0, 1] {
        let form = service.form(at);
        assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("mine", secret), "{at}");
    }
    assert_eq!(lab.tool("length", json!({})), Ok(json!("20")));
    service.say(vec![tokens(30, 60)]);
    restart(&lab);
    until("the token is renewed", || lab.tool("length", json!({})) == Ok(json!("30")));
    let renewed = service.form(2);
    assert_eq!((renewed["client_id"].as_str(), renewed["client_secret"].as_str()), ("mine", secret));
    // Revoked; the next login is for the same application, though nobody says so.
    service.say(vec![(400, json!({ "error": "invalid_grant" }))]);
    restart(&lab);
    until("the login has ended", || state(&lab) == "expired");
    let status = lab.run(&["status"]).succeeds().out;
    assert!(status.contains("lazaret auth login --plugin svc"), "{status}");
    let before = service.forms.lock().expect("sound").len();
    service.say(vec![device(2), tokens(40, 7200)]);
    let again = lab.run(&["auth", "login", "--plugin", "svc", "--device"]).succeeds();
    assert_eq!(service.form(before)["client_id"].as_str(), "mine");
    assert_eq!(service.form(before + 1)["client_secret"].as_str(), secret);
    let list = lab.run(&["secret", "list"]).succeeds().out;
    let log = std::fs::read_to_string(lab.home().join("logs/daemon.log")).unwrap_or_default();
    for text in [&ran.out, &ran.err, &again.out, &status, &list, &log] {
        assert!(!text.contains(secret), "{text}");
    }
}
