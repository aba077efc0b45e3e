//! Sleeps until something is due, and lets it begin.

use std::time::Duration;

use model::{TaskRunId, Timestamp};
use store::{RUNS_AT_ONCE, StoreError, TaskPlan, TaskRow, TaskRunStart};

use super::forms::Misfire;
use super::schedule::{Come, Schedule};
use crate::clock::fresh_bits;
use crate::due::{keep_looking, wait_for_store};
use crate::{App, now};

/// How late a time may be done without having been missed, in milliseconds.
const LATE_MS: u64 = 60_000;
/// Missed times that are done where all of them are.
const CATCH_UP_MAX: usize = 100;
/// How long is waited when what is due may not begin for another reason, in milliseconds.
const NOTHING_MS: u64 = 1000;
/// Who waits where the store does not answer.
const WHO: &str = "tasks";
/// How often runs whose end was not heard of are looked for, and old ones removed.
const TIDY_EVERY: Duration = Duration::from_secs(600);

impl App {
    /// Does what is due, from now on.
    pub(crate) fn keep_time(&self) {
        self.until_the_end(|app| async move { app.do_what_is_due().await });
        self.until_the_end(|app| async move { app.tidy_runs().await });
    }

    async fn do_what_is_due(&self) {
        while let Err(error) = self.ask_again().await {
            wait_for_store(WHO, &error).await;
        }
        keep_looking(WHO, &self.timer().wake, || self.turn_the_clock()).await;
    }

    /// Plans what has come, begins what may, and says when to come again.
    async fn turn_the_clock(&self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let at = now();
            // A look costs nothing; a write costs a flush.
            let next = self.store().next_task_time().await?;
            if next.is_none_or(|next| next > at) {
                return Ok(next);
            }
            let due = self.store().due_tasks(at).await?;
            if !due.is_empty() {
                let plans = due.iter().map(|task| plan(task, at)).collect();
                self.store().plan_tasks(plans, at).await?;
                model::crash::point("task:planned");
            }
            let begun = self.store().begin_runs(now()).await?;
            if due.is_empty() && begun.is_empty() {
                return Ok(Some(Timestamp(at.0.saturating_add(NOTHING_MS))));
            }
            if !begun.is_empty() {
                model::crash::point("task:begun");
            }
            for (run, task) in begun {
                self.metrics().task_began();
                self.begin_work(run, task);
            }
        }
    }

    /// Work that an earlier daemon may have asked for, or not: it is asked for again, under the same key.
    async fn ask_again(&self) -> Result<(), StoreError> {
        for (run, task) in self.store().unmade_runs().await? {
            self.begin_work(run, task);
        }
        Ok(())
    }

    async fn tidy_runs(&self) {
        loop {
            if let Err(error) = self.reconcile_runs().await {
                tracing::warn!(error = model::chain(&error), "runs of tasks were not looked through");
            }
            tokio::time::sleep(TIDY_EVERY).await;
        }
    }

    async fn reconcile_runs(&self) -> Result<(), StoreError> {
        let at = now();
        let mut after = None;
        loop {
            let open = self.store().open_runs(at, after.take()).await?;
            for run in &open {
                if let Some((is_well, note)) = self.end_of_work(run).await {
                    self.store().end_task_run(&run.id, is_well, note, now()).await?;
                    self.wake_tasks();
                }
            }
            match open.last() {
                Some(last) if open.len() >= store::LIST_MAX => after = Some(last.id.clone()),
                _ => break,
            }
        }
        let keep = u64::try_from(self.settings().tasks.keep.as_millis()).unwrap_or(u64::MAX);
        while self.store().forget_runs(Timestamp(at.0.saturating_sub(keep))).await? >= RUNS_AT_ONCE {}
        Ok(())
    }
}

/// What becomes of a task that is due.
fn plan(task: &TaskRow, at: Timestamp) -> TaskPlan {
    let due = task.due.unwrap_or(at);
    let empty = |next| TaskPlan { task: task.id.clone(), due, runs: Vec::new(), next };
    // What was read when the task was made is read again with the zones of this program.
    let Ok(schedule) = Schedule::parse(&task.cron, &task.zone) else { return empty(None) };
    let come = schedule.come(due, at, CATCH_UP_MAX);
    let last = come.times.last().copied().unwrap_or(due);
    TaskPlan { runs: runs(&come, Misfire::of(&task.misfire), at), ..empty(schedule.next(last.max(at))) }
}

