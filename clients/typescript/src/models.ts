// The forms of the API.
// Made by `cargo xtask clients` from docs/reference/openapi.json. Changes are made there.

/** Yes or no. */
export interface AdmissionAnswer {
  /** Whether they are let in. */
  "allow": boolean;
}

/** Somebody unknown who asks to be let in. */
export type AdmissionId = string;

/** Which admissions. */
export interface AdmissionQuery {
  /** `pending`, `allowed` or `denied`; all when left out. */
  "state"?: string | null;
}

/** Somebody who asks to be let in. */
export interface AdmissionView {
  /** The agent that they want to talk to. */
  "agent": string;
  /** The account. */
  "channel": string;
  /** The chat. */
  "chat": ChatId;
  /** When they asked. */
  "created": Timestamp;
  /** Their handle. */
  "handle": string;
  /** Its identity. */
  "id": AdmissionId;
  /** What they call themselves. */
  "name": string;
  /** `pending`, `allowed` or `denied`. */
  "state": string;
}

/** A configured persona. */
export interface AgentForm {
  /** Hosts that may be reached, within `egress.max`. */
  "egress"?: EgressRule[];
  /** The engine; the configured one when left out. */
  "engine"?: string | null;
  /** Who is asked in turn when its provider does not answer, or a budget does not cover the call: `PROVIDER` or `PROVIDER/MODEL`, of the same family of APIs. */
  "fallback"?: string[];
  /** Which skills and tools it may see. */
  "group"?: string;
  /** Hosts that may be reached for them, within `egress`; none when left out. No bound secret is ever put in for them. */
  "guest_egress"?: EgressRule[];
  /** Those of its tools, of low risk, that it calls for people who are not known, in chats that hear everybody; none when left out. */
  "guest_tools"?: string[];
  /** Standing instructions, written as the engine's own file. */
  "instructions"?: string;
  /** What becomes of a change that it makes to its own standing instructions, where it has the tool for it. */
  "instructions_policy"?: SelfPolicy;
  /** What its sandboxes may use; the configured limits when left out. */
  "limits"?: Limits | null;
  /** Those of its tools that it calls for members; all of them when left out. Whoever answers for it can have all of them called. */
  "member_tools"?: string[] | null;
  /** What becomes of what it remembers and would act on in other sessions; `off` takes its memory away whole. */
  "memory_policy"?: SelfPolicy;
  /** The model; the engine's choice when left out. */
  "model"?: string | null;
  /** Its name; see `model::is_name`. */
  "name"?: string;
  /** Bound secrets that its sessions may use, by name. */
  "secrets"?: string[];
  /** Skills that it sees. */
  "skills"?: string[];
  /** Tenants, besides the owner's, whose sessions have all of it; `*` for every tenant. Sessions of others work with it too, but without what is the owner's: the vault, secrets, and tools that use the owner's accounts. */
  "tenants"?: string[];
  /** Tools that it may call. */
  "tools"?: string[];
  /** The word that addresses it in chats; `@Andy` when left out. */
  "trigger"?: string | null;
}

/** A repository that an agent works on beside its first one. */
export interface AlsoRepo {
  /** What it is called: its clone lies at `/home/sandbox/repos/NAME`. Letters, digits and `-_.`, the first one no dot. */
  "name": string;
  /** The repository, named as the first one is. Its descriptor comes after those before it. */
  "repo": string;
}

/** An answer to a question. */
export interface AnswerForm {
  /** Which question; the only open one when left out. */
  "question"?: QuestionId | null;
  /** The answer. */
  "text": string;
}

/** A confirmation that a person is asked for. */
export type ApprovalId = string;

/** Which confirmations are listed. */
export interface ApprovalQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** How many. */
  "limit"?: number | null;
  /** Only those of this session. */
  "session"?: string | null;
  /** `pending`, `approved`, `denied`, `expired` or `cancelled`. */
  "status"?: string | null;
}

/** What a person is asked before a call is made. */
export interface ApprovalView {
  /** The agent. */
  "agent": string;
  /** When it was answered. */
  "answered_at"?: Timestamp | null;
  /** Who answered: `owner` or `token:ID`. */
  "answered_by"?: string | null;
  /** With what. */
  "arguments": unknown;
  /** When it was asked. */
  "asked_at": Timestamp;
  /** Of an approved one: `waiting`, `begun` (under way, or cut short by the daemon's end: it is not made again) or `made`. */
  "call"?: string | null;
  /** The call's own name. */
  "correlation": string;
  /** Until when it can be answered, or a yes can be used. */
  "expires_at": Timestamp;
  /** What an answer must name. */
  "hash": string;
  /** Its identity. */
  "id": ApprovalId;
  /** Whether an argument is longer than 64 KiB. */
  "is_long": boolean;
  /** What was said with the answer. */
  "note"?: string | null;
  /** Whose tool it is; empty for the daemon's own. */
  "plugin": string;
  /** How much harm it can do. */
  "risk": Risk;
  /** The session that asks; left out for a call of the owner's own. */
  "session"?: SessionId | null;
  /** `pending`, `approved`, `denied`, `expired` or `cancelled`. */
  "status": string;
  /** The call as a person is to read it: whole, each argument on one line, with nothing hidden. */
  "text": string;
  /** What would be called. */
  "tool": string;
  /** The turn that asks. */
  "turn"?: TurnId | null;
}

/** A file that a job left. */
export interface Artifact {
  /** How long it is. */
  "bytes": number;
  /** Where it was, below the working directory. */
  "path": string;
}

/** A question about the install. */
export interface AskForm {
  /** The model; the configured choice when left out. */
  "model"?: string | null;
  /** What somebody wants to know. */
  "question": string;
}

/** A session that a question can be asked in. */
export interface AskView {
  /** The session. */
  "session": SessionView;
  /** What is to be said in it. */
  "text": string;
}

/** What a check of the chain found. */
export interface AuditCheck {
  /** The first fault. */
  "broken"?: AuditFault | null;
  /** Its hash, in hexadecimal: what to keep elsewhere, to compare with later. */
  "head": string;
  /** Rows that were read and are whole. */
  "rows": number;
  /** The number of the last whole row. */
  "seq": number;
}

/** Where the chain is broken, and how. */
export interface AuditFault {
  /** The first row that is wrong or missing. */
  "seq": number;
  /** What is wrong with it. */
  "why": string;
}

/** What kind of decision it was. */
export type AuditKind = "tool" | "model" | "egress" | "confirmation" | "admin";

/** Which rows are asked for. */
export interface AuditQuery {
  /** Rows after this number. */
  "after"?: number | null;
  /** The call. */
  "correlation"?: string | null;
  /** Not before, in milliseconds since 1970. */
  "from"?: number | null;
  /** `tool`, `model`, `egress`, `confirmation` or `admin`. */
  "kind"?: AuditKind | null;
  /** The last of them instead of the first. */
  "latest"?: boolean;
  /** How many. */
  "limit"?: number | null;
  /** How it ended. */
  "outcome"?: string | null;
  /** The session. */
  "session"?: string | null;
  /** Before, in milliseconds since 1970. */
  "to"?: number | null;
  /** What it is about, whole. */
  "topic"?: string | null;
}

/** A row of the audit. */
export interface AuditRow {
  /** Who: `agent:NAME`, `owner`, `token:ID`, `plugin:NAME`. */
  "actor": string;
  /** Why not, where it was refused or failed. */
  "code"?: Code | null;
  /** The call's own name, where it has one. */
  "correlation"?: string | null;
  /** Particulars: hash of the arguments, fields that were redacted, bytes, cost. */
  "detail"?: unknown;
  /** The hash of this row and the one before. */
  "hash": string;
  /** What kind it is. */
  "kind": AuditKind;
  /** `routed`, `rejected`, `sanitized`, `error`, `allowed`, `denied`, `asked`, `approved`, `expired`, `changed`. */
  "outcome": string;
  /** The hash of the row before, in hexadecimal; zeros for the first. */
  "prev": string;
  /** Its place in the chain, from 1, without gaps. */
  "seq": number;
  /** The session whose sandbox asked. */
  "session"?: SessionId | null;
  /** The broker's stage that decided, 1 to 6. */
  "stage"?: number | null;
  /** When it was made. */
  "time": Timestamp;
  /** What about: `tool.invoke.NAME`, `HOST:PORT`, a model, a verb. */
  "topic": string;
  /** The turn that ran. */
  "turn"?: TurnId | null;
}

/** How long a certificate authority is good. */
export interface AuthorityView {
  /** From when on. */
  "from": Timestamp;
  /** The daemon's own time. */
  "now": Timestamp;
  /** Until when. */
  "until": Timestamp;
}

/** A secret to bind. */
export interface BindForm {
  /** The header; `Authorization` when left out. */
  "header"?: string | null;
  /** The host, with a port unless it is 443. */
  "host": string;
  /** A method; every method when left out. */
  "method"?: string | null;
  /** The secret, and the variable that holds its placeholder inside. */
  "name": string;
  /** A path prefix; every path when left out. */
  "path"?: string | null;
}

/** A bound secret as it is shown. */
export interface BoundView {
  /** The header, in small letters. */
  "header": string;
  /** The host. */
  "host": string;
  /** A method. */
  "method"?: string | null;
  /** The secret. */
  "name": string;
  /** A path prefix. */
  "path"?: string | null;
  /** The port. */
  "port": number;
}

/** Whose name commits carry. */
export interface BranchAuthor {
  /** The address. */
  "email": string;
  /** The name. */
  "name": string;
}

/** What a branch changes. */
export interface BranchDiff {
  /** The commit that it is compared with. */
  "base": string;
  /** Its commits, the youngest first. */
  "commits": CommitView[];
  /** The files. */
  "files": FileChange[];
  /** All together. */
  "size": ChangeSize;
  /** The commit that is read. */
  "tip": string;
  /** Whether there is more than is listed. */
  "truncated": boolean;
}

/** Which repository. */
export interface BranchDiffQuery {
  /** What a repository beside the first one is called; the first one when left out. */
  "repo"?: string | null;
}

/** How much of the repository's past an agent sees. */
export type BranchHistory = "all" | "branch";

/** An agent that works on a branch. */
export type BranchId = string;

/** Which file. */
export interface BranchPatchQuery {
  /** As the list of changes names it; all of them when left out. */
  "path"?: string | null;
  /** What a repository beside the first one is called; the first one when left out. */
  "repo"?: string | null;
}

/** Which branch agents to list. */
export interface BranchQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Those that were asked for the same. */
  "batch"?: string | null;
  /** The one on this branch. */
  "branch"?: string | null;
  /** Entries in a page; 100 when left out. */
  "limit"?: number | null;
  /** Those of this repository. */
  "repo"?: string | null;
}

/** Where a branch agent stands in a repository beside its first one. */
export interface BranchRepoView {
  /** The commit that the branch began at. */
  "base": string;
  /** Commits since the base. */
  "commits": number;
  /** Changed files that are not committed. */
  "dirty": number;
  /** The branch that it was merged into, where the last commit was. */
  "merged_into"?: string | null;
  /** What it is called. */
  "name": string;
  /** Why it is elsewhere than it was wanted, or did not come. */
  "note"?: string | null;
  /** The reference of the repository that has it. */
  "ref"?: string | null;
  /** The repository. */
  "repo": string;
  /** How much was changed. */
  "size"?: ChangeSize | null;
  /** The branch that it is merged into unless another is named. */
  "target"?: string | null;
  /** The commit that came home last. */
  "tip"?: string | null;
  /** Files that git does not know. */
  "untracked": number;
}

/** A conflict to resolve. */
export interface BranchResolve {
  /** The target; the branch that the agent's was taken from when left out. */
  "into"?: string | null;
}

/** Agents to begin. */
export interface BranchSpawn {
  /** Who does it; `default` when left out. */
  "agent"?: string | null;
  /** Repositories beside it: in each a clone of its own has the same branch, begun at what is checked out there. */
  "also"?: AlsoRepo[];
  /** Whose name commits carry. */
  "author"?: BranchAuthor | null;
  /** The branch; any name that git takes. */
  "branch"?: string;
  /** The most that it may cost. */
  "budget"?: Money | null;
  /** Whether uncommitted and untracked files of the repository are carried in. */
  "carry"?: boolean;
  /** A command whose success says that the work is good; run in a sandbox without doors. */
  "check"?: string | null;
  /** Whether what is left uncommitted after a turn becomes a last commit. */
  "commit"?: boolean;
  /** Hosts that may be reached. */
  "egress"?: EgressRule[];
  /** The engine. */
  "engine"?: string | null;
  /** The directory of this machine that holds that program, absolute and without links: seen read-only at `/home/sandbox/own-engine`. Taken over the owner's socket only. */
  "engine_dir"?: string | null;
  /** Ignored files that are carried in all the same, for example `.env`: paths in the repository. */
  "files"?: string[];
  /** Where the branch begins: a branch, tag or commit; what is checked out when left out. */
  "from"?: string | null;
  /** How much of the past it sees. */
  "history"?: BranchHistory;
  /** The user's own words, for finding it again. */
  "labels"?: { [key: string]: string };
  /** What its sandbox may use. */
  "limits"?: Limits | null;
  /** The model. */
  "model"?: string | null;
  /** How many agents do the same, each on a branch `BRANCH-1` and so on; one on `BRANCH` itself when left out. */
  "n"?: number | null;
  /** From 0 to 9; a higher one goes first. 5 when left out. */
  "priority"?: number | null;
  /** Where a program lies inside that the user brought; for engines by path. */
  "program"?: string | null;
  /** The repository: an absolute path. Through the owner's socket its descriptor comes beside the form; else it lies below a directory that the configuration lists. */
  "repo"?: string;
  /** Bound secrets that it may use besides its agent's, by name. */
  "secrets"?: string[];
  /** Directories that are checked out, with the files beside and above them; all when left out. The agent may add others. */
  "sparse"?: string[];
  /** What to do. */
  "task"?: string;
  /** Names the descriptors of the repositories in their order, handed over beside the owner's socket. */
  "ticket"?: string | null;
  /** What kind of task it is; found out from branch and task when left out. */
  "type"?: string | null;
  /** Kinds of tasks besides those of the home and those that ship: their texts, by name. */
  "types"?: { [key: string]: string };
}

/** Where a branch agent stands. */
export type BranchState = "starting" | "working" | "waiting" | "done" | "failed" | "stopped";

