//! JSON values: keys, places, and numbers.

use lazaret_sanitize::{PATHS_MAX, REDACTED, Sanitizer};
use serde_json::json;

const KEY: &str = "canary-value-0123456789";

#[test]
fn keys_and_values_at_every_depth() {
    let mut value = json!({"a": [1, {"b": format!("x {KEY}")}], KEY: {"c": KEY}, "fine": "text"});
    let paths = Sanitizer::new([KEY]).value(&mut value);
    assert_eq!(value, json!({"a": [1, {"b": "x [REDACTED]"}], REDACTED: {"c": REDACTED}, "fine": "text"}));
    assert_eq!(paths, ["/[REDACTED]", "/[REDACTED]/c", "/a/1/b"]);
}

#[test]
fn redacted_keys_stay_apart() {
    let other = "other-secret-9876543210";
    let mut value = json!({KEY: 1, other: 2, "[REDACTED]": 3});
    let sanitizer = Sanitizer::new([KEY, other]);
    assert_eq!(sanitizer.value(&mut value).len(), 3 - 1);
    let mut values: Vec<_> = value.as_object().unwrap().values().filter_map(serde_json::Value::as_u64).collect();
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3], "{value}");
}

#[test]
fn telling_keys_and_numbers() {
    let mut value =
        json!({"password": "opensesame", "API-Key": "none", "access_token": "abcdefghij", "token": "page-2", "n": 12_345_678_901u64});
    let paths = Sanitizer::new(["12345678901"]).value(&mut value);
    assert_eq!(value, json!({"password": REDACTED, "API-Key": "none", "access_token": REDACTED, "token": "page-2", "n": REDACTED}));
    assert_eq!(paths.len(), 3);
}

#[test]
fn places_are_named_up_to_a_number() {
    let mut value = json!(vec![KEY; PATHS_MAX + 50]);
    let paths = Sanitizer::new([KEY]).value(&mut value);
    assert_eq!((paths.len(), paths.last().map(String::as_str)), (PATHS_MAX, Some("and 51 more")));
    assert!(!value.to_string().contains(KEY));
    let mut value = json!({"a/b~c": KEY});
    assert_eq!(Sanitizer::new([KEY]).value(&mut value), ["/a~1b~0c"]);
}
