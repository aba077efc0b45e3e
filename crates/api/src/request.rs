//! What requests bring, read strictly: every field is known, of its type, and named when it is not.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use model::{Code, Failure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Problem;

/// The JSON body of a request.
pub(crate) struct Form<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(read(&bytes(request, state).await?)?))
    }
}

/// The JSON body of a request; what its absence means when there is none.
pub(crate) struct MaybeForm<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeForm<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = bytes(request, state).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { Ok(Self(read(&bytes)?)) }
    }
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Problem::from(Failure::new(Code::TooLarge, "the request is longer than this route takes"));
        }
        Problem::from(Failure::new(Code::Usage, rejection.body_text()))
    })
}

/// Fields that are tried one by one to find the wrong one.
const FIELDS_TRIED_MAX: usize = 64;

/// Reads a form; a failure names the field at its top.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // A list would be read as the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::new(Code::Usage, "the request is not a JSON object"));
    }
    let error = match serde_json::from_slice::<T>(bytes) {
        Ok(form) => return Ok(form),
        Err(error) => error,
    };
    let Ok(mut whole) = serde_json::from_slice::<Value>(bytes) else {
        return Err(Failure::new(Code::Usage, format!("the request is not JSON: {error}")));
    };
    let failure = Failure::new(Code::Usage, format!("the request has the wrong form: {error}"));
    let said = error.to_string();
    if let Some(field) = quoted(&said, "unknown field `").or_else(|| quoted(&said, "missing field `")) {
        return Err(failure.field(field));
    }
    // The field without which the complaint is another one is the one that is meant.
    let names: Vec<String> = whole.as_object().into_iter().flatten().map(|(name, _)| name.clone()).take(FIELDS_TRIED_MAX).collect();
    let reason = |value: &Value| T::deserialize(value).err().map(|e| e.to_string());
    let whole_reason = reason(&whole);
    for name in names {
        let Some(value) = whole.as_object_mut().and_then(|all| all.remove(&name)) else { continue };
        if reason(&whole) != whole_reason {
            return Err(failure.field(name));
        }
        if let Some(all) = whole.as_object_mut() {
            all.insert(name, value);
        }
    }
    Err(failure)
}

fn quoted(text: &str, after: &str) -> Option<String> {
    let rest = text.split_once(after)?.1;
    Some(rest.split_once('`')?.0.to_owned())
}

/// What stands behind the `?` of a request.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        let read = read.map(|query| Self(query.0));
        read.map_err(|rejection| {
            let said = rejection.body_text();
            let said = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(&said).to_owned();
            let field = quoted(&said, "unknown field `").or_else(|| quoted(&said, "missing field `"));
            let field = field.or_else(|| said.split_once(": ").map(|(name, _)| name.to_owned()));
            let failure = Failure::new(Code::Usage, format!("the query has the wrong form: {said}"));
            Problem::from(match field {
                Some(field) => failure.field(field),
                None => failure,
            })
        })
    }
}

/// A part of the path.
pub(crate) struct At<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|path| Self(path.0)).map_err(|_| Problem::from(Failure::new(Code::NotFound, "there is nothing under this address")))
    }
}

/// A cursor or limit of a list.
pub(crate) fn limit(asked: Option<usize>, usual: usize, max: usize) -> usize {
    asked.unwrap_or(usual).clamp(1, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_field_is_named() {
        let check = |text: &str, field: Option<&str>| {
            let failure = read::<app::MessageForm>(text.as_bytes()).expect_err(text);
            assert_eq!(failure.code, Code::Usage, "{text}");
            assert_eq!(failure.field.as_deref(), field, "{text}: {failure}");
        };
        check("{", None);
        check("[]", None);
        check(r#"{"text":7}"#, Some("text"));
        check(r#"{"text":"a","priority":"high"}"#, Some("priority"));
        check(r#"{"text":"a","role":"admin"}"#, Some("role"));
        check(r#"{"text":"a","files":[{"name":"x"}]}"#, Some("data"));
        assert!(read::<app::MessageForm>(br#"{"text":"a"}"#).is_ok());
    }
}
