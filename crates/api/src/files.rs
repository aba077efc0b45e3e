//! File trees in and out, as tar streams.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use model::{Code, Failure};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

/// Which file or tree.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TreeAt {
    /// Absolute, inside the sandbox.
    pub(crate) path: String,
}

impl TreeAt {
    /// Refuses what names no place inside, before an answer has begun.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if !self.path.is_empty() && !self.path.contains('\0') {
            return Ok(());
        }
        Err(Failure::new(Code::Usage, "a path inside the sandbox is needed").field("path"))
    }
}

/// A tar stream as an answer.
pub(crate) fn answer(tar: impl AsyncRead + Send + 'static) -> Response {
    let body = Body::from_stream(ReaderStream::with_capacity(tar, 64 << 10));
    ([(header::CONTENT_TYPE, "application/x-tar")], body).into_response()
}

/// The body of a request as a tar stream.
pub(crate) fn reader(body: Body) -> impl AsyncRead + Send + Unpin {
    let stream = body.into_data_stream().map_err(std::io::Error::other);
    StreamReader::new(Box::pin(stream))
}
