//! Which cells a run has.

use std::collections::BTreeSet;

use model::{Code, Failure, Timestamp};
use serde::{Deserialize, Serialize};

use super::suite::Suite;

/// Cells of one run.
const CELLS_MAX: usize = 10_000;
/// The longest name of an engine or model, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// One run, as it was asked for. Written once, before anything begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) id: String,
    pub(super) made: Timestamp,
    /// The version of the program.
    pub(super) lazaret: String,
    /// The suite's name, and where it lies.
    pub(super) suite: String,
    pub(super) path: std::path::PathBuf,
    /// Scenarios that were asked for.
    pub(super) only: Vec<String>,
    /// Of the suite and the skill: a run goes on only with what it began with.
    pub(super) hash: String,
    /// The skill that cells with it have.
    pub(super) skill: Option<String>,
    pub(super) record: bool,
    pub(super) keep: bool,
    pub(super) cells: Vec<Cell>,
}

/// One try of one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cell {
    /// Its name in the run, and that of its tape.
    pub(super) key: String,
    pub(super) scenario: String,
    /// Of what the scenario says.
    pub(super) hash: String,
    pub(super) engine: String,
    pub(super) model: Option<String>,
    pub(super) with_skill: bool,
    /// From 1.
    pub(super) trial: u32,
    /// Whether it is answered from its tape.
    pub(super) replay: bool,
}

/// What is varied.
#[derive(Debug, Clone)]
pub(super) struct Axes {
    pub(super) engines: Vec<String>,
    /// `None` leaves it to the engine.
    pub(super) models: Vec<Option<String>>,
    pub(super) skills: Vec<bool>,
    pub(super) trials: Option<u32>,
}

/// Engine and model, which decide whether there is a key.
pub(super) type Pair = (String, Option<String>);

impl Axes {
    /// What flags and suite ask for.
    pub(super) fn of(suite: &Suite, flags: &crate::args::EvalRun, has_skill: bool) -> Result<Self, Failure> {
        let or = |asked: &[String], own: &[String]| if asked.is_empty() { own.to_vec() } else { asked.to_vec() };
        let mut engines = or(&flags.engines, &suite.engines);
        if engines.is_empty() {
            engines.push("mini".to_owned());
        }
        let models = or(&flags.models, &suite.models);
        let usage = |why: String| Failure::new(Code::Usage, why);
        if let Some(bad) = engines.iter().chain(&models).find(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
            return Err(usage(format!("`{}` is no name of an engine or model", bad.escape_debug())));
        }
        if let Some(bad) = engines.iter().find(|name| name.contains('/')) {
            return Err(usage(format!("`{}`: an eval runs engines by name", bad.escape_debug())).field("--engine"));
        }
        let skills = match (flags.with_skill, flags.without_skill) {
            (true, _) if !has_skill => {
                return Err(usage("there is no skill".to_owned()).hint("name one: --skill FILE").field("--with-skill"));
            }
            (true, false) => vec![true],
            (false, true) => vec![false],
            _ if has_skill => vec![false, true],
            _ => vec![false],
        };
        let models = if models.is_empty() { vec![None] } else { models.into_iter().map(Some).collect() };
        Ok(Self { engines, models, skills, trials: flags.trials })
    }

    /// The pairs of engine and model.
    pub(super) fn pairs(&self) -> Vec<Pair> {
        self.engines.iter().flat_map(|engine| self.models.iter().map(|model| (engine.clone(), model.clone()))).collect()
    }

    /// Every cell, in the order in which they begin: tries of one thing lie apart, so that a bad hour does not hit one alone.
    pub(super) fn cells(&self, suite: &Suite, replays: &[Pair]) -> Result<Vec<Cell>, Failure> {
        let mut cells = Vec::new();
        let most = suite.scenarios.iter().map(|scenario| self.trials.unwrap_or(scenario.trials)).max().unwrap_or(1);
        for trial in 1..=most {
            for scenario in suite.scenarios.iter().filter(|scenario| trial <= self.trials.unwrap_or(scenario.trials)) {
                for (engine, model) in self.pairs() {
                    let replay = replays.contains(&(engine.clone(), model.clone()));
                    for with_skill in &self.skills {
                        let key = key(&scenario.name, &engine, model.as_deref(), *with_skill, trial);
                        let (scenario, hash) = (scenario.name.clone(), scenario.hash.clone());
                        let (engine, model) = (engine.clone(), model.clone());
                        cells.push(Cell { key, scenario, hash, engine, model, with_skill: *with_skill, trial, replay });
                    }
                }
            }
        }
        let names: BTreeSet<&str> = cells.iter().map(|cell| cell.key.as_str()).collect();
        if names.len() != cells.len() {
            return Err(Failure::new(Code::Usage, "two engines or models of the run are called too much alike"));
        }
        if cells.len() > CELLS_MAX {
            return Err(Failure::new(Code::Usage, format!("the run would have {} cells; at most {CELLS_MAX}", cells.len())));
        }
        Ok(cells)
    }
}

/// The name of a cell: also that of files, so plain characters alone.
fn key(scenario: &str, engine: &str, model: Option<&str>, with_skill: bool, trial: u32) -> String {
    let plain = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect::<String>();
    let model = model.map_or_else(|| "default".to_owned(), plain);
    let skill = if with_skill { "skill" } else { "plain" };
    format!("{scenario}.{}.{model}.{skill}.{trial}", plain(engine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_plain_name() {
        assert_eq!(key("one", "mini", Some("anthropic/a.b:c"), true, 2), "one.mini.anthropic_a_b_c.skill.2");
        assert_eq!(key("one", "../x", None, false, 1), "one.___x.default.plain.1");
    }
}
