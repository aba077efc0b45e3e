//! What came of a run, counted.

use std::collections::BTreeMap;

use serde::Serialize;

use super::keep::{Outcome, Verdict};
use super::plan::{Cell, Plan};
use super::stats::{self, wilson};

/// What is told of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) run: String,
    pub(super) suite: String,
    /// Cells that were asked for.
    pub(super) cells: usize,
    /// Cells that are over.
    pub(super) over: usize,
    /// Who answered, with the number of cells.
    pub(super) providers: BTreeMap<String, usize>,
    pub(super) total: Group,
    /// By engine, model and skill.
    pub(super) variants: Vec<Group>,
    /// The same, by scenario.
    pub(super) groups: Vec<Group>,
}

/// Cells that are alike.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Group {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) scenario: String,
    pub(super) engine: String,
    pub(super) model: String,
    pub(super) skill: bool,
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Those that say nothing about the agent; they are not counted in the rate.
    pub(super) errors: u64,
    pub(super) pass_rate: f64,
    /// Where the true rate lies at 95 %, by Wilson.
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) cost_usd: f64,
    pub(super) duration_ms: u64,
    pub(super) rounds: u64,
    pub(super) tokens: u64,
}

/// What makes cells alike: scenario, engine, model, skill.
pub(super) type GroupKey = (String, String, String, bool);

impl Group {
    fn add(&mut self, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Fail => self.failed += 1,
            Verdict::Error => self.errors += 1,
        }
        self.cost_usd += outcome.cost_usd + outcome.judge_cost_usd;
        self.duration_ms += outcome.duration_ms;
        self.rounds += u64::from(outcome.rounds);
        self.tokens += outcome.tokens;
        self.pass_rate = self.rate();
        (self.low, self.high) = wilson(self.passed, self.tried());
    }

    /// Cells that say something about the agent.
    pub(super) fn tried(&self) -> u64 {
        self.passed + self.failed
    }

    pub(super) fn rate(&self) -> f64 {
        if self.tried() == 0 { 0.0 } else { stats::float(self.passed) / stats::float(self.tried()) }
    }

    /// The time of one cell, in seconds.
    pub(super) fn seconds_each(&self) -> f64 {
        stats::float(self.duration_ms) / 1000.0 / stats::float((self.tried() + self.errors).max(1))
    }
}

impl Report {
    pub(super) fn of(plan: &Plan, outcomes: &[Outcome]) -> Self {
        let by_key: BTreeMap<&str, &Cell> = plan.cells.iter().map(|cell| (cell.key.as_str(), cell)).collect();
        let mut total = Group::default();
        let mut providers: BTreeMap<String, usize> = BTreeMap::new();
        let (mut variants, mut groups): (BTreeMap<GroupKey, Group>, BTreeMap<GroupKey, Group>) = Default::default();
        for outcome in outcomes {
            let Some(cell) = by_key.get(outcome.key.as_str()) else { continue };
            total.add(outcome);
            *providers.entry(outcome.provider.clone()).or_default() += 1;
            let key = group_key(cell);
            groups.entry(key.clone()).or_insert_with(|| empty(&key)).add(outcome);
            let wide = (String::new(), key.1, key.2, key.3);
            variants.entry(wide.clone()).or_insert_with(|| empty(&wide)).add(outcome);
        }
        Self {
            run: plan.id.clone(),
            suite: plan.suite.clone(),
            cells: plan.cells.len(),
            over: outcomes.len(),
            providers,
            total,
            variants: variants.into_values().collect(),
            groups: groups.into_values().collect(),
        }
    }
}

pub(super) fn group_key(cell: &Cell) -> GroupKey {
    (cell.scenario.clone(), cell.engine.clone(), cell.model.clone().unwrap_or_default(), cell.with_skill)
}

fn empty((scenario, engine, model, skill): &GroupKey) -> Group {
    Group { scenario: scenario.clone(), engine: engine.clone(), model: model.clone(), skill: *skill, high: 1.0, ..Group::default() }
}
