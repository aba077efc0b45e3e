//! `lazaret usage`.

use http::Method;
use serde_json::Value;

use super::Context;
use crate::exit::Done;
use crate::out;

pub(super) async fn run(context: &Context, by: &str) -> Done {
    let answer: Value = context.client()?.json(Method::GET, &format!("/v1/usage?by={by}"), None).await?;
    let empty = Vec::new();
    let items = answer["items"].as_array().unwrap_or(&empty);
    if !context.json {
        out::line(&format!("{:<44} {:>8} {:>12} {:>12} {:>14}", by, "calls", "in", "out", "cost"));
    }
    for item in items {
        if context.json {
            out::json(item)?;
            continue;
        }
        let n = |pointer: &str| item.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let input = n("/usage/input_tokens") + n("/usage/cache_read_tokens") + n("/usage/cache_write_tokens");
        let cost = model::Money(n("/cost"));
        let key = crate::exit::clean(item["key"].as_str().unwrap_or(""));
        out::line(&format!("{key:<44} {:>8} {input:>12} {:>12} {:>14}", n("/calls"), n("/usage/output_tokens"), cost.to_string()));
    }
    Ok(0)
}
