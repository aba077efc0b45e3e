//! The daemon dies at each labelled point, once with the command that waits for it alive and once killed with it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Child;

use model::Outcome;

use crate::scene::{ANSWER, Running, TOOL, asked, daemon, dies, is_up, lab, up_or_over};
use crate::support::{Lab, of_type, project};
use crate::{approvals, direct, installs, log, steps, world};

/// Declares a test for each point, and what is going on when the daemon comes there.
macro_rules! points {
    ($($test:ident: $point:literal, $scene:ident;)*) => {
        /// Every point that is tried.
        const TRIED: &[&str] = &[$($point),*];
        $(#[test] fn $test() { Scene::$scene.play($point); })*
    };
}

points! {
    sandbox_dir_made: "sandbox.dir.made", Run;
    sandbox_record_written: "sandbox.record.written", Run;
    sandbox_group_made: "sandbox.group.made", Run;
    sandbox_disk_made: "sandbox.disk.made", Run;
    sandbox_image_made: "sandbox.image.made", Run;
    sandbox_launcher_started: "sandbox.launcher.started", Run;
    sandbox_process_recorded: "sandbox.process.recorded", Run;
    sandbox_killed: "sandbox.killed", Run;
    sandbox_group_removed: "sandbox.group.removed", Run;
    sandbox_user_released: "sandbox.user.released", Run;
    direct_dir_made: "sandbox.dir.made", Direct;
    direct_record_written: "sandbox.record.written", Direct;
    direct_group_made: "sandbox.group.made", Direct;
    direct_image_made: "sandbox.image.made", Direct;
    direct_launcher_started: "sandbox.launcher.started", Direct;
    direct_process_recorded: "sandbox.process.recorded", Direct;
    direct_killed: "sandbox.killed", Direct;
    direct_group_removed: "sandbox.group.removed", Direct;
    direct_user_released: "sandbox.user.released", Direct;
    skills_written: "plugin:skills-written", Run;
    session_created: "session:created", Run;
    session_deleted: "session:deleted", NoKeep;
    turn_accepted: "turn:accepted", Run;
    turn_leased: "turn:leased", Run;
    turn_sandbox_started: "turn:sandbox-started", Run;
    turn_running: "turn:running", Run;
    turn_engine_started: "turn:engine-started", Run;
    turn_before_result: "turn:before-result", Run;
    turn_result: "turn:result", Run;
    output_kept: "output:kept", Run;
    output_kept_again: "output:kept@3", Run;
    output_recorded: "output:recorded", Run;
    output_recorded_again: "output:recorded@3", Run;
    engine_unpacked: "engine:unpacked", Install;
    tree_filled: "tree:filled", Run;
    tree_made: "tree:made", Run;
    tree_snapshot: "tree:snapshot", Run;
    tree_snapshot_of_an_undo: "tree:snapshot", Undo;
    tree_removed: "tree:removed", Undo;
    store_checkpoint_first_before: "store.checkpoint-first.before", Run;
    store_checkpoint_first_after: "store.checkpoint-first.after", Run;
    store_checkpoint_retire_before: "store.checkpoint-retire.before", Retire;
    store_checkpoint_retire_after: "store.checkpoint-retire.after", Retire;
    undo_copied: "undo:copied", Undo;
    undo_done: "undo:done", Undo;
    store_undo_before: "store.undo.before", Undo;
    store_undo_after: "store.undo.after", Undo;
    fork_copied: "fork:copied", Fork;
    fork_done: "fork:done", Fork;
    store_fork_before: "store.fork.before", Fork;
    store_fork_after: "store.fork.after", Fork;
    env_tree_made: "env:tree-made", EnvCreate;
    store_env_create_before: "store.env-create.before", EnvCreate;
    store_env_create_after: "store.env-create.after", EnvCreate;
    env_saved: "env:saved", EnvSave;
    store_env_save_before: "store.env-save.before", EnvSave;
    store_env_save_after: "store.env-save.after", EnvSave;
    store_env_update_before: "store.env-update.before", EnvUpdate;
    store_env_update_after: "store.env-update.after", EnvUpdate;
    env_marked: "env:marked", EnvDelete;
    env_deleted: "env:deleted", EnvDelete;
    tree_removed_with_its_env: "tree:removed", EnvDelete;
    store_env_mark_before: "store.env-mark.before", EnvDelete;
    store_env_mark_after: "store.env-mark.after", EnvDelete;
    store_env_delete_before: "store.env-delete.before", EnvDelete;
    store_env_delete_after: "store.env-delete.after", EnvDelete;
    session_updated: "session:updated", Archive;
    store_session_update_before: "store.session-update.before", Archive;
    store_session_update_after: "store.session-update.after", Archive;
    session_deleted_by_name: "session:deleted", Delete;
    turn_asked: "turn:asked", Question;
    turn_answered: "turn:answered", Question;
    question_answered: "question:answered", Question;
    store_question_answer_before: "store.question-answer.before", Question;
    store_question_answer_after: "store.question-answer.after", Question;
    approval_asked: "approval:asked", Confirm;
    approval_answered: "approval:answered", Confirm;
    approval_began: "approval:began", Confirm;
    approval_finished: "approval:finished", Confirm;
    turn_stands: "turn:stands", Confirm;
    store_approval_before: "store.approval.before", Confirm;
    store_approval_after: "store.approval.after", Confirm;
    store_approval_before_of_an_answer: "store.approval.before@2", Confirm;
    store_approval_after_of_an_answer: "store.approval.after@2", Confirm;
    store_approval_begin_before: "store.approval-begin.before", Confirm;
    store_approval_begin_after: "store.approval-begin.after", Confirm;
    store_approval_finish_before: "store.approval-finish.before", Confirm;
    store_approval_finish_after: "store.approval-finish.after", Confirm;
    audit_written: "audit:written", Run;
    store_audit_before: "store.audit.before", Run;
    store_audit_after: "store.audit.after", Run;
    store_agent_put_before: "store.agent-put.before", AgentPut;
    store_agent_put_after: "store.agent-put.after", AgentPut;
    config_put: "config:put", ConfigPut;
    store_config_put_before: "store.config-put.before", ConfigPut;
    store_config_put_after: "store.config-put.after", ConfigPut;
    store_agent_remove_before: "store.agent-remove.before", AgentRemove;
    store_agent_remove_after: "store.agent-remove.after", AgentRemove;
    store_token_create_before: "store.token-create.before", TokenCreate;
    store_token_create_after: "store.token-create.after", TokenCreate;
    store_tenant_change_before: "store.tenant-change.before", TenantChange;
    store_tenant_change_after: "store.tenant-change.after", TenantChange;
    store_budget_set_before: "store.budget-set.before", BudgetSet;
    store_budget_set_after: "store.budget-set.after", BudgetSet;
    store_token_revoke_before: "store.token-revoke.before", TokenRevoke;
    store_token_revoke_after: "store.token-revoke.after", TokenRevoke;
    tools_unpacked: "tools:unpacked", ToolInstall;
    tools_installed: "tools:installed", ToolInstall;
    tools_removed: "tools:removed", ToolRemove;
    tools_unpacked_of_an_agent: "tools:unpacked", LayerInstall;
    tools_installed_of_an_agent: "tools:installed", LayerInstall;
    tools_removed_of_an_agent: "tools:removed", LayerRemove;
    agent_removed: "agent:removed", LayerDrop;
    import_unpacked: "import:unpacked", Import;
    import_made: "import:made", Import;
    plugin_unpacked: "plugin:unpacked", PluginInstall;
    plugin_unpacked_of_an_update: "plugin:unpacked", PluginUpdate;
    plugin_swapped: "plugin:swapped", PluginInstall;
    plugin_swapped_of_an_update: "plugin:swapped", PluginUpdate;
    plugin_installed: "plugin:installed", PluginInstall;
    plugin_installed_of_an_update: "plugin:installed", PluginUpdate;
    plugin_removed: "plugin:removed", PluginRemove;
    store_plugin_put_before: "store.plugin-put.before", PluginInstall;
    store_plugin_put_after: "store.plugin-put.after", PluginInstall;
    store_plugin_put_before_of_an_update: "store.plugin-put.before", PluginUpdate;
    store_plugin_remove_before: "store.plugin-remove.before", PluginRemove;
    store_plugin_remove_after: "store.plugin-remove.after", PluginRemove;
    memory_told: "memory:told", MemoryTold;
    store_memory_brief_before: "store.memory-brief.before", MemoryTold;
    store_memory_brief_after: "store.memory-brief.after", MemoryTold;
    memory_stored: "memory:stored", MemoryStore;
    store_memory_store_before: "store.memory-store.before", MemoryStore;
    store_memory_store_after: "store.memory-store.after", MemoryStore;
    memory_forgotten: "memory:forgotten", MemoryForget;
    store_memory_delete_before: "store.memory-delete.before", MemoryForget;
    store_memory_delete_after: "store.memory-delete.after", MemoryForget;
    memory_added: "memory:added", MemoryAdd;
    memory_confirmed: "memory:confirmed", MemoryConfirm;
    store_memory_confirm_before: "store.memory-confirm.before", MemoryConfirm;
    store_memory_confirm_after: "store.memory-confirm.after", MemoryConfirm;
    memory_deleted: "memory:deleted", MemoryRemove;
    store_memory_remove_before: "store.memory-remove.before", MemoryRemove;
    store_memory_remove_after: "store.memory-remove.after", MemoryRemove;
    memory_purged: "memory:purged", MemoryPurge;
    store_memory_purge_before: "store.memory-purge.before", MemoryPurge;
    store_memory_purge_after: "store.memory-purge.after", MemoryPurge;
    store_session_import_before: "store.session-import.before", Import;
    store_session_import_after: "store.session-import.after", Import;
    store_session_create_before: "store.session-create.before", Run;
    store_session_create_after: "store.session-create.after", Run;
    store_session_delete_before: "store.session-delete.before", NoKeep;
    store_session_delete_after: "store.session-delete.after", NoKeep;
    store_turn_accept_before: "store.turn-accept.before", Run;
    store_turn_accept_after: "store.turn-accept.after", Run;
    store_turn_lease_before: "store.turn-lease.before", Run;
    store_turn_lease_after: "store.turn-lease.after", Run;
    store_record_before: "store.record.before", Run;
    store_record_after: "store.record.after", Run;
    store_record_before_2: "store.record.before@2", Run;
    store_record_after_2: "store.record.after@2", Run;
    store_record_before_4: "store.record.before@4", Run;
    store_record_after_4: "store.record.after@4", Run;
    store_calls_before: "store.calls.before", Run;
    store_calls_after: "store.calls.after", Run;
    store_slab_lease_before: "store.slab-lease.before", Budget;
    store_slab_lease_after: "store.slab-lease.after", Budget;
    store_slab_settle_before: "store.slab-settle.before", Budget;
    store_slab_settle_after: "store.slab-settle.after", Budget;
    skill_laid_out: "skill:laid-out", SkillPut;
    skill_laid_out_of_an_update: "skill:laid-out", SkillUpdate;
    store_skill_put_before: "store.skill-put.before", SkillPut;
    store_skill_put_after: "store.skill-put.after", SkillPut;
    store_skill_put_before_of_an_update: "store.skill-put.before", SkillUpdate;
    store_skill_put_after_of_an_update: "store.skill-put.after", SkillUpdate;
    store_skill_remove_before: "store.skill-remove.before", SkillRemove;
    store_skill_remove_after: "store.skill-remove.after", SkillRemove;
    store_agent_origin_before: "store.agent-origin.before", AgentTemplate;
    store_agent_origin_after: "store.agent-origin.after", AgentTemplate;
    store_secret_use_before: "store.secret-use.before", SecretUsed;
    store_secret_use_after: "store.secret-use.after", SecretUsed;
    store_secret_before: "store.secret.before", Secret;
    store_secret_after: "store.secret.after", Secret;
    store_close_before: "store.close.before", Stop;
    store_close_after: "store.close.after", Stop;
}

/// The points that a daemon at work may come to. Those of the other scenes are only met by what they do.
pub(crate) fn under_load() -> Vec<&'static str> {
    let named = |point: &&str| {
        !point.contains('@')
            && ![
                "approval:", "store.approval", "turn:stands", "engine:", "memory:", "store.memory-", "tools:", "agent:", "plugin:",
                "store.plugin", "store.close", "store.secret", "skill:", "store.skill", "store.agent-origin",
            ]
            .iter()
            .any(|p| point.starts_with(p))
    };
    let all: BTreeSet<&str> = TRIED.iter().copied().filter(named).collect();
    all.into_iter().collect()
}

