//! What the gateway is told: providers, limits, files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The configuration of the gateway. [`Config::default`] knows the three providers of [`WELL_KNOWN`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Providers by name; an entry of a well-known name need only say what differs.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// A file of prices that is looked at before the built-in one.
    pub prices: Option<PathBuf>,
    /// A file of PEM certificates that are trusted beside the machine's own.
    pub ca_file: Option<PathBuf>,
    /// What happens to a model without a price when a budget is set.
    pub unpriced: Unpriced,
    /// Whether a request may ask the provider to reach the network on the caller's behalf.
    pub remote: Remote,
    /// Sizes, counts and times. Not a table of the file: a user has no reason to touch them.
    #[serde(skip)]
    pub limits: Limits,
}

/// One provider. Everything may be left out for a well-known name; another name needs `base_url`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderConfig {
    /// The API that it speaks. Default: by name, else OpenAI.
    pub kind: Option<Kind>,
    /// `http://` or `https://`, a host, a port and a path prefix. No query, no user.
    pub base_url: Option<String>,
    /// How the key is sent.
    pub auth: Auth,
    /// Whether it works without a key (Ollama, vLLM on the own machine).
    pub keyless: bool,
    /// Whether every model costs nothing, whatever the price file says.
    pub free: bool,
    /// Headers that are added to each request, for example an account. Never credentials: this file is not secret.
    pub headers: BTreeMap<String, String>,
}

/// The API family of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Messages, count_tokens, models.
    Anthropic,
    /// Chat completions, Responses, models.
    OpenAi,
    /// generateContent, streamGenerateContent, countTokens, models.
    Gemini,
}

/// How the host's key travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// By the key's prefix: an OAuth token as bearer, anything else as the provider's key header.
    #[default]
    Auto,
    /// As the provider's key header.
    Key,
    /// As `Authorization: Bearer`, with what the provider needs beside it.
    Bearer,
}

/// What happens to a model without a price when a budget is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unpriced {
    /// The call is refused: no budget can hold.
    #[default]
    Deny,
    /// The call passes and counts as nothing.
    Allow,
}

/// Whether the provider's own network tools may be used (search, fetch, remote MCP servers, content by URL).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remote {
    /// Search tools are taken out of a request; anything that names an address refuses it. The sandbox's network
    /// policy would otherwise be got round through the provider.
    #[default]
    Deny,
    /// They pass.
    Allow,
}

/// A provider that needs no configuration but a key.
pub struct WellKnown {
    /// Its name, also that of its secret.
    pub name: &'static str,
    /// What it speaks.
    pub kind: Kind,
    /// Where it is.
    pub base_url: &'static str,
}

/// The providers that every configuration has.
pub const WELL_KNOWN: &[WellKnown] = &[
    WellKnown { name: "anthropic", kind: Kind::Anthropic, base_url: "https://api.anthropic.com" },
    WellKnown { name: "openai", kind: Kind::OpenAi, base_url: "https://api.openai.com/v1" },
    WellKnown { name: "gemini", kind: Kind::Gemini, base_url: "https://generativelanguage.googleapis.com" },
];

/// The name of the scripted provider. It needs neither key nor configuration and cannot be redefined.
pub const REHEARSAL: &str = "rehearsal";

/// Every limit of the gateway. At each of them a request is refused or a stream is cut, with a code.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one request body.
    pub request_bytes: usize,
    /// Bytes of all request bodies held at once.
    pub buffered_bytes: usize,
    /// Bytes of one response.
    pub response_bytes: u64,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Requests under way in the whole gateway.
    pub in_flight: usize,
    /// Requests under way for one turn.
    pub in_flight_per_turn: usize,
    /// Turns whose totals are kept.
    pub turns: usize,
    /// Time for a caller to send a request's head, counted from the end of the last response.
    pub head_time: Duration,
    /// Time between two pieces of a request body.
    pub body_idle: Duration,
    /// Time that a caller may take none of a response that waits for it.
    pub write_idle: Duration,
    /// Time to connect to a provider, TLS included.
    pub connect: Duration,
    /// Time from the request's last byte to the response's head.
    pub first_byte: Duration,
    /// The same, and to its first piece, where another provider can be asked.
    pub first_byte_of_many: Duration,
    /// Time between two pieces of a response.
    pub idle: Duration,
    /// Time of one whole exchange.
    pub total: Duration,
    /// Time that a request waits for others to settle when the budget is all reserved.
    pub budget_wait: Duration,
    /// Rows of the ledger that may wait to be committed; also the most that are lost by a crash.
    pub ledger_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 128 << 20,
            buffered_bytes: 512 << 20,
            response_bytes: 256 << 20,
            head_bytes: 64 << 10,
            in_flight: 4096,
            in_flight_per_turn: 256,
            turns: 100_000,
            head_time: Duration::from_secs(75),
            body_idle: Duration::from_secs(30),
            write_idle: Duration::from_secs(120),
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(600),
            first_byte_of_many: Duration::from_secs(120),
            idle: Duration::from_secs(300),
            total: Duration::from_secs(3600),
            budget_wait: Duration::from_secs(120),
            ledger_rows: 4096,
        }
    }
}
