//! What an agent does about agents: makes another one, and reads or changes its own instructions.

use futures_util::FutureExt as _;
use model::{Code, Failure, Risk};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Doing, OwnTool, Set, read, wrong};
use crate::{AgentForm, OWN_TENANT, SelfPolicy, now};

/// The tool by which an agent changes its own instructions.
pub(crate) const SET_INSTRUCTIONS: &str = "set_instructions";
/// Characters of instructions.
const INSTRUCTIONS_CHARS_MAX: usize = 32_000;

pub(super) const CREATE: OwnTool = OwnTool {
    name: "create_agent",
    about: "Makes another agent, with instructions of its own and no more rights than you have, and a destination for each of you to reach the \
            other: send_message speaks to it. A person is asked before.",
    risk: Risk::High,
    set: Set::Named,
    asks: false,
    schema: || {
        let name = json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$" });
        let instructions = json!({ "type": "string", "minLength": 1, "maxLength": INSTRUCTIONS_CHARS_MAX });
        let tools = json!({ "type": "array", "maxItems": 100, "items": { "type": "string", "minLength": 1, "maxLength": 64 }, "description": "Of yours; all that you have without being named when left out." });
        (&["name", "instructions"], json!({ "name": name, "instructions": instructions, "tools": tools }))
    },
    call: |doing| create(doing).boxed(),
};

pub(super) const GET: OwnTool = OwnTool {
    name: "get_instructions",
    about: "Shows your standing instructions.",
    risk: Risk::Low,
    set: Set::Named,
    asks: false,
    schema: || (&[], json!({})),
    call: |doing| get(doing).boxed(),
};

pub(super) const SET: OwnTool = OwnTool {
    name: SET_INSTRUCTIONS,
    about: "Replaces your standing instructions, whole, for who answers for you. A person is asked before, unless that was left to you; they \
            hold from the next conversation on.",
    risk: Risk::High,
    set: Set::Named,
    asks: false,
    schema: || {
        let text = json!({ "type": "string", "maxLength": INSTRUCTIONS_CHARS_MAX });
        (&["instructions"], json!({ "instructions": text }))
    },
    call: |doing| set(doing).boxed(),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateArgs {
    name: String,
    instructions: String,
    #[serde(default)]
    tools: Vec<String>,
}

/// Agents are everybody's: what one tenant's people say does not change them.
fn must_be_own(doing: &Doing) -> Result<(), Failure> {
    if doing.caller.tenant == OWN_TENANT {
        return Ok(());
    }
    Err(Failure::new(Code::Forbidden, "agents are changed in the tenant of the owner only"))
}

async fn create(doing: &Doing) -> Result<Value, Failure> {
    let args: CreateArgs = read(&doing.arguments)?;
    must_be_own(doing)?;
    let (app, caller) = (&doing.app, &doing.caller);
    let maker = app.agents().show(&caller.agent).await?;
    let visible = app.broker().catalogue().visible(caller);
    if let Some(more) = args.tools.iter().find(|name| !visible.iter().any(|tool| tool.name == **name)) {
        return Err(Failure::new(Code::Forbidden, format!("you may not call {}, so what you make may not", more.escape_debug())));
    }
    let form = AgentForm {
        name: args.name,
        group: maker.group,
        instructions: args.instructions,
        engine: maker.engine,
        model: maker.model,
        tools: if args.tools.is_empty() { maker.tools } else { args.tools },
        member_tools: maker.member_tools,
        instructions_policy: maker.instructions_policy,
        memory_policy: maker.memory_policy,
        limits: maker.limits,
        ..AgentForm::default()
    };
    let (form, body) = app.agents().checked(form).await?;
    let made = app.store().make_agent_of(&caller.tenant, &caller.agent, &form.name, body, now()).await;
    let (row, parent, to) = made.map_err(|e| e.failure())?;
    model::crash::point("tool:agent-made");
    let detail = json!({ "name": row.name, "maker": caller.agent });
    app.audit_change(&caller.actor(), "agent.create", detail).await?;
    Ok(json!({ "agent": row.name, "send_to": to, "it_calls_you": parent }))
}

async fn get(doing: &Doing) -> Result<Value, Failure> {
    let agent = doing.app.agents().show(&doing.caller.agent).await?;
    Ok(json!({ "agent": agent.name, "instructions": agent.instructions }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetArgs {
    instructions: String,
}

async fn set(doing: &Doing) -> Result<Value, Failure> {
    let args: SetArgs = read(&doing.arguments)?;
    must_be_own(doing)?;
    if args.instructions.contains('\0') {
        return Err(wrong("the instructions hold a NUL"));
    }
    let agents = doing.app.agents();
    let agent = agents.show(&doing.caller.agent).await?;
    if agent.instructions_policy == SelfPolicy::Off {
        return Err(Failure::new(Code::Forbidden, format!("{} does not change its own instructions: its owner said so", agent.name)));
    }
    let form = AgentForm { instructions: args.instructions, ..agent };
    let (form, body) = agents.checked(form).await?;
    doing.app.store().put_agent(&form.name, body, now(), false).await.map_err(|e| e.failure())?;
    model::crash::point("tool:instructions-set");
    doing.app.pool().changed();
    let detail = json!({ "name": form.name, "field": "instructions", "bytes": form.instructions.len() });
    doing.app.audit_change(&doing.caller.actor(), "agent.change", detail).await?;
    Ok(json!({ "agent": form.name, "note": "they hold from the next conversation on" }))
}
