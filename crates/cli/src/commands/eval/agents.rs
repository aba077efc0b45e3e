//! The agents of cells: one with the skill and one without, and neither has anything else.

use app::AgentForm;
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::begin::again;
use super::suite::hex;
use crate::client::Client;

/// Hexadecimal digits of a skill's hash that make the name of its agent.
const NAME_DIGITS: usize = 12;

/// The agent for cells: with this skill as its standing instructions, or with none. It has no tool, host, secret or memory.
pub(super) async fn agent(client: &Client, skill: Option<&str>) -> Result<String, Failure> {
    let instructions = skill.unwrap_or_default().to_owned();
    let name = match skill {
        Some(text) => format!("eval-{}", &hex(&Sha256::digest(text))[..NAME_DIGITS]),
        None => "eval-plain".to_owned(),
    };
    let form = AgentForm { name: name.clone(), group: "eval".to_owned(), instructions, ..AgentForm::default() };
    let made = again(async || client.json::<AgentForm>(Method::POST, "/v1/agents", Some(&json!(form))).await).await;
    match made {
        Ok(_) => Ok(name),
        Err(failure) if failure.code == Code::Conflict => {
            let there: AgentForm = client.json(Method::GET, &format!("/v1/agents/{name}"), None).await?;
            if there == form {
                return Ok(name);
            }
            Err(Failure::new(Code::Conflict, format!("the agent {name} was changed, and an eval wants it as it made it"))
                .hint(format!("remove it: lazaret agent remove {name}")))
        }
        Err(failure) => Err(failure),
    }
}

/// Forgets an agent that no session is with any more.
pub(super) async fn forget(client: &Client, name: &str) {
    // Another run may need it just now; then it stays.
    let _ = client.json::<Value>(Method::DELETE, &format!("/v1/agents/{name}"), None).await;
}
