//! Suites: what they say, checked before anything runs. A suite is a stranger's: it names no host path, host, secret or agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use model::{Failure, Money, is_name, parse_duration};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::beneath::{self, Beneath};
use super::fail;

/// Bytes of suite.toml or of a scenario.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a skill.
pub(super) const SKILL_BYTES_MAX: u64 = 120 << 10;
/// Scenarios of a suite.
const SCENARIOS_MAX: usize = 1000;
/// Checks of a scenario.
const CHECKS_MAX: usize = 50;
/// Engines or models of a suite, each.
const DIMENSION_MAX: usize = 16;
/// Memory of one regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Tries of one cell.
const TRIALS_MAX: u32 = 100;
/// What a cell may cost when nothing is said, in US dollars, and the most that a suite can ask for.
const COST_USD: f64 = 1.0;
const COST_USD_MAX: f64 = 100.0;
/// How long a cell may take when nothing is said, and a command of a suite.
const TIME: Duration = Duration::from_secs(600);
const COMMAND_TIME: Duration = Duration::from_secs(120);
/// The longest time that a suite can ask for.
const TIME_MAX: Duration = Duration::from_secs(4 * 3600);
/// How often the model is asked in a cell when nothing is said.
const ROUNDS: u32 = 50;
/// The skill that ships, by the name that suites know it by.
const SHIPPED: (&str, &str) = ("spawn-agent", include_str!("../../../../../share/coordinator/SKILL.md"));
/// Tools that run commands, as engines call them; `shell` in a check means any.
const SHELLS: &[&str] = &["bash", "Bash", "shell", "exec_command", "shell_command", "run_shell_command", "execute_command", "local_shell"];

/// A suite.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) beneath: Beneath,
    pub(super) engines: Vec<String>,
    pub(super) models: Vec<String>,
    pub(super) skill: Option<String>,
    pub(super) judge: JudgeBy,
    pub(super) scenarios: Vec<Scenario>,
}

/// Who judges, where a scenario asks for it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct JudgeBy {
    pub(super) model: Option<String>,
}

/// One thing that is asked, and how it is graded.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) prompt: String,
    /// What /workspace begins with, as a tar.
    pub(super) files: Option<Bytes>,
    pub(super) setup: Option<String>,
    pub(super) trials: u32,
    pub(super) limits: CellLimits,
    pub(super) checks: Vec<Check>,
    /// Of all of the above.
    pub(super) hash: String,
}

/// What one cell may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct CellLimits {
    pub(super) cost: Money,
    pub(super) time: Duration,
    /// Requests that ask the model to say something.
    pub(super) rounds: u32,
}

/// One thing that must hold afterwards.
#[derive(Debug)]
pub(super) struct Check {
    /// For people.
    pub(super) name: String,
    pub(super) test: Test,
}

#[derive(Debug)]
pub(super) enum Test {
    /// A command in a sandbox with the files succeeds.
    Command { run: String, time: Duration },
    /// A file is as it should be.
    File { path: String, is: FileTest },
    /// A tool was called so often, with such arguments.
    Tool { names: Vec<String>, with: Option<Regex>, at_least: u32, at_most: Option<u32> },
    /// The last words.
    Answer { holds: Regex, is_wanted: bool },
    /// A model says that this holds.
    Judge { criterion: String },
}

