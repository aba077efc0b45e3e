//! `lazaret user`.

use app::MemberView;
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::{Context, lists, sandbox};
use crate::args;
use crate::exit::Done;
use crate::out;

pub(super) async fn run(context: &Context, verb: args::User) -> Done {
    let client = context.client()?;
    match verb {
        args::User::Add { email, role, tenant } => {
            let form = json!({ "email": email, "role": role, "tenant": tenant });
            let made: MemberView = client.json(Method::PUT, "/v1/users", Some(&form)).await?;
            if context.json {
                out::json(&made)?;
            } else {
                out::line(&format!("{}  {}  {}  {}", made.id, made.tenant, made.role.as_str(), made.email));
            }
        }
        args::User::List { tenant } => {
            let mut people: Vec<MemberView> = lists::all(&client, "/v1/users").await?;
            people.retain(|one| tenant.as_ref().is_none_or(|name| *name == one.tenant));
            if context.json {
                people.iter().try_for_each(out::json)?;
            } else {
                let row = |one: &MemberView| {
                    let how = if one.by_rule { "by rule" } else { "by hand" };
                    vec![one.id.to_string(), one.tenant.clone(), one.role.as_str().to_owned(), how.to_owned(), one.email.clone()]
                };
                out::table(&["user", "tenant", "role", "given", "address"], &people.iter().map(row).collect::<Vec<_>>());
            }
        }
        args::User::Remove { user, tenant } => {
            if !model::is_name(&tenant) {
                return Err(Failure::new(Code::Usage, "a tenant's name has small letters, digits and `-`").field("--tenant"));
            }
            let id = if user.starts_with("usr_") { user } else { identity(&lists::all(&client, "/v1/users").await?, &user, &tenant)? };
            let path = format!("/v1/users/{}?tenant={tenant}", sandbox::plain(&id)?);
            let _: Value = client.json(Method::DELETE, &path, None).await?;
        }
    }
    Ok(0)
}

/// Who has this address in a tenant.
fn identity(people: &[MemberView], email: &str, tenant: &str) -> Result<String, Failure> {
    let found = people.iter().find(|one| one.tenant == tenant && one.email.eq_ignore_ascii_case(email));
    let missing = || Failure::new(Code::NotFound, format!("nobody in `{tenant}` has the address `{}`", email.escape_debug()));
    found.map(|one| one.id.to_string()).ok_or_else(missing)
}