/** A kind of task. */
export interface BranchType {
  /** What it is for. */
  "description": string;
  /** Its name. */
  "name": string;
}

/** A branch agent as it is shown. */
export interface BranchView {
  /** The repositories beside the first one. */
  "also"?: BranchRepoView[];
  /** The commit that it began at. */
  "base": string;
  /** What several agents share that were asked for the same. */
  "batch"?: string | null;
  /** The branch. */
  "branch": string;
  /** The last check. */
  "check"?: CheckView | null;
  /** Why it failed. */
  "code"?: Code | null;
  /** Commits since the base. */
  "commits": number;
  /** What its model calls cost so far, in US dollars. */
  "cost_usd": number;
  /** When it was made. */
  "created": Timestamp;
  /** Changed files that are not committed. */
  "dirty": number;
  /** How long its last turn took, or takes, in milliseconds. */
  "duration_ms": number;
  /** The engine. */
  "engine": string;
  /** Its identity. */
  "id": BranchId;
  /** Whether the work of every turn that is over came home. */
  "is_home": boolean;
  /** The branch that it was merged into, where the last commit of all of its repositories was. */
  "merged_into"?: string | null;
  /** The model. */
  "model": string;
  /** Why it is elsewhere than it was wanted, or did not come. */
  "note"?: string | null;
  /** How that ended. */
  "outcome"?: Outcome | null;
  /** The provider. */
  "provider": string;
  /** The reference of the repository that has it. */
  "ref"?: string | null;
  /** The repository. */
  "repo": string;
  /** The session of the agent. */
  "session": SessionId;
  /** How much was changed. */
  "size"?: ChangeSize | null;
  /** Where it stands. */
  "state": BranchState;
  /** The branch that it is merged into unless another is named. */
  "target"?: string | null;
  /** The beginning of the first task. */
  "task": string;
  /** The commit that came home last. */
  "tip"?: string | null;
  /** The turn that counts. */
  "turn"?: TurnId | null;
  /** Turns so far. */
  "turns": number;
  /** What kind of task it is. */
  "type": string;
  /** Files that git does not know. */
  "untracked": number;
  /** When something last happened. */
  "updated": Timestamp;
  /** What a reader decided. */
  "verdict"?: VerdictView | null;
  /** Who or what it waits for. */
  "waiting_for"?: string | null;
}

/** Which agents are followed. */
export interface BranchWatchQuery {
  /** Those of this repository. */
  "repo"?: string | null;
}

/** A working tree to be made. */
export interface BranchWorktree {
  /** Check the commit out and not the branch. */
  "detach"?: boolean;
  /** Where: an absolute path that is not there yet. */
  "path": string;
  /** Names the descriptor of the directory above, handed over beside the owner's socket. */
  "ticket": string;
}

/** A budget to set. */
export interface BudgetForm {
  /** The most that may be spent, in US dollars. */
  "limit_usd": number;
  /** What happens when it is spent; when left out, sessions wait and jobs and `lazaret run` fail. */
  "policy"?: BudgetPolicy | null;
}

/** What happens when a budget does not cover a call. */
export type BudgetPolicy = "wait" | "fail";

/** By how much a budget is raised. */
export interface BudgetRaise {
  /** US dollars. */
  "by_usd": number;
}

/** A budget as it is shown. */
export interface BudgetView {
  /** What is left. */
  "left_usd": number;
  /** The most that may be spent. */
  "limit_usd": number;
  /** Whose it is: `session:ID`, `job:ID`, `agent:NAME`, `tenant:NAME` or `all`, and `@day` behind it when it holds each day. */
  "name": string;
  /** What happens when it is spent, where that was set. */
  "policy"?: BudgetPolicy | null;
  /** What was spent, today where it holds each day; what running work has set aside counts. */
  "spent_usd": number;
}

/** What became, or would become, of one thing. */
export interface Carried {
  /** What it is called. */
  "name": string;
  /** Why, or what is to be done about it. */
  "note"?: string;
  /** `new`, `same`, `there`, `changed`, `left out` or `wrong`. */
  "outcome": string;
  /** What kind of thing. */
  "what": string;
}

/** What came of taking an install over. */
export interface CarryReport {
  /** How many of each kind came to what: `agent new` and so on. */
  "counts": { [key: string]: number };
  /** Whether nothing was changed. */
  "dry_run": boolean;
  /** Each thing but those that are as they were, the first 2,000. */
  "items": Carried[];
  /** Whether there were more. */
  "more": boolean;
}

/** What kind of trouble a plugin has. */
export type Category = "CONFIG" | "AUTH" | "NETWORK" | "INTERNAL" | "PENDING";

/** One path that differs between two checkpoints. */
export interface Change {
  /** `added`, `removed`, `changed` or `type`. */
  "change": string;
  /** The path, from the root of the sandbox, for example `/home/sandbox/notes.md`. */
  "path": string;
  /** Bytes after. */
  "size_after"?: number | null;
  /** Bytes before. */
  "size_before"?: number | null;
}

/** How much a branch changes. */
export interface ChangeSize {
  /** Lines that come. */
  "added": number;
  /** Files. */
  "files": number;
  /** Lines that go. */
  "removed": number;
}

/** An account to add. */
export interface ChannelForm {
  /** What its program is told. */
  "config"?: { [key: string]: unknown };
  /** Its credentials, by their names. They are kept among the secrets. */
  "credentials"?: { [key: string]: string };
  /** Its name; see `model::is_name`. */
  "name"?: string;
  /** Its network. */
  "network"?: string;
  /** The folder below the home's `channels/` that holds somebody else's program; what ships when left out. */
  "program"?: string | null;
  /** Whose it is; `default` when left out. */
  "tenant"?: string | null;
}

/** What changes of an account. */
export interface ChannelPatch {
  /** What its program is told; replaces what it was told before. */
  "config"?: { [key: string]: unknown } | null;
  /** Credentials that it gets, by their names. */
  "credentials"?: { [key: string]: string };
  /** Switches it on or off. */
  "on"?: boolean | null;
  /** Looks at somebody else's program again, and takes it as it is now. */
  "program"?: string | null;
}

/** An account. */
export interface ChannelView {
  /** What its network can do, once connected. */
  "abilities"?: unknown;
  /** What its program is told. */
  "config": unknown;
  /** When it was added. */
  "created": Timestamp;
  /** Its credentials and whether they are set. */
  "credentials": { [key: string]: boolean };
  /** `off`, `starting`, `connecting`, `well`, `credential` or `down`. */
  "health": string;
  /** Where its platform sends requests to, when it does. */
  "hook"?: string | null;
  /** The hosts that it may reach. */
  "hosts": string[];
  /** Who it is on its network, once connected. */
  "me"?: unknown;
  /** What it says of that. */
  "message": string;
  /** Its name. */
  "name": string;
  /** Its network. */
  "network": string;
  /** Whether it is switched on. */
  "on": boolean;
  /** Somebody else's program. */
  "program"?: string | null;
  /** How often its program began again since the daemon's start. */
  "restarts": number;
  /** Whose it is. */
  "tenant": string;
}

/** An answer to a question. */
export interface ChatAnswer {
  /** The answer: a text, a list of texts, or an object with one for each question. */
  "answers": unknown;
  /** Which question; also `requestId`. */
  "request_id": string;
}

/** A file that comes with a message. */
export interface ChatAttachment {
  /** Its bytes. */
  "data": string;
  /** A plain name. */
  "name": string;
}

/** A chat to make known before anything was heard in it. */
export interface ChatForm {
  /** The account. */
  "channel": string;
  /** The platform's id. */
  "chat": string;
  /** Whether others than one person can be in it. */
  "group"?: boolean;
  /** What people call it. */
  "name"?: string;
}

/** A message to a chat. Each name may also be written in camel case. */
export interface ChatForm2 {
  /** Not used: agents are chosen by name. */
  "agent_path"?: string | null;
  /** The agent of a new chat, by name. */
  "agent_type"?: string | null;
  /** Files for the working directory: `{fileName, base64Data}`. */
  "attachments"?: ChatAttachment[];
  /** The slug of the container that a new chat works in; one of its own when left out. */
  "container_id"?: string | null;
  /** Not used. */
  "contexts"?: unknown;
  /** Kept as the label `continued-from` of a new chat. */
  "continued_from"?: string | null;
  /** Stands before the first message of a new chat. */
  "initial_context"?: unknown;
  /** What is asked; at most 102,400 characters. */
  "message"?: string;
  /** `converse`. */
  "mode"?: string | null;
  /** The model of a new chat. */
  "model"?: string | null;
  /** Not used. */
  "module"?: string | null;
  /** Stands before the first message of a new chat. */
  "prior_conversation"?: unknown;
  /** Not used: transcripts stay with the chat. */
  "recovery_mode"?: string | null;
  /** The chat; a new one when left out or `new`. */
  "session_id"?: string | null;
  /** Stands before the first message of a new chat. */
  "system_prompt"?: string | null;
  /** `sandboxed`; every chat is. */
  "trust_level"?: string | null;
  /** A directory below /home/sandbox that a new chat works in. */
  "working_directory"?: string | null;
}

/** A conversation on a chat network. */
export type ChatId = string;

/** A message for the turn that runs. */
export interface ChatInject {
  /** At most 32,000 characters. */
  "message": string;
}

/** What is known about a chat besides its messages. */
export interface ChatMetadata {
  /** Its title; left as it is when left out. */
  "title"?: string | null;
}

/** What changes of a chat. */
export interface ChatPatch {
  /** Whether nothing of it is wanted. */
  "denied"?: boolean | null;
  /** What becomes of who is not known. */
  "policy"?: ChatPolicy | null;
}

/** What becomes of who is not known in a chat. */
export type ChatPolicy = "strict" | "request" | "public";

/** Which chats are listed. */
export interface ChatQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Those of this account. */
  "channel"?: string | null;
  /** How many; 50 when left out. */
  "limit"?: number | null;
}

/** Which chats. */
export interface ChatQuery2 {
  /** Archived ones, or the others when left out. */
  "archived"?: boolean;
  /** Those in this container. */
  "container_id"?: string | null;
  /** Entries; 100 when left out, at most 1000. */
  "limit"?: number | null;
  /** Entries to leave out before them. */
  "offset"?: number;
  /** Those with this in their title. */
  "search"?: string | null;
}

/** From where on. */
export interface ChatTranscriptQuery {
  /** Events after this sequence number. */
  "after"?: number;
}

/** A chat. */
export interface ChatView {
  /** The agents that hear it. */
  "agents": string[];
  /** The account. */
  "channel": string;
  /** The platform's id. */
  "chat": string;
  /** Whether nothing of it is wanted. */
  "denied": boolean;
  /** Whether others than one person can be in it. */
  "group": boolean;
  /** When something was last heard. */
  "heard": Timestamp;
  /** Its identity. */
  "id": ChatId;
  /** What people call it. */
  "name": string;
  /** What becomes of who is not known. */
  "policy": ChatPolicy;
}

/** One thing that was looked at. It says no more than whether it is well: anybody may ask. */
export interface Check {
  /** `store-read`, `store-write` or `sandboxes`. */
  "name": string;
  /** Whether it is well. */
  "ok": boolean;
}

/** A text that might be kept. */
export interface CheckForm {
  /** Values of the variables of its instructions. */
  "claude_md_vars"?: { [key: string]: unknown } | null;
  /** The text. */
  "content"?: string;
  /** Its name. */
  "name"?: string | null;
  /** Values of a profile's variables: with them its prompt is rendered. */
  "prompt_vars"?: { [key: string]: unknown } | null;
}

/** A check to run. */
export interface CheckOrder {
  /** The command; the one that the agent was spawned with when left out. */
  "command"?: string | null;
}

/** What a check said. */
export interface CheckView {
  /** When it ended. */
  "at": Timestamp;
  /** The command. */
  "command": string;
  /** The commit that it was run on. */
  "commit": string;
  /** How long it took, in milliseconds. */
  "duration_ms": number;
  /** The end of what it printed. */
  "output": string;
  /** Whether it ended well. */
  "passed": boolean;
  /** Its exit status; `None` when it did not end in time. */
  "status"?: number | null;
}

/** What a check found; what is wrong is a failure. */
export interface Checked {
  /** The instructions, where they were rendered. */
  "instructions"?: string | null;
  /** The prompt, where it was rendered. */
  "prompt"?: string | null;
  /** What would be passed over, or is not there. */
  "warnings": string[];
}

/** How to forget an agent. */
export interface CleanForm {
  /** Remove the branch from the repository too. */
  "delete_branch"?: boolean;
  /** Only say what would be done. */
  "dry_run"?: boolean;
  /** Also when unmerged, uncommitted or untracked work is lost. */
  "force"?: boolean;
}

/** What was forgotten, or would be. */
export interface CleanView {
  /** The branch. */
  "branch": string;
  /** Bytes that its files take, where that is known. */
  "bytes"?: number | null;
  /** Whether it is forgotten now. */
  "done": boolean;
  /** What would be lost; empty when all of it is elsewhere. */
  "loses": string[];
}

/** The secret of an application. It is never shown, not in a log either. */
export type ClientSecret = string;

/** A stable, documented error code. The same on the command line, in HTTP answers and in events. */
export type Code = "USAGE" | "PROMPT_INVALID" | "CONFIG_INVALID" | "TOO_LARGE" | "NOT_FOUND" | "CONFLICT" | "MERGE_CONFLICT" | "WORK_UNSAVED" | "ENV_SHARED" | "CHECKPOINT_MISSING" | "FORBIDDEN" | "ENGINE_MISSING" | "ENGINE_TAMPERED" | "IMAGE_MISSING" | "KEY_MISSING" | "CREDENTIAL_EXPIRED" | "PATH_UNUSABLE" | "LAYER_MISSING" | "HOME_UNSAFE" | "STORE_UNUSABLE" | "DAEMON_MISSING" | "UNAUTHORIZED" | "EGRESS_DENIED" | "BUDGET_EXCEEDED" | "PRICE_UNKNOWN" | "PROVIDER_DOWN" | "PROVIDER_LIMITED" | "PROVIDER_ERROR" | "STREAM_CUT" | "TIMEOUT" | "CANCELLED" | "TURN_LIMIT" | "HOOK_FAILED" | "ENGINE_FAILED" | "OUTPUT_LIMIT" | "MEMORY_LIMIT" | "DISK_LIMIT" | "RESULT_TOO_LARGE" | "OUTPUT_INVALID" | "POISONED" | "SANDBOX_FAILED" | "HOST_LOST" | "REPLAY_DIFFERS" | "TAPE_INVALID" | "UNKNOWN_TOOL" | "VALIDATION_FAILED" | "QUOTA_EXCEEDED" | "RATE_LIMITED" | "CONFIRMATION_TIMEOUT" | "CONFIRMATION_DENIED" | "PLUGIN_TIMEOUT" | "PLUGIN_UNAVAILABLE" | "PLUGIN_ERROR" | "HANDLER_ERROR" | "PLUGIN_INVALID" | "SKILL_INVALID" | "SKILL_CHANGED" | "AUDIT_BROKEN" | "BUSY" | "INTERNAL";

