//! Killing the program: nothing that was acknowledged is lost, and nothing is half there.
//!
//! The program is this test binary once more, told by its arguments to be [`child`].

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use lazaret_store::{
    ApprovalAnswer, AuditFilter, CRASH_POINTS, Call, ForeignKey, KeySource, MemoryAuthor, MemoryKind, MemoryOwner, MemoryQuery,
    MemoryScope, MemorySource, MemoryState, NewApproval, NewMemory, NewSession, PluginRow, PoolAsk, Record, Secrets, SetupStepRow, Store,
    StoreError, TakenRow, Undo,
};
use model::{
    ApprovalId, ApprovalState, EventKind, MemoryId, Money, Outcome, QuestionId, Risk, SessionId, Timestamp, TreeId, TurnEvent, TurnId,
    TurnState,
};
use zeroize::Zeroizing;

use crate::common::{NOW, accept, home, imported, new_env, new_session, new_token, new_turn, open, result, running, session, text};

/// An argument of this process of the form `name=value`.
fn argument(name: &str) -> Option<String> {
    std::env::args().find_map(|a| a.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

fn start(home: &Path, role: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child", "--nocapture", role]).arg(format!("home={}", home.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// The lines of a child that say what was acknowledged, as they come.
pub(crate) fn acknowledged(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| line.split_once("ack ").map(|(_, what)| what.to_owned()))
}

pub(crate) fn acknowledge(what: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may have gone; the next write finds that out.
    let _ = out.write_all(format!("\nack {what}\n").as_bytes()).and_then(|()| out.flush());
}

/// Does what the arguments say. Without any, as part of the suite, it does each step once and checks that it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let given = argument("home").map(PathBuf::from);
    let own = if given.is_none() { Some(home()) } else { None };
    let path = given.or_else(|| own.as_ref().map(|own| own.path().to_owned())).unwrap();
    if let Some(point) = argument("point") {
        static POINT: OnceLock<String> = OnceLock::new();
        POINT.set(point).unwrap();
        model::crash::set(|name| {
            if POINT.get().is_some_and(|p| p == name) {
                std::process::abort();
            }
        });
    }
    let store = open(&path);
    match argument("work").as_deref() {
        Some("flood") => flood(&store).await,
        Some("full") => return crate::disk::full(&store, &path).await,
        Some("broken") => return crate::disk::broken(&store).await,
        _ => steps(&store, &path).await,
    }
    store.close().await.unwrap();
    acknowledge("close");
}

/// Accepts and logs from many tasks, without end.
async fn flood(store: &Store) {
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            spawn(async move {
                let session = session(&store).await;
                let lease = running(&store, &session).await;
                loop {
                    let accepted = store.accept_turn(new_turn(&session, "x")).await;
                    match accepted {
                        Ok(accepted) => acknowledge(&format!("turn {}", accepted.turn)),
                        Err(StoreError::Limit { .. }) => (),
                        Err(error) => panic!("{error}"),
                    }
                    let events = store.append_events(&lease.turn, lease.fence, vec![text("a"), text("b")], NOW).await.unwrap();
                    acknowledge(&format!("event {session} {}", events[1].seq));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Every kind of write once, one after the other.
async fn steps(store: &Store, home: &Path) {
    let new = new_session();
    let id = new.id.clone();
    acknowledge(&format!("session {id}"));
    store.create_session(new).await.unwrap();
    acknowledge("session-create");
    let turn = store.accept_turn(new_turn(&id, "x")).await.unwrap().turn;
    acknowledge("turn-accept");
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    acknowledge("turn-lease");
    let cancel = Record::new(turn, lease.fence, vec![text("x"), result(Outcome::Cancelled, None)], NOW);
    store.record(cancel.change(TurnEvent::Cancel)).await.unwrap();
    acknowledge("record");
    let (usage, cost) = (model::Usage::default(), Money(5));
    let call = Call {
        session: id.clone(),
        turn: None,
        provider: "p".into(),
        model: "m".into(),
        usage,
        cost,
        reserved: cost,
        estimated: false,
        time: NOW,
    };
    store.record_calls(vec![call]).await.unwrap();
    acknowledge("calls");
    let slab = store.lease_slab("s", Money(10), Money(10), Money(10), NOW).await.unwrap();
    acknowledge("slab-lease");
    store.settle_slab(slab.id, Money(1), NOW).await.unwrap();
    acknowledge("slab-settle");
    let secrets = Secrets::open(store, home, KeySource::File).await.unwrap();
    secrets.set("a", "", Zeroizing::new("v".into()), NOW).await.unwrap();
    acknowledge("secret");
    crate::crash_personas::steps(store, &secrets).await;
    lasting_steps(store).await;
    doors(store).await;
    agents_and_tokens(store).await;
    memories_and_plugins(store).await;
    store.import_session(imported(SessionId::from_bits(0xd))).await.unwrap();
    acknowledge("session-import");
    store.delete_session(&id).await.unwrap();
    acknowledge("session-delete");
}

/// The identities of what [`lasting_steps`] makes; every home has its own.
fn kept() -> (SessionId, SessionId, QuestionId) {
    (SessionId::from_bits(0xa), SessionId::from_bits(0xb), QuestionId::from_bits(0xc))
}

/// A session that goes back and is forked, and the envs that come of it.
async fn lasting_steps(store: &Store) {
    let (one, two, question) = kept();
    let tree = |n| Some(TreeId::from_bits(n));
    store.create_session(NewSession { id: one.clone(), tree: tree(1), ..new_session() }).await.unwrap();
    store.initial_checkpoint(&one, TreeId::from_bits(2), NOW).await.unwrap();
    acknowledge("checkpoint-first");
    store.update_session(&one, Some("named".into()), None, None, NOW).await.unwrap();
    acknowledge("session-update");
    let lease = running(store, &one).await;
    let record = |events| Record::new(lease.turn.clone(), lease.fence, events, NOW);
    let shown = EventKind::Question { id: question.clone(), text: "go on?".into(), options: vec![] };
    let asked = Record { question: Some((question.clone(), "go on?".into(), vec![])), ..record(vec![shown]) };
    store.record(asked.change(TurnEvent::Ask)).await.unwrap();
    store.answer_question(&question, "yes".into(), NOW).await.unwrap();
    acknowledge("question-answer");
    store.record(record(vec![]).change(TurnEvent::Answer)).await.unwrap();
    let end = Record { checkpoint: tree(3), ..record(vec![result(Outcome::Completed, None)]) };
    store.record(end.change(TurnEvent::Finish)).await.unwrap();
    let undo = Undo { session: one.clone(), to: 0, tree: TreeId::from_bits(4), env: None, leave_env: false, now: NOW };
    store.undo(undo).await.unwrap();
    acknowledge("undo");
    let fork = NewSession { id: two.clone(), tree: tree(5), ..new_session() };
    store.fork_session(fork, (one.clone(), 1)).await.unwrap();
    acknowledge("fork");
    assert_eq!(store.retire_checkpoints(&one, 0).await.unwrap(), [TreeId::from_bits(3)]);
    acknowledge("checkpoint-retire");
    store.create_env(new_env("made", TreeId::from_bits(6))).await.unwrap();
    acknowledge("env-create");
    store.save_env(new_env("saved", TreeId::from_bits(7)), &two).await.unwrap();
    acknowledge("env-save");
    store.update_env("made", None, Some("remember".into()), None, NOW).await.unwrap();
    acknowledge("env-update");
    store.mark_env_deleting("made", false, NOW).await.unwrap();
    acknowledge("env-mark");
    assert_eq!(store.delete_env("made").await.unwrap(), TreeId::from_bits(6));
    acknowledge("env-delete");
}

/// A confirmed call, and a row of the audit.
async fn doors(store: &Store) {
    let id = ApprovalId::from_bits(0xe);
    let new = NewApproval {
        id: id.clone(),
        session: None,
        tenant: "default".into(),
        agent: "owner".into(),
        tool: "t".into(),
        plugin: "p".into(),
        correlation: "c".into(),
        arguments: serde_json::json!({}),
        text: "t".into(),
        hash: "h".into(),
        risk: Risk::High,
        actor: "owner".into(),
        expires: Timestamp(NOW.0 + 1000),
        now: NOW,
    };
    store.ask_approval(new).await.unwrap();
    acknowledge("approval");
    let answer =
        ApprovalAnswer { approve: true, hash: "h".into(), by: "owner".into(), note: None, usable_until: Timestamp(NOW.0 + 1000), now: NOW };
    store.answer_approval(&id, answer).await.unwrap();
    store.begin_approval(&id, "h", NOW).await.unwrap();
    acknowledge("approval-begin");
    store.finish_approval(&id, &serde_json::json!({ "ok": 1 }), NOW).await.unwrap();
    acknowledge("approval-finish");
    let row = store.audit(AuditFilter::default(), 0, 1, true).await.unwrap().remove(0);
    store.append_audit(vec![row.entry]).await.unwrap();
    acknowledge("audit");
}

async fn agents_and_tokens(store: &Store) {
    store.put_agent("helper", serde_json::json!({}), NOW, true).await.unwrap();
    acknowledge("agent-put");
    store.remove_agent("helper").await.unwrap();
    acknowledge("agent-remove");
    let token = store.create_token(new_token(1)).await.unwrap();
    acknowledge("token-create");
    store.revoke_token(&token.id, NOW).await.unwrap();
    acknowledge("token-revoke");
    let step = SetupStepRow { step: "model".into(), is_skipped: true, note: String::new(), changed: NOW };
    store.note_setup_step("default", step).await.unwrap();
    acknowledge("setup-step");
    store.note_taken(foreign(), TakenRow { made: "here".into(), hash: "h".into() }, NOW).await.unwrap();
    acknowledge("taken-note");
}

fn foreign() -> ForeignKey {
    ForeignKey { tenant: "default".into(), source: "other".into(), kind: "agent".into(), id: "there".into() }
}

fn note(n: u128, source: MemorySource) -> NewMemory {
    NewMemory {
        id: MemoryId::from_bits(n),
        owner: MemoryOwner { tenant: "default".into(), agent: "a".into() },
        kind: MemoryKind::Instruction,
        behavioural: true,
        content: format!("note {n}"),
        tags: vec!["t".into()],
        supersedes: None,
        source,
        now: NOW,
    }
}

async fn memories_and_plugins(store: &Store) {
    let (session, all) = (session(store).await, MemoryScope::default());
    let turn = accept(store, &session).await.turn;
    let source =
        MemorySource { author: MemoryAuthor::Agent, session: Some(session.clone()), turn: Some(turn.clone()), group: None, channel: None };
    store.store_memory(note(1, source)).await.unwrap();
    acknowledge("memory-store");
    store.store_memory(note(2, MemorySource::OWNER)).await.unwrap();
    store.store_memory(note(3, MemorySource::OWNER)).await.unwrap();
    let owner = note(1, MemorySource::OWNER).owner;
    store.keep_session_brief(&session, &owner, "told".into(), NOW).await.unwrap();
    acknowledge("memory-brief");
    store.confirm_memory(&all, &MemoryId::from_bits(1), NOW).await.unwrap();
    acknowledge("memory-confirm");
    store.delete_memory(&owner, &MemoryId::from_bits(2), (session, turn), NOW).await.unwrap();
    acknowledge("memory-delete");
    store.remove_memory(&all, &MemoryId::from_bits(3)).await.unwrap();
    acknowledge("memory-remove");
    store.purge_memories(&owner, false).await.unwrap();
    acknowledge("memory-purge");
    let row = PluginRow {
        name: "p".into(),
        source: "test".into(),
        folder_hash: "h".into(),
        is_enabled: true,
        approved: serde_json::json!([]),
        approved_hash: "h".into(),
        seen: serde_json::json!([]),
        seen_hash: "h".into(),
        installed: NOW,
        approved_at: NOW,
    };
    store.put_plugin(row).await.unwrap();
    acknowledge("plugin-put");
    store.remove_plugin("p").await.unwrap();
    acknowledge("plugin-remove");
    crate::crash_work::steps(store).await;
    let ask = PoolAsk { profile: "default".into(), target: 3, held: 0 };
    assert_eq!(store.share_pool(vec![ask.clone()]).await.unwrap()["default"], 3);
    acknowledge("pool-share");
    // Nothing is written where nothing changes.
    assert_eq!(store.share_pool(vec![ask]).await.unwrap()["default"], 3);
    store.signal_cancel(&SessionId::from_bits(9)).await.unwrap();
    acknowledge("signal");
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_nothing_that_was_acknowledged() {
    let home = home();
    let mut turns: Vec<TurnId> = Vec::new();
    for round in 0..4 {
        let mut child = start(home.path(), "work=flood");
        let mut lines = acknowledged(&mut child);
        let mut said: Vec<String> = lines.by_ref().take(100 + 170 * round).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines);
        let store = open(home.path());
        let mut last = std::collections::HashMap::<SessionId, u64>::new();
        for line in &said {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["turn", id] => turns.push(id.parse().unwrap()),
                ["event", session, seq] => {
                    let seen = last.entry(session.parse().unwrap()).or_default();
                    *seen = (*seen).max(seq.parse().unwrap());
                }
                // The kill cuts the last line anywhere.
                _ => assert_eq!(Some(line), said.last()),
            }
        }
        assert!(last.len() > 1 && !turns.is_empty());
        for turn in &turns {
            assert_eq!(store.turn(turn).await.unwrap().state, TurnState::Queued);
            assert_eq!(store.prompt(turn).await.unwrap(), "x");
        }
        for (session, seq) in last {
            let events = store.events(&session, 0, 1000).await.unwrap();
            assert!(events.iter().zip(1..).all(|(e, n)| e.seq == n), "dense");
            assert!(events.len() as u64 >= seq.min(1000));
            assert_eq!(store.session(&session).await.unwrap().last_seq % 2, 0, "a record is whole");
        }
        store.close().await.unwrap();
    }
}

/// At every named point: what was acknowledged before is there; the write of that point is there after its commit and
/// not before; and the store opens and works.
#[tokio::test]
async fn a_crash_at_every_named_point_leaves_all_or_nothing() {
    for point in CRASH_POINTS {
        let home = home();
        let mut child = start(home.path(), &format!("point={point}"));
        let mut said: Vec<String> = acknowledged(&mut child).collect();
        let status = child.wait().unwrap();
        assert!(!status.success(), "{point} was never reached: {said:?}");
        let (kind, moment) = point.strip_prefix("store.").unwrap().split_once('.').unwrap();
        assert!(!said.iter().any(|s| s == kind), "nobody hears of a write that crashed");
        if moment == "after" {
            said.push(kind.to_owned());
        }
        check(home.path(), &said, point).await;
    }
}

async fn check(home: &Path, said: &[String], point: &str) {
    let did = |kind: &str| said.iter().any(|s| s == kind);
    let id: SessionId = said.iter().find_map(|s| s.strip_prefix("session ")).unwrap().parse().unwrap();
    let store = open(home);
    let there = did("session-create") && !did("session-delete");
    assert_eq!(store.session(&id).await.is_ok(), there, "{point}");
    if there {
        let turns = store.turns(&id, 0, 10).await.unwrap();
        let states: Vec<_> = turns.iter().map(|t| t.state).collect();
        let expect = match (did("turn-accept"), did("turn-lease"), did("record")) {
            (false, ..) => vec![],
            (_, false, _) => vec![TurnState::Queued],
            (.., false) => vec![TurnState::Leased],
            _ => vec![TurnState::Cancelled],
        };
        assert_eq!(states, expect, "{point}");
        assert_eq!(store.events(&id, 0, 10).await.unwrap().len(), if did("record") { 2 } else { 0 }, "{point}");
    }
    assert_eq!(store.session_usage(&id).await.unwrap().is_some(), did("calls"), "{point}");
    let spent = match (did("slab-lease"), did("slab-settle")) {
        (false, _) => 0,
        (_, false) => 10,
        _ => 1,
    };
    assert_eq!(store.budget_spent("s").await.unwrap(), Money(spent), "{point}");
    check_lasting(&store, &did, point).await;
    check_doors(&store, &did, point).await;
    check_agents_and_tokens(&store, &did, point).await;
    check_memories_and_plugins(&store, &did, point).await;
    crate::crash_work::check(&store, &did, point).await;
    let secrets = Secrets::open(&store, home, KeySource::File).await.unwrap();
    assert!(secrets.get("a", "").await.is_ok() || !did("secret") || point.starts_with("store.secret"), "{point}");
    crate::crash_personas::check(&store, &secrets, &did, point).await;
    accept(&store, &session(&store).await).await;
    store.close().await.unwrap();
}

async fn check_lasting(store: &Store, did: &impl Fn(&str) -> bool, point: &str) {
    let (one, two, question) = kept();
    if let Ok(row) = store.session(&one).await {
        let expect = TreeId::from_bits(if did("undo") { 4 } else { 1 });
        assert_eq!(row.tree, Some(expect), "{point}");
        assert_eq!(row.title == "named", did("session-update"), "{point}");
        assert!(!did("undo") || row.head == 0, "{point}");
        let kept: Vec<u64> = store.checkpoints(&one).await.unwrap().iter().map(|c| c.turn).collect();
        let expect: &[&[u64]] = match (did("checkpoint-first"), did("undo"), did("checkpoint-retire")) {
            (false, ..) => &[&[]],
            // The end of the turn may or may not have come.
            (_, false, _) => &[&[0], &[0, 1]],
            (.., false) => &[&[0, 1]],
            _ => &[&[0]],
        };
        assert!(expect.contains(&kept.as_slice()), "{point}: {kept:?}");
    } else {
        assert!(!did("checkpoint-first"), "{point}");
    }
    let answer = store.question(&question).await.ok().and_then(|q| q.answer);
    assert_eq!(answer.is_some(), did("question-answer"), "{point}");
    let fork = store.session(&two).await.ok();
    assert_eq!(fork.is_some(), did("fork"), "{point}");
    if let Some(fork) = fork {
        assert_eq!((fork.env.is_some(), fork.tree.is_none()), (did("env-save"), did("env-save")), "{point}");
    }
    let saved = store.env("saved").await.ok().map(|e| (e.tree, e.sessions));
    assert_eq!(saved, did("env-save").then(|| (TreeId::from_bits(5), 1)), "{point}");
    let made = store.env("made").await.ok();
    assert_eq!(made.is_some(), did("env-create") && !did("env-delete"), "{point}");
    if let Some(made) = made {
        assert_eq!((made.core_memory == "remember", made.state == "deleting"), (did("env-update"), did("env-mark")), "{point}");
    }
}

async fn check_doors(store: &Store, did: &impl Fn(&str) -> bool, point: &str) {
    let state = store.approval(&ApprovalId::from_bits(0xe)).await.ok().map(|row| row.state);
    let expect: &[Option<ApprovalState>] = match (did("approval"), did("approval-begin"), did("approval-finish")) {
        (false, ..) => &[None],
        // The answer may or may not have come.
        (_, false, _) => &[Some(ApprovalState::Pending), Some(ApprovalState::Approved)],
        (.., false) => &[Some(ApprovalState::Begun)],
        _ => &[Some(ApprovalState::Finished)],
    };
    assert!(expect.contains(&state), "{point}: {state:?}");
    let check = store.verify_audit().await.unwrap();
    assert_eq!(check.broken, None, "{point}");
    assert!(check.rows >= if did("audit") { 3 } else { 0 }, "{point}: {check:?}");
}

async fn check_agents_and_tokens(store: &Store, did: &impl Fn(&str) -> bool, point: &str) {
    assert_eq!(store.agent("helper").await.is_ok(), did("agent-put") && !did("agent-remove"), "{point}");
    assert_eq!(store.setup_steps("default").await.unwrap().len(), usize::from(did("setup-step")), "{point}");
    assert_eq!(store.taken(&foreign()).await.unwrap().is_some(), did("taken-note"), "{point}");
    let imported = SessionId::from_bits(0xd);
    assert_eq!(store.session(&imported).await.is_ok(), did("session-import"), "{point}");
    if did("session-import") {
        assert_eq!(store.events(&imported, 0, 10).await.unwrap().len(), 3, "{point}");
        assert_eq!(store.turns(&imported, 0, 10).await.unwrap().len(), 2, "{point}");
    }
    let token = store.token_by_hash(new_token(1).hash).await.unwrap();
    assert_eq!(token.is_some(), did("token-create"), "{point}");
    assert_eq!(token.is_some_and(|t| t.revoked.is_some()), did("token-revoke"), "{point}");
}

async fn check_memories_and_plugins(store: &Store, did: &impl Fn(&str) -> bool, point: &str) {
    let memory = async |n| store.memory(&MemoryScope::default(), &MemoryId::from_bits(n)).await.ok();
    let first = memory(1).await;
    assert_eq!(first.is_some(), did("memory-store"), "{point}");
    assert_eq!(first.is_some_and(|row| row.confirmed.is_some()), did("memory-confirm"), "{point}");
    let query = MemoryQuery { text: "note 1".into(), tags: vec!["t".into()], kind: None, superseded: false, limit: 10 };
    let found = store.search_memories(&note(1, MemorySource::OWNER).owner, query).await.unwrap();
    assert_eq!(found.iter().any(|f| f.memory.content == "note 1"), did("memory-store"), "{point}: the index says the same");
    if did("memory-purge") {
        assert!(memory(2).await.is_none() && memory(3).await.is_none(), "{point}");
    } else if did("memory-remove") {
        assert!(memory(3).await.is_none() && memory(2).await.is_some_and(|row| row.state == MemoryState::Deleted), "{point}");
    } else if did("memory-delete") {
        assert!(memory(2).await.is_some_and(|row| row.state == MemoryState::Deleted), "{point}");
    }
    assert_eq!(store.plugin("p").await.unwrap().is_some(), did("plugin-put") && !did("plugin-remove"), "{point}");
}

#[expect(clippy::disallowed_methods, reason = "tests own what they spawn by its handle")]
fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> tokio::task::JoinHandle<()> {
    tokio::spawn(future)
}
