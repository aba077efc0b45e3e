//! `lazaret export` and `lazaret import lazaret`: a whole install, as lines without secrets.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use app::{Carried, CarryReport};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Frame;
use model::{Code, Failure};

use super::Context;
use crate::client::{collect, full, internal};
use crate::exit::{Done, clean};
use crate::out;

/// What an export is called in a directory.
const FILE_NAME: &str = "lazaret-export.jsonl";
/// Bytes that are sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// What an export is.
const LINES: &str = "application/x-ndjson";

/// Writes what the install has to a file that is new, or into a directory; `-` is standard output.
pub(super) async fn export(context: &Context, to: &Path) -> Done {
    let response = context.client()?.send(Method::GET, "/v1/export", "application/json", full(Vec::new())).await?;
    let mut body = BodyStream::new(response.into_body());
    let path: Option<PathBuf> = match to {
        to if to.as_os_str() == "-" => None,
        to if to.is_dir() => Some(to.join(FILE_NAME)),
        to => Some(to.to_owned()),
    };
    let fail = |e: std::io::Error| {
        let name = path.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
        let hint =
            if e.kind() == std::io::ErrorKind::AlreadyExists { "name another file, or remove that one" } else { "name another file" };
        Failure::new(Code::PathUnusable, format!("`{name}` cannot be written: {e}")).hint(hint)
    };
    // What people said is nobody else's to read.
    let mut file: Box<dyn Write + Send> = match &path {
        Some(path) => Box::new(File::options().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?),
        None => Box::new(std::io::stdout()),
    };
    let mut lines = 0u64;
    while let Some(frame) = body.next().await {
        let frame = frame.map_err(|e| Failure::new(Code::DaemonMissing, format!("the daemon's answer was cut: {e}")))?;
        if let Ok(data) = frame.into_data() {
            lines += data.iter().filter(|byte| **byte == b'\n').count() as u64;
            file.write_all(&data).map_err(fail)?;
        }
    }
    file.flush().map_err(fail)?;
    if let Some(path) = path {
        if context.json {
            out::json(&serde_json::json!({ "file": path, "lines": lines }))?;
        } else {
            out::note(&format!("{lines} lines in {}; no secret is in it, but what was said is", path.display()));
        }
    }
    Ok(0)
}

/// Takes over what an export holds.
pub(super) async fn import(context: &Context, from: &Path, dry_run: bool) -> Done {
    let fail = |e: std::io::Error| Failure::new(Code::PathUnusable, format!("`{}` cannot be read: {e}", from.display())).field("file");
    let from = if from.is_dir() { from.join(FILE_NAME) } else { from.to_owned() };
    let file = File::open(&from).map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(Failure::new(Code::PathUnusable, format!("`{}` is no plain file", from.display())).field("file"));
    }
    hand_over(context, file, CarryReport::default(), dry_run).await
}

/// Sends lines to the daemon and tells what came of them, and of what was `left` behind before.
pub(super) async fn hand_over(context: &Context, lines: File, left: CarryReport, dry_run: bool) -> Done {
    let pieces = futures_util::stream::try_unfold(lines, |mut file| async move {
        let mut piece = vec![0; PIECE_BYTES];
        let n = file.read(&mut piece)?;
        piece.truncate(n);
        Ok::<_, std::io::Error>((n > 0).then(|| (Bytes::from(piece), file)))
    });
    let body = BodyExt::boxed(StreamBody::new(pieces.map_ok(Frame::data)));
    let path = format!("/v1/import?dry_run={dry_run}");
    let response = context.client()?.send(Method::POST, &path, LINES, body).await?;
    let report: CarryReport =
        serde_json::from_slice(&collect(response).await?).map_err(|e| internal(&format!("the daemon's answer is not understood: {e}")))?;
    show(context, &whole(report, left))
}

/// Both reports as one.
fn whole(mut report: CarryReport, left: CarryReport) -> CarryReport {
    for (key, count) in left.counts {
        *report.counts.entry(key).or_default() += count;
    }
    report.items.extend(left.items);
    report.more |= left.more;
    report
}

fn show(context: &Context, report: &CarryReport) -> Done {
    if context.json {
        out::json(report)?;
    } else {
        let row = |one: &Carried| vec![one.what.clone(), clean(&one.name), one.outcome.clone(), clean(&one.note)];
        out::table(&["what", "name", "outcome", ""], &report.items.iter().map(row).collect::<Vec<_>>());
        if report.more {
            out::note("there is more than is shown");
        }
        let counts: Vec<String> = report.counts.iter().map(|(key, count)| format!("{count} {key}")).collect();
        out::note(&counts.join(", "));
        if report.dry_run {
            out::note("nothing was changed");
        }
    }
    Ok(u8::from(report.has_wrong()))
}
