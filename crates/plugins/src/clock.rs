//! Dates without a clock of their own: seconds since 1970 in UTC, and their written forms.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A moment in UTC, in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) i64);

/// A date and a time of day without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// The same moment as a date and time in UTC.
    pub(crate) fn civil(self) -> Civil {
        let (days, seconds) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        // Years begin in March here, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil { year, month, day, hour: seconds / 3600, minute: seconds / 60 % 60, second: seconds % 60 }
    }

    /// As in `2026-03-01T10:00:00Z`.
    pub(crate) fn rfc3339(self) -> String {
        let c = self.civil();
        format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
    }

    /// As in the head of a mail: `Sun, 1 Mar 2026 10:00:00 +0000`.
    pub(crate) fn rfc5322(self) -> String {
        let c = self.civil();
        let weekday = DAYS[usize::try_from(self.0.div_euclid(DAY).rem_euclid(7)).unwrap_or(0)];
        let month = MONTHS[usize::try_from(c.month - 1).unwrap_or(0).min(11)];
        format!("{weekday}, {} {month} {:04} {:02}:{:02}:{:02} +0000", c.day, c.year, c.hour, c.minute, c.second)
    }

    /// As in iCalendar: `20260301T100000Z`.
    pub(crate) fn basic(self) -> String {
        let c = self.civil();
        format!("{:04}{:02}{:02}T{:02}{:02}{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
    }

    /// As in IMAP's searches: `1-Mar-2026`.
    pub(crate) fn imap_day(self) -> String {
        let c = self.civil();
        format!("{}-{}-{:04}", c.day, MONTHS[usize::try_from(c.month - 1).unwrap_or(0).min(11)], c.year)
    }
}

impl Civil {
    /// The moment that this is in UTC.
    pub(crate) fn utc(self) -> Moment {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let from_march = (self.month + 9) % 12;
        let of_year = (153 * from_march + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days = era * 146_097 + of_era - 719_468;
        Moment(days * DAY + self.hour * 3600 + self.minute * 60 + self.second)
    }

    /// Reads `YYYY-MM-DD`, or with `THH:MM` or `THH:MM:SS` after it, and gives what follows.
    pub(crate) fn parse(text: &str) -> Option<(Self, &str)> {
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let at = |place: usize| text.as_bytes().get(place).copied();
        if at(4) != Some(b'-') || at(7) != Some(b'-') {
            return None;
        }
        let mut found = Self { year: number(0, 4)?, month: number(5, 7)?, day: number(8, 10)?, hour: 0, minute: 0, second: 0 };
        let mut end = 10;
        if matches!(at(10), Some(b'T' | b't' | b' ')) {
            (found.hour, found.minute, end) = (number(11, 13)?, number(14, 16).filter(|_| at(13) == Some(b':'))?, 16);
            if at(16) == Some(b':') {
                (found.second, end) = (number(17, 19)?, 19);
            }
        }
        // What is not a date becomes another one on the way through UTC.
        let same = found.utc().civil() == found && found.year > 0;
        same.then(|| (found, &text[end..]))
    }
}

/// Reads a date (its midnight in UTC), or a date and time with `Z` or an offset such as `+02:00`.
pub(crate) fn parse_moment(text: &str) -> Option<Moment> {
    let (civil, rest) = Civil::parse(text)?;
    match rest {
        "" if text.len() == 10 => Some(civil.utc()),
        "Z" | "z" => Some(civil.utc()),
        _ => {
            let (sign, offset) = match rest.split_at_checked(1)? {
                ("+", offset) => (1, offset),
                ("-", offset) => (-1, offset),
                _ => return None,
            };
            let (hours, minutes) = offset.split_once(':')?;
            let number = |text: &str, max: i64| {
                let two = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
                two.then(|| text.parse::<i64>().ok())?.filter(|n| *n <= max)
            };
            Some(Moment(civil.utc().0 - sign * (number(hours, 14)? * 3600 + number(minutes, 59)? * 60)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-03-01T10:00:00Z", 1_772_359_200),
            ("1969-12-31T23:59:59Z", -1),
            ("2400-12-31T00:00:00Z", 13_601_001_600),
        ] {
            assert_eq!(parse_moment(text), Some(Moment(seconds)), "{text}");
            assert_eq!(Moment(seconds).rfc3339(), text);
        }
        for day in (-200_000..200_000).step_by(7) {
            let moment = Moment(day * DAY + 3_661);
            assert_eq!(moment.civil().utc(), moment);
        }
        assert_eq!(Moment(1_772_359_200).rfc5322(), "Sun, 1 Mar 2026 10:00:00 +0000");
        assert_eq!(Moment(1_772_359_200).basic(), "20260301T100000Z");
        assert_eq!(Moment(1_772_359_200).imap_day(), "1-Mar-2026");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        assert_eq!(parse_moment("2026-03-01T12:00:00+02:00"), Some(Moment(1_772_359_200)));
        assert_eq!(parse_moment("2026-03-01T05:00-05:00"), Some(Moment(1_772_359_200)));
        for wrong in
            ["2026-02-30", "2026-13-01", "2026-3-1", "2026-03-01T24:00:00Z", "2026-03-01T10:00:00", "2026-03-01T10:00:00+2", "", "x"]
        {
            assert_eq!(parse_moment(wrong), None, "{wrong}");
        }
    }
}
