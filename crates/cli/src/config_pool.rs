//! The part of the configuration that says how many sandboxes are kept ready for jobs.

use std::time::Duration;

use model::parse_duration;
use serde::{Deserialize, Serialize};

use crate::config::Config;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pool {
    /// Sandboxes that are kept ready for jobs of the profile `default`, where that does not say itself: 0 to 50. All daemons of
    /// one database keep so many together. One that a command started for itself keeps none.
    pub(crate) size: Option<u64>,
    /// Sandboxes that are kept ready for each tenant but the owner's whose profiles ask for some: 0 to 50, by default 2. For
    /// all of those tenants together at most 100 are kept.
    pub(crate) tenant_size: Option<u64>,
    /// How often it is looked whether they are what would be made now, besides at each change: 5s to 1h, by default 10s.
    pub(crate) check: Option<String>,
    /// How long one stays unused before it is made anew: 60s to 24h, by default 1h.
    pub(crate) idle: Option<String>,
}

impl Config {
    /// How many sandboxes are kept ready. A number out of range is the nearest that is in it, with a warning.
    pub(crate) fn pool_settings(&self) -> Result<app::PoolSettings, String> {
        let (texts, usual) = (&self.pool, app::PoolSettings::default());
        let time = |key: &str, text: &Option<String>, usual: Duration, range: (u64, u64)| match text {
            None => Ok(usual),
            Some(text) => {
                let time = parse_duration(text).ok_or_else(|| format!("pool.{key}: `{text}` is not a time like 90s, 15m or 1h"))?;
                Ok::<_, String>(Duration::from_secs(clamped(key, time.as_secs(), range)))
            }
        };
        let size = clamped("size", self.pool.size.unwrap_or(usual.size as u64), (0, app::POOL_SIZE_MAX as u64));
        let tenant_size = clamped("tenant_size", self.pool.tenant_size.unwrap_or(usual.tenant_size as u64), (0, app::POOL_SIZE_MAX as u64));
        Ok(app::PoolSettings {
            tenant_size: usize::try_from(tenant_size).unwrap_or(app::POOL_SIZE_MAX),
            size: usize::try_from(size).unwrap_or(app::POOL_SIZE_MAX),
            check: time("check", &texts.check, usual.check, (5, 3600))?,
            idle: time("idle", &texts.idle, usual.idle, (60, 86_400))?,
        })
    }
}

fn clamped(key: &str, asked: u64, (least, most): (u64, u64)) -> u64 {
    let used = asked.clamp(least, most);
    if used != asked {
        tracing::warn!(asked, used, "pool.{key} is out of range");
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> app::PoolSettings {
        Config::parse(&format!("[pool]\n{text}")).expect(text).pool_settings().expect(text)
    }

    #[test]
    fn what_is_out_of_range_is_the_nearest_that_is_in_it() {
        assert_eq!(of(""), app::PoolSettings::default());
        assert_eq!((of("size = 3").size, of("size = 1000").size), (3, 50));
        assert_eq!((of("tenant_size = 7").tenant_size, of("tenant_size = 1000").tenant_size), (7, 50));
        assert_eq!((of("check = \"1s\"").check.as_secs(), of("check = \"2h\"").check.as_secs()), (5, 3600));
        assert_eq!((of("idle = \"1s\"").idle.as_secs(), of("idle = \"48h\"").idle.as_secs()), (60, 86_400));
        for text in ["check = \"often\"", "idle = \"?\"", "size = -1", "max = 3"] {
            let read = Config::parse(&format!("[pool]\n{text}"));
            assert!(read.is_err(), "{text}");
        }
    }
}
