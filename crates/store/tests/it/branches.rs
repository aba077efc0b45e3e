//! Agents that work on branches: made with their session, told what came home, forgotten whole.

use lazaret_store::{
    BRANCH_COMMENTS_MAX, BRANCH_REPOS_MAX, BranchFilter, BranchHome, BranchMerged, BranchPatch, BranchRepo, BranchRepoHome,
    BranchRepoPatch, Lease, MERGE_QUEUES_OPEN_MAX, NewBranch, NewBranchComment, NewMergeQueue, NewSession, Record, Store, StoreError,
};
use model::{BranchId, BranchState, MergeQueueId, Outcome, QueueEvent, QueueState, SessionId, Timestamp, TurnEvent};
use serde_json::json;

use crate::common::{NOW, accept, finish, home, new_session, open, tree};
use crate::crash::acknowledge;

fn new(n: u128, name: &str) -> NewBranch {
    NewBranch {
        id: BranchId::from_bits(n),
        session: NewSession { tree: Some(tree()), ..new_session() },
        repo: "/srv/repo".to_owned(),
        name: name.to_owned(),
        kind: "feature".to_owned(),
        base: "a".repeat(40),
        target: Some("main".to_owned()),
        task: "a \"task\"\nwith lines".to_owned(),
        batch: None,
        options: json!({ "history": "all" }),
        also: Vec::new(),
    }
}

fn beside(name: &str) -> BranchRepo {
    BranchRepo { name: name.to_owned(), repo: format!("/srv/{name}"), base: "b".repeat(40), ..BranchRepo::default() }
}

fn came(turn: u64, tip: &str) -> BranchHome {
    BranchHome::Came {
        turn,
        tip: tip.to_owned(),
        reference: "refs/heads/feat/x".to_owned(),
        note: None,
        commits: 2,
        dirty: 1,
        untracked: 3,
        size: Some(json!({ "files": 1 })),
    }
}

/// The turn of a session that comes next, at work.
struct Begun(Lease);

async fn begin(store: &Store, session: &SessionId) -> Begun {
    let turn = store.open_turns(session).await.unwrap().remove(0).id;
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    store.record(Record::new(turn, lease.fence, vec![], NOW).change(TurnEvent::Start)).await.unwrap();
    Begun(lease)
}

impl Begun {
    async fn ends(self, store: &Store) {
        finish(store, &self.0.turn, self.0.fence).await;
    }
}

/// Each kind of write about branch agents, for the program that is killed.
pub(crate) async fn steps(store: &Store) {
    let row = store.create_branch(new(1, "feat/x")).await.unwrap();
    acknowledge("branch-create");
    store.note_branch_home(&row.id, came(1, "b"), NOW).await.unwrap();
    acknowledge("branch-home");
    store.update_branch(&row.id, BranchPatch { verdict: Some(json!(1)), ..BranchPatch::default() }, NOW).await.unwrap();
    acknowledge("branch-update");
    let comment = NewBranchComment { path: None, line: None, body: "a word".to_owned(), now: NOW };
    store.comment_branch(&row.id, comment).await.unwrap();
    acknowledge("branch-comment");
    store.create_merge_queue(queue(1, "a")).await.unwrap();
    acknowledge("merge-queue");
    store.delete_branch(&row.id).await.unwrap();
    acknowledge("branch-delete");
}

/// What must be there after a kill.
pub(crate) async fn check(store: &Store, did: &impl Fn(&str) -> bool, point: &str) {
    let row = store.branch(&BranchId::from_bits(1)).await.ok();
    assert_eq!(row.is_some(), did("branch-create") && !did("branch-delete"), "{point}");
    let queues = store.merge_queues(None, None, None, 10).await.unwrap();
    assert_eq!(queues.len(), usize::from(did("merge-queue")), "{point}");
    let Some(row) = row else { return };
    assert!(store.session(&row.session).await.is_ok(), "{point}: both or neither");
    assert_eq!((row.home_tip.is_some(), row.verdict.is_some()), (did("branch-home"), did("branch-update")), "{point}");
    assert_eq!(store.branch_comments(&row.id).await.unwrap().len(), usize::from(did("branch-comment")), "{point}");
}

