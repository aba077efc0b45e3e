//! The routes, a file per resource.

mod agents;
mod approvals;
mod audit;
mod bound;
mod branch_changes;
mod branches;
mod budgets;
mod card;
mod carry;
mod channels;
mod chats;
mod daemon;
mod docs;
mod engines;
mod env_files;
mod envs;
mod events;
mod exposed;
mod heard;
mod history;
mod hooks;
mod job_events;
mod jobs;
mod logins;
mod memory;
mod merge_queues;
mod metrics;
mod oidc;
mod people;
mod plugins;
mod profiles;
mod providers;
mod sandboxes;
mod secrets;
mod sessions;
mod setup;
mod skills;
mod tapes;
mod tasks;
mod tenants;
mod terminals;
mod tokens;
mod tools;
mod ui;
mod usage;
mod users;
mod web;
mod webhooks;

pub(crate) use env_files::{Place, download, upload};
pub(crate) use jobs::{WAIT_S, WAIT_S_MAX, is_over};
pub(crate) use profiles::note as note_config;
pub(crate) use sessions::idempotency_key;

use app::App;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use model::{Code, Failure};

use crate::BasePath;
use crate::auth::{self, Identity};
use crate::job_form::Long;
use crate::operation::Operation;
use crate::stream::Streams;
use crate::{Logins, Problem, Rates, Tickets, problem, seed};

/// What every route works on.
#[derive(Clone)]
pub struct Api {
    /// The use cases.
    pub app: App,
    /// Descriptors that clients handed over. The TCP listener has a set of its own that stays empty.
    pub tickets: Tickets,
    /// Codes and tokens of browsers; shared by all listeners.
    pub logins: Logins,
    /// How much of everything was asked lately; shared by all listeners.
    pub rates: Rates,
    /// The path below which the HTTP port answers.
    pub base: BasePath,
    /// The address of the HTTP port, where there is one.
    pub listen: Option<String>,
}

/// Every route, resource by resource, in the order of the API document.
pub(crate) const ALL: &[(&str, &[Operation])] = &[
    ("sessions", sessions::OPERATIONS),
    ("events", events::OPERATIONS),
    ("history", history::OPERATIONS),
    ("terminals", terminals::OPERATIONS),
    ("jobs", jobs::OPERATIONS),
    ("job events", job_events::OPERATIONS),
    ("tapes", tapes::OPERATIONS),
    ("envs", envs::OPERATIONS),
    ("files", env_files::OPERATIONS),
    ("agents", agents::OPERATIONS),
    ("branches", branches::OPERATIONS),
    ("branch changes", branch_changes::OPERATIONS),
    ("merge queues", merge_queues::OPERATIONS),
    ("approvals", approvals::OPERATIONS),
    ("audit", audit::OPERATIONS),
    ("tools", tools::OPERATIONS),
    ("plugins", plugins::OPERATIONS),
    ("skills", skills::OPERATIONS),
    ("logins", logins::OPERATIONS),
    ("memory", memory::OPERATIONS),
    ("tokens", tokens::OPERATIONS),
    ("tenants", tenants::OPERATIONS),
    ("users", users::OPERATIONS),
    ("sandboxes", sandboxes::OPERATIONS),
    ("engines", engines::OPERATIONS),
    ("profiles", profiles::OPERATIONS),
    ("providers", providers::OPERATIONS),
    ("secrets", secrets::OPERATIONS),
    ("bound", bound::OPERATIONS),
    ("exposed", exposed::OPERATIONS),
    ("budgets", budgets::OPERATIONS),
    ("usage", usage::OPERATIONS),
    ("tasks", tasks::OPERATIONS),
    ("webhooks", webhooks::OPERATIONS),
    ("channels", channels::OPERATIONS),
    ("chats", chats::OPERATIONS),
    ("people", people::OPERATIONS),
    ("conversations", web::OPERATIONS),
    ("conversations on terminals", web::TERMINAL),
    ("heard", heard::OPERATIONS),
    ("hooks", hooks::OPERATIONS),
    ("setup", setup::OPERATIONS),
    ("export", carry::OPERATIONS),
    ("metrics", metrics::OPERATIONS),
    ("daemon", daemon::OPERATIONS),
    ("card", card::OPERATIONS),
    ("page", ui::OPERATIONS),
    ("login", oidc::OPERATIONS),
    ("docs", docs::OPERATIONS),
    ("chat", seed::CHAT),
    ("containers", seed::CONTAINERS),
    ("container files", seed::CONTAINER_FILES),
    ("jobs of the seed", seed::JOBS),
    ("configs", seed::CONFIGS),
];

