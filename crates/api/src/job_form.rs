//! A job as it is sent: JSON, or a form of parts with the job in JSON and its files as they are. The files of a form go to
//! the home as they come; only the job itself is held in memory.

use std::time::Duration;

use app::{JOB_FILES_BYTES_MAX, JobFiles, JobForm, JobStaging, Room, Seat};
use axum::RequestExt as _;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use model::{Code, Failure};

use crate::auth::Identity;
use crate::request::read;
use crate::{Api, Problem};

/// The longest request with a job: a prompt in JSON, where most bytes take one and some two, and files in base64.
pub(crate) const JOB_BYTES_MAX: usize = 2 * model::PROMPT_BYTES_MAX + JOB_FILES_BYTES_MAX / 3 * 4 + (16 << 20);
/// From this length on a request is one of the few that are read at once.
const LONG_BYTES: u64 = 8 << 20;
/// Long requests that are read at once; further ones are refused.
const LONG_MAX: usize = 4;
/// The part of a form that holds the job.
const JOB_PART: &str = "job";
/// How long the next bytes of a form may take.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How long a whole form may take.
const FORM_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// The places for long requests.
#[derive(Clone)]
pub(crate) struct Long(Room);

impl Default for Long {
    fn default() -> Self {
        Self(Room::new(LONG_MAX, "long requests are being read"))
    }
}

impl Long {
    /// Takes a place when the request is long or does not say how long it is.
    fn enter(&self, tenant: &str, said: Option<u64>) -> Result<Option<Seat>, Failure> {
        if said.is_some_and(|bytes| bytes < LONG_BYTES) {
            return Ok(None);
        }
        self.0.enter(tenant).map(Some)
    }
}

/// How long a request says that it is. What says of itself that it is too long is not waited for.
fn said_bytes(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > JOB_BYTES_MAX as u64) {
        return Err(too_large("the request is longer than this route takes"));
    }
    Ok(said)
}

/// A job that was sent, and the files that came beside it.
pub(crate) struct SentJob(pub(crate) JobForm, pub(crate) JobFiles);

impl FromRef<Api> for JobStaging {
    fn from_ref(api: &Api) -> Self {
        api.app.job_staging().clone()
    }
}

impl<S: Send + Sync> FromRequest<S> for SentJob
where
    JobStaging: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let staging = JobStaging::from_ref(state);
        let long = request.extensions().get::<Long>().cloned().unwrap_or_default();
        let tenant = request.extensions().get::<Identity>().map_or(app::OWN_TENANT, |who| who.caller.makes_for()).to_owned();
        let said = said_bytes(request.headers())?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_ascii_lowercase();
        if kind.starts_with("multipart/form-data") {
            let mut files = staging.enter(&tenant)?;
            let form = tokio::time::timeout(FORM_TIME_MAX, of_parts(request, &long, &tenant, &mut files)).await.map_err(|_| late())??;
            return Ok(Self(form, files));
        }
        let _place = long.enter(&tenant, said)?;
        let bytes: Bytes = request.extract().await.map_err(|rejection: axum::extract::rejection::BytesRejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                too_large("the request is longer than this route takes")
            } else {
                unread(&rejection.body_text())
            }
        })?;
        Ok(Self(of_json(&bytes)?, staging.files()))
    }
}

fn too_large(why: &str) -> Failure {
    Failure::new(Code::TooLarge, why)
}

