//! The use cases: what people and programs ask for, carried out over the store, the sandboxes and the doors.
//!
//! Everything that asks for work becomes a turn of a session; everything that happens becomes an event. A turn is durable
//! before it is acknowledged, has one runner under a fencing number, and is taken up again after a crash where it stood:
//! its sandbox lives on, what the engine printed meanwhile waits in the guest, and each piece is recorded together with
//! its place, so nothing is lost and nothing is logged twice.
//!
//! It does not know HTTP, command lines or configuration files. Start at [`App::open`]; a turn is followed in `turn.rs`.
//!
//! Keeps INV-2, INV-4, INV-6, INV-7, INV-8 and INV-9.

mod adopt;
mod agent_tools;
mod agents;
mod app;
mod approvals;
mod archive;
mod aside;
mod ask;
mod asked;
mod askers;
mod asking;
mod asks;
mod audit;
mod auth;
mod bound;
mod branches;
mod bridge;
mod budgets;
mod caller;
mod channels;
mod choose;
mod clock;
mod collisions;
mod configs;
mod delivery;
mod diagnostics;
mod diff;
mod doors;
mod due;
mod egress;
mod envs;
mod exposed;
mod files;
mod follow;
mod git;
mod helper;
mod history;
mod house;
mod import;
mod inside;
mod installs;
mod jobs;
mod layers;
mod ledger;
mod live;
mod memory;
mod metrics;
mod mounts;
mod oidc;
mod others;
mod personas;
mod places;
mod plugins;
mod pool;
mod ports;
mod process;
mod providers;
mod pump;
mod questions;
mod quotas;
mod raw_log;
mod refusals;
mod registry;
mod replay;
mod rights;
mod roles;
mod rooms;
mod rounds;
mod router;
mod runner;
mod sandboxes;
mod secret_views;
mod secrets;
mod self_policy;
mod session_forms;
mod sessions;
mod settings;
mod setup;
mod shown;
mod since;
mod skills;
mod spec;
mod status;
mod stops;
mod tasks;
mod telemetry;
mod tenants;
mod terminals;
mod tokens;
mod told;
mod tools;
mod trees;
mod trust;
mod turn;
mod volume;
mod waits;
mod webhooks;