fn queue(n: u128, key: &str) -> NewMergeQueue {
    NewMergeQueue {
        id: MergeQueueId::from_bits(n),
        tenant: "default".to_owned(),
        repo: "/srv/repo".to_owned(),
        target: "main".to_owned(),
        key: key.to_owned(),
        options: json!({ "resolve": true }),
        places: json!([{ "branch": "a" }]),
        now: NOW,
    }
}

async fn state(store: &Store, id: &BranchId) -> BranchState {
    store.branch(id).await.unwrap().state()
}

#[tokio::test]
async fn an_agent_and_its_session_are_made_and_forgotten_together() {
    let home = home();
    let store = open(home.path());
    let first = new(1, "feat/x");
    let session = first.session.id.clone();
    let row = store.create_branch(first.clone()).await.unwrap();
    assert_eq!((row.name.as_str(), row.task.as_str(), row.turns), ("feat/x", "a \"task\"\nwith lines", 0));
    assert_eq!((row.state(), row.turn.clone()), (BranchState::Stopped, None));
    assert_eq!(store.branch_named("default", "/srv/repo", "feat/x").await.unwrap().as_ref(), Some(&row));
    assert_eq!(store.branch_of_session(&session).await.unwrap().as_ref(), Some(&row));
    // A second one on the branch leaves no session behind.
    let second = new(2, "feat/x");
    let of_second = second.session.id.clone();
    assert!(matches!(store.create_branch(second).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.session(&of_second).await, Err(StoreError::NotFound { .. })));
    // Nor does a session that exists make a branch.
    let twice = NewBranch { session: first.session.clone(), ..new(3, "feat/y") };
    assert!(store.create_branch(twice).await.is_err());
    assert_eq!(store.branch_named("default", "/srv/repo", "feat/y").await.unwrap(), None);
    // Who forgets the session must know of the branch.
    assert!(matches!(store.delete_session(&session).await, Err(StoreError::Conflict(_))));
    accept(&store, &session).await;
    assert!(matches!(store.delete_branch(&row.id).await, Err(StoreError::Conflict(_))), "a turn waits");
    begin(&store, &session).await.ends(&store).await;
    store.delete_branch(&row.id).await.unwrap();
    assert!(matches!(store.session(&session).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.branch(&row.id).await, Err(StoreError::NotFound { .. })));
    store.create_branch(NewBranch { session: NewSession { tree: Some(tree()), ..new_session() }, ..new(4, "feat/x") }).await.unwrap();
}

#[tokio::test]
async fn the_turn_that_counts_is_the_first_open_one_else_the_last() {
    let home = home();
    let store = open(home.path());
    let row = store.create_branch(new(1, "feat/x")).await.unwrap();
    accept(&store, &row.session).await;
    assert_eq!(state(&store, &row.id).await, BranchState::Starting);
    let first = begin(&store, &row.session).await;
    accept(&store, &row.session).await;
    let now = store.branch(&row.id).await.unwrap();
    assert_eq!((now.state(), now.turn.map(|turn| turn.n), now.turns), (BranchState::Working, Some(1), 2));
    first.ends(&store).await;
    assert_eq!(state(&store, &row.id).await, BranchState::Starting, "the second waits");
    begin(&store, &row.session).await.ends(&store).await;
    let now = store.branch(&row.id).await.unwrap();
    assert_eq!((now.state(), now.turn.unwrap().outcome), (BranchState::Done, Some(Outcome::Completed)));
}