/// What is going on when the daemon comes to a point.
#[derive(Clone, Copy)]
enum Scene {
    /// A run in the foreground.
    Run,
    /// The same, with a budget.
    Budget,
    /// The same, whose session is forgotten at its end.
    NoKeep,
    /// A secret is stored.
    Secret,
    /// The daemon is told to end.
    Stop,
    /// An engine is installed.
    Install,
    /// A command in a sandbox, without a daemon: the command itself dies.
    Direct,
    /// What [`steps`] asks.
    Undo,
    Fork,
    EnvCreate,
    EnvSave,
    EnvUpdate,
    EnvDelete,
    Archive,
    Delete,
    Question,
    Retire,
    /// What [`approvals`] does.
    Confirm,
    AgentPut,
    ConfigPut,
    AgentRemove,
    TokenCreate,
    TokenRevoke,
    TenantChange,
    BudgetSet,
    ToolInstall,
    ToolRemove,
    LayerInstall,
    LayerRemove,
    LayerDrop,
    PluginInstall,
    PluginUpdate,
    PluginRemove,
    SkillPut,
    SkillUpdate,
    SkillRemove,
    AgentTemplate,
    SecretUsed,
    Import,
    MemoryTold,
    MemoryStore,
    MemoryForget,
    MemoryAdd,
    MemoryConfirm,
    MemoryRemove,
    MemoryPurge,
}

