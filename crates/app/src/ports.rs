//! Ways from this machine to servers that listen inside a session's sandbox. No way leads through a network: each connection is a command
//! inside, carried over the sandbox's control channel like any other.

use model::{Code, Failure, SessionId};
use sandbox::{Command, Exec, Piece, Sandbox, Stdio};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::sandboxes::{EGRESS_PORT, GATEWAY_PORT};
use crate::sessions::SessionsOf;
use crate::{App, Caller};

/// The guest program inside.
const GUEST: &str = "/opt/lazaret/bin/lazaret-guest";
/// Bytes that wait in each direction.
const PIPE_BYTES: usize = 64 << 10;
/// How long the guest may take to say whether something listens.
const DIAL_TIME: std::time::Duration = std::time::Duration::from_secs(15);
/// Bytes of the list of ports.
const LIST_BYTES_MAX: usize = 4 << 10;
/// SIGKILL.
const KILL: i32 = 9;

/// A server inside that is to be opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PortForm {
    /// Where it listens; the only port on which something does when left out.
    pub port: Option<u16>,
    /// Let its pages load from other hosts and speak with them. What an agent writes could then carry its files out through the browser.
    pub outside: bool,
}

/// A server inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsidePort {
    /// The session.
    pub session: SessionId,
    /// Where it listens.
    pub port: u16,
    /// What to call it: a few letters for people.
    pub title: String,
}

impl SessionsOf<'_> {
    /// Finds the server that a form means, and makes sure that it is there.
    ///
    /// # Errors
    /// There is no such session, it has no sandbox now, nothing listens, or it is not said which of several is meant.
    pub async fn find_port(&self, id: &str, form: &PortForm) -> Result<InsidePort, Failure> {
        let row = self.row(id).await?;
        self.app.check_here(&row.id).await?;
        let sandbox = self.app.inhabited(&row.id).await?;
        let listening = listening(&sandbox).await?;
        let known = || match listening.as_slice() {
            [] => "nothing listens in the sandbox".to_owned(),
            ports => format!("there is something on {}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
        };
        let port = match (form.port, listening.as_slice()) {
            (Some(0 | GATEWAY_PORT | EGRESS_PORT), _) => {
                return Err(Failure::new(Code::Usage, "this port is not a server of the agent's").field("port"));
            }
            (Some(port), ports) if ports.contains(&port) => port,
            (Some(port), _) => {
                return Err(Failure::new(Code::NotFound, format!("nothing listens on port {port}: {}", known())).field("port"));
            }
            (None, [port]) => *port,
            (None, []) => {
                return Err(Failure::new(Code::NotFound, "nothing listens in the sandbox")
                    .hint("start a server inside first, for example in: lazaret shell --session ID")
                    .field("port"));
            }
            (None, _) => return Err(Failure::new(Code::Usage, known()).hint("say which port").field("port")),
        };
        let title =
            row.labels.get("branch").cloned().unwrap_or_else(|| if row.title.is_empty() { row.agent.clone() } else { row.title.clone() });
        Ok(InsidePort { session: row.id, port, title })
    }
}

impl App {
    /// A connection to a server inside, once it stands.
    ///
    /// # Errors
    /// The session is gone or has no sandbox now, or nothing listens there.
    pub async fn dial(&self, caller: &Caller, to: &InsidePort) -> Result<DuplexStream, Failure> {
        // Whoever may not see the session any more has no way into it either.
        self.sessions_of(caller).row(to.session.as_str()).await?;
        let sandbox = self.inhabited(&to.session).await?;
        let command = guest(&sandbox, &["dial", &to.port.to_string()], true).await?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let connected = tokio::time::timeout(DIAL_TIME, connected(command)).await;
        let late = || Failure::new(Code::Timeout, format!("the sandbox does not say whether something listens on port {}", to.port));
        let command = connected
            .map_err(|_| late())??
            .ok_or_else(|| Failure::new(Code::NotFound, format!("nothing listens on port {} in the sandbox", to.port)).field("port"))?;
        let cancel = self.cancel().clone();
        self.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = carry(command, theirs) => {}
            }
        });
        Ok(ours)
    }

    /// The sandbox of a session that works, or did a moment ago.
    async fn inhabited(&self, id: &SessionId) -> Result<Sandbox, Failure> {
        let missing = || {
            Failure::new(Code::NotFound, "this session has no sandbox now: it has one while a turn runs or a terminal is open")
                .hint(format!("open one: lazaret shell --session {id}"))
        };
        let live = self.live(id).ok_or_else(missing)?;
        let held = live.sandbox.lock().await;
        held.as_ref().map(|housed| housed.sandbox.clone()).filter(Sandbox::is_alive).ok_or_else(missing)
    }
}

/// A command whose server was reached, with what it said after that; `None` when nothing listens.
async fn connected(mut command: Command) -> Result<Option<(Command, bytes::Bytes)>, Failure> {
    loop {
        let Some(piece) = command.output.next().await.map_err(|e| e.failure())? else { return Ok(None) };
        match piece.piece {
            Piece::Stdout(bytes) if !bytes.is_empty() => {
                command.control.ack(piece.number);
                return Ok(Some((command, bytes.slice(1..))));
            }
            Piece::Exited(_) => return Ok(None),
            _ => {}
        }
    }
}

/// Carries a connection until either side ends it.
async fn carry((command, first): (Command, bytes::Bytes), stream: DuplexStream) {
    let Command { stdin, mut output, control } = command;
    let (mut read, mut write) = tokio::io::split(stream);
    let out = async {
        if write.write_all(&first).await.is_err() {
            return;
        }
        while let Ok(Some(piece)) = output.next().await {
            match piece.piece {
                Piece::Stdout(bytes) if write.write_all(&bytes).await.is_ok() => control.ack(piece.number),
                Piece::Stderr(_) => control.ack(piece.number),
                _ => break,
            }
        }
        let _ = write.shutdown().await;
    };
    let input = async {
        let mut stdin = stdin;
        let mut piece = vec![0; PIPE_BYTES];
        while let Ok(n @ 1..) = read.read(&mut piece).await {
            let Some(pipe) = &mut stdin else { return };
            if pipe.write(&piece[..n]).await.is_err() {
                return;
            }
        }
        // The server is told that nothing more comes, and may still answer.
        drop(stdin.take());
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = out => {}
        () = input => {}
    }
    control.signal(KILL);
}

/// The ports inside on which the agent's own programs listen.
async fn listening(sandbox: &Sandbox) -> Result<Vec<u16>, Failure> {
    let mut command = guest(sandbox, &["listening"], false).await?;
    let mut text = Vec::new();
    while let Some(piece) = command.output.next().await.map_err(|e| e.failure())? {
        command.control.ack(piece.number);
        match piece.piece {
            Piece::Stdout(bytes) if text.len() + bytes.len() <= LIST_BYTES_MAX => text.extend_from_slice(&bytes),
            Piece::Exited(_) => break,
            _ => {}
        }
    }
    let mut ports: Vec<u16> = serde_json::from_slice(&text).unwrap_or_default();
    ports.retain(|port| ![GATEWAY_PORT, EGRESS_PORT].contains(port));
    Ok(ports)
}

async fn guest(sandbox: &Sandbox, words: &[&str], has_input: bool) -> Result<Command, Failure> {
    let argv = [GUEST].iter().chain(words).map(|word| (*word).to_owned()).collect();
    let exec = Exec { argv, env: Vec::new(), cwd: "/".to_owned(), stdio: Stdio::Pipes { stdin: has_input }, lease: 0 };
    sandbox.exec(exec).await.map_err(|e| e.failure())
}
