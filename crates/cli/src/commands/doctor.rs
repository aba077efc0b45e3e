//! `lazaret doctor`: what holds on this host and what does not, each with what to do.

use serde_json::json;

use super::Context;
use crate::exit::Done;
use crate::home::Home;
use crate::out;

pub(crate) fn run(context: &Context) -> Done {
    let mut checks: Vec<(String, bool, String)> = Vec::new();
    let mut add = |name: &str, result: Result<String, String>| match result {
        Ok(how) => checks.push((name.to_owned(), true, how)),
        Err(why) => checks.push((name.to_owned(), false, why)),
    };
    let home = Home::open(&context.env.home);
    add("home", home.as_ref().map(|h| h.path().display().to_string()).map_err(with_hint));
    if let Ok(home) = &home {
        add("configuration", crate::config::Config::load(home.path()).map(|_| "every key is known".to_owned()).map_err(|f| with_hint(&f)));
        add("guest program", home.guest().map(|p| p.display().to_string()).map_err(|f| with_hint(&f)));
    }
    for probe in jail::probe() {
        add(&probe.layer.to_string(), probe.found.map_err(|missing| format!("{}; {}", missing.why, missing.remedy)));
    }
    let is_whole = checks.iter().all(|(_, holds, _)| *holds);
    for (name, holds, how) in &checks {
        if context.json {
            out::json(&json!({ "check": name, "ok": holds, "detail": how }))?;
        } else {
            out::line(&format!("{:<4} {name:<18} {}", if *holds { "ok" } else { "--" }, crate::exit::clean(how)));
        }
    }
    Ok(u8::from(!is_whole))
}

fn with_hint(failure: &model::Failure) -> String {
    match &failure.hint {
        Some(hint) => format!("{failure}; {hint}"),
        None => failure.to_string(),
    }
}
