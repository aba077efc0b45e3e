//! The store: everything that must survive the daemon, and every SQL statement of the project.
//!
//! One thread owns the only writing connection and commits whatever waits in one transaction, so many callers share
//! one flush; each caller's future resolves after the commit is on the disk. Reads run on a few threads of their own.
//! Nothing polls, nothing blocks an async thread, and nothing here reads a clock: callers pass the time in.
//!
//! It does not know what a turn is for, how a sandbox is made, or what a model costs. It does hold the rules that must
//! be true of what is stored: dense event numbers per session, one runner per session under a fencing number, one
//! `result` per turn, a checkpoint with the end of a turn or not at all, one session or env that works in a tree, and
//! money that is counted as spent before it can be.
//!
//! Start at [`Store::open`]; [`Store::accept_turn`], [`Store::lease_turn`] and [`Store::record`] carry a turn from its
//! arrival to its end. [`Store::undo`] and [`Store::fork_session`] go back to one, [`Store::save_env`] lets others into
//! its files. [`Secrets`] keeps values that only the host may read.
//!
//! Keeps INV-5, INV-6, INV-7 and INV-9. Limits: [`QUEUE_JOBS_MAX`], [`QUEUE_BYTES_MAX`], [`EVENTS_PAGE_MAX`],
//! [`EVENT_BYTES_MAX`], [`INBOX_MAX`], [`LIST_MAX`], [`NAME_CHARS_MAX`], [`CORE_MEMORY_CHARS_MAX`], [`ANSWER_BYTES_MAX`],
//! [`AGENTS_MAX`], [`TOKENS_MAX`], [`IMPORT_BYTES_MAX`].

mod agent;
mod agent_tool;
mod approval;
mod asker;
mod audit;
mod audit_head;
mod branch;
mod budget;
mod budget_limit;
mod card;
mod channel;
mod chat;
mod checkpoint;
mod config_row;
mod db;
mod env;
mod error;
mod event;
mod first_steps;
mod foreign;
mod health;
mod home;
mod import;
mod inbound;
mod job;
mod journal;
mod ledger;
mod mark;
mod memory;
mod open;
mod outbox;
mod people;
mod persona;
mod plugin;
mod pool;
mod question;
mod quota;
mod reader;
mod refused;
mod route;
mod row;
mod secrets;
mod session;
mod shared;
mod store;
mod task;
mod tenant;
mod token;
mod turn;
mod user;
mod web;
mod webhook;
mod writer;