#[derive(Debug)]
pub(super) enum FileTest {
    Exists,
    Absent,
    Contains(String),
    Lacks(String),
    Matches(Regex),
    /// It, or all below it, is as before the engine began.
    Unchanged,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSuite {
    #[serde(default)]
    about: String,
    #[serde(default)]
    engines: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    trials: Option<u32>,
    #[serde(default)]
    skill: Option<RawSkill>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    judge: JudgeBy,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSkill {
    file: Option<String>,
    shipped: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    cost_usd: Option<f64>,
    time: Option<String>,
    rounds: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    #[serde(default)]
    about: String,
    prompt: String,
    #[serde(default)]
    files: Option<String>,
    #[serde(default)]
    tree: Vec<RawFile>,
    #[serde(default)]
    setup: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    trials: Option<u32>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    check: Vec<RawCheck>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    path: String,
    content: String,
    #[serde(default)]
    executable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCheck {
    name: Option<String>,
    run: Option<String>,
    time: Option<String>,
    file: Option<String>,
    exists: Option<bool>,
    contains: Option<String>,
    lacks: Option<String>,
    matches: Option<String>,
    unchanged: Option<bool>,
    tool: Option<String>,
    with: Option<String>,
    called: Option<bool>,
    at_least: Option<u32>,
    at_most: Option<u32>,
    answer: Option<String>,
    answer_lacks: Option<String>,
    judge: Option<String>,
}

impl Suite {
    /// Reads a suite, with the scenarios that `only` names; all of them when it is empty.
    pub(super) fn read(path: &Path, only: &[String]) -> Result<Self, Failure> {
        let path = std::fs::canonicalize(path).map_err(|e| fail::suite(&path.display().to_string(), e))?;
        let beneath = Beneath::open(&path)?;
        let text = beneath.text("suite.toml", TEXT_BYTES_MAX)?;
        let raw: RawSuite = toml::from_str(&text).map_err(|e| fail::suite("suite.toml", e.message()))?;
        if raw.engines.len() > DIMENSION_MAX || raw.models.len() > DIMENSION_MAX {
            return Err(fail::suite("suite.toml", format!("it has more than {DIMENSION_MAX} engines or models")));
        }
        if let Some(engine) = raw.engines.iter().find(|engine| engine.contains('/')) {
            return Err(fail::suite("suite.toml", format!("`{}`: a suite names engines, no programs", engine.escape_debug())));
        }
        let skill = raw.skill.as_ref().map(|skill| read_skill(&beneath, skill)).transpose()?;
        let mut scenarios = Vec::new();
        for file in beneath.names("scenarios")?.iter().filter(|name| !name.starts_with('.')) {
            if scenarios.len() >= SCENARIOS_MAX {
                return Err(fail::suite("scenarios", format!("there are more than {SCENARIOS_MAX}")));
            }
            scenarios.extend(Scenario::read(&beneath, file, &raw, only)?);
        }
        if scenarios.is_empty() {
            return Err(fail::suite("scenarios", if only.is_empty() { "there is none" } else { "none is called like that" }));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let _ = raw.about;
        Ok(Self { name, path, beneath, engines: raw.engines, models: raw.models, skill, judge: raw.judge, scenarios })
    }

    /// Of all that decides what a run of it does.
    pub(super) fn hash(&self, skill: Option<&str>) -> String {
        let mut digest = Sha256::new();
        for scenario in &self.scenarios {
            digest.update(&scenario.hash);
        }
        digest.update(skill.unwrap_or_default());
        digest.update(self.judge.model.as_deref().unwrap_or_default());
        hex(&digest.finalize())
    }

    pub(super) fn scenario(&self, name: &str) -> Option<&Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn read_skill(beneath: &Beneath, skill: &RawSkill) -> Result<String, Failure> {
    match (&skill.file, &skill.shipped) {
        (Some(file), None) => beneath.text(file, SKILL_BYTES_MAX),
        (None, Some(name)) if name == SHIPPED.0 => Ok(SHIPPED.1.to_owned()),
        (None, Some(name)) => Err(fail::suite("suite.toml", format!("no skill `{}` ships; there is {}", name.escape_debug(), SHIPPED.0))),
        _ => Err(fail::suite("suite.toml", "a skill has a `file` in the suite, or is `shipped`")),
    }
}

impl Scenario {
    fn read(beneath: &Beneath, file: &str, suite: &RawSuite, only: &[String]) -> Result<Option<Self>, Failure> {
        let at = format!("scenarios/{file}");
        let name = file.strip_suffix(".toml").filter(|name| is_name(name));
        let name = name.ok_or_else(|| fail::suite(&at, "a scenario is a file of small letters, digits and `-` that ends with .toml"))?;
        let text = beneath.text(&at, TEXT_BYTES_MAX)?;
        let raw: RawScenario = toml::from_str(&text).map_err(|e| fail::suite(&at, e.message()))?;
        if !only.is_empty() && !only.iter().any(|want| name.contains(want.as_str()) || raw.tags.contains(want)) {
            return Ok(None);
        }
        let wrong = |why: &str| fail::suite(&at, why);
        if raw.prompt.trim().is_empty() || raw.prompt.contains('\0') {
            return Err(wrong("the prompt is empty or holds a NUL"));
        }
        if raw.check.is_empty() || raw.check.len() > CHECKS_MAX {
            return Err(wrong(&format!("a scenario has 1 to {CHECKS_MAX} checks")));
        }
        let trials = raw.trials.or(suite.trials).unwrap_or(1);
        if !(1..=TRIALS_MAX).contains(&trials) {
            return Err(wrong(&format!("there are 1 to {TRIALS_MAX} trials")));
        }
        let files = pack(beneath, &raw, &at)?;
        let mut digest = Sha256::new();
        digest.update(text.as_bytes());
        digest.update(files.as_deref().unwrap_or_default());
        let _ = raw.about;
        Ok(Some(Self {
            name: name.to_owned(),
            files,
            limits: limits(&raw.limits, &suite.limits, &at)?,
            checks: raw.check.into_iter().map(|check| check.check(&at)).collect::<Result<_, _>>()?,
            prompt: raw.prompt,
            setup: raw.setup,
            trials,
            hash: hex(&digest.finalize()),
        }))
    }
}

/// What /workspace begins with.
fn pack(beneath: &Beneath, raw: &RawScenario, at: &str) -> Result<Option<Bytes>, Failure> {
    if raw.files.is_none() && raw.tree.is_empty() {
        return Ok(None);
    }
    let mut builder = tar::Builder::new(Vec::new());
    if let Some(files) = &raw.files {
        beneath.pack(files, &mut builder)?;
    }
    for file in &raw.tree {
        beneath::check(&file.path)?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_size(file.content.len() as u64);
        builder.append_data(&mut header, &file.path, file.content.as_bytes()).map_err(|e| fail::suite(at, e))?;
    }
    Ok(Some(builder.into_inner().map_err(|e| fail::suite(at, e))?.into()))
}

fn limits(own: &RawLimits, suite: &RawLimits, at: &str) -> Result<CellLimits, Failure> {
    let cost = own.cost_usd.or(suite.cost_usd).unwrap_or(COST_USD);
    let cost = Some(cost).filter(|usd| *usd <= COST_USD_MAX).and_then(Money::from_usd);
    let time = own.time.as_deref().or(suite.time.as_deref()).map_or(Ok(TIME), |text| duration(text, at))?;
    let rounds = own.rounds.or(suite.rounds).unwrap_or(ROUNDS);
    Ok(CellLimits {
        cost: cost.ok_or_else(|| fail::suite(at, format!("cost_usd is from 0 to {COST_USD_MAX}")))?,
        time,
        rounds: if rounds == 0 { return Err(fail::suite(at, "rounds is at least 1")) } else { rounds },
    })
}

fn duration(text: &str, at: &str) -> Result<Duration, Failure> {
    let time = parse_duration(text).filter(|time| !time.is_zero() && *time <= TIME_MAX);
    time.ok_or_else(|| fail::suite(at, format!("`{}` is no time like 90s or 1h, at most 4h", text.escape_debug())))
}

impl RawCheck {
    fn check(self, at: &str) -> Result<Check, Failure> {
        let regex = |text: &str| {
            let built = RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).multi_line(true).build();
            built.map_err(|_| fail::suite(at, format!("`{}` is no regular expression that can be used", text.escape_debug())))
        };
        let kinds = [
            self.run.is_some(),
            self.file.is_some(),
            self.tool.is_some(),
            self.answer.is_some(),
            self.answer_lacks.is_some(),
            self.judge.is_some(),
        ];
        if kinds.iter().filter(|is| **is).count() != 1 {
            return Err(fail::suite(at, "a check has one of run, file, tool, answer, answer_lacks and judge"));
        }
        let is_file = self.file.is_some();
        let has_file_words =
            self.exists.is_some() || self.contains.is_some() || self.lacks.is_some() || self.matches.is_some() || self.unchanged.is_some();
        let is_tool = self.tool.is_some();
        let has_tool_words = self.with.is_some() || self.called.is_some() || self.at_least.is_some() || self.at_most.is_some();
        if (has_file_words && !is_file) || (has_tool_words && !is_tool) || (self.time.is_some() && self.run.is_none()) {
            return Err(fail::suite(at, "a check has a word that belongs to another kind of check"));
        }
        let own_name = self.name.clone();
        let (name, test) = match (self.run, self.file, self.tool, self.answer, self.answer_lacks, self.judge) {
            (Some(run), ..) => {
                let time = self.time.as_deref().map_or(Ok(COMMAND_TIME), |text| duration(text, at))?;
                (format!("`{run}` succeeds"), Test::Command { run, time })
            }
            (_, Some(path), ..) => {
                beneath::check(&path)?;
                let (said, is) = match (self.exists, self.contains, self.lacks, self.matches, self.unchanged) {
                    (Some(true), None, None, None, None) => ("is there".to_owned(), FileTest::Exists),
                    (Some(false), None, None, None, None) => ("is not there".to_owned(), FileTest::Absent),
                    (None, Some(text), None, None, None) => (format!("holds `{text}`"), FileTest::Contains(text)),
                    (None, None, Some(text), None, None) => (format!("does not hold `{text}`"), FileTest::Lacks(text)),
                    (None, None, None, Some(text), None) => (format!("matches `{text}`"), FileTest::Matches(regex(&text)?)),
                    (None, None, None, None, Some(true)) => ("is as it was".to_owned(), FileTest::Unchanged),
                    _ => return Err(fail::suite(at, "a check of a file has one of exists, contains, lacks, matches and unchanged = true")),
                };
                (format!("{path} {said}"), Test::File { path, is })
            }
            (_, _, Some(tool), ..) => {
                let with = self.with.as_deref().map(regex).transpose()?;
                let (at_least, at_most) = match (self.called, self.at_least, self.at_most) {
                    (Some(false), None, None) => (0, Some(0)),
                    (Some(false), ..) => return Err(fail::suite(at, "a tool that is not called has no at_least and at_most")),
                    (Some(true), least, most) => (least.unwrap_or(1), most),
                    (None, None, Some(most)) => (0, Some(most)),
                    (None, least, most) => (least.unwrap_or(1), most),
                };
                let said = self.with.map(|with| format!(" with `{with}`")).unwrap_or_default();
                let often = if at_most == Some(0) { "is not called" } else { "is called" };
                let names = match tool.as_str() {
                    "shell" => SHELLS.iter().map(|name| (*name).to_owned()).collect(),
                    _ => vec![tool.clone()],
                };
                (format!("{tool} {often}{said}"), Test::Tool { names, with, at_least, at_most })
            }
            (.., Some(text), None, None) => {
                (format!("the answer matches `{text}`"), Test::Answer { holds: regex(&text)?, is_wanted: true })
            }
            (.., Some(text), None) => {
                (format!("the answer does not match `{text}`"), Test::Answer { holds: regex(&text)?, is_wanted: false })
            }
            (.., Some(criterion)) => (criterion.clone(), Test::Judge { criterion }),
            _ => return Err(fail::suite(at, "a check has nothing to check")),
        };
        Ok(Check { name: own_name.unwrap_or(name), test })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(files: &[(&str, &str)]) -> Result<Suite, Failure> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("scenarios")).expect("make");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("write");
        }
        Suite::read(dir.path(), &[])
    }

    fn scenario(text: &str) -> Result<Suite, Failure> {
        suite(&[("suite.toml", ""), ("scenarios/one.toml", text)])
    }

    #[test]
    fn a_suite_is_read() {
        let text = "prompt = \"x\"\ntrials = 3\n[limits]\ncost_usd = 0.25\ntime = \"90s\"\nrounds = 4\n[[tree]]\npath = \"a/b\"\ncontent = \"c\"\n\
                    [[check]]\nrun = \"true\"\n[[check]]\nfile = \"a/b\"\nunchanged = true\n[[check]]\ntool = \"shell\"\nwith = \"ls\"\n\
                    [[check]]\nanswer = \"yes\"\n[[check]]\njudge = \"it is kind\"\n";
        let suite = scenario(text).expect("a suite");
        let one = &suite.scenarios[0];
        assert_eq!((one.trials, one.limits.rounds, one.limits.time, one.checks.len()), (3, 4, Duration::from_secs(90), 5));
        assert!(matches!(&one.checks[2].test, Test::Tool { names, at_least: 1, at_most: None, .. } if names.len() > 3));
        assert_ne!(suite.hash(None), suite.hash(Some("skill")));
    }

    #[test]
    fn what_a_suite_may_not_say_is_refused() {
        let check = "[[check]]\nrun = \"true\"\n";
        for bad in [
            check.to_owned(),
            "prompt = \"x\"".to_owned(),
            format!("prompt = \" \"\n{check}"),
            format!("prompt = \"x\"\negress = [\"example.org\"]\n{check}"),
            format!("prompt = \"x\"\nsecrets = [\"anthropic\"]\n{check}"),
            format!("prompt = \"x\"\nmounts = [\"/etc\"]\n{check}"),
            format!("prompt = \"x\"\nagent = \"default\"\n{check}"),
            format!("prompt = \"x\"\nfiles = \"/etc\"\n{check}"),
            format!("prompt = \"x\"\nfiles = \"../..\"\n{check}"),
            format!("prompt = \"x\"\n[[tree]]\npath = \"../x\"\ncontent = \"\"\n{check}"),
            format!("prompt = \"x\"\n[[tree]]\npath = \"/x\"\ncontent = \"\"\n{check}"),
            format!("prompt = \"x\"\ntrials = 0\n{check}"),
            format!("prompt = \"x\"\n[limits]\ncost_usd = -1.0\n{check}"),
            format!("prompt = \"x\"\n[limits]\ntime = \"99h\"\n{check}"),
            "prompt = \"x\"\n[[check]]\nrun = \"true\"\nfile = \"a\"\n".to_owned(),
            "prompt = \"x\"\n[[check]]\nfile = \"a\"\n".to_owned(),
            "prompt = \"x\"\n[[check]]\nfile = \"../a\"\nexists = true\n".to_owned(),
            "prompt = \"x\"\n[[check]]\nanswer = \"(\"\n".to_owned(),
            "prompt = \"x\"\n[[check]]\nanswer = \"a{1000}{1000}{1000}\"\n".to_owned(),
            "prompt = \"x\"\n[[check]]\nrun = \"true\"\ncontains = \"a\"\n".to_owned(),
        ] {
            assert!(scenario(&bad).is_err(), "{bad}");
        }
        let fine = format!("prompt = \"x\"\n{check}");
        assert!(scenario(&fine).is_ok());
        for bad in
            ["engines = [\"/bin/sh\"]", "egress = []", "[skill]\nfile = \"../SKILL.md\"", "[skill]\nfile = \"/etc/passwd\"", "[skill]\n"]
        {
            assert!(suite(&[("suite.toml", bad), ("scenarios/one.toml", &fine)]).is_err(), "{bad}");
        }
        assert!(suite(&[("suite.toml", ""), ("scenarios/One.toml", &fine)]).is_err());
        assert!(suite(&[("suite.toml", "")]).is_err(), "no scenario");
    }
}
