//! Time zones by the machine's own tables: from a wall clock to UTC.

use std::io::Read;
use std::path::Path;

use crate::clock::{Civil, DAY, Moment};

/// Where the tables are.
const TABLES: &str = "/usr/share/zoneinfo";
/// The largest table, in bytes.
const TABLE_BYTES_MAX: u64 = 256 << 10;

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    /// From each of these moments on the offset that stands beside it counts, in seconds east of UTC.
    changes: Vec<(i64, i64)>,
    /// Before the first of them.
    first: i64,
    /// After the last of them.
    rule: Option<Rule>,
}

/// Summer time of years that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    standard: i64,
    /// Offset of summer time, its begin, and its end.
    summer: Option<(i64, Turn, Turn)>,
}

/// A day of a year: the `week`-th `weekday` of `month` (5 is the last one), at `seconds` of the wall clock before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    month: i64,
    week: i64,
    weekday: i64,
    seconds: i64,
}

impl Zone {
    /// The zone of an IANA name, if this machine knows it.
    pub(super) fn named(name: &str) -> Option<Self> {
        if matches!(name, "UTC" | "Etc/UTC" | "GMT" | "Z") {
            return Some(Self { changes: Vec::new(), first: 0, rule: None });
        }
        let plain = |part: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-+".contains(&b);
            part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(fits)
        };
        if name.len() > 64 || !name.split('/').all(plain) {
            return None;
        }
        let mut bytes = Vec::new();
        std::fs::File::open(Path::new(TABLES).join(name)).ok()?.take(TABLE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Self::parse(&bytes)
    }

    /// Reads the second, wide part of a table, and the rule behind it.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let narrow = Header::parse(bytes)?;
        let wide = bytes.get(44 + narrow.size(4)..)?;
        let header = Header::parse(wide)?;
        let body = wide.get(44..)?;
        let (times, rest) = body.split_at_checked(header.times * 8)?;
        let (kinds, rest) = rest.split_at_checked(header.times)?;
        let types = rest.get(..header.types * 6)?;
        let offset = |kind: usize| -> Option<i64> {
            let bytes = types.get(kind * 6..kind * 6 + 4)?;
            Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))
        };
        let mut changes = Vec::with_capacity(header.times);
        for (time, kind) in times.chunks_exact(8).zip(kinds) {
            changes.push((i64::from_be_bytes(time.try_into().ok()?), offset(usize::from(*kind))?));
        }
        let footer = wide.get(44 + header.size(8)..)?;
        let footer = std::str::from_utf8(footer).ok()?.trim_matches('\n');
        Some(Self { changes, first: offset(0)?, rule: Rule::parse(footer) })
    }

    /// Seconds east of UTC at a moment.
    fn offset(&self, at: i64) -> i64 {
        match self.changes.partition_point(|(from, _)| *from <= at) {
            0 if self.changes.is_empty() => self.rule.map_or(self.first, |rule| rule.offset(at)),
            0 => self.first,
            n if n == self.changes.len() => self.rule.map_or(self.changes[n - 1].1, |rule| rule.offset(at)),
            n => self.changes[n - 1].1,
        }
    }

    /// The moment at which the wall clock shows this. Of an hour that comes twice it is the first, of one that is left out
    /// what a clock shows that was not put forward.
    pub(super) fn utc(&self, wall: Civil) -> Moment {
        let wall = wall.utc().0;
        let (before, after) = (self.offset(wall - DAY), self.offset(wall + DAY));
        let fits = |offset: i64| self.offset(wall - offset) == offset;
        let offset = if fits(before) || !fits(after) { before } else { after };
        Moment(wall - offset)
    }
}

/// The counts at the beginning of a part of a table.
struct Header {
    utc: usize,
    standard: usize,
    leaps: usize,
    times: usize,
    types: usize,
    letters: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"TZif" || *bytes.get(4)? < b'2' {
            return None;
        }
        let count = |n: usize| -> Option<usize> {
            let bytes: [u8; 4] = bytes.get(20 + n * 4..24 + n * 4)?.try_into().ok()?;
            usize::try_from(u32::from_be_bytes(bytes)).ok().filter(|n| *n < 1 << 16)
        };
        Some(Self { utc: count(0)?, standard: count(1)?, leaps: count(2)?, times: count(3)?, types: count(4)?, letters: count(5)? })
    }

    /// Bytes of what follows, with moments of `width` bytes.
    fn size(&self, width: usize) -> usize {
        self.times * width + self.times + self.types * 6 + self.letters + self.leaps * (width + 4) + self.standard + self.utc
    }
}

impl Rule {
    /// Reads the POSIX form, as in `CET-1CEST,M3.5.0,M10.5.0/3`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let names = parts.next()?;
        let rest = without_name(names)?;
        let end = rest.find(|c: char| c.is_ascii_alphabetic() || c == '<').unwrap_or(rest.len());
        let standard = -duration(&rest[..end])?;
        if end == rest.len() {
            return Some(Self { standard, summer: None });
        }
        let own = without_name(&rest[end..])?;
        let summer = if own.is_empty() { standard + 3600 } else { -duration(own)? };
        Some(Self { standard, summer: Some((summer, Turn::parse(parts.next()?)?, Turn::parse(parts.next()?)?)) })
    }

    fn offset(&self, at: i64) -> i64 {
        let Some((summer, begin, end)) = self.summer else { return self.standard };
        let year = Moment(at + self.standard).civil().year;
        let (begin, end) = (begin.of(year) - self.standard, end.of(year) - summer);
        let is_summer = if begin < end { (begin..end).contains(&at) } else { !(end..begin).contains(&at) };
        if is_summer { summer } else { self.standard }
    }
}

