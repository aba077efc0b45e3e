// The forms of the API.
// Made by `cargo xtask clients` from docs/reference/openapi.json. Changes are made there.

/** A configured persona. */
export interface AgentForm {
  /** Hosts that may be reached, within `egress.max`. */
  "egress"?: EgressRule[];
  /** The engine; the configured one when left out. */
  "engine"?: string | null;
  /** Which skills and tools it may see. */
  "group"?: string;
  /** Standing instructions, written as the engine's own file. */
  "instructions"?: string;
  /** What its sandboxes may use; the configured limits when left out. */
  "limits"?: Limits | null;
  /** The model; the engine's choice when left out. */
  "model"?: string | null;
  /** Its name; see `model::is_name`. */
  "name"?: string;
  /** Bound secrets that its sessions may use, by name. */
  "secrets"?: string[];
  /** Skills that it sees. */
  "skills"?: string[];
  /** Tools that it may call. */
  "tools"?: string[];
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

/** A message to a chat. Each name may also be written in camel case. */
export interface ChatForm {
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

/** Which chats. */
export interface ChatQuery {
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

/** What a check found; what is wrong is a failure. */
export interface Checked {
  /** The instructions, where they were rendered. */
  "instructions"?: string | null;
  /** The prompt, where it was rendered. */
  "prompt"?: string | null;
  /** What would be passed over, or is not there. */
  "warnings": string[];
}

/** A stable, documented error code. The same on the command line, in HTTP answers and in events. */
export type Code = "USAGE" | "PROMPT_INVALID" | "CONFIG_INVALID" | "TOO_LARGE" | "NOT_FOUND" | "CONFLICT" | "ENV_SHARED" | "CHECKPOINT_MISSING" | "FORBIDDEN" | "ENGINE_MISSING" | "ENGINE_TAMPERED" | "IMAGE_MISSING" | "KEY_MISSING" | "CREDENTIAL_EXPIRED" | "PATH_UNUSABLE" | "LAYER_MISSING" | "HOME_UNSAFE" | "STORE_UNUSABLE" | "DAEMON_MISSING" | "UNAUTHORIZED" | "EGRESS_DENIED" | "BUDGET_EXCEEDED" | "PRICE_UNKNOWN" | "PROVIDER_DOWN" | "PROVIDER_LIMITED" | "PROVIDER_ERROR" | "STREAM_CUT" | "TIMEOUT" | "CANCELLED" | "TURN_LIMIT" | "HOOK_FAILED" | "ENGINE_FAILED" | "OUTPUT_LIMIT" | "MEMORY_LIMIT" | "DISK_LIMIT" | "RESULT_TOO_LARGE" | "OUTPUT_INVALID" | "POISONED" | "SANDBOX_FAILED" | "HOST_LOST" | "REPLAY_DIFFERS" | "TAPE_INVALID" | "UNKNOWN_TOOL" | "VALIDATION_FAILED" | "QUOTA_EXCEEDED" | "RATE_LIMITED" | "CONFIRMATION_TIMEOUT" | "CONFIRMATION_DENIED" | "PLUGIN_TIMEOUT" | "PLUGIN_UNAVAILABLE" | "PLUGIN_ERROR" | "HANDLER_ERROR" | "PLUGIN_INVALID" | "AUDIT_BROKEN" | "BUSY" | "INTERNAL";

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

/** Whether the daemon is well, as everybody may know it. */
export interface HealthView {
  /** What was looked at. */
  "checks": Check[];
  /** `ok` or `degraded`. */
  "status": string;
}

/** A root file system by name. */
export type ImageRef = { [key: string]: unknown };

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

/** How a turn ended. */
export type Outcome = "completed" | "failed" | "cancelled" | "timeout";

/** The form of a result. */
export type OutputFormat = "json" | "text" | "stream-json";

/** What is done when a task is due while an earlier run of it is still at work. */
export type Overlap = "skip" | "queue" | "parallel";

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

/** What it may do: words with spaces between them. `read`, `write`, `approve`, `manage` and `admin` hold everywhere; `jobs:write` in one area; `jobs:*` is all of it but to configure; `jobs` alone is to look. */
export type Rights = string;

/** How much harm a tool can do. */
export type Risk = "low" | "high";

/** What a person is in a tenant. Each may what those before it may. */
export type Role = "viewer" | "member" | "admin" | "owner";

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
  /** For people; may be empty. */
  "title": string;
  /** Turns so far. */
  "turns": number;
  /** When something last happened in it. */
  "updated": Timestamp;
  /** Where turns begin. */
  "workdir": string;
}

/** How to end. */
export interface Shutdown {
  /** How long running work may take to come to its end, in milliseconds. */
  "grace_ms": number;
}

/** What `status` shows. */
export interface Status {
  /** Secrets that the owner exposed, each to one agent. */
  "exposed": ExposedView[];
  /** The daemon's process. */
  "pid": number;
  /** Whether a model's key is stored. */
  "providers": string[];
  /** Sandboxes that run. */
  "sandboxes": number;
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
  /** The session that it is said in; a new one each time when left out. */
  "session"?: SessionId | null;
  /** What is said. */
  "text"?: string;
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

/** Which template. */
export interface TemplateNamed {
  /** Its name. */
  "name": string;
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
  /** `NAME[==VERSION]` from PyPI or `npm:NAME[@VERSION]`. */
  "name": string;
}

/** Which package. */
export interface ToolName {
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
