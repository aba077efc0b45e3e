//! iCalendar: events read out of what a server sends, and written.

use serde_json::{Value, json};

use super::zone::Zone;
use crate::clock::{Civil, Moment};
use crate::text::{one_line, shorten, visible};

/// Events that are read out of one object.
const EVENTS_MAX: usize = 1_000;
/// Attendees that are named of one event.
const ATTENDEES_MAX: usize = 100;
/// Characters of a title, a place and a description.
const LINE_CHARS_MAX: usize = 500;
const TEXT_CHARS_MAX: usize = 5_000;
/// The longest line that is written, in bytes.
const LINE_BYTES: usize = 74;

/// A line: name, parameters and value.
struct Line<'a> {
    name: String,
    parameters: &'a str,
    value: &'a str,
}

/// What an event begins or ends at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// A whole day.
    Day(Civil),
    Moment(Moment),
}

/// An event to be written.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) uid: &'a str,
    pub(super) summary: &'a str,
    pub(super) start: When,
    pub(super) end: When,
    pub(super) location: Option<&'a str>,
    pub(super) description: Option<&'a str>,
    pub(super) organizer: Option<&'a str>,
    pub(super) attendees: &'a [String],
}

impl When {
    /// For comparing.
    pub(super) fn moment(self) -> Moment {
        match self {
            Self::Day(day) => day.utc(),
            Self::Moment(moment) => moment,
        }
    }

    fn line(self, name: &str) -> String {
        match self {
            Self::Day(day) => format!("{name};VALUE=DATE:{:04}{:02}{:02}", day.year, day.month, day.day),
            Self::Moment(moment) => format!("{name}:{}", moment.basic()),
        }
    }
}

impl Event<'_> {
    /// The object, with line ends and folds as they must be.
    pub(super) fn text(&self, now: Moment) -> String {
        let mut lines = vec![
            "BEGIN:VCALENDAR".to_owned(),
            "VERSION:2.0".to_owned(),
            "PRODID:-//Lazaret//calendar//EN".to_owned(),
            "BEGIN:VEVENT".to_owned(),
            format!("UID:{}", self.uid),
            format!("DTSTAMP:{}", now.basic()),
            self.start.line("DTSTART"),
            self.end.line("DTEND"),
            format!("SUMMARY:{}", escaped(self.summary)),
        ];
        for (name, text) in [("LOCATION", self.location), ("DESCRIPTION", self.description)] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                lines.push(format!("{name}:{}", escaped(text)));
            }
        }
        if let Some(organizer) = self.organizer.filter(|_| !self.attendees.is_empty()) {
            lines.push(format!("ORGANIZER:mailto:{organizer}"));
        }
        lines.extend(self.attendees.iter().map(|a| format!("ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:{a}")));
        lines.extend(["END:VEVENT".to_owned(), "END:VCALENDAR".to_owned()]);
        lines.iter().map(|line| folded(line) + "\r\n").collect()
    }
}

/// Text as a value: nothing in it ends the line.
fn escaped(text: &str) -> String {
    let text = visible(text).replace('\t', " ");
    text.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,").replace('\n', "\\n")
}

/// A long line goes on in the next one, which begins with a space; no character is cut.
fn folded(line: &str) -> String {
    let (mut out, mut length) = (String::new(), 0);
    for c in line.chars() {
        if length + c.len_utf8() > LINE_BYTES {
            out.push_str("\r\n ");
            length = 1;
        }
        out.push(c);
        length += c.len_utf8();
    }
    out
}

/// The events of an object, each with the moment that it begins at, for sorting.
pub(super) fn events(text: &str) -> Vec<(Moment, Value)> {
    let unfolded = text.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "");
    let (mut events, mut open): (Vec<(Moment, Value)>, Option<Vec<Line<'_>>>) = (Vec::new(), None);
    let mut inner = 0;
    for line in unfolded.lines() {
        let Some(line) = parse(line) else { continue };
        match (line.name.as_str(), &mut open) {
            ("BEGIN", None) if line.value.eq_ignore_ascii_case("VEVENT") => open = Some(Vec::new()),
            // An alarm within an event has a description of its own.
            ("BEGIN", Some(_)) => inner += 1,
            ("END", Some(_)) if inner > 0 => inner -= 1,
            ("END", Some(lines)) => {
                if let Some(event) = event(lines) {
                    events.push(event);
                }
                open = None;
                if events.len() >= EVENTS_MAX {
                    break;
                }
            }
            (_, Some(lines)) if inner == 0 => lines.push(line),
            _ => (),
        }
    }
    events
}