/** A comment to make. */
export interface CommentForm {
  /** The line in it, from 1. */
  "line"?: number | null;
  /** The file; the whole when left out. */
  "path"?: string | null;
  /** What is said. */
  "text"?: string;
}

/** A comment on an agent's work. */
export interface CommentView {
  /** When it was made. */
  "created": Timestamp;
  /** The line in it. */
  "line"?: number | null;
  /** Its number, from 1. */
  "n": number;
  /** The file; `None` for the whole. */
  "path"?: string | null;
  /** What is said. */
  "text": string;
  /** The turn that it was sent with. */
  "turn"?: TurnId | null;
}

/** One commit of a branch. */
export interface CommitView {
  /** Who wrote it. */
  "author": string;
  /** Its name. */
  "id": string;
  /** Its first line. */
  "subject": string;
  /** When, in milliseconds since 1970. */
  "time": Timestamp;
}

/** A text to keep. */
export interface ConfigForm {
  /** The text: at most 100,000 characters. */
  "content"?: string;
  /** For people; as it was when left out. */
  "description"?: string | null;
  /** Its name; needed for a new one only. */
  "name"?: string | null;
  /** The version that it replaces: with another one there, nothing changes. Any when left out. */
  "version"?: number | null;
}

/** What kind of configuration a text is. */
export type ConfigKind = "profile" | "engine" | "template" | "hook";

/** What to go back to. */
export interface ConfigReset {
  /** What goes back. */
  "name": string;
  /** To which version; what the program ships with when left out. */
  "version"?: number | null;
}

/** Which version. */
export interface ConfigVersion {
  /** The version; the present one when left out. */
  "version"?: number | null;
}

/** A profile, engine, template or hook. Lists leave out `content`. */
export interface ConfigView {
  /** The text. */
  "content"?: string | null;
  /** When its first version was made; 0 for what the program ships with. */
  "created": Timestamp;
  /** For people. */
  "description": string;
  /** Its name. */
  "name": string;
  /** Whether this version says that it was removed. */
  "removed"?: boolean;
  /** Whether it is as the program ships it. */
  "shipped": boolean;
  /** What it is. */
  "type": ConfigKind;
  /** When this version was made. */
  "updated": Timestamp;
  /** Its version; a change is a new one. */
  "version": number;
  /** What of the text is passed over. */
  "warnings"?: string[];
}

/** A container as it is shown, each name in both ways of writing. */
export interface Container {
  "coreMemory": string;
  "core_memory": string;
  "createdAt": string;
  "created_at": string;
  "displayName": string;
  "display_name": string;
  /** Chats in it that are not archived. */
  "sessions": number;
  "slug": string;
}

/** What became of one file. */
export interface ContainerFileDone {
  "message": string;
  "path": string;
  "success": boolean;
}

/** Where uploads go. */
export interface ContainerFileInto {
  /** Relative to the container's home; that itself when left out. */
  "path"?: string;
}

/** Which directory. */
export interface ContainerFileQuery {
  /** Also those whose names begin with a dot. */
  "include_hidden"?: boolean;
  /** Relative to the container's home; that itself when left out. */
  "path"?: string;
}

/** A container to make. */
export interface ContainerForm {
  /** For people; also `display_name`. */
  "name": string;
  /** The chat whose files it gets; also `sessionId`. */
  "session_id"?: string | null;
  /** Part of its address; made of the name when left out. */
  "slug"?: string | null;
}

/** What changes. */
export interface ContainerPatch {
  /** In the instructions of each of its chats, at most 4000 characters; also `coreMemory`. */
  "core_memory"?: string | null;
  /** For people; also `displayName`. */
  "display_name"?: string | null;
}

/** How to delete. */
export interface ContainerRemoval {
  /** Cancel what works in it, instead of being refused. */
  "force"?: boolean;
}

/** A credential of a plugin, without its value. */
export interface CredentialView {
  /** What it is. */
  "description": string;
  /** Its name in the manifest. */
  "key": string;
  /** Whether the plugin is of no use without it. */
  "required": boolean;
  /** The secret that holds it. */
  "secret": string;
  /** Whether it is set. */
  "set": boolean;
}

/** Yes or no. */
export type Decision = "approve" | "deny";

/** A person's answer. */
export interface DecisionForm {
  /** Yes or no. */
  "decision": Decision;
  /** The hash of what was seen. */
  "hash": string;
  /** A word for the agent, at most 1,000 characters. */
  "note"?: string | null;
}

/** Lets an agent send somewhere. */
export interface DestinationForm {
  /** The agent. */
  "agent": string;
  /** The chat: its identity, or `CHANNEL/ID`. */
  "chat"?: string | null;
  /** Its name for it. */
  "name": string;
  /** Another agent instead. */
  "target"?: string | null;
  /** The platform's id of a thread in it. */
  "thread"?: string | null;
}

/** Of which agent. */
export interface DestinationQuery {
  /** Its name. */
  "agent": string;
}

/** Where an agent may send to. */
export interface DestinationView {
  /** The agent. */
  "agent": string;
  /** The chat. */
  "chat"?: ChatId | null;
  /** Its name for it. */
  "name": string;
  /** Another agent. */
  "target"?: string | null;
  /** A thread in it. */
  "thread"?: string | null;
}

/** Which turn. */
export interface DiffQuery {
  /** The turn; the one whose end is the present state when left out. */
  "turn"?: number | null;
}

export interface Duration {
  "nanos": number;
  "secs": number;
}

/** One allowed target. The host is canonical: lower case, no trailing dot, ASCII (punycode for other scripts). */
export type EgressRule = string;

/** When a wiring engages. */
export type Engage = "pattern" | "mention" | "sticky";

/** An engine and its installation. */
export interface EngineStatus {
  /** Whether a file describes it: its program is looked for inside when it is asked, and nobody installed or compared it. */
  "described"?: boolean;
  /** The size of the installation in bytes. */
  "disk_bytes": number;
  /** Whether it can be used. */
  "installed": boolean;
  /** The engine. */
  "name": string;
  /** Whether the installed files were just compared with their pinned hash, and are the same. */
  "verified"?: boolean | null;
  /** The pinned version; `None` for what is built in. */
  "version"?: string | null;
}

/** An env to make. */
export interface EnvForm {
  /** Host directories that each of its sessions sees. */
  "mounts"?: MountForm[];
  /** For people. */
  "name"?: string;
  /** The session whose files it gets; an empty one without. */
  "session_id"?: string | null;
  /** Part of its address; made of the name when left out. */
  "slug"?: string | null;
}

/** What changes in an env. */
export interface EnvPatch {
  /** In the instructions of each of its sessions; at most [`CORE_MEMORY_CHARS_MAX`] characters. */
  "core_memory"?: string | null;
  /** Host directories that each of its sessions sees from its next sandbox on. */
  "mounts"?: MountForm[] | null;
  /** For people. */
  "name"?: string | null;
}

/** Which page. */
export interface EnvQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Entries in a page; 50 when left out, at most 200. */
  "limit"?: number | null;
}

/** How to delete. */
export interface EnvRemoval {
  /** Cancel what works in it, instead of being refused. */
  "force"?: boolean;
}

/** An env as it is shown. */
export interface EnvView {
  /** Bytes on the disk, where that is counted. */
  "bytes"?: number | null;
  /** In the instructions of each of its sessions. */
  "core_memory": string;
  /** When it was made. */
  "created": Timestamp;
  /** Host directories. */
  "mounts": MountForm[];
  /** For people. */
  "name": string;
  /** Sessions in it that are not archived. */
  "sessions": number;
  /** Part of its address. */
  "slug": string;
  /** When it was last changed. */
  "updated": Timestamp;
}

/** One entry of a session's log. */
export interface Event {
  /** Dense, from 1, per session. */
  "seq": number;
  /** Whose log this is. */
  "session": SessionId;
  /** When the host committed it. */
  "time": Timestamp;
  /** The turn that it belongs to. */
  "turn": TurnId;
  /** The engine's name. */
  "engine"?: string;
  /** What holds in the sandbox. */
  "level"?: Level;
  "model"?: string;
  /** The provider that answers; `rehearsal` means a script, not a model. */
  "provider"?: string;
  "type": "start" | "text" | "thinking" | "tool_call" | "tool_result" | "question" | "approval" | "notice" | "usage" | "error" | "result";
  "text"?: string;
  "id"?: string | QuestionId;
  /** Its arguments. */
  "input"?: unknown;
  /** The tool. */
  "name"?: string;
  /** Whether the tool failed. */
  "is_error"?: boolean;
  /** What came back, cut to a limit of the engine's parser. */
  "output"?: string;
  /** Answers that are offered; empty for any text. */
  "options"?: string[];
  /** `pending`, `approved`, `denied`, `expired` or `cancelled`. */
  "status"?: string;
  /** What would be called. */
  "tool"?: string;
  /** What it cost, in US dollars. */
  "cost_usd"?: number;
  /** The tokens of this call. */
  "usage"?: Usage;
  /** The stable code. */
  "code"?: Code;
  /** For people. */
  "message"?: string;
  /** Whether the engine or the host tries again. */
  "retriable"?: boolean;
}

/** Which events. */
export interface EventQuery {
  /** Those after this sequence number. The header `Last-Event-ID` of a client that connects again goes before it. */
  "after"?: number;
  /** Cancel the session's work if this connection ends before its result. */
  "attach"?: boolean;
  /** Events in a page, at most 1000. A stream has no end. */
  "limit"?: number;
}

/** A secret to expose. */
export interface ExposeForm {
  /** The one agent that gets it. */
  "agent": string;
  /** The secret, and the variable that holds its value inside. */
  "name": string;
}

/** A secret that one agent holds. */
export interface ExposedView {
  /** The agent. */
  "agent": string;
  /** The secret. */
  "name": string;
}

/** A failure as a user sees it: what is wrong, and what to do. */
export interface Failure {
  /** The stable code. */
  "code": Code;
  /** The field or argument that is meant. */
  "field"?: string | null;
  /** What to do about it. */
  "hint"?: string | null;
  /** What is wrong and where, for a person. No secret, no host path that the user did not give. */
  "message": string;
}

/** One file that a branch changes. */
export interface FileChange {
  /** Lines that come; `None` where there are no lines. */
  "added"?: number | null;
  /** `added`, `removed`, `changed`, `moved`, `copied` or `type`. */
  "change": string;
  /** What a reader would not see, or should look at twice: `bidi`, `invisible`, `binary`, `generated`, `mode`, `symlink`, `submodule`, `attributes`, `hooks`, `ci`, `long lines`, `whitespace`. */
  "flags": string[];
  /** The path before, where it was moved. */
  "from"?: string | null;
  /** Its path in the repository; bytes that are no text as `\xNN`. */
  "path": string;
  /** Lines that go. */
  "removed"?: number | null;
}

/** One entry of a directory. */
export interface FileEntry {
  /** Permission bits. */
  "mode": number;
  /** When it was last changed, in milliseconds since 1970. */
  "mtime_ms": number;
  /** Its name; with `raw` when that is not UTF-8. */
  "name": string;
  /** The bytes of a name that is not UTF-8, in hexadecimal digits. */
  "raw"?: string | null;
  /** Bytes. */
  "size": number;
  /** `file`, `dir`, `link` or `other`. */
  "type": string;
}

/** Which file or directory. */
export interface FilePlace {
  /** Relative to /home/sandbox, without `.` and `..`. */
  "path": string;
}

/** What is looked at. */
export interface FileQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** `1` for the bytes of a file instead of the entries of a directory. */
  "download"?: number;
  /** Entries in a page; 200 when left out, at most 1000. */
  "limit"?: number | null;
  /** Relative to /home/sandbox; that directory itself when left out. */
  "path"?: string;
}

/** What was written. */
export interface FileWritten {
  /** Where. */
  "path": string;
}

/** How to fork. */
export interface ForkForm {
  /** The turn at whose end the new sessions begin; the last when left out. */
  "at"?: number | null;
  /** How many. */
  "n"?: number;
  /** What to ask each of them at once. */
  "text"?: string | null;
}

/** Links a handle to a person. */
export interface HandleForm {
  /** The account that verifies it. */
  "channel": string;
  /** The network's id of them. */
  "handle": string;
  /** For showing only. */
  "name"?: string;
  /** Whose it is. */
  "user": UserId;
}

/** A handle. */
export interface HandleView {
  /** The account that verifies it. */
  "channel": string;
  /** Whether a direct chat with them is known. */
  "dm": boolean;
  /** The network's id of them. */
  "handle": string;
  /** For showing only. */
  "name": string;
  /** Whose it is. */
  "user": UserId;
}

/** Whether the daemon is well, as everybody may know it. */
export interface HealthView {
  /** What was looked at. */
  "checks": Check[];
  /** `ok` or `degraded`. */
  "status": string;
}

/** Which messages are listed. */
export interface HeardQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Those of this account. */
  "channel"?: string | null;
  /** How many; 50 when left out. */
  "limit"?: number | null;
  /** `turn`, `kept`, `held`, `dropped`, `command`, `answer` or `paired`. */
  "outcome"?: string | null;
}

/** Something that was heard. */
export interface HeardView {
  /** The account. */
  "channel": string;
  /** The platform's id of the chat. */
  "chat": string;
  /** What would let it through. */
  "fix"?: string | null;
  /** The gate that stopped it. */
  "gate"?: string | null;
  /** When it was heard. */
  "heard": Timestamp;
  /** Its identity. */
  "id": InboundId;
  /** What kind of thing happened. */
  "kind": string;
  /** What became of it. */
  "outcome": string;
  /** Why. */
  "reason"?: string | null;
  /** The sender's handle. */
  "sender": string;
  /** What they call themselves. */
  "sender_name": string;
}

