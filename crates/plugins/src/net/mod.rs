//! The way to hosts: through the proxy of the sandbox, with TLS that is checked against the system's authorities.

mod dial;
mod reply;
mod url;

pub use dial::NetError;
pub(crate) use dial::{BoxStream, Net};
pub(crate) use reply::{ANSWER, Ask, Reply};
pub(crate) use url::{Url, UrlError, encode_path, encode_query};
