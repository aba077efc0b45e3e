//! Lists of the API, page by page.

use http::Method;
use model::{Code, Failure};
use serde::de::DeserializeOwned;

use super::sandbox::escaped;
use crate::client::Client;

/// Entries that are asked for at once.
const PAGE_MAX: usize = 200;

#[derive(serde::Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Items<T> {
    items: Vec<T>,
    #[serde(default)]
    next: Option<String>,
}

/// The first `max` entries of a list. `path` may have a query.
pub(super) async fn list<T: DeserializeOwned>(client: &Client, path: &str, max: usize) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut after = String::new();
    while all.len() < max {
        let mark = if path.contains('?') { '&' } else { '?' };
        let limit = PAGE_MAX.min(max - all.len());
        let page: Items<T> = client.json(Method::GET, &format!("{path}{mark}limit={limit}{after}"), None).await?;
        let is_empty = page.items.is_empty();
        all.extend(page.items);
        match page.next {
            Some(next) if !is_empty => after = format!("&after={}", escaped(&next)),
            _ => break,
        }
    }
    Ok(all)
}

/// A whole list of the kind that has no pages.
pub(super) async fn all<T: DeserializeOwned>(client: &Client, path: &str) -> Result<Vec<T>, Failure> {
    Ok(client.json::<Items<T>>(Method::GET, path, None).await?.items)
}

/// A name that can stand in a path of the API.
pub(super) fn named<'a>(what: &str, name: &'a str) -> Result<&'a str, Failure> {
    if model::is_name(name) {
        Ok(name)
    } else {
        Err(Failure::new(Code::NotFound, format!("there is no {what} `{}`", name.escape_debug()))
            .hint("names have small letters, digits and hyphens"))
    }
}