/** What becomes of messages that do not engage. */
export type Ignored = "drop" | "accumulate";

/** A root file system by name. */
export type ImageRef = { [key: string]: unknown };

/** Something that was said on a chat network. */
export type InboundId = string;

/** What to ask at once. */
export interface InjectForm {
  /** The text. */
  "text": string;
}

/** Which events. */
export interface JobEventQuery {
  /** Those after this sequence number, or after `SESSION:NUMBER`, the form of the ids in a stream: each try has a session of its own. The header `Last-Event-ID` of a client that connects again goes before it. */
  "after"?: string;
  /** Events in a page, at most 1000. A stream has no end but the job's. */
  "limit"?: number;
}

/** A file that comes with a job: a relative path below the working directory. */
export interface JobFile {
  /** Its bytes, in base64. */
  "data": string;
  /** Where, below the working directory. */
  "path": string;
}

/** A job to run. Only `agent_id` and either `prompt` or a profile with a prompt of its own are needed. */
export interface JobForm {
  /** The agent whose policy and tools it has; `default` when left out. */
  "agent"?: string | null;
  /** Who asks, in the caller's own words: 1 to 64 letters, digits, `_` and `-`. The job's identity begins with it. */
  "agent_id"?: string;
  /** The engine's own tools that it may use; the profile's when left out. */
  "allowed_tools"?: string[] | null;
  /** Files of the working directory that are kept: globs. */
  "artifacts"?: string[];
  /** Variables of the profile's instructions. */
  "claude_md_vars"?: { [key: string]: unknown };
  /** Seconds before which it does not begin. */
  "delay_s"?: number | null;
  /** Whether everything is done but the work itself: the result is the command line. */
  "dry_run"?: boolean;
  /** Hosts that may be reached. */
  "egress"?: EgressRule[];
  /** The engine; the profile's, else the configured one when left out. */
  "engine"?: string | null;
  /** The env that it works in; a private tree when left out. */
  "env"?: string | null;
  /** Files that are put into the working directory first. */
  "files"?: JobFile[];
  /** The user's own words, for finding it again. */
  "labels"?: { [key: string]: string };
  /** What its sandbox may use; the profile's, else the configured limits when left out. */
  "limits"?: Limits | null;
  /** The most that it may cost, in US dollars: above 0, at most 50. */
  "max_budget_usd"?: number | null;
  /** Rounds with the model: 1 to 100. */
  "max_turns"?: number | null;
  /** MCP servers that the engine starts inside, in the engine's own form. */
  "mcp_config"?: unknown;
  /** The model. */
  "model"?: string | null;
  /** The form of the result; the profile's, else `json` when left out. */
  "output_format"?: OutputFormat | null;
  /** A JSON Schema that the result must fit; one that does not gets one more turn to be mended. */
  "output_schema"?: unknown;
  /** Plugins whose tools it may use, besides the profile's. */
  "plugins"?: string[];
  /** From 0 to 9; a higher one goes first. 5 when left out. */
  "priority"?: number | null;
  /** The profile; `default` when left out. */
  "profile"?: string | null;
  /** What is asked; the profile's own prompt when left out. */
  "prompt"?: string | null;
  /** Variables of the profile's prompt. */
  "prompt_vars"?: { [key: string]: unknown };
  /** The branch, tag or commit of `repo`. */
  "ref"?: string | null;
  /** A repository that is cloned into the working directory: an address that egress allows, or a listed path. */
  "repo"?: string | null;
  /** How often it is tried again when it fails through no fault of its own: 0 to 10. */
  "retries"?: number | null;
  /** What the engine is told before everything else: at most 500,000 characters. */
  "system_prompt"?: string | null;
  /** Seconds after which it fails; the profile's, else the configured limit when left out. */
  "timeout_s"?: number | null;
  /** Variables for the engine. */
  "variables"?: { [key: string]: string };
  /** What webhooks of this job are signed with; the tenant's when left out. */
  "webhook_secret"?: string | null;
  /** Where the end is told: http or https, at most 2,048 characters. */
  "webhook_url"?: string | null;
}

/** How much of the log. */
export interface JobLogQuery {
  /** Whether to go on with what comes. */
  "follow"?: boolean;
}

/** How long somebody waits. */
export interface JobPatience {
  /** Seconds, at most 7,200; 0 answers at once. */
  "timeout_s"?: number;
}

/** Which jobs to list, the youngest first. */
export interface JobQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Those of this `agent_id`. */
  "agent_id"?: string | null;
  /** Those with this engine. */
  "engine"?: string | null;
  /** Those accepted at or after this time, in milliseconds since 1970. */
  "from"?: number | null;
  /** Those with this label: `KEY=VALUE`. */
  "label"?: string | null;
  /** Entries in a page: 1 to 200; 50 when left out. */
  "limit"?: number | null;
  /** Those with this profile. */
  "profile"?: string | null;
  /** Those that stand so. */
  "status"?: JobState | null;
  /** Those accepted before this time, in milliseconds since 1970. */
  "to"?: number | null;
}

/** What became of a job that was to be deleted. */
export interface JobRemoved {
  /** Its identity. */
  "id": string;
  /** Whether it is forgotten; one that was not over was cancelled instead. */
  "removed": boolean;
  /** Where it stood, or now stands. */
  "status": JobState;
}

/** Where a job stands. */
export type JobState = "queued" | "running" | "waiting" | "completed" | "failed" | "cancelled";

/** A job as it is shown. Lists leave out `prompt`, `result`, `text` and `output`. */
export interface JobView {
  /** Who asked. */
  "agent_id": string;
  /** Files that it left: names below the working directory and their bytes. */
  "artifacts": Artifact[];
  /** The error's code. */
  "code"?: string | null;
  /** What it cost, in US dollars. */
  "cost_usd": number;
  /** When it was accepted. */
  "created": Timestamp;
  /** The engine; the configured one while empty. */
  "engine": string;
  /** Why it failed, at most 500 characters. */
  "error"?: string | null;
  /** 0 when it ended well, 1 when it failed, 130 when it was stopped. */
  "exit_code"?: number | null;
  /** When it ended. */
  "finished"?: Timestamp | null;
  /** Its identity: the `agent_id`, a hyphen and 12 hex digits. */
  "id": string;
  /** The user's own words. */
  "labels": { [key: string]: string };
  /** The model; empty for the engine's own choice. */
  "model": string;
  /** The result in the form that was asked for, where that is neither text nor JSON. */
  "output"?: string | null;
  /** Among jobs that wait, a higher one goes first. */
  "priority": number;
  /** The profile. */
  "profile": string;
  /** The final text, or the JSON value that it is. */
  "result"?: unknown;
  /** Its session, once it has begun. */
  "session"?: SessionId | null;
  /** When its engine first started. */
  "started"?: Timestamp | null;
  /** Where it stands. */
  "status": JobState;
  /** The final text. */
  "text"?: string | null;
  /** How often it was begun. */
  "tries": number;
  /** Its turn, once it has begun. */
  "turn"?: TurnId | null;
  /** The tokens. */
  "usage": Usage;
}

/** What was sent wrongly is an `error`, all else a `detail`. */
export interface JobsProblem {
  "code": string;
  "detail"?: string;
  "error"?: string;
}

/** A server of models that needs no key: on this machine, or near it. */
export interface KeylessForm {
  /** Where it answers as OpenAI does: with its scheme, its port and, as a rule, `/v1`. */
  "base_url": string;
}

/** What really holds in one sandbox, layer by layer. */
export interface Level {
  /** The layers, always in the same order. */
  "lines": LevelLine[];
  /** `root` or `rootless`. */
  "mode": string;
}

/** One layer or limit of a sandbox and whether it holds. */
export interface LevelLine {
  /** Whether it is in force. */
  "holds": boolean;
  /** How it is enforced, or why it is not and what would give it. */
  "how": string;
  /** The layer, for example `seccomp` or `memory`. */
  "name": string;
}

/** The limits of one sandbox. [`Limits::default`] is what `run` uses when nothing is said. */
export interface Limits {
  /** Processors, in thousandths. */
  "cpu_millis": number;
  /** Bytes written to /workspace, /home and the rest of the writable layer. */
  "disk_bytes": number;
  /** Bytes of memory that everything but the guest may use together. */
  "memory_bytes": number;
  /** Processes and threads. */
  "pids": number;
  /** Wall-clock time of one turn or command. */
  "time": Duration;
}

/** A way in. */
export interface Login {
  /** What stands behind the `#` of the link. */
  "code": string;
  /** The secret of the page, where the code comes from an issuer of logins. */
  "verifier"?: string | null;
}

/** The way in which the owner logs in. */
export type LoginFlow = "device" | "loopback";

/** A login to begin. */
export interface LoginForm {
  /** The agent that the tokens are for alone; everybody when left out. */
  "agent"?: string | null;
  /** What the service calls an application of the owner's own, instead of the one in the manifest. It stays with the login. */
  "client_id"?: string | null;
  /** The secret of that application, where the service gave one. */
  "client_secret"?: ClientSecret | null;
  /** How. */
  "flow": LoginFlow;
  /** Where the browser comes back to: a loopback address with a port; for the loopback way. */
  "redirect"?: string | null;
}

/** How a login stands. */
export interface LoginState {
  /** Whether the tokens are stored. */
  "done": boolean;
  /** Seconds until it makes sense to ask again. */
  "interval_s": number;
  /** The secret that holds the access token, when done. */
  "secret"?: string | null;
}

/** What came back with the browser; nothing for the device way. */
export interface LoginStep {
  /** The code. */
  "code"?: string | null;
  /** The state. */
  "state"?: string | null;
}

/** What is known of a token that was got by a login. */
export interface LoginTokens {
  /** The agent that it is for alone. */
  "agent"?: string | null;
  /** The owner's own application, where it is not the manifest's. */
  "client_id"?: string | null;
  /** When the access token ends. */
  "expires": Timestamp;
  /** The credential. */
  "key": string;
  /** The plugin. */
  "plugin": string;
  /** Whether it can be renewed without the owner. */
  "renewable": boolean;
  /** Why it is not renewed any more; the owner must log in again. */
  "trouble"?: string | null;
}

/** What the owner has to do. */
export interface LoginView {
  /** The login, for [`LoginsOf::go_on`]. */
  "id": string;
  /** Seconds between two questions whether it is done. */
  "interval_s": number;
  /** The page to open. */
  "url": string;
  /** The code to type there; for the device way. */
  "user_code"?: string | null;
}

/** A person who is to be in a tenant. */
export interface MemberForm {
  /** The address under which the issuer of logins knows them. */
  "email": string;
  /** What they are. */
  "role": Role;
  /** The tenant; that of the token when left out. */
  "tenant"?: string | null;
}

/** A person in a tenant. */
export interface MemberView {
  /** Whether a rule of the configuration made them so; then a login may change it. */
  "by_rule": boolean;
  /** Their address. */
  "email": string;
  /** Their identity. */
  "id": UserId;
  /** What they are called. */
  "name": string;
  /** What they are. */
  "role": Role;
  /** When they last logged in. */
  "seen"?: Timestamp | null;
  /** The tenant. */
  "tenant": string;
}

/** Who wrote an entry. */
export type MemoryAuthor = "agent" | "owner";

/** A memory that a person writes. It is confirmed with it. */
export interface MemoryForm {
  /** Whose memory; `default` when left out. */
  "agent"?: string;
  /** The text, at most 2,000 characters. */
  "content": string;
  /** The entry whose place it takes. */
  "supersedes"?: MemoryId | null;
  /** At most 10 of at most 50 characters. */
  "tags"?: string[];
  /** What it says. */
  "type": MemoryKind;
}

/** Something that an agent remembers. */
export type MemoryId = string;

/** What an entry says. */
export type MemoryKind = "preference" | "instruction" | "correction" | "fact" | "context";

/** What is to go. */
export interface MemoryPurge {
  /** Whose memory. */
  "agent": string;
  /** Everything. Otherwise only what the agent does not find any more. */
  "all"?: boolean;
}

/** Which memories are shown. */
export interface MemoryQueryForm {
  /** Goes on behind this one; not with a query. */
  "after"?: MemoryId | null;
  /** Of this agent only. */
  "agent"?: string | null;
  /** How many. */
  "limit"?: number | null;
  /** Any text: the best answers first. Asks one agent, `default` when left out, for what it finds. */
  "query"?: string | null;
  /** In this state only; every state when left out, but with a query what is live. */
  "state"?: MemoryState | null;
  /** Those with all of these tags, parted by commas. */
  "tags"?: string | null;
  /** Of this kind only. */
  "type"?: MemoryKind | null;
  /** Only those that wait for a person. */
  "waiting"?: boolean;
}

/** Where an entry stands. */
export type MemoryState = "live" | "superseded" | "deleted" | "withdrawn";

/** A memory as people see it. */
export interface MemoryView {
  /** The agent. */
  "agent": string;
  /** Whether it could change what the agent does. */
  "behavioural": boolean;
  /** Who wrote it. */
  "by": MemoryAuthor;
  /** The channel that the turn came from. */
  "channel"?: string | null;
  /** When a person confirmed it. */
  "confirmed"?: Timestamp | null;
  /** The text. */
  "content": string;
  /** When it was written. */
  "created": Timestamp;
  /** The agent's group then. */
  "group"?: string | null;
  /** Its identity. */
  "id": MemoryId;
  /** How well it fits the question, from 0 to 1; null without one. */
  "relevance"?: number | null;
  /** The session that wrote it. */
  "session"?: SessionId | null;
  /** Where it stands. */
  "state": MemoryState;
  /** When another one took its place. */
  "superseded"?: Timestamp | null;
  /** The entry whose place it took. */
  "supersedes"?: MemoryId | null;
  /** Its tags. */
  "tags": string[];
  /** The tenant. */
  "tenant": string;
  /** The turn that wrote it. */
  "turn"?: TurnId | null;
  /** What it says. */
  "type": MemoryKind;
  /** Whether it could change what the agent does and nobody has confirmed it: no other session sees its text. */
  "waiting": boolean;
}

/** A merge to make. */
export interface MergeForm {
  /** Only say what would come of it. */
  "dry_run"?: boolean;
  /** The commit that was looked at: refused when the branch has come further since. Of an agent of several repositories it is that of the first one, and `,NAME=COMMIT` behind it for each of the others holds these too. */
  "expect"?: string | null;
  /** Into this branch; the one that the agent's was taken from when left out. */
  "into"?: string | null;
}