impl Scene {
    fn play(self, point: &str) {
        match self {
            Scene::Run => both(point, &[]),
            Scene::Budget => both(point, &["--budget-usd", "5"]),
            Scene::NoKeep => both(point, &["--no-keep"]),
            Scene::Secret => secret(point),
            Scene::Stop => stop(point),
            Scene::Install => installs::dies_at(point),
            Scene::Direct => direct::dies_at(point),
            Scene::Undo => steps::UNDO.dies_at(point),
            Scene::Fork => steps::FORK.dies_at(point),
            Scene::EnvCreate => steps::ENV_CREATE.dies_at(point),
            Scene::EnvSave => steps::ENV_SAVE.dies_at(point),
            Scene::EnvUpdate => steps::ENV_UPDATE.dies_at(point),
            Scene::EnvDelete => steps::ENV_DELETE.dies_at(point),
            Scene::Archive => steps::ARCHIVE.dies_at(point),
            Scene::Delete => steps::DELETE.dies_at(point),
            Scene::Confirm => approvals::dies_at(point),
            Scene::Retire => steps::RETIRE.dies_at(point),
            Scene::Question => steps::QUESTION.dies_at(point),
            Scene::AgentPut => steps::AGENT_PUT.dies_at(point),
            Scene::ConfigPut => steps::CONFIG_PUT.dies_at(point),
            Scene::AgentRemove => steps::AGENT_REMOVE.dies_at(point),
            Scene::TokenCreate => steps::TOKEN_CREATE.dies_at(point),
            Scene::TokenRevoke => steps::TOKEN_REVOKE.dies_at(point),
            Scene::TenantChange => steps::TENANT_CHANGE.dies_at(point),
            Scene::BudgetSet => steps::BUDGET_SET.dies_at(point),
            Scene::ToolInstall => steps::TOOL_INSTALL.dies_at(point),
            Scene::ToolRemove => steps::TOOL_REMOVE.dies_at(point),
            Scene::LayerInstall => steps::LAYER_INSTALL.dies_at(point),
            Scene::LayerRemove => steps::LAYER_REMOVE.dies_at(point),
            Scene::LayerDrop => steps::LAYER_DROP.dies_at(point),
            Scene::PluginInstall => steps::PLUGIN_INSTALL.dies_at(point),
            Scene::PluginUpdate => steps::PLUGIN_UPDATE.dies_at(point),
            Scene::PluginRemove => steps::PLUGIN_REMOVE.dies_at(point),
            Scene::SkillPut => steps::SKILL_PUT.dies_at(point),
            Scene::SkillUpdate => steps::SKILL_UPDATE.dies_at(point),
            Scene::SkillRemove => steps::SKILL_REMOVE.dies_at(point),
            Scene::AgentTemplate => steps::AGENT_TEMPLATE.dies_at(point),
            Scene::SecretUsed => steps::SECRET_USED.dies_at(point),
            Scene::Import => steps::IMPORT.dies_at(point),
            Scene::MemoryTold => steps::MEMORY_TOLD.dies_at(point),
            Scene::MemoryStore => steps::MEMORY_STORE.dies_at(point),
            Scene::MemoryForget => steps::MEMORY_FORGET.dies_at(point),
            Scene::MemoryAdd => steps::MEMORY_ADD.dies_at(point),
            Scene::MemoryConfirm => steps::MEMORY_CONFIRM.dies_at(point),
            Scene::MemoryRemove => steps::MEMORY_REMOVE.dies_at(point),
            Scene::MemoryPurge => steps::MEMORY_PURGE.dies_at(point),
        }
    }
}