fn parse(line: &str) -> Option<Line<'_>> {
    let mut quoted = false;
    let colon = line.bytes().position(|b| {
        quoted ^= b == b'"';
        b == b':' && !quoted
    })?;
    let (head, value) = (&line[..colon], &line[colon + 1..]);
    let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
    Some(Line { name: name.to_ascii_uppercase(), parameters, value })
}

fn event(lines: &[Line<'_>]) -> Option<(Moment, Value)> {
    let first = |name: &str| lines.iter().find(|line| line.name == name);
    let text = |name: &str, max| first(name).map(|line| shorten(visible(&unescaped(line.value)).trim(), max));
    let (start, moment) = when(first("DTSTART")?)?;
    let end = first("DTEND").and_then(when).map(|(end, _)| end);
    let attendees: Vec<String> = lines
        .iter()
        .filter(|line| line.name == "ATTENDEE")
        .take(ATTENDEES_MAX)
        .map(|line| {
            let address = line.value.get(..7).filter(|p| p.eq_ignore_ascii_case("mailto:")).map_or(line.value, |p| &line.value[p.len()..]);
            shorten(&one_line(address), LINE_CHARS_MAX)
        })
        .collect();
    let event = json!({
        "uid": text("UID", LINE_CHARS_MAX), "summary": text("SUMMARY", LINE_CHARS_MAX), "start": start, "end": end,
        "duration": text("DURATION", 64), "location": text("LOCATION", LINE_CHARS_MAX), "description": text("DESCRIPTION", TEXT_CHARS_MAX),
        "status": text("STATUS", 64), "attendees": attendees, "repeats": text("RRULE", LINE_CHARS_MAX),
        "instance_of": first("RECURRENCE-ID").and_then(when).map(|(at, _)| at),
    });
    Some((moment, event))
}

/// A date or time as it is shown: in UTC where its zone is known, else as the wall clock with the zone's name.
fn when(line: &Line<'_>) -> Option<(Value, Moment)> {
    let digits = line.value.trim();
    let piece = |from: usize, to: usize| digits.get(from..to).filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let day = format!("{}-{}-{}", piece(0, 4)?, piece(4, 6)?, piece(6, 8)?);
    if digits.len() == 8 {
        let (civil, _) = Civil::parse(&day)?;
        return Some((json!({ "date": day }), civil.utc()));
    }
    let time = format!("{}:{}:{}", piece(9, 11)?, piece(11, 13)?, piece(13, 15)?);
    let (civil, _) = Civil::parse(&format!("{day}T{time}"))?;
    if digits.ends_with('Z') {
        return Some((json!({ "time": civil.utc().rfc3339() }), civil.utc()));
    }
    let zone = line.parameters.split(';').find_map(|p| p.strip_prefix("TZID=")).map(|zone| zone.trim_matches('"'));
    let shown = zone.map(|zone| shorten(&one_line(zone), 64));
    match zone.and_then(Zone::named) {
        Some(known) => {
            let moment = known.utc(civil);
            Some((json!({"time": moment.rfc3339(), "timezone": shown}), moment))
        }
        None => Some((json!({"local_time": format!("{day}T{time}"), "timezone": shown}), civil.utc())),
    }
}

fn unescaped(text: &str) -> String {
    let (mut out, mut characters) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some('n' | 'N') => out.push('\n'),
                Some(other) => out.push(other),
                None => (),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let attendees = ["ann@b.test".to_owned()];
        let description = "first line\nEND:VEVENT\nBEGIN:VALARM; a, b\\n 🙂 ".to_owned() + &"long ".repeat(60);
        let event = Event {
            uid: "u1@lazaret",
            summary: "Ebb; tide, at \\ noon",
            start: When::Moment(Moment(1_772_359_200)),
            end: When::Moment(Moment(1_772_362_800)),
            location: Some("Pier 4\r\nATTENDEE:mailto:evil@b.test"),
            description: Some(&description),
            organizer: Some("owner@b.test"),
            attendees: &attendees,
        };
        let text = event.text(Moment(0));
        assert!(text.split("\r\n").all(|line| line.len() <= 75 && !line.contains(['\n', '\r'])), "{text}");
        let read = events(&text);
        assert_eq!(read.len(), 1, "{text}");
        let (moment, event) = &read[0];
        assert_eq!((moment.0, &event["uid"], &event["summary"]), (1_772_359_200, &json!("u1@lazaret"), &json!("Ebb; tide, at \\ noon")));
        assert_eq!(event["location"], "Pier 4\nATTENDEE:mailto:evil@b.test");
        assert_eq!(event["description"], description.trim());
        assert_eq!(event["attendees"], json!(["ann@b.test"]));
        assert_eq!(event["end"]["time"], "2026-03-01T11:00:00Z");
    }

    #[test]
    fn events_of_others_are_read() {
        let text = "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:X\nBEGIN:STANDARD\nDTSTART:19700101T000000\nEND:STANDARD\nEND:VTIMEZONE\n\
                    BEGIN:VEVENT\nUID:a\nDTSTART;VALUE=DATE:20260301\nDTEND;VALUE=DATE:20260303\nSUMMARY:Fol\n ded\nRRULE:FREQ=WEEKLY\n\
                    BEGIN:VALARM\nDESCRIPTION:alarm\nEND:VALARM\nEND:VEVENT\n\
                    BEGIN:VEVENT\nUID:b\nDTSTART;TZID=\"Nowhere: Land\":20260301T101500\nEND:VEVENT\n\
                    BEGIN:VEVENT\nUID:c\nDTSTART:rubbish\nEND:VEVENT\nEND:VCALENDAR\n";
        let read = events(text);
        assert_eq!(read.len(), 2);
        assert_eq!((&read[0].1["start"], &read[0].1["summary"]), (&json!({"date": "2026-03-01"}), &json!("Folded")));
        assert_eq!((&read[0].1["description"], &read[0].1["repeats"]), (&Value::Null, &json!("FREQ=WEEKLY")));
        assert_eq!(read[1].1["start"], json!({"local_time": "2026-03-01T10:15:00", "timezone": "Nowhere: Land"}));
        for rubbish in
            ["", "BEGIN:VEVENT", "END:VEVENT\n\nBEGIN:VEVENT\nDTSTART:\u{e9}\nEND:VEVENT", ":::", "BEGIN:VEVENT\nDTSTART:2026030€T101500Z"]
        {
            assert!(events(rubbish).is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_written_and_read_back(summary in "\\PC{1,80}", place in "[\\PC\n]{1,200}") {
            let (summary, place) = (visible(&summary), visible(&place));
            let (start, end) = (When::Moment(Moment(0)), When::Moment(Moment(60)));
            let event = Event {
                uid: "u", summary: &summary, start, end, location: Some(&place), description: None, organizer: None, attendees: &[],
            };
            let read = events(&event.text(Moment(0)));
            proptest::prop_assert_eq!(read.len(), 1);
            proptest::prop_assert_eq!(read[0].1["summary"].as_str().unwrap(), summary.trim());
            if !place.is_empty() {
                proptest::prop_assert_eq!(read[0].1["location"].as_str().unwrap(), place.trim());
            }
        }

        #[test]
        fn no_object_breaks_the_reader(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "BEGIN:VEVENT\n", "END:VEVENT\n", "BEGIN:VALARM\n", "END:VALARM\n", "DTSTART", ";TZID=", "Europe/Berlin", ":", "20260301",
                "T101500", "Z", "\n", "\r\n ", "\"", "SUMMARY:", "ATTENDEE:mailto:", "é", "\\", "RECURRENCE-ID:", "UID:x\n",
            ]), 0..60),
        ) {
            let _ = events(&pieces.concat());
        }
    }
}
