//! The part of the configuration that says how jobs run.

use std::path::PathBuf;
use std::time::Duration;

use model::{parse_bytes, parse_duration};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Directories in which repositories of jobs may lie.
const REPOS_MAX: usize = 64;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jobs {
    /// How long a job that is over is kept: 1h to 720h, by default 24h.
    pub(crate) ttl: Option<String>,
    /// Jobs of one tenant that are kept when they are over: 10 to 100000, by default 1000.
    pub(crate) keep: Option<u64>,
    /// How often old ones are looked for: 60s to 24h, by default 10m.
    pub(crate) cleanup: Option<String>,
    /// Jobs that run at once: 1 to 100, by default 10.
    pub(crate) running_max: Option<u64>,
    /// Jobs of one tenant that run at once; by default as many as run at all.
    pub(crate) per_tenant: Option<u64>,
    /// Jobs of one `agent_id` that run at once; by default as many as run at all.
    pub(crate) per_agent: Option<u64>,
    /// How large a job's result, and each of its artifacts, may be: 1k to 100m, by default 10m.
    pub(crate) result_max: Option<String>,
    /// Directories of this machine below which `repo` may lie. Absolute.
    pub(crate) repos: Vec<PathBuf>,
}

impl Config {
    /// How jobs run. A number out of range is the nearest that is in it, with a warning.
    pub(crate) fn job_settings(&self) -> Result<app::JobSettings, String> {
        let (texts, usual) = (&self.jobs, app::JobSettings::default());
        let number = |key: &str, value: Option<u64>, usual: u64, range: (u64, u64)| clamped(key, value.unwrap_or(usual), range);
        let time = |key: &str, text: &Option<String>, usual: Duration, range: (u64, u64)| match text {
            None => Ok(usual),
            Some(text) => {
                let time = parse_duration(text).ok_or_else(|| format!("jobs.{key}: `{text}` is not a time like 90s, 15m or 1h"))?;
                Ok::<_, String>(Duration::from_secs(clamped(key, time.as_secs(), range)))
            }
        };
        let running_max = number("running_max", texts.running_max, usual.running_max as u64, (1, 100));
        let result_max = match &texts.result_max {
            None => usual.result_max,
            Some(text) => parse_bytes(text).ok_or_else(|| format!("jobs.result_max: `{text}` is not a size like 512k or 10m"))?,
        };
        if texts.repos.len() > REPOS_MAX {
            return Err(format!("jobs.repos: there are more than {REPOS_MAX}"));
        }
        for path in &texts.repos {
            if !path.is_absolute() || path.components().any(|c| matches!(c, std::path::Component::ParentDir)) {
                return Err(format!("jobs.repos: `{}` is not an absolute path", path.display()));
            }
            if path == std::path::Path::new("/") {
                return Err("jobs.repos: `/` would allow every path of this machine".to_owned());
            }
        }
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Ok(app::JobSettings {
            ttl: time("ttl", &texts.ttl, usual.ttl, (3600, 720 * 3600))?,
            keep: number("keep", texts.keep, usual.keep, (10, 100_000)),
            cleanup: time("cleanup", &texts.cleanup, usual.cleanup, (60, 86_400))?,
            running_max: count(running_max),
            tenant_running_max: count(number("per_tenant", texts.per_tenant, running_max, (1, 10_000))),
            agent_running_max: count(number("per_agent", texts.per_agent, running_max, (1, 10_000))),
            result_max: clamped("result_max", result_max, (1 << 10, 100 << 20)),
            repos: texts.repos.clone(),
        })
    }
}

fn clamped(key: &str, asked: u64, (least, most): (u64, u64)) -> u64 {
    let used = asked.clamp(least, most);
    if used != asked {
        tracing::warn!(asked, used, "jobs.{key} is out of range");
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> app::JobSettings {
        Config::parse(&format!("[jobs]\n{text}")).expect(text).job_settings().expect(text)
    }

    #[test]
    fn what_is_out_of_range_is_the_nearest_that_is_in_it() {
        assert_eq!(of(""), app::JobSettings { tenant_running_max: 10, agent_running_max: 10, ..app::JobSettings::default() });
        assert_eq!((of("running_max = 0").running_max, of("running_max = 1000").running_max), (1, 100));
        assert_eq!((of("keep = 1").keep, of("keep = 1000000").keep), (10, 100_000));
        assert_eq!((of("ttl = \"1s\"").ttl.as_secs(), of("ttl = \"9999h\"").ttl.as_secs()), (3600, 720 * 3600));
        assert_eq!((of("cleanup = \"1s\"").cleanup.as_secs(), of("cleanup = \"48h\"").cleanup.as_secs()), (60, 86_400));
        assert_eq!((of("result_max = \"1\"").result_max, of("result_max = \"1g\"").result_max), (1 << 10, 100 << 20));
        assert_eq!(of("running_max = 3").agent_running_max, 3);
    }

    #[test]
    fn what_bears_on_security_is_refused() {
        for text in ["repos = [\"/\"]", "repos = [\"a\"]", "repos = [\"/a/../b\"]", "ttl = \"soon\"", "result_max = \"much\"", "other = 1"]
        {
            assert!(Config::parse(&format!("[jobs]\n{text}")).is_err(), "{text}");
        }
    }
}
