//! What happens in a job, as a person or a program reads it.

use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use model::{Event, Failure};

use super::Context;
use super::screen::{Form, Screen};
use crate::client::{Client, full, internal};

/// Events in one page of the log.
const EVENTS_PAGE: usize = 1000;
/// The longest event that is read.
const LINE_BYTES_MAX: usize = 256 << 20;

/// Shows the log of a job, and what comes until it is over.
pub(super) async fn run(context: &Context, client: &Client, path: &str, follow: bool) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct Page {
        events: Vec<Event>,
    }
    let mut screen = Screen::new(Form::of(context.json));
    if follow {
        return stream(client, path, &mut screen).await;
    }
    let mut after = 0;
    loop {
        let page: Page = client.json(Method::GET, &format!("{path}/events?after={after}&limit={EVENTS_PAGE}"), None).await?;
        for event in &page.events {
            screen.show(event)?;
            after = event.seq;
        }
        if page.events.is_empty() {
            return Ok(());
        }
    }
}

async fn stream(client: &Client, path: &str, screen: &mut Screen) -> Result<(), Failure> {
    let request = http::Request::builder()
        .uri(format!("{path}/events"))
        .header("host", "lazaret")
        .header("accept", "application/x-ndjson")
        .body(full(Vec::new()))
        .map_err(|e| internal(&e.to_string()))?;
    let mut pieces = client.connection().await?.send_request(request).await?.into_body().into_data_stream();
    let mut held: Vec<u8> = Vec::new();
    while let Some(Ok(piece)) = pieces.next().await {
        held.extend_from_slice(&piece);
        if held.len() > LINE_BYTES_MAX {
            return Err(internal("an event is longer than 256 MiB"));
        }
        while let Some(end) = held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            if line.len() > 1 {
                screen.show(&serde_json::from_slice(&line).map_err(|e| internal(&e.to_string()))?)?;
            }
        }
    }
    Ok(())
}
