//! The files of containers.

use app::FileEntry;
use axum::Json;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Request, State};
use axum::http::header;
use axum::response::Response;
use axum::routing::{delete, get, post};
use futures_util::TryStreamExt;
use model::{Code, Failure, Timestamp};
use serde_json::{Value, json};
use tokio_util::io::StreamReader;

use super::time::iso;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Operation, of};
use crate::request::{Asked, At};
use crate::routes::{Place, download, upload};
use crate::{Api, Problem};

/// All files of one upload together: four of the largest, and what stands between them.
const UPLOADS_BYTES_MAX: usize = 201 << 20;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/api/containers/{slug}/files", "Lists a directory.", || get(list)).asks(of::<List>),
    Operation::new(Delete, "/api/containers/{slug}/files", "Removes a file or directory.", || delete(remove)).asks(of::<Place>),
    Operation::new(Get, "/api/containers/{slug}/files/download", "The bytes of a file.", || get(fetch))
        .asks(of::<Place>)
        .gives_bytes(200, &["application/octet-stream"]),
    Operation::new(
        Post,
        "/api/containers/{slug}/files/upload",
        "Writes files of at most 50 MiB each into the directory `path`; a body that is no form is one file, and `path` is its place.",
        || post(send),
    )
    .asks(of::<Into>)
    .takes_bytes("multipart/form-data")
    .at_most(UPLOADS_BYTES_MAX)
    .gives(200, results),
    Operation::new(Post, "/api/containers/{slug}/files/mkdir", "Makes a directory with its parents.", || post(mkdir)).asks(of::<Place>),
];

fn results(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let done = generator.subschema_for::<Done>();
    schemars::json_schema!({ "type": "array", "items": done })
}

/// What became of one file.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "ContainerFileDone")]
struct Done {
    success: bool,
    path: String,
    message: String,
}

/// Which directory.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(rename = "ContainerFileQuery")]
struct List {
    /// Relative to the container's home; that itself when left out.
    path: String,
    /// Also those whose names begin with a dot.
    #[serde(alias = "includeHidden")]
    include_hidden: bool,
}

/// Where uploads go.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(rename = "ContainerFileInto")]
struct Into {
    /// Relative to the container's home; that itself when left out.
    path: String,
}

/// A path without the slashes around it, which mean the home to the seed's clients.
fn relative(path: &str) -> &str {
    path.trim_matches('/')
}

/// Entries that a list holds.
const LIST_MAX: usize = 10_000;

async fn list(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(asked): Asked<List>) -> Result<Json<Value>, Problem> {
    let dir = relative(&asked.path);
    let files = api.app.files_of(&who.caller, &slug).await?;
    let (mut entries, mut after) = (Vec::new(), None::<String>);
    while entries.len() < LIST_MAX {
        let page = files.list(dir, after.as_deref(), app::ENTRIES_MAX).await?;
        let seen = page.items.iter().filter(|entry| asked.include_hidden || !entry.name.starts_with('.'));
        entries.extend(seen.map(|entry| shown(dir, entry)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Json(json!({ "slug": slug, "path": dir, "entries": entries })))
}

fn shown(dir: &str, entry: &FileEntry) -> Value {
    let path = if dir.is_empty() { entry.name.clone() } else { format!("{dir}/{}", entry.name) };
    let is_directory = entry.kind == "dir";
    json!({
        "name": entry.name,
        "path": path,
        "type": if is_directory { "directory" } else { entry.kind.as_str() },
        "size": (!is_directory).then_some(entry.size),
        "lastModified": iso(Timestamp(u64::try_from(entry.mtime_ms).unwrap_or(0))),
        "isDirectory": is_directory,
        "isFile": entry.kind == "file",
    })
}

async fn fetch(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(at): Asked<Place>) -> Result<Response, Problem> {
    download(&api, &who.caller, &slug, relative(&at.path)).await
}

async fn send(
    State(api): State<Api>,
    who: Identity,
    At(slug): At<String>,
    Asked(into): Asked<Into>,
    request: Request,
) -> Result<Json<Vec<Done>>, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let dir = relative(&into.path);
    if !kind.starts_with("multipart/form-data") {
        let (parts, body) = request.into_parts();
        upload(&api, &who.caller, &slug, dir, &parts.headers, body).await?;
        return Ok(Json(vec![Done { success: true, path: dir.to_owned(), message: "Uploaded".to_owned() }]));
    }
    let unread = |e: String| Problem::from(Failure::new(Code::Usage, format!("the form cannot be read: {e}")));
    let mut form = Multipart::from_request(request, &()).await.map_err(|e| unread(e.body_text()))?;
    let files = api.app.files_of(&who.caller, &slug).await?;
    if !dir.is_empty() {
        files.mkdir(dir).await?;
    }
    let mut done = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|e| unread(e.body_text()))? {
        let Some(name) = field.file_name().map(own_name) else { continue };
        let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
        // A file that is refused does not stop those after it.
        done.push(match files.write(&path, reader(field)).await {
            Ok(()) => Done { success: true, path, message: "Uploaded".to_owned() },
            Err(failure) => Done { success: false, path: name, message: failure.message },
        });
    }
    Ok(Json(done))
}

/// The last part of what a client calls a file. What is left is checked as every path is.
fn own_name(said: &str) -> String {
    said.rsplit(['/', '\\']).next().unwrap_or("").to_owned()
}

fn reader(field: Field<'_>) -> impl tokio::io::AsyncRead + Send + Unpin {
    StreamReader::new(Box::pin(field.map_err(std::io::Error::other)))
}

async fn mkdir(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(at): Asked<Place>) -> Result<Json<Done>, Problem> {
    let path = relative(&at.path);
    api.app.files_of(&who.caller, &slug).await?.mkdir(path).await?;
    Ok(Json(Done { success: true, path: path.to_owned(), message: "Directory created".to_owned() }))
}

async fn remove(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(at): Asked<Place>) -> Result<Json<Done>, Problem> {
    let path = relative(&at.path);
    if path.is_empty() {
        return Err(Failure::new(Code::Usage, "the home itself is not removed").field("path").into());
    }
    api.app.files_of(&who.caller, &slug).await?.remove(path).await?;
    Ok(Json(Done { success: true, path: path.to_owned(), message: "Deleted".to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_names_a_file_and_no_place() {
        for (said, own) in [("a.txt", "a.txt"), ("../../etc/passwd", "passwd"), ("C:\\x\\y.txt", "y.txt"), ("..", ".."), ("a/", "")] {
            assert_eq!(own_name(said), own);
        }
    }
}
