use super::*;

fn object(inner: &Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": {"a": inner}})
}

#[test]
fn what_is_open_anywhere_is_refused() {
    let open = json!({"type": "object", "properties": {"x": {"type": "string"}}});
    for inner in [
        json!({}),
        json!(true),
        open.clone(),
        json!({"type": "object"}),
        json!({"type": "object", "additionalProperties": true}),
        json!({"type": "object", "additionalProperties": {}}),
        json!({"type": "array"}),
        json!({"type": "array", "items": {}}),
        json!({"type": "array", "items": open}),
        json!({"type": "array", "prefixItems": [{"type": "string"}]}),
        json!({"anyOf": [{"type": "string"}, open]}),
        json!({"oneOf": [{"type": "string"}, {}]}),
        json!({"allOf": [open]}),
        json!({"type": ["string", "object"]}),
        json!({"properties": {}, "additionalProperties": false}),
        json!({"type": "object", "additionalProperties": {"type": "object"}}),
        json!({"type": "object", "unevaluatedProperties": false, "allOf": [{"properties": {"y": {}}}]}),
        json!({"not": {"type": "string"}}),
    ] {
        let result = check_schema(&object(&inner));
        assert!(matches!(result, Err(SchemaError::Open { .. })), "{inner}: {result:?}");
    }
    let mut with_defs = object(&json!({"$ref": "#/$defs/d"}));
    with_defs["$defs"] = json!({"d": {"type": "object"}});
    assert!(matches!(check_schema(&with_defs), Err(SchemaError::Open { .. })));
    assert_eq!(check_schema(&json!({"type": "string"})), Err(SchemaError::Root));
    assert_eq!(check_schema(&json!({"additionalProperties": false})), Err(SchemaError::Root));
    let old = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "unevaluatedProperties": false});
    assert!(matches!(check_schema(&old), Err(SchemaError::Open { .. })), "an older draft does not know that word");
}

#[test]
fn what_is_closed_everywhere_is_taken() {
    for inner in [
        json!({"type": "string", "pattern": "^(?!x)[a-z]+$"}),
        json!({"enum": [1, {"free": "form"}]}),
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        json!({"type": "array", "items": {"type": ["integer", "null"]}}),
        json!({"anyOf": [{"type": "null"}, {"type": "object", "additionalProperties": false}]}),
        json!({"type": "object", "properties": {"x": {"type": "string"}}, "unevaluatedProperties": false,
            "allOf": [{"properties": {"y": {"type": "number"}}}]}),
        json!({"type": "object", "additionalProperties": false, "properties": {"$ref": {"type": "string"}}}),
    ] {
        assert_eq!(check_schema(&object(&inner)), Ok(()), "{inner}");
    }
}

#[test]
fn nothing_is_fetched_and_nothing_is_too_large() {
    for to in ["https://example.com/s.json", "file:///etc/passwd", "other.json", "#/properties/a", "#anchor"] {
        let result = check_schema(&object(&json!({"$ref": to})));
        assert!(matches!(result, Err(SchemaError::Remote(_))), "{to}: {result:?}");
    }
    let mut deep = json!({"type": "string"});
    for _ in 0..SCHEMA_DEPTH_MAX {
        deep = object(&deep);
    }
    assert_eq!(check_schema(&deep), Err(SchemaError::Deep));
    assert_eq!(check_schema(&object(&json!({"type": "string", "description": "x".repeat(SCHEMA_BYTES_MAX)}))), Err(SchemaError::Long));
    let pattern = json!({"type": "string", "pattern": "("});
    assert!(matches!(check_schema(&object(&pattern)), Err(SchemaError::Invalid(_))));
}

/// A pattern that takes exponential time elsewhere ends soon here.
#[test]
fn patterns_are_bounded() {
    let validator = compile(&object(&json!({"type": "string", "pattern": "^(a+)+(?!x)b$"}))).unwrap();
    let began = std::time::Instant::now();
    assert!(!validator.is_valid(&json!({"a": "a".repeat(50_000)})));
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn a_foreign_schema_is_closed_at_every_level() {
    for mut foreign in [
        json!({}),
        json!({"type": "object"}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {
            "free": {}, "yes": true, "text": {"type": "string"}, "list": {"type": "array"}, "object": {"type": "object"},
            "deep": {"type": "object", "properties": {"more": {"properties": {"x": {"items": {}}}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object"}},
            "any_map": {"type": "object", "additionalProperties": {}},
            "tuple": {"type": "array", "items": [{"type": "string"}, {}]},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"y": {"type": "number"}}}]},
            "all": {"type": "object", "properties": {"a": {"type": "string"}}, "allOf": [{"properties": {"b": {}}}]},
            "both": {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"required": ["a"]}]},
            "id": {"type": "string"}, "reference": {"$ref": "#/$defs/d"},
        }, "$defs": {"d": {"type": "object", "properties": {"z": {}}}}}),
    ] {
        close_schema(&mut foreign);
        assert_eq!(check_schema(&foreign), Ok(()), "{foreign:#}");
    }
}

#[test]
fn what_was_meant_still_fits_and_nothing_else_does() {
    let mut foreign = json!({"type": "object", "properties": {
        "to": {"type": "object", "properties": {"name": {"type": "string"}}},
        "all": {"type": "object", "properties": {"a": {"type": "string"}}, "allOf": [{"properties": {"b": {"type": "integer"}}}]},
    }});
    close_schema(&mut foreign);
    let validator = compile(&foreign).unwrap();
    assert!(validator.is_valid(&json!({"to": {"name": "x"}, "all": {"a": "x", "b": 1}})));
    for bad in [json!({"to": {"name": "x", "bcc": "y"}}), json!({"cc": 1}), json!({"all": {"a": "x", "b": 1, "c": 2}}), json!({"all": {"b": "x"}})] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}
