//! What flags ask of a job, as a form.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use app::{JOB_FILES_BYTES_MAX, JobFile, JobForm, OutputFormat, check_job_path};
use base64::Engine as _;
use model::{Code, EgressRule, Failure, PROMPT_BYTES_MAX};
use serde_json::{Map, Value};

use super::text;
use crate::env::Env;
use crate::{args, places};

/// The longest schema.
const SCHEMA_BYTES_MAX: u64 = 256 << 10;

/// The form that flags ask for, with the files that they name.
pub(super) fn form(flags: args::JobCreate, env: &Env) -> Result<JobForm, Failure> {
    let rule = |text: &String| text.parse::<EgressRule>().map_err(|e| wrong("--allow", e.to_string()));
    let seconds = |flag: &str, text: &Option<String>| -> Result<Option<u64>, Failure> {
        text.as_deref().map(|text| duration(flag, text).map(|time| time.as_millis().div_ceil(1000))).transpose().map(|n| n.map(clamped))
    };
    Ok(JobForm {
        prompt: prompt(&flags)?,
        prompt_vars: vars(&flags.vars)?,
        timeout_s: seconds("--timeout", &flags.timeout)?,
        delay_s: seconds("--delay", &flags.delay)?,
        egress: flags.allow.iter().map(rule).collect::<Result<_, _>>()?,
        files: files(&flags.files, env)?,
        labels: pairs("--label", &flags.labels)?,
        output_schema: flags.schema.as_deref().map(schema).transpose()?,
        output_format: flags.output_format.as_deref().map(|name| match name {
            "text" => OutputFormat::Text,
            "stream-json" => OutputFormat::StreamJson,
            _ => OutputFormat::Json,
        }),
        allowed_tools: (!flags.tools.is_empty()).then_some(flags.tools),
        agent_id: flags.agent_id,
        engine: flags.engine,
        model: flags.model,
        profile: flags.profile,
        agent: flags.agent,
        env: flags.env,
        plugins: flags.plugins,
        max_turns: flags.max_turns,
        max_budget_usd: flags.budget_usd,
        repo: flags.repo,
        reference: flags.reference,
        artifacts: flags.artifacts,
        priority: flags.priority,
        retries: flags.retries,
        webhook_url: flags.webhook,
        dry_run: flags.dry_run,
        ..JobForm::default()
    })
}

fn wrong(flag: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Usage, format!("{flag}: {why}")).field(flag)
}

fn clamped(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// A time with its unit.
pub(super) fn duration(flag: &str, text: &str) -> Result<Duration, Failure> {
    let said = || wrong(flag, format!("`{}` is no time such as 90s, 15m or 1h", text.escape_debug()));
    model::parse_duration(text).ok_or_else(said)
}

fn prompt(flags: &args::JobCreate) -> Result<Option<String>, Failure> {
    if let Some(path) = &flags.prompt_file {
        let fail =
            |why: String| Failure::new(Code::PathUnusable, format!("{} cannot be read: {why}", path.display())).field("--prompt-file");
        let bytes = read(path, PROMPT_BYTES_MAX as u64).map_err(fail)?;
        return String::from_utf8(bytes).map(Some).map_err(|_| fail("it is not UTF-8".to_owned()));
    }
    flags.prompt.as_ref().or(flags.text.as_ref()).map(|given| text::prompt(given)).transpose()
}

/// A file of at most so many bytes.
fn read(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    if !file.metadata().map_err(|e| e.to_string())?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > max { Err(format!("it is longer than {max} bytes")) } else { Ok(bytes) }
}

fn schema(path: &Path) -> Result<Value, Failure> {
    let bytes = read(path, SCHEMA_BYTES_MAX).map_err(|why| wrong("--schema", format!("{}: {why}", path.display())))?;
    serde_json::from_slice(&bytes).map_err(|e| wrong("--schema", format!("{} is not JSON: {e}", path.display())))
}

/// `KEY=VALUE`, each key once.
fn pairs(flag: &str, texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for text in texts {
        let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| wrong(flag, format!("`{}` is not KEY=VALUE", text.escape_debug())))?;
        if all.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(wrong(flag, format!("`{}` is said twice", key.escape_debug())));
        }
    }
    Ok(all)
}

/// Variables of a prompt. What reads as JSON and is no text is what it reads as.
fn vars(texts: &[String]) -> Result<Map<String, Value>, Failure> {
    let value = |text: String| match serde_json::from_str::<Value>(&text) {
        Ok(value) if !value.is_string() && !value.is_null() => value,
        _ => Value::String(text),
    };
    Ok(pairs("--var", texts)?.into_iter().map(|(name, text)| (name, value(text))).collect())
}

/// Files that go along. Those in places of credentials are not sent.
fn files(texts: &[String], env: &Env) -> Result<Vec<JobFile>, Failure> {
    let mut left = JOB_FILES_BYTES_MAX as u64;
    let mut all = Vec::new();
    for text in texts {
        let (from, to) = match text.rsplit_once(':') {
            Some((from, to)) if !Path::new(text).exists() => (from, to.to_owned()),
            _ => {
                let name = Path::new(text).file_name().and_then(|name| name.to_str());
                (text.as_str(), name.ok_or_else(|| wrong("--file", "it has no name that is UTF-8"))?.to_owned())
            }
        };
        let fail = |why: String| Failure::new(Code::PathUnusable, format!("{from} cannot be sent: {why}")).field("--file");
        check_job_path(&to).map_err(|failure| wrong("--file", failure.message))?;
        let real = std::fs::canonicalize(from).map_err(|e| fail(e.to_string()))?;
        if let Some(why) = places::is_refused(&real, env) {
            return Err(fail(why));
        }
        let bytes = read(&real, left).map_err(fail)?;
        left -= bytes.len() as u64;
        all.push(JobFile { path: to, data: base64::engine::general_purpose::STANDARD.encode(bytes) });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_what_they_read_as() {
        let texts = ["n=3", "b=true", "t=hello", "q=\"x\"", "l=[1,2]", "e=", "x=a=b"].map(str::to_owned);
        let expect = json!({ "n": 3, "b": true, "t": "hello", "q": "\"x\"", "l": [1, 2], "e": "", "x": "a=b" });
        assert_eq!(Value::Object(vars(&texts).expect("variables")), expect);
        for bad in [vec!["a".to_owned()], vec!["=1".to_owned()], vec!["a=1".to_owned(), "a=2".to_owned()]] {
            assert!(vars(&bad).is_err(), "{bad:?}");
        }
    }
}
