use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

fn render(text: &str, variables: serde_json::Value, undefined: Undefined) -> Result<String, String> {
    let mut templates = Templates::default();
    for (name, text) in PARTS {
        templates.add(name, text).expect("there is room");
    }
    let variables = variables.as_object().expect("a map").clone();
    templates.render_text("t", text, &variables, undefined).map_err(|error| error.to_string())
}

/// Templates that others include.
const PARTS: &[(&str, &str)] = &[
    ("prompts/part.md.j2", "part of {{ name }}"),
    ("again", "{% include \"again\" %}"),
    ("ping", "{% include \"pong\" %}"),
    ("pong", "{% include \"ping\" %}{% include \"ping\" %}"),
    ("wide", "{% for i in range(1000) %}{% include \"wider\" %}{% endfor %}"),
    ("wider", "{% for i in range(1000) %}{{ i }}{% endfor %}"),
    ("bad", "{{ x * y }}"),
];

#[test]
fn prompts_are_rendered() {
    let check = |text: &str, variables: serde_json::Value, expect: &str| {
        assert_eq!(render(text, variables, Undefined::Error).as_deref(), Ok(expect), "{text}");
    };
    check("no {braces}", json!({}), "no {braces}");
    check("Hello {{ name }}!", json!({ "name": "<b>" }), "Hello <b>!");
    check("{{ a | default(\"3600\") }} {{ b | d(1) | int + 1 }}", json!({}), "3600 2");
    check("{% if a %}yes{% else %}no{% endif %}", json!({}), "no");
    check("{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}", json!({ "m": { "a": 1, "b": 2 } }), "a=1;b=2;");
    check("{{ \" x \".strip().upper() }}{{ m.get(\"z\", 4) }}{{ \"-\".join(l) }}", json!({ "m": {}, "l": [1, 2] }), "X41-2");
    check("{% include \"prompts/part.md.j2\" %}", json!({ "name": "it" }), "part of it");
    check("{{ l | join(\", \") }} {{ l | length }} {{ t | replace(\"a\", \"b\") }}", json!({ "l": ["x", "y"], "t": "aa" }), "x, y 2 bb");
    check("{{ t | indent(2) }}", json!({ "t": "a\nb" }), "a\n  b");
    check("{{ m | tojson }}", json!({ "m": { "a": "<" } }), "{\"a\":\"<\"}");
    check("{{ t | truncate(5) }}", json!({ "t": "abcdefgh" }), "ab...");
    check("{% set full = a ~ \" \" ~ b %}{{ full | title }}", json!({ "a": "ada", "b": "l" }), "Ada L");
}

#[test]
fn an_undefined_name_is_an_error_unless_it_shall_be_nothing() {
    let error = render("a\n{{ missing }}", json!({ "there": 1 }), Undefined::Error).expect_err("an error");
    assert!(error.contains("line 2") && error.contains("there"), "{error}");
    assert_eq!(render("a{{ missing }}b{{ x.y.z }}", json!({}), Undefined::Empty).as_deref(), Ok("ab"));
}

#[test]
fn a_template_reaches_nothing() {
    for attack in [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ name.__init__.__globals__ }}",
        "{{ config }}",
        "{{ request.application }}",
        "{{ cycler.__init__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ namespace() }}",
        "{{ debug() }}",
        "{{ self }}",
        "{{ self._TemplateReference__context }}",
        "{{ open(\"/etc/passwd\") }}",
        "{% include \"/etc/passwd\" %}",
        "{% include \"../../etc/passwd\" %}",
        "{% extends \"/etc/passwd\" %}",
        "{% import \"os\" as os %}",
        "{{ name | attr(\"__class__\") | attr(\"x\") }}",
        "{{ range.__call__(1) }}",
        "{{ loop }}",
        "{{ environ }}",
        "{{ 1 | pprint }}",
        "{{ env(\"HOME\") }}",
    ] {
        let got = render(attack, json!({ "name": "x" }), Undefined::Error);
        assert!(got.is_err(), "{attack}: {got:?}");
    }
}

#[test]
fn what_would_take_for_ever_or_all_memory_ends_soon() {
    let large = "x".repeat(VARIABLES_BYTES_MAX - 100);
    let many: Vec<u32> = (0..1000).collect();
    let variables = json!({ "x": large, "l": many, "n": 100_000, "name": "it" });
    let began = Instant::now();
    for attack in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(1000000000) %}{{ a }}{% endfor %}",
        "{% for a in range(100000) %}{{ x }}{% endfor %}",
        "{% for a in range(100000) %}{{ x | upper | length }}{% endfor %}",
        "{% for a in range(100000) %}{% if x.upper() == x.lower() %}{% endif %}{% endfor %}",
        "{% for a in range(100000) %}{% if (x ~ x) == (x ~ x ~ a) %}{% endif %}{% endfor %}",
        "{{ range(100000) | join(x) }}",
        "{{ x | replace(\"x\", x) }}",
        "{{ x | replace(\"\", x) }}",
        "{{ x.replace(\"x\", x) }}",
        "{{ x | indent(1000000000) }}",
        "{{ x * 99999999 }}",
        "{{ l * 99999999 }}",
        "{{ \"%1000000000d\" | format(1) }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ 1 | round(1000000000) }}{{ missing }}",
        "{{ [x, x, x, x] | tojson | tojson | tojson | tojson }}",
        "{% include \"again\" %}",
        "{% include \"ping\" %}",
        "{% include \"wide\" %}",
        "{% include \"bad\" %}",
        "{% for a in l %}{% for b in l %}{% for c in l %}text{% endfor %}{% endfor %}{% endfor %}",
    ] {
        let got = render(attack, variables.clone(), Undefined::Error);
        assert!(got.is_err(), "{attack}: {} bytes", got.map_or(0, |text| text.len()));
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(600), "{took:?}");
}

proptest::proptest! {
    #[test]
    fn no_template_breaks_it(text in "[{}% a-z\"'().|~+*\\[\\]0-9\n]{0,200}") {
        let _ = render(&text, json!({ "a": "b", "x": [1] }), Undefined::Error);
        let _ = render(&format!("{{{{ {text} }}}}"), json!({ "a": "b" }), Undefined::Empty);
        let _ = render(&format!("{{% {text} %}}"), json!({ "a": "b" }), Undefined::Empty);
    }
}
