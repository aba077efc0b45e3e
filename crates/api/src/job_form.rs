//! A job as it is sent: JSON, or a form of parts with the job in JSON and its files as they are.

use std::sync::Arc;

use app::{JOB_FILES_BYTES_MAX, JOB_FILES_MAX, JobFile, JobForm, check_job_path};
use axum::RequestExt as _;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::{Code, Failure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Problem;
use crate::request::read;

/// The longest request with a job: a prompt in JSON, where most bytes take one and some two, and files in base64.
pub(crate) const JOB_BYTES_MAX: usize = 2 * model::PROMPT_BYTES_MAX + JOB_FILES_BYTES_MAX / 3 * 4 + (16 << 20);
/// From this length on a request is one of the few that are read at once.
const LONG_BYTES: u64 = 8 << 20;
/// Long requests that are read at once; further ones are refused.
const LONG_MAX: usize = 4;
/// The part of a form that holds the job.
const JOB_PART: &str = "job";
/// Bytes of a file that are written as base64 in one go: a multiple of three, so that the pieces fit together.
const PIECE_BYTES: usize = 48 << 10;

/// The places for long requests.
#[derive(Clone)]
pub(crate) struct Long(Arc<Semaphore>);

impl Default for Long {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LONG_MAX)))
    }
}

impl Long {
    /// Takes a place when the request is long or does not say how long it is.
    fn enter(&self, headers: &HeaderMap) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let said = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        // What says of itself that it is too long is not waited for.
        if said.is_some_and(|bytes| bytes > JOB_BYTES_MAX as u64) {
            return Err(too_large("the request is longer than this route takes"));
        }
        if said.is_some_and(|bytes| bytes < LONG_BYTES) {
            return Ok(None);
        }
        let busy = || Failure::new(Code::Busy, format!("{LONG_MAX} long requests are being read")).hint("try again in a moment");
        Arc::clone(&self.0).try_acquire_owned().map(Some).map_err(|_| busy())
    }
}

/// A job that was sent.
pub(crate) struct SentJob(pub(crate) JobForm);

impl<S: Send + Sync> FromRequest<S> for SentJob {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let long = request.extensions().get::<Long>().cloned().unwrap_or_default();
        let _place = long.enter(request.headers())?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_ascii_lowercase();
        if kind.starts_with("multipart/form-data") {
            return Ok(Self(of_parts(request).await?));
        }
        let bytes: Bytes = request.extract().await.map_err(|rejection: axum::extract::rejection::BytesRejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                too_large("the request is longer than this route takes")
            } else {
                unread(&rejection.body_text())
            }
        })?;
        Ok(Self(of_json(&bytes)?))
    }
}

fn too_large(why: &str) -> Failure {
    Failure::new(Code::TooLarge, why)
}

fn unread(why: &str) -> Failure {
    Failure::new(Code::Usage, format!("the request cannot be read: {why}"))
}

/// Reads a job. Halves of characters, which no text can hold and some clients send, are left out.
fn of_json(bytes: &[u8]) -> Result<JobForm, Failure> {
    let form = match read::<JobForm>(bytes) {
        Err(failure) => match without_halves(bytes) {
            Some(mended) => read::<JobForm>(&mended),
            None => Err(failure),
        },
        form => form,
    };
    form.map_err(|failure| match failure.field.as_deref() {
        Some("url") => failure.hint("files come as bytes: send them in `data`, name a repository in `repo`, or allow a host in `egress`"),
        _ => failure,
    })
}

/// JSON without escapes of one half of a character; `None` when it has none.
fn without_halves(json: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| -> Option<u16> {
        let text = json.get(at..at + 6)?;
        let hex = text.strip_prefix(b"\\u").filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))?;
        u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    let (mut out, mut at, mut found) = (Vec::with_capacity(json.len()), 0, false);
    while let Some(byte) = json.get(at) {
        if *byte != b'\\' {
            out.push(*byte);
            at += 1;
            continue;
        }
        let length = match (unit(at), unit(at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                found = true;
                at += 6;
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        let end = json.len().min(at + length);
        out.extend_from_slice(&json[at..end]);
        at = end;
    }
    found.then_some(out)
}

/// Reads a form of parts: the job, then its files.
async fn of_parts(request: Request) -> Result<JobForm, Failure> {
    let mut parts = Multipart::from_request(request, &()).await.map_err(|e| unread(&e.body_text()))?;
    let (mut job, mut files, mut left) = (None, Vec::new(), JOB_FILES_BYTES_MAX);
    while let Some(part) = parts.next_field().await.map_err(|e| broken(&e))? {
        let Some(path) = part.file_name().map(str::to_owned).filter(|_| part.name() != Some(JOB_PART)) else {
            if part.name() != Some(JOB_PART) || job.is_some() {
                return Err(Failure::new(Code::Usage, "a form has one part `job`, and besides it only files with a file name")
                    .field(part.name().unwrap_or_default().chars().take(64).collect::<String>()));
            }
            let bytes = part.bytes().await.map_err(|e| broken(&e))?;
            job = Some(of_json(&bytes)?);
            continue;
        };
        check_job_path(&path)?;
        if files.len() >= JOB_FILES_MAX {
            return Err(Failure::new(Code::TooLarge, format!("a job has at most {JOB_FILES_MAX} files")).field("files"));
        }
        let data = file_of(part, &mut left).await?;
        files.push(JobFile { path, data });
    }
    let mut job = job.ok_or_else(|| Failure::new(Code::Usage, "the form has no part `job` with the job in JSON").field(JOB_PART))?;
    job.files.extend(files);
    Ok(job)
}

fn broken(error: &MultipartError) -> Failure {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large("the request is longer than this route takes");
    }
    unread(&error.body_text())
}