#[tokio::test]
async fn work_is_owed_until_it_came_home() {
    let home = home();
    let store = open(home.path());
    let row = store.create_branch(new(1, "feat/x")).await.unwrap();
    assert!(store.branches_owed(10).await.unwrap().is_empty());
    accept(&store, &row.session).await;
    let first = begin(&store, &row.session).await;
    assert!(store.branches_owed(10).await.unwrap().is_empty(), "it works");
    first.ends(&store).await;
    assert_eq!(store.branches_owed(10).await.unwrap().len(), 1);
    let failed = BranchHome::Failed { note: "the disk is full".to_owned(), wake: Timestamp(NOW.0 + 5) };
    let now = store.note_branch_home(&row.id, failed.clone(), NOW).await.unwrap();
    assert_eq!((now.home_tries, now.home_wake, now.home_note.as_deref()), (1, Timestamp(NOW.0 + 5), Some("the disk is full")));
    assert_eq!(store.branches_owed(10).await.unwrap().len(), 1);
    let now = store.note_branch_home(&row.id, came(1, "b"), NOW).await.unwrap();
    assert_eq!((now.home_turn, now.home_tip.as_deref(), now.home_note, now.home_tries), (1, Some("b"), None, 0));
    assert_eq!((now.commits, now.dirty, now.untracked, now.size), (2, 1, 3, Some(json!({ "files": 1 }))));
    assert!(store.branches_owed(10).await.unwrap().is_empty());
    // An earlier turn that is told late does not take it back, nor what is known of it.
    let brought = store.branch(&row.id).await.unwrap();
    for late in [came(0, "a"), BranchHome::Refused { turn: 0, note: "late".to_owned() }] {
        assert_eq!(store.note_branch_home(&row.id, late, NOW).await.unwrap(), brought);
    }
    // The same one may be told again: there may be more of it.
    assert_eq!(store.note_branch_home(&row.id, came(1, "c"), NOW).await.unwrap().home_tip.as_deref(), Some("c"));
    accept(&store, &row.session).await;
    begin(&store, &row.session).await.ends(&store).await;
    let refused = BranchHome::Refused { turn: 2, note: "x".repeat(5000) };
    let now = store.note_branch_home(&row.id, refused, NOW).await.unwrap();
    assert_eq!((now.home_turn, now.home_tip.as_deref()), (2, Some("c")), "what came before stays");
    assert!(now.home_note.unwrap().len() <= 500);
    assert!(store.branches_owed(10).await.unwrap().is_empty(), "what is refused is not tried again");
}

#[tokio::test]
async fn lists_are_cut_by_tenant_repository_and_batch() {
    let home = home();
    let store = open(home.path());
    for n in 1..=5 {
        let mut one = new(n, &format!("b{n}"));
        one.batch = (n > 3).then(|| "b".to_owned());
        one.session.tenant = if n == 5 { "other" } else { "default" }.to_owned();
        one.repo = if n == 1 { "/srv/else" } else { "/srv/repo" }.to_owned();
        store.create_branch(one).await.unwrap();
    }
    let list = async |filter: BranchFilter| {
        let page = store.list_branches(&filter, None, 10).await.unwrap();
        page.items.into_iter().map(|row| row.name).collect::<Vec<_>>()
    };
    let all = BranchFilter::default();
    assert_eq!(list(all.clone()).await, ["b5", "b4", "b3", "b2", "b1"]);
    assert_eq!(list(BranchFilter { tenant: Some("default".into()), ..all.clone() }).await, ["b4", "b3", "b2", "b1"]);
    assert_eq!(list(BranchFilter { repo: Some("/srv/else".into()), ..all.clone() }).await, ["b1"]);
    assert_eq!(list(BranchFilter { batch: Some("b".into()), ..all.clone() }).await, ["b5", "b4"]);
    assert_eq!(list(BranchFilter { name: Some("b3".into()), ..all.clone() }).await, ["b3"]);
    let page = store.list_branches(&all, None, 2).await.unwrap();
    let next = page.next.unwrap().parse().unwrap();
    let rest = store.list_branches(&all, Some(next), 10).await.unwrap();
    assert_eq!((page.items.len(), rest.items.len(), rest.next), (2, 3, None));
}

