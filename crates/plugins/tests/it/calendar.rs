use serde_json::{Value, json};
use testkit::servers::Calendar;

use crate::support::Lab;

fn lab() -> (Lab, Calendar) {
    let lab = Lab::new(&json!({}), &[("password", "harbour secret")]);
    let server = Calendar::start(lab.dir());
    lab.configure(&json!({"url": format!("http://127.0.0.1:{}/", server.port), "user": "owner@mail.test"}));
    (lab, server)
}

fn ebb() -> Value {
    json!({
        "summary": "Ebb; low, tide", "start": "2026-07-01T10:00:00", "end": "2026-07-01T11:30:00+02:00", "timezone": "UTC",
        "location": "Pier 4", "description": "Bring ropes.\nAnd boots.", "attendees": ["ann@b.test"], "calendar": "Tides & ebbs",
    })
}

#[test]
fn calendars_are_found_and_an_event_is_made_once() {
    let (lab, _server) = lab();
    let listed = lab.call("calendar", "calendar_list", json!({})).unwrap();
    let mut names: Vec<&str> = listed["calendars"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Harbour", "Tides & ebbs"]);
    let mut event = ebb();
    event["end"] = json!("2026-07-01T13:30:00+02:00");
    let made = lab.call_as("calendar", "grant-1", "calendar_create", event.clone()).unwrap();
    let again = lab.call_as("calendar", "grant-1", "calendar_create", event.clone()).unwrap();
    assert_eq!((&made["already_there"], &again["already_there"], &again["uid"]), (&json!(false), &json!(true), &made["uid"]));
    let other = lab.call_as("calendar", "grant-2", "calendar_create", event).unwrap();
    assert_ne!(other["uid"], made["uid"]);
    let found = lab.call("calendar", "calendar_events", json!({"from": "2026-07-01", "to": "2026-07-02"})).unwrap();
    assert_eq!(found["total"], 2, "{found}");
    let event = &found["events"][0];
    assert_eq!((&event["summary"], &event["start"]["time"]), (&json!("Ebb; low, tide"), &json!("2026-07-01T10:00:00Z")));
    assert_eq!((&event["end"]["time"], &event["description"]), (&json!("2026-07-01T11:30:00Z"), &json!("Bring ropes.\nAnd boots.")));
    assert_eq!((&event["calendar"], &event["attendees"]), (&json!("Tides & ebbs"), &json!(["ann@b.test"])));
    let none = lab.call("calendar", "calendar_events", json!({"from": "2026-08-01", "to": "2026-08-02"})).unwrap();
    assert_eq!(none["total"], 0);
}

#[test]
fn whole_days_and_one_calendar_by_its_address() {
    let (lab, server) = lab();
    let url = format!("http://127.0.0.1:{}/owner%40mail.test/harbour/", server.port);
    lab.configure(&json!({"url": url.replace("%40", "@"), "user": "owner@mail.test"}));
    let days = json!({"summary": "Dry dock", "start": "2026-07-03", "end": "2026-07-05"});
    lab.call("calendar", "calendar_create", days).unwrap();
    let found = lab.call("calendar", "calendar_events", json!({"from": "2026-07-04", "to": "2026-07-05", "calendar": "Harbour"})).unwrap();
    assert_eq!(found["events"][0]["end"], json!({"date": "2026-07-05"}), "{found}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let (lab, _server) = lab();
    for (key, value, why) in [
        ("end", json!("2026-06-30T10:00:00Z"), "not after"),
        ("end", json!("2026-07-02"), "not after"),
        ("start", json!("tomorrow"), "no date"),
        ("timezone", json!("../../etc/passwd"), "not known"),
        ("attendees", json!(["ann@b.test\r\nATTENDEE:mailto:evil@b.test"]), "not a mail address"),
        ("calendar", json!("None such"), "there is no calendar"),
    ] {
        let mut event = ebb();
        event["end"] = json!("2026-07-01T13:30:00+02:00");
        event[key] = value;
        let refused = lab.call("calendar", "calendar_create", event).unwrap_err();
        assert!(refused.contains(why), "{key}: {refused}");
    }
    let mut event = ebb();
    event["timezone"] = Value::Null;
    assert!(lab.call("calendar", "calendar_create", event).unwrap_err().contains("timezone"));
    let found = lab.call("calendar", "calendar_events", json!({"from": "2026-01-01", "to": "2027-01-01"})).unwrap();
    assert_eq!(found["total"], 0);
    std::fs::write(lab.dir().join("credentials/password"), "wrong").unwrap();
    let refused = lab.call("calendar", "calendar_list", json!({})).unwrap_err();
    assert!(refused.contains("does not take the name and password"), "{refused}");
    lab.configure(&json!({"url": "http://calendar.test/", "user": "owner"}));
    assert_eq!(lab.refused("calendar"), 78);
}
