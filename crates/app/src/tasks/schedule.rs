//! When a task is due: a cron expression, read in a zone.
//!
//! A local time that the clocks skip is due when they have skipped it, and one that comes twice is due once, the first time. Where
//! the hour or minute is not one value but many, they are points in time like others: none in a skipped hour, and twice in one
//! that comes twice.

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, Zoned};
use model::{Code, Failure, Timestamp};

/// Times that are looked through to find those that were missed; of more than that only the last are looked for.
const STEPS_MAX: usize = 1000;

/// What one time begins with; the time itself follows, as an instant.
pub(crate) const ONCE: &str = "@once ";

/// A schedule that was read.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    when: When,
    zone: TimeZone,
}

#[derive(Debug, Clone)]
enum When {
    Cron(Box<Cron>),
    Once(Timestamp),
}

/// Times that have come: all of them, or the last ones and that there were more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Come {
    /// In their order.
    pub(crate) times: Vec<Timestamp>,
    /// Whether there were earlier ones that are not in it.
    pub(crate) is_cut: bool,
}

impl Schedule {
    /// Reads five fields (minute, hour, day, month, weekday), or six with seconds in front, `@daily` and the like, or `@once` and one time.
    ///
    /// # Errors
    /// The expression or the zone is none.
    pub(crate) fn parse(cron: &str, zone: &str) -> Result<Self, Failure> {
        let zone = TimeZone::get(zone).map_err(|_| {
            Failure::new(Code::Usage, format!("there is no time zone `{}`", zone.escape_debug()))
                .hint("a name of the IANA database, for example Europe/Berlin or UTC")
                .field("zone")
        })?;
        if let Some(at) = cron.trim().strip_prefix(ONCE) {
            let at = at.trim().parse::<Instant>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
            let at = at.ok_or_else(|| Failure::new(Code::Usage, "this is no time after @once").field("cron"))?;
            return Ok(Self { when: When::Once(Timestamp(at)), zone });
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(cron.trim()).map_err(|e| {
            Failure::new(Code::Usage, format!("this is no cron expression: {e}"))
                .hint("five fields: minute hour day month weekday, for example `30 6 * * 1-5`")
                .field("cron")
        })?;
        Ok(Self { when: When::Cron(Box::new(cron)), zone })
    }

    /// The first time after `at`; `None` when there is none.
    pub(crate) fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let cron = match &self.when {
            When::Once(time) => return Some(*time).filter(|time| *time > at),
            When::Cron(cron) => cron,
        };
        let from = self.local(at)?;
        cron.find_next_occurrence(&from, false).ok().and_then(|next| instant(&next)).filter(|next| *next > at)
    }

    /// The times from `first`, which is one, to `now`: at most `most`, the last ones.
    pub(crate) fn come(&self, first: Timestamp, now: Timestamp, most: usize) -> Come {
        let mut times = std::collections::VecDeque::from([first]);
        let mut is_cut = false;
        let mut last = first;
        for _ in 0..STEPS_MAX {
            match self.next(last).filter(|next| *next <= now) {
                None => return Come { times: times.into(), is_cut },
                Some(next) => {
                    last = next;
                    times.push_back(next);
                    if times.len() > most {
                        times.pop_front();
                        is_cut = true;
                    }
                }
            }
        }
        Come { times: self.last_before(last, now, most), is_cut: true }
    }

    /// The last times up to `now`, where there are too many to look at each.
    fn last_before(&self, after: Timestamp, now: Timestamp, most: usize) -> Vec<Timestamp> {
        let mut times = Vec::new();
        let When::Cron(cron) = &self.when else { return times };
        let mut at = self.local(now);
        let mut is_first = true;
        while let Some(from) = at.take() {
            let Ok(found) = cron.find_previous_occurrence(&from, is_first) else { break };
            is_first = false;
            match instant(&found).filter(|time| *time > after && times.len() < most) {
                Some(time) => times.push(time),
                None => break,
            }
            at = Some(found);
        }
        times.reverse();
        times
    }

    fn local(&self, at: Timestamp) -> Option<Zoned> {
        let instant = Instant::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
        Some(instant.to_zoned(self.zone.clone()))
    }
}