#[tokio::test]
async fn comments_are_numbered_bounded_and_sent_once() {
    let home = home();
    let store = open(home.path());
    let row = store.create_branch(new(1, "feat/x")).await.unwrap();
    let comment = |body: &str| NewBranchComment { path: Some("a.rs".to_owned()), line: Some(3), body: body.to_owned(), now: NOW };
    assert_eq!(store.comment_branch(&row.id, comment("one")).await.unwrap().n, 1);
    assert_eq!(store.comment_branch(&row.id, comment("two")).await.unwrap().n, 2);
    for bad in [comment(" "), comment(&"x".repeat(10_001)), NewBranchComment { path: Some("a\0".to_owned()), ..comment("x") }] {
        assert!(matches!(store.comment_branch(&row.id, bad).await, Err(StoreError::Invalid { .. })));
    }
    let turn = accept(&store, &row.session).await.turn;
    store.send_branch_comments(&row.id, 1, &turn).await.unwrap();
    let sent: Vec<bool> = store.branch_comments(&row.id).await.unwrap().iter().map(|c| c.turn.is_some()).collect();
    assert_eq!(sent, [true, false], "a comment that came meanwhile waits for the next");
    const { assert!(BRANCH_COMMENTS_MAX > 2) };
    let patch = BranchPatch {
        checked: Some(json!({ "passed": true })),
        merged: Some(BranchMerged { tip: "t".into(), into: "main".into(), commit: "c".into() }),
        ..BranchPatch::default()
    };
    let now = store.update_branch(&row.id, patch, NOW).await.unwrap();
    assert_eq!((now.checked, now.verdict, now.merged_into.as_deref()), (Some(json!({ "passed": true })), None, Some("main")));
    let now = store.update_branch(&row.id, BranchPatch { verdict: Some(json!(1)), ..BranchPatch::default() }, NOW).await.unwrap();
    assert!(now.checked.is_some() && now.verdict == Some(json!(1)), "what is not said stays");
}

#[tokio::test]
async fn a_merge_queue_is_made_once_and_its_state_follows_the_rules() {
    let home = home();
    let store = open(home.path());
    let made = store.create_merge_queue(queue(1, "a")).await.unwrap();
    assert_eq!((made.state, made.target.as_str()), (QueueState::Working, "main"));
    assert_eq!(store.create_merge_queue(queue(2, "a")).await.unwrap(), made, "the same request");
    let note = |places, event| store.note_merge_queue(&made.id, places, event, Timestamp(9));
    let noted = note(Some(json!([1])), None).await.unwrap();
    assert_eq!((noted.state, &noted.places, noted.changed), (QueueState::Working, &json!([1]), Timestamp(9)));
    assert_eq!(note(None, Some(QueueEvent::Stop)).await.unwrap().state, QueueState::Stopped);
    assert!(matches!(note(None, Some(QueueEvent::Finish)).await, Err(StoreError::Conflict(_))));
    assert_eq!(note(None, Some(QueueEvent::Resume)).await.unwrap().places, json!([1]));
    assert_eq!(note(None, Some(QueueEvent::Finish)).await.unwrap().state, QueueState::Done);
    assert!(matches!(note(None, Some(QueueEvent::Resume)).await, Err(StoreError::Conflict(_))));
    assert!(matches!(note(Some(json!("x".repeat(300_000))), None).await, Err(StoreError::Invalid { .. })));
    assert!(matches!(store.merge_queue(&MergeQueueId::from_bits(9)).await, Err(StoreError::NotFound { .. })));
    let list = |tenant: &str, state| store.merge_queues(Some(tenant.to_owned()), Some("/srv/repo".to_owned()), state, 10);
    assert_eq!(list("default", Some(QueueState::Done)).await.unwrap().len(), 1);
    assert!(list("default", Some(QueueState::Working)).await.unwrap().is_empty() && list("other", None).await.unwrap().is_empty());
}

#[tokio::test]
async fn open_merge_queues_have_a_limit() {
    let home = home();
    let store = open(home.path());
    for n in 0..MERGE_QUEUES_OPEN_MAX {
        store.create_merge_queue(queue(u128::from(n) + 1, &n.to_string())).await.unwrap();
    }
    let more = store.create_merge_queue(queue(1000, "more")).await;
    assert!(matches!(more, Err(StoreError::Limit { .. })), "{more:?}");
    store.note_merge_queue(&MergeQueueId::from_bits(1), None, Some(QueueEvent::Finish), NOW).await.unwrap();
    store.create_merge_queue(queue(1000, "more")).await.unwrap();
    let bad = NewMergeQueue { key: String::new(), ..queue(1001, "") };
    assert!(matches!(store.create_merge_queue(bad).await, Err(StoreError::Invalid { .. })));
}

