//! `lazaret budget`.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use app::BudgetView;
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::{Context, config, lists};
use crate::args;
use crate::exit::Done;
use crate::home::Home;
use crate::out;

/// The longest file of prices.
const PRICES_BYTES_MAX: u64 = 4 << 20;
/// The file of the home that holds the owner's own prices.
const PRICES_FILE: &str = "prices.toml";

pub(super) async fn run(context: &Context, verb: args::Budget) -> Done {
    match verb {
        args::Budget::List => {
            let budgets: Vec<BudgetView> = lists::all(&context.client()?, "/v1/budgets").await?;
            if context.json {
                budgets.iter().try_for_each(out::json)?;
            } else {
                let row = |b: &BudgetView| {
                    let policy = b.policy.map(|p| json!(p).as_str().unwrap_or_default().to_owned()).unwrap_or_default();
                    vec![b.name.clone(), usd(b.limit_usd), usd(b.spent_usd), usd(b.left_usd), policy]
                };
                out::table(&["budget", "limit", "spent", "left", "policy"], &budgets.iter().map(row).collect::<Vec<_>>());
            }
        }
        args::Budget::Set { name, limit, policy } => {
            let form = json!({ "limit_usd": limit, "policy": policy });
            print(context, &context.client()?.json(Method::PUT, &at(&name)?, Some(&form)).await?)?;
        }
        args::Budget::Raise { name, by } => {
            let path = format!("{}/raise", at(&name)?);
            print(context, &context.client()?.json(Method::POST, &path, Some(&json!({ "by_usd": by }))).await?)?;
        }
        args::Budget::Remove { name } => {
            let _: Value = context.client()?.json(Method::DELETE, &at(&name)?, None).await?;
        }
        args::Budget::Prices { file } => prices(context, &file).await?,
    }
    Ok(0)
}

/// Checks a file of prices, keeps it in the home and lets the configuration name it.
async fn prices(context: &Context, file: &Path) -> Result<(), Failure> {
    let fail = |why: String| Failure::new(Code::ConfigInvalid, format!("the prices in {} cannot be used: {why}", file.display()));
    let mut text = String::new();
    let open = std::fs::File::open(file).map_err(|e| fail(e.to_string()))?;
    open.take(PRICES_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
    if text.len() as u64 > PRICES_BYTES_MAX {
        return Err(fail(format!("there are more than {PRICES_BYTES_MAX} bytes")));
    }
    gateway::Prices::load(Some(&text)).map_err(|e| fail(model::chain(&e)))?;
    let home = Home::open(&context.env.home)?;
    let (kept, fresh) = (home.path().join(PRICES_FILE), home.path().join("prices.toml.fresh"));
    let write = || -> std::io::Result<()> {
        let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&fresh, &kept)
    };
    write().map_err(|e| fail(e.to_string()))?;
    config::put(context, &home, "budget.prices", &kept.display().to_string()).await
}

fn print(context: &Context, budget: &BudgetView) -> Result<(), Failure> {
    if context.json {
        return out::json(budget);
    }
    out::line(&format!("{}: {} of {} spent, {} left", budget.name, usd(budget.spent_usd), usd(budget.limit_usd), usd(budget.left_usd)));
    Ok(())
}

fn usd(amount: f64) -> String {
    model::Money::from_usd(amount).map_or_else(|| format!("${amount}"), |money| money.to_string())
}

/// Where a budget is. Its name has a colon and perhaps an at sign, and nothing else that has a meaning in an address.
fn at(name: &str) -> Result<String, Failure> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'@');
    if !name.is_empty() && name.bytes().all(plain) {
        return Ok(format!("/v1/budgets/{name}"));
    }
    Err(Failure::new(Code::Usage, format!("`{}` is no name of a budget", name.escape_debug()))
        .hint("it is session:ID, job:ID, agent:NAME, tenant:NAME or all, and @day behind it for one that holds each day")
        .field("name"))
}
