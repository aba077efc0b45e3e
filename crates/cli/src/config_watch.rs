//! The parts of the configuration that tell others of what happens here, and when it happens by itself.

use std::time::Duration;

use model::parse_duration;
use serde::{Deserialize, Serialize};

use crate::config::Config;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webhooks {
    /// How long one try may take: 1s to 60s, by default 10s.
    pub(crate) timeout: Option<String>,
    /// Private or reserved addresses that webhooks may be sent to all the same.
    pub(crate) private_ok: Vec<std::net::IpAddr>,
    /// How long deliveries are kept that were taken or given up; by default 30d.
    pub(crate) keep: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tasks {
    /// How long what ended stays in the logs of tasks; by default 90d.
    pub(crate) keep: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Channels {
    /// The program of the networks that ship; by default `lazaret-channels` beside this one.
    pub(crate) program: Option<std::path::PathBuf>,
    /// The time zone in which agents are told when something was said; by default UTC.
    pub(crate) zone: Option<String>,
    /// How long what was said and sent is kept; by default 90d.
    pub(crate) keep: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    /// Where an OTLP collector takes traces and logs by HTTP, for example http://127.0.0.1:4318; nothing is sent without it.
    pub(crate) otlp_endpoint: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `text` for people, or `json`: one object in each line, with the identities of the request, job, session and turn.
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Config {
    /// Who is told of traces.
    pub(crate) fn telemetry_settings(&self) -> Result<app::TelemetrySettings, String> {
        let endpoint = self.telemetry.otlp_endpoint.clone();
        match endpoint.as_deref() {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Err(format!("telemetry.otlp_endpoint: `{url}` does not begin with http:// or https://"))
            }
            _ => Ok(app::TelemetrySettings { endpoint }),
        }
    }

    /// How chat networks are heard.
    pub(crate) fn channel_settings(&self) -> Result<app::ChannelSettings, String> {
        let usual = app::ChannelSettings::default();
        let zone = self.channels.zone.as_deref().map_or(Ok(usual.zone), app::ChannelSettings::zone_of);
        Ok(app::ChannelSettings {
            program: self.channels.program.clone(),
            zone: zone.map_err(|why| format!("channels.zone: {why}"))?,
            keep: self.channels.keep.as_deref().map_or(Ok(usual.keep), |t| time("channels.keep", t))?,
        })
    }

    /// How tasks are kept.
    pub(crate) fn task_settings(&self) -> Result<app::TaskSettings, String> {
        let usual = app::TaskSettings::default();
        Ok(app::TaskSettings { keep: self.tasks.keep.as_deref().map_or(Ok(usual.keep), |t| time("tasks.keep", t))? })
    }

    /// How the ends of jobs are told. A time out of range is the nearest that is in it, with a warning.
    pub(crate) fn webhook_settings(&self) -> Result<app::WebhookSettings, String> {
        let (texts, usual) = (&self.webhooks, app::WebhookSettings::default());
        let (least, most) = app::WEBHOOK_TIMEOUT_RANGE;
        let timeout = texts.timeout.as_deref().map_or(Ok(usual.timeout), |t| time("webhooks.timeout", t))?;
        let clamped = timeout.clamp(least, most);
        if clamped != timeout {
            tracing::warn!(asked_s = timeout.as_secs_f64(), used_s = clamped.as_secs(), "webhooks.timeout is out of range");
        }
        let keep = texts.keep.as_deref().map_or(Ok(usual.keep), |t| time("webhooks.keep", t))?;
        Ok(app::WebhookSettings { timeout: clamped, private_ok: texts.private_ok.clone(), keep })
    }
}

fn time(key: &str, text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("{key}: `{text}` is not a time like 90s, 15m or 1h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_has_its_time() {
        let of = |text: &str| Config::parse(text).expect(text).webhook_settings().expect(text).timeout.as_secs();
        assert_eq!(of(""), 10);
        assert_eq!(of("[webhooks]\ntimeout = \"20s\""), 20);
        assert_eq!(of("[webhooks]\ntimeout = \"0s\""), 1);
        assert_eq!(of("[webhooks]\ntimeout = \"1h\""), 60);
        for (text, named) in [
            ("[webhooks]\ntimeout = \"soon\"", "webhooks.timeout"),
            ("[webhooks]\nkeep = \"long\"", "webhooks.keep"),
            ("[webhooks]\nprivate_ok = [\"internal\"]", "private_ok"),
            ("[webhooks]\nsecret = \"x\"", "secret"),
            ("[tasks]\nkeep = \"long\"", "tasks.keep"),
            ("[telemetry]\notlp_endpoint = \"collector:4318\"", "telemetry.otlp_endpoint"),
        ] {
            assert!(Config::parse(text).expect_err(text).contains(named), "{text}");
        }
    }
}
