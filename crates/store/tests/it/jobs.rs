//! Jobs: taken once, given out in order, held under a claim, ended once, and forgotten when nothing needs them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lazaret_store::{
    BLOB_INLINE_BYTES, Blobs, Fence, JobBlob, JobBody, JobCaps, JobEnd, JobFilter, JobLease, JobNames, JobRow, JobTry, JobWork, NewJob,
    NewSession, NewTurn, Store, StoreError, Webhook,
};
use model::{Code, JobState, Money, SessionId, Timestamp, TreeId, TurnId, Usage};
use serde_json::json;

use crate::common::{NOW, home, open, turn_id};

const CAPS: JobCaps = JobCaps { tenant: 100, agent_id: 100 };
const ALL: usize = 1000;

fn new_job(id: &str) -> NewJob {
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
        form: json!({ "agent_id": "bot" }),
        resolved: json!({}),
        prompt: format!("do {id}"),
        blobs: Vec::new(),
        key: None,
        request: id.to_owned(),
        retries_max: 2,
        not_before: NOW,
        webhook: None,
        queued_max: 1_000_000,
        now: NOW,
    }
}

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

fn lease(replica: &str) -> JobLease {
    JobLease { replica: replica.to_owned(), until: later(30) }
}

fn names(count: usize) -> Vec<JobNames> {
    let name = |_| {
        let turn = turn_id();
        let bits = u128::from_str_radix(turn.as_str().trim_start_matches(TurnId::PREFIX), 16).unwrap();
        JobNames { session: SessionId::from_bits(bits), turn }
    };
    (0..count).map(name).collect()
}

async fn accept(store: &Store, new: NewJob) -> JobRow {
    let accepted = store.accept_job(new).await.unwrap();
    assert!(accepted.fresh);
    accepted.row
}

async fn claim(store: &Store, count: usize) -> Vec<JobRow> {
    store.claim_jobs(lease("a"), names(count), CAPS, NOW).await.unwrap()
}

fn ids(jobs: &[JobRow]) -> Vec<&str> {
    jobs.iter().map(|job| job.id.as_str()).collect()
}

fn held(job: &JobRow) -> JobWork {
    JobWork { id: job.id.clone(), fence: job.fence }
}

fn good(job: &JobRow) -> JobEnd {
    JobEnd {
        is_good: true,
        exit_code: 0,
        code: None,
        error: None,
        usage: Usage { input_tokens: 7, ..Usage::default() },
        cost: Money(9),
        blobs: vec![text("done")],
        ..JobEnd::failed(job, Code::Internal, String::new(), later(5))
    }
}

fn text(text: &str) -> JobBlob {
    JobBlob { kind: "text".into(), path: String::new(), bytes: text.len() as u64, body: JobBody::Inline(text.into()) }
}

async fn counts(store: &Store) -> Vec<(&'static str, u64)> {
    store.count_jobs(None).await.unwrap().into_iter().filter(|(_, jobs)| *jobs > 0).collect()
}

