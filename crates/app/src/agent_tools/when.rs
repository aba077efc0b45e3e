//! When a task is due, as an agent says it: a cron expression, a time, or in how long.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp as Instant};
use model::{Failure, Timestamp};

use super::wrong;
use crate::tasks::Schedule;

/// How far ahead a task can be.
const AHEAD_MS_MAX: u64 = 3 * 366 * 86_400_000;
/// The shortest time between two times of a task: without a script that may save the model call, and with one.
const EVERY_MS_MIN: (u64, u64) = (15 * 60_000, 60_000);
/// Times that are looked at for it.
const LOOKED_AT: usize = 60;

/// What an agent says of when.
#[derive(Debug, Default)]
pub(super) struct When<'a> {
    pub(super) cron: Option<&'a str>,
    pub(super) at: Option<&'a str>,
    pub(super) r#in: Option<&'a str>,
    pub(super) zone: &'a str,
    /// Whether a script may save the model call.
    pub(super) is_gated: bool,
}

/// A schedule as it is kept: the expression, and the first time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Then {
    pub(super) cron: String,
    pub(super) due: Timestamp,
}

/// Reads it. What is past, or comes too often, is refused.
pub(super) fn read(when: &When<'_>, now: Timestamp) -> Result<Then, Failure> {
    match (when.cron, when.at, when.r#in) {
        (Some(cron), None, None) => repeated(cron, when, now),
        (None, Some(at), None) => once(time(at, when.zone)?, when.zone, now),
        (None, None, Some(within)) => once(Timestamp(now.0.saturating_add(length(within)?)), when.zone, now),
        _ => Err(wrong("say exactly one of cron, at and in")),
    }
}

fn repeated(cron: &str, when: &When<'_>, now: Timestamp) -> Result<Then, Failure> {
    if cron.trim_start().starts_with(crate::tasks::ONCE.trim_end()) {
        return Err(wrong("this is no cron expression").hint("say `at` for one time"));
    }
    let schedule = Schedule::parse(cron, when.zone)?;
    let due = schedule.next(now).ok_or_else(|| wrong("this time never comes"))?;
    let least = if when.is_gated { EVERY_MS_MIN.1 } else { EVERY_MS_MIN.0 };
    let mut last = due;
    for _ in 0..LOOKED_AT {
        let Some(next) = schedule.next(last) else { break };
        if next.0 - last.0 < least {
            let minutes = least / 60_000;
            let hint = "a script that says whether it is worth it may be asked each minute: see `script`";
            return Err(wrong(format!("it would be due more often than every {minutes} minutes")).hint(hint));
        }
        last = next;
    }
    Ok(Then { cron: cron.trim().to_owned(), due })
}

fn once(at: Timestamp, zone: &str, now: Timestamp) -> Result<Then, Failure> {
    if at <= now {
        return Err(wrong("this time is past").hint(format!("it is {} now", shown(now, zone))));
    }
    if at.0 - now.0 > AHEAD_MS_MAX {
        return Err(wrong("this time is more than three years ahead"));
    }
    Ok(Then { cron: format!("{}{}", crate::tasks::ONCE, shown(at, "UTC")), due: at })
}

/// A time: with an offset, or as the clocks of the zone show it.
fn time(text: &str, zone: &str) -> Result<Timestamp, Failure> {
    let text = text.trim();
    let none = || wrong("this is no time").hint("for example 2027-03-01T09:00 in the task's zone, or 2027-03-01T09:00:00Z");
    let instant = match text.parse::<Instant>() {
        Ok(instant) => instant,
        Err(_) => {
            let civil: DateTime = text.parse().map_err(|_| none())?;
            let zone = TimeZone::get(zone).map_err(|_| wrong("there is no such time zone").hint("a name such as Europe/Berlin"))?;
            civil.to_zoned(zone).map_err(|_| none())?.timestamp()
        }
    };
    u64::try_from(instant.as_millisecond()).map(Timestamp).map_err(|_| none())
}

/// How long `20 minutes`, `2h 30m` or `in 1 day` is, in milliseconds.
fn length(text: &str) -> Result<u64, Failure> {
    let none = || wrong("this is no length of time").hint("for example 20m, 2h 30m, 1d");
    let text = text.trim();
    let text = text.strip_prefix("in ").unwrap_or(text);
    let span: Span = text.parse().map_err(|_| none())?;
    let long = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| none())?;
    u64::try_from(long.as_millis()).ok().filter(|ms| *ms > 0 && *ms <= AHEAD_MS_MAX).ok_or_else(none)
}

/// A time for people, in a zone.
pub(crate) fn shown(at: Timestamp, zone: &str) -> String {
    let instant = i64::try_from(at.0).ok().and_then(|ms| Instant::from_millisecond(ms).ok()).unwrap_or(Instant::UNIX_EPOCH);
    if zone == "UTC" {
        return instant.to_string();
    }
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    instant.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn at(text: &str) -> Timestamp {
        Timestamp(u64::try_from(text.parse::<Instant>().expect(text).as_millisecond()).expect(text))
    }

    fn when(kind: &str, text: &'static str, is_gated: bool) -> When<'static> {
        let given = |name: &str| (kind == name).then_some(text);
        When { cron: given("cron"), at: given("at"), r#in: given("in"), zone: "Europe/Berlin", is_gated }
    }

    #[test]
    fn one_time_is_said_in_many_ways() {
        for (kind, text, expect) in [
            ("in", "20 minutes", NOW.0 + 20 * 60_000),
            ("in", "in 2h 30m", NOW.0 + 150 * 60_000),
            ("in", "1d", NOW.0 + 86_400_000),
            ("at", "2027-03-01T09:00", at("2027-03-01T08:00:00Z").0),
            ("at", "2027-07-01 09:00:30", at("2027-07-01T07:00:30Z").0),
            ("at", "2027-03-01T09:00:00Z", at("2027-03-01T09:00:00Z").0),
        ] {
            let then = read(&when(kind, text, false), NOW).unwrap_or_else(|failure| panic!("{text}: {failure}"));
            assert_eq!(then.due.0, expect, "{text}");
            let kept = Schedule::parse(&then.cron, "Europe/Berlin").expect("what is kept is read again");
            assert_eq!((kept.next(NOW), kept.next(then.due)), (Some(then.due), None), "{text}");
        }
        for (kind, text) in [
            ("in", "soon"),
            ("in", "-5m"),
            ("in", "0s"),
            ("in", "9999 years"),
            ("at", "2001-01-01T00:00"),
            ("at", "tomorrow"),
            ("at", "2099-01-01T00:00"),
            ("cron", "@once 2027-03-01T09:00:00Z"),
            ("none", ""),
        ] {
            assert!(read(&when(kind, text, true), NOW).is_err(), "{kind} {text}");
        }
        let both = When { cron: Some("0 9 * * *"), ..when("in", "20m", false) };
        assert!(read(&both, NOW).is_err());
    }

    #[test]
    fn what_wakes_a_model_too_often_is_refused() {
        assert!(read(&when("cron", "0 9 * * 1-5", false), NOW).is_ok());
        assert!(read(&when("cron", "*/15 * * * *", false), NOW).is_ok());
        for often in ["*/5 * * * *", "0,1 9 * * *", "* * * * * *"] {
            assert!(read(&when("cron", often, false), NOW).is_err(), "{often}");
        }
        assert!(read(&when("cron", "* * * * *", true), NOW).is_ok());
        assert!(read(&when("cron", "*/10 * * * * *", true), NOW).is_err());
    }
}
