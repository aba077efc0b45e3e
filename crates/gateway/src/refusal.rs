//! What a caller sees when a call is not made: the provider's own error form, with our code in it.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use model::Code;
use serde_json::json;

use crate::Kind;

/// A call that is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The stable code.
    pub(crate) code: Code,
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// For people; holds no secret and no address.
    pub(crate) message: String,
}

/// What an error status of a provider means.
pub(crate) fn failure_of(status: StatusCode) -> (Code, &'static str) {
    match status.as_u16() {
        401 | 403 => (Code::CredentialExpired, "the provider refuses the stored credential"),
        429 | 529 => (Code::ProviderLimited, "the provider has too much traffic, or the account's limit is reached"),
        500.. => (Code::ProviderError, "the provider failed"),
        _ => (Code::ProviderError, "the provider does not accept the request"),
    }
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, status: status(code), message: message.into() }
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The answer in the form of a provider of `kind`.
    pub(crate) fn answer(&self, kind: Kind) -> (StatusCode, Bytes) {
        let message = format!("{}: {}", self.code, self.message);
        let status = self.status.as_u16();
        let body = match kind {
            Kind::Anthropic => json!({"type": "error", "error": {"type": anthropic_type(status), "message": message, "code": self.code}}),
            Kind::OpenAi => json!({"error": {"message": message, "type": openai_type(status), "param": null, "code": self.code}}),
            Kind::Gemini => {
                json!({"error": {"code": status, "message": message, "status": gemini_status(status), "details": [{"reason": self.code}]}})
            }
        };
        (self.status, Bytes::from(body.to_string()))
    }
}

/// The status for a code. Engines try again on 408, 409, 429 and 5xx, some of them for minutes; what no retry can heal gets
/// another one.
fn status(code: Code) -> StatusCode {
    match code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Usage | Code::TurnLimit | Code::PriceUnknown | Code::ReplayDiffers | Code::TapeInvalid => StatusCode::BAD_REQUEST,
        Code::BudgetExceeded => StatusCode::PAYMENT_REQUIRED,
        Code::KeyMissing | Code::CredentialExpired => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::ProviderDown | Code::ProviderError | Code::StreamCut => StatusCode::BAD_GATEWAY,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::ProviderLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Busy | Code::StoreUnusable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        400 | 415 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 | 405 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        504 => "DEADLINE_EXCEEDED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

/// The head of an answer made here.
pub(crate) fn head<B>(status: StatusCode, content_type: &'static str, body: B) -> Response<B> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // What is refused here does not heal by itself; the libraries of two providers obey this header.
    if status.is_client_error() {
        answer.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    crate::headers::pace(status, answer.headers_mut());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_gets_its_own_form() {
        let refusal = Refusal::new(Code::BudgetExceeded, "no");
        let text = |kind| String::from_utf8(refusal.answer(kind).1.to_vec()).unwrap();
        assert_eq!(
            text(Kind::Anthropic),
            r#"{"error":{"code":"BUDGET_EXCEEDED","message":"BUDGET_EXCEEDED: no","type":"billing_error"},"type":"error"}"#
        );
        assert_eq!(
            text(Kind::OpenAi),
            r#"{"error":{"code":"BUDGET_EXCEEDED","message":"BUDGET_EXCEEDED: no","param":null,"type":"insufficient_quota"}}"#
        );
        assert_eq!(
            text(Kind::Gemini),
            r#"{"error":{"code":402,"details":[{"reason":"BUDGET_EXCEEDED"}],"message":"BUDGET_EXCEEDED: no","status":"FAILED_PRECONDITION"}}"#
        );
        assert_eq!(refusal.status, 402);
    }

    #[test]
    fn what_cannot_heal_is_not_retried() {
        for code in
            [Code::BudgetExceeded, Code::PriceUnknown, Code::Forbidden, Code::NotFound, Code::KeyMissing, Code::ReplayDiffers, Code::Usage]
        {
            let status = Refusal::new(code, "").status.as_u16();
            assert!((400..500).contains(&status) && ![408, 409, 429].contains(&status), "{code}");
        }
    }
}