/// Resources whose rights are those of another one.
const AREAS: &[(&str, &str)] = &[
    ("events", "sessions"),
    ("branch changes", "branches"),
    ("merge queues", "branches"),
    ("history", "sessions"),
    ("terminals", "sessions"),
    ("tapes", "sessions"),
    ("chat", "sessions"),
    ("files", "envs"),
    ("containers", "envs"),
    ("container files", "envs"),
    ("job events", "jobs"),
    ("jobs of the seed", "jobs"),
    ("logins", "plugins"),
    ("skills", "plugins"),
    ("bound", "secrets"),
    ("providers", "secrets"),
    ("exposed", "secrets"),
    ("configs", "profiles"),
    ("channels", "chats"),
    ("conversations", "chats"),
    ("conversations on terminals", "chats"),
    ("heard", "chats"),
    ("people", "users"),
    ("hooks", "chats"),
    ("setup", "daemon"),
    ("export", "daemon"),
    ("card", "daemon"),
    ("page", "daemon"),
    ("login", "daemon"),
    ("docs", "daemon"),
];

/// The area that a token's rights to a resource are named by.
pub(crate) fn area_of(tag: &'static str) -> &'static str {
    AREAS.iter().find(|(own, _)| *own == tag).map_or(tag, |(_, area)| area)
}

/// Every route.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for (area, operation) in ALL.iter().flat_map(|(tag, operations)| operations.iter().map(|o| (area_of(tag), o))) {
        let needs = operation.needs;
        let guarded = (operation.handler)()
            .route_layer(DefaultBodyLimit::max(operation.body_bytes_max))
            .route_layer(middleware::from_fn(move |request: Request, next: Next| auth::guard(area, needs, request, next)));
        router = router.route(operation.path, guarded);
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(Extension(Streams::default()))
        .layer(Extension(Long::default()))
        .layer(middleware::from_fn_with_state(api.clone(), busy))
        .layer(middleware::from_fn_with_state(api.clone(), auth::identify))
        .layer(middleware::from_fn(problem::finish))
        .with_state(api)
}

async fn unknown(who: Option<Identity>, uri: Uri) -> Problem {
    if let Err(failure) = auth::known(who.as_ref()) {
        return failure.into();
    }
    let path: String = uri.path().chars().take(128).collect();
    Failure::new(Code::NotFound, format!("there is nothing at {path}")).hint("see /docs for what there is").into()
}

async fn wrong_method(who: Option<Identity>, method: Method) -> Problem {
    if let Err(failure) = auth::known(who.as_ref()) {
        return failure.into();
    }
    let failure = Failure::new(Code::Usage, format!("this address does not take {method}")).hint("see /docs for what it takes");
    Problem::with_status(failure, StatusCode::METHOD_NOT_ALLOWED)
}

/// Routes that only look at the daemon: to be looked at is no work, so a watcher does not keep an idle daemon up.
const LOOKS: &[&str] = &["/health", "/ready", "/metrics", "/v1/status", "/v1/pool", "/v1/plugin-logins", "/v1/notices"];

/// Tells the daemon that somebody is there, so that it does not end as idle.
async fn busy(State(api): State<Api>, request: Request, next: Next) -> Response {
    let _busy = (!LOOKS.contains(&request.uri().path())).then(|| api.app.busy());
    next.run(request).await
}
