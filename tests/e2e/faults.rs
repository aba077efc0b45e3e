//! A provider that is slow, silent or gone for a while, and engines that wait for it.

use std::time::Duration;

use testkit::model_server::{Fault, ModelServer, Script};

use crate::support::{KEY, Lab, comes, of_type};

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
    let ran = lab.run(&["run", "--json", "--timeout", "1h", "ask something"]).ends_with(1);
    let result = ran.result();
    assert_eq!((&result["status"], &result["code"]), (&"failed".into(), &"PROVIDER_ERROR".into()), "{result}");
    assert!(server.requests().len() > 1, "an error that may pass is tried again");
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
    out_of_time(&lab, &server);
    lab.assert_nothing_left();
}

/// A run that is out of time while its provider answers: on a machine that is too slow for the first limit, another one is.
fn out_of_time(lab: &Lab, server: &ModelServer) {
    for limit in ["3s", "10s", "60s"] {
        let ran = lab.run(&["run", "--json", "--timeout", limit, "ask something"]).ends_with(4);
        let result = ran.result();
        assert_eq!((&result["status"], &result["code"]), (&"timeout".into(), &"TIMEOUT".into()), "{result}");
        if !server.requests().is_empty() {
            return;
        }
    }
    panic!("the provider was never asked");
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
    out_of_time(&lab, &server);
    assert!(comes(|| server.left() > 0), "the provider still sends to nobody");
}

#[test]
fn a_connection_that_closes_without_a_word() {
    let lab = Lab::new();
    let _server = failing(&lab, Fault::Close);
    let ran = lab.run(&["run", "--json", "--timeout", "1h", "ask something"]).ends_with(1);
    assert_eq!(ran.result()["code"], "STREAM_CUT", "it was asked, and what became of the question is not known");
    lab.assert_nothing_left();
}
