"""The forms of the API.

Made by `cargo xtask clients` from docs/reference/openapi.json. Changes are made there.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Literal, TypedDict, Union

if sys.version_info >= (3, 11):
    from typing import NotRequired
else:
    from typing import Generic, TypeVar

    _T = TypeVar("_T")

    class NotRequired(Generic[_T]):
        """A field that may be left out, for interpreters that do not know the word."""

AdmissionAnswer = TypedDict(
    "AdmissionAnswer",
    {
        # Whether they are let in.
        "allow": "bool",
    },
)
# AdmissionAnswer: Yes or no.

AdmissionId = str
# AdmissionId: Somebody unknown who asks to be let in.

AdmissionQuery = TypedDict(
    "AdmissionQuery",
    {
        # `pending`, `allowed` or `denied`; all when left out.
        "state": "NotRequired[Union[str, None]]",
    },
)
# AdmissionQuery: Which admissions.

AdmissionView = TypedDict(
    "AdmissionView",
    {
        # The agent that they want to talk to.
        "agent": "str",
        # The account.
        "channel": "str",
        # The chat.
        "chat": "'ChatId'",
        # When they asked.
        "created": "'Timestamp'",
        # Their handle.
        "handle": "str",
        # Its identity.
        "id": "'AdmissionId'",
        # What they call themselves.
        "name": "str",
        # `pending`, `allowed` or `denied`.
        "state": "str",
    },
)
# AdmissionView: Somebody who asks to be let in.

AgentForm = TypedDict(
    "AgentForm",
    {
        # Hosts that may be reached, within `egress.max`.
        "egress": "NotRequired[List['EgressRule']]",
        # The engine; the configured one when left out.
        "engine": "NotRequired[Union[str, None]]",
        # Who is asked in turn when its provider does not answer, or a budget does not cover the call: `PROVIDER` or `PROVIDER/MODEL`, of the same family of APIs.
        "fallback": "NotRequired[List[str]]",
        # Which skills and tools it may see.
        "group": "NotRequired[str]",
        # Hosts that may be reached for them, within `egress`; none when left out. No bound secret is ever put in for them.
        "guest_egress": "NotRequired[List['EgressRule']]",
        # Those of its tools, of low risk, that it calls for people who are not known, in chats that hear everybody; none when left out.
        "guest_tools": "NotRequired[List[str]]",
        # Standing instructions, written as the engine's own file.
        "instructions": "NotRequired[str]",
        # What becomes of a change that it makes to its own standing instructions, where it has the tool for it.
        "instructions_policy": "NotRequired['SelfPolicy']",
        # What its sandboxes may use; the configured limits when left out.
        "limits": "NotRequired[Union['Limits', None]]",
        # Those of its tools that it calls for members; all of them when left out. Whoever answers for it can have all of them called.
        "member_tools": "NotRequired[Union[List[str], None]]",
        # What becomes of what it remembers and would act on in other sessions; `off` takes its memory away whole.
        "memory_policy": "NotRequired['SelfPolicy']",
        # The model; the engine's choice when left out.
        "model": "NotRequired[Union[str, None]]",
        # Its name; see `model::is_name`.
        "name": "NotRequired[str]",
        # Bound secrets that its sessions may use, by name.
        "secrets": "NotRequired[List[str]]",
        # Skills that it sees.
        "skills": "NotRequired[List[str]]",
        # Tenants, besides the owner's, whose sessions have all of it; `*` for every tenant. Sessions of others work with it too, but without what is the owner's: the vault, secrets, and tools that use the owner's accounts.
        "tenants": "NotRequired[List[str]]",
        # Tools that it may call.
        "tools": "NotRequired[List[str]]",
        # The word that addresses it in chats; `@Andy` when left out.
        "trigger": "NotRequired[Union[str, None]]",
    },
)
# AgentForm: A configured persona.

AlsoRepo = TypedDict(
    "AlsoRepo",
    {
        # What it is called: its clone lies at `/home/sandbox/repos/NAME`. Letters, digits and `-_.`, the first one no dot.
        "name": "str",
        # The repository, named as the first one is. Its descriptor comes after those before it.
        "repo": "str",
    },
)
# AlsoRepo: A repository that an agent works on beside its first one.

AnswerForm = TypedDict(
    "AnswerForm",
    {
        # Which question; the only open one when left out.
        "question": "NotRequired[Union['QuestionId', None]]",
        # The answer.
        "text": "str",
    },
)
# AnswerForm: An answer to a question.

ApprovalId = str
# ApprovalId: A confirmation that a person is asked for.

ApprovalQuery = TypedDict(
    "ApprovalQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # How many.
        "limit": "NotRequired[Union[int, None]]",
        # Only those of this session.
        "session": "NotRequired[Union[str, None]]",
        # `pending`, `approved`, `denied`, `expired` or `cancelled`.
        "status": "NotRequired[Union[str, None]]",
    },
)
# ApprovalQuery: Which confirmations are listed.

ApprovalView = TypedDict(
    "ApprovalView",
    {
        # The agent.
        "agent": "str",
        # When it was answered.
        "answered_at": "NotRequired[Union['Timestamp', None]]",
        # Who answered: `owner` or `token:ID`.
        "answered_by": "NotRequired[Union[str, None]]",
        # With what.
        "arguments": "Any",
        # When it was asked.
        "asked_at": "'Timestamp'",
        # Of an approved one: `waiting`, `begun` (under way, or cut short by the daemon's end: it is not made again) or `made`.
        "call": "NotRequired[Union[str, None]]",
        # The call's own name.
        "correlation": "str",
        # Until when it can be answered, or a yes can be used.
        "expires_at": "'Timestamp'",
        # What an answer must name.
        "hash": "str",
        # Its identity.
        "id": "'ApprovalId'",
        # Whether an argument is longer than 64 KiB.
        "is_long": "bool",
        # What was said with the answer.
        "note": "NotRequired[Union[str, None]]",
        # Whose tool it is; empty for the daemon's own.
        "plugin": "str",
        # How much harm it can do.
        "risk": "'Risk'",
        # The session that asks; left out for a call of the owner's own.
        "session": "NotRequired[Union['SessionId', None]]",
        # `pending`, `approved`, `denied`, `expired` or `cancelled`.
        "status": "str",
        # The call as a person is to read it: whole, each argument on one line, with nothing hidden.
        "text": "str",
        # What would be called.
        "tool": "str",
        # The turn that asks.
        "turn": "NotRequired[Union['TurnId', None]]",
    },
)
# ApprovalView: What a person is asked before a call is made.

Artifact = TypedDict(
    "Artifact",
    {
        # How long it is.
        "bytes": "int",
        # Where it was, below the working directory.
        "path": "str",
    },
)
# Artifact: A file that a job left.

AskForm = TypedDict(
    "AskForm",
    {
        # The model; the configured choice when left out.
        "model": "NotRequired[Union[str, None]]",
        # What somebody wants to know.
        "question": "str",
    },
)
# AskForm: A question about the install.

AskView = TypedDict(
    "AskView",
    {
        # The session.
        "session": "'SessionView'",
        # What is to be said in it.
        "text": "str",
    },
)
# AskView: A session that a question can be asked in.

AuditCheck = TypedDict(
    "AuditCheck",
    {
        # The first fault.
        "broken": "NotRequired[Union['AuditFault', None]]",
        # Its hash, in hexadecimal: what to keep elsewhere, to compare with later.
        "head": "str",
        # Rows that were read and are whole.
        "rows": "int",
        # The number of the last whole row.
        "seq": "int",
    },
)
# AuditCheck: What a check of the chain found.

AuditFault = TypedDict(
    "AuditFault",
    {
        # The first row that is wrong or missing.
        "seq": "int",
        # What is wrong with it.
        "why": "str",
    },
)
# AuditFault: Where the chain is broken, and how.

AuditKind = Union[Literal["tool"], Literal["model"], Literal["egress"], Literal["confirmation"], Literal["admin"]]
# AuditKind: What kind of decision it was.

AuditQuery = TypedDict(
    "AuditQuery",
    {
        # Rows after this number.
        "after": "NotRequired[Union[int, None]]",
        # The call.
        "correlation": "NotRequired[Union[str, None]]",
        # Not before, in milliseconds since 1970.
        "from": "NotRequired[Union[int, None]]",
        # `tool`, `model`, `egress`, `confirmation` or `admin`.
        "kind": "NotRequired[Union['AuditKind', None]]",
        # The last of them instead of the first.
        "latest": "NotRequired[bool]",
        # How many.
        "limit": "NotRequired[Union[int, None]]",
        # How it ended.
        "outcome": "NotRequired[Union[str, None]]",
        # The session.
        "session": "NotRequired[Union[str, None]]",
        # Before, in milliseconds since 1970.
        "to": "NotRequired[Union[int, None]]",
        # What it is about, whole.
        "topic": "NotRequired[Union[str, None]]",
    },
)
# AuditQuery: Which rows are asked for.

AuditRow = TypedDict(
    "AuditRow",
    {
        # Who: `agent:NAME`, `owner`, `token:ID`, `plugin:NAME`.
        "actor": "str",
        # Why not, where it was refused or failed.
        "code": "NotRequired[Union['Code', None]]",
        # The call's own name, where it has one.
        "correlation": "NotRequired[Union[str, None]]",
        # Particulars: hash of the arguments, fields that were redacted, bytes, cost.
        "detail": "NotRequired[Any]",
        # The hash of this row and the one before.
        "hash": "str",
        # What kind it is.
        "kind": "'AuditKind'",
        # `routed`, `rejected`, `sanitized`, `error`, `allowed`, `denied`, `asked`, `approved`, `expired`, `changed`.
        "outcome": "str",
        # The hash of the row before, in hexadecimal; zeros for the first.
        "prev": "str",
        # Its place in the chain, from 1, without gaps.
        "seq": "int",
        # The session whose sandbox asked.
        "session": "NotRequired[Union['SessionId', None]]",
        # The broker's stage that decided, 1 to 6.
        "stage": "NotRequired[Union[int, None]]",
        # When it was made.
        "time": "'Timestamp'",
        # What about: `tool.invoke.NAME`, `HOST:PORT`, a model, a verb.
        "topic": "str",
        # The turn that ran.
        "turn": "NotRequired[Union['TurnId', None]]",
    },
)
# AuditRow: A row of the audit.

AuthorityView = TypedDict(
    "AuthorityView",
    {
        # From when on.
        "from": "'Timestamp'",
        # The daemon's own time.
        "now": "'Timestamp'",
        # Until when.
        "until": "'Timestamp'",
    },
)
# AuthorityView: How long a certificate authority is good.

BindForm = TypedDict(
    "BindForm",
    {
        # The header; `Authorization` when left out.
        "header": "NotRequired[Union[str, None]]",
        # The host, with a port unless it is 443.
        "host": "str",
        # A method; every method when left out.
        "method": "NotRequired[Union[str, None]]",
        # The secret, and the variable that holds its placeholder inside.
        "name": "str",
        # A path prefix; every path when left out.
        "path": "NotRequired[Union[str, None]]",
    },
)
# BindForm: A secret to bind.

BoundView = TypedDict(
    "BoundView",
    {
        # The header, in small letters.
        "header": "str",
        # The host.
        "host": "str",
        # A method.
        "method": "NotRequired[Union[str, None]]",
        # The secret.
        "name": "str",
        # A path prefix.
        "path": "NotRequired[Union[str, None]]",
        # The port.
        "port": "int",
    },
)
# BoundView: A bound secret as it is shown.

BranchAuthor = TypedDict(
    "BranchAuthor",
    {
        # The address.
        "email": "str",
        # The name.
        "name": "str",
    },
)
# BranchAuthor: Whose name commits carry.

BranchDiff = TypedDict(
    "BranchDiff",
    {
        # The commit that it is compared with.
        "base": "str",
        # Its commits, the youngest first.
        "commits": "List['CommitView']",
        # The files.
        "files": "List['FileChange']",
        # All together.
        "size": "'ChangeSize'",
        # The commit that is read.
        "tip": "str",
        # Whether there is more than is listed.
        "truncated": "bool",
    },
)
# BranchDiff: What a branch changes.

BranchDiffQuery = TypedDict(
    "BranchDiffQuery",
    {
        # What a repository beside the first one is called; the first one when left out.
        "repo": "NotRequired[Union[str, None]]",
    },
)
# BranchDiffQuery: Which repository.

BranchHistory = Union[Literal["all"], Literal["branch"]]
# BranchHistory: How much of the repository's past an agent sees.

BranchId = str
# BranchId: An agent that works on a branch.

BranchPatchQuery = TypedDict(
    "BranchPatchQuery",
    {
        # As the list of changes names it; all of them when left out.
        "path": "NotRequired[Union[str, None]]",
        # What a repository beside the first one is called; the first one when left out.
        "repo": "NotRequired[Union[str, None]]",
    },
)
# BranchPatchQuery: Which file.

BranchQuery = TypedDict(
    "BranchQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Those that were asked for the same.
        "batch": "NotRequired[Union[str, None]]",
        # The one on this branch.
        "branch": "NotRequired[Union[str, None]]",
        # Entries in a page; 100 when left out.
        "limit": "NotRequired[Union[int, None]]",
        # Those of this repository.
        "repo": "NotRequired[Union[str, None]]",
    },
)
# BranchQuery: Which branch agents to list.

BranchRepoView = TypedDict(
    "BranchRepoView",
    {
        # The commit that the branch began at.
        "base": "str",
        # Commits since the base.
        "commits": "int",
        # Changed files that are not committed.
        "dirty": "int",
        # The branch that it was merged into, where the last commit was.
        "merged_into": "NotRequired[Union[str, None]]",
        # What it is called.
        "name": "str",
        # Why it is elsewhere than it was wanted, or did not come.
        "note": "NotRequired[Union[str, None]]",
        # The reference of the repository that has it.
        "ref": "NotRequired[Union[str, None]]",
        # The repository.
        "repo": "str",
        # How much was changed.
        "size": "NotRequired[Union['ChangeSize', None]]",
        # The branch that it is merged into unless another is named.
        "target": "NotRequired[Union[str, None]]",
        # The commit that came home last.
        "tip": "NotRequired[Union[str, None]]",
        # Files that git does not know.
        "untracked": "int",
    },
)
# BranchRepoView: Where a branch agent stands in a repository beside its first one.

BranchResolve = TypedDict(
    "BranchResolve",
    {
        # The target; the branch that the agent's was taken from when left out.
        "into": "NotRequired[Union[str, None]]",
    },
)
# BranchResolve: A conflict to resolve.

BranchSpawn = TypedDict(
    "BranchSpawn",
    {
        # Who does it; `default` when left out.
        "agent": "NotRequired[Union[str, None]]",
        # Repositories beside it: in each a clone of its own has the same branch, begun at what is checked out there.
        "also": "NotRequired[List['AlsoRepo']]",
        # Whose name commits carry.
        "author": "NotRequired[Union['BranchAuthor', None]]",
        # The branch; any name that git takes.
        "branch": "NotRequired[str]",
        # The most that it may cost.
        "budget": "NotRequired[Union['Money', None]]",
        # Whether uncommitted and untracked files of the repository are carried in.
        "carry": "NotRequired[bool]",
        # A command whose success says that the work is good; run in a sandbox without doors.
        "check": "NotRequired[Union[str, None]]",
        # Whether what is left uncommitted after a turn becomes a last commit.
        "commit": "NotRequired[bool]",
        # Hosts that may be reached.
        "egress": "NotRequired[List['EgressRule']]",
        # The engine.
        "engine": "NotRequired[Union[str, None]]",
        # The directory of this machine that holds that program, absolute and without links: seen read-only at `/home/sandbox/own-engine`. Taken over the owner's socket only.
        "engine_dir": "NotRequired[Union[str, None]]",
        # Ignored files that are carried in all the same, for example `.env`: paths in the repository.
        "files": "NotRequired[List[str]]",
        # Where the branch begins: a branch, tag or commit; what is checked out when left out.
        "from": "NotRequired[Union[str, None]]",
        # How much of the past it sees.
        "history": "NotRequired['BranchHistory']",
        # The user's own words, for finding it again.
        "labels": "NotRequired[Dict[str, str]]",
        # What its sandbox may use.
        "limits": "NotRequired[Union['Limits', None]]",
        # The model.
        "model": "NotRequired[Union[str, None]]",
        # How many agents do the same, each on a branch `BRANCH-1` and so on; one on `BRANCH` itself when left out.
        "n": "NotRequired[Union[int, None]]",
        # From 0 to 9; a higher one goes first. 5 when left out.
        "priority": "NotRequired[Union[int, None]]",
        # Where a program lies inside that the user brought; for engines by path.
        "program": "NotRequired[Union[str, None]]",
        # The repository: an absolute path. Through the owner's socket its descriptor comes beside the form; else it lies below a directory that the configuration lists.
        "repo": "NotRequired[str]",
        # Bound secrets that it may use besides its agent's, by name.
        "secrets": "NotRequired[List[str]]",
        # Directories that are checked out, with the files beside and above them; all when left out. The agent may add others.
        "sparse": "NotRequired[List[str]]",
        # What to do.
        "task": "NotRequired[str]",
        # Names the descriptors of the repositories in their order, handed over beside the owner's socket.
        "ticket": "NotRequired[Union[str, None]]",
        # What kind of task it is; found out from branch and task when left out.
        "type": "NotRequired[Union[str, None]]",
        # Kinds of tasks besides those of the home and those that ship: their texts, by name.
        "types": "NotRequired[Dict[str, str]]",
    },
)
# BranchSpawn: Agents to begin.

BranchState = Union[Literal["starting"], Literal["working"], Literal["waiting"], Literal["done"], Literal["failed"], Literal["stopped"]]
# BranchState: Where a branch agent stands.

BranchType = TypedDict(
    "BranchType",
    {
        # What it is for.
        "description": "str",
        # Its name.
        "name": "str",
    },
)
# BranchType: A kind of task.

BranchView = TypedDict(
    "BranchView",
    {
        # The repositories beside the first one.
        "also": "NotRequired[List['BranchRepoView']]",
        # The commit that it began at.
        "base": "str",
        # What several agents share that were asked for the same.
        "batch": "NotRequired[Union[str, None]]",
        # The branch.
        "branch": "str",
        # The last check.
        "check": "NotRequired[Union['CheckView', None]]",
        # Why it failed.
        "code": "NotRequired[Union['Code', None]]",
        # Commits since the base.
        "commits": "int",
        # What its model calls cost so far, in US dollars.
        "cost_usd": "float",
        # When it was made.
        "created": "'Timestamp'",
        # Changed files that are not committed.
        "dirty": "int",
        # How long its last turn took, or takes, in milliseconds.
        "duration_ms": "int",
        # The engine.
        "engine": "str",
        # Its identity.
        "id": "'BranchId'",
        # Whether the work of every turn that is over came home.
        "is_home": "bool",
        # The branch that it was merged into, where the last commit of all of its repositories was.
        "merged_into": "NotRequired[Union[str, None]]",
        # The model.
        "model": "str",
        # Why it is elsewhere than it was wanted, or did not come.
        "note": "NotRequired[Union[str, None]]",
        # How that ended.
        "outcome": "NotRequired[Union['Outcome', None]]",
        # The provider.
        "provider": "str",
        # The reference of the repository that has it.
        "ref": "NotRequired[Union[str, None]]",
        # The repository.
        "repo": "str",
        # The session of the agent.
        "session": "'SessionId'",
        # How much was changed.
        "size": "NotRequired[Union['ChangeSize', None]]",
        # Where it stands.
        "state": "'BranchState'",
        # The branch that it is merged into unless another is named.
        "target": "NotRequired[Union[str, None]]",
        # The beginning of the first task.
        "task": "str",
        # The commit that came home last.
        "tip": "NotRequired[Union[str, None]]",
        # The turn that counts.
        "turn": "NotRequired[Union['TurnId', None]]",
        # Turns so far.
        "turns": "int",
        # What kind of task it is.
        "type": "str",
        # Files that git does not know.
        "untracked": "int",
        # When something last happened.
        "updated": "'Timestamp'",
        # What a reader decided.
        "verdict": "NotRequired[Union['VerdictView', None]]",
        # Who or what it waits for.
        "waiting_for": "NotRequired[Union[str, None]]",
    },
)
# BranchView: A branch agent as it is shown.

BranchWatchQuery = TypedDict(
    "BranchWatchQuery",
    {
        # Those of this repository.
        "repo": "NotRequired[Union[str, None]]",
    },
)
# BranchWatchQuery: Which agents are followed.

BranchWorktree = TypedDict(
    "BranchWorktree",
    {
        # Check the commit out and not the branch.
        "detach": "NotRequired[bool]",
        # Where: an absolute path that is not there yet.
        "path": "str",
        # Names the descriptor of the directory above, handed over beside the owner's socket.
        "ticket": "str",
    },
)
# BranchWorktree: A working tree to be made.

BudgetForm = TypedDict(
    "BudgetForm",
    {
        # The most that may be spent, in US dollars.
        "limit_usd": "float",
        # What happens when it is spent; when left out, sessions wait and jobs and `lazaret run` fail.
        "policy": "NotRequired[Union['BudgetPolicy', None]]",
    },
)
# BudgetForm: A budget to set.

BudgetPolicy = Union[Literal["wait"], Literal["fail"]]
# BudgetPolicy: What happens when a budget does not cover a call.

BudgetRaise = TypedDict(
    "BudgetRaise",
    {
        # US dollars.
        "by_usd": "float",
    },
)
# BudgetRaise: By how much a budget is raised.

BudgetView = TypedDict(
    "BudgetView",
    {
        # What is left.
        "left_usd": "float",
        # The most that may be spent.
        "limit_usd": "float",
        # Whose it is: `session:ID`, `job:ID`, `agent:NAME`, `tenant:NAME` or `all`, and `@day` behind it when it holds each day.
        "name": "str",
        # What happens when it is spent, where that was set.
        "policy": "NotRequired[Union['BudgetPolicy', None]]",
        # What was spent, today where it holds each day; what running work has set aside counts.
        "spent_usd": "float",
    },
)
# BudgetView: A budget as it is shown.

Carried = TypedDict(
    "Carried",
    {
        # What it is called.
        "name": "str",
        # Why, or what is to be done about it.
        "note": "NotRequired[str]",
        # `new`, `same`, `there`, `changed`, `left out` or `wrong`.
        "outcome": "str",
        # What kind of thing.
        "what": "str",
    },
)
# Carried: What became, or would become, of one thing.

CarryReport = TypedDict(
    "CarryReport",
    {
        # How many of each kind came to what: `agent new` and so on.
        "counts": "Dict[str, int]",
        # Whether nothing was changed.
        "dry_run": "bool",
        # Each thing but those that are as they were, the first 2,000.
        "items": "List['Carried']",
        # Whether there were more.
        "more": "bool",
    },
)
# CarryReport: What came of taking an install over.

Category = Union[Literal["CONFIG"], Literal["AUTH"], Literal["NETWORK"], Literal["INTERNAL"], Literal["PENDING"]]
# Category: What kind of trouble a plugin has.

Change = TypedDict(
    "Change",
    {
        # `added`, `removed`, `changed` or `type`.
        "change": "str",
        # The path, from the root of the sandbox, for example `/home/sandbox/notes.md`.
        "path": "str",
        # Bytes after.
        "size_after": "NotRequired[Union[int, None]]",
        # Bytes before.
        "size_before": "NotRequired[Union[int, None]]",
    },
)
# Change: One path that differs between two checkpoints.

ChangeSize = TypedDict(
    "ChangeSize",
    {
        # Lines that come.
        "added": "int",
        # Files.
        "files": "int",
        # Lines that go.
        "removed": "int",
    },
)
# ChangeSize: How much a branch changes.

ChannelForm = TypedDict(
    "ChannelForm",
    {
        # What its program is told.
        "config": "NotRequired[Dict[str, Any]]",
        # Its credentials, by their names. They are kept among the secrets.
        "credentials": "NotRequired[Dict[str, str]]",
        # Its name; see `model::is_name`.
        "name": "NotRequired[str]",
        # Its network.
        "network": "NotRequired[str]",
        # The folder below the home's `channels/` that holds somebody else's program; what ships when left out.
        "program": "NotRequired[Union[str, None]]",
        # Whose it is; `default` when left out.
        "tenant": "NotRequired[Union[str, None]]",
    },
)
# ChannelForm: An account to add.

ChannelPatch = TypedDict(
    "ChannelPatch",
    {
        # What its program is told; replaces what it was told before.
        "config": "NotRequired[Union[Dict[str, Any], None]]",
        # Credentials that it gets, by their names.
        "credentials": "NotRequired[Dict[str, str]]",
        # Switches it on or off.
        "on": "NotRequired[Union[bool, None]]",
        # Looks at somebody else's program again, and takes it as it is now.
        "program": "NotRequired[Union[str, None]]",
    },
)
# ChannelPatch: What changes of an account.

ChannelView = TypedDict(
    "ChannelView",
    {
        # What its network can do, once connected.
        "abilities": "NotRequired[Any]",
        # What its program is told.
        "config": "Any",
        # When it was added.
        "created": "'Timestamp'",
        # Its credentials and whether they are set.
        "credentials": "Dict[str, bool]",
        # `off`, `starting`, `connecting`, `well`, `credential` or `down`.
        "health": "str",
        # Where its platform sends requests to, when it does.
        "hook": "NotRequired[Union[str, None]]",
        # The hosts that it may reach.
        "hosts": "List[str]",
        # Who it is on its network, once connected.
        "me": "NotRequired[Any]",
        # What it says of that.
        "message": "str",
        # Its name.
        "name": "str",
        # Its network.
        "network": "str",
        # Whether it is switched on.
        "on": "bool",
        # Somebody else's program.
        "program": "NotRequired[Union[str, None]]",
        # How often its program began again since the daemon's start.
        "restarts": "int",
        # Whose it is.
        "tenant": "str",
    },
)
# ChannelView: An account.

ChatAnswer = TypedDict(
    "ChatAnswer",
    {
        # The answer: a text, a list of texts, or an object with one for each question.
        "answers": "Any",
        # Which question; also `requestId`.
        "request_id": "str",
    },
)
# ChatAnswer: An answer to a question.

ChatAttachment = TypedDict(
    "ChatAttachment",
    {
        # Its bytes.
        "data": "str",
        # A plain name.
        "name": "str",
    },
)
# ChatAttachment: A file that comes with a message.

ChatForm = TypedDict(
    "ChatForm",
    {
        # The account.
        "channel": "str",
        # The platform's id.
        "chat": "str",
        # Whether others than one person can be in it.
        "group": "NotRequired[bool]",
        # What people call it.
        "name": "NotRequired[str]",
    },
)
# ChatForm: A chat to make known before anything was heard in it.

ChatForm2 = TypedDict(
    "ChatForm2",
    {
        # Not used: agents are chosen by name.
        "agent_path": "NotRequired[Union[str, None]]",
        # The agent of a new chat, by name.
        "agent_type": "NotRequired[Union[str, None]]",
        # Files for the working directory: `{fileName, base64Data}`.
        "attachments": "NotRequired[List['ChatAttachment']]",
        # The slug of the container that a new chat works in; one of its own when left out.
        "container_id": "NotRequired[Union[str, None]]",
        # Not used.
        "contexts": "NotRequired[Any]",
        # Kept as the label `continued-from` of a new chat.
        "continued_from": "NotRequired[Union[str, None]]",
        # Stands before the first message of a new chat.
        "initial_context": "NotRequired[Any]",
        # What is asked; at most 102,400 characters.
        "message": "NotRequired[str]",
        # `converse`.
        "mode": "NotRequired[Union[str, None]]",
        # The model of a new chat.
        "model": "NotRequired[Union[str, None]]",
        # Not used.
        "module": "NotRequired[Union[str, None]]",
        # Stands before the first message of a new chat.
        "prior_conversation": "NotRequired[Any]",
        # Not used: transcripts stay with the chat.
        "recovery_mode": "NotRequired[Union[str, None]]",
        # The chat; a new one when left out or `new`.
        "session_id": "NotRequired[Union[str, None]]",
        # Stands before the first message of a new chat.
        "system_prompt": "NotRequired[Union[str, None]]",
        # `sandboxed`; every chat is.
        "trust_level": "NotRequired[Union[str, None]]",
        # A directory below /home/sandbox that a new chat works in.
        "working_directory": "NotRequired[Union[str, None]]",
    },
)
# ChatForm2: A message to a chat. Each name may also be written in camel case.

ChatId = str
# ChatId: A conversation on a chat network.

ChatInject = TypedDict(
    "ChatInject",
    {
        # At most 32,000 characters.
        "message": "str",
    },
)
# ChatInject: A message for the turn that runs.

ChatMetadata = TypedDict(
    "ChatMetadata",
    {
        # Its title; left as it is when left out.
        "title": "NotRequired[Union[str, None]]",
    },
)
# ChatMetadata: What is known about a chat besides its messages.

ChatPatch = TypedDict(
    "ChatPatch",
    {
        # Whether nothing of it is wanted.
        "denied": "NotRequired[Union[bool, None]]",
        # What becomes of who is not known.
        "policy": "NotRequired[Union['ChatPolicy', None]]",
    },
)
# ChatPatch: What changes of a chat.

ChatPolicy = Union[Literal["strict"], Literal["request"], Literal["public"]]
# ChatPolicy: What becomes of who is not known in a chat.

ChatQuery = TypedDict(
    "ChatQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Those of this account.
        "channel": "NotRequired[Union[str, None]]",
        # How many; 50 when left out.
        "limit": "NotRequired[Union[int, None]]",
    },
)
# ChatQuery: Which chats are listed.

ChatQuery2 = TypedDict(
    "ChatQuery2",
    {
        # Archived ones, or the others when left out.
        "archived": "NotRequired[bool]",
        # Those in this container.
        "container_id": "NotRequired[Union[str, None]]",
        # Entries; 100 when left out, at most 1000.
        "limit": "NotRequired[Union[int, None]]",
        # Entries to leave out before them.
        "offset": "NotRequired[int]",
        # Those with this in their title.
        "search": "NotRequired[Union[str, None]]",
    },
)
# ChatQuery2: Which chats.

ChatTranscriptQuery = TypedDict(
    "ChatTranscriptQuery",
    {
        # Events after this sequence number.
        "after": "NotRequired[int]",
    },
)
# ChatTranscriptQuery: From where on.

ChatView = TypedDict(
    "ChatView",
    {
        # The agents that hear it.
        "agents": "List[str]",
        # The account.
        "channel": "str",
        # The platform's id.
        "chat": "str",
        # Whether nothing of it is wanted.
        "denied": "bool",
        # Whether others than one person can be in it.
        "group": "bool",
        # When something was last heard.
        "heard": "'Timestamp'",
        # Its identity.
        "id": "'ChatId'",
        # What people call it.
        "name": "str",
        # What becomes of who is not known.
        "policy": "'ChatPolicy'",
    },
)
# ChatView: A chat.

Check = TypedDict(
    "Check",
    {
        # `store-read`, `store-write` or `sandboxes`.
        "name": "str",
        # Whether it is well.
        "ok": "bool",
    },
)
# Check: One thing that was looked at. It says no more than whether it is well: anybody may ask.

CheckForm = TypedDict(
    "CheckForm",
    {
        # Values of the variables of its instructions.
        "claude_md_vars": "NotRequired[Union[Dict[str, Any], None]]",
        # The text.
        "content": "NotRequired[str]",
        # Its name.
        "name": "NotRequired[Union[str, None]]",
        # Values of a profile's variables: with them its prompt is rendered.
        "prompt_vars": "NotRequired[Union[Dict[str, Any], None]]",
    },
)
# CheckForm: A text that might be kept.

CheckOrder = TypedDict(
    "CheckOrder",
    {
        # The command; the one that the agent was spawned with when left out.
        "command": "NotRequired[Union[str, None]]",
    },
)
# CheckOrder: A check to run.

CheckView = TypedDict(
    "CheckView",
    {
        # When it ended.
        "at": "'Timestamp'",
        # The command.
        "command": "str",
        # The commit that it was run on.
        "commit": "str",
        # How long it took, in milliseconds.
        "duration_ms": "int",
        # The end of what it printed.
        "output": "str",
        # Whether it ended well.
        "passed": "bool",
        # Its exit status; `None` when it did not end in time.
        "status": "NotRequired[Union[int, None]]",
    },
)
# CheckView: What a check said.

Checked = TypedDict(
    "Checked",
    {
        # The instructions, where they were rendered.
        "instructions": "NotRequired[Union[str, None]]",
        # The prompt, where it was rendered.
        "prompt": "NotRequired[Union[str, None]]",
        # What would be passed over, or is not there.
        "warnings": "List[str]",
    },
)
# Checked: What a check found; what is wrong is a failure.

CleanForm = TypedDict(
    "CleanForm",
    {
        # Remove the branch from the repository too.
        "delete_branch": "NotRequired[bool]",
        # Only say what would be done.
        "dry_run": "NotRequired[bool]",
        # Also when unmerged, uncommitted or untracked work is lost.
        "force": "NotRequired[bool]",
    },
)
# CleanForm: How to forget an agent.

CleanView = TypedDict(
    "CleanView",
    {
        # The branch.
        "branch": "str",
        # Bytes that its files take, where that is known.
        "bytes": "NotRequired[Union[int, None]]",
        # Whether it is forgotten now.
        "done": "bool",
        # What would be lost; empty when all of it is elsewhere.
        "loses": "List[str]",
    },
)
# CleanView: What was forgotten, or would be.

ClientSecret = str
# ClientSecret: The secret of an application. It is never shown, not in a log either.

Code = Union[Literal["USAGE"], Literal["PROMPT_INVALID"], Literal["CONFIG_INVALID"], Literal["TOO_LARGE"], Literal["NOT_FOUND"], Literal["CONFLICT"], Literal["MERGE_CONFLICT"], Literal["WORK_UNSAVED"], Literal["ENV_SHARED"], Literal["CHECKPOINT_MISSING"], Literal["FORBIDDEN"], Literal["ENGINE_MISSING"], Literal["ENGINE_TAMPERED"], Literal["IMAGE_MISSING"], Literal["KEY_MISSING"], Literal["CREDENTIAL_EXPIRED"], Literal["PATH_UNUSABLE"], Literal["LAYER_MISSING"], Literal["HOME_UNSAFE"], Literal["STORE_UNUSABLE"], Literal["DAEMON_MISSING"], Literal["UNAUTHORIZED"], Literal["EGRESS_DENIED"], Literal["BUDGET_EXCEEDED"], Literal["PRICE_UNKNOWN"], Literal["PROVIDER_DOWN"], Literal["PROVIDER_LIMITED"], Literal["PROVIDER_ERROR"], Literal["STREAM_CUT"], Literal["TIMEOUT"], Literal["CANCELLED"], Literal["TURN_LIMIT"], Literal["HOOK_FAILED"], Literal["ENGINE_FAILED"], Literal["OUTPUT_LIMIT"], Literal["MEMORY_LIMIT"], Literal["DISK_LIMIT"], Literal["RESULT_TOO_LARGE"], Literal["OUTPUT_INVALID"], Literal["POISONED"], Literal["SANDBOX_FAILED"], Literal["HOST_LOST"], Literal["REPLAY_DIFFERS"], Literal["TAPE_INVALID"], Literal["UNKNOWN_TOOL"], Literal["VALIDATION_FAILED"], Literal["QUOTA_EXCEEDED"], Literal["RATE_LIMITED"], Literal["CONFIRMATION_TIMEOUT"], Literal["CONFIRMATION_DENIED"], Literal["PLUGIN_TIMEOUT"], Literal["PLUGIN_UNAVAILABLE"], Literal["PLUGIN_ERROR"], Literal["HANDLER_ERROR"], Literal["PLUGIN_INVALID"], Literal["SKILL_INVALID"], Literal["SKILL_CHANGED"], Literal["AUDIT_BROKEN"], Literal["BUSY"], Literal["INTERNAL"]]
# Code: A stable, documented error code. The same on the command line, in HTTP answers and in events.

CommentForm = TypedDict(
    "CommentForm",
    {
        # The line in it, from 1.
        "line": "NotRequired[Union[int, None]]",
        # The file; the whole when left out.
        "path": "NotRequired[Union[str, None]]",
        # What is said.
        "text": "NotRequired[str]",
    },
)
# CommentForm: A comment to make.

CommentView = TypedDict(
    "CommentView",
    {
        # When it was made.
        "created": "'Timestamp'",
        # The line in it.
        "line": "NotRequired[Union[int, None]]",
        # Its number, from 1.
        "n": "int",
        # The file; `None` for the whole.
        "path": "NotRequired[Union[str, None]]",
        # What is said.
        "text": "str",
        # The turn that it was sent with.
        "turn": "NotRequired[Union['TurnId', None]]",
    },
)
# CommentView: A comment on an agent's work.

CommitView = TypedDict(
    "CommitView",
    {
        # Who wrote it.
        "author": "str",
        # Its name.
        "id": "str",
        # Its first line.
        "subject": "str",
        # When, in milliseconds since 1970.
        "time": "'Timestamp'",
    },
)
# CommitView: One commit of a branch.

ConfigForm = TypedDict(
    "ConfigForm",
    {
        # The text: at most 100,000 characters.
        "content": "NotRequired[str]",
        # For people; as it was when left out.
        "description": "NotRequired[Union[str, None]]",
        # Its name; needed for a new one only.
        "name": "NotRequired[Union[str, None]]",
        # The version that it replaces: with another one there, nothing changes. Any when left out.
        "version": "NotRequired[Union[int, None]]",
    },
)
# ConfigForm: A text to keep.

ConfigKind = Union[Literal["profile"], Literal["engine"], Literal["template"], Literal["hook"]]
# ConfigKind: What kind of configuration a text is.

ConfigReset = TypedDict(
    "ConfigReset",
    {
        # What goes back.
        "name": "str",
        # To which version; what the program ships with when left out.
        "version": "NotRequired[Union[int, None]]",
    },
)
# ConfigReset: What to go back to.

ConfigVersion = TypedDict(
    "ConfigVersion",
    {
        # The version; the present one when left out.
        "version": "NotRequired[Union[int, None]]",
    },
)
# ConfigVersion: Which version.

ConfigView = TypedDict(
    "ConfigView",
    {
        # The text.
        "content": "NotRequired[Union[str, None]]",
        # When its first version was made; 0 for what the program ships with.
        "created": "'Timestamp'",
        # For people.
        "description": "str",
        # Its name.
        "name": "str",
        # Whether this version says that it was removed.
        "removed": "NotRequired[bool]",
        # Whether it is as the program ships it.
        "shipped": "bool",
        # What it is.
        "type": "'ConfigKind'",
        # When this version was made.
        "updated": "'Timestamp'",
        # Its version; a change is a new one.
        "version": "int",
        # What of the text is passed over.
        "warnings": "NotRequired[List[str]]",
    },
)
# ConfigView: A profile, engine, template or hook. Lists leave out `content`.

Container = TypedDict(
    "Container",
    {
        "coreMemory": "str",
        "core_memory": "str",
        "createdAt": "str",
        "created_at": "str",
        "displayName": "str",
        "display_name": "str",
        # Chats in it that are not archived.
        "sessions": "int",
        "slug": "str",
    },
)
# Container: A container as it is shown, each name in both ways of writing.

ContainerFileDone = TypedDict(
    "ContainerFileDone",
    {
        "message": "str",
        "path": "str",
        "success": "bool",
    },
)
# ContainerFileDone: What became of one file.

ContainerFileInto = TypedDict(
    "ContainerFileInto",
    {
        # Relative to the container's home; that itself when left out.
        "path": "NotRequired[str]",
    },
)
# ContainerFileInto: Where uploads go.

ContainerFileQuery = TypedDict(
    "ContainerFileQuery",
    {
        # Also those whose names begin with a dot.
        "include_hidden": "NotRequired[bool]",
        # Relative to the container's home; that itself when left out.
        "path": "NotRequired[str]",
    },
)
# ContainerFileQuery: Which directory.

ContainerForm = TypedDict(
    "ContainerForm",
    {
        # For people; also `display_name`.
        "name": "str",
        # The chat whose files it gets; also `sessionId`.
        "session_id": "NotRequired[Union[str, None]]",
        # Part of its address; made of the name when left out.
        "slug": "NotRequired[Union[str, None]]",
    },
)
# ContainerForm: A container to make.

ContainerPatch = TypedDict(
    "ContainerPatch",
    {
        # In the instructions of each of its chats, at most 4000 characters; also `coreMemory`.
        "core_memory": "NotRequired[Union[str, None]]",
        # For people; also `displayName`.
        "display_name": "NotRequired[Union[str, None]]",
    },
)
# ContainerPatch: What changes.

ContainerRemoval = TypedDict(
    "ContainerRemoval",
    {
        # Cancel what works in it, instead of being refused.
        "force": "NotRequired[bool]",
    },
)
# ContainerRemoval: How to delete.

CredentialView = TypedDict(
    "CredentialView",
    {
        # What it is.
        "description": "str",
        # Its name in the manifest.
        "key": "str",
        # Whether the plugin is of no use without it.
        "required": "bool",
        # The secret that holds it.
        "secret": "str",
        # Whether it is set.
        "set": "bool",
    },
)
# CredentialView: A credential of a plugin, without its value.

Decision = Union[Literal["approve"], Literal["deny"]]
# Decision: Yes or no.

DecisionForm = TypedDict(
    "DecisionForm",
    {
        # Yes or no.
        "decision": "'Decision'",
        # The hash of what was seen.
        "hash": "str",
        # A word for the agent, at most 1,000 characters.
        "note": "NotRequired[Union[str, None]]",
    },
)
# DecisionForm: A person's answer.

DestinationForm = TypedDict(
    "DestinationForm",
    {
        # The agent.
        "agent": "str",
        # The chat: its identity, or `CHANNEL/ID`.
        "chat": "NotRequired[Union[str, None]]",
        # Its name for it.
        "name": "str",
        # Another agent instead.
        "target": "NotRequired[Union[str, None]]",
        # The platform's id of a thread in it.
        "thread": "NotRequired[Union[str, None]]",
    },
)
# DestinationForm: Lets an agent send somewhere.

DestinationQuery = TypedDict(
    "DestinationQuery",
    {
        # Its name.
        "agent": "str",
    },
)
# DestinationQuery: Of which agent.

DestinationView = TypedDict(
    "DestinationView",
    {
        # The agent.
        "agent": "str",
        # The chat.
        "chat": "NotRequired[Union['ChatId', None]]",
        # Its name for it.
        "name": "str",
        # Another agent.
        "target": "NotRequired[Union[str, None]]",
        # A thread in it.
        "thread": "NotRequired[Union[str, None]]",
    },
)
# DestinationView: Where an agent may send to.

DiffQuery = TypedDict(
    "DiffQuery",
    {
        # The turn; the one whose end is the present state when left out.
        "turn": "NotRequired[Union[int, None]]",
    },
)
# DiffQuery: Which turn.

Duration = TypedDict(
    "Duration",
    {
        "nanos": "int",
        "secs": "int",
    },
)

EgressRule = str
# EgressRule: One allowed target. The host is canonical: lower case, no trailing dot, ASCII (punycode for other scripts).

Engage = Union[Literal["pattern"], Literal["mention"], Literal["sticky"]]
# Engage: When a wiring engages.

EngineStatus = TypedDict(
    "EngineStatus",
    {
        # Whether a file describes it: its program is looked for inside when it is asked, and nobody installed or compared it.
        "described": "NotRequired[bool]",
        # The size of the installation in bytes.
        "disk_bytes": "int",
        # Whether it can be used.
        "installed": "bool",
        # The engine.
        "name": "str",
        # Whether the installed files were just compared with their pinned hash, and are the same.
        "verified": "NotRequired[Union[bool, None]]",
        # The pinned version; `None` for what is built in.
        "version": "NotRequired[Union[str, None]]",
    },
)
# EngineStatus: An engine and its installation.

EnvForm = TypedDict(
    "EnvForm",
    {
        # Host directories that each of its sessions sees.
        "mounts": "NotRequired[List['MountForm']]",
        # For people.
        "name": "NotRequired[str]",
        # The session whose files it gets; an empty one without.
        "session_id": "NotRequired[Union[str, None]]",
        # Part of its address; made of the name when left out.
        "slug": "NotRequired[Union[str, None]]",
    },
)
# EnvForm: An env to make.

EnvPatch = TypedDict(
    "EnvPatch",
    {
        # In the instructions of each of its sessions; at most [`CORE_MEMORY_CHARS_MAX`] characters.
        "core_memory": "NotRequired[Union[str, None]]",
        # Host directories that each of its sessions sees from its next sandbox on.
        "mounts": "NotRequired[Union[List['MountForm'], None]]",
        # For people.
        "name": "NotRequired[Union[str, None]]",
    },
)
# EnvPatch: What changes in an env.

EnvQuery = TypedDict(
    "EnvQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Entries in a page; 50 when left out, at most 200.
        "limit": "NotRequired[Union[int, None]]",
    },
)
# EnvQuery: Which page.

EnvRemoval = TypedDict(
    "EnvRemoval",
    {
        # Cancel what works in it, instead of being refused.
        "force": "NotRequired[bool]",
    },
)
# EnvRemoval: How to delete.

EnvView = TypedDict(
    "EnvView",
    {
        # Bytes on the disk, where that is counted.
        "bytes": "NotRequired[Union[int, None]]",
        # In the instructions of each of its sessions.
        "core_memory": "str",
        # When it was made.
        "created": "'Timestamp'",
        # Host directories.
        "mounts": "List['MountForm']",
        # For people.
        "name": "str",
        # Sessions in it that are not archived.
        "sessions": "int",
        # Part of its address.
        "slug": "str",
        # When it was last changed.
        "updated": "'Timestamp'",
    },
)
# EnvView: An env as it is shown.

Event = TypedDict(
    "Event",
    {
        # Dense, from 1, per session.
        "seq": "int",
        # Whose log this is.
        "session": "'SessionId'",
        # When the host committed it.
        "time": "'Timestamp'",
        # The turn that it belongs to.
        "turn": "'TurnId'",
        # The engine's name.
        "engine": "NotRequired[str]",
        # What holds in the sandbox.
        "level": "NotRequired['Level']",
        "model": "NotRequired[str]",
        # The provider that answers; `rehearsal` means a script, not a model.
        "provider": "NotRequired[str]",
        "type": "Union[Literal['start'], Literal['text'], Literal['thinking'], Literal['tool_call'], Literal['tool_result'], Literal['question'], Literal['approval'], Literal['notice'], Literal['usage'], Literal['error'], Literal['result']]",
        "text": "NotRequired[str]",
        "id": "NotRequired[Union[str, 'QuestionId']]",
        # Its arguments.
        "input": "NotRequired[Any]",
        # The tool.
        "name": "NotRequired[str]",
        # Whether the tool failed.
        "is_error": "NotRequired[bool]",
        # What came back, cut to a limit of the engine's parser.
        "output": "NotRequired[str]",
        # Answers that are offered; empty for any text.
        "options": "NotRequired[List[str]]",
        # `pending`, `approved`, `denied`, `expired` or `cancelled`.
        "status": "NotRequired[str]",
        # What would be called.
        "tool": "NotRequired[str]",
        # What it cost, in US dollars.
        "cost_usd": "NotRequired[float]",
        # The tokens of this call.
        "usage": "NotRequired['Usage']",
        # The stable code.
        "code": "NotRequired['Code']",
        # For people.
        "message": "NotRequired[str]",
        # Whether the engine or the host tries again.
        "retriable": "NotRequired[bool]",
    },
)
# Event: One entry of a session's log.

EventQuery = TypedDict(
    "EventQuery",
    {
        # Those after this sequence number. The header `Last-Event-ID` of a client that connects again goes before it.
        "after": "NotRequired[int]",
        # Cancel the session's work if this connection ends before its result.
        "attach": "NotRequired[bool]",
        # Events in a page, at most 1000. A stream has no end.
        "limit": "NotRequired[int]",
    },
)
# EventQuery: Which events.

ExposeForm = TypedDict(
    "ExposeForm",
    {
        # The one agent that gets it.
        "agent": "str",
        # The secret, and the variable that holds its value inside.
        "name": "str",
    },
)
# ExposeForm: A secret to expose.

ExposedView = TypedDict(
    "ExposedView",
    {
        # The agent.
        "agent": "str",
        # The secret.
        "name": "str",
    },
)
# ExposedView: A secret that one agent holds.

Failure = TypedDict(
    "Failure",
    {
        # The stable code.
        "code": "'Code'",
        # The field or argument that is meant.
        "field": "NotRequired[Union[str, None]]",
        # What to do about it.
        "hint": "NotRequired[Union[str, None]]",
        # What is wrong and where, for a person. No secret, no host path that the user did not give.
        "message": "str",
    },
)
# Failure: A failure as a user sees it: what is wrong, and what to do.

FileChange = TypedDict(
    "FileChange",
    {
        # Lines that come; `None` where there are no lines.
        "added": "NotRequired[Union[int, None]]",
        # `added`, `removed`, `changed`, `moved`, `copied` or `type`.
        "change": "str",
        # What a reader would not see, or should look at twice: `bidi`, `invisible`, `binary`, `generated`, `mode`, `symlink`, `submodule`, `attributes`, `hooks`, `ci`, `long lines`, `whitespace`.
        "flags": "List[str]",
        # The path before, where it was moved.
        "from": "NotRequired[Union[str, None]]",
        # Its path in the repository; bytes that are no text as `\xNN`.
        "path": "str",
        # Lines that go.
        "removed": "NotRequired[Union[int, None]]",
    },
)
# FileChange: One file that a branch changes.

FileEntry = TypedDict(
    "FileEntry",
    {
        # Permission bits.
        "mode": "int",
        # When it was last changed, in milliseconds since 1970.
        "mtime_ms": "int",
        # Its name; with `raw` when that is not UTF-8.
        "name": "str",
        # The bytes of a name that is not UTF-8, in hexadecimal digits.
        "raw": "NotRequired[Union[str, None]]",
        # Bytes.
        "size": "int",
        # `file`, `dir`, `link` or `other`.
        "type": "str",
    },
)
# FileEntry: One entry of a directory.

FilePlace = TypedDict(
    "FilePlace",
    {
        # Relative to /home/sandbox, without `.` and `..`.
        "path": "str",
    },
)
# FilePlace: Which file or directory.

FileQuery = TypedDict(
    "FileQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # `1` for the bytes of a file instead of the entries of a directory.
        "download": "NotRequired[int]",
        # Entries in a page; 200 when left out, at most 1000.
        "limit": "NotRequired[Union[int, None]]",
        # Relative to /home/sandbox; that directory itself when left out.
        "path": "NotRequired[str]",
    },
)
# FileQuery: What is looked at.

FileWritten = TypedDict(
    "FileWritten",
    {
        # Where.
        "path": "str",
    },
)
# FileWritten: What was written.

ForkForm = TypedDict(
    "ForkForm",
    {
        # The turn at whose end the new sessions begin; the last when left out.
        "at": "NotRequired[Union[int, None]]",
        # How many.
        "n": "NotRequired[int]",
        # What to ask each of them at once.
        "text": "NotRequired[Union[str, None]]",
    },
)
# ForkForm: How to fork.

HandleForm = TypedDict(
    "HandleForm",
    {
        # The account that verifies it.
        "channel": "str",
        # The network's id of them.
        "handle": "str",
        # For showing only.
        "name": "NotRequired[str]",
        # Whose it is.
        "user": "'UserId'",
    },
)
# HandleForm: Links a handle to a person.

HandleView = TypedDict(
    "HandleView",
    {
        # The account that verifies it.
        "channel": "str",
        # Whether a direct chat with them is known.
        "dm": "bool",
        # The network's id of them.
        "handle": "str",
        # For showing only.
        "name": "str",
        # Whose it is.
        "user": "'UserId'",
    },
)
# HandleView: A handle.

HealthView = TypedDict(
    "HealthView",
    {
        # What was looked at.
        "checks": "List['Check']",
        # `ok` or `degraded`.
        "status": "str",
    },
)
# HealthView: Whether the daemon is well, as everybody may know it.

HeardQuery = TypedDict(
    "HeardQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Those of this account.
        "channel": "NotRequired[Union[str, None]]",
        # How many; 50 when left out.
        "limit": "NotRequired[Union[int, None]]",
        # `turn`, `kept`, `held`, `dropped`, `command`, `answer` or `paired`.
        "outcome": "NotRequired[Union[str, None]]",
    },
)
# HeardQuery: Which messages are listed.

HeardView = TypedDict(
    "HeardView",
    {
        # The account.
        "channel": "str",
        # The platform's id of the chat.
        "chat": "str",
        # What would let it through.
        "fix": "NotRequired[Union[str, None]]",
        # The gate that stopped it.
        "gate": "NotRequired[Union[str, None]]",
        # When it was heard.
        "heard": "'Timestamp'",
        # Its identity.
        "id": "'InboundId'",
        # What kind of thing happened.
        "kind": "str",
        # What became of it.
        "outcome": "str",
        # Why.
        "reason": "NotRequired[Union[str, None]]",
        # The sender's handle.
        "sender": "str",
        # What they call themselves.
        "sender_name": "str",
    },
)
# HeardView: Something that was heard.

Ignored = Union[Literal["drop"], Literal["accumulate"]]
# Ignored: What becomes of messages that do not engage.

ImageRef = Dict[str, Any]
# ImageRef: A root file system by name.

InboundId = str
# InboundId: Something that was said on a chat network.

InjectForm = TypedDict(
    "InjectForm",
    {
        # The text.
        "text": "str",
    },
)
# InjectForm: What to ask at once.

JobEventQuery = TypedDict(
    "JobEventQuery",
    {
        # Those after this sequence number, or after `SESSION:NUMBER`, the form of the ids in a stream: each try has a session of its own. The header `Last-Event-ID` of a client that connects again goes before it.
        "after": "NotRequired[str]",
        # Events in a page, at most 1000. A stream has no end but the job's.
        "limit": "NotRequired[int]",
    },
)
# JobEventQuery: Which events.

JobFile = TypedDict(
    "JobFile",
    {
        # Its bytes, in base64.
        "data": "str",
        # Where, below the working directory.
        "path": "str",
    },
)
# JobFile: A file that comes with a job: a relative path below the working directory.

JobForm = TypedDict(
    "JobForm",
    {
        # The agent whose policy and tools it has; `default` when left out.
        "agent": "NotRequired[Union[str, None]]",
        # Who asks, in the caller's own words: 1 to 64 letters, digits, `_` and `-`. The job's identity begins with it.
        "agent_id": "NotRequired[str]",
        # The engine's own tools that it may use; the profile's when left out.
        "allowed_tools": "NotRequired[Union[List[str], None]]",
        # Files of the working directory that are kept: globs.
        "artifacts": "NotRequired[List[str]]",
        # Variables of the profile's instructions.
        "claude_md_vars": "NotRequired[Dict[str, Any]]",
        # Seconds before which it does not begin.
        "delay_s": "NotRequired[Union[int, None]]",
        # Whether everything is done but the work itself: the result is the command line.
        "dry_run": "NotRequired[bool]",
        # Hosts that may be reached.
        "egress": "NotRequired[List['EgressRule']]",
        # The engine; the profile's, else the configured one when left out.
        "engine": "NotRequired[Union[str, None]]",
        # The env that it works in; a private tree when left out.
        "env": "NotRequired[Union[str, None]]",
        # Files that are put into the working directory first.
        "files": "NotRequired[List['JobFile']]",
        # The user's own words, for finding it again.
        "labels": "NotRequired[Dict[str, str]]",
        # What its sandbox may use; the profile's, else the configured limits when left out.
        "limits": "NotRequired[Union['Limits', None]]",
        # The most that it may cost, in US dollars: above 0, at most 50.
        "max_budget_usd": "NotRequired[Union[float, None]]",
        # Rounds with the model: 1 to 100.
        "max_turns": "NotRequired[Union[int, None]]",
        # MCP servers that the engine starts inside, in the engine's own form.
        "mcp_config": "NotRequired[Any]",
        # The model.
        "model": "NotRequired[Union[str, None]]",
        # The form of the result; the profile's, else `json` when left out.
        "output_format": "NotRequired[Union['OutputFormat', None]]",
        # A JSON Schema that the result must fit; one that does not gets one more turn to be mended.
        "output_schema": "NotRequired[Any]",
        # Plugins whose tools it may use, besides the profile's.
        "plugins": "NotRequired[List[str]]",
        # From 0 to 9; a higher one goes first. 5 when left out.
        "priority": "NotRequired[Union[int, None]]",
        # The profile; `default` when left out.
        "profile": "NotRequired[Union[str, None]]",
        # What is asked; the profile's own prompt when left out.
        "prompt": "NotRequired[Union[str, None]]",
        # Variables of the profile's prompt.
        "prompt_vars": "NotRequired[Dict[str, Any]]",
        # The branch, tag or commit of `repo`.
        "ref": "NotRequired[Union[str, None]]",
        # A repository that is cloned into the working directory: an address that egress allows, or a listed path.
        "repo": "NotRequired[Union[str, None]]",
        # How often it is tried again when it fails through no fault of its own: 0 to 10.
        "retries": "NotRequired[Union[int, None]]",
        # What the engine is told before everything else: at most 500,000 characters.
        "system_prompt": "NotRequired[Union[str, None]]",
        # Seconds after which it fails; the profile's, else the configured limit when left out.
        "timeout_s": "NotRequired[Union[int, None]]",
        # Variables for the engine.
        "variables": "NotRequired[Dict[str, str]]",
        # What webhooks of this job are signed with; the tenant's when left out.
        "webhook_secret": "NotRequired[Union[str, None]]",
        # Where the end is told: http or https, at most 2,048 characters.
        "webhook_url": "NotRequired[Union[str, None]]",
    },
)
# JobForm: A job to run. Only `agent_id` and either `prompt` or a profile with a prompt of its own are needed.

JobLogQuery = TypedDict(
    "JobLogQuery",
    {
        # Whether to go on with what comes.
        "follow": "NotRequired[bool]",
    },
)
# JobLogQuery: How much of the log.

JobPatience = TypedDict(
    "JobPatience",
    {
        # Seconds, at most 7,200; 0 answers at once.
        "timeout_s": "NotRequired[int]",
    },
)
# JobPatience: How long somebody waits.

JobQuery = TypedDict(
    "JobQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Those of this `agent_id`.
        "agent_id": "NotRequired[Union[str, None]]",
        # Those with this engine.
        "engine": "NotRequired[Union[str, None]]",
        # Those accepted at or after this time, in milliseconds since 1970.
        "from": "NotRequired[Union[int, None]]",
        # Those with this label: `KEY=VALUE`.
        "label": "NotRequired[Union[str, None]]",
        # Entries in a page: 1 to 200; 50 when left out.
        "limit": "NotRequired[Union[int, None]]",
        # Those with this profile.
        "profile": "NotRequired[Union[str, None]]",
        # Those that stand so.
        "status": "NotRequired[Union['JobState', None]]",
        # Those accepted before this time, in milliseconds since 1970.
        "to": "NotRequired[Union[int, None]]",
    },
)
# JobQuery: Which jobs to list, the youngest first.

JobRemoved = TypedDict(
    "JobRemoved",
    {
        # Its identity.
        "id": "str",
        # Whether it is forgotten; one that was not over was cancelled instead.
        "removed": "bool",
        # Where it stood, or now stands.
        "status": "'JobState'",
    },
)
# JobRemoved: What became of a job that was to be deleted.

JobState = Union[Literal["queued"], Literal["running"], Literal["waiting"], Literal["completed"], Literal["failed"], Literal["cancelled"]]
# JobState: Where a job stands.

JobView = TypedDict(
    "JobView",
    {
        # Who asked.
        "agent_id": "str",
        # Files that it left: names below the working directory and their bytes.
        "artifacts": "List['Artifact']",
        # The error's code.
        "code": "NotRequired[Union[str, None]]",
        # What it cost, in US dollars.
        "cost_usd": "float",
        # When it was accepted.
        "created": "'Timestamp'",
        # The engine; the configured one while empty.
        "engine": "str",
        # Why it failed, at most 500 characters.
        "error": "NotRequired[Union[str, None]]",
        # 0 when it ended well, 1 when it failed, 130 when it was stopped.
        "exit_code": "NotRequired[Union[int, None]]",
        # When it ended.
        "finished": "NotRequired[Union['Timestamp', None]]",
        # Its identity: the `agent_id`, a hyphen and 12 hex digits.
        "id": "str",
        # The user's own words.
        "labels": "Dict[str, str]",
        # The model; empty for the engine's own choice.
        "model": "str",
        # The result in the form that was asked for, where that is neither text nor JSON.
        "output": "NotRequired[Union[str, None]]",
        # Among jobs that wait, a higher one goes first.
        "priority": "int",
        # The profile.
        "profile": "str",
        # The final text, or the JSON value that it is.
        "result": "NotRequired[Any]",
        # Its session, once it has begun.
        "session": "NotRequired[Union['SessionId', None]]",
        # When its engine first started.
        "started": "NotRequired[Union['Timestamp', None]]",
        # Where it stands.
        "status": "'JobState'",
        # The final text.
        "text": "NotRequired[Union[str, None]]",
        # How often it was begun.
        "tries": "int",
        # Its turn, once it has begun.
        "turn": "NotRequired[Union['TurnId', None]]",
        # The tokens.
        "usage": "'Usage'",
    },
)
# JobView: A job as it is shown. Lists leave out `prompt`, `result`, `text` and `output`.

JobsProblem = TypedDict(
    "JobsProblem",
    {
        "code": "str",
        "detail": "NotRequired[str]",
        "error": "NotRequired[str]",
    },
)
# JobsProblem: What was sent wrongly is an `error`, all else a `detail`.

KeylessForm = TypedDict(
    "KeylessForm",
    {
        # Where it answers as OpenAI does: with its scheme, its port and, as a rule, `/v1`.
        "base_url": "str",
    },
)
# KeylessForm: A server of models that needs no key: on this machine, or near it.

Level = TypedDict(
    "Level",
    {
        # The layers, always in the same order.
        "lines": "List['LevelLine']",
        # `root` or `rootless`.
        "mode": "str",
    },
)
# Level: What really holds in one sandbox, layer by layer.

LevelLine = TypedDict(
    "LevelLine",
    {
        # Whether it is in force.
        "holds": "bool",
        # How it is enforced, or why it is not and what would give it.
        "how": "str",
        # The layer, for example `seccomp` or `memory`.
        "name": "str",
    },
)
# LevelLine: One layer or limit of a sandbox and whether it holds.

Limits = TypedDict(
    "Limits",
    {
        # Processors, in thousandths.
        "cpu_millis": "int",
        # Bytes written to /workspace, /home and the rest of the writable layer.
        "disk_bytes": "int",
        # Bytes of memory that everything but the guest may use together.
        "memory_bytes": "int",
        # Processes and threads.
        "pids": "int",
        # Wall-clock time of one turn or command.
        "time": "'Duration'",
    },
)
# Limits: The limits of one sandbox. [`Limits::default`] is what `run` uses when nothing is said.

Login = TypedDict(
    "Login",
    {
        # What stands behind the `#` of the link.
        "code": "str",
        # The secret of the page, where the code comes from an issuer of logins.
        "verifier": "NotRequired[Union[str, None]]",
    },
)
# Login: A way in.

LoginFlow = Union[Literal["device"], Literal["loopback"]]
# LoginFlow: The way in which the owner logs in.

LoginForm = TypedDict(
    "LoginForm",
    {
        # The agent that the tokens are for alone; everybody when left out.
        "agent": "NotRequired[Union[str, None]]",
        # What the service calls an application of the owner's own, instead of the one in the manifest. It stays with the login.
        "client_id": "NotRequired[Union[str, None]]",
        # The secret of that application, where the service gave one.
        "client_secret": "NotRequired[Union['ClientSecret', None]]",
        # How.
        "flow": "'LoginFlow'",
        # Where the browser comes back to: a loopback address with a port; for the loopback way.
        "redirect": "NotRequired[Union[str, None]]",
    },
)
# LoginForm: A login to begin.

LoginState = TypedDict(
    "LoginState",
    {
        # Whether the tokens are stored.
        "done": "bool",
        # Seconds until it makes sense to ask again.
        "interval_s": "int",
        # The secret that holds the access token, when done.
        "secret": "NotRequired[Union[str, None]]",
    },
)
# LoginState: How a login stands.

LoginStep = TypedDict(
    "LoginStep",
    {
        # The code.
        "code": "NotRequired[Union[str, None]]",
        # The state.
        "state": "NotRequired[Union[str, None]]",
    },
)
# LoginStep: What came back with the browser; nothing for the device way.

LoginTokens = TypedDict(
    "LoginTokens",
    {
        # The agent that it is for alone.
        "agent": "NotRequired[Union[str, None]]",
        # The owner's own application, where it is not the manifest's.
        "client_id": "NotRequired[Union[str, None]]",
        # When the access token ends.
        "expires": "'Timestamp'",
        # The credential.
        "key": "str",
        # The plugin.
        "plugin": "str",
        # Whether it can be renewed without the owner.
        "renewable": "bool",
        # Why it is not renewed any more; the owner must log in again.
        "trouble": "NotRequired[Union[str, None]]",
    },
)
# LoginTokens: What is known of a token that was got by a login.

LoginView = TypedDict(
    "LoginView",
    {
        # The login, for [`LoginsOf::go_on`].
        "id": "str",
        # Seconds between two questions whether it is done.
        "interval_s": "int",
        # The page to open.
        "url": "str",
        # The code to type there; for the device way.
        "user_code": "NotRequired[Union[str, None]]",
    },
)
# LoginView: What the owner has to do.

MemberForm = TypedDict(
    "MemberForm",
    {
        # The address under which the issuer of logins knows them.
        "email": "str",
        # What they are.
        "role": "'Role'",
        # The tenant; that of the token when left out.
        "tenant": "NotRequired[Union[str, None]]",
    },
)
# MemberForm: A person who is to be in a tenant.

MemberView = TypedDict(
    "MemberView",
    {
        # Whether a rule of the configuration made them so; then a login may change it.
        "by_rule": "bool",
        # Their address.
        "email": "str",
        # Their identity.
        "id": "'UserId'",
        # What they are called.
        "name": "str",
        # What they are.
        "role": "'Role'",
        # When they last logged in.
        "seen": "NotRequired[Union['Timestamp', None]]",
        # The tenant.
        "tenant": "str",
    },
)
# MemberView: A person in a tenant.

MemoryAuthor = Union[Literal["agent"], Literal["owner"]]
# MemoryAuthor: Who wrote an entry.

MemoryForm = TypedDict(
    "MemoryForm",
    {
        # Whose memory; `default` when left out.
        "agent": "NotRequired[str]",
        # The text, at most 2,000 characters.
        "content": "str",
        # The entry whose place it takes.
        "supersedes": "NotRequired[Union['MemoryId', None]]",
        # At most 10 of at most 50 characters.
        "tags": "NotRequired[List[str]]",
        # What it says.
        "type": "'MemoryKind'",
    },
)
# MemoryForm: A memory that a person writes. It is confirmed with it.

MemoryId = str
# MemoryId: Something that an agent remembers.

MemoryKind = Union[Literal["preference"], Literal["instruction"], Literal["correction"], Literal["fact"], Literal["context"]]
# MemoryKind: What an entry says.

MemoryPurge = TypedDict(
    "MemoryPurge",
    {
        # Whose memory.
        "agent": "str",
        # Everything. Otherwise only what the agent does not find any more.
        "all": "NotRequired[bool]",
    },
)
# MemoryPurge: What is to go.

MemoryQueryForm = TypedDict(
    "MemoryQueryForm",
    {
        # Goes on behind this one; not with a query.
        "after": "NotRequired[Union['MemoryId', None]]",
        # Of this agent only.
        "agent": "NotRequired[Union[str, None]]",
        # How many.
        "limit": "NotRequired[Union[int, None]]",
        # Any text: the best answers first. Asks one agent, `default` when left out, for what it finds.
        "query": "NotRequired[Union[str, None]]",
        # In this state only; every state when left out, but with a query what is live.
        "state": "NotRequired[Union['MemoryState', None]]",
        # Those with all of these tags, parted by commas.
        "tags": "NotRequired[Union[str, None]]",
        # Of this kind only.
        "type": "NotRequired[Union['MemoryKind', None]]",
        # Only those that wait for a person.
        "waiting": "NotRequired[bool]",
    },
)
# MemoryQueryForm: Which memories are shown.

MemoryState = Union[Literal["live"], Literal["superseded"], Literal["deleted"], Literal["withdrawn"]]
# MemoryState: Where an entry stands.

MemoryView = TypedDict(
    "MemoryView",
    {
        # The agent.
        "agent": "str",
        # Whether it could change what the agent does.
        "behavioural": "bool",
        # Who wrote it.
        "by": "'MemoryAuthor'",
        # The channel that the turn came from.
        "channel": "NotRequired[Union[str, None]]",
        # When a person confirmed it.
        "confirmed": "NotRequired[Union['Timestamp', None]]",
        # The text.
        "content": "str",
        # When it was written.
        "created": "'Timestamp'",
        # The agent's group then.
        "group": "NotRequired[Union[str, None]]",
        # Its identity.
        "id": "'MemoryId'",
        # How well it fits the question, from 0 to 1; null without one.
        "relevance": "NotRequired[Union[float, None]]",
        # The session that wrote it.
        "session": "NotRequired[Union['SessionId', None]]",
        # Where it stands.
        "state": "'MemoryState'",
        # When another one took its place.
        "superseded": "NotRequired[Union['Timestamp', None]]",
        # The entry whose place it took.
        "supersedes": "NotRequired[Union['MemoryId', None]]",
        # Its tags.
        "tags": "List[str]",
        # The tenant.
        "tenant": "str",
        # The turn that wrote it.
        "turn": "NotRequired[Union['TurnId', None]]",
        # What it says.
        "type": "'MemoryKind'",
        # Whether it could change what the agent does and nobody has confirmed it: no other session sees its text.
        "waiting": "bool",
    },
)
# MemoryView: A memory as people see it.

MergeForm = TypedDict(
    "MergeForm",
    {
        # Only say what would come of it.
        "dry_run": "NotRequired[bool]",
        # The commit that was looked at: refused when the branch has come further since. Of an agent of several repositories it is that of the first one, and `,NAME=COMMIT` behind it for each of the others holds these too.
        "expect": "NotRequired[Union[str, None]]",
        # Into this branch; the one that the agent's was taken from when left out.
        "into": "NotRequired[Union[str, None]]",
    },
)
# MergeForm: A merge to make.

MergeInRepo = TypedDict(
    "MergeInRepo",
    {
        # The commit that the target is at.
        "commit": "NotRequired[Union[str, None]]",
        # Files that conflict.
        "conflicts": "List[str]",
        # Into which branch.
        "into": "str",
        # What it is called.
        "name": "str",
        # `merged`, `current`, `ready` or `conflict`.
        "result": "str",
        # How much comes in.
        "size": "NotRequired[Union['ChangeSize', None]]",
    },
)
# MergeInRepo: What came of a merge in a repository beside the first one, or would.

MergeQueueId = str
# MergeQueueId: Branches that are merged one after the other.

MergeView = TypedDict(
    "MergeView",
    {
        # The repositories beside the first one, where there are such. The result is that of all together: nothing is merged anywhere while one conflicts.
        "also": "NotRequired[List['MergeInRepo']]",
        # The branch that was merged.
        "branch": "str",
        # The commit that the target is at.
        "commit": "NotRequired[Union[str, None]]",
        # Files that conflict.
        "conflicts": "List[str]",
        # Into which.
        "into": "str",
        # `merged`, `current` when there was nothing to merge, `ready` when only asked, or `conflict`.
        "result": "str",
        # How much comes in.
        "size": "NotRequired[Union['ChangeSize', None]]",
    },
)
# MergeView: What came of a merge, or would.

MessageFile = TypedDict(
    "MessageFile",
    {
        # Its bytes, in base64.
        "data": "str",
        # A plain name.
        "name": "str",
    },
)
# MessageFile: A file that comes with a message: `upload/<name>` of the working directory.

MessageForm = TypedDict(
    "MessageForm",
    {
        # Files that are put into the working directory first.
        "files": "NotRequired[List['MessageFile']]",
        # From 0 to 9; the session's when left out.
        "priority": "NotRequired[Union[int, None]]",
        # What is asked.
        "text": "NotRequired[str]",
    },
)
# MessageForm: A turn to ask.

Misfire = Union[Literal["skip"], Literal["once"], Literal["all"]]
# Misfire: What is done about times that were missed because nobody was there.

ModelsQuery = TypedDict(
    "ModelsQuery",
    {
        # Whether the provider is asked though it was within the last ten minutes.
        "fresh": "NotRequired[bool]",
    },
)
# ModelsQuery: How old what is told may be.

Money = int
# Money: An amount of US dollars in billionths, so that the price of one token is a whole number.

MountForm = TypedDict(
    "MountForm",
    {
        # Whether the owner said so at the command line, whom the configured roots do not bind. Taken over the owner's socket only.
        "by_owner": "NotRequired[bool]",
        # Where it is on the host; absolute.
        "host": "str",
        # What it is called inside.
        "name": "str",
        # Whether nothing inside can write to it.
        "read_only": "NotRequired[bool]",
    },
)
# MountForm: A host directory that is asked for over the API, seen at `/home/sandbox/<name>`.

MountNote = TypedDict(
    "MountNote",
    {
        # Where it was on the host, absolute.
        "host": "str",
        # Whether nothing inside can write to it.
        "read_only": "bool",
        # Where it is inside.
        "target": "str",
    },
)
# MountNote: A mounted host directory, for people and for the next turn's caller.

NetworkField = TypedDict(
    "NetworkField",
    {
        # What the account calls it.
        "key": "str",
        # Whether the account is of no use without it.
        "required": "bool",
        # Whether it is a credential: asked for without echo, never shown again.
        "secret": "bool",
        # What it is.
        "what": "str",
    },
)
# NetworkField: Something that a person gives.

NetworkGuide = TypedDict(
    "NetworkGuide",
    {
        # What to give then.
        "fields": "List['NetworkField']",
        # Where the first message is written.
        "hello": "str",
        # Its name here.
        "network": "str",
        # Whether its platform must reach this machine over HTTPS.
        "reached": "bool",
        # What to do there, in order.
        "steps": "List[str]",
        # What people call it.
        "title": "str",
    },
)
# NetworkGuide: A network.

NotSpawned = TypedDict(
    "NotSpawned",
    {
        # Its branch.
        "branch": "str",
        # Why.
        "code": "'Code'",
        # For people.
        "message": "str",
    },
)
# NotSpawned: One of several agents that could not begin.

Notice = TypedDict(
    "Notice",
    {
        # What it is about: `channel`, `outbox`, `dead`, `login`, `task`, `admission` or `approval`.
        "about": "str",
        # What is so.
        "detail": "str",
        # What to do about it.
        "fix": "str",
    },
)
# Notice: Something to do.

OidcBack = TypedDict(
    "OidcBack",
    {
        # Stands for who logged in.
        "code": "NotRequired[Union[str, None]]",
        # Why nobody did.
        "error": "NotRequired[Union[str, None]]",
        # Names the login.
        "state": "NotRequired[Union[str, None]]",
    },
)
# OidcBack: What an issuer sends back. It may say more than is asked of it.

OidcLogin = TypedDict(
    "OidcLogin",
    {
        # The SHA-256 of a secret that the page keeps, in base64url without padding: the code that comes back works only together with that secret.
        "challenge": "str",
        # The tenant that is wanted; the first that the person is in when left out.
        "tenant": "NotRequired[Union[str, None]]",
    },
)
# OidcLogin: Begins a login.

OutQuery = TypedDict(
    "OutQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Those of this account.
        "channel": "NotRequired[Union[str, None]]",
        # How many; 50 when left out.
        "limit": "NotRequired[Union[int, None]]",
        # `waiting`, `sending`, `sent` or `dead`.
        "state": "NotRequired[Union[str, None]]",
    },
)
# OutQuery: Which deliveries are listed.

OutView = TypedDict(
    "OutView",
    {
        # What is to be done there.
        "act": "Any",
        # How often it was tried.
        "attempts": "int",
        # The account.
        "channel": "str",
        # The platform's id of the chat.
        "chat": "str",
        # When it became owed.
        "created": "'Timestamp'",
        # Why the last try failed.
        "error": "NotRequired[Union[str, None]]",
        # Its identity.
        "id": "'OutboxId'",
        # The platform's ids of what it became.
        "messages": "List[str]",
        # `waiting`, `sending`, `sent` or `dead`.
        "state": "str",
    },
)
# OutView: A delivery.

OutboxId = str
# OutboxId: One effect that a chat network is owed.

Outcome = Union[Literal["completed"], Literal["failed"], Literal["cancelled"], Literal["timeout"]]
# Outcome: How a turn ended.

OutputFormat = Union[Literal["json"], Literal["text"], Literal["stream-json"]]
# OutputFormat: The form of a result.

Overlap = Union[Literal["skip"], Literal["queue"], Literal["parallel"]]
# Overlap: What is done when a task is due while an earlier run of it is still at work.

PairForm = TypedDict(
    "PairForm",
    {
        # The agent that hears the chat from then on.
        "agent": "NotRequired[Union[str, None]]",
        # The only account that it can be used with.
        "channel": "NotRequired[Union[str, None]]",
        # What the sender becomes: `member` or `admin` of the agent; without one `admin` of the tenant, or `owner`.
        "role": "NotRequired[Union[str, None]]",
        # How long it can be used; 10 minutes when left out, an hour at most.
        "ttl_s": "NotRequired[Union[int, None]]",
        # The person whom the handle is linked to; a new one when left out.
        "user": "NotRequired[Union['UserId', None]]",
    },
)
# PairForm: Makes a code by which somebody proves that a handle or a chat is theirs.

PairingId = str
# PairingId: A code by which somebody proves that a handle or a chat is theirs.

PairingView = TypedDict(
    "PairingView",
    {
        # The agent that hears the chat.
        "agent": "NotRequired[Union[str, None]]",
        # The code, when it was just made.
        "code": "NotRequired[Union[str, None]]",
        # Until when it can be used.
        "expires": "'Timestamp'",
        # Its identity.
        "id": "'PairingId'",
        # What the sender becomes.
        "role": "NotRequired[Union[str, None]]",
        # Who used it: account and handle.
        "used_by": "NotRequired[Union[str, None]]",
    },
)
# PairingView: A code. It is shown once.

Parent = TypedDict(
    "Parent",
    {
        # The session.
        "session": "'SessionId'",
        # The turn at whose end it began.
        "turn": "int",
    },
)
# Parent: Where a fork came from.

PatchQuery = TypedDict(
    "PatchQuery",
    {
        # As the list of changes names it.
        "path": "str",
    },
)
# PatchQuery: Which file.

PlaceState = Union[Literal["waiting"], Literal["resolving"], Literal["passed"], Literal["merged"], Literal["current"], Literal["conflict"], Literal["refused"], Literal["failed"]]
# PlaceState: Where one branch of a merge queue stands.

PluginApproval = TypedDict(
    "PluginApproval",
    {
        # The hash that stands with what waits.
        "hash": "str",
    },
)
# PluginApproval: What is approved.

PluginArchive = TypedDict(
    "PluginArchive",
    {
        # What its files must be: `sha256:` and 64 digits.
        "hash": "NotRequired[Union[str, None]]",
        # Where it came from, for people.
        "source": "NotRequired[Union[str, None]]",
        # Whether one of this name is replaced; else it must not be there.
        "update": "NotRequired[bool]",
    },
)
# PluginArchive: What an archive is.

PluginCall = TypedDict(
    "PluginCall",
    {
        # Its arguments.
        "arguments": "NotRequired[Dict[str, Any]]",
        # The tool.
        "tool": "str",
        # Whether the owner has confirmed the call, if its risk is high; else a person is asked.
        "yes": "NotRequired[bool]",
    },
)
# PluginCall: A call of the owner.

PluginCalled = TypedDict(
    "PluginCalled",
    {
        # Why there is no result: `code`, `message`, `retriable`, and the `stage` that refused.
        "error": "Any",
        # What the tool gave.
        "result": "Any",
    },
)
# PluginCalled: What came of a call: exactly one of the two is not null.

PluginChange = TypedDict(
    "PluginChange",
    {
        # What is there now; null where nothing is.
        "after": "Any",
        # What was approved; null where there was nothing.
        "before": "Any",
        # `process`, `files`, or `tool:NAME`.
        "what": "str",
    },
)
# PluginChange: One definition that changed.

PluginCredential = TypedDict(
    "PluginCredential",
    {
        # The command that stores it.
        "command": "str",
        # What it is.
        "description": "str",
        # What one looks like.
        "format_hint": "NotRequired[Union[str, None]]",
        # Its name.
        "key": "str",
        # Where to get one.
        "obtain_url": "NotRequired[Union[str, None]]",
        # Whether the plugin is of no use without it.
        "required": "bool",
        # Whether it is stored.
        "stored": "bool",
    },
)
# PluginCredential: A secret that a plugin asks for.

PluginDetail = TypedDict(
    "PluginDetail",
    {
        # The plugin.
        "plugin": "'PluginView'",
        # Where it stands with its owner; null for one that ships.
        "record": "NotRequired[Union['PluginRecord', None]]",
    },
)
# PluginDetail: A plugin.

PluginInstall = TypedDict(
    "PluginInstall",
    {
        # What its files must be: `sha256:` and 64 digits.
        "hash": "NotRequired[Union[str, None]]",
        # Its name; the last part of the path when it is missing.
        "name": "NotRequired[Union[str, None]]",
        # The HTTPS address of a repository, with `#BRANCH` behind it where another than its usual one is meant. For an update, where it came from when this is missing.
        "source": "NotRequired[Union[str, None]]",
        # Whether one of this name is replaced; else it must not be there.
        "update": "NotRequired[bool]",
    },
)
# PluginInstall: A plugin to install from a repository.

PluginInstalled = TypedDict(
    "PluginInstalled",
    {
        # Secrets that it asks for.
        "credentials": "List['PluginCredential']",
        # The hash over its files.
        "hash": "str",
        # Hosts that it may reach.
        "hosts": "List[str]",
        # Its name.
        "name": "str",
        # What changed and waits for approval; nothing of the plugin is offered until then.
        "pending": "NotRequired[Union['PluginPending', None]]",
        # Its own version.
        "version": "str",
    },
)
# PluginInstalled: What came of putting a plugin in place.

PluginPending = TypedDict(
    "PluginPending",
    {
        # What is another than it was.
        "changes": "List['PluginChange']",
        # What an approval names: it stands for exactly what was seen.
        "hash": "str",
    },
)
# PluginPending: What waits for the owner.

PluginRecord = TypedDict(
    "PluginRecord",
    {
        # When the owner last approved it.
        "approved": "'Timestamp'",
        # The hash over its files, as they were approved.
        "approved_hash": "str",
        # Whether the owner lets it be used.
        "enabled": "bool",
        # The hash over its files, as they are.
        "hash": "str",
        # When it was put in place.
        "installed": "'Timestamp'",
        # What waits for approval.
        "pending": "NotRequired[Union['PluginPending', None]]",
        # Where it came from: `folder` when the owner put it there by hand.
        "source": "str",
    },
)
# PluginRecord: Where a plugin stands.

PluginRemoval = TypedDict(
    "PluginRemoval",
    {
        # Its secrets too.
        "credentials": "NotRequired[bool]",
    },
)
# PluginRemoval: How much of a plugin is removed.

PluginState = Union[Literal["ready"], Literal["off"], Literal["failed"], Literal["pending"]]
# PluginState: How a plugin stands.

PluginToolView = TypedDict(
    "PluginToolView",
    {
        # What it does.
        "description": "str",
        # The hash of all of this.
        "hash": "str",
        # What agents call it.
        "name": "str",
        # How much harm it can do.
        "risk": "'Risk'",
        # The JSON Schema of its arguments.
        "schema": "Any",
    },
)
# PluginToolView: A tool of a plugin.

PluginView = TypedDict(
    "PluginView",
    {
        # What kind of trouble it has, if any: a plugin that is ready can have trouble that comes and goes.
        "category": "NotRequired[Union['Category', None]]",
        # Its credentials, and whether each is set for the whole install.
        "credentials": "List['CredentialView']",
        # What it is for.
        "description": "str",
        # Hosts that its manifest names.
        "hosts": "List[str]",
        # The end of what its processes said on standard error.
        "last_words": "NotRequired[str]",
        # Tools that are not offered, each with the reason.
        "left_out": "List[List[Any]]",
        # Its name.
        "name": "str",
        # Whether it is part of the program.
        "shipped": "bool",
        # How it stands.
        "state": "'PluginState'",
        # What agents may call, as far as their groups may.
        "tools": "List['PluginToolView']",
        # Its version; empty when its manifest cannot be read.
        "version": "str",
        # What is wrong and what to do, or why it is off.
        "why": "NotRequired[Union['Failure', None]]",
    },
)
# PluginView: A plugin, as its owner sees it.

PolicyForm = TypedDict(
    "PolicyForm",
    {
        # Only say what would be done.
        "dry_run": "NotRequired[bool]",
    },
)
# PolicyForm: A round of the policy, asked for by hand.

PoolShelf = TypedDict(
    "PoolShelf",
    {
        # Those that are being made.
        "booting": "int",
        # The profile.
        "profile": "str",
        # Those that answered and that nobody has claimed.
        "ready": "int",
        # How many this daemon is to keep.
        "target": "int",
        # Whose it is.
        "tenant": "str",
        # Why there are fewer than there should be.
        "trouble": "NotRequired[Union[str, None]]",
    },
)
# PoolShelf: What is kept for one profile.

PoolView = TypedDict(
    "PoolView",
    {
        # Those that are being made.
        "booting": "int",
        # Jobs that got one since the daemon's start.
        "claimed": "int",
        # Jobs that had to wait for a new sandbox although some are kept.
        "missed": "int",
        # For which profiles they are kept.
        "profiles": "List['PoolShelf']",
        # Those that answered and that nobody has claimed.
        "ready": "int",
    },
)
# PoolView: Sandboxes that are made ahead.

PortForm = TypedDict(
    "PortForm",
    {
        # Let its pages load from other hosts and speak with them. What an agent writes could then carry its files out through the browser.
        "outside": "NotRequired[bool]",
        # Where it listens; the only port on which something does when left out.
        "port": "NotRequired[Union[int, None]]",
    },
)
# PortForm: A server inside that is to be opened.

PreviewForm = TypedDict(
    "PreviewForm",
    {
        # The agents.
        "agents": "NotRequired[List['BranchId']]",
        # Into this branch; the one that the first was taken from when left out.
        "into": "NotRequired[Union[str, None]]",
    },
)
# PreviewForm: Branches to look at together.

PreviewPair = TypedDict(
    "PreviewPair",
    {
        # The files.
        "files": "List[str]",
        # One.
        "one": "str",
        # The other.
        "other": "str",
    },
)
# PreviewPair: Two branches that conflict with each other.

PreviewView = TypedDict(
    "PreviewView",
    {
        # Each alone, in the order that was asked for.
        "alone": "List['MergeView']",
        # Each after those before it that merge.
        "in_order": "List['MergeView']",
        # The branch that they would be merged into.
        "into": "str",
        # Pairs that conflict with each other.
        "pairs": "List['PreviewPair']",
    },
)
# PreviewView: What would conflict.

Problem = TypedDict(
    "Problem",
    {
        "error": "Dict[str, Any]",
    },
)

ProfileVariable = TypedDict(
    "ProfileVariable",
    {
        # What it is when a job does not say.
        "default": "NotRequired[Any]",
        # For people.
        "description": "str",
        # The values that it may have; any when empty.
        "enum": "List[Any]",
        # Whether a job must say it.
        "required": "bool",
        # Its type.
        "type": "'VarType'",
    },
)
# ProfileVariable: A variable of a profile.

ProfileView = TypedDict(
    "ProfileView",
    {
        # The variables of its instructions.
        "claude_md_vars": "Dict[str, 'ProfileVariable']",
        # For people.
        "description": "str",
        # The engine; empty for the configured one.
        "engine": "str",
        # The model; empty for the engine's choice.
        "model": "str",
        # Its name.
        "name": "str",
        # The variables of its prompt.
        "prompt_vars": "Dict[str, 'ProfileVariable']",
        # Whether it is as the program ships it.
        "shipped": "bool",
        # Its version.
        "version": "int",
    },
)
# ProfileView: A profile, as who makes a job wants to know it.

ProviderKey = Union[Literal["stored"], Literal["missing"], Literal["not_needed"]]
# ProviderKey: Whether a provider has what it needs to be asked.

ProviderModel = TypedDict(
    "ProviderModel",
    {
        # Its name, as an agent or a session names it behind the provider's.
        "id": "str",
        # What it is called for people, where that is something else.
        "title": "NotRequired[Union[str, None]]",
    },
)
# ProviderModel: A model of a provider.

ProviderModels = TypedDict(
    "ProviderModels",
    {
        # Its models, by name: at most 1000.
        "models": "List['ProviderModel']",
        # Whether it has more than are named here.
        "more": "bool",
        # The provider.
        "provider": "str",
    },
)
# ProviderModels: The models of a provider, as it lists them itself.

ProviderUse = TypedDict(
    "ProviderUse",
    {
        # The agent.
        "agent": "str",
        # The model that it asks for there; its engine's own choice when left out.
        "model": "NotRequired[Union[str, None]]",
        # 0 is asked first; the others in their order when those before do not answer.
        "place": "int",
    },
)
# ProviderUse: An agent that asks a provider.

ProviderView = TypedDict(
    "ProviderView",
    {
        # Agents that name it, first or as one that stands in.
        "agents": "List['ProviderUse']",
        # Where it answers.
        "base_url": "str",
        # Whether it is known without any configuration.
        "built_in": "bool",
        # Whether its models cost nothing, whatever the list of prices says.
        "free": "bool",
        # Whether it has what it needs. The key itself is never shown.
        "key": "'ProviderKey'",
        # The API that it speaks: `anthropic`, `openai` or `gemini`.
        "kind": "str",
        # Its name, also that of its key among the secrets.
        "name": "str",
        # Whether it can be asked.
        "usable": "bool",
    },
)
# ProviderView: A provider.

Query = TypedDict(
    "Query",
    {
        # Say what would happen, and change nothing.
        "dry_run": "NotRequired[bool]",
    },
)
# Query: How an export is taken over.

QuestionId = str
# QuestionId: Something that a person is asked in a turn.

QuestionView = TypedDict(
    "QuestionView",
    {
        # When it was asked.
        "asked": "'Timestamp'",
        # What an answer must name.
        "id": "'QuestionId'",
        # Answers that are offered; empty for any text.
        "options": "List[str]",
        # The question.
        "text": "str",
    },
)
# QuestionView: Something that a person is asked.

QueueConflict = TypedDict(
    "QueueConflict",
    {
        # What git says of it.
        "message": "str",
        # The file.
        "path": "str",
    },
)
# QueueConflict: One file on which a branch and what is there do not agree.

QueueForm = TypedDict(
    "QueueForm",
    {
        # The agents whose branches are merged, in this order.
        "agents": "NotRequired[List['BranchId']]",
        # The command that must succeed on each result; the one that each agent was spawned with when left out.
        "check": "NotRequired[Union[str, None]]",
        # The commits that were looked at, one for each agent in their order: at a branch that is elsewhere by then the queue stops. Any commit when left out; not together with `resolve`, which makes other commits. Of several repositories as `expect` of a merge.
        "expect": "NotRequired[List[str]]",
        # Into this branch; the one that the first was taken from when left out.
        "into": "NotRequired[Union[str, None]]",
        # Whether a conflict is given to its agent, as its next turn, before the queue stops at it.
        "resolve": "NotRequired[bool]",
    },
)
# QueueForm: A merge queue to make.

QueuePlace = TypedDict(
    "QueuePlace",
    {
        # The agent.
        "agent": "'BranchId'",
        # The commit that the target was at.
        "before": "NotRequired[Union[str, None]]",
        # Its branch.
        "branch": "str",
        # The check on the result.
        "check": "NotRequired[Union['CheckView', None]]",
        # The command that must succeed on the result.
        "command": "str",
        # The commit that the target was moved to, or is to be.
        "commit": "NotRequired[Union[str, None]]",
        # Files that conflict.
        "conflicts": "List['QueueConflict']",
        # The only commit of the branch that may be taken, where one was named.
        "expect": "NotRequired[Union[str, None]]",
        # What was in the way, and what can be done about it.
        "note": "NotRequired[Union[str, None]]",
        # How often the agent was asked to.
        "resolves": "int",
        # Where it stands.
        "state": "'PlaceState'",
        # The commit of the branch that was taken.
        "tip": "NotRequired[Union[str, None]]",
        # The turn in which the agent resolves its conflict.
        "turn": "NotRequired[Union['TurnId', None]]",
    },
)
# QueuePlace: Where one branch of a merge queue stands.

QueueQuery = TypedDict(
    "QueueQuery",
    {
        # How many; 100 when left out.
        "limit": "NotRequired[Union[int, None]]",
        # Those of this repository.
        "repo": "NotRequired[Union[str, None]]",
    },
)
# QueueQuery: Which merge queues to list.

QueueState = Union[Literal["working"], Literal["stopped"], Literal["done"]]
# QueueState: Where a merge queue stands.

QueueView = TypedDict(
    "QueueView",
    {
        # When it last changed.
        "changed": "'Timestamp'",
        # When it was made.
        "created": "'Timestamp'",
        # Its identity.
        "id": "'MergeQueueId'",
        # The branch that is merged into.
        "into": "str",
        # Its branches, in their order.
        "places": "List['QueuePlace']",
        # The repository.
        "repo": "str",
        # Where it stands.
        "state": "'QueueState'",
    },
)
# QueueView: A merge queue.

Quota = TypedDict(
    "Quota",
    {
        # Envs.
        "envs": "NotRequired[Union[int, None]]",
        # Jobs that wait.
        "jobs_queued": "NotRequired[Union[int, None]]",
        # Requests to the API in a minute, in the long run.
        "requests_per_minute": "NotRequired[Union[int, None]]",
        # Turns and jobs that run at once.
        "running": "NotRequired[Union[int, None]]",
        # Sessions that are not archived, those of jobs left out.
        "sessions": "NotRequired[Union[int, None]]",
        # Bytes of results and artifacts that are kept.
        "storage_bytes": "NotRequired[Union[int, None]]",
        # Tokens that are good.
        "tokens": "NotRequired[Union[int, None]]",
        # US dollars that models may cost in a day (UTC).
        "usd_per_day": "NotRequired[Union[float, None]]",
    },
)
# Quota: What a tenant may have at most. What is left out is not limited.

ResultEvent = TypedDict(
    "ResultEvent",
    {
        # Why it failed, where it did.
        "code": "NotRequired[Union['Code', None]]",
        # All cost of the turn, in US dollars.
        "cost_usd": "float",
        # Wall-clock time.
        "duration_ms": "int",
        # What held in the sandbox.
        "level": "'Level'",
        # How it ended.
        "status": "'Outcome'",
        # The final text.
        "text": "str",
        # All tokens of the turn.
        "usage": "'Usage'",
    },
)
# ResultEvent: How a turn ended.

ResumeForm = TypedDict(
    "ResumeForm",
    {
        # What to do now; it goes on with its task when left out.
        "text": "NotRequired[Union[str, None]]",
    },
)
# ResumeForm: Asks an agent for a further turn.

Rights = str
# Rights: What it may do: words with spaces between them. `read`, `write`, `approve`, `manage` and `admin` hold everywhere; `jobs:write` in one area; `jobs:*` is all of it but to configure; `jobs` alone is to look.

Risk = Union[Literal["low"], Literal["high"]]
# Risk: How much harm a tool can do.

Role = Union[Literal["viewer"], Literal["member"], Literal["admin"], Literal["owner"]]
# Role: What a person is in a tenant. Each may what those before it may.

RoleForm = TypedDict(
    "RoleForm",
    {
        # The agent.
        "agent": "str",
        # `member` or `admin`.
        "role": "str",
        # Who.
        "user": "'UserId'",
    },
)
# RoleForm: Gives somebody a role with an agent.

RoleView = TypedDict(
    "RoleView",
    {
        # The agent.
        "agent": "str",
        # `member` or `admin`.
        "role": "str",
        # Whose agent.
        "tenant": "str",
        # Who.
        "user": "'UserId'",
    },
)
# RoleView: What somebody is to an agent.

SandboxCreate = TypedDict(
    "SandboxCreate",
    {
        # Hosts that may be reached.
        "egress": "NotRequired[List['EgressRule']]",
        # The root file system.
        "image": "'ImageRef'",
        # What it may use.
        "limits": "'Limits'",
        # Host directories; the descriptors come beside the form.
        "mounts": "NotRequired[List['MountNote']]",
        # Names the descriptors of `mounts`, handed over beside the owner's socket.
        "ticket": "NotRequired[Union[str, None]]",
    },
)
# SandboxCreate: A sandbox to make.

SecretForm = TypedDict(
    "SecretForm",
    {
        # It goes in and never comes out.
        "value": "str",
    },
)
# SecretForm: A secret to keep.

SecretKept = TypedDict(
    "SecretKept",
    {
        # Its name.
        "name": "str",
        # Whether those turns were ended.
        "restarted": "bool",
        # Sessions whose turn runs with the value before. Further turns have the new one.
        "sessions": "List['SecretSession']",
    },
)
# SecretKept: What came of keeping a secret.

SecretScope = TypedDict(
    "SecretScope",
    {
        # The agent that has it for itself; the install when left out.
        "agent": "NotRequired[Union[str, None]]",
        # Whether turns that run with the value before are ended.
        "restart": "NotRequired[bool]",
    },
)
# SecretScope: Whose secret it is.

SecretSession = TypedDict(
    "SecretSession",
    {
        # Its agent.
        "agent": "str",
        # The session.
        "session": "'SessionId'",
    },
)
# SecretSession: A session that has the value before.

SecretView = TypedDict(
    "SecretView",
    {
        # When it was first set.
        "created": "'Timestamp'",
        # The agent whose engines hold it, if one does.
        "exposed_to": "NotRequired[Union[str, None]]",
        # Its name.
        "name": "str",
        # Whose it is: `install`, `agent:NAME`, `plugin:NAME` or `channel:NAME`.
        "scope": "str",
        # When it was last set.
        "updated": "'Timestamp'",
        # When it was last used, to half a minute; null when it never was.
        "used": "NotRequired[Union['Timestamp', None]]",
        # What uses it: providers, agents, and hosts that it is bound to.
        "uses": "List[str]",
    },
)
# SecretView: A secret, without its value.

SeedConfig = TypedDict(
    "SeedConfig",
    {
        "content": "str",
        "created_at": "str",
        "description": "str",
        "name": "str",
        "type": "'ConfigKind'",
        "updated_at": "str",
    },
)
# SeedConfig: A configuration with its text.

SeedConfigBrief = TypedDict(
    "SeedConfigBrief",
    {
        "created_at": "str",
        "description": "str",
        "name": "str",
        "type": "'ConfigKind'",
        "updated_at": "str",
    },
)
# SeedConfigBrief: A configuration in a list.

SeedConfigFilter = TypedDict(
    "SeedConfigFilter",
    {
        # `profile`, `engine`, `template` or `hook`; all when left out.
        "type": "NotRequired[Union['ConfigKind', None]]",
    },
)
# SeedConfigFilter: Which configurations.

SeedConfigRemoved = TypedDict(
    "SeedConfigRemoved",
    {
        "name": "str",
        "status": "str",
        "type": "'ConfigKind'",
    },
)
# SeedConfigRemoved: What was removed.

SeedEngine = TypedDict(
    "SeedEngine",
    {
        "available": "bool",
        "description": "str",
        "id": "str",
        "name": "str",
    },
)
# SeedEngine: An engine as the seed's clients read it.

SeedJob = TypedDict(
    "SeedJob",
    {
        "created_at": "str",
        "engine": "str",
        "error": "NotRequired[Union[str, None]]",
        "exit_code": "NotRequired[Union[int, None]]",
        "finished_at": "NotRequired[Union[str, None]]",
        "job_id": "str",
        "profile": "str",
        # The final text, or the JSON value that it is; null in lists.
        "result": "Any",
        "started_at": "NotRequired[Union[str, None]]",
        "status": "'Status2'",
    },
)
# SeedJob: A job as the seed's clients read it.

SeedJobAccepted = TypedDict(
    "SeedJobAccepted",
    {
        "job_id": "str",
        "status": "'Status2'",
    },
)
# SeedJobAccepted: What was accepted, or became of it.

SeedJobPatience = TypedDict(
    "SeedJobPatience",
    {
        # Seconds, held between 1 and 7,200; 3,600 when left out.
        "timeout": "NotRequired[Union[int, None]]",
    },
)
# SeedJobPatience: How long somebody waits.

SeedJobQuery = TypedDict(
    "SeedJobQuery",
    {
        # Entries in a page: 1 to 200.
        "limit": "NotRequired[int]",
        # Entries before the page: at most 100,000.
        "offset": "NotRequired[int]",
        # Those that stand so.
        "status": "NotRequired[Union['Status2', None]]",
    },
)
# SeedJobQuery: Which jobs.

SeedJobs = TypedDict(
    "SeedJobs",
    {
        "jobs": "List['SeedJob']",
        "limit": "int",
        "offset": "int",
        # All that stand so.
        "total": "int",
    },
)
# SeedJobs: A page of jobs.

SeedProblem = TypedDict(
    "SeedProblem",
    {
        "code": "NotRequired[str]",
        "detail": "str",
    },
)

SeedProfile = TypedDict(
    "SeedProfile",
    {
        "description": "str",
        "model": "str",
        "name": "str",
        "prompt_vars": "Dict[str, 'ProfileVariable']",
    },
)
# SeedProfile: A profile as the seed's clients read it.

SelfPolicy = Union[Literal["off"], Literal["confirm"], Literal["free"]]
# SelfPolicy: What becomes of a change that an agent makes to itself.

Senders = Union[Literal["all"], Literal["known"]]
# Senders: Whose messages engage a wiring.

SessionCreate = TypedDict(
    "SessionCreate",
    {
        # Who it is with; `default` when left out.
        "agent": "NotRequired[Union[str, None]]",
        # The most that it may cost.
        "budget": "NotRequired[Union['Money', None]]",
        # Hosts that may be reached.
        "egress": "NotRequired[List['EgressRule']]",
        # The engine; the agent's, else the configured one when left out.
        "engine": "NotRequired[Union[str, None]]",
        # The env that it works in; a private tree when left out.
        "env": "NotRequired[Union[str, None]]",
        # Whether no other session of the env may work while a turn of this one runs.
        "exclusive": "NotRequired[bool]",
        # Who is asked in turn when its provider does not answer: `PROVIDER` or `PROVIDER/MODEL`; the agent's when left out.
        "fallback": "NotRequired[Union[List[str], None]]",
        # Whether work is cancelled when nobody is attached.
        "foreground": "NotRequired[bool]",
        # The root file system; the machine's own /usr when left out.
        "image": "NotRequired[Union['ImageRef', None]]",
        # The user's own words, for finding it again.
        "labels": "NotRequired[Dict[str, str]]",
        # What its sandbox may use; the agent's, else the configured limits when left out.
        "limits": "NotRequired[Union['Limits', None]]",
        # The model.
        "model": "NotRequired[Union[str, None]]",
        # Host directories by name, below the configured roots.
        "mounts": "NotRequired[List['MountForm']]",
        # Host directories whose descriptors come beside the form.
        "opened": "NotRequired[List['MountNote']]",
        # From 0 to 9; a higher one goes first. 5 when left out.
        "priority": "NotRequired[Union[int, None]]",
        # Where a program lies inside that the user brought; for engines by path.
        "program": "NotRequired[Union[str, None]]",
        # Bound secrets that it may use besides its agent's, by name.
        "secrets": "NotRequired[List[str]]",
        # A directory of its own below /home/sandbox to work in, made when missing.
        "subdir": "NotRequired[Union[str, None]]",
        # Recording or replay.
        "tape": "NotRequired['Tape']",
        # Names the descriptors of `opened`, handed over beside the owner's socket.
        "ticket": "NotRequired[Union[str, None]]",
        # For people.
        "title": "NotRequired[Union[str, None]]",
        # Variables for the engine.
        "variables": "NotRequired[List[List[Any]]]",
        # Where turns begin: `/workspace`, or `/home/sandbox` when left out.
        "workdir": "NotRequired[Union[str, None]]",
    },
)
# SessionCreate: A session to make.

SessionId = str
# SessionId: A conversation with one agent.

SessionMode = Union[Literal["shared"], Literal["thread"], Literal["agent"]]
# SessionMode: Which messages belong to one conversation.

SessionPatch = TypedDict(
    "SessionPatch",
    {
        # An archived session keeps its files and takes no turns.
        "archived": "NotRequired[Union[bool, None]]",
        # The user's own words; they replace those before.
        "labels": "NotRequired[Union[Dict[str, str], None]]",
        # For people.
        "title": "NotRequired[Union[str, None]]",
    },
)
# SessionPatch: What changes in a session.

SessionQuery = TypedDict(
    "SessionQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Those with this agent.
        "agent": "NotRequired[Union[str, None]]",
        # Archived ones, or the others when left out.
        "archived": "NotRequired[bool]",
        # Those in this env.
        "env": "NotRequired[Union[str, None]]",
        # Those with this label: `KEY=VALUE`.
        "label": "NotRequired[Union[str, None]]",
        # Entries in a page; 50 when left out.
        "limit": "NotRequired[Union[int, None]]",
    },
)
# SessionQuery: Which sessions to list.

SessionResume = TypedDict(
    "SessionResume",
    {
        # Those that the session was made with.
        "mounts": "List['MountNote']",
        # Names their descriptors.
        "ticket": "NotRequired[Union[str, None]]",
    },
)
# SessionResume: Host directories to give again.

SessionState = Union[Literal["idle"], Literal["queued"], Literal["running"], Literal["waiting"], Literal["archived"]]
# SessionState: Where a session stands.

SessionView = TypedDict(
    "SessionView",
    {
        # Who it is with.
        "agent": "str",
        # When it was made.
        "created": "'Timestamp'",
        # The engine.
        "engine": "str",
        # The env that it works in.
        "env": "NotRequired[Union[str, None]]",
        # The turn whose end is the present state; 0 at the beginning.
        "head": "int",
        # Its identity.
        "id": "'SessionId'",
        # Whether the rehearsal answers because there is no key.
        "is_fallback": "bool",
        # The user's own words.
        "labels": "Dict[str, str]",
        # The number of its last event.
        "last_seq": "int",
        # The model; empty for the engine's own choice.
        "model": "str",
        # Host directories whose descriptors its owner hands over.
        "mounts": "List['MountNote']",
        # Where it was forked from.
        "parent": "NotRequired[Union['Parent', None]]",
        # The provider.
        "provider": "str",
        # What a person is asked just now.
        "questions": "List['QuestionView']",
        # Where it stands.
        "state": "'SessionState'",
        # Its terminal, while one is open.
        "terminal": "NotRequired[Union['TerminalView', None]]",
        # For people; may be empty.
        "title": "str",
        # Turns so far.
        "turns": "int",
        # When something last happened in it.
        "updated": "'Timestamp'",
        # Where turns begin.
        "workdir": "str",
    },
)
# SessionView: A session as it is shown.

SetupForm = TypedDict(
    "SetupForm",
    {
        # What was used for it: a name, never a credential. At most 200 characters.
        "note": "NotRequired[str]",
        # Pass it over; it is noted as done when left out.
        "skip": "NotRequired[bool]",
        # Which.
        "step": "'SetupStep'",
    },
)
# SetupForm: What is said of a step.

SetupState = Union[Literal["todo"], Literal["skipped"], Literal["done"]]
# SetupState: How a step is.

SetupStep = Union[Literal["model"], Literal["agent"], Literal["channel"], Literal["pair"], Literal["hello"]]
# SetupStep: A step, in the order in which they are done.

SetupStepView = TypedDict(
    "SetupStepView",
    {
        # What does it, on the command line; empty for one that is done.
        "fix": "str",
        # How it is.
        "state": "'SetupState'",
        # Which.
        "step": "'SetupStep'",
        # What is there.
        "what": "str",
    },
)
# SetupStepView: A step as it is shown.

SetupView = TypedDict(
    "SetupView",
    {
        # The first that is to be done.
        "next": "NotRequired[Union['SetupStep', None]]",
        # Whether nothing is to be done.
        "ready": "bool",
        # The steps, in order.
        "steps": "List['SetupStepView']",
    },
)
# SetupView: How far the first steps came.

Shutdown = TypedDict(
    "Shutdown",
    {
        # How long running work may take to come to its end, in milliseconds.
        "grace_ms": "int",
    },
)
# Shutdown: How to end.

SkillApproval = TypedDict(
    "SkillApproval",
    {
        # The hash over the files that were looked at.
        "hash": "str",
    },
)
# SkillApproval: What is approved.

SkillArchive = TypedDict(
    "SkillArchive",
    {
        # What was shown: `sha256:` and 64 digits. Needed where anything was found that a person should see.
        "hash": "NotRequired[Union[str, None]]",
        # The folder in it that is the skill; where it is the only one, it is found without.
        "path": "NotRequired[Union[str, None]]",
        # The skill that this is a new version of; a new one when missing.
        "replaces": "NotRequired[Union[str, None]]",
        # Where it came from, for people and for a later update.
        "source": "NotRequired[Union[str, None]]",
    },
)
# SkillArchive: What an archive is.

SkillClone = TypedDict(
    "SkillClone",
    {
        # What was shown. Without it, it is looked at only, and nothing changes.
        "hash": "NotRequired[Union[str, None]]",
        # The folder in it that is the skill.
        "path": "NotRequired[Union[str, None]]",
        # The skill that this is a new version of; a new one when missing.
        "replaces": "NotRequired[Union[str, None]]",
        # The HTTPS address of a repository, with `#BRANCH` behind it where another than its usual one is meant.
        "source": "str",
    },
)
# SkillClone: A skill of a repository.

SkillFile = TypedDict(
    "SkillFile",
    {
        # How long it is.
        "bytes": "int",
        # Whether it is a program.
        "executable": "bool",
        # Its path in the skill's folder.
        "path": "str",
        # The hash over it, in hexadecimal.
        "sha256": "str",
    },
)
# SkillFile: A file of a skill.

SkillFinding = TypedDict(
    "SkillFinding",
    {
        # The file.
        "file": "str",
        # What it is: `bidi`, `invisible`, `control`, `comment`, `long-line`, `command`, `hooks`, `binary`, `downgrade` or `more`.
        "kind": "str",
        # The line, from 1; 0 where it is about the whole file.
        "line": "int",
        # The place, with everything that hides in it spelled out.
        "text": "str",
    },
)
# SkillFinding: Something in a skill that a person should see before they say yes.

SkillRemoval = TypedDict(
    "SkillRemoval",
    {
        # Also when an agent has it, whose sessions will not begin any more.
        "force": "NotRequired[bool]",
    },
)
# SkillRemoval: How a skill is removed.

SkillReview = TypedDict(
    "SkillReview",
    {
        # Files that are new (`+`), other (`~`) or gone (`-`) against that version.
        "changes": "List[str]",
        # What it says it is for.
        "description": "str",
        # Its files.
        "files": "List['SkillFile']",
        # What a person should see before.
        "findings": "List['SkillFinding']",
        # The hash over its files: what a yes is for.
        "hash": "str",
        # Its name.
        "name": "str",
        # The version that is in force, if there is one.
        "replaces": "NotRequired[Union[int, None]]",
        # Where it comes from.
        "source": "str",
    },
)
# SkillReview: What a skill would be, or what a change of one would change.

SkillState = Union[Literal["ready"], Literal["changed"]]
# SkillState: Whether a skill's files can be used.

SkillVersionView = TypedDict(
    "SkillVersionView",
    {
        # When.
        "approved": "'Timestamp'",
        # Who approved it.
        "approved_by": "str",
        # The hash over its files.
        "hash": "str",
        # Where it came from.
        "source": "str",
        # Which one.
        "version": "int",
    },
)
# SkillVersionView: What was in force at some time.

SkillView = TypedDict(
    "SkillView",
    {
        # Agents that have it.
        "agents": "List[str]",
        # When.
        "approved": "NotRequired[Union['Timestamp', None]]",
        # Who approved it; nobody had to where it ships.
        "approved_by": "NotRequired[Union[str, None]]",
        # Files that were changed there.
        "changes": "List[str]",
        # What it says it is for.
        "description": "str",
        # Its files.
        "files": "List['SkillFile']",
        # What was shown before the yes.
        "findings": "List['SkillFinding']",
        # The hash over the files as they are in the home, where they were changed.
        "found": "NotRequired[Union[str, None]]",
        # The hash over the files that are approved.
        "hash": "str",
        # Its name.
        "name": "str",
        # Whether it is part of the program.
        "shipped": "bool",
        # Where it came from.
        "source": "str",
        # Whether its files can be used, where that was looked at.
        "state": "NotRequired[Union['SkillState', None]]",
        # How often its files changed, from 1.
        "version": "int",
    },
)
# SkillView: A skill.

Spawned = TypedDict(
    "Spawned",
    {
        # Those of several that could not begin; the others go on.
        "failed": "NotRequired[List['NotSpawned']]",
        # Whether the type was found out and not said.
        "inferred": "bool",
        # Whether the rehearsal answers because there is no key.
        "is_fallback": "bool",
        # One for each branch.
        "items": "List['SpawnedOne']",
        # What the user should know.
        "notes": "List[str]",
    },
)
# Spawned: Agents that were begun, or gone on with.

SpawnedOne = TypedDict(
    "SpawnedOne",
    {
        # The agent.
        "agent": "'BranchView'",
        # Whether there was none on this branch before.
        "is_new": "bool",
        # The turn that was asked.
        "turn": "'TurnId'",
    },
)
# SpawnedOne: One agent that was begun, or gone on with.

Status = TypedDict(
    "Status",
    {
        # Where hosts are looked into, how long sandboxes take the install's certificate authority for good.
        "authority": "NotRequired[Union['AuthorityView', None]]",
        # Secrets that the owner exposed, each to one agent.
        "exposed": "List['ExposedView']",
        # The daemon's process.
        "pid": "int",
        # Sandboxes that are made ahead.
        "pool": "'PoolView'",
        # Whether a model's key is stored.
        "providers": "List[str]",
        # Sandboxes that run.
        "sandboxes": "int",
        # Those of them that somebody works in: neither made ahead nor of a plugin.
        "sandboxes_at_work": "int",
        # The most that may run.
        "sandboxes_max": "int",
        # Sessions at work or a moment after it.
        "sessions": "int",
        # Seconds since its start.
        "uptime_s": "int",
        # The program's version.
        "version": "str",
    },
)
# Status: What `status` shows.

Status2 = Union[Literal["running"], Literal["completed"], Literal["failed"], Literal["cancelled"], Literal["pending"], Literal["waiting"]]
# Status2: Where a job stands, in the seed's words.

Tape = Union[Literal["off"], Literal["record"], Literal["replay"]]
# Tape: Whether model calls are recorded or answered from a record.

TaskAction = Dict[str, Any]
# TaskAction: What a task does.

TaskForm = TypedDict(
    "TaskForm",
    {
        # What is done.
        "action": "'TaskAction'",
        # When it is due: minute, hour, day, month, weekday; with seconds in front where there are six.
        "cron": "str",
        # How many failures one after the other stop it: 1 to 1000; 10 when left out.
        "failures_max": "NotRequired[Union[int, None]]",
        # What is done about times that were missed; `once` when left out.
        "misfire": "NotRequired['Misfire']",
        # For people; no two of a tenant are called the same.
        "name": "str",
        # What is done while an earlier run is still at work; `skip` when left out.
        "overlap": "NotRequired['Overlap']",
        # The IANA zone that `cron` is read in; `UTC` when left out.
        "zone": "NotRequired[Union[str, None]]",
    },
)
# TaskForm: A task to make.

TaskId = str
# TaskId: Work that is done at set times.

TaskMessage = TypedDict(
    "TaskMessage",
    {
        # The agent of a new session; `default` when left out.
        "agent": "NotRequired[Union[str, None]]",
        # The env of a new session; a private tree when left out.
        "env": "NotRequired[Union[str, None]]",
        # A script that runs in the sandbox before the agent is asked, and may say that it need not be: status 1, or a last line `{"wakeAgent": false}`.
        "gate": "NotRequired[Union[str, None]]",
        # The session that it is said in; a new one each time when left out.
        "session": "NotRequired[Union['SessionId', None]]",
        # What is said.
        "text": "NotRequired[str]",
        # Destinations of the agent that the answer goes to, by name.
        "to": "NotRequired[List[str]]",
    },
)
# TaskMessage: A message of a task.

TaskQuery = TypedDict(
    "TaskQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Entries in a page: 1 to 200; 50 when left out.
        "limit": "NotRequired[Union[int, None]]",
    },
)
# TaskQuery: Which tasks, or which runs of one, to list.

TaskRunId = str
# TaskRunId: One time that a task was due, and what came of it.

TaskRunView = TypedDict(
    "TaskRunView",
    {
        # When it began.
        "begun": "NotRequired[Union['Timestamp', None]]",
        # Whether somebody asked for it.
        "by_hand": "bool",
        # When it was due, or asked for.
        "due": "'Timestamp'",
        # When it ended.
        "ended": "NotRequired[Union['Timestamp', None]]",
        # Its identity.
        "id": "'TaskRunId'",
        # The job that it made.
        "job": "NotRequired[Union[str, None]]",
        # Why it failed, waits or was skipped.
        "note": "NotRequired[Union[str, None]]",
        # The session that it spoke in.
        "session": "NotRequired[Union['SessionId', None]]",
        # `due`, `begun`, `done`, `failed` or `skipped`.
        "status": "str",
        # The turn that it made.
        "turn": "NotRequired[Union['TurnId', None]]",
    },
)
# TaskRunView: One time that a task was due, as it is shown.

TaskView = TypedDict(
    "TaskView",
    {
        # What is done.
        "action": "Any",
        # When it was made.
        "created": "'Timestamp'",
        # When it is due.
        "cron": "str",
        # Failures one after the other.
        "failures": "int",
        # How many failures one after the other stop it.
        "failures_max": "int",
        # Its identity.
        "id": "'TaskId'",
        # What is done about times that were missed.
        "misfire": "str",
        # For people.
        "name": "str",
        # When it is next due.
        "next": "NotRequired[Union['Timestamp', None]]",
        # Why it stands so.
        "note": "NotRequired[Union[str, None]]",
        # What is done while an earlier run is still at work.
        "overlap": "str",
        # `active`, `paused`, `broken` after too many failures, or `over` when there is no further time.
        "status": "str",
        # The zone that `cron` is read in.
        "zone": "str",
    },
)
# TaskView: A task as it is shown.

TemplateApply = TypedDict(
    "TemplateApply",
    {
        # The hash of the plan that was looked at.
        "hash": "str",
        # The template and what it is told.
        "order": "'TemplateOrder'",
    },
)
# TemplateApply: The same, to be done.

TemplateField = TypedDict(
    "TemplateField",
    {
        # The field.
        "field": "str",
        # `set`: the template's word, where nobody changed it; `kept`: the owner changed it, and it stays, though the template has another word.
        "how": "str",
        # What it is now; null for a new agent.
        "now": "Any",
        # What it will be.
        "then": "Any",
    },
)
# TemplateField: What becomes of a field of an agent.

TemplateNamed = TypedDict(
    "TemplateNamed",
    {
        # Its name.
        "name": "str",
    },
)
# TemplateNamed: Which template.

TemplateOrder = TypedDict(
    "TemplateOrder",
    {
        # The files of a template that does not ship: `agent.toml` and `instructions.md`.
        "files": "NotRequired[Union[Dict[str, str], None]]",
        # The template: one that ships, or what `files` are called. For an update, the one that the agent came of when left out.
        "template": "NotRequired[Union[str, None]]",
        # What the template is told; for an update, what is said anew.
        "variables": "NotRequired[Dict[str, Any]]",
    },
)
# TemplateOrder: A template and what it is told.

TemplatePlan = TypedDict(
    "TemplatePlan",
    {
        # The agent.
        "agent": "str",
        # The fields that change, and those that the owner's word keeps.
        "fields": "List['TemplateField']",
        # What a yes is for.
        "hash": "str",
        # What to do next.
        "hints": "List[str]",
        # What is still missing before it can be made.
        "needs": "List[str]",
        # Its tasks.
        "tasks": "List['TemplateTask']",
        # The template.
        "template": "str",
        # Whether the agent is there already.
        "updates": "bool",
    },
)
# TemplatePlan: What a template would make or change.

TemplateTask = TypedDict(
    "TemplateTask",
    {
        # When it is due.
        "cron": "str",
        # Whether it is made now, and paused; else it was before, and is the owner's.
        "makes": "bool",
        # Its name: the agent's and its own.
        "name": "str",
        # What is said to the agent.
        "text": "str",
        # The zone that this is read in.
        "zone": "str",
    },
)
# TemplateTask: A task of an agent.

TemplateView = TypedDict(
    "TemplateView",
    {
        # What it is for.
        "description": "str",
        # Its name.
        "name": "str",
        # Skills that its agents have.
        "skills": "List[str]",
        # Its tasks, by name.
        "tasks": "List[str]",
        # What it wants to be told.
        "variables": "Dict[str, 'Variable']",
        # Its own version.
        "version": "str",
    },
)
# TemplateView: A template that ships.

TenantForm = TypedDict(
    "TenantForm",
    {
        # Small letters, digits and `-`.
        "name": "str",
        # What it may have.
        "quota": "NotRequired['Quota']",
        # What people call it.
        "title": "NotRequired[str]",
    },
)
# TenantForm: A tenant to make.

TenantPatch = TypedDict(
    "TenantPatch",
    {
        # What it may have, whole: what is left out in it is not limited.
        "quota": "NotRequired[Union['Quota', None]]",
        # Whether it may work. The tokens of a suspended tenant open nothing; what it has stays.
        "state": "NotRequired[Union['TenantState', None]]",
        # What people call it.
        "title": "NotRequired[Union[str, None]]",
    },
)
# TenantPatch: What changes about a tenant; what is left out stays.

TenantState = Union[Literal["active"], Literal["suspended"]]
# TenantState: Whether a tenant may work.

TenantView = TypedDict(
    "TenantView",
    {
        # When it was made.
        "created": "'Timestamp'",
        # Its name.
        "name": "str",
        # What it may have.
        "quota": "'Quota'",
        # Whether it may work.
        "state": "'TenantState'",
        # What people call it.
        "title": "str",
        # When it was last changed.
        "updated": "'Timestamp'",
    },
)
# TenantView: A tenant as it is shown.

TerminalForm = TypedDict(
    "TerminalForm",
    {
        # Program and arguments; the session's engine, as people use it, when left out.
        "argv": "NotRequired[List[str]]",
        # Start the program when somebody has come, or after ten seconds: they see it from its first line, at their size.
        "attended": "NotRequired[bool]",
        # What the engine is told first, where it takes that.
        "prompt": "NotRequired[Union[str, None]]",
        # Rows and columns until somebody attaches; 24 and 80 when left out.
        "size": "NotRequired[List[Any]]",
    },
)
# TerminalForm: A terminal to open.

TerminalView = TypedDict(
    "TerminalView",
    {
        # Who looks at it, whoever types included.
        "attached": "int",
        # Whether somebody can type.
        "has_keyboard": "bool",
        # What runs.
        "program": "str",
        # Its turn.
        "turn": "'TurnId'",
    },
)
# TerminalView: A terminal that is open.

Timestamp = int
# Timestamp: Milliseconds since 1970-01-01 UTC, from the host's clock.

TokenForm = TypedDict(
    "TokenForm",
    {
        # Seconds until it ends; never when left out.
        "expires_s": "NotRequired[Union[int, None]]",
        # For people.
        "name": "str",
        # What it may do.
        "scope": "'Rights'",
        # Whose sessions and envs it sees. An admin's token has none and sees all. A tenant's own token makes tokens of that tenant.
        "tenant": "NotRequired[Union[str, None]]",
    },
)
# TokenForm: A token to make.

TokenId = str
# TokenId: A token of the HTTP API; public, the token itself is not stored.

TokenView = TypedDict(
    "TokenView",
    {
        # When it was made.
        "created": "'Timestamp'",
        # When it ends.
        "expires": "NotRequired[Union['Timestamp', None]]",
        # Its public identity.
        "id": "'TokenId'",
        # For people.
        "name": "str",
        # When it was revoked.
        "revoked": "NotRequired[Union['Timestamp', None]]",
        # What it may do.
        "scope": "'Rights'",
        # Whose things it sees; all when left out.
        "tenant": "NotRequired[Union[str, None]]",
        # The token itself, only in the answer to its making.
        "token": "NotRequired[Union[str, None]]",
        # The person whose token it is, if it is one's: it ends when they leave, and never goes beyond their role.
        "user": "NotRequired[Union['UserId', None]]",
    },
)
# TokenView: A token as it is shown: never its text, but once when it is made.

ToolInstall = TypedDict(
    "ToolInstall",
    {
        # The agent that alone sees it; every sandbox sees it when left out.
        "agent": "NotRequired[Union[str, None]]",
        # `NAME[==VERSION]` from PyPI or `npm:NAME[@VERSION]`.
        "name": "str",
    },
)
# ToolInstall: A package to install.

ToolName = TypedDict(
    "ToolName",
    {
        # The agent whose own it is; one that every sandbox sees when left out.
        "agent": "NotRequired[Union[str, None]]",
        # As it was installed.
        "name": "str",
    },
)
# ToolName: Which package.

ToolView = TypedDict(
    "ToolView",
    {
        # When it was installed.
        "installed": "'Timestamp'",
        # As it was asked for: `NAME` (PyPI), `npm:NAME` or `file:NAME`.
        "name": "str",
        # Programs in `bin/` that it brought.
        "programs": "List[str]",
        # The version, where there is one.
        "version": "str",
    },
)
# ToolView: A package that was installed.

ToolsOfWhom = TypedDict(
    "ToolsOfWhom",
    {
        # The agent whose own they are; those that every sandbox sees when left out.
        "agent": "NotRequired[Union[str, None]]",
    },
)
# ToolsOfWhom: Whose packages.

TreeAt = TypedDict(
    "TreeAt",
    {
        # Absolute, inside the sandbox.
        "path": "str",
    },
)
# TreeAt: Which file or tree.

TurnAccepted = TypedDict(
    "TurnAccepted",
    {
        # Its identity.
        "turn": "'TurnId'",
    },
)
# TurnAccepted: A turn that was accepted.

TurnId = str
# TurnId: One piece of work asked of a session.

TurnQuery = TypedDict(
    "TurnQuery",
    {
        # Those after this place.
        "after": "NotRequired[int]",
        # Entries in a page; 100 when left out, at most 1000.
        "limit": "NotRequired[Union[int, None]]",
    },
)
# TurnQuery: Which turns.

TurnState = Union[Literal["queued"], Literal["leased"], Literal["running"], Literal["waiting"], Literal["done"], Literal["failed"], Literal["cancelled"]]
# TurnState: Where a turn stands.

TurnView = TypedDict(
    "TurnView",
    {
        # When it was accepted.
        "accepted": "'Timestamp'",
        # Whether there is a checkpoint of it to go back to.
        "checkpoint": "bool",
        # When it ended.
        "ended": "NotRequired[Union['Timestamp', None]]",
        # Its identity.
        "id": "'TurnId'",
        # Whether it leads to the present state: one that was undone does not.
        "in_history": "bool",
        # Its place in the session, from 1.
        "n": "int",
        # How it ended.
        "outcome": "NotRequired[Union['Outcome', None]]",
        # The turn whose state it went on from; 0 is the beginning.
        "parent": "int",
        # What was asked, cut to 200 characters.
        "prompt": "str",
        # Where it stands.
        "state": "'TurnState'",
    },
)
# TurnView: A turn as it is shown.

UnbindQuery = TypedDict(
    "UnbindQuery",
    {
        # The host, with its port unless it is bound there under one only; all when left out.
        "host": "NotRequired[Union[str, None]]",
    },
)
# UnbindQuery: What to unbind.

UndoForm = TypedDict(
    "UndoForm",
    {
        # In an env that others changed since: take their changes back too.
        "force": "NotRequired[bool]",
        # In an env that others changed since: go on in a private copy.
        "private": "NotRequired[bool]",
        # The turn whose end is the state to go back to; the one before the last when left out, 0 for the beginning.
        "to": "NotRequired[Union[int, None]]",
    },
)
# UndoForm: How to undo.

Usage = TypedDict(
    "Usage",
    {
        # Tokens sent that the provider had in its cache.
        "cache_read_tokens": "NotRequired[int]",
        # Tokens sent that the provider put into its cache.
        "cache_write_tokens": "NotRequired[int]",
        # Tokens sent, without those read from or written to a cache.
        "input_tokens": "NotRequired[int]",
        # Tokens received, thinking included.
        "output_tokens": "NotRequired[int]",
    },
)
# Usage: Tokens of one model call, turn or session, as the provider counted them.

UsageQuery = TypedDict(
    "UsageQuery",
    {
        # `job`, `agent`, `profile`, `model`, `tenant`, `session`, `provider` or `day`; `model` when left out.
        "by": "NotRequired[str]",
        # From this time on, in milliseconds since 1970.
        "from": "NotRequired[Union[int, None]]",
        # Before this time.
        "to": "NotRequired[Union[int, None]]",
    },
)
# UsageQuery: What to sum.

UserId = str
# UserId: A person who logs in.

UserOut = TypedDict(
    "UserOut",
    {
        # The tenant; that of the token when left out.
        "tenant": "NotRequired[Union[str, None]]",
    },
)
# UserOut: Out of which tenant.

VarType = Union[Literal["string"], Literal["integer"], Literal["float"], Literal["boolean"]]
# VarType: The type of a variable.

Variable = TypedDict(
    "Variable",
    {
        # What it is when a request does not say.
        "default": "NotRequired[Any]",
        # For people.
        "description": "NotRequired[str]",
        # The values that it may have; any of its type when empty.
        "enum": "NotRequired[List[Any]]",
        # Whether a request must say it. A default is then an example only.
        "required": "NotRequired[bool]",
        # Its type.
        "type": "NotRequired['VarType']",
    },
)
# Variable: A declared variable.

VerdictForm = TypedDict(
    "VerdictForm",
    {
        # `approved` or `rejected`.
        "verdict": "str",
    },
)
# VerdictForm: A verdict to give.

VerdictView = TypedDict(
    "VerdictView",
    {
        # When.
        "at": "'Timestamp'",
        # The commit that was read.
        "commit": "str",
        # `approved` or `rejected`.
        "verdict": "str",
    },
)
# VerdictView: What a reader decided.

WebButton = TypedDict(
    "WebButton",
    {
        # What it says.
        "label": "str",
        # What is sent when it is pressed.
        "value": "str",
    },
)
# WebButton: Something that can be pressed.

WebChat = TypedDict(
    "WebChat",
    {
        # The agent.
        "agent": "str",
        # The chat, once something was said in it.
        "chat": "NotRequired[Union['ChatId', None]]",
        # When something was last heard in it.
        "heard": "NotRequired[Union['Timestamp', None]]",
        # Whether any agent hears it; somebody who looks after chats may have taken that away.
        "is_heard": "bool",
        # What the conversation is called, where it is one of several with the agent.
        "name": "NotRequired[Union[str, None]]",
    },
)
# WebChat: A conversation with an agent.

WebEditForm = TypedDict(
    "WebEditForm",
    {
        # The text.
        "text": "str",
    },
)
# WebEditForm: Another text for something that was said.

WebFile = TypedDict(
    "WebFile",
    {
        # Why the agent did not get it.
        "error": "NotRequired[Union[str, None]]",
        # What it is fetched by; only files that were sent to you can be.
        "id": "NotRequired[Union[str, None]]",
        # What it is called.
        "name": "str",
        # Its bytes, where that is known.
        "size": "NotRequired[Union[int, None]]",
    },
)
# WebFile: A file of a message.

WebMessage = TypedDict(
    "WebMessage",
    {
        # The agent that said it.
        "agent": "NotRequired[Union[str, None]]",
        # Whether it asks something that is answered by a button or the next message.
        "asks": "NotRequired[bool]",
        # When.
        "at": "'Timestamp'",
        # What can be pressed.
        "buttons": "NotRequired[List['WebButton']]",
        # `you`, `agent` or `host`.
        "by": "str",
        # Whether it said something else before.
        "edited": "bool",
        # What came along.
        "files": "NotRequired[List['WebFile']]",
        # What would let it through.
        "fix": "NotRequired[Union[str, None]]",
        # The gate that stopped it.
        "gate": "NotRequired[Union[str, None]]",
        # Its identity.
        "id": "str",
        # What became of yours: `turn`, `kept`, `held`, `dropped`, `command`, `answer` or `paired`.
        "outcome": "NotRequired[Union[str, None]]",
        # What it was reacted to with.
        "reactions": "NotRequired[List[str]]",
        # Why.
        "reason": "NotRequired[Union[str, None]]",
        # The message that it answers.
        "reply_to": "NotRequired[Union[str, None]]",
        # The session of that turn.
        "session": "NotRequired[Union['SessionId', None]]",
        # Where the turn of yours stands.
        "state": "NotRequired[Union[str, None]]",
        # Markdown.
        "text": "str",
        # The turn that it became or came from.
        "turn": "NotRequired[Union['TurnId', None]]",
    },
)
# WebMessage: One message.

WebMessageForm = TypedDict(
    "WebMessageForm",
    {
        # Files that go along.
        "files": "NotRequired[List['MessageFile']]",
        # The text; a command when it begins with `/`.
        "text": "NotRequired[str]",
    },
)
# WebMessageForm: Something to say.

WebMessageQuery = TypedDict(
    "WebMessageQuery",
    {
        # Only what is older: `next` of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Which conversation with the agent, on the terminal; the one without a name when left out.
        "chat": "NotRequired[Union[str, None]]",
        # How many; 100 when left out.
        "limit": "NotRequired[Union[int, None]]",
        # The `version` that is known: with `wait_s`, the answer comes when there is another one.
        "seen": "NotRequired[Union[int, None]]",
        # How long to wait for another version, in seconds: 50 at most.
        "wait_s": "NotRequired[Union[int, None]]",
    },
)
# WebMessageQuery: Which messages are read.

WebMessages = TypedDict(
    "WebMessages",
    {
        # Later texts of messages of older pages.
        "edits": "List['WebMessage']",
        # The messages of this page.
        "items": "List['WebMessage']",
        # What to send as `after` for what is older; null at the beginning.
        "next": "NotRequired[Union[str, None]]",
        # Changes with every change.
        "version": "int",
    },
)
# WebMessages: Messages, the oldest first.

WebPlaceQuery = TypedDict(
    "WebPlaceQuery",
    {
        # Its name, on the terminal; the one without a name when left out.
        "chat": "NotRequired[Union[str, None]]",
    },
)
# WebPlaceQuery: Which conversation with an agent.

WebPressForm = TypedDict(
    "WebPressForm",
    {
        # The value of the button.
        "value": "str",
    },
)
# WebPressForm: A button that is pressed.

WebSaid = TypedDict(
    "WebSaid",
    {
        # Whether it was said before: the same key says it once.
        "again": "bool",
        # What would let it through.
        "fix": "NotRequired[Union[str, None]]",
        # The gate that stopped it.
        "gate": "NotRequired[Union[str, None]]",
        # Its identity.
        "id": "str",
        # What became of it; see the messages.
        "outcome": "NotRequired[Union[str, None]]",
        # Why.
        "reason": "NotRequired[Union[str, None]]",
        # What the host answered, where it did so at once.
        "said": "NotRequired[Union[str, None]]",
    },
)
# WebSaid: What became of something that was said.

WebhookId = str
# WebhookId: One delivery that somebody is owed.

WebhookQuery = TypedDict(
    "WebhookQuery",
    {
        # The cursor of an earlier page.
        "after": "NotRequired[Union[str, None]]",
        # Those of this job.
        "job": "NotRequired[Union[str, None]]",
        # Entries in a page: 1 to 200; 50 when left out.
        "limit": "NotRequired[Union[int, None]]",
        # `pending`, `sent` or `dead`.
        "status": "NotRequired[Union[str, None]]",
    },
)
# WebhookQuery: Which deliveries to list, the youngest first.

WebhookSecretForm = TypedDict(
    "WebhookSecretForm",
    {
        # From 8 to 256 bytes; a fresh one is made when left out.
        "secret": "NotRequired[Union[str, None]]",
    },
)
# WebhookSecretForm: What webhooks are signed with from now on.

WebhookSecretView = TypedDict(
    "WebhookSecretView",
    {
        # The secret, this once, when it was made here.
        "secret": "NotRequired[Union[str, None]]",
        # The tenant whose webhooks it signs.
        "tenant": "str",
    },
)
# WebhookSecretView: A secret that was set.

WebhookView = TypedDict(
    "WebhookView",
    {
        # What is sent. Only when a single one is asked for, and after its first try.
        "body": "NotRequired[Any]",
        # When it became owed.
        "created": "'Timestamp'",
        # Why the last try failed.
        "error": "NotRequired[Union[str, None]]",
        # `job.completed`, `job.failed` or `job.cancelled`.
        "event": "str",
        # Its identity; the same in every try, and in the field `x-lazaret-delivery`.
        "id": "'WebhookId'",
        # The job whose end it tells.
        "job": "str",
        # When it is tried next.
        "next": "NotRequired[Union['Timestamp', None]]",
        # The status of the last answer.
        "response": "NotRequired[Union[int, None]]",
        # When it was sent or given up.
        "settled": "NotRequired[Union['Timestamp', None]]",
        # `pending`, `sent` or `dead`.
        "status": "str",
        # When it was last tried.
        "tried": "NotRequired[Union['Timestamp', None]]",
        # How often it was tried.
        "tries": "int",
        # Where it goes.
        "url": "str",
    },
)
# WebhookView: A delivery as it is shown.

WhyStep = TypedDict(
    "WhyStep",
    {
        # When.
        "at": "'Timestamp'",
        # What.
        "what": "str",
    },
)
# WhyStep: One step.

WhyView = TypedDict(
    "WhyView",
    {
        # What was asked about.
        "about": "str",
        # What would let it through.
        "fix": "NotRequired[Union[str, None]]",
        # The gate that stopped it, if one did.
        "gate": "NotRequired[Union[str, None]]",
        # What happened, step by step.
        "path": "List['WhyStep']",
    },
)
# WhyView: What became of something.

WiringForm = TypedDict(
    "WiringForm",
    {
        # The agent.
        "agent": "str",
        # Whether what other programs say is heard.
        "bots": "NotRequired[bool]",
        # The chat: its identity, or the account and the platform's id as `CHANNEL/ID`.
        "chat": "str",
        # When it engages; in a group `sticky`, in a direct chat every message, when left out.
        "engage": "NotRequired[Union['Engage', None]]",
        # What becomes of the others; `accumulate` in a group, when left out.
        "ignored": "NotRequired[Union['Ignored', None]]",
        # Which messages belong together; `shared` when left out.
        "mode": "NotRequired[Union['SessionMode', None]]",
        # What is looked for, with `pattern`; `.` is every message.
        "pattern": "NotRequired[Union[str, None]]",
        # The higher is asked first.
        "priority": "NotRequired[int]",
        # Whose messages engage it; `known` when left out.
        "senders": "NotRequired[Union['Senders', None]]",
    },
)
# WiringForm: Lets an agent hear a chat.

WiringId = str
# WiringId: What makes an agent hear a chat.

WiringQuery = TypedDict(
    "WiringQuery",
    {
        # Its identity, or `CHANNEL/ID`; all when left out.
        "chat": "NotRequired[Union[str, None]]",
    },
)
# WiringQuery: Of which chat.

WiringView = TypedDict(
    "WiringView",
    {
        # The agent.
        "agent": "str",
        # Whether what other programs say is heard.
        "bots": "bool",
        # The chat.
        "chat": "'ChatId'",
        # When it engages.
        "engage": "'Engage'",
        # Its identity.
        "id": "'WiringId'",
        # What becomes of the others.
        "ignored": "'Ignored'",
        # Which messages belong together.
        "mode": "'SessionMode'",
        # What is looked for.
        "pattern": "NotRequired[Union[str, None]]",
        # The higher is asked first.
        "priority": "int",
        # Whose messages engage it.
        "senders": "'Senders'",
    },
)
# WiringView: A wiring.

WorktreeView = TypedDict(
    "WorktreeView",
    {
        # The branch, where that is checked out.
        "branch": "NotRequired[Union[str, None]]",
        # The commit.
        "commit": "str",
        # Where.
        "path": "str",
    },
)
# WorktreeView: A working tree that was made.
