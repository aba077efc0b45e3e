//! The files of an env. Paths are relative to /home/sandbox; a link is shown and never followed.

use app::{Caller, FileEntry, UPLOAD_BYTES_MAX};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use model::{Code, Failure};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::Api;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, limit};
use crate::{Problem, files};

/// What the bytes of a file are called: nothing that a browser would show as a page.
const BYTES: &str = "application/octet-stream";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/envs/{slug}/files", "Lists a directory, or with `download=1` gives the bytes of a file.", || get(look))
        .asks(of::<Look>)
        .gives(200, page_of::<FileEntry>),
    Operation::new(Put, "/v1/envs/{slug}/files", "Writes a file whole or not at all; at most 50 MiB.", || put(write))
        .asks(of::<Place>)
        .takes_bytes(BYTES)
        .gives(201, of::<Written>),
    Operation::new(Delete, "/v1/envs/{slug}/files", "Removes a file, link or whole directory.", || delete(remove)).asks(of::<Place>),
    Operation::new(Post, "/v1/envs/{slug}/files/mkdir", "Makes a directory with its parents.", || post(mkdir))
        .asks(of::<Place>)
        .gives(201, of::<Place>),
];

/// Which file or directory.
#[derive(Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FilePlace")]
pub(crate) struct Place {
    /// Relative to /home/sandbox, without `.` and `..`.
    pub(crate) path: String,
}

/// What is looked at.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FileQuery")]
struct Look {
    /// Relative to /home/sandbox; that directory itself when left out.
    #[serde(default)]
    path: String,
    /// `1` for the bytes of a file instead of the entries of a directory.
    #[serde(default)]
    download: u8,
    /// The cursor of an earlier page.
    after: Option<String>,
    /// Entries in a page; 200 when left out, at most 1000.
    limit: Option<usize>,
}

/// What was written.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "FileWritten")]
struct Written {
    /// Where.
    path: String,
}

/// Entries in a page when nothing is said.
const PAGE: usize = 200;

async fn look(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(asked): Asked<Look>) -> Result<Response, Problem> {
    if asked.download != 0 {
        return download(&api, &who.caller, &slug, &asked.path).await;
    }
    let entries = api.app.files_of(&who.caller, &slug).await?;
    let page = entries.list(&asked.path, asked.after.as_deref(), limit(asked.limit, PAGE, app::ENTRIES_MAX)).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })).into_response())
}

/// The bytes of a file, as something to save and never to show.
pub(crate) async fn download(api: &Api, caller: &Caller, slug: &str, path: &str) -> Result<Response, Problem> {
    let (size, bytes) = api.app.files_of(caller, slug).await?.read(path).await?;
    Ok(as_attachment(path, size, Body::from_stream(ReaderStream::with_capacity(bytes, 64 << 10))))
}

/// The bytes of a file that an agent may have made.
pub(super) fn as_attachment(path: &str, size: u64, body: Body) -> Response {
    let mut response = ([(header::CONTENT_TYPE, BYTES), (header::CACHE_CONTROL, "no-store")], body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    let name = path.rsplit('/').next().unwrap_or("file");
    let disposition = format!("attachment; filename*=UTF-8''{}", escaped(name));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment")));
    response
}

/// A name in the form of RFC 5987, in which nothing can end the header or its value.
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Writes the body of a request to a file.
pub(crate) async fn upload(api: &Api, caller: &Caller, slug: &str, path: &str, headers: &HeaderMap, body: Body) -> Result<(), Failure> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > UPLOAD_BYTES_MAX) {
        return Err(Failure::new(Code::TooLarge, format!("a file is at most {UPLOAD_BYTES_MAX} bytes")).field("body"));
    }
    api.app.files_of(caller, slug).await?.write(path, files::reader(body)).await
}

async fn write(
    State(api): State<Api>,
    who: Identity,
    At(slug): At<String>,
    Asked(at): Asked<Place>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    upload(&api, &who.caller, &slug, &at.path, &headers, body).await?;
    Ok((StatusCode::CREATED, Json(Written { path: at.path })).into_response())
}

async fn mkdir(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(at): Asked<Place>) -> Result<Response, Problem> {
    api.app.files_of(&who.caller, &slug).await?.mkdir(&at.path).await?;
    Ok((StatusCode::CREATED, Json(at)).into_response())
}

async fn remove(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(at): Asked<Place>) -> Result<Json<Value>, Problem> {
    api.app.files_of(&who.caller, &slug).await?.remove(&at.path).await?;
    Ok(Json(json!({ "path": at.path })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_header() {
        assert_eq!(escaped("a b\"\r\nX: y;é.txt"), "a%20b%22%0D%0AX%3A%20y%3B%C3%A9.txt");
    }
}
