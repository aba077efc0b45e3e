//! One request to a service that gives tokens, made by this program in a sandbox that reaches that one host.

use std::path::PathBuf;
use std::time::Duration;

use model::{Code, EgressRule, Failure};
use sandbox::{Exec, Piece, Sandbox, Stdio};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::App;
use crate::sandboxes::EGRESS_PORT;

/// Where this program is seen inside.
const FETCHER: &str = "/opt/lazaret/fetch";
/// How long a request may take, the sandbox's start included.
const WAIT: Duration = Duration::from_secs(60);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How much of an answer that was not understood is shown, in characters.
const SHOWN_CHARS_MAX: usize = 300;

/// What the helper is told on its standard input: a form to send. It prints `{status, body}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOrder {
    /// Where to.
    pub token_url: String,
    /// The loopback port of the egress proxy.
    pub proxy_port: u16,
    /// The form, encoded.
    pub form: String,
}

/// What the helper prints.
#[derive(Deserialize)]
struct Printed {
    status: u16,
    body: String,
}

/// What a service answered.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The JSON of it; null when it is none.
    pub(super) body: Value,
}

impl Answer {
    /// The failure that the service did not do this.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let said = ["error_description", "error"].iter().find_map(|key| self.body[*key].as_str()).unwrap_or("it gives no reason");
        let said: String = said.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
        Failure::new(Code::CredentialExpired, format!("the service did not {what} (status {}): {said}", self.status))
    }
}

/// Fields as a form. Everything but plain characters is escaped.
pub(super) fn encoded(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect::<String>()
    };
    fields.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect::<Vec<_>>().join("&")
}

impl App {
    /// Sends a form to a service.
    pub(super) async fn ask_token(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        let mut helper = self.helper();
        let mut request = helper.request("auth");
        request.limits.time = WAIT;
        request.extra_ro = vec![(self.program().to_owned(), PathBuf::from(FETCHER))];
        helper.reaches(vec![rule_of(url)?], &mut request);
        let sandbox = helper.start(request).await?;
        let order = TokenOrder { token_url: url.to_owned(), proxy_port: EGRESS_PORT, form: encoded(form) };
        let done = tokio::time::timeout(WAIT, run(&sandbox, &order)).await;
        helper.close().await;
        done.map_err(|_| Failure::new(Code::Timeout, "the service did not answer in time")).flatten()
    }
}

/// The one host that the helper may reach.
fn rule_of(url: &str) -> Result<EgressRule, Failure> {
    let wrong = || Failure::new(Code::PluginInvalid, "an address in the manifest's [oauth] is not understood");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let port = if scheme == "https" { 443 } else { 80 };
    let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:{port}") };
    with_port.parse().map_err(|_| wrong())
}

async fn run(sandbox: &Sandbox, order: &TokenOrder) -> Result<Answer, Failure> {
    let exec = Exec {
        argv: vec![FETCHER.to_owned(), "fetch".to_owned()],
        env: sandbox::base_env(&model::Limits::default()),
        cwd: "/workspace".to_owned(),
        stdio: Stdio::Pipes { stdin: true },
        lease: 0,
    };
    let mut command = sandbox.exec(exec).await.map_err(|e| e.failure())?;
    let order = serde_json::to_vec(order).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    if let Some(mut stdin) = command.stdin.take() {
        stdin.write(&order).await.map_err(|e| e.failure())?;
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = loop {
        let Some(piece) = command.output.next().await.map_err(|e| e.failure())? else {
            return Err(Failure::new(Code::SandboxFailed, "the helper ended without an end"));
        };
        command.control.ack(piece.number);
        let (into, bytes) = match piece.piece {
            Piece::Exited(exit) => break exit,
            Piece::Stdout(bytes) => (&mut out, bytes),
            Piece::Stderr(bytes) => (&mut err, bytes),
        };
        let room = ANSWER_BYTES_MAX.saturating_sub(into.len());
        into.extend_from_slice(&bytes[..bytes.len().min(room)]);
    };
    let printed: Option<Printed> = serde_json::from_slice(&out).ok().filter(|_| exit.code == Some(0));
    let Some(printed) = printed else {
        let why: String = String::from_utf8_lossy(&err).chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
        return Err(Failure::new(Code::ProviderDown, format!("the service cannot be asked: {why}"))
            .hint("check the network; a private address needs egress.private_ok"));
    };
    Ok(Answer { status: printed.status, body: serde_json::from_str(&printed.body).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_escaped_and_hosts_are_exact() {
        assert_eq!(encoded(&[("a", "b c&d=é"), ("e", "-._~")]), "a=b%20c%26d%3D%C3%A9&e=-._~");
        assert_eq!(rule_of("https://id.example/token?x").expect("a rule").to_string(), "id.example:443");
        assert!(rule_of("http://127.0.0.1:81/token").expect("a rule").to_string().contains("127.0.0.1:81"));
        assert!(rule_of("nothing").is_err());
    }
}
