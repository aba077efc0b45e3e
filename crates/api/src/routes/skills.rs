//! Skills that agents are given by name: looked at, approved by hash, removed. The owner alone, or who has a token that rules
//! the whole install: nothing here can be reached from inside a session.

use app::{SkillOrder, SkillReview, SkillVersionView, SkillView};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use model::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};
use crate::{Problem, files};

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);
const READ: Needs = Needs::Whole(app::Scope::Read);
const TAR: &str = "application/x-tar";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/skills", "Lists skills, those that ship too.", || get(list)).needs(READ).gives(200, page_of::<SkillView>),
    Operation::new(Post, "/v1/skills", "Puts the skill of the tar archive that is sent in force.", || post(put))
        .needs(ADMIN)
        .asks(of::<About>)
        .takes_bytes(TAR)
        .gives(201, of::<SkillView>),
    Operation::new(Post, "/v1/skill-reviews", "Looks at the skill of the tar archive that is sent; nothing changes.", || post(review))
        .needs(ADMIN)
        .asks(of::<About>)
        .takes_bytes(TAR)
        .gives(200, of::<SkillReview>),
    Operation::new(Post, "/v1/skill-clones", "Looks at a skill of a git repository, or with its hash puts it in force.", || post(cloned))
        .needs(ADMIN)
        .takes(of::<Clone>)
        .gives(200, of::<SkillReview>),
    Operation::new(Get, "/v1/skills/{name}", "Shows a skill, and whether its files are what was approved.", || get(show))
        .needs(READ)
        .gives(200, of::<SkillView>),
    Operation::new(Delete, "/v1/skills/{name}", "Forgets a skill that was added.", || delete(remove)).needs(ADMIN).asks(of::<Removal>),
    Operation::new(Get, "/v1/skills/{name}/versions", "Lists what was in force of a skill.", || get(versions))
        .needs(READ)
        .gives(200, page_of::<SkillVersionView>),
    Operation::new(Post, "/v1/skills/{name}/approve", "Approves a skill's files as they are in the home now, by their hash.", || {
        post(approve)
    })
    .needs(ADMIN)
    .takes(of::<Approval>)
    .gives(200, of::<SkillView>),
    Operation::new(Post, "/v1/skills/{name}/restore", "Puts a skill's files in the home back as they were approved.", || post(restore))
        .needs(ADMIN)
        .gives(200, of::<SkillView>),
];

/// What an archive is.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SkillArchive")]
struct About {
    /// Where it came from, for people and for a later update.
    source: Option<String>,
    /// The folder in it that is the skill; where it is the only one, it is found without.
    path: Option<String>,
    /// The skill that this is a new version of; a new one when missing.
    replaces: Option<String>,
    /// What was shown: `sha256:` and 64 digits. Needed where anything was found that a person should see.
    hash: Option<String>,
}

/// A skill of a repository.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SkillClone")]
struct Clone {
    /// The HTTPS address of a repository, with `#BRANCH` behind it where another than its usual one is meant.
    source: String,
    /// The folder in it that is the skill.
    path: Option<String>,
    /// The skill that this is a new version of; a new one when missing.
    replaces: Option<String>,
    /// What was shown. Without it, it is looked at only, and nothing changes.
    hash: Option<String>,
}

/// How a skill is removed.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SkillRemoval")]
struct Removal {
    /// Also when an agent has it, whose sessions will not begin any more.
    #[serde(default)]
    force: bool,
}

/// What is approved.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SkillApproval")]
struct Approval {
    /// The hash over the files that were looked at.
    hash: String,
}

impl About {
    fn order(self) -> SkillOrder {
        let source = self.source.unwrap_or_else(|| "archive".to_owned());
        SkillOrder { source, path: self.path, replaces: self.replaces, hash: self.hash }
    }
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.skills().list().await?, "next": null })))
}

async fn show(State(api): State<Api>, At(name): At<String>) -> Result<Json<SkillView>, Problem> {
    Ok(Json(api.app.skills().show(&name).await?))
}

async fn versions(State(api): State<Api>, At(name): At<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.skills().versions(&name).await?, "next": null })))
}

async fn review(State(api): State<Api>, Asked(about): Asked<About>, body: Body) -> Result<Json<SkillReview>, Problem> {
    Ok(Json(api.app.skills().review(&about.order(), files::reader(body)).await?))
}

async fn put(State(api): State<Api>, who: Identity, Asked(about): Asked<About>, body: Body) -> Result<Response, Problem> {
    let order = about.order();
    noted(&api, &who, &order).await?;
    let view = api.app.skills().put(order, &who.actor, files::reader(body)).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

async fn cloned(State(api): State<Api>, who: Identity, Form(form): Form<Clone>) -> Result<Response, Problem> {
    let order = SkillOrder { source: form.source, path: form.path, replaces: form.replaces, hash: form.hash };
    noted(&api, &who, &order).await?;
    if order.hash.is_none() {
        return Ok(Json(api.app.skills().review_git(order).await?).into_response());
    }
    let view = api.app.skills().put_git(order, &who.actor).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// Keeps in the audit that somebody wants a skill in force, before anything of it is looked at.
async fn noted(api: &Api, who: &Identity, order: &SkillOrder) -> Result<(), Failure> {
    let detail = json!({ "source": order.source, "path": order.path, "replaces": order.replaces, "hash": order.hash });
    api.app.audit_change(&who.actor, "skill.put", detail).await
}

async fn remove(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Asked(removal): Asked<Removal>,
) -> Result<Json<Value>, Problem> {
    api.app.audit_change(&who.actor, "skill.remove", json!({ "name": name, "force": removal.force })).await?;
    api.app.skills().remove(&name, removal.force).await?;
    Ok(Json(json!({ "name": name })))
}

async fn approve(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Form(form): Form<Approval>,
) -> Result<Json<SkillView>, Problem> {
    api.app.audit_change(&who.actor, "skill.approve", json!({ "name": name, "hash": form.hash })).await?;
    Ok(Json(api.app.skills().approve(&name, &form.hash, &who.actor).await?))
}

async fn restore(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<SkillView>, Problem> {
    api.app.audit_change(&who.actor, "skill.restore", json!({ "name": name })).await?;
    Ok(Json(api.app.skills().restore(&name).await?))
}
