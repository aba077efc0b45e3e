//! The filters and tests that templates have: pure ones, each of which is counted and whose text is bounded.

use std::sync::Arc;

use minijinja::value::{Kwargs, Rest, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters, tests};

use crate::meter::{Meter, TEXT_BYTES_MAX, bounded, fail, too_long};

/// The deepest that a filter may indent.
const INDENT_MAX: usize = 64;

/// Gives an environment everything that templates may use.
pub(crate) fn install(env: &mut Environment<'_>, meter: &Arc<Meter>) {
    for (name, filter) in usual() {
        counted(env, name, filter, meter);
    }
    counted(env, "replace", Value::from_function(replace), meter);
    counted(env, "join", Value::from_function(join), meter);
    counted(env, "indent", Value::from_function(indent), meter);
    counted(env, "truncate", Value::from_function(truncate), meter);
    counted(env, "tojson", Value::from_function(tojson), meter);
    counted(env, "wordcount", Value::from_function(wordcount), meter);
    install_tests(env);
    env.add_function("range", minijinja::functions::range);
    env.add_function("dict", minijinja::functions::dict);
}

fn usual() -> [(&'static str, Value); 36] {
    [
        ("abs", Value::from_function(filters::abs)),
        ("attr", Value::from_function(filters::attr)),
        ("bool", Value::from_function(filters::bool)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("count", Value::from_function(filters::length)),
        ("d", Value::from_function(filters::default)),
        ("default", Value::from_function(filters::default)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("e", Value::from_function(filters::escape)),
        ("escape", Value::from_function(filters::escape)),
        ("first", Value::from_function(filters::first)),
        ("float", Value::from_function(filters::float)),
        ("groupby", Value::from_function(filters::groupby)),
        ("int", Value::from_function(filters::int)),
        ("items", Value::from_function(filters::items)),
        ("last", Value::from_function(filters::last)),
        ("length", Value::from_function(filters::length)),
        ("lines", Value::from_function(filters::lines)),
        ("list", Value::from_function(filters::list)),
        ("lower", Value::from_function(filters::lower)),
        ("map", Value::from_function(filters::map)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("reverse", Value::from_function(filters::reverse)),
        ("round", Value::from_function(filters::round)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("sort", Value::from_function(filters::sort)),
        ("split", Value::from_function(filters::split)),
        ("string", Value::from_function(filters::string)),
        ("title", Value::from_function(filters::title)),
        ("trim", Value::from_function(filters::trim)),
        ("unique", Value::from_function(filters::unique)),
        ("upper", Value::from_function(filters::upper)),
    ]
}

fn counted(env: &mut Environment<'_>, name: &'static str, filter: Value, meter: &Arc<Meter>) {
    let meter = Arc::clone(meter);
    env.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
        let args: Vec<Value> = args.0.into_iter().map(ValueOrKwargs::into_value).collect();
        meter.work(&args)?;
        bounded(filter.call(state, &args)?)
    });
}

fn install_tests(env: &mut Environment<'_>) {
    env.add_test("defined", tests::is_defined);
    env.add_test("undefined", tests::is_undefined);
    env.add_test("none", tests::is_none);
    env.add_test("boolean", tests::is_boolean);
    env.add_test("number", tests::is_number);
    env.add_test("integer", tests::is_integer);
    env.add_test("float", tests::is_float);
    env.add_test("string", tests::is_string);
    env.add_test("sequence", tests::is_sequence);
    env.add_test("iterable", tests::is_iterable);
    env.add_test("mapping", tests::is_mapping);
    env.add_test("odd", tests::is_odd);
    env.add_test("even", tests::is_even);
    env.add_test("startingwith", tests::is_startingwith);
    env.add_test("endingwith", tests::is_endingwith);
    env.add_test("true", tests::is_true);
    env.add_test("false", tests::is_false);
    env.add_test("in", tests::is_in);
    for name in ["eq", "equalto", "=="] {
        env.add_test(name, tests::is_eq);
    }
    for name in ["ne", "!="] {
        env.add_test(name, tests::is_ne);
    }
    for name in ["lt", "lessthan", "<"] {
        env.add_test(name, tests::is_lt);
    }
    for name in ["gt", "greaterthan", ">"] {
        env.add_test(name, tests::is_gt);
    }
    for name in ["le", "<="] {
        env.add_test(name, tests::is_le);
    }
    for name in ["ge", ">="] {
        env.add_test(name, tests::is_ge);
    }
}

/// A text with every `from` as `to`.
pub(crate) fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let growth = to.len().saturating_sub(from.len());
    if growth > 0 {
        let most = if from.is_empty() { text.len() + 1 } else { text.len() / from.len() };
        // Counted only where the worst case would be too much.
        let found = if growth.saturating_mul(most) > TEXT_BYTES_MAX { text.matches(from).count() } else { 0 };
        if growth.saturating_mul(found).saturating_add(text.len()) > TEXT_BYTES_MAX {
            return Err(too_long());
        }
    }
    Ok(text.replace(from, to))
}

/// The entries with `between` between them.
pub(crate) fn join(value: &Value, between: Option<&str>, options: Kwargs) -> Result<String, Error> {
    let attribute: Option<&str> = options.get("attribute")?;
    options.assert_all_used()?;
    let between = between.unwrap_or("");
    let mut out = String::new();
    for (n, item) in value.try_iter()?.enumerate() {
        let item = match attribute {
            Some(name) => item.get_attr(name)?,
            None => item,
        };
        if item.is_undefined() {
            return Err(fail("an entry to be joined is not defined"));
        }
        if n > 0 {
            out.push_str(between);
        }
        match item.as_str() {
            Some(text) if out.len() + text.len() <= TEXT_BYTES_MAX => out.push_str(text),
            Some(_) => return Err(too_long()),
            None => out.push_str(&item.to_string()),
        }
        if out.len() > TEXT_BYTES_MAX {
            return Err(too_long());
        }
    }
    Ok(out)
}

fn indent(text: &str, width: Option<usize>, first: Option<bool>, blank: Option<bool>, options: Kwargs) -> Result<String, Error> {
    let width = width.or(options.get("width")?).unwrap_or(4);
    let first = first.or(options.get("first")?).unwrap_or(false);
    let blank = blank.or(options.get("blank")?).unwrap_or(false);
    options.assert_all_used()?;
    if width > INDENT_MAX {
        return Err(fail(&format!("it indents by more than {INDENT_MAX}")));
    }
    if text.lines().count().saturating_mul(width).saturating_add(text.len()) > TEXT_BYTES_MAX {
        return Err(too_long());
    }
    let pad = " ".repeat(width);
    let mut out = String::with_capacity(text.len());
    for (n, line) in text.split('\n').enumerate() {
        if n > 0 {
            out.push('\n');
        }
        if (n > 0 || first) && (blank || !line.is_empty()) {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    Ok(out)
}

fn truncate(text: &str, length: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let length = length.or(options.get("length")?).unwrap_or(255);
    let end: Option<&str> = options.get("end")?;
    let end = end.unwrap_or("...");
    options.assert_all_used()?;
    if text.chars().count() <= length {
        return Ok(text.to_owned());
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    Ok(kept + end)
}

fn tojson(value: &Value, indent: Option<usize>, options: Kwargs) -> Result<Value, Error> {
    let indent = indent.or(options.get("indent")?);
    options.assert_all_used()?;
    let written = match indent {
        Some(0..=INDENT_MAX) => serde_json::to_string_pretty(value),
        Some(_) => return Err(fail(&format!("it indents by more than {INDENT_MAX}"))),
        None => serde_json::to_string(value),
    };
    written.map(Value::from_safe_string).map_err(|error| fail(&format!("a value has no form in JSON: {error}")))
}

fn wordcount(text: &str) -> usize {
    text.split_whitespace().count()
}
