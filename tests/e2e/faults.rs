//! A provider that is slow, silent or gone for a while, and engines that wait for it.

use std::time::Duration;

use testkit::model_server::{Fault, ModelServer, Script};

use crate::support::{KEY, Lab, of_type};

fn failing(lab: &Lab, fault: Fault) -> ModelServer {
    let server = lab.model(Script { key: Some(KEY.to_owned()), ..Script::default() });
    lab.connect("anthropic", &server);
    server.fail(fault);
    server
}

#[test]
fn a_provider_that_is_overloaded() {
    let lab = Lab::new();
    let server = failing(&lab, Fault::Status(503));
    let ran = lab.run(&["run", "--json", "--timeout", "90s", "ask something"]).ends_with(1);
    let result = ran.result();
    assert_eq!((&result["status"], &result["code"]), (&"failed".into(), &"PROVIDER_ERROR".into()), "{result}");
    assert!(server.requests().len() > 1, "an error that may pass is tried again");
    assert!(ran.took < Duration::from_secs(60), "it gave up after {:?}", ran.took);
    lab.assert_nothing_left();
}

#[test]
fn a_first_byte_that_is_late_is_waited_for() {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), ..Script::default() });
    lab.connect("anthropic", &server);
    server.fail_next(1, Fault::SlowHead(Duration::from_secs(3)));
    let ran = lab.run(&["run", "--json", "ask something"]).succeeds();
    assert!(ran.took >= Duration::from_secs(3), "{:?}", ran.took);
    assert_eq!(of_type(&ran.events(), "error").len(), 0, "to wait is no error: {}", ran.out);
}

/// The time limit ends a run whose provider says nothing, and the provider sees its caller leave.
fn timed_out(fault: Fault) {
    let lab = Lab::new();
    let server = failing(&lab, fault);
    let ran = lab.run(&["run", "--json", "--timeout", "3s", "ask something"]).ends_with(4);
    let result = ran.result();
    assert_eq!((&result["status"], &result["code"]), (&"timeout".into(), &"TIMEOUT".into()), "{result}");
    assert!(ran.took < Duration::from_secs(8), "{:?}", ran.took);
    lab.assert_nothing_left();
    assert!(!server.requests().is_empty());
}

#[test]
fn a_provider_that_never_begins() {
    timed_out(Fault::SlowHead(Duration::from_secs(600)));
}

#[test]
fn a_stream_that_stands_still() {
    timed_out(Fault::Silent);
}

#[test]
fn a_stream_without_end() {
    timed_out(Fault::Endless);
}

#[test]
fn a_stream_that_is_left_is_cancelled_upstream() {
    let lab = Lab::new();
    let server = failing(&lab, Fault::Endless);
    lab.run(&["run", "--timeout", "2s", "ask something"]).ends_with(4);
    let began = std::time::Instant::now();
    while server.left() == 0 {
        assert!(began.elapsed() < Duration::from_secs(2), "the provider still sends to nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_connection_that_closes_without_a_word() {
    let lab = Lab::new();
    let _server = failing(&lab, Fault::Close);
    let ran = lab.run(&["run", "--json", "--timeout", "90s", "ask something"]).ends_with(1);
    assert_eq!(ran.result()["code"], "STREAM_CUT", "it was asked, and what became of the question is not known");
    lab.assert_nothing_left();
}
