//! Sandboxes of a run beside those of its sessions: commands of the suite run in them, without any door.

use std::time::Duration;

use app::{ExecForm, ImageRef, SandboxForm};
use bytes::Bytes;
use http::Method;
use hyper_util::rt::TokioIo;
use model::{Code, Failure, Limits};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use wire::{FromGuest, ToGuest};

use super::super::sandbox::plain;
use super::super::terminal::{Frames, upgrading};
use super::keep::Kept;
use super::tree::Spool;
use crate::client::{Body, Client, collect, full, internal};

/// How much is kept of what a command prints: its end, in bytes.
const OUTPUT_BYTES_MAX: usize = 8 << 10;
/// What a tree of files is sent as.
pub(super) const TAR: &str = "application/x-tar";

/// A sandbox that is there for one command. [`Room::remove`] it; one that is left is removed by the next run.
pub(super) struct Room<'a> {
    client: &'a Client,
    kept: &'a Kept,
    id: String,
}

/// How a command ended.
pub(super) struct Ran {
    /// `None` when it took too long.
    pub(super) status: Option<i32>,
    /// The end of what it printed, without control characters.
    pub(super) output: String,
}

impl<'a> Room<'a> {
    /// Makes one that reaches nothing.
    pub(super) async fn make(client: &'a Client, kept: &'a Kept, limits: Limits) -> Result<Self, Failure> {
        let form = SandboxForm { limits, image: ImageRef::Host { usr_local: false }, mounts: Vec::new(), egress: Vec::new() };
        let form = serde_json::to_value(&form).map_err(|e| internal(&e.to_string()))?;
        let made: Value = client.json(Method::POST, "/v1/sandboxes", Some(&form)).await?;
        let id = plain(made["id"].as_str().unwrap_or_default())?.to_owned();
        let made = Self { client, kept, id };
        if let Err(failure) = kept.note_box(&made.id) {
            made.remove().await;
            return Err(failure);
        }
        model::crash::point("eval:box-made");
        Ok(made)
    }

    /// Unpacks files into /workspace.
    pub(super) async fn fill(&self, files: Body) -> Result<(), Failure> {
        let uri = format!("/v1/sandboxes/{}/files?path=/workspace", self.id);
        collect(self.client.send(Method::PUT, &uri, TAR, files).await?).await.map(drop)
    }

    /// All of /workspace.
    pub(super) async fn files(&self, into: Spool) -> Result<Spool, Failure> {
        into.fetch(self.client, &format!("/v1/sandboxes/{}/files?path=/workspace", self.id)).await
    }

    /// Runs a command in /workspace. One that takes longer than `time` ends with the sandbox.
    pub(super) async fn run(&self, command: &str, time: Duration) -> Result<Ran, Failure> {
        let mut tail = Vec::new();
        let status = match tokio::time::timeout(time, exec(self.client, &self.id, command, &mut tail)).await {
            Ok(status) => Some(status?),
            Err(_) => None,
        };
        let text = String::from_utf8_lossy(&tail);
        let output: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
        Ok(Ran { status, output: output.trim_end().to_owned() })
    }

    /// Ends it.
    pub(super) async fn remove(self) {
        if remove(self.client, &self.id).await {
            self.kept.drop_box(&self.id);
        }
    }
}

/// Removes the sandboxes that a process left which died.
pub(super) async fn sweep(client: &Client, kept: &Kept) {
    for id in kept.boxes() {
        if remove(client, &id).await {
            kept.drop_box(&id);
        }
    }
}

/// Whether it is gone.
async fn remove(client: &Client, id: &str) -> bool {
    let Ok(id) = plain(id) else { return true };
    match client.json::<Value>(Method::DELETE, &format!("/v1/sandboxes/{id}"), None).await {
        Ok(_) => true,
        Err(failure) => failure.code == Code::NotFound,
    }
}

async fn exec(client: &Client, id: &str, command: &str, tail: &mut Vec<u8>) -> Result<i32, Failure> {
    let gone = || Failure::new(Code::DaemonMissing, "the daemon went away while a command ran");
    let argv = ["/bin/sh", "-c", command].map(str::to_owned).into();
    let form = ExecForm { argv, env: Vec::new(), cwd: "/workspace".to_owned(), tty: None };
    let request = upgrading(&format!("/v1/sandboxes/{id}/exec"), "command", &json!(form).to_string())?;
    let response = client.connection().await?.send_request(request).await?;
    let stream = hyper::upgrade::on(response).await.map_err(|e| internal(&format!("the daemon does not carry the command: {e}")))?;
    let (read, mut write) = tokio::io::split(TokioIo::new(stream));
    let mut end = Vec::new();
    ToGuest::StdinEnd.frame(0, 0).and_then(|frame| frame.encode(&mut end)).map_err(|e| internal(&e.to_string()))?;
    // A command that is over already closes this side; the other tells how it ended.
    let _ = write.write_all(&end).await;
    let _ = write.flush().await;
    let mut frames = Frames::new(read);
    loop {
        match frames.next().await?.ok_or_else(gone)? {
            FromGuest::Stdout(bytes) | FromGuest::Stderr(bytes) => {
                tail.extend_from_slice(&bytes);
                let over = tail.len().saturating_sub(OUTPUT_BYTES_MAX);
                tail.drain(..over);
            }
            FromGuest::Exited(exit) => return Ok(exit.code.unwrap_or_else(|| 128 + exit.signal.unwrap_or_default())),
            FromGuest::Trouble(trouble) => return Err(Failure::new(Code::SandboxFailed, trouble.message)),
            _ => {}
        }
    }
}

/// Files that are in memory, as a body.
pub(super) fn body(files: &Bytes) -> Body {
    full(files.clone())
}