#[tokio::test]
async fn repositories_beside_the_first_are_kept_changed_and_taken() {
    let home = home();
    let store = open(home.path());
    let row = store.create_branch(NewBranch { also: vec![beside("lib"), beside("docs")], ..new(1, "feat/x") }).await.unwrap();
    assert_eq!(row.also.iter().map(|repo| repo.name.as_str()).collect::<Vec<_>>(), ["lib", "docs"]);
    // One branch of a repository has one agent, whichever of an agent's repositories it is.
    let of = |n, repo: &str| NewBranch { repo: repo.to_owned(), ..new(n, "feat/x") };
    assert!(matches!(store.create_branch(of(2, "/srv/lib")).await, Err(StoreError::Conflict(_))));
    let other = NewBranch { also: vec![beside("docs")], ..of(3, "/srv/else") };
    assert!(matches!(store.create_branch(other).await, Err(StoreError::Conflict(_))));
    store.create_branch(NewBranch { also: vec![beside("docs")], ..new(4, "feat/y") }).await.unwrap();
    let mut taken = store.branches_taken("default", "/srv/docs").await.unwrap();
    taken.sort();
    assert_eq!(taken, ["feat/x", "feat/y"]);
    assert!(store.branches_taken("other", "/srv/docs").await.unwrap().is_empty());
    // Each repository lists those that work on it.
    for (repo, names) in [("/srv/docs", &["feat/y", "feat/x"][..]), ("/srv/lib", &["feat/x"]), ("/srv/DOCS", &[]), ("/srv/%", &[])] {
        let filter = BranchFilter { repo: Some(repo.to_owned()), ..BranchFilter::default() };
        let page = store.list_branches(&filter, None, 10).await.unwrap();
        assert_eq!(page.items.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), names, "{repo}");
    }
    // What changes about one leaves the other as it is.
    let brought = BranchRepoHome::Came {
        tip: "t".to_owned(),
        reference: "refs/heads/feat/x".to_owned(),
        note: None,
        commits: 2,
        dirty: 1,
        untracked: 0,
        size: None,
    };
    let patch = |name: &str, home| BranchPatch {
        repos: vec![BranchRepoPatch { name: name.to_owned(), home: Some(home), merged: None }],
        ..BranchPatch::default()
    };
    let now = store.update_branch(&row.id, patch("docs", brought), NOW).await.unwrap();
    assert_eq!((now.also[0].tip.as_deref(), now.also[1].tip.as_deref(), now.also[1].commits), (None, Some("t"), 2));
    let refused = BranchRepoHome::Refused { note: "x".repeat(5000) };
    // What an earlier turn left does not overwrite it.
    store.note_branch_home(&row.id, came(2, "t"), NOW).await.unwrap();
    let late = BranchPatch { home_turn: Some(1), ..patch("docs", refused.clone()) };
    assert_eq!(store.update_branch(&row.id, late, NOW).await.unwrap().also, now.also);
    let now = store.update_branch(&row.id, BranchPatch { home_turn: Some(2), ..patch("docs", refused.clone()) }, NOW).await.unwrap();
    assert!(now.also[1].refused && now.also[1].tip.is_some() && now.also[1].note.as_ref().is_some_and(|note| note.len() == 500));
    assert!(matches!(store.update_branch(&row.id, patch("none", refused), NOW).await, Err(StoreError::NotFound { .. })));
    let seen = now.seen_from(&now.also[1]);
    assert!(now.works_on("/srv/docs") && !now.works_on("/srv/other") && !now.is_merged());
    assert_eq!((seen.repo.as_str(), seen.home_tip.as_deref(), seen.name.as_str()), ("/srv/docs", Some("t"), "feat/x"));
    // A merge that was begun is found until it is over.
    let merging = |value| BranchPatch { merging: Some(value), ..BranchPatch::default() };
    assert!(store.branches_merging(10).await.unwrap().is_empty());
    store.update_branch(&row.id, merging(json!({ "steps": [] })), NOW).await.unwrap();
    assert_eq!(
        store.branches_merging(10).await.unwrap().iter().map(|row| row.id.clone()).collect::<Vec<_>>(),
        std::slice::from_ref(&row.id)
    );
    let now = store.update_branch(&row.id, merging(json!(null)), NOW).await.unwrap();
    assert!(now.merging.is_none() && store.branches_merging(10).await.unwrap().is_empty());
    let many = (0..BRANCH_REPOS_MAX).map(|n| beside(&format!("r{n}"))).collect();
    assert!(matches!(store.create_branch(NewBranch { also: many, ..new(5, "feat/z") }).await, Err(StoreError::Invalid { .. })));
}
