//! `lazaret token`.

use app::{TokenForm, TokenView};
use http::Method;
use model::{Code, Failure, parse_duration};
use serde_json::{Value, json};

use super::{Context, lists, sandbox};
use crate::args;
use crate::client::Client;
use crate::exit::Done;
use crate::out;

pub(super) async fn run(context: &Context, verb: args::Token) -> Done {
    let client = context.client()?;
    match verb {
        args::Token::Add { name, scope, tenant, expires } => {
            let form = TokenForm {
                name,
                scope: scope.join(" ").parse().map_err(|f: Failure| Failure { field: Some("--scope".to_owned()), ..f })?,
                tenant,
                expires_s: expires.as_deref().map(seconds).transpose()?,
            };
            let made: TokenView = client.json(Method::POST, "/v1/tokens", Some(&json!(form))).await?;
            if context.json {
                out::json(&made)?;
            } else {
                out::line(made.token.as_deref().unwrap_or_default());
                out::note(&format!("{}: it is not shown again", made.id));
            }
        }
        args::Token::List => list(context, &client).await?,
        args::Token::Revoke { token } => {
            let id = identity(&client, &token).await?;
            let _: Value = client.json(Method::DELETE, &format!("/v1/tokens/{}", sandbox::plain(&id)?), None).await?;
        }
    }
    Ok(0)
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let tokens: Vec<TokenView> = lists::all(client, "/v1/tokens").await?;
    if context.json {
        return tokens.iter().try_for_each(out::json);
    }
    let row = |token: &TokenView| {
        let state = match (token.revoked, token.expires) {
            (Some(_), _) => "revoked".to_owned(),
            (None, Some(end)) if end <= app::now() => "expired".to_owned(),
            (None, Some(end)) => format!("{} h left", end.0.saturating_sub(app::now().0) / 3_600_000),
            (None, None) => "good".to_owned(),
        };
        vec![token.id.to_string(), token.scope.to_string(), token.tenant.clone().unwrap_or_default(), state, token.name.clone()]
    };
    out::table(&["token", "scope", "tenant", "state", "name"], &tokens.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// The identity of a token that is named by it, or by its name when only one good token has that.
async fn identity(client: &Client, token: &str) -> Result<String, Failure> {
    if token.starts_with("tok_") {
        return Ok(token.to_owned());
    }
    let tokens: Vec<TokenView> = lists::all(client, "/v1/tokens").await?;
    let mut found = tokens.iter().filter(|t| t.name == token && t.revoked.is_none());
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.id.to_string()),
        (None, _) => Err(Failure::new(Code::NotFound, format!("there is no token `{}`", token.escape_debug()))),
        (Some(_), Some(_)) => {
            Err(Failure::new(Code::Conflict, format!("several tokens are called `{}`", token.escape_debug()))
                .hint("name it by its identity"))
        }
    }
}

fn seconds(text: &str) -> Result<u64, Failure> {
    let time = parse_duration(text).filter(|time| time.as_secs() > 0);
    time.map(|time| time.as_secs()).ok_or_else(|| {
        Failure::new(Code::Usage, format!("--expires: `{}` is not a time like 12h or 30d", text.escape_debug())).field("--expires")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time() {
        assert_eq!(seconds("30d").expect("a time"), 30 * 86_400);
        for bad in ["0s", "5", "soon", "10ms"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
