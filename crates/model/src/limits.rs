//! What a sandbox may use, and what really holds on a host.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much a limit matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// Without it the sandbox does not start.
    Require,
    /// Without it the sandbox starts and its level names what is missing.
    Prefer,
    /// Not asked for.
    Off,
}

/// The limits of one sandbox. [`Limits::default`] is what `run` uses when nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Limits {
    /// Bytes of memory that everything but the guest may use together.
    pub memory_bytes: u64,
    /// Processors, in thousandths.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes written to /workspace, /home and the rest of the writable layer.
    pub disk_bytes: u64,
    /// Wall-clock time of one turn or command.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 2 << 30, cpu_millis: 1000, pids: 256, disk_bytes: 4 << 30, time: Duration::from_secs(3600) }
    }
}

impl Limits {
    /// The least memory that a sandbox can be given.
    pub const MEMORY_BYTES_MIN: u64 = 8 << 20;
    /// The least disk that a sandbox can be given.
    pub const DISK_BYTES_MIN: u64 = 1 << 20;

    /// Whether a sandbox can be made with these.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        let has_room = self.memory_bytes >= Self::MEMORY_BYTES_MIN && self.disk_bytes >= Self::DISK_BYTES_MIN;
        has_room && self.cpu_millis > 0 && self.pids > 0
    }
}

/// The name of the line that tells which secrets the owner exposed to the agent inside.
pub const EXPOSED_LINE: &str = "exposed";

/// One layer or limit of a sandbox and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LevelLine {
    /// The layer, for example `seccomp` or `memory`.
    pub name: String,
    /// Whether it is in force.
    pub holds: bool,
    /// How it is enforced, or why it is not and what would give it.
    pub how: String,
}

/// What really holds in one sandbox, layer by layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Level {
    /// `root` or `rootless`.
    pub mode: String,
    /// The layers, always in the same order.
    pub lines: Vec<LevelLine>,
}

impl Level {
    /// One line for people: `root: all layers hold`, or what is missing.
    #[must_use]
    pub fn summary(&self) -> String {
        let (exposed, layers): (Vec<&LevelLine>, Vec<&LevelLine>) = self.lines.iter().partition(|l| l.name == EXPOSED_LINE);
        let missing: Vec<&str> = layers.iter().filter(|l| !l.holds).map(|l| l.name.as_str()).collect();
        let mut summary = if missing.is_empty() {
            format!("{}: all {} layers hold", self.mode, layers.len())
        } else {
            format!("{}: without {}", self.mode, missing.join(", "))
        };
        for line in exposed {
            summary.push_str(&format!("; EXPOSED to this agent: {}", line.how));
        }
        summary
    }
}

/// Reads a size such as `512m`, `2g` or `1048576`: bytes, or with k, m, g, t in powers of 1024.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        b't' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Reads a time such as `90s`, `15m`, `1h`, `250ms` or `2d`. A unit is needed.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(split);
    let n: u64 = digits.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    n.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(parse_bytes("2g"), Some(2 << 30));
        assert_eq!(parse_bytes("512M"), Some(512 << 20));
        assert_eq!(parse_bytes("77"), Some(77));
        for bad in ["", "g", "-1g", "1.5g", "99999999999t", "2gb", "é"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
        assert_eq!(parse_duration("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["", "5", "s", "-1s", "1w", "1 h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