/// The rows for times that have come.
fn runs(come: &Come, misfire: Misfire, at: Timestamp) -> Vec<TaskRunStart> {
    let start = |due: Timestamp, skipped: Option<String>| TaskRunStart { id: run_id(due), due, skipped };
    let is_late = |due: &Timestamp| at.0.saturating_sub(due.0) > LATE_MS;
    let (missed, timely): (Vec<Timestamp>, Vec<Timestamp>) = come.times.iter().copied().partition(is_late);
    let many = if come.is_cut { "many times were missed".to_owned() } else { format!("{} missed", times(missed.len())) };
    let mut rows = Vec::new();
    match (misfire, missed.split_last()) {
        (_, None) => {}
        (Misfire::Skip, Some((last, _))) => rows.push(start(*last, Some(many))),
        (Misfire::Once, Some((last, earlier))) => {
            if let Some(before) = earlier.last() {
                rows.push(start(*before, Some(format!("{many}: done once for all of them"))));
            }
            // A time that has just come is done anyhow.
            let skipped = (!timely.is_empty()).then(|| "missed: the next time is done for it".to_owned());
            rows.push(start(*last, skipped));
        }
        (Misfire::All, Some(_)) => {
            if let Some(first) = missed.first().filter(|_| come.is_cut) {
                rows.push(start(Timestamp(first.0.saturating_sub(1)), Some(format!("{many}: only the last are done"))));
            }
            rows.extend(missed.iter().map(|due| start(*due, None)));
        }
    }
    rows.extend(timely.into_iter().map(|due| start(due, None)));
    rows
}

fn times(n: usize) -> String {
    if n == 1 { "one time was".to_owned() } else { format!("{n} times were") }
}

/// Sorts by the time that it is for, so that the log is in that order.
fn run_id(due: Timestamp) -> TaskRunId {
    TaskRunId::from_bits((u128::from(due.0 & 0xffff_ffff_ffff) << 80) | (fresh_bits() & ((1 << 80) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn rows(misfire: Misfire, times: &[u64], is_cut: bool) -> Vec<(u64, bool)> {
        let come = Come { times: times.iter().map(|m| Timestamp(m * MINUTE)).collect(), is_cut };
        runs(&come, misfire, Timestamp(100 * MINUTE)).into_iter().map(|r| (r.due.0, r.skipped.is_none())).collect()
    }

    #[test]
    fn what_was_missed_is_done_as_asked() {
        let m = |n: u64| n * MINUTE;
        for misfire in [Misfire::Skip, Misfire::Once, Misfire::All] {
            assert_eq!(rows(misfire, &[100], false), [(m(100), true)]);
            assert_eq!(rows(misfire, &[99], false), [(m(99), true)], "a minute is not too late");
        }
        assert_eq!(rows(Misfire::Skip, &[50, 60, 100], false), [(m(60), false), (m(100), true)]);
        assert_eq!(rows(Misfire::Skip, &[50, 60], false), [(m(60), false)]);
        assert_eq!(rows(Misfire::Once, &[50, 60, 70], false), [(m(60), false), (m(70), true)]);
        assert_eq!(rows(Misfire::Once, &[70], false), [(m(70), true)]);
        assert_eq!(rows(Misfire::Once, &[70, 100], false), [(m(70), false), (m(100), true)], "one run, not two");
        assert_eq!(rows(Misfire::All, &[50, 60, 100], false), [(m(50), true), (m(60), true), (m(100), true)]);
        assert_eq!(rows(Misfire::All, &[50, 60], true), [(m(50) - 1, false), (m(50), true), (m(60), true)]);
    }

    #[test]
    fn logs_are_in_the_order_of_time() {
        let ids: Vec<TaskRunId> = [5u64, 6, 1_800_000_000_000, 1_800_000_000_001].map(|t| run_id(Timestamp(t))).into();
        assert!(ids.is_sorted());
    }
}