fn instant(zoned: &Zoned) -> Option<Timestamp> {
    u64::try_from(zoned.timestamp().as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(u64::try_from(text.parse::<Instant>().expect(text).as_millisecond()).expect(text))
    }

    fn nexts(cron: &str, zone: &str, from: &str, expect: &[&str]) {
        let schedule = Schedule::parse(cron, zone).expect(cron);
        let mut last = at(from);
        for text in expect {
            let next = schedule.next(last).expect("a time");
            assert_eq!(next, at(text), "{cron} in {zone} after {last:?}: {}", Instant::from_millisecond(next.0 as i64).expect("a time"));
            last = next;
        }
    }

    #[test]
    fn a_skipped_time_is_due_when_it_was_skipped() {
        // Berlin skips 2:00 to 3:00 on 29 March 2026, New York on 8 March; Lord Howe skips half an hour on 4 October.
        nexts(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        );
        nexts(
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T00:00:00Z",
            &["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
        );
        nexts("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]);
    }

    #[test]
    fn a_doubled_time_is_due_once() {
        // Berlin has 2:00 to 3:00 twice on 25 October 2026, New York 1:00 to 2:00 on 1 November; Lord Howe half an hour on 5 April.
        nexts("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        nexts("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
        nexts("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]);
    }

    #[test]
    fn what_is_due_all_the_time_follows_the_clock_and_not_the_dial() {
        nexts(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:15:00Z",
            &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        );
        nexts(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:45:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"],
        );
        // Zones that are not whole hours away, and one without changes.
        nexts("0 9 * * *", "Asia/Kathmandu", "2026-06-01T00:00:00Z", &["2026-06-01T03:15:00Z", "2026-06-02T03:15:00Z"]);
        nexts("0 9 * * 1-5", "UTC", "2026-06-05T10:00:00Z", &["2026-06-08T09:00:00Z"]);
        nexts("15 30 6 * * *", "UTC", "2026-06-05T10:00:00Z", &["2026-06-06T06:30:15Z"]);
        nexts("@monthly", "Pacific/Auckland", "2026-06-05T10:00:00Z", &["2026-06-30T12:00:00Z"]);
        nexts("0 0 29 2 *", "UTC", "2026-06-05T10:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    }

    #[test]
    fn what_never_comes_is_no_time() {
        let began = std::time::Instant::now();
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            let next = Schedule::parse(never, "Europe/Berlin").map(|schedule| schedule.next(at("2026-06-01T00:00:00Z")));
            assert!(next.is_err() || next.as_ref().is_ok_and(Option::is_none), "{never}: {next:?}");
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(240), "it is looked for without end");
        for wrong in ["", "soon", "* * * *", "61 * * * *", "* * * * * * * *", "0 0 0 0 0"] {
            assert_eq!(Schedule::parse(wrong, "UTC").expect_err(wrong).field.as_deref(), Some("cron"), "{wrong}");
        }
        for wrong in ["", "Mars/Base", "../etc/passwd", "local"] {
            assert_eq!(Schedule::parse("* * * * *", wrong).expect_err(wrong).field.as_deref(), Some("zone"), "{wrong}");
        }
    }

    #[test]
    fn missed_times_are_found_and_bounded() {
        let hourly = Schedule::parse("0 * * * *", "UTC").expect("a schedule");
        let come = hourly.come(at("2026-06-01T00:00:00Z"), at("2026-06-01T03:30:00Z"), 100);
        assert_eq!((come.times.len(), come.is_cut, come.times[3]), (4, false, at("2026-06-01T03:00:00Z")));
        let come = hourly.come(at("2026-06-01T00:00:00Z"), at("2026-06-03T00:00:00Z"), 10);
        assert_eq!((come.times.len(), come.is_cut, come.times[9]), (10, true, at("2026-06-03T00:00:00Z")));
        // A year of seconds.
        let secondly = Schedule::parse("* * * * * *", "UTC").expect("a schedule");
        let come = secondly.come(at("2025-06-01T00:00:00Z"), at("2026-06-01T00:00:00Z"), 5);
        let expect: Vec<Timestamp> = (56..=60).map(|n| Timestamp(at("2026-05-31T23:59:00Z").0 + n * 1000)).collect();
        assert_eq!(come, Come { times: expect, is_cut: true });
    }
}