fn late() -> Failure {
    Failure::new(Code::Timeout, "the form did not come in time")
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

/// Reads a form of parts: the job, and its files, which are put down as they come.
async fn of_parts(request: Request, long: &Long, tenant: &str, files: &mut JobFiles) -> Result<JobForm, Failure> {
    let mut parts = Multipart::from_request(request, &()).await.map_err(|e| unread(&e.body_text()))?;
    let mut job = None;
    while let Some(mut part) = in_time(parts.next_field()).await? {
        let Some(path) = part.file_name().map(str::to_owned).filter(|_| part.name() != Some(JOB_PART)) else {
            if part.name() != Some(JOB_PART) || job.is_some() {
                return Err(Failure::new(Code::Usage, "a form has one part `job`, and besides it only files with a file name")
                    .field(part.name().unwrap_or_default().chars().take(64).collect::<String>()));
            }
            job = Some(job_of(part, long, tenant).await?);
            continue;
        };
        let mut coming = files.begin(&path)?;
        while let Some(bytes) = in_time(part.chunk()).await? {
            coming.add(&bytes).await?;
        }
        coming.end().await?;
    }
    job.ok_or_else(|| Failure::new(Code::Usage, "the form has no part `job` with the job in JSON").field(JOB_PART))
}

/// The job of a form. From a length on it is one of the few long ones that are read at once.
async fn job_of(mut part: Field<'_>, long: &Long, tenant: &str) -> Result<JobForm, Failure> {
    let (mut held, mut place) = (Vec::new(), None);
    while let Some(bytes) = in_time(part.chunk()).await? {
        held.extend_from_slice(&bytes);
        if place.is_none() && held.len() as u64 >= LONG_BYTES {
            place = long.enter(tenant, None)?;
        }
    }
    of_json(&held)
}

/// What comes next of a form, if it comes in time.
async fn in_time<T>(next: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Failure> {
    tokio::time::timeout(STALL_MAX, next).await.map_err(|_| late())?.map_err(|e| broken(&e))
}

fn broken(error: &MultipartError) -> Failure {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large("the request is longer than this route takes");
    }
    unread(&error.body_text())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::DefaultBodyLimit;

    use super::*;

    fn staging() -> (tempfile::TempDir, JobStaging) {
        let home = tempfile::tempdir().expect("a directory");
        let staging = JobStaging::open(home.path()).expect("open");
        (home, staging)
    }

    async fn sent_to(staging: &JobStaging, kind: &str, body: impl Into<Body>) -> Result<SentJob, Failure> {
        let mut request = Request::builder().header("content-type", kind).body(body.into()).expect("a request");
        DefaultBodyLimit::max(JOB_BYTES_MAX).apply(&mut request);
        SentJob::from_request(request, staging).await.map_err(|problem| problem.failure)
    }

    async fn sent(kind: &str, body: impl Into<Body>) -> Result<JobForm, Failure> {
        let (home, staging) = staging();
        let sent = sent_to(&staging, kind, body).await.map(|sent| sent.0);
        assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0, "something is left of the form");
        sent
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
        let (home, staging) = staging();
        let SentJob(form, files) = sent_to(&staging, FORM, body).await.expect("a job");
        assert_eq!(form.agent_id, "a");
        let there: Vec<_> = std::fs::read_dir(home.path()).expect("a directory").flatten().collect();
        assert_eq!(there.len(), 1, "the long one is in the home, the short one is not");
        assert_eq!(std::fs::read(there[0].path()).expect("read"), long);
        drop(files);
        assert!(!there[0].path().exists(), "nobody kept it");
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

    /// A form with files needs no place of those for long requests, unless its job itself is long.
    #[tokio::test]
    async fn only_a_long_job_of_a_form_takes_a_place() {
        let (_home, staging) = staging();
        let long = Long::default();
        let held: Vec<_> = (0..LONG_MAX).map(|n| long.enter(&n.to_string(), None).expect("a place")).collect();
        let ask = async |job: &[u8]| {
            let body = parts(&[("name=\"job\"", job), ("name=\"file\"; filename=\"a\"", &[1; 100_000])]);
            let mut request = Request::builder().header("content-type", FORM).body(body.into()).expect("a request");
            DefaultBodyLimit::max(JOB_BYTES_MAX).apply(&mut request);
            request.extensions_mut().insert(long.clone());
            SentJob::from_request(request, &staging).await.map_err(|problem| problem.failure)
        };
        ask(br#"{"agent_id":"a"}"#).await.expect("short");
        let prompt = format!(r#"{{"agent_id":"a","prompt":"{}"}}"#, "x".repeat(9 << 20));
        assert_eq!(ask(prompt.as_bytes()).await.map(drop).expect_err("long").code, Code::Busy);
        drop(held);
        ask(prompt.as_bytes()).await.expect("a place is free");
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
        assert!(long.enter("red", None).expect("a place").is_some(), "a length that is not said may be any");
        let held: Vec<_> = (0..LONG_MAX - 1).map(|n| long.enter(&n.to_string(), Some(100_000_000)).expect("a place")).collect();
        let _last = long.enter("red", None).expect("a place");
        assert_eq!(long.enter("red", Some(100_000_000)).expect_err("full").code, Code::Busy);
        assert!(long.enter("red", Some(100)).expect("short").is_none());
        drop(held);
    }
}
