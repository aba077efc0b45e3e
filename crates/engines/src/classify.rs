//! Which code an engine's words about a failure mean.

use model::Code;

/// Codes that the gateway writes into the body of a refusal and engines repeat in their messages.
const SPOKEN: &[Code] = &[
    Code::BudgetExceeded,
    Code::TurnLimit,
    Code::PriceUnknown,
    Code::KeyMissing,
    Code::CredentialExpired,
    Code::ProviderLimited,
    Code::ProviderDown,
    Code::ProviderError,
    Code::StreamCut,
    Code::ReplayDiffers,
    Code::TapeInvalid,
    Code::Busy,
    Code::Forbidden,
];

/// Words of engines and providers, lower case, first match counts.
const WORDS: &[(&str, Code)] = &[
    ("credit balance is too low", Code::ProviderLimited),
    ("authentication_error", Code::CredentialExpired),
    ("invalid x-api-key", Code::CredentialExpired),
    ("invalid api key", Code::CredentialExpired),
    ("api key not valid", Code::CredentialExpired),
    ("unauthorized", Code::CredentialExpired),
    ("not logged in", Code::CredentialExpired),
    ("rate_limit", Code::ProviderLimited),
    ("rate limit", Code::ProviderLimited),
    ("too many requests", Code::ProviderLimited),
    ("resource_exhausted", Code::ProviderLimited),
    ("overloaded", Code::ProviderLimited),
    ("exceeded retry limit", Code::ProviderError),
    ("econnrefused", Code::ProviderDown),
    ("connection refused", Code::ProviderDown),
    ("unable to connect", Code::ProviderDown),
    ("connection error", Code::ProviderDown),
    ("error sending request", Code::ProviderDown),
    ("fetch failed", Code::ProviderDown),
    ("service unavailable", Code::ProviderDown),
    ("bad gateway", Code::ProviderDown),
    ("gateway timeout", Code::ProviderDown),
    ("stream disconnected", Code::StreamCut),
    ("stream closed before", Code::StreamCut),
    ("was cut", Code::StreamCut),
    ("without a finish reason", Code::StreamCut),
    ("connection lost mid-response", Code::StreamCut),
    ("connection dropped", Code::StreamCut),
    ("socket connection was closed", Code::StreamCut),
    ("socket hang up", Code::StreamCut),
    ("econnreset", Code::StreamCut),
    ("connection reset", Code::StreamCut),
    ("cannot connect to api", Code::ProviderDown),
    ("internal server error", Code::ProviderError),
    ("server_error", Code::ProviderError),
    ("experiencing high demand", Code::ProviderError),
    ("api error", Code::ProviderError),
];

/// Words before the digits of an HTTP status.
const BEFORE_STATUS: &[&str] =
    &["api error: ", "unexpected status ", "last status: ", "status ", "status: ", "status code ", "statuscode\":", "\"code\":", "http "];

/// How many bytes of a message are looked at.
const LOOKED_AT_BYTES_MAX: usize = 16 << 10;

/// The code of a failure, from the HTTP status if the engine tells it, and from its words.
pub(crate) fn code_of(status: Option<u16>, message: &str) -> Code {
    let message = &message[..message.floor_char_boundary(LOOKED_AT_BYTES_MAX)];
    if let Some(code) = SPOKEN.iter().find(|code| has_word(message, code.as_str())) {
        return *code;
    }
    let lower = message.to_ascii_lowercase();
    let status = status.or_else(|| status_in(&lower));
    if let Some(code) = status.and_then(of_status) {
        return code;
    }
    WORDS.iter().find(|(word, _)| lower.contains(word)).map_or(Code::EngineFailed, |(_, code)| *code)
}

/// What an HTTP status of a provider means; `None` for those that are no failure.
fn of_status(status: u16) -> Option<Code> {
    match status {
        401 => Some(Code::CredentialExpired),
        429 | 529 => Some(Code::ProviderLimited),
        502..=504 => Some(Code::ProviderDown),
        400..=599 => Some(Code::ProviderError),
        _ => None,
    }
}

/// An HTTP status of failure that follows one of [`BEFORE_STATUS`]. `lower` is in lower case.
fn status_in(lower: &str) -> Option<u16> {
    BEFORE_STATUS.iter().find_map(|before| {
        lower.match_indices(before).find_map(|(at, _)| {
            let rest = lower[at + before.len()..].trim_start();
            let digits: &str = &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()];
            digits.parse::<u16>().ok().filter(|n| digits.len() == 3 && (400..600).contains(n))
        })
    })
}

/// Whether `word` stands in `text` with no letter, digit or underscore beside it.
fn has_word(text: &str, word: &str) -> bool {
    let joined = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = text.as_bytes();
    text.match_indices(word).any(|(at, _)| !joined(at.checked_sub(1).and_then(|i| bytes.get(i))) && !joined(bytes.get(at + word.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_words_have_codes() {
        let check = |status, text: &str, expect: Code| assert_eq!(code_of(status, text), expect, "{text}");
        check(Some(401), "", Code::CredentialExpired);
        check(None, "API Error: 401 {\"type\":\"error\"}", Code::CredentialExpired);
        check(None, "exceeded retry limit, last status: 429 Too Many Requests", Code::ProviderLimited);
        check(None, "unexpected status 500 Internal Server Error", Code::ProviderError);
        check(Some(503), "x", Code::ProviderDown);
        check(None, "connect ECONNREFUSED 127.0.0.1:1", Code::ProviderDown);
        check(Some(402), "{\"error\":{\"code\":\"BUDGET_EXCEEDED\"}}", Code::BudgetExceeded);
        check(Some(429), "NOT_BUDGET_EXCEEDED", Code::ProviderLimited);
        check(None, "status 40100", Code::EngineFailed);
        check(None, "segmentation fault", Code::EngineFailed);
    }
}
