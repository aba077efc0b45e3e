//! `lazaret audit`.

use app::{AuditCheck, AuditFault, AuditRow};
use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use model::{Code, Failure, parse_duration};

use super::sandbox::escaped;
use super::{Context, lists};
use crate::args;
use crate::client::{Client, full, internal};
use crate::exit::Done;
use crate::out;

pub(super) async fn run(context: &Context, verb: args::Audit) -> Done {
    let client = context.client()?;
    match verb {
        args::Audit::Query { which, limit } => {
            let path = format!("/v1/audit?latest=true&{}limit={limit}", query(&which)?);
            let rows: Vec<AuditRow> = lists::all(&client, &path).await?;
            if context.json { rows.iter().try_for_each(out::json)? } else { table(&rows) }
        }
        args::Audit::Verify { expect } => return verify(context, &client, expect.as_deref()).await,
        args::Audit::Export { which } => export(&client, &which).await?,
    }
    Ok(0)
}

fn query(which: &args::AuditWhich) -> Result<String, Failure> {
    let args::AuditWhich { kind, session, topic, outcome, correlation, since } = which;
    let mut text = String::new();
    let pairs = [("kind", kind), ("session", session), ("topic", topic), ("outcome", outcome), ("correlation", correlation)];
    for (name, value) in pairs {
        if let Some(value) = value {
            text.push_str(&format!("{name}={}&", escaped(value)));
        }
    }
    if let Some(since) = since {
        let time = parse_duration(since).ok_or_else(|| {
            Failure::new(Code::Usage, format!("--since: `{}` is not a time like 2h", since.escape_debug())).field("--since")
        })?;
        let from = app::now().0.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        text.push_str(&format!("from={from}&"));
    }
    Ok(text)
}

fn table(rows: &[AuditRow]) {
    let row = |row: &AuditRow| {
        let entry = &row.entry;
        let code = entry.code.map_or_else(String::new, |code| code.to_string());
        let session = entry.session.as_ref().map_or_else(String::new, ToString::to_string);
        let cells = [row.seq.to_string(), out::ago(entry.time), entry.kind.as_str().to_owned(), entry.outcome.clone(), code];
        cells.into_iter().chain([entry.actor.clone(), entry.topic.clone(), session]).collect::<Vec<_>>()
    };
    let heads = ["row", "when", "kind", "outcome", "code", "actor", "topic", "session"];
    out::table(&heads, &rows.iter().map(row).collect::<Vec<_>>());
}

async fn verify(context: &Context, client: &Client, expect: Option<&str>) -> Done {
    let mut check: AuditCheck = client.json(Method::GET, "/v1/audit/verify", None).await?;
    if let (Some(expect), None) = (expect, &check.broken) {
        check.broken = compare(client, expect).await?;
    }
    if context.json {
        out::json(&check)?;
    }
    match &check.broken {
        None if context.json => Ok(0),
        None => {
            out::line(&format!("the chain is whole: {} rows, up to {}:{}", check.rows, check.seq, check.head));
            Ok(0)
        }
        Some(fault) => Err(Failure::new(Code::AuditBroken, format!("the audit is broken at row {}: {}", fault.seq, fault.why))
            .hint("export what is there, and look for who could write the home's files")),
    }
}

/// Holds the chain to a row that was kept elsewhere.
async fn compare(client: &Client, expect: &str) -> Result<Option<AuditFault>, Failure> {
    let wrong = || Failure::new(Code::Usage, "what is expected has the form NUMBER:HASH").field("--expect");
    let (seq, hash) = expect.split_once(':').ok_or_else(wrong)?;
    let seq: u64 = seq.parse().map_err(|_| wrong())?;
    let Some(before) = seq.checked_sub(1) else { return Ok(None) };
    let rows: Vec<AuditRow> = lists::all(client, &format!("/v1/audit?after={before}&limit=1")).await?;
    Ok(match rows.first() {
        Some(row) if row.seq == seq && row.hash == hash => None,
        Some(row) if row.seq == seq => {
            Some(AuditFault { seq, why: "the chain was written anew: this row is not the one that is expected".to_owned() })
        }
        _ => Some(AuditFault { seq, why: "the end was cut off: the row that is expected is missing".to_owned() }),
    })
}

async fn export(client: &Client, which: &args::AuditWhich) -> Result<(), Failure> {
    let path = format!("/v1/audit/export?{}", query(which)?);
    let response = client.send(Method::GET, path.trim_end_matches(['&', '?']), "application/json", full(Vec::new())).await?;
    let is_good = response.status().is_success();
    if !is_good {
        crate::client::collect(response).await?;
        return Err(internal("the audit cannot be exported"));
    }
    let mut body = response.into_body().into_data_stream();
    let mut held = Vec::new();
    while let Some(piece) = body.next().await {
        held.extend_from_slice(&piece.map_err(|e| internal(&format!("the export was cut short: {e}")))?);
        while let Some(end) = held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            out::line(String::from_utf8_lossy(&line).trim_end());
        }
    }
    Ok(())
}
