//! Tasks: each time has one row, and a task's runs overlap as it says.

use lazaret_store::{
    NewTask, RUNS_BEGUN_MAX, RUNS_WAITING_MAX, Store, StoreError, TaskChange, TaskPlan, TaskRow, TaskRunRow, TaskRunStart, TaskRunState,
    TaskState,
};
use model::{TaskId, TaskRunId, Timestamp};
use serde_json::json;

use crate::common::{NOW, home, open};

fn at(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

async fn task(store: &Store, n: u128, overlap: &str) -> TaskRow {
    let new = NewTask {
        id: TaskId::from_bits(n),
        tenant: "default".to_owned(),
        name: format!("task {n}"),
        cron: "* * * * * *".to_owned(),
        zone: "UTC".to_owned(),
        misfire: "once".to_owned(),
        overlap: overlap.to_owned(),
        action: json!({ "message": { "text": "hello" } }),
        failures_max: 2,
        is_owners: true,
        due: Some(at(1)),
        now: NOW,
    };
    store.create_task(new).await.unwrap()
}

/// The plan of the task's one due time, given its row and moved on by a second.
fn plan(task: &TaskRow, due: u64, n: u128) -> TaskPlan {
    let run = TaskRunStart { id: TaskRunId::from_bits(n), due: at(due), skipped: None };
    TaskPlan { task: task.id.clone(), due: at(due), runs: vec![run], next: Some(at(due + 1)) }
}

async fn log(store: &Store, task: &TaskRow) -> Vec<TaskRunRow> {
    store.list_runs(&task.id, None, 100).await.unwrap().items
}

fn states(log: &[TaskRunRow]) -> Vec<TaskRunState> {
    log.iter().rev().map(|run| run.state).collect()
}

#[tokio::test]
async fn a_time_has_one_row_however_often_it_is_planned() {
    let home = home();
    let store = open(home.path());
    let task = task(&store, 1, "parallel").await;
    assert_eq!(store.next_task_time().await.unwrap(), Some(at(1)));
    assert!(store.due_tasks(NOW).await.unwrap().is_empty());
    assert_eq!(store.due_tasks(at(1)).await.unwrap().len(), 1);
    // Two daemons plan the same time: the second changes nothing.
    store.plan_tasks(vec![plan(&task, 1, 10)], at(1)).await.unwrap();
    store.plan_tasks(vec![plan(&task, 1, 11)], at(1)).await.unwrap();
    assert_eq!(log(&store, &task).await.len(), 1);
    assert_eq!(store.task(&task.id).await.unwrap().due, Some(at(2)));
    let begun = store.begin_runs(at(1)).await.unwrap();
    assert_eq!((begun.len(), begun[0].0.tries, &begun[0].1.id), (1, 1, &task.id));
    assert!(store.begin_runs(at(1)).await.unwrap().is_empty(), "it begins once");
    // Nobody knows yet what it made: the next daemon asks again.
    let run = begun[0].0.id.clone();
    assert_eq!(store.unmade_runs().await.unwrap().len(), 1);
    store.run_made(&run, Some("job-000000000001".to_owned()), None).await.unwrap();
    assert!(store.unmade_runs().await.unwrap().is_empty());
    store.end_task_run(&run, true, None, at(2)).await.unwrap();
    store.end_task_run(&run, false, Some("late".to_owned()), at(3)).await.unwrap();
    assert_eq!(states(&log(&store, &task).await), [TaskRunState::Done], "its end stands");
    assert_eq!(store.task(&task.id).await.unwrap().failures, 0);
}

#[tokio::test]
async fn runs_overlap_as_the_task_says() {
    let home = home();
    let store = open(home.path());
    let (skip, queue, parallel) = (task(&store, 1, "skip").await, task(&store, 2, "queue").await, task(&store, 3, "parallel").await);
    for due in 1..=3 {
        let n = u128::from(due) * 10;
        let plans = vec![plan(&skip, due, n + 1), plan(&queue, due, n + 2), plan(&parallel, due, n + 3)];
        store.plan_tasks(plans, at(due)).await.unwrap();
        store.begin_runs(at(due)).await.unwrap();
    }
    use TaskRunState::{Begun, Due, Skipped};
    assert_eq!(states(&log(&store, &skip).await), [Begun, Skipped, Skipped]);
    assert_eq!(states(&log(&store, &queue).await), [Begun, Due, Due]);
    assert_eq!(states(&log(&store, &parallel).await), [Begun, Begun, Begun]);
    // What waits for another one is no reason to wake up.
    assert_eq!(store.next_task_time().await.unwrap(), Some(at(4)));
    let first = log(&store, &queue).await.pop().unwrap();
    store.end_task_run(&first.id, true, None, at(3)).await.unwrap();
    assert_eq!(store.begin_runs(at(3)).await.unwrap().len(), 1);
    assert_eq!(states(&log(&store, &queue).await)[1..], [Begun, Due]);
}

#[tokio::test]
async fn what_waits_and_what_runs_is_bounded() {
    let home = home();
    let store = open(home.path());
    let (queue, parallel) = (task(&store, 1, "queue").await, task(&store, 2, "parallel").await);
    for due in 1..=RUNS_WAITING_MAX + 2 {
        let plans = vec![plan(&queue, due, u128::from(due) * 10 + 1), plan(&parallel, due, u128::from(due) * 10 + 2)];
        store.plan_tasks(plans, at(due)).await.unwrap();
    }
    let late = at(1000);
    let begun = store.begin_runs(late).await.unwrap();
    let of = |task: &TaskRow| begun.iter().filter(|(run, _)| run.task == task.id).count() as u64;
    assert_eq!((of(&queue), of(&parallel)), (1, RUNS_BEGUN_MAX));
    let log = store.list_runs(&queue.id, None, 1000).await.unwrap().items;
    assert_eq!(log.iter().filter(|run| run.state == TaskRunState::Skipped).count(), 2);
}

#[tokio::test]
async fn failures_hold_a_task_up_and_then_stop_it() {
    let home = home();
    let store = open(home.path());
    let task = task(&store, 1, "queue").await;
    store.plan_tasks(vec![plan(&task, 1, 10)], at(1)).await.unwrap();
    let run = store.begin_runs(at(1)).await.unwrap().remove(0).0;
    store.end_task_run(&run.id, false, Some("no".to_owned()), at(1)).await.unwrap();
    assert_eq!(store.task(&task.id).await.unwrap().hold, at(61));
    // The next time waits for a minute after the failure.
    store.plan_tasks(vec![plan(&task, 2, 11)], at(2)).await.unwrap();
    assert!(store.begin_runs(at(60)).await.unwrap().is_empty());
    let run = store.begin_runs(at(61)).await.unwrap().remove(0).0;
    store.plan_tasks(vec![plan(&task, 3, 12)], at(61)).await.unwrap();
    store.end_task_run(&run.id, false, Some("no".to_owned()), at(62)).await.unwrap();
    let broken = store.task(&task.id).await.unwrap();
    assert_eq!((broken.state, broken.failures), (TaskState::Broken, 2));
    assert_eq!(states(&log(&store, &task).await)[2], TaskRunState::Skipped, "what waited does not begin");
    assert_eq!(store.next_task_time().await.unwrap(), None);
    let again = store.change_task(&task.id, TaskChange::Resume(Some(at(100))), at(99)).await.unwrap();
    assert_eq!((again.state, again.failures, again.due), (TaskState::Active, 0, Some(at(100))));
}

#[tokio::test]
async fn a_paused_task_is_done_by_hand_only() {
    let home = home();
    let store = open(home.path());
    let task = task(&store, 1, "queue").await;
    store.plan_tasks(vec![plan(&task, 1, 10)], at(1)).await.unwrap();
    store.change_task(&task.id, TaskChange::Pause, at(1)).await.unwrap();
    assert!(store.begin_runs(at(5)).await.unwrap().is_empty());
    assert_eq!(store.next_task_time().await.unwrap(), None);
    let asked = store.ask_run(&task.id, TaskRunId::from_bits(99), at(5)).await.unwrap();
    assert!(asked.by_hand);
    let begun = store.begin_runs(at(5)).await.unwrap();
    assert_eq!((begun.len(), &begun[0].0.id), (1, &asked.id));
    store.remove_task(&task.id).await.unwrap();
    assert!(matches!(store.task(&task.id).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.task_run(&asked.id).await.unwrap(), None);
}

#[tokio::test]
async fn logs_are_forgotten_after_their_time() {
    let home = home();
    let store = open(home.path());
    let task = task(&store, 1, "parallel").await;
    for due in 1..=3 {
        store.plan_tasks(vec![plan(&task, due, u128::from(due))], at(due)).await.unwrap();
        for (run, _) in store.begin_runs(at(due)).await.unwrap() {
            if due < 3 {
                store.end_task_run(&run.id, true, None, at(due)).await.unwrap();
            }
        }
    }
    assert_eq!(store.forget_runs(at(2)).await.unwrap(), 1);
    assert_eq!(store.forget_runs(at(1000)).await.unwrap(), 1);
    assert_eq!(states(&log(&store, &task).await), [TaskRunState::Begun], "what is at work stays");
    let twice = NewTask { id: TaskId::from_bits(7), ..new_like(&task) };
    assert!(matches!(store.create_task(twice).await, Err(StoreError::Conflict(_))));
}

fn new_like(task: &TaskRow) -> NewTask {
    NewTask {
        id: task.id.clone(),
        tenant: task.tenant.clone(),
        name: task.name.clone(),
        cron: task.cron.clone(),
        zone: task.zone.clone(),
        misfire: task.misfire.clone(),
        overlap: task.overlap.clone(),
        action: task.action.clone(),
        failures_max: task.failures_max,
        is_owners: task.is_owners,
        due: task.due,
        now: NOW,
    }
}
