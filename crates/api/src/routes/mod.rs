//! The routes, a file per resource.

mod daemon;
mod engines;
mod sandboxes;
mod secrets;
mod sessions;
mod ui;
mod usage;

use app::App;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;

use crate::{Logins, Tickets};

/// What every route works on.
#[derive(Clone)]
pub struct Api {
    /// The use cases.
    pub app: App,
    /// Descriptors that clients handed over. The TCP listener has a set of its own that stays empty.
    pub tickets: Tickets,
    /// Codes and tokens of browsers; shared by all listeners.
    pub logins: Logins,
    /// The address of the HTTP port, where there is one.
    pub listen: Option<String>,
}

/// The longest body of a request that is read whole: a prompt in JSON, where each byte may take six.
const BODY_BYTES_MAX: usize = 6 * model::PROMPT_BYTES_MAX + (1 << 20);

/// Every route.
pub fn router(api: Api) -> Router {
    Router::new()
        .merge(daemon::routes())
        .merge(engines::routes())
        .merge(sandboxes::routes())
        .merge(secrets::routes())
        .merge(sessions::routes())
        .merge(ui::routes())
        .merge(usage::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), busy))
        .with_state(api)
}

/// Routes that only look at the daemon: to be looked at is no work, so a watcher does not keep an idle daemon up.
const LOOKS: &[&str] = &["/health", "/ready", "/v1/status"];

/// Tells the daemon that somebody is there, so that it does not end as idle.
async fn busy(State(api): State<Api>, request: Request, next: Next) -> Response {
    let _busy = (!LOOKS.contains(&request.uri().path())).then(|| api.app.busy());
    next.run(request).await
}
