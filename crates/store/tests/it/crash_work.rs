//! What the killed program of [`crate::crash`] does with jobs, tasks, webhooks, tenants and what they are made of, and what
//! must be there afterwards.

use std::collections::BTreeMap;

use lazaret_store::{
    ConfigKey, ConfigRule, JobCaps, JobEnd, JobLease, JobNames, JobRow, JobTry, JobWork, NewConfig, NewJob, NewSession, NewTask, NewTurn,
    Store, TaskChange, TaskPlan, TaskRunStart, Webhook, WebhookOutcome, WebhookTried,
};
use model::{Code, JobState, Money, SessionId, TaskId, TaskRunId, Timestamp, TreeId, TurnId, Usage};
use serde_json::json;

use crate::common::NOW;
use crate::crash::acknowledge;

const CAPS: JobCaps = JobCaps { tenant: 100, agent_id: 100 };

fn later(ms: u64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

fn lease(replica: &str, until: u64) -> JobLease {
    JobLease { replica: replica.to_owned(), until: later(until) }
}

fn new_job(id: &str, webhook: Option<Webhook>) -> NewJob {
    NewJob {
        id: id.to_owned(),
        tenant: "default".into(),
        agent_id: "bot".into(),
        agent: "default".into(),
        priority: 5,
        profile: "default".into(),
        engine: "mini".into(),
        model: String::new(),
        labels: BTreeMap::new(),
        form: json!({}),
        resolved: json!({}),
        prompt: "do it".into(),
        blobs: Vec::new(),
        key: None,
        request: id.to_owned(),
        retries_max: 2,
        not_before: NOW,
        webhook,
        queued_max: 1000,
        now: NOW,
    }
}

async fn claim(store: &Store, replica: &str, bits: u128, now: Timestamp) -> JobRow {
    let names = vec![JobNames { session: SessionId::from_bits(bits), turn: TurnId::from_bits(bits) }];
    store.claim_jobs(lease(replica, 30_000), names, CAPS, now).await.unwrap().remove(0)
}

fn held(job: &JobRow) -> JobWork {
    JobWork { id: job.id.clone(), fence: job.fence }
}

/// Each kind of write about jobs and what is around them.
pub(crate) async fn steps(store: &Store) {
    rules(store).await;
    jobs(store).await;
    shelf(store).await;
    webhooks(store).await;
    tasks(store).await;
    crate::branches::steps(store).await;
    crate::crash_chats::steps(store).await;
}

async fn rules(store: &Store) {
    store.put_tenant("red", None, None, None, NOW, true).await.unwrap();
    acknowledge("tenant-change");
    store.set_budget("all@day", Money(7), None, NOW).await.unwrap();
    acknowledge("budget-set");
    let new = NewConfig {
        key: key(),
        content: "text".into(),
        description: None,
        removed: false,
        after: 0,
        rule: ConfigRule::New,
        actor: "owner".into(),
        now: NOW,
    };
    store.put_config(new).await.unwrap();
    acknowledge("config-put");
}

fn key() -> ConfigKey {
    ConfigKey { tenant: "default".into(), kind: "profile".into(), name: "fast".into() }
}

async fn jobs(store: &Store) {
    let hook = Webhook { url: "http://example.com/".into(), secret: None, traceparent: None };
    store.accept_job(new_job("j1", Some(hook))).await.unwrap();
    acknowledge("job-accept");
    let job = claim(store, "a", 0x31, NOW).await;
    acknowledge("job-claim");
    store.take_jobs(lease("a", 30_000), 5, NOW).await.unwrap();
    acknowledge("job-take");
    store.renew_jobs(lease("a", 40_000)).await.unwrap();
    acknowledge("job-renew");
    store.lapse_jobs(later(1000)).await.unwrap();
    acknowledge("job-lapse");
    let job = store.job(&job.id).await.unwrap();
    store.begin_job(first_try(&job)).await.unwrap();
    acknowledge("session-begin");
    store.start_job(held(&job), NOW).await.unwrap();
    acknowledge("job-start");
    store.mark_job_waiting(held(&job), true).await.unwrap();
    acknowledge("job-mark");
    store.mark_job_waiting(held(&job), false).await.unwrap();
    let used = (Usage::default(), Money::ZERO);
    store.retry_job(held(&job), later(1), Code::SandboxFailed, "it went away".into(), used).await.unwrap();
    acknowledge("job-retry");
    let job = claim(store, "a", 0x32, later(2)).await;
    let end = JobEnd { is_good: true, exit_code: 0, code: None, ..JobEnd::failed(&job, Code::Internal, String::new(), later(3)) };
    store.finish_job(end).await.unwrap();
    acknowledge("job-finish");
    store.accept_job(new_job("j2", None)).await.unwrap();
    store.cancel_job("j2", later(4)).await.unwrap();
    acknowledge("job-cancel");
    store.settle_job("j2", Usage::default(), Money(5)).await.unwrap();
    acknowledge("job-settle");
    store.delete_job("j2").await.unwrap();
    acknowledge("job-delete");
}

/// The session and the turn of a job's first try.
fn first_try(job: &JobRow) -> JobTry {
    let (id, turn) = (job.session.clone().unwrap(), job.turn.clone().unwrap());
    let tree = Some(TreeId::from_bits(0x31));
    let session = NewSession { tree, ..NewSession::new(id.clone(), "mini", "", "rehearsal", json!({}), NOW) };
    let turn = NewTurn { key: Some("job".into()), ..NewTurn::new(turn, id, "do it", NOW) };
    JobTry { work: held(job), session, beginning: Some(TreeId::from_bits(0x30)), turn }
}

async fn shelf(store: &Store) {
    store.shelve_piece("aa", 0, b"left".to_vec(), NOW).await.unwrap();
    acknowledge("shelf-piece");
    store.shelve("aa", 1, 4, NOW).await.unwrap();
    acknowledge("shelf");
    store.shelve_piece("bb", 0, b"never whole".to_vec(), NOW).await.unwrap();
    assert_eq!(store.sweep_shelf(later(1)).await.unwrap(), 1, "no job names it");
    acknowledge("shelf-sweep");
}

async fn webhooks(store: &Store) {
    let hook = store.claim_webhooks(1, Vec::new(), later(10), later(1000)).await.unwrap().remove(0);
    acknowledge("webhook-claim");
    store.keep_webhook_body(&hook.id, b"{}".to_vec()).await.unwrap();
    acknowledge("webhook-body");
    let outcome = WebhookOutcome::Sent;
    let tried = WebhookTried { id: hook.id.clone(), claim: hook.claim, status: Some(200), error: None, outcome, now: later(20) };
    assert!(store.webhook_tried(tried).await.unwrap());
    acknowledge("webhook-tried");
    store.resend_webhook(&hook.id, later(30)).await.unwrap();
    acknowledge("webhook-resend");
    store.forget_webhooks(later(40)).await.unwrap();
    acknowledge("webhook-forget");
}

async fn tasks(store: &Store) {
    let (id, other, run) = (TaskId::from_bits(1), TaskId::from_bits(2), TaskRunId::from_bits(1));
    let new = |id: &TaskId, name: &str| NewTask {
        id: id.clone(),
        tenant: "default".into(),
        name: name.into(),
        cron: "* * * * *".into(),
        zone: "UTC".into(),
        misfire: "once".into(),
        overlap: "queue".into(),
        action: json!({}),
        failures_max: 5,
        is_owners: true,
        due: Some(NOW),
        now: NOW,
    };
    store.create_task(new(&id, "kept")).await.unwrap();
    acknowledge("task-create");
    store.create_task(new(&other, "other")).await.unwrap();
    store.change_task(&other, TaskChange::Pause, NOW).await.unwrap();
    acknowledge("task-change");
    store.remove_task(&other).await.unwrap();
    acknowledge("task-remove");
    let start = TaskRunStart { id: run.clone(), due: NOW, skipped: None };
    store.plan_tasks(vec![TaskPlan { task: id, due: NOW, runs: vec![start], next: Some(later(60_000)) }], NOW).await.unwrap();
    acknowledge("task-plan");
    assert_eq!(store.begin_runs(later(1)).await.unwrap().len(), 1);
    acknowledge("task-begin");
    store.run_made(&run, Some("j9".into()), None).await.unwrap();
    acknowledge("task-made");
    store.end_task_run(&run, true, None, later(2)).await.unwrap();
    acknowledge("task-end");
    store.forget_runs(later(3)).await.unwrap();
    acknowledge("task-forget");
}

/// What must be there after these steps, and nothing else.
pub(crate) async fn check(store: &Store, did: &impl Fn(&str) -> bool, point: &str) {
    crate::branches::check(store, did, point).await;
    crate::crash_chats::check(store, did, point).await;
    assert_eq!(store.tenant("red").await.is_ok(), did("tenant-change"), "{point}");
    assert_eq!(store.list_budgets(NOW).await.unwrap().len(), usize::from(did("budget-set")), "{point}");
    assert_eq!(store.config(&key()).await.unwrap().is_some(), did("config-put"), "{point}");

    let job = store.job("j1").await.ok();
    assert_eq!(job.is_some(), did("job-accept"), "{point}");
    if let Some(job) = job {
        let expect: &[JobState] = match (did("job-claim"), did("job-mark"), did("job-retry"), did("job-finish")) {
            (false, ..) => &[JobState::Queued],
            (_, false, ..) => &[JobState::Running],
            // The end of the waiting, and the second claim, may or may not have come.
            (.., false, _) => &[JobState::Waiting, JobState::Running],
            (.., false) => &[JobState::Queued, JobState::Running],
            _ => &[JobState::Completed],
        };
        assert!(expect.contains(&job.state), "{point}: {:?}", job.state);
    }
    let session = SessionId::from_bits(0x31);
    let begun =
        (store.session(&session).await.is_ok(), store.checkpoint(&session, 0).await.is_ok(), store.turn(&TurnId::from_bits(0x31)).await);
    let is_begun = did("session-begin");
    assert_eq!((begun.0, begun.1, begun.2.is_ok()), (is_begun, is_begun, is_begun), "{point}: a try begins whole or not at all");
    assert_eq!(store.job("j2").await.is_ok_and(|job| job.state == JobState::Cancelled), did("job-cancel") && !did("job-delete"), "{point}");
    let shelved = store.shelved("aa").await.unwrap();
    assert_eq!(shelved.is_some(), did("shelf") && !did("shelf-sweep"), "{point}");
    assert!(!did("shelf-sweep") || store.shelf_piece("bb", 0).await.is_err(), "{point}: what never became whole goes");
    let hooks: u64 = store.count_webhooks().await.unwrap().into_iter().map(|(_, n)| n).sum();
    assert_eq!(hooks, u64::from(did("job-finish")), "{point}: its end and what is owed for it come together");

    let task = store.task(&TaskId::from_bits(1)).await.ok();
    assert_eq!(task.is_some(), did("task-create"), "{point}");
    let run = store.task_run(&TaskRunId::from_bits(1)).await.unwrap();
    assert_eq!(run.is_some(), did("task-plan") && !did("task-forget"), "{point}");
    assert!(task.is_none_or(|task| task.due == Some(if did("task-plan") { later(60_000) } else { NOW })), "{point}");
    assert!(store.task(&TaskId::from_bits(2)).await.is_err() || !did("task-remove"), "{point}");
}
