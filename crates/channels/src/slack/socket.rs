//! Socket Mode: envelopes over a WebSocket, each acknowledged when the host has what is in it.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use serde_json::{Value, json};
use wire::chat::Who;

use super::{App, abilities, event};
use crate::backoff::{Backoff, Trouble};
use crate::calls::trouble;
use crate::http::Ask;
use crate::ws::{Said, WebSocket};

/// Envelopes that wait for the host; with more the socket is not read.
const WAITING_MAX: usize = 64;

impl App {
    /// One connection of Socket Mode. Returns without trouble when the host is gone.
    pub(super) async fn socket(&self, app_token: &str, me: &event::Me, who: Who, backoff: &mut Backoff) -> Result<(), Trouble> {
        let ask = Ask::new(http::Method::POST, self.api.at("/apps.connections.open").map_err(Trouble::passing)?).form(&[]);
        let opened = self.api.send(ask, app_token).await.map_err(trouble)?;
        let url: Uri = opened["url"]
            .as_str()
            .and_then(|url| url.parse().ok())
            .ok_or_else(|| Trouble::passing("Slack names no place to connect to"))?;
        let mut socket = WebSocket::connect(self.api.http(), &url).await.map_err(Trouble::passing)?;
        let mut waiting = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some((id, taken)) = waiting.next(), if !waiting.is_empty() => {
                    let id: String = id;
                    let taken: Result<(), crate::link::Gone> = taken;
                    if taken.is_err() {
                        return Ok(());
                    }
                    model::crash::point("channel:before-ack");
                    socket.send(json!({"envelope_id": id}).to_string()).await.map_err(Trouble::passing)?;
                }
                said = socket.next(), if waiting.len() < WAITING_MAX => {
                    let Said::Text(text) = said.map_err(Trouble::passing)? else { return Err(Trouble::passing("Slack ended the connection")) };
                    let Ok(said) = serde_json::from_str::<Value>(&text) else { continue };
                    let kind = said["type"].as_str().unwrap_or_default().to_owned();
                    match kind.as_str() {
                        "hello" => {
                            backoff.well();
                            self.setup.link.ready(who.clone(), abilities()).await;
                        }
                        "disconnect" => return Err(Trouble::passing("Slack asked to connect anew")),
                        _ => {}
                    }
                    if let Some(id) = crate::reading::id(&said["envelope_id"]) {
                        let Ok(report) = self.report(&said["payload"], &kind, me).await else { return Ok(()) };
                        waiting.push(async move { (id, self.setup.link.acked(report.unwrap_or(0)).await) });
                    }
                }
            }
        }
    }
}
