//! `lazaret sandbox create|exec|cp|list|rm`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use app::{ExecForm, ImageRef, MountNote, SandboxForm, Summary};
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::{Context, terminal};
use crate::args;
use crate::client::{Client, internal};
use crate::config::Config;
use crate::exit::Done;
use crate::home::Home;
use crate::{out, places};

pub(super) async fn run(context: &Context, verb: args::Sandbox) -> Done {
    match verb {
        args::Sandbox::Create(flags) => {
            let made = create(context, &flags.places, &flags.limits).await?;
            if context.json { out::json(&made)? } else { out::line(made.id.as_str()) }
        }
        args::Sandbox::Exec { tty, cwd, env, id, command } => {
            let form = ExecForm { argv: command, env: places::pairs(&env)?, cwd, tty: None };
            return terminal::attach(&context.client()?, &id, form, tty).await;
        }
        args::Sandbox::Cp { from, to } => copy(&context.client()?, &from, &to).await?,
        args::Sandbox::List => list(context).await?,
        args::Sandbox::Rm { ids } => {
            let client = context.client()?;
            for id in ids {
                let _: Value = client.json(Method::DELETE, &format!("/v1/sandboxes/{}", plain(&id)?), None).await?;
            }
        }
        args::Sandbox::Run(_) => return Err(internal("this verb is run elsewhere")),
    }
    Ok(0)
}

/// Makes a sandbox that stays.
pub(super) async fn create(context: &Context, places: &args::Places, limits: &args::Limits) -> Result<Summary, Failure> {
    let home = Home::open(&context.env.home)?;
    let config = Config::load(home.path())?;
    let client = Client::new(&home, context.may_start);
    let limits = places::limits(limits, &config)?;
    let places = places::places(places, &config, &context.env)?;
    if !places.env.is_empty() {
        return Err(Failure::new(Code::Usage, "variables belong to commands").hint("give --env to `sandbox exec`").field("--env"));
    }
    let (notes, fds) = split(places.mounts)?;
    let form = SandboxForm { limits, image: image_ref(places.image), mounts: notes, egress: places.allow };
    let ticket = if fds.is_empty() { None } else { Some(client.hand_over(&fds).await?) };
    let mut body = serde_json::to_value(&form).map_err(|e| internal(&e.to_string()))?;
    body["ticket"] = json!(ticket.as_ref().map(|t| &t.name));
    client.json(Method::POST, "/v1/sandboxes", Some(&body)).await
}

/// Mounts as notes for the form and descriptors beside it.
pub(super) fn split(mounts: Vec<places::Opened>) -> Result<(Vec<MountNote>, Vec<OwnedFd>), Failure> {
    mounts
        .into_iter()
        .map(|m| {
            let host = m.host_path()?;
            Ok((MountNote { host, target: m.target, read_only: m.read_only }, m.fd))
        })
        .collect::<Result<Vec<_>, _>>()
        .map(|pairs| pairs.into_iter().unzip())
}

pub(super) fn image_ref(image: sandbox::Image) -> ImageRef {
    match image {
        sandbox::Image::Host { usr_local } => ImageRef::Host { usr_local },
        sandbox::Image::Tree(path) => ImageRef::Tree(path),
    }
}

/// An identity that can stand in a path of the API.
pub(super) fn plain(id: &str) -> Result<&str, Failure> {
    if !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(id)
    } else {
        Err(Failure::new(Code::NotFound, format!("`{}` is not an identity", id.escape_debug())))
    }
}

/// A path for a query: everything but plain characters escaped.
pub(super) fn escaped(path: &str) -> String {
    path.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"/-_.~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

async fn list(context: &Context) -> Result<(), Failure> {
    let answer: Value = context.client()?.json(Method::GET, "/v1/sandboxes", None).await?;
    let empty = Vec::new();
    for item in answer["items"].as_array().unwrap_or(&empty) {
        if context.json {
            out::json(item)?;
            continue;
        }
        let level: model::Level = serde_json::from_value(item["level"].clone()).unwrap_or_default();
        let text = |key: &str| crate::exit::clean(item[key].as_str().unwrap_or(""));
        out::line(&format!("{}  {:<40}  {}", text("id"), text("label"), level.summary()));
    }
    Ok(())
}

/// One side of a copy.
enum Side<'a> {
    Here(&'a str),
    Inside(&'a str, &'a str),
}

fn side(text: &str) -> Side<'_> {
    match text.split_once(':') {
        Some((id, path)) if id.starts_with("sbx_") => Side::Inside(id, path),
        _ => Side::Here(text),
    }
}

