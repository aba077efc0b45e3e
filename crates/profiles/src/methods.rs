//! Methods of values that templates written for Python use. They do what a filter does; there are no others.

use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value, filters};

use crate::filters::{join, replace};
use crate::meter::{Meter, bounded};

/// Calls the method `name` of `value`.
pub(crate) fn call(meter: &Arc<Meter>, state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    meter.work(std::slice::from_ref(value))?;
    meter.work(args)?;
    let unknown = || Err(Error::new(ErrorKind::UnknownMethod, format!("a value has no method `{name}`")));
    let made = match (value.kind(), value.as_str()) {
        (ValueKind::Map, _) => return of_map(state, value, name, args).unwrap_or_else(unknown),
        (_, Some(text)) => of_text(text, name, args)?,
        _ => None,
    };
    made.map_or_else(unknown, bounded)
}

fn of_map(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let get = |key: &Value| value.get_item(key).map(|found| if found.is_undefined() { Value::from(()) } else { found });
    Some(match (name, args) {
        ("items", []) => Value::from_function(filters::items).call(state, std::slice::from_ref(value)),
        ("keys", []) => value.try_iter().map(Iterator::collect),
        ("values", []) => {
            value.try_iter().and_then(|keys| keys.map(|key| value.get_item(&key)).collect::<Result<Vec<_>, _>>().map(Value::from))
        }
        ("get", [key]) => get(key),
        ("get", [key, default]) => get(key).map(|found| if found.is_none() { default.clone() } else { found }),
        _ => return None,
    })
}

fn of_text(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let words: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
    if words.len() != args.len() && name != "join" {
        return Ok(None);
    }
    Ok(Some(match (name, words.as_slice()) {
        ("lower", []) => Value::from(text.to_lowercase()),
        ("upper", []) => Value::from(text.to_uppercase()),
        ("strip", []) => Value::from(text.trim()),
        ("lstrip", []) => Value::from(text.trim_start()),
        ("rstrip", []) => Value::from(text.trim_end()),
        ("startswith", [start]) => Value::from(text.starts_with(start)),
        ("endswith", [end]) => Value::from(text.ends_with(end)),
        ("split", []) => text.split_whitespace().map(Value::from).collect(),
        ("split", [at]) if !at.is_empty() => text.split(at).map(Value::from).collect(),
        ("splitlines", []) => text.lines().map(Value::from).collect(),
        ("replace", [from, to]) => Value::from(replace(text, from, to)?),
        ("join", _) => match args {
            [list] => Value::from(join(list, Some(text), std::iter::empty::<(&str, Value)>().collect())?),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    }))
}