/** What came of a merge in a repository beside the first one, or would. */
export interface MergeInRepo {
  /** The commit that the target is at. */
  "commit"?: string | null;
  /** Files that conflict. */
  "conflicts": string[];
  /** Into which branch. */
  "into": string;
  /** What it is called. */
  "name": string;
  /** `merged`, `current`, `ready` or `conflict`. */
  "result": string;
  /** How much comes in. */
  "size"?: ChangeSize | null;
}

/** Branches that are merged one after the other. */
export type MergeQueueId = string;

/** What came of a merge, or would. */
export interface MergeView {
  /** The repositories beside the first one, where there are such. The result is that of all together: nothing is merged anywhere while one conflicts. */
  "also"?: MergeInRepo[];
  /** The branch that was merged. */
  "branch": string;
  /** The commit that the target is at. */
  "commit"?: string | null;
  /** Files that conflict. */
  "conflicts": string[];
  /** Into which. */
  "into": string;
  /** `merged`, `current` when there was nothing to merge, `ready` when only asked, or `conflict`. */
  "result": string;
  /** How much comes in. */
  "size"?: ChangeSize | null;
}

/** A file that comes with a message: `upload/<name>` of the working directory. */
export interface MessageFile {
  /** Its bytes, in base64. */
  "data": string;
  /** A plain name. */
  "name": string;
}

/** A turn to ask. */
export interface MessageForm {
  /** Files that are put into the working directory first. */
  "files"?: MessageFile[];
  /** From 0 to 9; the session's when left out. */
  "priority"?: number | null;
  /** What is asked. */
  "text"?: string;
}

/** What is done about times that were missed because nobody was there. */
export type Misfire = "skip" | "once" | "all";

/** How old what is told may be. */
export interface ModelsQuery {
  /** Whether the provider is asked though it was within the last ten minutes. */
  "fresh"?: boolean;
}

/** An amount of US dollars in billionths, so that the price of one token is a whole number. */
export type Money = number;

/** A host directory that is asked for over the API, seen at `/home/sandbox/<name>`. */
export interface MountForm {
  /** Whether the owner said so at the command line, whom the configured roots do not bind. Taken over the owner's socket only. */
  "by_owner"?: boolean;
  /** Where it is on the host; absolute. */
  "host": string;
  /** What it is called inside. */
  "name": string;
  /** Whether nothing inside can write to it. */
  "read_only"?: boolean;
}

/** A mounted host directory, for people and for the next turn's caller. */
export interface MountNote {
  /** Where it was on the host, absolute. */
  "host": string;
  /** Whether nothing inside can write to it. */
  "read_only": boolean;
  /** Where it is inside. */
  "target": string;
}

/** Something that a person gives. */
export interface NetworkField {
  /** What the account calls it. */
  "key": string;
  /** Whether the account is of no use without it. */
  "required": boolean;
  /** Whether it is a credential: asked for without echo, never shown again. */
  "secret": boolean;
  /** What it is. */
  "what": string;
}

/** A network. */
export interface NetworkGuide {
  /** What to give then. */
  "fields": NetworkField[];
  /** Where the first message is written. */
  "hello": string;
  /** Its name here. */
  "network": string;
  /** Whether its platform must reach this machine over HTTPS. */
  "reached": boolean;
  /** What to do there, in order. */
  "steps": string[];
  /** What people call it. */
  "title": string;
}

/** One of several agents that could not begin. */
export interface NotSpawned {
  /** Its branch. */
  "branch": string;
  /** Why. */
  "code": Code;
  /** For people. */
  "message": string;
}

/** Something to do. */
export interface Notice {
  /** What it is about: `channel`, `outbox`, `dead`, `login`, `task`, `admission` or `approval`. */
  "about": string;
  /** What is so. */
  "detail": string;
  /** What to do about it. */
  "fix": string;
}

/** What an issuer sends back. It may say more than is asked of it. */
export interface OidcBack {
  /** Stands for who logged in. */
  "code"?: string | null;
  /** Why nobody did. */
  "error"?: string | null;
  /** Names the login. */
  "state"?: string | null;
}

/** Begins a login. */
export interface OidcLogin {
  /** The SHA-256 of a secret that the page keeps, in base64url without padding: the code that comes back works only together with that secret. */
  "challenge": string;
  /** The tenant that is wanted; the first that the person is in when left out. */
  "tenant"?: string | null;
}

/** Which deliveries are listed. */
export interface OutQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Those of this account. */
  "channel"?: string | null;
  /** How many; 50 when left out. */
  "limit"?: number | null;
  /** `waiting`, `sending`, `sent` or `dead`. */
  "state"?: string | null;
}

/** A delivery. */
export interface OutView {
  /** What is to be done there. */
  "act": unknown;
  /** How often it was tried. */
  "attempts": number;
  /** The account. */
  "channel": string;
  /** The platform's id of the chat. */
  "chat": string;
  /** When it became owed. */
  "created": Timestamp;
  /** Why the last try failed. */
  "error"?: string | null;
  /** Its identity. */
  "id": OutboxId;
  /** The platform's ids of what it became. */
  "messages": string[];
  /** `waiting`, `sending`, `sent` or `dead`. */
  "state": string;
}

/** One effect that a chat network is owed. */
export type OutboxId = string;

/** How a turn ended. */
export type Outcome = "completed" | "failed" | "cancelled" | "timeout";

/** The form of a result. */
export type OutputFormat = "json" | "text" | "stream-json";

/** What is done when a task is due while an earlier run of it is still at work. */
export type Overlap = "skip" | "queue" | "parallel";

/** Makes a code by which somebody proves that a handle or a chat is theirs. */
export interface PairForm {
  /** The agent that hears the chat from then on. */
  "agent"?: string | null;
  /** The only account that it can be used with. */
  "channel"?: string | null;
  /** What the sender becomes: `member` or `admin` of the agent; without one `admin` of the tenant, or `owner`. */
  "role"?: string | null;
  /** How long it can be used; 10 minutes when left out, an hour at most. */
  "ttl_s"?: number | null;
  /** The person whom the handle is linked to; a new one when left out. */
  "user"?: UserId | null;
}

/** A code by which somebody proves that a handle or a chat is theirs. */
export type PairingId = string;

/** A code. It is shown once. */
export interface PairingView {
  /** The agent that hears the chat. */
  "agent"?: string | null;
  /** The code, when it was just made. */
  "code"?: string | null;
  /** Until when it can be used. */
  "expires": Timestamp;
  /** Its identity. */
  "id": PairingId;
  /** What the sender becomes. */
  "role"?: string | null;
  /** Who used it: account and handle. */
  "used_by"?: string | null;
}

/** Where a fork came from. */
export interface Parent {
  /** The session. */
  "session": SessionId;
  /** The turn at whose end it began. */
  "turn": number;
}

/** Which file. */
export interface PatchQuery {
  /** As the list of changes names it. */
  "path": string;
}

/** Where one branch of a merge queue stands. */
export type PlaceState = "waiting" | "resolving" | "passed" | "merged" | "current" | "conflict" | "refused" | "failed";

/** What is approved. */
export interface PluginApproval {
  /** The hash that stands with what waits. */
  "hash": string;
}

/** What an archive is. */
export interface PluginArchive {
  /** What its files must be: `sha256:` and 64 digits. */
  "hash"?: string | null;
  /** Where it came from, for people. */
  "source"?: string | null;
  /** Whether one of this name is replaced; else it must not be there. */
  "update"?: boolean;
}

/** A call of the owner. */
export interface PluginCall {
  /** Its arguments. */
  "arguments"?: { [key: string]: unknown };
  /** The tool. */
  "tool": string;
  /** Whether the owner has confirmed the call, if its risk is high; else a person is asked. */
  "yes"?: boolean;
}

/** What came of a call: exactly one of the two is not null. */
export interface PluginCalled {
  /** Why there is no result: `code`, `message`, `retriable`, and the `stage` that refused. */
  "error": unknown;
  /** What the tool gave. */
  "result": unknown;
}

/** One definition that changed. */
export interface PluginChange {
  /** What is there now; null where nothing is. */
  "after": unknown;
  /** What was approved; null where there was nothing. */
  "before": unknown;
  /** `process`, `files`, or `tool:NAME`. */
  "what": string;
}

/** A secret that a plugin asks for. */
export interface PluginCredential {
  /** The command that stores it. */
  "command": string;
  /** What it is. */
  "description": string;
  /** What one looks like. */
  "format_hint"?: string | null;
  /** Its name. */
  "key": string;
  /** Where to get one. */
  "obtain_url"?: string | null;
  /** Whether the plugin is of no use without it. */
  "required": boolean;
  /** Whether it is stored. */
  "stored": boolean;
}

/** A plugin. */
export interface PluginDetail {
  /** The plugin. */
  "plugin": PluginView;
  /** Where it stands with its owner; null for one that ships. */
  "record"?: PluginRecord | null;
}

/** A plugin to install from a repository. */
export interface PluginInstall {
  /** What its files must be: `sha256:` and 64 digits. */
  "hash"?: string | null;
  /** Its name; the last part of the path when it is missing. */
  "name"?: string | null;
  /** The HTTPS address of a repository, with `#BRANCH` behind it where another than its usual one is meant. For an update, where it came from when this is missing. */
  "source"?: string | null;
  /** Whether one of this name is replaced; else it must not be there. */
  "update"?: boolean;
}

/** What came of putting a plugin in place. */
export interface PluginInstalled {
  /** Secrets that it asks for. */
  "credentials": PluginCredential[];
  /** The hash over its files. */
  "hash": string;
  /** Hosts that it may reach. */
  "hosts": string[];
  /** Its name. */
  "name": string;
  /** What changed and waits for approval; nothing of the plugin is offered until then. */
  "pending"?: PluginPending | null;
  /** Its own version. */
  "version": string;
}

/** What waits for the owner. */
export interface PluginPending {
  /** What is another than it was. */
  "changes": PluginChange[];
  /** What an approval names: it stands for exactly what was seen. */
  "hash": string;
}

/** Where a plugin stands. */
export interface PluginRecord {
  /** When the owner last approved it. */
  "approved": Timestamp;
  /** The hash over its files, as they were approved. */
  "approved_hash": string;
  /** Whether the owner lets it be used. */
  "enabled": boolean;
  /** The hash over its files, as they are. */
  "hash": string;
  /** When it was put in place. */
  "installed": Timestamp;
  /** What waits for approval. */
  "pending"?: PluginPending | null;
  /** Where it came from: `folder` when the owner put it there by hand. */
  "source": string;
}

/** How much of a plugin is removed. */
export interface PluginRemoval {
  /** Its secrets too. */
  "credentials"?: boolean;
}

/** How a plugin stands. */
export type PluginState = "ready" | "off" | "failed" | "pending";

/** A tool of a plugin. */
export interface PluginToolView {
  /** What it does. */
  "description": string;
  /** The hash of all of this. */
  "hash": string;
  /** What agents call it. */
  "name": string;
  /** How much harm it can do. */
  "risk": Risk;
  /** The JSON Schema of its arguments. */
  "schema": unknown;
}

/** A plugin, as its owner sees it. */
export interface PluginView {
  /** What kind of trouble it has, if any: a plugin that is ready can have trouble that comes and goes. */
  "category"?: Category | null;
  /** Its credentials, and whether each is set for the whole install. */
  "credentials": CredentialView[];
  /** What it is for. */
  "description": string;
  /** Hosts that its manifest names. */
  "hosts": string[];
  /** The end of what its processes said on standard error. */
  "last_words"?: string;
  /** Tools that are not offered, each with the reason. */
  "left_out": unknown[][];
  /** Its name. */
  "name": string;
  /** Whether it is part of the program. */
  "shipped": boolean;
  /** How it stands. */
  "state": PluginState;
  /** What agents may call, as far as their groups may. */
  "tools": PluginToolView[];
  /** Its version; empty when its manifest cannot be read. */
  "version": string;
  /** What is wrong and what to do, or why it is off. */
  "why"?: Failure | null;
}

/** A round of the policy, asked for by hand. */
export interface PolicyForm {
  /** Only say what would be done. */
  "dry_run"?: boolean;
}

/** What is kept for one profile. */
export interface PoolShelf {
  /** Those that are being made. */
  "booting": number;
  /** The profile. */
  "profile": string;
  /** Those that answered and that nobody has claimed. */
  "ready": number;
  /** How many this daemon is to keep. */
  "target": number;
  /** Whose it is. */
  "tenant": string;
  /** Why there are fewer than there should be. */
  "trouble"?: string | null;
}

/** Sandboxes that are made ahead. */
export interface PoolView {
  /** Those that are being made. */
  "booting": number;
  /** Jobs that got one since the daemon's start. */
  "claimed": number;
  /** Jobs that had to wait for a new sandbox although some are kept. */
  "missed": number;
  /** For which profiles they are kept. */
  "profiles": PoolShelf[];
  /** Those that answered and that nobody has claimed. */
  "ready": number;
}

/** A server inside that is to be opened. */
export interface PortForm {
  /** Let its pages load from other hosts and speak with them. What an agent writes could then carry its files out through the browser. */
  "outside"?: boolean;
  /** Where it listens; the only port on which something does when left out. */
  "port"?: number | null;
}

/** Branches to look at together. */
export interface PreviewForm {
  /** The agents. */
  "agents"?: BranchId[];
  /** Into this branch; the one that the first was taken from when left out. */
  "into"?: string | null;
}

/** Two branches that conflict with each other. */
export interface PreviewPair {
  /** The files. */
  "files": string[];
  /** One. */
  "one": string;
  /** The other. */
  "other": string;
}

/** What would conflict. */
export interface PreviewView {
  /** Each alone, in the order that was asked for. */
  "alone": MergeView[];
  /** Each after those before it that merge. */
  "in_order": MergeView[];
  /** The branch that they would be merged into. */
  "into": string;
  /** Pairs that conflict with each other. */
  "pairs": PreviewPair[];
}

export interface Problem {
  "error": { [key: string]: unknown };
}

/** A variable of a profile. */
export interface ProfileVariable {
  /** What it is when a job does not say. */
  "default"?: unknown;
  /** For people. */
  "description": string;
  /** The values that it may have; any when empty. */
  "enum": unknown[];
  /** Whether a job must say it. */
  "required": boolean;
  /** Its type. */
  "type": VarType;
}

