//! `lazaret doctor`: what holds on this host and what does not, each with what to do.
//!
//! Each check is `{label, status, detail, fix}` with a status of `pass`, `warn` or `fail`. A warning is something that an owner
//! may want so; any failure makes the exit status 1. Nothing is changed and no daemon is started, except with `--live`.

mod daemon;
mod egress;
mod house;
mod machine;
mod prove;

use serde::Serialize;

use super::Context;
use crate::args;
use crate::config::Config;
use crate::exit::Done;
use crate::home::Home;
use crate::out;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pass,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    /// What.
    label: String,
    /// How it is.
    status: Status,
    /// What was found.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn pass(label: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { label: label.into(), status: Status::Pass, detail: detail.into(), fix: None }
    }

    fn warn(label: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { label: label.into(), status: Status::Warn, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn fail(label: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { label: label.into(), status: Status::Fail, detail: detail.into(), fix: Some(fix.into()) }
    }

    /// A failure of the program as a check that failed.
    fn of(label: &str, failure: &model::Failure) -> Self {
        let fix = failure.hint.clone().unwrap_or_else(|| "look into logs/daemon.log in the home".to_owned());
        Self::fail(label, failure.message.clone(), fix)
    }
}

/// Looks at everything. Must be called before this process has a second thread: the probes run in a sandbox of its own.
pub(crate) fn run(context: &Context, flags: &args::Doctor) -> Done {
    let mut report = Report { json: context.json, is_whole: true };
    report.add(machine::checks())?;
    let home = match Home::open(&context.env.home) {
        Ok(home) => home,
        Err(failure) => {
            report.add(vec![Check::of("home", &failure)])?;
            return Ok(1);
        }
    };
    let config = Config::load(home.path());
    report.add(house::checks(context, &home, &config))?;
    let Ok(config) = config else { return Ok(1) };
    if flags.prove {
        report.add(prove::checks(&home, &config))?;
        report.add(crate::on_runtime(1, async { Ok(egress::checks(&home, &config).await) })?)?;
    }
    let checks = crate::on_runtime(1, daemon::checks(context, &home, &config, flags.live))?;
    report.add(checks)?;
    Ok(u8::from(!report.is_whole))
}

/// Prints checks as they come.
struct Report {
    json: bool,
    is_whole: bool,
}

impl Report {
    fn add(&mut self, checks: Vec<Check>) -> Result<(), model::Failure> {
        for check in checks {
            self.is_whole &= check.status != Status::Fail;
            if self.json {
                out::json(&check)?;
                continue;
            }
            let word = match check.status {
                Status::Pass => "ok",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            out::line(&format!("{word:<4} {:<18} {}", check.label, crate::exit::clean(&check.detail)));
            if let Some(fix) = &check.fix {
                out::line(&format!("     {:<18} -> {}", "", crate::exit::clean(fix)));
            }
        }
        Ok(())
    }
}