/// The bytes of a file, in base64 as they come.
async fn file_of(mut part: Field<'_>, left: &mut usize) -> Result<String, Failure> {
    let (mut data, mut held) = (String::new(), Vec::new());
    while let Some(bytes) = part.chunk().await.map_err(|e| broken(&e))? {
        let over = || too_large(&format!("the files of a job have at most {JOB_FILES_BYTES_MAX} bytes together")).field("files");
        *left = left.checked_sub(bytes.len()).ok_or_else(over)?;
        held.extend_from_slice(&bytes);
        let whole = held.len() / PIECE_BYTES * PIECE_BYTES;
        STANDARD.encode_string(&held[..whole], &mut data);
        held.drain(..whole);
    }
    STANDARD.encode_string(&held, &mut data);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::DefaultBodyLimit;

    use super::*;

    async fn sent(kind: &str, body: impl Into<Body>) -> Result<JobForm, Failure> {
        let mut request = Request::builder().header("content-type", kind).body(body.into()).expect("a request");
        DefaultBodyLimit::max(JOB_BYTES_MAX).apply(&mut request);
        SentJob::from_request(request, &()).await.map(|sent| sent.0).map_err(|problem| problem.failure)
    }

    fn parts(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (head, bytes) in parts {
            body.extend_from_slice(format!("--X\r\ncontent-disposition: form-data; {head}\r\n\r\n").as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--X--\r\n");
        body
    }

    const FORM: &str = "multipart/form-data; boundary=X";

    #[tokio::test]
    async fn a_form_brings_files_as_they_are() {
        let long: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let body = parts(&[
            ("name=\"job\"", br#"{"agent_id":"a","prompt":"x"}"#),
            ("name=\"file\"; filename=\"src/a.txt\"", b"hello"),
            ("name=\"file\"; filename=\"b.bin\"", &long),
        ]);
        let form = sent(FORM, body).await.expect("a job");
        assert_eq!(form.agent_id, "a");
        let files: Vec<(&str, Vec<u8>)> = form.files.iter().map(|f| (f.path.as_str(), STANDARD.decode(&f.data).expect("base64"))).collect();
        assert_eq!(files, [("src/a.txt", b"hello".to_vec()), ("b.bin", long)]);
    }

    #[tokio::test]
    async fn a_form_with_wrong_parts_is_refused() {
        let job: (&str, &[u8]) = ("name=\"job\"", br#"{"agent_id":"a"}"#);
        let check = async |body: Vec<u8>, code: Code, field: &str| {
            let failure = sent(FORM, body).await.expect_err(field);
            assert_eq!((failure.code, failure.field.as_deref()), (code, Some(field)), "{failure}");
        };
        check(parts(&[]), Code::Usage, "job").await;
        check(parts(&[("name=\"file\"; filename=\"a\"", b"x")]), Code::Usage, "job").await;
        check(parts(&[job, job]), Code::Usage, "job").await;
        check(parts(&[job, ("name=\"other\"", b"x")]), Code::Usage, "other").await;
        check(parts(&[job, ("name=\"file\"; filename=\"../x\"", b"x")]), Code::Usage, "files").await;
        check(parts(&[job, ("name=\"file\"; filename=\"/etc/x\"", b"x")]), Code::Usage, "files").await;
        check(parts(&[job, ("name=\"file\"; filename=\"big\"", &vec![b'x'; JOB_FILES_BYTES_MAX + 1])]), Code::TooLarge, "files").await;
        let cut = parts(&[job]);
        assert_eq!(sent(FORM, cut[..cut.len() - 8].to_vec()).await.expect_err("cut").code, Code::Usage);
    }

    #[tokio::test]
    async fn halves_of_characters_are_left_out() {
        let json = "application/json";
        let form = sent(json, r#"{"agent_id":"a","prompt":"x\ud800y\udc00\ud83d\ude00\\ud800"}"#).await.expect("a job");
        assert_eq!(form.prompt.as_deref(), Some("xy😀\\ud800"));
        assert!(sent(json, r#"{"agent_id":"a","prompt":"\ud8"}"#).await.is_err());
        assert!(sent(json, "{\"agent_id\":\"a\",\"prompt\":\"\\").await.is_err());
    }

    #[tokio::test]
    async fn an_address_is_no_file() {
        let failure = sent("application/json", r#"{"agent_id":"a","files":[{"path":"x","url":"https://example.com"}]}"#).await;
        let failure = failure.expect_err("refused");
        assert!(failure.hint.is_some_and(|hint| hint.contains("repo")), "no way out");
    }

    #[tokio::test]
    async fn few_long_requests_are_read_at_once() {
        let long = Long::default();
        let mut headers = HeaderMap::new();
        assert!(long.enter(&headers).expect("a place").is_some(), "a length that is not said may be any");
        headers.insert("content-length", "100000000".parse().expect("a value"));
        let held: Vec<_> = (0..LONG_MAX).map(|_| long.enter(&headers).expect("a place")).collect();
        assert_eq!(long.enter(&headers).expect_err("full").code, Code::Busy);
        headers.insert("content-length", "100".parse().expect("a value"));
        assert!(long.enter(&headers).expect("short").is_none());
        drop(held);
    }
}