/** A profile, as who makes a job wants to know it. */
export interface ProfileView {
  /** The variables of its instructions. */
  "claude_md_vars": { [key: string]: ProfileVariable };
  /** For people. */
  "description": string;
  /** The engine; empty for the configured one. */
  "engine": string;
  /** The model; empty for the engine's choice. */
  "model": string;
  /** Its name. */
  "name": string;
  /** The variables of its prompt. */
  "prompt_vars": { [key: string]: ProfileVariable };
  /** Whether it is as the program ships it. */
  "shipped": boolean;
  /** Its version. */
  "version": number;
}

/** Whether a provider has what it needs to be asked. */
export type ProviderKey = "stored" | "missing" | "not_needed";

/** A model of a provider. */
export interface ProviderModel {
  /** Its name, as an agent or a session names it behind the provider's. */
  "id": string;
  /** What it is called for people, where that is something else. */
  "title"?: string | null;
}

/** The models of a provider, as it lists them itself. */
export interface ProviderModels {
  /** Its models, by name: at most 1000. */
  "models": ProviderModel[];
  /** Whether it has more than are named here. */
  "more": boolean;
  /** The provider. */
  "provider": string;
}

/** An agent that asks a provider. */
export interface ProviderUse {
  /** The agent. */
  "agent": string;
  /** The model that it asks for there; its engine's own choice when left out. */
  "model"?: string | null;
  /** 0 is asked first; the others in their order when those before do not answer. */
  "place": number;
}

/** A provider. */
export interface ProviderView {
  /** Agents that name it, first or as one that stands in. */
  "agents": ProviderUse[];
  /** Where it answers. */
  "base_url": string;
  /** Whether it is known without any configuration. */
  "built_in": boolean;
  /** Whether its models cost nothing, whatever the list of prices says. */
  "free": boolean;
  /** Whether it has what it needs. The key itself is never shown. */
  "key": ProviderKey;
  /** The API that it speaks: `anthropic`, `openai` or `gemini`. */
  "kind": string;
  /** Its name, also that of its key among the secrets. */
  "name": string;
  /** Whether it can be asked. */
  "usable": boolean;
}

/** How an export is taken over. */
export interface Query {
  /** Say what would happen, and change nothing. */
  "dry_run"?: boolean;
}

/** Something that a person is asked in a turn. */
export type QuestionId = string;

/** Something that a person is asked. */
export interface QuestionView {
  /** When it was asked. */
  "asked": Timestamp;
  /** What an answer must name. */
  "id": QuestionId;
  /** Answers that are offered; empty for any text. */
  "options": string[];
  /** The question. */
  "text": string;
}

/** One file on which a branch and what is there do not agree. */
export interface QueueConflict {
  /** What git says of it. */
  "message": string;
  /** The file. */
  "path": string;
}

/** A merge queue to make. */
export interface QueueForm {
  /** The agents whose branches are merged, in this order. */
  "agents"?: BranchId[];
  /** The command that must succeed on each result; the one that each agent was spawned with when left out. */
  "check"?: string | null;
  /** The commits that were looked at, one for each agent in their order: at a branch that is elsewhere by then the queue stops. Any commit when left out; not together with `resolve`, which makes other commits. Of several repositories as `expect` of a merge. */
  "expect"?: string[];
  /** Into this branch; the one that the first was taken from when left out. */
  "into"?: string | null;
  /** Whether a conflict is given to its agent, as its next turn, before the queue stops at it. */
  "resolve"?: boolean;
}

/** Where one branch of a merge queue stands. */
export interface QueuePlace {
  /** The agent. */
  "agent": BranchId;
  /** The commit that the target was at. */
  "before"?: string | null;
  /** Its branch. */
  "branch": string;
  /** The check on the result. */
  "check"?: CheckView | null;
  /** The command that must succeed on the result. */
  "command": string;
  /** The commit that the target was moved to, or is to be. */
  "commit"?: string | null;
  /** Files that conflict. */
  "conflicts": QueueConflict[];
  /** The only commit of the branch that may be taken, where one was named. */
  "expect"?: string | null;
  /** What was in the way, and what can be done about it. */
  "note"?: string | null;
  /** How often the agent was asked to. */
  "resolves": number;
  /** Where it stands. */
  "state": PlaceState;
  /** The commit of the branch that was taken. */
  "tip"?: string | null;
  /** The turn in which the agent resolves its conflict. */
  "turn"?: TurnId | null;
}

/** Which merge queues to list. */
export interface QueueQuery {
  /** How many; 100 when left out. */
  "limit"?: number | null;
  /** Those of this repository. */
  "repo"?: string | null;
}

/** Where a merge queue stands. */
export type QueueState = "working" | "stopped" | "done";

/** A merge queue. */
export interface QueueView {
  /** When it last changed. */
  "changed": Timestamp;
  /** When it was made. */
  "created": Timestamp;
  /** Its identity. */
  "id": MergeQueueId;
  /** The branch that is merged into. */
  "into": string;
  /** Its branches, in their order. */
  "places": QueuePlace[];
  /** The repository. */
  "repo": string;
  /** Where it stands. */
  "state": QueueState;
}

/** What a tenant may have at most. What is left out is not limited. */
export interface Quota {
  /** Envs. */
  "envs"?: number | null;
  /** Jobs that wait. */
  "jobs_queued"?: number | null;
  /** Requests to the API in a minute, in the long run. */
  "requests_per_minute"?: number | null;
  /** Turns and jobs that run at once. */
  "running"?: number | null;
  /** Sessions that are not archived, those of jobs left out. */
  "sessions"?: number | null;
  /** Bytes of results and artifacts that are kept. */
  "storage_bytes"?: number | null;
  /** Tokens that are good. */
  "tokens"?: number | null;
  /** US dollars that models may cost in a day (UTC). */
  "usd_per_day"?: number | null;
}

/** How a turn ended. */
export interface ResultEvent {
  /** Why it failed, where it did. */
  "code"?: Code | null;
  /** All cost of the turn, in US dollars. */
  "cost_usd": number;
  /** Wall-clock time. */
  "duration_ms": number;
  /** What held in the sandbox. */
  "level": Level;
  /** How it ended. */
  "status": Outcome;
  /** The final text. */
  "text": string;
  /** All tokens of the turn. */
  "usage": Usage;
}

/** Asks an agent for a further turn. */
export interface ResumeForm {
  /** What to do now; it goes on with its task when left out. */
  "text"?: string | null;
}

/** What it may do: words with spaces between them. `read`, `write`, `approve`, `manage` and `admin` hold everywhere; `jobs:write` in one area; `jobs:*` is all of it but to configure; `jobs` alone is to look. */
export type Rights = string;

/** How much harm a tool can do. */
export type Risk = "low" | "high";

/** What a person is in a tenant. Each may what those before it may. */
export type Role = "viewer" | "member" | "admin" | "owner";

/** Gives somebody a role with an agent. */
export interface RoleForm {
  /** The agent. */
  "agent": string;
  /** `member` or `admin`. */
  "role": string;
  /** Who. */
  "user": UserId;
}

/** What somebody is to an agent. */
export interface RoleView {
  /** The agent. */
  "agent": string;
  /** `member` or `admin`. */
  "role": string;
  /** Whose agent. */
  "tenant": string;
  /** Who. */
  "user": UserId;
}

/** A sandbox to make. */
export interface SandboxCreate {
  /** Hosts that may be reached. */
  "egress"?: EgressRule[];
  /** The root file system. */
  "image": ImageRef;
  /** What it may use. */
  "limits": Limits;
  /** Host directories; the descriptors come beside the form. */
  "mounts"?: MountNote[];
  /** Names the descriptors of `mounts`, handed over beside the owner's socket. */
  "ticket"?: string | null;
}

/** A secret to keep. */
export interface SecretForm {
  /** It goes in and never comes out. */
  "value": string;
}

/** What came of keeping a secret. */
export interface SecretKept {
  /** Its name. */
  "name": string;
  /** Whether those turns were ended. */
  "restarted": boolean;
  /** Sessions whose turn runs with the value before. Further turns have the new one. */
  "sessions": SecretSession[];
}

/** Whose secret it is. */
export interface SecretScope {
  /** The agent that has it for itself; the install when left out. */
  "agent"?: string | null;
  /** Whether turns that run with the value before are ended. */
  "restart"?: boolean;
}

/** A session that has the value before. */
export interface SecretSession {
  /** Its agent. */
  "agent": string;
  /** The session. */
  "session": SessionId;
}

/** A secret, without its value. */
export interface SecretView {
  /** When it was first set. */
  "created": Timestamp;
  /** The agent whose engines hold it, if one does. */
  "exposed_to"?: string | null;
  /** Its name. */
  "name": string;
  /** Whose it is: `install`, `agent:NAME`, `plugin:NAME` or `channel:NAME`. */
  "scope": string;
  /** When it was last set. */
  "updated": Timestamp;
  /** When it was last used, to half a minute; null when it never was. */
  "used"?: Timestamp | null;
  /** What uses it: providers, agents, and hosts that it is bound to. */
  "uses": string[];
}

/** A configuration with its text. */
export interface SeedConfig {
  "content": string;
  "created_at": string;
  "description": string;
  "name": string;
  "type": ConfigKind;
  "updated_at": string;
}

/** A configuration in a list. */
export interface SeedConfigBrief {
  "created_at": string;
  "description": string;
  "name": string;
  "type": ConfigKind;
  "updated_at": string;
}

/** Which configurations. */
export interface SeedConfigFilter {
  /** `profile`, `engine`, `template` or `hook`; all when left out. */
  "type"?: ConfigKind | null;
}

/** What was removed. */
export interface SeedConfigRemoved {
  "name": string;
  "status": string;
  "type": ConfigKind;
}

/** An engine as the seed's clients read it. */
export interface SeedEngine {
  "available": boolean;
  "description": string;
  "id": string;
  "name": string;
}

/** A job as the seed's clients read it. */
export interface SeedJob {
  "created_at": string;
  "engine": string;
  "error"?: string | null;
  "exit_code"?: number | null;
  "finished_at"?: string | null;
  "job_id": string;
  "profile": string;
  /** The final text, or the JSON value that it is; null in lists. */
  "result": unknown;
  "started_at"?: string | null;
  "status": Status2;
}

/** What was accepted, or became of it. */
export interface SeedJobAccepted {
  "job_id": string;
  "status": Status2;
}

/** How long somebody waits. */
export interface SeedJobPatience {
  /** Seconds, held between 1 and 7,200; 3,600 when left out. */
  "timeout"?: number | null;
}

/** Which jobs. */
export interface SeedJobQuery {
  /** Entries in a page: 1 to 200. */
  "limit"?: number;
  /** Entries before the page: at most 100,000. */
  "offset"?: number;
  /** Those that stand so. */
  "status"?: Status2 | null;
}

/** A page of jobs. */
export interface SeedJobs {
  "jobs": SeedJob[];
  "limit": number;
  "offset": number;
  /** All that stand so. */
  "total": number;
}

export interface SeedProblem {
  "code"?: string;
  "detail": string;
}

/** A profile as the seed's clients read it. */
export interface SeedProfile {
  "description": string;
  "model": string;
  "name": string;
  "prompt_vars": { [key: string]: ProfileVariable };
}

/** What becomes of a change that an agent makes to itself. */
export type SelfPolicy = "off" | "confirm" | "free";

/** Whose messages engage a wiring. */
export type Senders = "all" | "known";

/** A session to make. */
export interface SessionCreate {
  /** Who it is with; `default` when left out. */
  "agent"?: string | null;
  /** The most that it may cost. */
  "budget"?: Money | null;
  /** Hosts that may be reached. */
  "egress"?: EgressRule[];
  /** The engine; the agent's, else the configured one when left out. */
  "engine"?: string | null;
  /** The env that it works in; a private tree when left out. */
  "env"?: string | null;
  /** Whether no other session of the env may work while a turn of this one runs. */
  "exclusive"?: boolean;
  /** Who is asked in turn when its provider does not answer: `PROVIDER` or `PROVIDER/MODEL`; the agent's when left out. */
  "fallback"?: string[] | null;
  /** Whether work is cancelled when nobody is attached. */
  "foreground"?: boolean;
  /** The root file system; the machine's own /usr when left out. */
  "image"?: ImageRef | null;
  /** The user's own words, for finding it again. */
  "labels"?: { [key: string]: string };
  /** What its sandbox may use; the agent's, else the configured limits when left out. */
  "limits"?: Limits | null;
  /** The model. */
  "model"?: string | null;
  /** Host directories by name, below the configured roots. */
  "mounts"?: MountForm[];
  /** Host directories whose descriptors come beside the form. */
  "opened"?: MountNote[];
  /** From 0 to 9; a higher one goes first. 5 when left out. */
  "priority"?: number | null;
  /** Where a program lies inside that the user brought; for engines by path. */
  "program"?: string | null;
  /** Bound secrets that it may use besides its agent's, by name. */
  "secrets"?: string[];
  /** A directory of its own below /home/sandbox to work in, made when missing. */
  "subdir"?: string | null;
  /** Recording or replay. */
  "tape"?: Tape;
  /** Names the descriptors of `opened`, handed over beside the owner's socket. */
  "ticket"?: string | null;
  /** For people. */
  "title"?: string | null;
  /** Variables for the engine. */
  "variables"?: unknown[][];
  /** Where turns begin: `/workspace`, or `/home/sandbox` when left out. */
  "workdir"?: string | null;
}

/** A conversation with one agent. */
export type SessionId = string;

/** Which messages belong to one conversation. */
export type SessionMode = "shared" | "thread" | "agent";

/** What changes in a session. */
export interface SessionPatch {
  /** An archived session keeps its files and takes no turns. */
  "archived"?: boolean | null;
  /** The user's own words; they replace those before. */
  "labels"?: { [key: string]: string } | null;
  /** For people. */
  "title"?: string | null;
}

/** Which sessions to list. */
export interface SessionQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Those with this agent. */
  "agent"?: string | null;
  /** Archived ones, or the others when left out. */
  "archived"?: boolean;
  /** Those in this env. */
  "env"?: string | null;
  /** Those with this label: `KEY=VALUE`. */
  "label"?: string | null;
  /** Entries in a page; 50 when left out. */
  "limit"?: number | null;
}

/** Host directories to give again. */
export interface SessionResume {
  /** Those that the session was made with. */
  "mounts": MountNote[];
  /** Names their descriptors. */
  "ticket"?: string | null;
}

/** Where a session stands. */
export type SessionState = "idle" | "queued" | "running" | "waiting" | "archived";