async fn copy(client: &Client, from: &str, to: &str) -> Result<(), Failure> {
    match (side(from), side(to)) {
        (Side::Here(from), Side::Inside(id, to)) => {
            let uri = format!("/v1/sandboxes/{}/files?path={}", plain(id)?, escaped(to));
            upload(client, &uri, Path::new(from)).await
        }
        (Side::Inside(id, from), Side::Here(to)) => {
            let uri = format!("/v1/sandboxes/{}/files?path={}", plain(id)?, escaped(from));
            download(client, &uri, Path::new(to), 0).await.map(drop)
        }
        _ => Err(Failure::new(Code::Usage, "one side is a path here, the other is ID:PATH")),
    }
}

/// Bytes between the thread that packs or unpacks and the connection.
const PIPE_BYTES: usize = 256 << 10;

/// Packs a file or tree, links as links, and sends it.
pub(super) async fn upload(client: &Client, uri: &str, from: &Path) -> Result<(), Failure> {
    let meta = std::fs::symlink_metadata(from).map_err(|e| unusable(from, &e))?;
    let name = PathBuf::from(from.file_name().unwrap_or_else(|| std::ffi::OsStr::new(".")));
    let (read, write) = tokio::io::simplex(PIPE_BYTES);
    let (from_owned, is_dir) = (from.to_owned(), meta.is_dir());
    let packing = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let bridge = tokio_util::io::SyncIoBridge::new(write);
        let mut builder = tar::Builder::new(bridge);
        builder.follow_symlinks(false);
        if is_dir {
            builder.append_dir_all(&name, &from_owned)?
        } else {
            builder.append_path_with_name(&from_owned, &name)?
        }
        builder.into_inner()?.shutdown()
    });
    send(client, uri, read).await?;
    packing.await.map_err(|e| internal(&e.to_string()))?.map_err(|e| unusable(from, &e))
}

/// Sends the content of a directory, without the directory itself.
pub(super) async fn upload_content(client: &Client, uri: &str, dir: &Path) -> Result<(), Failure> {
    upload_as(client, uri, dir, ".").await
}

/// Sends the content of a directory under another name.
pub(super) async fn upload_as(client: &Client, uri: &str, dir: &Path, name: &str) -> Result<(), Failure> {
    let (read, write) = tokio::io::simplex(PIPE_BYTES);
    let (from, name) = (dir.to_owned(), name.to_owned());
    let packing = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut builder = tar::Builder::new(tokio_util::io::SyncIoBridge::new(write));
        builder.follow_symlinks(false);
        builder.append_dir_all(&name, &from)?;
        builder.into_inner()?.shutdown()
    });
    send(client, uri, read).await?;
    packing.await.map_err(|e| internal(&e.to_string()))?.map_err(|e| unusable(dir, &e))
}

async fn send(client: &Client, uri: &str, read: impl tokio::io::AsyncRead + Send + Sync + Unpin + 'static) -> Result<(), Failure> {
    use futures_util::TryStreamExt;
    use http_body_util::{BodyExt, StreamBody};
    let stream = tokio_util::io::ReaderStream::with_capacity(read, 64 << 10).map_ok(hyper::body::Frame::data);
    let body = BodyExt::boxed(StreamBody::new(stream));
    let response = client.send(Method::PUT, uri, "application/x-tar", body).await?;
    crate::client::collect(response).await.map(drop)
}

/// Takes a tree over into a directory here, made when missing. `strip` leading parts of each name are dropped.
pub(super) async fn download(client: &Client, uri: &str, into: &Path, strip: usize) -> Result<sandbox::Unpacked, Failure> {
    use futures_util::TryStreamExt;
    use http_body_util::BodyExt;
    std::fs::create_dir_all(into).map_err(|e| unusable(into, &e))?;
    let dir: OwnedFd = std::fs::File::open(into).map_err(|e| unusable(into, &e))?.into();
    let response = client.send(Method::GET, uri, "application/x-tar", crate::client::full(Vec::new())).await?;
    let stream = response.into_body().into_data_stream().map_err(std::io::Error::other);
    let mut body = tokio_util::io::StreamReader::new(Box::pin(stream));
    let (read, mut write) = tokio::io::simplex(PIPE_BYTES);
    let unpacking = tokio::task::spawn_blocking(move || sandbox::unpack_below(dir, tokio_util::io::SyncIoBridge::new(read), strip));
    let copied = tokio::io::copy(&mut body, &mut write).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
    drop(write);
    let unpacked = unpacking.await.map_err(|e| internal(&e.to_string()))?.map_err(|e| e.failure())?;
    copied.map_err(|e| Failure::new(Code::SandboxFailed, format!("the files came over only in part: {e}")))?;
    for skipped in unpacked.skipped.iter().take(10) {
        out::note(&format!("left out: {}: {}", skipped.name, skipped.why));
    }
    if unpacked.skipped_total > 10 {
        out::note(&format!("left out in all: {}", unpacked.skipped_total));
    }
    Ok(unpacked)
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::PathUnusable, format!("{} cannot be used: {error}", path.display()))
}