pub use agents::{AgentForm, AgentsOf, DEFAULT_AGENT};
pub use app::{App, Busy, Configure, Opening, Reload};
pub use approvals::{APPROVAL_TTL_DEFAULT, APPROVAL_TTL_MAX};
pub use ask::{AskForm, AskView};
pub use asked::{ApprovalQuery, ApprovalSettings, ApprovalView, ApprovalsOf, Decision, DecisionForm};
pub use asking::INJECT_CHARS_MAX;
pub use auth::{ClientSecret, LoginFlow, LoginForm, LoginState, LoginStep, LoginTokens, LoginView, LoginsOf, TokenOrder};
pub use bound::{BindForm, Binding, BoundOf, BoundView};
pub use branches::{
    AlsoRepo, BESIDE_DIR, BranchAuthor, BranchChange, BranchDiff, BranchFollow, BranchHistory, BranchPart, BranchQuery, BranchRepoView,
    BranchSettings, BranchType, BranchView, BranchWatchQuery, BranchesOf, ChangeSize, CheckOrder, CheckView, CleanForm, CleanView,
    CommentForm, CommentView, CommitView, FileChange, MergeForm, MergeInRepo, MergeView, NotSpawned, OWN_ENGINE_DIR, PolicyForm,
    PreviewForm, PreviewPair, PreviewView, QueueConflict, QueueForm, QueuePlace, QueueQuery, QueueView, ResumeForm, SpawnForm, Spawned,
    SpawnedOne, VerdictForm, VerdictView, WorktreeForm, WorktreeView,
};
pub use bridge::{ExecForm, bridge};
pub use broker::Rate as CallRate;
pub use budgets::{BudgetForm, BudgetPolicy, BudgetRaise, BudgetView, BudgetsOf};
pub use caller::{Caller, OWN_TENANT};
pub use channels::{
    AdmissionView, ChannelForm, ChannelPatch, ChannelSettings, ChannelView, ChannelsOf, ChatForm, ChatPatch, ChatQuery, ChatView, ChatsOf,
    DestinationForm, DestinationView, Ground, HOOK_BODY_BYTES_MAX, HandleForm, HandleView, HeardQuery, HeardView, HookAnswer, HookRequest,
    OutQuery, OutView, PairForm, PairingView, PeopleOf, RoleForm, RoleView, Speaker, WebChat, WebEditForm, WebFile, WebMessage,
    WebMessageForm, WebMessageQuery, WebMessages, WebOf, WebPlaceQuery, WebPressForm, WebSaid, WhyStep, WhyView, WiringForm, WiringView,
};
pub use choose::{Chosen, Provider, choose};
pub use clock::now;
pub use configs::{CheckForm, Checked, ConfigForm, ConfigKind, ConfigView, ConfigsOf, EngineView, ProfileVariable, ProfileView};
pub use delivery::{DeliveryOf, OutFile, Saying, Target};
pub use diagnostics::CallRates;
pub use egress::EgressSettings;
pub use envs::{CORE_MEMORY_CHARS_MAX, EnvForm, EnvPatch, EnvView, EnvsOf};
pub use exposed::{ExposeForm, ExposedOf, ExposedView};
pub use files::{Change, ENTRIES_MAX, FileEntry, FileStream, FilesOf, UPLOAD_BYTES_MAX};
pub use follow::Follow;
pub use history::{FORKS_MAX, ForkForm, Parent, TurnView, UndoForm};
pub use import::{CARRY_BYTES_MAX, CARRY_FORM, CARRY_LINE_BYTES_MAX, Carried, CarryEvent, CarryLine, CarryReport, ImportOf, digest};
pub use installs::{EngineInstalls, EngineStatus, EnginesOf, FetchFile, FetchOrder, RegistryFinder};
pub use jobs::{
    Artifact, ComingFile, Hooks, JOB_FILES_BYTES_MAX, JOB_FILES_MAX, JOBS_QUEUED_MAX, JobFile, JobFiles, JobFollow, JobForm, JobPart,
    JobQuery, JobRepo, JobSettings, JobStaging, JobState, JobView, JobsOf, OutputFormat, ResolvedJob, check_job, check_job_path,
};
pub use memory::{MEMORY_BRIEF_CHARS_MAX, MemoriesOf, MemoryForm, MemoryPurge, MemoryQueryForm, MemorySettings, MemoryView};
pub use metrics::{Check, HealthView};
pub use mounts::{MOUNTS_MAX, MountForm, MountRoot, refused_place};
pub use oidc::{OidcArrived, OidcBegin, OidcOf, OidcRule, OidcSettings};
pub use personas::{TemplateApply, TemplateField, TemplateOrder, TemplatePlan, TemplateTask, TemplateView, TemplatesOf};
pub use plugins::{
    Category, CredentialView, Definition, PLUGIN_BYTES_MAX, PLUGIN_FILES_MAX, Pending, PluginChange, PluginChecked, PluginCredential,
    PluginInstalled, PluginInstalls, PluginOrder, PluginRecord, PluginState, PluginToolView, PluginView, PluginsOf, ShippedPlugin,
    check_plugin, check_plugin_name, hash_folder, plugin_name_of,
};
pub use pool::{POOL_SIZE_MAX, POOL_TENANTS_MAX, PoolSettings, PoolShelf, PoolView};
pub use ports::{InsidePort, PortForm};
pub use providers::{KeylessForm, ProviderKey, ProviderModel, ProviderModels, ProviderUse, ProviderView, ProvidersOf};
pub use quotas::{Rate, RateSettings};
pub use rights::{AREAS, Rights, Scope};
pub use roles::Role;
pub use rooms::{Room, Seat};
pub use sandboxes::SandboxForm;
pub use secret_views::{SecretKept, SecretSession, SecretView};
pub use secrets::SecretBook;
pub use self_policy::SelfPolicy;
pub use session_forms::{
    AnswerForm, MessageFile, MessageForm, QuestionView, SessionForm, SessionPatch, SessionQuery, SessionState, SessionView,
};
pub use sessions::{FilesOut, SessionsOf};
pub use settings::{SessionSettings, Settings};
pub use setup::{
    NETWORKS, NetworkField, NetworkGuide, Notice, SetupForm, SetupOf, SetupState, SetupStep, SetupStepView, SetupView, network_guide,
};
pub use skills::{
    SKILL_BYTES_MAX, SKILL_FILES_MAX, SkillFile, SkillFinding, SkillOrder, SkillReview, SkillState, SkillVersionView, SkillView, SkillsOf,
};
pub use spec::{ImageRef, MountNote, ProgramSource, SessionSpec, Tape};
pub use status::{AuthorityView, Status};
pub use telemetry::{LogLine, LogReceiver, LogSender, TelemetrySettings, TraceParent, log_queue, traced};
pub use tenants::{MemberForm, MemberView, MembersOf, TenantForm, TenantPatch, TenantView, TenantsOf};
pub use terminals::{AttachForm, Attached, Screen, TERMINAL_RESET, Taken, TerminalForm, TerminalView, carry};
pub use tokens::{Bearer, TokenForm, TokenView, TokensOf};
pub use tools::{TOOL_FILE_BYTES_MAX, TOOLS_DIR, ToolView, ToolsOf};

pub use tasks::{Misfire, Overlap, TaskAction, TaskForm, TaskMessage, TaskQuery, TaskRunView, TaskSettings, TaskView, TasksOf};
pub use webhooks::{
    SIGNATURE_HEADER, WEBHOOK_TIMEOUT_DEFAULT, WEBHOOK_TIMEOUT_RANGE, WebhookQuery, WebhookSecretForm, WebhookSecretView, WebhookSettings,
    WebhookView, WebhooksOf, signature,
};

pub use ::sandbox::{HostMount, Summary};
pub use ::store::JobCounts;
pub use ::store::{AuditCheck, AuditFault, AuditFilter, AuditRow, Page};
pub use ::store::{Claim, Quota, TenantState};
pub(crate) use app::WeakApp;