/** A session as it is shown. */
export interface SessionView {
  /** Who it is with. */
  "agent": string;
  /** When it was made. */
  "created": Timestamp;
  /** The engine. */
  "engine": string;
  /** The env that it works in. */
  "env"?: string | null;
  /** The turn whose end is the present state; 0 at the beginning. */
  "head": number;
  /** Its identity. */
  "id": SessionId;
  /** Whether the rehearsal answers because there is no key. */
  "is_fallback": boolean;
  /** The user's own words. */
  "labels": { [key: string]: string };
  /** The number of its last event. */
  "last_seq": number;
  /** The model; empty for the engine's own choice. */
  "model": string;
  /** Host directories whose descriptors its owner hands over. */
  "mounts": MountNote[];
  /** Where it was forked from. */
  "parent"?: Parent | null;
  /** The provider. */
  "provider": string;
  /** What a person is asked just now. */
  "questions": QuestionView[];
  /** Where it stands. */
  "state": SessionState;
  /** Its terminal, while one is open. */
  "terminal"?: TerminalView | null;
  /** For people; may be empty. */
  "title": string;
  /** Turns so far. */
  "turns": number;
  /** When something last happened in it. */
  "updated": Timestamp;
  /** Where turns begin. */
  "workdir": string;
}

/** What is said of a step. */
export interface SetupForm {
  /** What was used for it: a name, never a credential. At most 200 characters. */
  "note"?: string;
  /** Pass it over; it is noted as done when left out. */
  "skip"?: boolean;
  /** Which. */
  "step": SetupStep;
}

/** How a step is. */
export type SetupState = "todo" | "skipped" | "done";

/** A step, in the order in which they are done. */
export type SetupStep = "model" | "agent" | "channel" | "pair" | "hello";

/** A step as it is shown. */
export interface SetupStepView {
  /** What does it, on the command line; empty for one that is done. */
  "fix": string;
  /** How it is. */
  "state": SetupState;
  /** Which. */
  "step": SetupStep;
  /** What is there. */
  "what": string;
}

/** How far the first steps came. */
export interface SetupView {
  /** The first that is to be done. */
  "next"?: SetupStep | null;
  /** Whether nothing is to be done. */
  "ready": boolean;
  /** The steps, in order. */
  "steps": SetupStepView[];
}

/** How to end. */
export interface Shutdown {
  /** How long running work may take to come to its end, in milliseconds. */
  "grace_ms": number;
}

/** What is approved. */
export interface SkillApproval {
  /** The hash over the files that were looked at. */
  "hash": string;
}

/** What an archive is. */
export interface SkillArchive {
  /** What was shown: `sha256:` and 64 digits. Needed where anything was found that a person should see. */
  "hash"?: string | null;
  /** The folder in it that is the skill; where it is the only one, it is found without. */
  "path"?: string | null;
  /** The skill that this is a new version of; a new one when missing. */
  "replaces"?: string | null;
  /** Where it came from, for people and for a later update. */
  "source"?: string | null;
}

/** A skill of a repository. */
export interface SkillClone {
  /** What was shown. Without it, it is looked at only, and nothing changes. */
  "hash"?: string | null;
  /** The folder in it that is the skill. */
  "path"?: string | null;
  /** The skill that this is a new version of; a new one when missing. */
  "replaces"?: string | null;
  /** The HTTPS address of a repository, with `#BRANCH` behind it where another than its usual one is meant. */
  "source": string;
}

/** A file of a skill. */
export interface SkillFile {
  /** How long it is. */
  "bytes": number;
  /** Whether it is a program. */
  "executable": boolean;
  /** Its path in the skill's folder. */
  "path": string;
  /** The hash over it, in hexadecimal. */
  "sha256": string;
}

/** Something in a skill that a person should see before they say yes. */
export interface SkillFinding {
  /** The file. */
  "file": string;
  /** What it is: `bidi`, `invisible`, `control`, `comment`, `long-line`, `command`, `hooks`, `binary`, `downgrade` or `more`. */
  "kind": string;
  /** The line, from 1; 0 where it is about the whole file. */
  "line": number;
  /** The place, with everything that hides in it spelled out. */
  "text": string;
}

/** How a skill is removed. */
export interface SkillRemoval {
  /** Also when an agent has it, whose sessions will not begin any more. */
  "force"?: boolean;
}

/** What a skill would be, or what a change of one would change. */
export interface SkillReview {
  /** Files that are new (`+`), other (`~`) or gone (`-`) against that version. */
  "changes": string[];
  /** What it says it is for. */
  "description": string;
  /** Its files. */
  "files": SkillFile[];
  /** What a person should see before. */
  "findings": SkillFinding[];
  /** The hash over its files: what a yes is for. */
  "hash": string;
  /** Its name. */
  "name": string;
  /** The version that is in force, if there is one. */
  "replaces"?: number | null;
  /** Where it comes from. */
  "source": string;
}

/** Whether a skill's files can be used. */
export type SkillState = "ready" | "changed";

/** What was in force at some time. */
export interface SkillVersionView {
  /** When. */
  "approved": Timestamp;
  /** Who approved it. */
  "approved_by": string;
  /** The hash over its files. */
  "hash": string;
  /** Where it came from. */
  "source": string;
  /** Which one. */
  "version": number;
}

/** A skill. */
export interface SkillView {
  /** Agents that have it. */
  "agents": string[];
  /** When. */
  "approved"?: Timestamp | null;
  /** Who approved it; nobody had to where it ships. */
  "approved_by"?: string | null;
  /** Files that were changed there. */
  "changes": string[];
  /** What it says it is for. */
  "description": string;
  /** Its files. */
  "files": SkillFile[];
  /** What was shown before the yes. */
  "findings": SkillFinding[];
  /** The hash over the files as they are in the home, where they were changed. */
  "found"?: string | null;
  /** The hash over the files that are approved. */
  "hash": string;
  /** Its name. */
  "name": string;
  /** Whether it is part of the program. */
  "shipped": boolean;
  /** Where it came from. */
  "source": string;
  /** Whether its files can be used, where that was looked at. */
  "state"?: SkillState | null;
  /** How often its files changed, from 1. */
  "version": number;
}

/** Agents that were begun, or gone on with. */
export interface Spawned {
  /** Those of several that could not begin; the others go on. */
  "failed"?: NotSpawned[];
  /** Whether the type was found out and not said. */
  "inferred": boolean;
  /** Whether the rehearsal answers because there is no key. */
  "is_fallback": boolean;
  /** One for each branch. */
  "items": SpawnedOne[];
  /** What the user should know. */
  "notes": string[];
}

/** One agent that was begun, or gone on with. */
export interface SpawnedOne {
  /** The agent. */
  "agent": BranchView;
  /** Whether there was none on this branch before. */
  "is_new": boolean;
  /** The turn that was asked. */
  "turn": TurnId;
}

/** What `status` shows. */
export interface Status {
  /** Where hosts are looked into, how long sandboxes take the install's certificate authority for good. */
  "authority"?: AuthorityView | null;
  /** Secrets that the owner exposed, each to one agent. */
  "exposed": ExposedView[];
  /** The daemon's process. */
  "pid": number;
  /** Sandboxes that are made ahead. */
  "pool": PoolView;
  /** Whether a model's key is stored. */
  "providers": string[];
  /** Sandboxes that run. */
  "sandboxes": number;
  /** Those of them that somebody works in: neither made ahead nor of a plugin. */
  "sandboxes_at_work": number;
  /** The most that may run. */
  "sandboxes_max": number;
  /** Sessions at work or a moment after it. */
  "sessions": number;
  /** Seconds since its start. */
  "uptime_s": number;
  /** The program's version. */
  "version": string;
}

/** Where a job stands, in the seed's words. */
export type Status2 = "running" | "completed" | "failed" | "cancelled" | "pending" | "waiting";

/** Whether model calls are recorded or answered from a record. */
export type Tape = "off" | "record" | "replay";

/** What a task does. */
export type TaskAction = { [key: string]: unknown };

/** A task to make. */
export interface TaskForm {
  /** What is done. */
  "action": TaskAction;
  /** When it is due: minute, hour, day, month, weekday; with seconds in front where there are six. */
  "cron": string;
  /** How many failures one after the other stop it: 1 to 1000; 10 when left out. */
  "failures_max"?: number | null;
  /** What is done about times that were missed; `once` when left out. */
  "misfire"?: Misfire;
  /** For people; no two of a tenant are called the same. */
  "name": string;
  /** What is done while an earlier run is still at work; `skip` when left out. */
  "overlap"?: Overlap;
  /** The IANA zone that `cron` is read in; `UTC` when left out. */
  "zone"?: string | null;
}

/** Work that is done at set times. */
export type TaskId = string;

/** A message of a task. */
export interface TaskMessage {
  /** The agent of a new session; `default` when left out. */
  "agent"?: string | null;
  /** The env of a new session; a private tree when left out. */
  "env"?: string | null;
  /** A script that runs in the sandbox before the agent is asked, and may say that it need not be: status 1, or a last line `{"wakeAgent": false}`. */
  "gate"?: string | null;
  /** The session that it is said in; a new one each time when left out. */
  "session"?: SessionId | null;
  /** What is said. */
  "text"?: string;
  /** Destinations of the agent that the answer goes to, by name. */
  "to"?: string[];
}

/** Which tasks, or which runs of one, to list. */
export interface TaskQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Entries in a page: 1 to 200; 50 when left out. */
  "limit"?: number | null;
}

/** One time that a task was due, and what came of it. */
export type TaskRunId = string;

/** One time that a task was due, as it is shown. */
export interface TaskRunView {
  /** When it began. */
  "begun"?: Timestamp | null;
  /** Whether somebody asked for it. */
  "by_hand": boolean;
  /** When it was due, or asked for. */
  "due": Timestamp;
  /** When it ended. */
  "ended"?: Timestamp | null;
  /** Its identity. */
  "id": TaskRunId;
  /** The job that it made. */
  "job"?: string | null;
  /** Why it failed, waits or was skipped. */
  "note"?: string | null;
  /** The session that it spoke in. */
  "session"?: SessionId | null;
  /** `due`, `begun`, `done`, `failed` or `skipped`. */
  "status": string;
  /** The turn that it made. */
  "turn"?: TurnId | null;
}

/** A task as it is shown. */
export interface TaskView {
  /** What is done. */
  "action": unknown;
  /** When it was made. */
  "created": Timestamp;
  /** When it is due. */
  "cron": string;
  /** Failures one after the other. */
  "failures": number;
  /** How many failures one after the other stop it. */
  "failures_max": number;
  /** Its identity. */
  "id": TaskId;
  /** What is done about times that were missed. */
  "misfire": string;
  /** For people. */
  "name": string;
  /** When it is next due. */
  "next"?: Timestamp | null;
  /** Why it stands so. */
  "note"?: string | null;
  /** What is done while an earlier run is still at work. */
  "overlap": string;
  /** `active`, `paused`, `broken` after too many failures, or `over` when there is no further time. */
  "status": string;
  /** The zone that `cron` is read in. */
  "zone": string;
}

/** The same, to be done. */
export interface TemplateApply {
  /** The hash of the plan that was looked at. */
  "hash": string;
  /** The template and what it is told. */
  "order": TemplateOrder;
}

/** What becomes of a field of an agent. */
export interface TemplateField {
  /** The field. */
  "field": string;
  /** `set`: the template's word, where nobody changed it; `kept`: the owner changed it, and it stays, though the template has another word. */
  "how": string;
  /** What it is now; null for a new agent. */
  "now": unknown;
  /** What it will be. */
  "then": unknown;
}

/** Which template. */
export interface TemplateNamed {
  /** Its name. */
  "name": string;
}

/** A template and what it is told. */
export interface TemplateOrder {
  /** The files of a template that does not ship: `agent.toml` and `instructions.md`. */
  "files"?: { [key: string]: string } | null;
  /** The template: one that ships, or what `files` are called. For an update, the one that the agent came of when left out. */
  "template"?: string | null;
  /** What the template is told; for an update, what is said anew. */
  "variables"?: { [key: string]: unknown };
}

/** What a template would make or change. */
export interface TemplatePlan {
  /** The agent. */
  "agent": string;
  /** The fields that change, and those that the owner's word keeps. */
  "fields": TemplateField[];
  /** What a yes is for. */
  "hash": string;
  /** What to do next. */
  "hints": string[];
  /** What is still missing before it can be made. */
  "needs": string[];
  /** Its tasks. */
  "tasks": TemplateTask[];
  /** The template. */
  "template": string;
  /** Whether the agent is there already. */
  "updates": boolean;
}

/** A task of an agent. */
export interface TemplateTask {
  /** When it is due. */
  "cron": string;
  /** Whether it is made now, and paused; else it was before, and is the owner's. */
  "makes": boolean;
  /** Its name: the agent's and its own. */
  "name": string;
  /** What is said to the agent. */
  "text": string;
  /** The zone that this is read in. */
  "zone": string;
}

/** A template that ships. */
export interface TemplateView {
  /** What it is for. */
  "description": string;
  /** Its name. */
  "name": string;
  /** Skills that its agents have. */
  "skills": string[];
  /** Its tasks, by name. */
  "tasks": string[];
  /** What it wants to be told. */
  "variables": { [key: string]: Variable };
  /** Its own version. */
  "version": string;
}

/** A tenant to make. */
export interface TenantForm {
  /** Small letters, digits and `-`. */
  "name": string;
  /** What it may have. */
  "quota"?: Quota;
  /** What people call it. */
  "title"?: string;
}

/** What changes about a tenant; what is left out stays. */
export interface TenantPatch {
  /** What it may have, whole: what is left out in it is not limited. */
  "quota"?: Quota | null;
  /** Whether it may work. The tokens of a suspended tenant open nothing; what it has stays. */
  "state"?: TenantState | null;
  /** What people call it. */
  "title"?: string | null;
}

/** Whether a tenant may work. */
export type TenantState = "active" | "suspended";

/** A tenant as it is shown. */
export interface TenantView {
  /** When it was made. */
  "created": Timestamp;
  /** Its name. */
  "name": string;
  /** What it may have. */
  "quota": Quota;
  /** Whether it may work. */
  "state": TenantState;
  /** What people call it. */
  "title": string;
  /** When it was last changed. */
  "updated": Timestamp;
}