fn both(point: &str, args: &[&str]) {
    daemon_alone(point, args);
    with_its_client(point, args);
}

fn start(lab: &Lab, point: &str, args: &[&str]) -> (Child, Running) {
    let daemon = daemon(lab, Some(point));
    let mut all = vec!["run", "--json"];
    all.extend(args);
    all.push("count");
    (daemon, Running::start(lab, &all))
}

/// The client stays: it starts another daemon, and sees the work come to its end as if nothing had been.
fn daemon_alone(point: &str, args: &[&str]) {
    let (lab, server) = lab(TOOL);
    let (mut daemon, mut client) = start(&lab, point, args);
    dies(&mut daemon, point);
    let before = world::traces(&lab);
    up_or_over(&lab, &mut client, point);
    world::settles(&lab, &before, point);
    let ran = client.ends(point).succeeds();
    let result = ran.result();
    assert_eq!(result["status"], "completed", "{point}: {}", ran.out);
    assert_eq!(result["text"].as_str().map(str::trim), Some(ANSWER), "{point}: {}", ran.out);
    let events = ran.events();
    let numbers: Vec<u64> = events.iter().filter_map(|e| e["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "{point}: {}", ran.out);
    for (kind, times) in [("start", 1), ("tool_call", 1), ("tool_result", 1)] {
        assert_eq!(of_type(&events, kind).len(), times, "{point}: {kind} in {}", ran.out);
    }
    let said: String = of_type(&events, "text").iter().filter_map(|e| e["text"].as_str()).collect();
    assert_eq!(said.trim(), ANSWER, "{point}: {}", ran.out);
    // A call that the kill cut off is told as an error and made again.
    assert!(of_type(&events, "error").iter().all(|e| e["retriable"] == true), "{point}: {}", ran.out);
    // Two calls, and one more when the kill cut one off.
    assert!((2..=3).contains(&asked(&server)), "{point}: {} calls", asked(&server));
    world::ends(&lab, point);
    let expected: &[Outcome] = if args.contains(&"--no-keep") { &[] } else { &[Outcome::Completed] };
    assert_eq!(log::outcomes(&log::read(&lab, point)), expected, "{point}");
}

/// The client is killed as well: the next daemon ends its work, unless it was over.
fn with_its_client(point: &str, args: &[&str]) {
    let (lab, server) = lab(TOOL);
    let (mut daemon, mut client) = start(&lab, point, args);
    dies(&mut daemon, point);
    client.kill();
    // The client may have been quick and started the next one.
    if !is_up(&lab) {
        lab.run(&["sandbox", "list"]).succeeds();
    }
    world::empties(&lab, world::GONE, point);
    assert!(asked(&server) <= 3, "{point}");
    world::ends(&lab, point);
    for outcome in log::outcomes(&log::read(&lab, point)) {
        assert!(matches!(outcome, Outcome::Cancelled | Outcome::Completed), "{point}: {outcome:?}");
    }
}

/// A secret that was being stored is there or not, and the next attempt stores it.
fn secret(point: &str) {
    let (lab, _server) = lab(TOOL);
    // A store's first daemon makes its keys; this is the second.
    lab.run(&["sandbox", "list"]).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let mut first = daemon(&lab, Some(point));
    let said = lab.run_with(&["secret", "set", "anthropic", "-"], b"sk-of-the-first-attempt");
    assert_ne!(said.status, 0, "{point}: nobody knows whether it was stored");
    dies(&mut first, point);
    lab.run(&["secret", "list"]).succeeds();
    lab.run_with(&["secret", "set", "anthropic", "-"], b"sk-of-the-second-attempt").succeeds();
    let list = lab.run(&["secret", "list"]).succeeds().out;
    assert!(list.starts_with("anthropic ") && list.lines().count() == 1, "{point}: {list}");
    world::ends(&lab, point);
}

/// A daemon that dies over its own end leaves a store that opens, and no sandbox.
fn stop(point: &str) {
    let (lab, _server) = lab(TOOL);
    let mut first = daemon(&lab, Some(point));
    lab.run(&["sandbox", "create"]).succeeds();
    lab.run(&["stop", "--grace", "0s"]);
    dies(&mut first, point);
    let before = world::traces(&lab);
    lab.run(&["run", "count"]).succeeds();
    world::settles(&lab, &before, point);
    world::ends(&lab, point);
    assert_eq!(log::outcomes(&log::read(&lab, point)), [Outcome::Completed], "{point}");
}

/// Points of homes without a disk image, which the tests of the sandboxes try; those of several daemons on one database, which the tests
/// of the store try; and those of the program of the chat networks, which its own tests try.
const ELSEWHERE: &[&str] = &[
    "tree:layer.named", "tree:layer.made", "tree:unnamed", "store.signal.before", "store.signal.after", "store.pool-share.before",
    "store.pool-share.after", "store.shelf-piece.before", "store.shelf-piece.after", "store.shelf.before", "store.shelf.after",
    "store.shelf-sweep.before", "store.shelf-sweep.after", "channel:begun", "channel:took", "channel:told", "channel:before-ack",
    "channel:reporting", "channel:acked",
];

/// Every point of the source is tried, and every tried one is in the source.
#[test]
fn no_point_is_forgotten() {
    let mut there: BTreeSet<String> = store::CRASH_POINTS.iter().map(|&point| point.to_owned()).collect();
    collect(&project("crates"), &mut there);
    let tried: BTreeSet<String> = TRIED
        .iter()
        .chain(crate::branches::TRIED)
        .chain(crate::channels::TRIED)
        .chain(crate::evals::TRIED)
        .chain(crate::channels::agent_tools::TRIED)
        .chain(crate::first::TRIED)
        .chain(crate::jobs::TRIED)
        .chain(crate::tasks::TRIED)
        .chain(ELSEWHERE)
        .map(|point| point.split('@').next().unwrap_or(point).to_owned())
        .collect();
    let forgotten: Vec<_> = there.difference(&tried).collect();
    let gone: Vec<_> = tried.difference(&there).collect();
    assert!(forgotten.is_empty() && gone.is_empty(), "not tried: {forgotten:?}; not in the source: {gone:?}");
}

fn collect(dir: &Path, there: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("read the source").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, there);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("read a file");
            for rest in text.split("crash::point(").skip(1) {
                match rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                    Some((name, _)) => drop(there.insert(name.to_owned())),
                    // The store names its points in one list.
                    None => assert!(path.ends_with("store/src/journal.rs"), "a point without a plain name in {}", path.display()),
                }
            }
        }
    }
}
