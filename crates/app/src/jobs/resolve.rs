//! From what is asked to what is run.

use std::time::Duration;

use model::{Failure, Money};

use super::{JobForm, ResolvedJob};
use crate::App;

/// Brings a form, its profile and the configuration together. The request beats the profile.
///
/// # Errors
/// The profile is missing or cannot be rendered with these variables, or there is no prompt.
pub(crate) async fn resolve(_app: &App, form: &JobForm) -> Result<ResolvedJob, Failure> {
    Ok(ResolvedJob {
        profile: form.profile.clone().unwrap_or_else(|| "default".to_owned()),
        engine: form.engine.clone(),
        model: form.model.clone(),
        prompt: form.prompt.clone().unwrap_or_default(),
        system_prompt: form.system_prompt.clone(),
        allowed_tools: form.allowed_tools.clone(),
        plugins: form.plugins.clone(),
        mcp_config: form.mcp_config.clone(),
        max_turns: form.max_turns,
        budget: form.max_budget_usd.and_then(Money::from_usd),
        output_format: form.output_format.unwrap_or_default(),
        timeout: form.timeout_s.map(Duration::from_secs),
        limits: form.limits,
        egress: form.egress.clone(),
        ..ResolvedJob::default()
    })
}