/** A terminal to open. */
export interface TerminalForm {
  /** Program and arguments; the session's engine, as people use it, when left out. */
  "argv"?: string[];
  /** Start the program when somebody has come, or after ten seconds: they see it from its first line, at their size. */
  "attended"?: boolean;
  /** What the engine is told first, where it takes that. */
  "prompt"?: string | null;
  /** Rows and columns until somebody attaches; 24 and 80 when left out. */
  "size"?: unknown[];
}

/** A terminal that is open. */
export interface TerminalView {
  /** Who looks at it, whoever types included. */
  "attached": number;
  /** Whether somebody can type. */
  "has_keyboard": boolean;
  /** What runs. */
  "program": string;
  /** Its turn. */
  "turn": TurnId;
}

/** Milliseconds since 1970-01-01 UTC, from the host's clock. */
export type Timestamp = number;

/** A token to make. */
export interface TokenForm {
  /** Seconds until it ends; never when left out. */
  "expires_s"?: number | null;
  /** For people. */
  "name": string;
  /** What it may do. */
  "scope": Rights;
  /** Whose sessions and envs it sees. An admin's token has none and sees all. A tenant's own token makes tokens of that tenant. */
  "tenant"?: string | null;
}

/** A token of the HTTP API; public, the token itself is not stored. */
export type TokenId = string;

/** A token as it is shown: never its text, but once when it is made. */
export interface TokenView {
  /** When it was made. */
  "created": Timestamp;
  /** When it ends. */
  "expires"?: Timestamp | null;
  /** Its public identity. */
  "id": TokenId;
  /** For people. */
  "name": string;
  /** When it was revoked. */
  "revoked"?: Timestamp | null;
  /** What it may do. */
  "scope": Rights;
  /** Whose things it sees; all when left out. */
  "tenant"?: string | null;
  /** The token itself, only in the answer to its making. */
  "token"?: string | null;
  /** The person whose token it is, if it is one's: it ends when they leave, and never goes beyond their role. */
  "user"?: UserId | null;
}

/** A package to install. */
export interface ToolInstall {
  /** The agent that alone sees it; every sandbox sees it when left out. */
  "agent"?: string | null;
  /** `NAME[==VERSION]` from PyPI or `npm:NAME[@VERSION]`. */
  "name": string;
}

/** Which package. */
export interface ToolName {
  /** The agent whose own it is; one that every sandbox sees when left out. */
  "agent"?: string | null;
  /** As it was installed. */
  "name": string;
}

/** A package that was installed. */
export interface ToolView {
  /** When it was installed. */
  "installed": Timestamp;
  /** As it was asked for: `NAME` (PyPI), `npm:NAME` or `file:NAME`. */
  "name": string;
  /** Programs in `bin/` that it brought. */
  "programs": string[];
  /** The version, where there is one. */
  "version": string;
}

/** Whose packages. */
export interface ToolsOfWhom {
  /** The agent whose own they are; those that every sandbox sees when left out. */
  "agent"?: string | null;
}

/** Which file or tree. */
export interface TreeAt {
  /** Absolute, inside the sandbox. */
  "path": string;
}

/** A turn that was accepted. */
export interface TurnAccepted {
  /** Its identity. */
  "turn": TurnId;
}

/** One piece of work asked of a session. */
export type TurnId = string;

/** Which turns. */
export interface TurnQuery {
  /** Those after this place. */
  "after"?: number;
  /** Entries in a page; 100 when left out, at most 1000. */
  "limit"?: number | null;
}

/** Where a turn stands. */
export type TurnState = "queued" | "leased" | "running" | "waiting" | "done" | "failed" | "cancelled";

/** A turn as it is shown. */
export interface TurnView {
  /** When it was accepted. */
  "accepted": Timestamp;
  /** Whether there is a checkpoint of it to go back to. */
  "checkpoint": boolean;
  /** When it ended. */
  "ended"?: Timestamp | null;
  /** Its identity. */
  "id": TurnId;
  /** Whether it leads to the present state: one that was undone does not. */
  "in_history": boolean;
  /** Its place in the session, from 1. */
  "n": number;
  /** How it ended. */
  "outcome"?: Outcome | null;
  /** The turn whose state it went on from; 0 is the beginning. */
  "parent": number;
  /** What was asked, cut to 200 characters. */
  "prompt": string;
  /** Where it stands. */
  "state": TurnState;
}

/** What to unbind. */
export interface UnbindQuery {
  /** The host, with its port unless it is bound there under one only; all when left out. */
  "host"?: string | null;
}

/** How to undo. */
export interface UndoForm {
  /** In an env that others changed since: take their changes back too. */
  "force"?: boolean;
  /** In an env that others changed since: go on in a private copy. */
  "private"?: boolean;
  /** The turn whose end is the state to go back to; the one before the last when left out, 0 for the beginning. */
  "to"?: number | null;
}

/** Tokens of one model call, turn or session, as the provider counted them. */
export interface Usage {
  /** Tokens sent that the provider had in its cache. */
  "cache_read_tokens"?: number;
  /** Tokens sent that the provider put into its cache. */
  "cache_write_tokens"?: number;
  /** Tokens sent, without those read from or written to a cache. */
  "input_tokens"?: number;
  /** Tokens received, thinking included. */
  "output_tokens"?: number;
}

/** What to sum. */
export interface UsageQuery {
  /** `job`, `agent`, `profile`, `model`, `tenant`, `session`, `provider` or `day`; `model` when left out. */
  "by"?: string;
  /** From this time on, in milliseconds since 1970. */
  "from"?: number | null;
  /** Before this time. */
  "to"?: number | null;
}

/** A person who logs in. */
export type UserId = string;

/** Out of which tenant. */
export interface UserOut {
  /** The tenant; that of the token when left out. */
  "tenant"?: string | null;
}

/** The type of a variable. */
export type VarType = "string" | "integer" | "float" | "boolean";

/** A declared variable. */
export interface Variable {
  /** What it is when a request does not say. */
  "default"?: unknown;
  /** For people. */
  "description"?: string;
  /** The values that it may have; any of its type when empty. */
  "enum"?: unknown[];
  /** Whether a request must say it. A default is then an example only. */
  "required"?: boolean;
  /** Its type. */
  "type"?: VarType;
}

/** A verdict to give. */
export interface VerdictForm {
  /** `approved` or `rejected`. */
  "verdict": string;
}

/** What a reader decided. */
export interface VerdictView {
  /** When. */
  "at": Timestamp;
  /** The commit that was read. */
  "commit": string;
  /** `approved` or `rejected`. */
  "verdict": string;
}

/** Something that can be pressed. */
export interface WebButton {
  /** What it says. */
  "label": string;
  /** What is sent when it is pressed. */
  "value": string;
}

/** A conversation with an agent. */
export interface WebChat {
  /** The agent. */
  "agent": string;
  /** The chat, once something was said in it. */
  "chat"?: ChatId | null;
  /** When something was last heard in it. */
  "heard"?: Timestamp | null;
  /** Whether any agent hears it; somebody who looks after chats may have taken that away. */
  "is_heard": boolean;
  /** What the conversation is called, where it is one of several with the agent. */
  "name"?: string | null;
}

/** Another text for something that was said. */
export interface WebEditForm {
  /** The text. */
  "text": string;
}

/** A file of a message. */
export interface WebFile {
  /** Why the agent did not get it. */
  "error"?: string | null;
  /** What it is fetched by; only files that were sent to you can be. */
  "id"?: string | null;
  /** What it is called. */
  "name": string;
  /** Its bytes, where that is known. */
  "size"?: number | null;
}

/** One message. */
export interface WebMessage {
  /** The agent that said it. */
  "agent"?: string | null;
  /** Whether it asks something that is answered by a button or the next message. */
  "asks"?: boolean;
  /** When. */
  "at": Timestamp;
  /** What can be pressed. */
  "buttons"?: WebButton[];
  /** `you`, `agent` or `host`. */
  "by": string;
  /** Whether it said something else before. */
  "edited": boolean;
  /** What came along. */
  "files"?: WebFile[];
  /** What would let it through. */
  "fix"?: string | null;
  /** The gate that stopped it. */
  "gate"?: string | null;
  /** Its identity. */
  "id": string;
  /** What became of yours: `turn`, `kept`, `held`, `dropped`, `command`, `answer` or `paired`. */
  "outcome"?: string | null;
  /** What it was reacted to with. */
  "reactions"?: string[];
  /** Why. */
  "reason"?: string | null;
  /** The message that it answers. */
  "reply_to"?: string | null;
  /** The session of that turn. */
  "session"?: SessionId | null;
  /** Where the turn of yours stands. */
  "state"?: string | null;
  /** Markdown. */
  "text": string;
  /** The turn that it became or came from. */
  "turn"?: TurnId | null;
}

/** Something to say. */
export interface WebMessageForm {
  /** Files that go along. */
  "files"?: MessageFile[];
  /** The text; a command when it begins with `/`. */
  "text"?: string;
}

/** Which messages are read. */
export interface WebMessageQuery {
  /** Only what is older: `next` of an earlier page. */
  "after"?: string | null;
  /** Which conversation with the agent, on the terminal; the one without a name when left out. */
  "chat"?: string | null;
  /** How many; 100 when left out. */
  "limit"?: number | null;
  /** The `version` that is known: with `wait_s`, the answer comes when there is another one. */
  "seen"?: number | null;
  /** How long to wait for another version, in seconds: 50 at most. */
  "wait_s"?: number | null;
}

/** Messages, the oldest first. */
export interface WebMessages {
  /** Later texts of messages of older pages. */
  "edits": WebMessage[];
  /** The messages of this page. */
  "items": WebMessage[];
  /** What to send as `after` for what is older; null at the beginning. */
  "next"?: string | null;
  /** Changes with every change. */
  "version": number;
}

/** Which conversation with an agent. */
export interface WebPlaceQuery {
  /** Its name, on the terminal; the one without a name when left out. */
  "chat"?: string | null;
}

/** A button that is pressed. */
export interface WebPressForm {
  /** The value of the button. */
  "value": string;
}

/** What became of something that was said. */
export interface WebSaid {
  /** Whether it was said before: the same key says it once. */
  "again": boolean;
  /** What would let it through. */
  "fix"?: string | null;
  /** The gate that stopped it. */
  "gate"?: string | null;
  /** Its identity. */
  "id": string;
  /** What became of it; see the messages. */
  "outcome"?: string | null;
  /** Why. */
  "reason"?: string | null;
  /** What the host answered, where it did so at once. */
  "said"?: string | null;
}

/** One delivery that somebody is owed. */
export type WebhookId = string;

/** Which deliveries to list, the youngest first. */
export interface WebhookQuery {
  /** The cursor of an earlier page. */
  "after"?: string | null;
  /** Those of this job. */
  "job"?: string | null;
  /** Entries in a page: 1 to 200; 50 when left out. */
  "limit"?: number | null;
  /** `pending`, `sent` or `dead`. */
  "status"?: string | null;
}

/** What webhooks are signed with from now on. */
export interface WebhookSecretForm {
  /** From 8 to 256 bytes; a fresh one is made when left out. */
  "secret"?: string | null;
}

/** A secret that was set. */
export interface WebhookSecretView {
  /** The secret, this once, when it was made here. */
  "secret"?: string | null;
  /** The tenant whose webhooks it signs. */
  "tenant": string;
}

/** A delivery as it is shown. */
export interface WebhookView {
  /** What is sent. Only when a single one is asked for, and after its first try. */
  "body"?: unknown;
  /** When it became owed. */
  "created": Timestamp;
  /** Why the last try failed. */
  "error"?: string | null;
  /** `job.completed`, `job.failed` or `job.cancelled`. */
  "event": string;
  /** Its identity; the same in every try, and in the field `x-lazaret-delivery`. */
  "id": WebhookId;
  /** The job whose end it tells. */
  "job": string;
  /** When it is tried next. */
  "next"?: Timestamp | null;
  /** The status of the last answer. */
  "response"?: number | null;
  /** When it was sent or given up. */
  "settled"?: Timestamp | null;
  /** `pending`, `sent` or `dead`. */
  "status": string;
  /** When it was last tried. */
  "tried"?: Timestamp | null;
  /** How often it was tried. */
  "tries": number;
  /** Where it goes. */
  "url": string;
}

/** One step. */
export interface WhyStep {
  /** When. */
  "at": Timestamp;
  /** What. */
  "what": string;
}

/** What became of something. */
export interface WhyView {
  /** What was asked about. */
  "about": string;
  /** What would let it through. */
  "fix"?: string | null;
  /** The gate that stopped it, if one did. */
  "gate"?: string | null;
  /** What happened, step by step. */
  "path": WhyStep[];
}

/** Lets an agent hear a chat. */
export interface WiringForm {
  /** The agent. */
  "agent": string;
  /** Whether what other programs say is heard. */
  "bots"?: boolean;
  /** The chat: its identity, or the account and the platform's id as `CHANNEL/ID`. */
  "chat": string;
  /** When it engages; in a group `sticky`, in a direct chat every message, when left out. */
  "engage"?: Engage | null;
  /** What becomes of the others; `accumulate` in a group, when left out. */
  "ignored"?: Ignored | null;
  /** Which messages belong together; `shared` when left out. */
  "mode"?: SessionMode | null;
  /** What is looked for, with `pattern`; `.` is every message. */
  "pattern"?: string | null;
  /** The higher is asked first. */
  "priority"?: number;
  /** Whose messages engage it; `known` when left out. */
  "senders"?: Senders | null;
}

/** What makes an agent hear a chat. */
export type WiringId = string;

/** Of which chat. */
export interface WiringQuery {
  /** Its identity, or `CHANNEL/ID`; all when left out. */
  "chat"?: string | null;
}

/** A wiring. */
export interface WiringView {
  /** The agent. */
  "agent": string;
  /** Whether what other programs say is heard. */
  "bots": boolean;
  /** The chat. */
  "chat": ChatId;
  /** When it engages. */
  "engage": Engage;
  /** Its identity. */
  "id": WiringId;
  /** What becomes of the others. */
  "ignored": Ignored;
  /** Which messages belong together. */
  "mode": SessionMode;
  /** What is looked for. */
  "pattern"?: string | null;
  /** The higher is asked first. */
  "priority": number;
  /** Whose messages engage it. */
  "senders": Senders;
}

/** A working tree that was made. */
export interface WorktreeView {
  /** The branch, where that is checked out. */
  "branch"?: string | null;
  /** The commit. */
  "commit": string;
  /** Where. */
  "path": string;
}