fn without_name(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').map(|(_, rest)| rest),
        None => Some(text.trim_start_matches(|c: char| c.is_ascii_alphabetic())),
    }
}

/// `[+-]HH[:MM[:SS]]` in seconds.
fn duration(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in text.split(':') {
        seconds += part.parse::<i64>().ok().filter(|n| (0..=167).contains(n))? * unit;
        unit /= 60;
    }
    (unit >= 1 || text.matches(':').count() == 2).then_some(sign * seconds)
}

impl Turn {
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').map_or((text, "2"), |(day, time)| (day, time));
        let mut numbers = day.strip_prefix('M')?.split('.').map(|n| n.parse::<i64>().ok());
        let turn = Self { month: numbers.next()??, week: numbers.next()??, weekday: numbers.next()??, seconds: duration(time)? };
        let fits = (1..=12).contains(&turn.month) && (1..=5).contains(&turn.week) && (0..=6).contains(&turn.weekday);
        fits.then_some(turn)
    }

    /// In a year, as if the wall clock were UTC.
    fn of(self, year: i64) -> i64 {
        let day = |month, day| Civil { year, month, day, hour: 0, minute: 0, second: 0 }.utc().0 / DAY;
        let first = day(self.month, 1);
        // The first of January 1970 was a Thursday.
        let weekday = (first + 4).rem_euclid(7);
        let mut found = first + (self.weekday - weekday).rem_euclid(7) + (self.week - 1) * 7;
        while found - first >= 28 && Moment(found * DAY).civil().month != self.month {
            found -= 7;
        }
        found * DAY + self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(text: &str) -> Civil {
        Civil::parse(text).unwrap().0
    }

    #[test]
    fn rules_say_when_summer_is() {
        let zone = Zone { changes: Vec::new(), first: 0, rule: Rule::parse("CET-1CEST,M3.5.0,M10.5.0/3") };
        for (wall, utc) in [
            ("2026-01-15T12:00", "2026-01-15T11:00:00Z"),
            ("2026-07-15T12:00", "2026-07-15T10:00:00Z"),
            ("2026-03-29T01:59", "2026-03-29T00:59:00Z"),
            ("2026-03-29T03:00", "2026-03-29T01:00:00Z"),
            ("2026-03-29T02:30", "2026-03-29T01:30:00Z"),
            ("2026-10-25T02:30", "2026-10-25T00:30:00Z"),
            ("2099-07-01T00:00", "2099-06-30T22:00:00Z"),
        ] {
            assert_eq!(zone.utc(civil(wall)).rfc3339(), utc, "{wall}");
        }
        let south = Zone { changes: Vec::new(), first: 0, rule: Rule::parse("AEST-10AEDT,M10.1.0,M4.1.0/3") };
        assert_eq!(south.utc(civil("2026-01-15T12:00")).rfc3339(), "2026-01-15T01:00:00Z");
        assert_eq!(south.utc(civil("2026-07-15T12:00")).rfc3339(), "2026-07-15T02:00:00Z");
        assert_eq!(Rule::parse("<+0330>-3:30"), Some(Rule { standard: 12_600, summer: None }));
        assert_eq!(Rule::parse("nonsense"), None);
    }

    #[test]
    fn tables_are_read_and_names_stay_inside() {
        // A table of one change, built by hand: one hour east, from 1000 on two.
        let part = |width: usize| {
            let mut bytes = b"TZif2".to_vec();
            bytes.extend([0; 15]);
            for count in [0u32, 0, 0, 1, 2, 4] {
                bytes.extend(count.to_be_bytes());
            }
            bytes.extend(if width == 4 { 1000i32.to_be_bytes().to_vec() } else { 1000i64.to_be_bytes().to_vec() });
            bytes.push(1);
            for offset in [3600i32, 7200] {
                bytes.extend(offset.to_be_bytes());
                bytes.extend([0, 0]);
            }
            bytes.extend(b"ABC\0");
            bytes
        };
        let table = [part(4), part(8), b"\nX-3\n".to_vec()].concat();
        let zone = Zone::parse(&table).unwrap();
        assert_eq!((zone.offset(0), zone.offset(1000)), (3600, 3 * 3600));
        for cut in 0..table.len() {
            let _ = Zone::parse(&table[..cut]);
        }
        for name in ["../../etc/passwd", "/etc/passwd", "Europe/../../passwd", "", "Europe/", "a\0b"] {
            assert_eq!(Zone::named(name), None, "{name}");
        }
        assert_eq!(Zone::named("UTC").unwrap().utc(civil("2026-01-01")).rfc3339(), "2026-01-01T00:00:00Z");
    }
}