#[tokio::test]
async fn a_key_makes_one_job() {
    let home = home();
    let store = open(home.path());
    let keyed = |id: &str, request: &str| NewJob { key: Some("k".into()), request: request.into(), ..new_job(id) };
    let first = accept(&store, keyed("a", "same")).await;
    let again = store.accept_job(keyed("b", "same")).await.unwrap();
    assert_eq!((again.row.id, again.fresh), (first.id.clone(), false));
    assert!(matches!(store.accept_job(keyed("c", "other")).await, Err(StoreError::Conflict(_))));
    // Of another tenant, it is another key.
    accept(&store, NewJob { tenant: "other".into(), ..keyed("d", "other") }).await;
    assert!(matches!(store.accept_job(new_job("a")).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.job_prompt("a").await.unwrap(), "do a");
    assert_eq!(store.job_of_key("default", "k").await.unwrap().unwrap().1, "same");
    assert_eq!(counts(&store).await, [("queued", 2)]);
}

#[tokio::test]
async fn only_so_many_wait() {
    let home = home();
    let store = open(home.path());
    let few = |id: &str| NewJob { queued_max: 2, ..new_job(id) };
    accept(&store, few("a")).await;
    accept(&store, few("b")).await;
    assert!(matches!(store.accept_job(few("c")).await, Err(StoreError::Limit { max: 2, .. })));
    claim(&store, 1).await;
    accept(&store, few("c")).await;
}

#[tokio::test]
async fn the_next_is_of_the_highest_priority_and_of_whoever_was_served_longest_ago() {
    let home = home();
    let store = open(home.path());
    let of = |id: &str, tenant: &str, agent_id: &str, priority| NewJob {
        tenant: tenant.into(),
        agent_id: agent_id.into(),
        priority,
        ..new_job(id)
    };
    for n in 0..4 {
        accept(&store, of(&format!("x1-{n}"), "x", "one", 5)).await;
    }
    for n in 0..2 {
        accept(&store, of(&format!("x2-{n}"), "x", "two", 5)).await;
        accept(&store, of(&format!("y-{n}"), "y", "three", 5)).await;
    }
    accept(&store, of("low", "z", "four", 1)).await;
    accept(&store, of("high", "x", "one", 9)).await;
    let order = claim(&store, ALL).await;
    assert_eq!(ids(&order), ["high", "y-0", "x2-0", "y-1", "x1-0", "x2-1", "x1-1", "x1-2", "x1-3", "low"]);
    assert_eq!(counts(&store).await, [("running", 10)]);
    assert!(order.iter().all(|job| job.tries == 1 && job.session.is_some() && job.state == JobState::Running));
    // One that comes later goes on from there.
    accept(&store, of("x1-4", "x", "one", 5)).await;
    accept(&store, of("y-2", "y", "three", 5)).await;
    assert_eq!(ids(&claim(&store, 1).await), ["y-2"]);
}

#[tokio::test]
async fn a_tenant_and_an_agent_run_only_so_many() {
    let home = home();
    let store = open(home.path());
    for n in 0..3 {
        accept(&store, NewJob { agent_id: "one".into(), ..new_job(&format!("one-{n}")) }).await;
    }
    for n in 0..3 {
        accept(&store, NewJob { agent_id: "two".into(), ..new_job(&format!("two-{n}")) }).await;
    }
    accept(&store, NewJob { tenant: "other".into(), ..new_job("other") }).await;
    let caps = JobCaps { tenant: 3, agent_id: 2 };
    let claimed = store.claim_jobs(lease("a"), names(ALL), caps, NOW).await.unwrap();
    let mut first = ids(&claimed);
    first.sort_unstable();
    assert_eq!(first, ["one-0", "one-1", "other", "two-0"]);
    assert!(store.claim_jobs(lease("a"), names(ALL), caps, NOW).await.unwrap().is_empty());
    let one = claimed.iter().find(|job| job.id == "one-0").unwrap();
    store.finish_job(good(one)).await.unwrap();
    assert_eq!(ids(&store.claim_jobs(lease("a"), names(ALL), caps, NOW).await.unwrap()), ["two-1"]);
}

#[tokio::test]
async fn a_delayed_job_waits_for_its_time() {
    let home = home();
    let store = open(home.path());
    accept(&store, NewJob { not_before: later(60), ..new_job("late") }).await;
    accept(&store, NewJob { not_before: later(30), ..new_job("soon") }).await;
    assert!(claim(&store, ALL).await.is_empty());
    assert_eq!(store.next_job().await.unwrap(), Some(later(30)));
    assert_eq!(ids(&store.claim_jobs(lease("a"), names(ALL), CAPS, later(30)).await.unwrap()), ["soon"]);
    // One that is stopped before its time is not begun.
    store.cancel_job("late", NOW).await.unwrap();
    assert!(store.claim_jobs(lease("a"), names(ALL), CAPS, later(100)).await.unwrap().is_empty());
    assert_eq!(store.next_job().await.unwrap(), None);
}

#[tokio::test]
async fn a_job_ends_once_and_leaves_what_it_left() {
    let home = home();
    let store = open(home.path());
    accept(&store, new_job("a")).await;
    let job = claim(&store, 1).await.remove(0);
    let started = store.start_job(held(&job), later(1)).await.unwrap();
    assert_eq!(store.start_job(held(&job), later(2)).await.unwrap().started, started.started);
    assert_eq!(store.mark_job_waiting(held(&job), true).await.unwrap().state, JobState::Waiting);
    assert_eq!(store.mark_job_waiting(held(&job), true).await.unwrap().state, JobState::Waiting);
    assert_eq!(store.mark_job_waiting(held(&job), false).await.unwrap().state, JobState::Running);
    let ended = store.finish_job(good(&job)).await.unwrap();
    assert_eq!((ended.state, ended.exit_code, ended.finished), (JobState::Completed, Some(0), Some(later(5))));
    assert_eq!((ended.usage.input_tokens, ended.cost), (7, Money(9)));
    let detail = store.job_detail("a").await.unwrap();
    assert_eq!(detail.blobs, [text("done")]);
    for again in [store.finish_job(good(&job)).await, store.finish_job(JobEnd { is_good: false, ..good(&job) }).await] {
        assert!(matches!(again, Err(StoreError::Conflict(_))));
    }
    assert!(matches!(store.cancel_job("a", NOW).await, Err(StoreError::Conflict(_))));
    assert_eq!(counts(&store).await, [("completed", 1)]);
}

#[tokio::test]
async fn who_lost_the_claim_changes_nothing() {
    let home = home();
    let store = open(home.path());
    accept(&store, new_job("a")).await;
    let job = claim(&store, 1).await.remove(0);
    let (taken, poisoned) = store.take_jobs(lease("a"), 5, NOW).await.unwrap();
    assert!(poisoned.is_empty());
    assert_eq!(taken[0].fence, Fence(job.fence.0 + 1));
    assert_eq!((&taken[0].session, &taken[0].turn), (&job.session, &job.turn));
    let old = held(&job);
    assert!(matches!(store.start_job(old.clone(), NOW).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.mark_job_waiting(old.clone(), true).await, Err(StoreError::Conflict(_))));
    let retry = store.retry_job(old, NOW, Code::SandboxFailed, "x".into(), (Usage::default(), Money::ZERO)).await;
    assert!(matches!(retry, Err(StoreError::Conflict(_))));
    assert!(matches!(store.finish_job(good(&job)).await, Err(StoreError::Conflict(_))));
    store.finish_job(good(&taken[0])).await.unwrap();
}

#[tokio::test]
async fn a_stopped_job_is_nobodys_any_more() {
    let home = home();
    let store = open(home.path());
    accept(&store, new_job("waits")).await;
    accept(&store, new_job("works")).await;
    store.cancel_job("waits", NOW).await.unwrap();
    let job = claim(&store, ALL).await.remove(0);
    assert_eq!(job.id, "works");
    let ended = store.cancel_job("works", NOW).await.unwrap();
    assert_eq!((ended.was, ended.row.state, ended.row.exit_code), (JobState::Running, JobState::Cancelled, Some(130)));
    assert_eq!(ended.row.code, Some(Code::Cancelled));
    assert!(matches!(store.finish_job(good(&job)).await, Err(StoreError::Conflict(_))));
    store.settle_job("works", Usage { output_tokens: 3, ..Usage::default() }, Money(4)).await.unwrap();
    assert_eq!(store.job("works").await.unwrap().cost, Money(4));
    assert_eq!(counts(&store).await, [("cancelled", 2)]);
}

#[tokio::test]
async fn another_try_is_another_session_after_its_time() {
    let home = home();
    let store = open(home.path());
    accept(&store, new_job("a")).await;
    let job = claim(&store, 1).await.remove(0);
    let used = (Usage { input_tokens: 1, ..Usage::default() }, Money(2));
    let waits = store.retry_job(held(&job), later(4), Code::ProviderDown, "down".into(), used).await.unwrap();
    assert_eq!((waits.state, waits.session, waits.cost), (JobState::Queued, None, Money(2)));
    assert!(claim(&store, 1).await.is_empty());
    let again = store.claim_jobs(lease("a"), names(1), CAPS, later(4)).await.unwrap().remove(0);
    assert_eq!(again.tries, 2);
    assert_ne!(again.session, job.session);
    assert_eq!(store.job_sessions("a").await.unwrap(), [job.session.unwrap(), again.session.unwrap()]);
}

#[tokio::test]
async fn a_job_that_kills_its_daemon_is_parked() {
    let home = home();
    let store = open(home.path());
    accept(&store, new_job("a")).await;
    claim(&store, 1).await;
    for _ in 0..2 {
        let (taken, poisoned) = store.take_jobs(lease("a"), 3, NOW).await.unwrap();
        assert_eq!((taken.len(), poisoned.len()), (1, 0));
    }
    let (taken, poisoned) = store.take_jobs(lease("a"), 3, NOW).await.unwrap();
    assert!(taken.is_empty());
    assert_eq!((poisoned[0].state, poisoned[0].code), (JobState::Failed, Some(Code::Poisoned)));
    // Those of another replica are not taken.
    accept(&store, new_job("b")).await;
    store.claim_jobs(lease("b"), names(1), CAPS, NOW).await.unwrap();
    assert!(store.take_jobs(lease("a"), 3, NOW).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn jobs_of_a_lost_replica_are_tried_again_or_fail() {
    let home = home();
    let store = open(home.path());
    accept(&store, new_job("again")).await;
    accept(&store, NewJob { retries_max: 0, ..new_job("once") }).await;
    store.claim_jobs(lease("gone"), names(2), CAPS, NOW).await.unwrap();
    assert!(store.lapse_jobs(later(30)).await.unwrap().is_empty());
    store.renew_jobs(JobLease { replica: "gone".into(), until: later(60) }).await.unwrap();
    assert!(store.lapse_jobs(later(31)).await.unwrap().is_empty());
    let lost = store.lapse_jobs(later(61)).await.unwrap();
    let mut states: Vec<_> = lost.iter().map(|job| (job.id.as_str(), job.state)).collect();
    states.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(states, [("again", JobState::Queued), ("once", JobState::Failed)]);
}

#[tokio::test]
async fn lists_are_pages_from_the_youngest_on() {
    let home = home();
    let store = open(home.path());
    for n in 0..10u64 {
        let new = NewJob {
            agent_id: if n % 2 == 0 { "even" } else { "odd" }.into(),
            tenant: if n < 5 { "x" } else { "y" }.into(),
            labels: [("n".into(), (n % 3).to_string())].into(),
            now: later(n),
            not_before: later(n),
            ..new_job(&format!("j{n}"))
        };
        accept(&store, new).await;
    }
    let list = async |filter: JobFilter| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = store.list_jobs(&filter, after, 2).await.unwrap();
            all.extend(page.items.into_iter().map(|job| job.id));
            match page.next {
                Some(next) => after = Some(next.parse().unwrap()),
                None => return all.join(" "),
            }
        }
    };
    let all = JobFilter::default();
    assert_eq!(list(all.clone()).await, "j9 j8 j7 j6 j5 j4 j3 j2 j1 j0");
    assert_eq!(list(JobFilter { tenant: Some("x".into()), ..all.clone() }).await, "j4 j3 j2 j1 j0");
    assert_eq!(list(JobFilter { agent_id: Some("odd".into()), ..all.clone() }).await, "j9 j7 j5 j3 j1");
    assert_eq!(list(JobFilter { label: Some(("n".into(), "1".into())), ..all.clone() }).await, "j7 j4 j1");
    assert_eq!(list(JobFilter { from: Some(later(3)), to: Some(later(6)), ..all.clone() }).await, "j5 j4 j3");
    assert_eq!(list(JobFilter { state: Some(JobState::Running), ..all.clone() }).await, "");
    let both = JobFilter { tenant: Some("y".into()), label: Some(("n".into(), "0".into())), state: Some(JobState::Queued), ..all };
    assert_eq!(list(both).await, "j9 j6");
}

#[tokio::test]
async fn filters_that_hardly_meet_look_at_so_many_jobs_and_go_on_behind_them() {
    let home = home();
    let store = open(home.path());
    const JOBS: u64 = 4500;
    // Two agents take turns, and one job of the oldest is with the other profile: nothing tells where but a look.
    let accepts = (0..JOBS).map(|n| {
        let profile = if n == 1 { "rare" } else { ["even", "odd"][usize::try_from(n % 2).unwrap()] };
        let agent_id = if n % 2 == 0 { "even" } else { "odd" }.into();
        let labels = [("all".into(), "yes".into())].into();
        store.accept_job(NewJob { agent_id, profile: profile.into(), labels, ..new_job(&format!("j{n}")) })
    });
    futures_util::future::try_join_all(accepts).await.unwrap();
    let list = async |filter: JobFilter| {
        let (mut ids, mut numbers, mut after, mut pages) = (Vec::new(), Vec::new(), None, 0);
        loop {
            let page = store.list_jobs(&filter, after, 50).await.unwrap();
            assert!(page.items.len() <= 50);
            numbers.extend(page.items.iter().map(|job| job.n));
            ids.extend(page.items.into_iter().map(|job| job.id));
            pages += 1;
            match page.next {
                Some(next) => {
                    let next: u64 = next.parse().unwrap();
                    assert!(after.is_none_or(|after| next < after), "it goes on");
                    after = Some(next);
                }
                None => {
                    assert!(numbers.is_sorted_by(|a, b| a > b), "the youngest first, each once");
                    return (ids, pages);
                }
            }
        }
    };
    let of = |agent: &str, profile: &str| JobFilter { agent_id: Some(agent.into()), profile: Some(profile.into()), ..JobFilter::default() };
    assert_eq!(list(of("odd", "rare")).await, (vec!["j1".to_owned()], 1), "the shorter way has one entry");
    let (none, pages) = list(of("odd", "even")).await;
    assert!(none.is_empty() && pages == 3, "2,250 are looked at in three goes: {pages}");
    assert_eq!(list(of("odd", "none")).await, (vec![], 1));
    let labelled = JobFilter { label: Some(("all".into(), "yes".into())), ..of("even", "even") };
    let (all, _) = list(labelled.clone()).await;
    assert_eq!(all.len(), 2250);
    let other = JobFilter { tenant: Some("other".into()), ..labelled };
    assert_eq!(list(other).await, (vec![], 1), "nothing of another tenant, and nothing about how much there is");
    assert_eq!(list(JobFilter { state: Some(JobState::Failed), ..of("even", "even") }).await, (vec![], 1));
}

#[tokio::test]
async fn a_try_begins_once_and_only_under_its_claim() {
    let home = home();
    let store = open(home.path());
    accept(&store, new_job("a")).await;
    let job = claim(&store, 1).await.remove(0);
    let (id, turn) = (job.session.clone().unwrap(), job.turn.clone().unwrap());
    let tree = |n: u128| TreeId::from_bits(0x7e00 + n);
    let session = NewSession { tree: Some(tree(1)), ..NewSession::new(id.clone(), "mini", "", "rehearsal", json!({}), NOW) };
    let asked = NewTurn { key: Some("job".into()), ..NewTurn::new(turn.clone(), id.clone(), "do it", NOW) };
    let begins = JobTry { work: held(&job), session, beginning: Some(tree(2)), turn: asked };
    let stale = JobTry { work: JobWork { fence: Fence(job.fence.0 + 1), ..held(&job) }, ..begins.clone() };
    assert!(matches!(store.begin_job(stale).await, Err(StoreError::Conflict(_))));
    assert!(store.session(&id).await.is_err(), "nothing is made for a claim that is not in force");
    let first = store.begin_job(begins.clone()).await.unwrap();
    assert_eq!((first.turn.clone(), first.fresh), (turn.clone(), true));
    // As a daemon does that comes after one that died behind the commit: with another tree.
    let later =
        JobTry { session: NewSession { tree: Some(tree(3)), ..begins.session.clone() }, beginning: Some(tree(4)), ..begins.clone() };
    let again = store.begin_job(later).await.unwrap();
    assert_eq!((again.turn, again.fresh), (turn, false));
    assert_eq!(store.session(&id).await.unwrap().tree, Some(tree(1)));
    assert_eq!(store.checkpoint(&id, 0).await.unwrap().tree, tree(2));
    store.cancel_job("a", NOW).await.unwrap();
    assert!(matches!(store.begin_job(begins).await, Err(StoreError::Conflict(_))), "it was stopped");
}

#[tokio::test]
async fn old_jobs_go_but_none_whose_end_is_still_to_be_told() {
    let home = home();
    let store = open(home.path());
    for n in 0..4 {
        let hook = Webhook { url: "http://example.com/".into(), secret: None, traceparent: None };
        accept(&store, NewJob { webhook: (n == 0).then_some(hook), ..new_job(&format!("j{n}")) }).await;
    }
    for job in claim(&store, 3).await {
        store.finish_job(good(&job)).await.unwrap();
    }
    let old = async |before, keep| {
        let old = store.old_jobs(before, keep, 100).await.unwrap();
        old.into_iter().map(|job| job.id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(old(later(5), 100).await, "");
    assert_eq!(old(later(6), 100).await, "j1 j2");
    assert_eq!(old(later(5), 1).await, "j1");
    assert!(matches!(store.delete_job("j0").await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.delete_job("j3").await, Err(StoreError::Conflict(_))));
    store.delete_job("j1").await.unwrap();
    assert!(matches!(store.job("j1").await, Err(StoreError::NotFound { .. })));
    assert_eq!(counts(&store).await, [("completed", 2), ("queued", 1)]);
    assert_eq!(store.next_webhook().await.unwrap(), Some(later(5)));
}

#[test]
fn long_things_are_files_that_stay_while_a_row_names_them() {
    let home = home();
    let blobs = Blobs::open(&home.path().join("blobs")).unwrap();
    assert!(matches!(blobs.put(&[1; BLOB_INLINE_BYTES]).unwrap(), JobBody::Inline(_)));
    let bytes = vec![7; BLOB_INLINE_BYTES + 1];
    let JobBody::Kept(hash) = blobs.put(&bytes).unwrap() else { panic!("it is long") };
    assert_eq!(blobs.put(&bytes).unwrap(), JobBody::Kept(hash.clone()));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut blobs.open_blob(&hash).unwrap(), &mut read).unwrap();
    assert_eq!(read, bytes);
    for bad in ["", "../../etc/passwd", &"g".repeat(64)] {
        assert!(blobs.open_blob(bad).is_err(), "{bad}");
    }
    drop(blobs.grow().unwrap());
    let (age, soon) = (Duration::from_secs(3600), SystemTime::now());
    assert!(blobs.old(age, soon).unwrap().is_empty());
    blobs.remove(&hash, age, soon).unwrap();
    assert!(blobs.open_blob(&hash).is_ok(), "it is too young");
    let late = soon + age * 2;
    assert_eq!(blobs.old(age, late).unwrap(), std::slice::from_ref(&hash));
    blobs.remove(&hash, age, late).unwrap();
    assert!(blobs.open_blob(&hash).is_err());
}

#[tokio::test]
async fn unused_files_are_those_that_no_job_names() {
    let home = home();
    let store = open(home.path());
    let kept = JobBlob { kind: "artifact".into(), path: "a/b".into(), bytes: 70_000, body: JobBody::Kept("ab".repeat(32)) };
    accept(&store, new_job("a")).await;
    let job = claim(&store, 1).await.remove(0);
    store.finish_job(JobEnd { blobs: vec![kept.clone(), text("x")], ..good(&job) }).await.unwrap();
    let unused = store.unused_blobs(vec!["ab".repeat(32), "cd".repeat(32)]).await.unwrap();
    assert_eq!(unused, ["cd".repeat(32)]);
    assert_eq!(store.artifacts_of(vec!["a".into()]).await.unwrap()["a"], std::slice::from_ref(&kept));
    assert_eq!(store.job_blob("a", "artifact", "a/b").await.unwrap(), kept);
    assert!(matches!(store.job_blob("a", "artifact", "c").await, Err(StoreError::NotFound { .. })));
    store.delete_job("a").await.unwrap();
    assert_eq!(store.unused_blobs(vec!["ab".repeat(32)]).await.unwrap(), ["ab".repeat(32)]);
}

#[tokio::test]
async fn what_is_shared_is_whole_or_not_there_and_stays_while_a_job_names_it() {
    let home = home();
    let store = open(home.path());
    let hash = "ab".repeat(32);
    assert_eq!(store.shelved(&hash).await.unwrap(), None);
    assert!(!store.reshelve(&hash, NOW).await.unwrap());
    assert!(matches!(store.shelve(&hash, 2, 9, NOW).await, Err(StoreError::Conflict(_))), "no piece is there");
    for (n, body) in [&b"first"[..], b"last"].into_iter().enumerate() {
        store.shelve_piece(&hash, n as u64, body.to_vec(), NOW).await.unwrap();
    }
    assert_eq!(store.shelved(&hash).await.unwrap(), None, "not whole before it is said");
    store.shelve(&hash, 2, 9, NOW).await.unwrap();
    assert_eq!(store.shelved(&hash).await.unwrap(), Some(2));
    assert_eq!(store.shelf_piece(&hash, 1).await.unwrap(), b"last");
    assert!(matches!(store.shelf_piece(&hash, 2).await, Err(StoreError::NotFound { .. })));
    let long = vec![0; lazaret_store::SHELF_PIECE_BYTES + 1];
    assert!(matches!(store.shelve_piece(&hash, 3, long, NOW).await, Err(StoreError::Invalid { .. })));

    // A job names it: no sweep takes it. Then it is young: it stays too. Then it goes.
    let file = JobBlob { kind: "file".into(), path: "a".into(), bytes: 9, body: JobBody::Kept(hash.clone()) };
    accept(&store, NewJob { blobs: vec![file], ..new_job("j1") }).await;
    assert_eq!(store.sweep_shelf(later(10)).await.unwrap(), 0);
    store.cancel_job("j1", later(1)).await.unwrap();
    store.delete_job("j1").await.unwrap();
    assert!(store.reshelve(&hash, later(20)).await.unwrap());
    assert_eq!(store.sweep_shelf(later(20)).await.unwrap(), 0);
    assert_eq!(store.sweep_shelf(later(21)).await.unwrap(), 1);
    assert_eq!(store.shelved(&hash).await.unwrap(), None);
    assert!(store.shelf_piece(&hash, 0).await.is_err());
}