pub use agent::{AGENT_BYTES_MAX, AGENTS_MAX, AgentRow};
pub use agent_tool::{
    ABOUT_PLACES_MAX, GATE_BYTES_MAX, Gate, GateVerdict, Mail, NewOrder, NewTaskPlace, NewToolQuestion, ORDERS_OPEN_MAX, OrderRow, Origin,
    OutPlace, TaskPatch, TaskPlaceRow, ToolAsked, TurnAbout,
};
pub use approval::{
    APPROVAL_NOTE_CHARS_MAX, APPROVALS_KEPT_MAX, APPROVALS_MINUTE_MAX, APPROVALS_PENDING_MAX, ApprovalAnswer, ApprovalChange,
    ApprovalFilter, ApprovalRow, NewApproval,
};
pub use asker::{AskerNow, SaidBeside};
pub use audit::{AUDIT_BATCH_MAX, AUDIT_ENTRY_BYTES_MAX, AuditCheck, AuditFault, AuditFilter, AuditRow};
pub use branch::{
    BRANCH_COMMENT_CHARS_MAX, BRANCH_COMMENTS_MAX, BRANCH_REPOS_MAX, BRANCHES_MAX, BranchComment, BranchFilter, BranchHome, BranchMerged,
    BranchPatch, BranchRepo, BranchRepoHome, BranchRepoPatch, BranchRow, BranchTurn, MERGE_QUEUES_KEPT_MAX, MERGE_QUEUES_OPEN_MAX,
    MergeQueueRow, NewBranch, NewBranchComment, NewMergeQueue,
};
pub use budget::{Slab, SlabId};
pub use budget_limit::{BUDGETS_MAX, BudgetRow, budget_key, budget_name};
pub use channel::{CHANNELS_MAX, CURSOR_BYTES_MAX, ChannelRow};
pub use chat::{CHATS_MAX, ChatFilter, ChatRow, DESTINATIONS_MAX, DestinationRow, SessionKey, WIRINGS_PER_CHAT_MAX, WiringRow};
pub use checkpoint::{CheckpointRow, Undo};
pub use config_row::{
    CONFIG_BYTES_MAX, CONFIG_DESCRIPTION_CHARS_MAX, CONFIG_VERSIONS_MAX, CONFIGS_MAX, ConfigKey, ConfigRow, ConfigRule, NewConfig,
};
pub use env::{CORE_MEMORY_CHARS_MAX, EnvRow, NewEnv};
pub use error::StoreError;
pub use event::{EVENT_BYTES_MAX, EVENTS_PAGE_MAX, Record, Spool};
pub use first_steps::{FOREIGN_ID_CHARS_MAX, ForeignKey, SETUP_STEPS_MAX, SetupStepRow, TAKEN_MAX, TakenRow};
pub use foreign::{FOREIGN_ROWS_MAX, Foreign, ForeignError};
pub use health::{COMMIT_BUCKETS_US, StoreHealth};
pub use home::check_home;
pub use import::{IMPORT_BYTES_MAX, IMPORT_EVENTS_MAX, IMPORT_TURNS_MAX, Imported, ImportedEvent, ImportedTurn};
pub use inbound::{CHAT_QUEUE_MAX, CONTEXT_MAX, INBOUND_BYTES_MAX, RATE_WINDOW_MS};
pub use job::{
    AcceptedJob, BLOB_INLINE_BYTES, BlobError, Blobs, EndedJob, GrowingBlob, JOB_FORM_BYTES_MAX, JobBlob, JobBody, JobCaps, JobCounts,
    JobDetail, JobEnd, JobFilter, JobLease, JobNames, JobRow, JobTry, JobWork, NewJob, SHELF_PIECE_BYTES, StagedBlob, SweptJob, Webhook,
};
pub use ledger::{By, Call, UsageRow, day_of};
pub use memory::{
    FoundMemory, MEMORY_BYTES_MAX, MEMORY_CONTENT_CHARS_MAX, MEMORY_DEPTH_MAX, MEMORY_ENTRIES_MAX, MEMORY_QUERY_CHARS_MAX,
    MEMORY_RESULTS_MAX, MEMORY_SESSION_DELETES_MAX, MEMORY_SESSION_STORES_MAX, MEMORY_SESSION_SUPERSEDES_MAX, MEMORY_TAG_CHARS_MAX,
    MEMORY_TAGS_MAX, MemoryAuthor, MemoryBrief, MemoryFilter, MemoryKind, MemoryOwner, MemoryQuery, MemoryRow, MemoryScope, MemorySource,
    MemoryState, NewMemory,
};
pub use outbox::{ACT_BYTES_MAX, NewOut, OUTBOX_AT_ONCE, OUTBOX_MAX, OutFilter, OutOutcome, OutRow, PARTS_MAX};
pub use people::{
    ADMISSIONS_MAX, AdmissionRow, AgentRoleRow, GUESSES_MAX, GUESSES_WINDOW_MS, HandleRow, PAIRINGS_MAX, PairingRow, Person,
    is_known_by_handle,
};
pub use persona::{NewSkill, ORIGIN_BYTES_MAX, OriginRow, SKILL_ARCHIVE_BYTES_MAX, SKILL_VERSIONS_MAX, SKILLS_MAX, SkillRow, SkillVersion};
pub use plugin::{DEFINITIONS_BYTES_MAX, PLUGINS_MAX, PluginRow};
pub use pool::PoolAsk;
pub use question::{ANSWER_BYTES_MAX, QuestionRow, QuestionStatus};
pub use quota::{Claim, Quota, day_quota_key};
pub use route::{
    AskedHere, AskerRow, HeardOut, Hearing, InboundRow, KeptMessage, Reply, Route, RouteView, RoutedRow, Router, Verdict, WiringView,
};
pub use secrets::{KeySource, SecretEntry, Secrets, SecretsError, VALUE_BYTES_MAX};
pub use session::{LIST_MAX, NAME_CHARS_MAX, NewSession, PRIORITY_DEFAULT, Page, SessionFilter, SessionRow};
pub use shared::{Access, Change, Changes, REPLICA_LOST_AFTER, ReplicaRow, Topic};
pub use store::{Config, Store};
pub use task::{
    NewTask, RUNS_AT_ONCE, RUNS_BEGUN_MAX, RUNS_WAITING_MAX, TASK_ACTION_BYTES_MAX, TASKS_AT_ONCE, TASKS_MAX, TaskChange, TaskPlan,
    TaskRow, TaskRunRow, TaskRunStart, TaskRunState, TaskState,
};
pub use tenant::{TENANTS_MAX, TenantRow, TenantState};
pub use token::{EVERY_TENANT, NewToken, TOKENS_MAX, TokenRow, TokenSeen};
pub use turn::{Accepted, EngineBase, Fence, INBOX_MAX, Lease, NewTurn, TurnRow};
pub use user::{Arrival, MEMBERS_MAX, MemberRow, USERS_MAX, UserRow};
pub use web::{HeardFilter, Talk, Told};
pub use webhook::{
    WEBHOOK_BODY_BYTES_MAX, WEBHOOK_HOSTS_MAX, WEBHOOK_URL_BYTES_MAX, WEBHOOKS_AT_ONCE, WebhookFilter, WebhookOutcome, WebhookRow,
    WebhookTried,
};
pub use writer::{CRASH_POINTS, QUEUE_BYTES_MAX, QUEUE_JOBS_MAX};
