//! What the provider does wrong, and what it costs.

use testkit::model_server::{Fault, Say, Script};

use crate::support::{Deaf, KEY, Lab, of_type};

/// The first word of a failing run's result.
fn failing(fault: Fault, code: &str) {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), ..Script::default() });
    lab.connect("anthropic", &server);
    server.fail(fault);
    // That it gives up by itself, long before its own limit, shows in its end: another one would be out of time.
    let ran = lab.run(&["run", "--json", "--timeout", "1h", "ask something"]).ends_with(1);
    let result = ran.result();
    assert_eq!(result["status"], "failed", "{result}");
    assert_eq!(result["code"], code, "{result}");
    let text = format!("{}{}", ran.out, ran.err);
    assert!(!text.contains(KEY), "the key leaked");
    lab.assert_nothing_left();
}

#[test]
fn a_refused_key() {
    failing(Fault::Status(401), "CREDENTIAL_EXPIRED");
}

#[test]
fn too_many_requests() {
    failing(Fault::Status(429), "PROVIDER_LIMITED");
}

#[test]
fn a_broken_provider() {
    failing(Fault::Status(500), "PROVIDER_ERROR");
}

#[test]
fn a_stream_that_is_cut() {
    failing(Fault::Cut(2), "STREAM_CUT");
}

#[test]
fn a_provider_that_reflects_the_key() {
    failing(Fault::ReflectKey(400), "PROVIDER_ERROR");
}

#[test]
fn a_provider_that_is_down() {
    let lab = Lab::new();
    let gone = Deaf::new();
    lab.run(&["config", "set", "providers.anthropic.base_url", &gone.url()]).succeeds();
    lab.run_with(&["secret", "set", "anthropic", "-"], KEY.as_bytes()).succeeds();
    let ran = lab.run(&["run", "--json", "--timeout", "1h", "ask something"]).ends_with(1);
    assert_eq!(ran.result()["code"], "PROVIDER_DOWN");
}

#[test]
fn an_error_that_passes_is_no_failure() {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), ..Script::default() });
    lab.connect("anthropic", &server);
    server.fail_next(1, Fault::Status(529));
    let ran = lab.run(&["run", "--json", "ask something"]).succeeds();
    assert!(of_type(&ran.events(), "error").iter().any(|e| e["retriable"] == true), "{}", ran.out);
}

#[test]
fn a_budget_is_never_overspent() {
    let lab = Lab::new();
    let replies = vec![Say::Shell("echo one".to_owned()); 50];
    let usage = model::Usage { input_tokens: 20_000, output_tokens: 2_000, ..model::Usage::default() };
    let server = lab.model(Script { key: Some(KEY.to_owned()), replies, usage, ..Script::default() });
    lab.connect("anthropic", &server);
    let ran = lab.run(&["run", "--json", "--budget-usd", "0.30", "spend"]).ends_with(1);
    let result = ran.result();
    assert_eq!(result["code"], "BUDGET_EXCEEDED", "{result}");
    let cost = result["cost_usd"].as_f64().expect("a cost");
    assert!(cost > 0.0 && cost <= 0.30, "{cost}");
    let usage = lab.run(&["usage", "--json"]).succeeds();
    let row = &usage.events()[0];
    let total = row["cost"].as_u64().expect("a sum");
    #[expect(clippy::cast_precision_loss, reason = "a sum far below 2^53")]
    let total = total as f64 / 1e9;
    assert!((total - cost).abs() < 1e-6, "the ledger says {total}, the result {cost}");
}

#[test]
fn a_model_without_a_price_is_denied_under_a_budget() {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), ..Script::default() });
    lab.connect("anthropic", &server);
    let ran = lab.run(&["run", "--json", "--model", "claude-of-tomorrow-99", "--budget-usd", "1", "x"]).ends_with(3);
    assert_eq!(ran.result()["code"], "PRICE_UNKNOWN");
    lab.run(&["run", "--model", "claude-of-tomorrow-99", "x"]).succeeds();
}
