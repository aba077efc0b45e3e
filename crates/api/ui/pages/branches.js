// Branch agents: who works on which branch, what each changed with what hides in it, and the reader's decision.

import { html, useEffect, useMemo, useState } from "../dom.js";
import { at, call, piece, text } from "../api.js";
import { Act, Badge, Block, Empty, Facts, Field, Form, Head, Missing, Since, Sure, Table, Text, Time, Trouble, isMissing, useLoad, usePages } from "../parts.js";
import { Link, TurnLog, useLog } from "../log.js";
import { count, money, short, span } from "../text.js";

// Lines of a patch that are shown, and agents that are compared at once.
const LINES_MAX = 4000;
const COMPARED_MAX = 6;
// How many of the youngest events are read for the tail of a log.
const TAIL = 400;
// How often a merge queue is looked at.
const QUEUE_MS = 1000;

export function Branches({ query }) {
  const pages = usePages("/v1/branches", { repo: query.repo, batch: query.batch, limit: 50 }, "id", 2000);
  const [chosen, choose] = useState([]);
  if (isMissing(pages.problem)) return html`<${Head} title="Branch agents" /><${Missing} what="Branch agents" />`;
  const pick = (id) => choose(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id].slice(-COMPARED_MAX));
  const repos = [...new Set(pages.items.map((item) => item.repo))];
  return html`<${Head} title="Branch agents" sub="Each works on a branch, in a clone of its own. Nothing reaches yours until it is merged.">${query.repo || query.batch ? html`<a class="button" href="#/branches">All of them</a>` : null}<//>
    <${Trouble} problem=${pages.problem} />
    ${pages.isLoading && !pages.items.length ? html`<p class="muted" role="status">loading</p>` : null}
    ${!pages.isLoading && !pages.problem && !pages.items.length ? html`<${Empty} title="No agent works on a branch.">In a repository: <code>lazaret spawn --branch NAME --task "what to do"</code>.<//>` : null}
    ${chosen.length > 1 ? html`<${Compare} agents=${chosen.map((id) => pages.items.find((item) => item.id === id)).filter(Boolean)} close=${() => choose([])} />` : null}
    ${repos.map((repo) => html`<section key=${repo}><h2><code><${Text} of=${repo} max=${200} /></code></h2><div class="board">${pages.items.filter((item) => item.repo === repo).map((item) => html`<${Card} key=${item.id} of=${item} isChosen=${chosen.includes(item.id)} pick=${() => pick(item.id)} done=${pages.reload} />`)}</div></section>`)}
    ${pages.hasMore ? html`<p><button onClick=${pages.loadMore}>Show more</button></p>` : null}`;
}

const commits = (n) => `${count(n)} ${n === 1 ? "commit" : "commits"}`;
// Work that is not committed, in all repositories of an agent.
const openIn = (of) => [of, ...(of.also ?? [])].reduce((sum, repo) => sum + repo.dirty + repo.untracked, 0);
const isWorking = (of) => ["queued", "running", "waiting"].includes(of.state);

function Sizes({ of }) {
  if (!of) return html`<span class="muted">nothing changed</span>`;
  return html`<span>${count(of.files)} ${of.files === 1 ? "file" : "files"} <span class="plus-word">+${count(of.added)}</span> <span class="minus-word">−${count(of.removed)}</span></span>`;
}

// What it waits for, and where a person answers: a question in the conversation, the confirmation of a call among the others.
function Waits({ of }) {
  if (!of.waiting_for) return null;
  const where = of.waiting_for.startsWith("an answer:") ? `#/sessions/${piece(of.session)}` : "#/approvals";
  return html`<p class="note ask">Waits for <${Text} of=${of.waiting_for} max=${200} />${of.state === "waiting" ? html` · <a href=${where}>answer</a>` : null}</p>`;
}

function Card({ of, isChosen, pick, done }) {
  const path = `/v1/branches/${piece(of.id)}`;
  return html`<article class="panel card" aria-label=${`Agent on ${of.branch}`}>
    <div class="head small"><h3><a class="open" href=${`#/branches/${piece(of.id)}`}><${Text} of=${of.branch} max=${120} /></a></h3><${Badge} of=${of.state} /></div>
    <p class="said"><${Text} of=${of.task} max=${240} /></p>
    <p class="row small fine"><${Sizes} of=${of.size} /><span>${commits(of.commits)}</span>${of.also?.length ? html`<span>and ${of.also.length} more ${of.also.length === 1 ? "repository" : "repositories"}</span>` : null}${openIn(of) ? html`<span class="wait-word">${count(openIn(of))} not committed</span>` : null}<span>${money(of.cost_usd)}</span><span>${span(of.duration_ms)}</span><span><${Text} of=${of.engine} /></span></p>
    <${Waits} of=${of} />
    ${of.note ? html`<p class="note ask"><${Text} of=${of.note} max=${300} /></p>` : null}
    <p class="row small">${of.verdict ? html`<${Badge} of=${of.verdict.verdict} />` : null}${of.check ? html`<span>check <${Badge} of=${of.check.passed ? "passed" : "failed"} /></span>` : null}${of.merged_into ? html`<span><${Badge} of="merged" /> into <code><${Text} of=${of.merged_into} max=${80} /></code></span>` : null}</p>
    <div class="row"><label class="check fine"><input type="checkbox" checked=${isChosen} onChange=${pick} aria-label=${`Compare ${of.branch}`} /> compare</label><span class="grow"></span>
      ${isWorking(of) ? html`<${Act} kind="danger" run=${async () => (await call("POST", `${path}/stop`), done())}>Stop<//>` : null}<a class="button" href=${`#/branches/${piece(of.id)}`}>Look</a></div></article>`;
}

// Several agents beside each other: what each changed, and which would conflict.
function Compare({ agents, close }) {
  const [state, set] = useState({ data: null, problem: null });
  const ids = agents.map((agent) => agent.id).join(" ");
  useEffect(() => {
    const end = new AbortController();
    call("POST", "/v1/branches/preview", { agents: ids.split(" ") }, { signal: end.signal }).then((data) => set({ data, problem: null }), (problem) => problem.name !== "AbortError" && set({ data: null, problem }));
    return () => end.abort();
  }, [ids]);
  const ofBranch = (list, branch) => list?.find((item) => item.branch === branch)?.result ?? "–";
  return html`<section class="panel" aria-label="Compared"><div class="head small"><h2>Beside each other</h2><button onClick=${close}>Close</button></div>
    <${Table} label="Compared" heads=${["Branch", "State", "Changes", "Check", "#Cost", "Alone", "In this order"]} rows=${agents.map((of) => ({
      key: of.id, cells: [html`<a class="open" href=${`#/branches/${piece(of.id)}`}><${Text} of=${of.branch} max=${80} /></a>`, html`<${Badge} of=${of.state} />`, html`<${Sizes} of=${of.size} />`, of.check ? html`<${Badge} of=${of.check.passed ? "passed" : "failed"} />` : "–", money(of.cost_usd),
        html`<${Badge} of=${ofBranch(state.data?.alone, of.branch)} />`, html`<${Badge} of=${ofBranch(state.data?.in_order, of.branch)} />`] }))} />
    <${Trouble} problem=${state.problem} />
    ${state.data ? html`<p class="fine">As they would merge into <code><${Text} of=${state.data.into} max=${80} /></code>; nothing was touched.</p>${state.data.pairs.map((pair) => html`<p class="note bad"><code><${Text} of=${pair.one} max=${80} /></code> and <code><${Text} of=${pair.other} max=${80} /></code> conflict in <${Text} of=${pair.files.join(", ")} max=${400} /></p>`)}` : null}</section>`;
}

export function Branch({ id }) {
  const path = `/v1/branches/${piece(id)}`;
  const { data: of, problem, reload } = useLoad(path, 2000);
  if (isMissing(problem)) return html`<${Head} title="Branch agent" /><${Missing} what="Branch agents" />`;
  if (!of) return html`<${Head} title="Branch agent" /><${Trouble} problem=${problem} />`;
  return html`<${Head} title=${of.branch} sub=${html`<${Badge} of=${of.state} /> <code><${Text} of=${of.repo} max=${120} /></code>`}>
      ${isWorking(of) ? html`<${Act} kind="danger" run=${async () => (await call("POST", `${path}/stop`), reload())}>Stop<//>` : null}<${Act} run=${async () => (await call("POST", `${path}/fetch`), reload())}>Bring home now<//><a class="button" href=${`#/sessions/${piece(of.session)}`}>Conversation</a><//>
    <${Trouble} problem=${problem} />
    <div class="said panel"><${Text} of=${of.task} /></div>
    <${Waits} of=${of} />${of.note ? html`<p class="note ask"><${Text} of=${of.note} max=${400} /></p>` : null}
    <${Facts} of=${[
      ["Changes", html`<${Sizes} of=${of.size} />`], ["Commits", count(of.commits)], ["Not committed", of.dirty + of.untracked || null], ["At home as", of.reference ?? of.ref ? html`<code><${Text} of=${of.reference ?? of.ref} max=${120} /></code>` : null],
      ["Tip", of.tip && html`<code>${of.tip.slice(0, 12)}</code>`], ["Goes into", of.target && html`<code><${Text} of=${of.target} max=${80} /></code>`], ["Merged into", of.merged_into && html`<code><${Text} of=${of.merged_into} max=${80} /></code>`],
      ["Engine", html`<${Text} of=${[of.engine, of.model].filter(Boolean).join(", ")} max=${120} />`], ["Kind", html`<${Text} of=${of.type} />`], ["Cost", money(of.cost_usd)], ["Time", isWorking(of) ? html`<${Since} from=${Date.now() - of.duration_ms} />` : span(of.duration_ms)], ["Made", html`<${Time} of=${of.created} />`],
      ["Verdict", of.verdict && html`<${Badge} of=${of.verdict.verdict} /> <code>${of.verdict.commit.slice(0, 12)}</code>`], ["Batch", of.batch && html`<a href=${`#/branches?batch=${piece(of.batch)}`}><code>${short(of.batch)}</code></a>`],
    ]} />
    ${of.also?.length ? html`<${Table} label="Repositories beside the first one" heads=${["Repository", "Changes", "#Commits", "#Not committed", "Tip", "Goes into"]} rows=${of.also.map((repo) => ({ key: repo.name, cells: [
      html`<${Text} of=${repo.name} max=${80} />`, html`<${Sizes} of=${repo.size} />`, count(repo.commits), count(repo.dirty + repo.untracked), html`<code>${repo.tip?.slice(0, 12)}</code>`,
      html`${repo.merged_into ? html`<${Badge} of="merged" /> ` : null}<code><${Text} of=${repo.merged_into ?? repo.target} max=${80} /></code>`,
    ] }))} />` : null}
    <${Decide} of=${of} path=${path} done=${reload} />
    <${Tail} of=${of} /><${Diff} of=${of} path=${path} />${of.also?.map((repo) => html`<${Diff} key=${repo.name} of=${repo} path=${path} repo=${repo.name} />`)}
    <details class="panel"><summary>Forget this agent</summary><p>Its clone goes. What is neither merged nor in your repository would be lost; the server refuses that.</p><div class="row">
      <${Sure} ask=${`Forget the agent on ${of.branch}?`} run=${async () => (await call("POST", `${path}/clean`, {}), (location.hash = "#/branches"))}>Forget<//></div></details>`;
}

// The commits that a reader looks at, as `expect` takes them: what is merged is that, or nothing.
export const seenOf = (of) => of.tip && [of.tip, ...(of.also ?? []).map((repo) => `${repo.name}=${repo.tip ?? ""}`)].join();

// What becomes of a branch in its merge queue.
function Queue({ id, done }) {
  const { data: queue, problem } = useLoad(`/v1/merge-queues/${piece(id)}`, QUEUE_MS);
  const isOver = queue && queue.state !== "working";
  useEffect(() => void (isOver && done()), [isOver]);
  if (!queue) return html`<${Trouble} problem=${problem} />`;
  return html`<div role="status" aria-label="Merge queue">${queue.places.map((place) => html`<p><${Badge} of=${place.state} /> <code><${Text} of=${place.branch} max=${80} /></code> into <code><${Text} of=${queue.into} max=${80} /></code>${place.commit ? html` at <code>${place.commit.slice(0, 12)}</code>` : null}</p>
    ${place.conflicts.length ? html`<p class="note bad">Conflicts in <${Text} of=${place.conflicts.map((file) => file.path).join(", ")} max=${600} /></p>` : null}${place.note ? html`<p class="note ask"><${Text} of=${place.note} max=${400} /></p>` : null}${place.check ? html`<${Check} of=${place.check} />` : null}`)}</div>`;
}

// What a reader does: a verdict, a check, a merge, a further task.
function Decide({ of, path, done }) {
  const [merged, tell] = useState(null);
  const [queue, setQueue] = useState(null);
  const expect = seenOf(of);
  const where = `${of.branch} at ${of.tip?.slice(0, 12)}`;
  const judge = (verdict) => async () => (await call("POST", `${path}/verdict`, { verdict }), done());
  const merge = (form) => async () => {
    tell(null);
    tell(await call("POST", `${path}/merge`, form));
    await done();
  };
  const enqueue = async () => {
    tell(null);
    setQueue((await call("POST", "/v1/merge-queues", { agents: [of.id], expect: [expect] })).id);
  };
  const go = async (form, node) => {
    const said = form.get("text").trim();
    await call("POST", `${path}/messages`, said ? { text: said } : {}, { headers: { "idempotency-key": crypto.randomUUID?.() ?? String(Math.random()) } });
    node.reset();
    await done();
  };
  const isBusy = isWorking(of);
  return html`<section class="panel" aria-label="Decide"><div class="row">
      <${Act} kind="primary" disabled=${!of.tip || isBusy} run=${judge("approved")}>Approve<//><${Act} kind="danger" disabled=${!of.tip || isBusy} run=${judge("rejected")}>Reject<//>
      <${Act} disabled=${!of.tip || isBusy} run=${async () => (await call("POST", `${path}/check`, {}), done())}>Run its check<//><span class="grow"></span>
      <${Act} disabled=${!of.tip} run=${merge({ dry_run: true, expect })}>Would it merge?<//>${of.tip ? html`<${Sure} kind="primary" ask=${`Merge ${where} into ${of.target ?? "the branch that it was taken from"}?`} run=${merge({ expect })}>Merge<//>
      <${Sure} kind="" ask=${`Put ${where} on top of ${of.target ?? "its target"}, check it there, and merge it when the check passes?`} run=${enqueue}>Queue<//>` : null}</div>
    ${merged ? html`<div role="status"><p><${Badge} of=${merged.result} /> <code><${Text} of=${merged.branch} max=${80} /></code> into <code><${Text} of=${merged.into} max=${80} /></code>${merged.commit ? html` at <code>${merged.commit.slice(0, 12)}</code>` : null}</p>
      ${merged.conflicts.length ? html`<p class="note bad">Conflicts in <${Text} of=${merged.conflicts.join(", ")} max=${600} /></p><${Act} run=${async () => (await call("POST", `${path}/resolve`, {}), tell(null), done())}>Let the agent resolve it<//>` : null}</div>` : null}${queue ? html`<${Queue} key=${queue} id=${queue} done=${done} />` : null}
    ${of.check ? html`<${Check} of=${of.check} />` : null}
    <details><summary>${isBusy ? "Say what comes next" : "Give it a further task, or let it go on"}</summary><${Form} run=${go} label="A further task" send=${isBusy ? "Queue it" : "Go on"}><${Field} label="What to do" hint="empty: it goes on with its task" wide><textarea name="text" rows="3"></textarea><//><//></details></section>`;
}

function Check({ of }) {
  return html`<details class="tool"><summary>check <code><${Text} of=${of.command} max=${120} /></code> <${Badge} of=${of.passed ? "passed" : "failed"} /> <span class="muted">${span(of.duration_ms)}</span></summary><${Block} of=${of.output} label="what it printed" kind=${of.passed ? "" : "bad"} /></details>`;
}

// The end of the log, as it grows.
function Tail({ of }) {
  const session = useLoad(`/v1/sessions/${piece(of.session)}`);
  const after = session.data ? Math.max(0, session.data.last_seq - TAIL) : null;
  const log = useLog(after === null ? null : of.session, after ?? 0);
  const turn = [...log.turns.values()].at(-1);
  return html`<details class="panel" open=${isWorking(of)}><summary>Log <${Link} of=${log.link} /></summary><div class="tail" tabindex="0" role="region" aria-label="Log">${turn ? html`<${TurnLog} turn=${turn} />` : html`<p class="muted">Nothing yet.</p>`}</div></details>`;
}

function Diff({ of, path, repo }) {
  // What stands behind the # is not sent: another tip is asked for anew.
  const { data: diff, problem } = useLoad(of.tip ? `${at(`${path}/diff`, { repo })}#${of.tip}` : null);
  const head = html`<h2>Changes${repo ? html` in <${Text} of=${repo} max=${80} />` : null}</h2>`;
  const [open, setOpen] = useState(null);
  const [isSplit, split] = useState(() => matchMedia("(min-width: 900px)").matches);
  if (!of.tip) return html`${head}<p class="muted">Nothing came home yet.</p>`;
  if (!diff) return html`${head}<${Trouble} problem=${problem} />`;
  const flagged = diff.files.filter((file) => file.flags.length).length;
  return html`<div class="head small">${head}<label class="check fine"><input type="checkbox" checked=${isSplit} onChange=${(event) => split(event.target.checked)} /> side by side</label></div>
    ${flagged ? html`<p class="note ask">${flagged === 1 ? "One file has" : `${flagged} files have`} something that a reader should look at twice.</p>` : null}${diff.truncated ? html`<p class="note ask">There is more than is listed.</p>` : null}
    <details class="about"><summary>${commits(diff.commits.length)}</summary><ul class="files">${diff.commits.map((commit) => html`<li><code>${commit.id.slice(0, 12)}</code> <${Text} of=${commit.subject} max=${200} /> <span class="muted"><${Text} of=${commit.author} max=${80} />, <${Time} of=${commit.time} /></span></li>`)}</ul></details>
    <ul class="files diff-files">${diff.files.map((file) => html`<li key=${file.path}><button class="plain" aria-expanded=${open === file.path} onClick=${() => setOpen(open === file.path ? null : file.path)}><code><${Text} of=${file.path} max=${300} /></code></button>
        <span class="muted">${file.change}${file.from ? html` from <${Text} of=${file.from} max=${200} />` : null}</span>${file.added === null ? null : html`<span class="fine"><span class="plus-word">+${count(file.added)}</span> <span class="minus-word">−${count(file.removed)}</span></span>`}
        ${file.flags.map((flag) => html`<span class=${`badge ${["bidi", "invisible", "hooks", "symlink"].includes(flag) ? "bad" : "wait"}`} title="look at this twice">${flag}</span>`)}
        ${open === file.path ? html`<${Patch} path=${path} repo=${repo} file=${file.path} tip=${diff.tip} isSplit=${isSplit} />` : null}</li>`)}</ul>`;
}

function Patch({ path, repo, file, tip, isSplit }) {
  const [state, set] = useState({ patch: null, problem: null });
  useEffect(() => {
    const end = new AbortController();
    text(at(`${path}/patch`, { path: file, repo }), end.signal).then((patch) => set({ patch, problem: null }), (problem) => problem.name !== "AbortError" && set({ patch: null, problem }));
    return () => end.abort();
  }, [path, repo, file, tip]);
  const rows = useMemo(() => (state.patch === null ? [] : patchRows(state.patch)), [state.patch]);
  if (state.problem) return html`<div class="panel wide"><${Trouble} problem=${state.problem} /></div>`;
  if (state.patch === null) return html`<p class="muted panel wide" role="status">loading</p>`;
  if (!rows.length) return html`<p class="muted panel wide">It has no lines to show.</p>`;
  return html`<div class="panel wide patch-box" tabindex="0" role="region" aria-label="Changes">${isSplit ? html`<${Split} rows=${rows} />` : html`<${Unified} rows=${rows} />`}${rows.length >= LINES_MAX ? html`<p class="muted">More is not shown here.</p>` : null}</div>`;
}

// Lines of a unified diff: {sign, text, old, now}. What stands before the first part of it is left out.
export function patchRows(patch) {
  const rows = [];
  let [old, now, isIn] = [0, 0, false];
  for (const line of patch.split("\n")) {
    const head = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/.exec(line);
    if (head) {
      [old, now, isIn] = [Number(head[1]), Number(head[2]), true];
      rows.push({ sign: "@", text: line });
    } else if (line.startsWith("diff --git ")) isIn = false;
    else if (!isIn) continue;
    else if (line[0] === "+") rows.push({ sign: "+", text: line.slice(1), now: now++ });
    else if (line[0] === "-") rows.push({ sign: "-", text: line.slice(1), old: old++ });
    else if (line[0] === " ") rows.push({ sign: " ", text: line.slice(1), old: old++, now: now++ });
    else if (line[0] === "\\") rows.push({ sign: "\\", text: line });
    if (rows.length >= LINES_MAX) break;
  }
  return rows;
}

const TONE = { "+": "plus", "-": "minus", "@": "muted", "\\": "muted" };

function Unified({ rows }) {
  return html`<table class="diff"><tbody>${rows.map((row, n) => html`<tr key=${n} class=${TONE[row.sign] ?? ""}><td class="line">${row.old ?? ""}</td><td class="line">${row.now ?? ""}</td><td class="sign">${row.sign === "@" ? "" : row.sign}</td><td class="code"><${Text} of=${row.text} max=${4000} /></td></tr>`)}</tbody></table>`;
}

// What goes beside what comes in its place.
export function paired(rows) {
  const out = [];
  let gone = [];
  let came = [];
  const flush = () => {
    for (let n = 0; n < Math.max(gone.length, came.length); n += 1) out.push([gone[n] ?? null, came[n] ?? null]);
    [gone, came] = [[], []];
  };
  for (const row of rows) {
    if (row.sign === "-") {
      if (came.length) flush();
      gone.push(row);
    } else if (row.sign === "+") came.push(row);
    else {
      flush();
      out.push([row, row]);
    }
  }
  flush();
  return out;
}

function Split({ rows }) {
  const side = (row, line) => html`<td class="line">${row?.[line] ?? ""}</td><td class=${`code ${row && TONE[row.sign] ? TONE[row.sign] : ""}${row ? "" : " none"}`}>${row ? html`<${Text} of=${row.text} max=${4000} />` : null}</td>`;
  return html`<table class="diff split"><tbody>${paired(rows).map(([one, other], n) => one && one === other && one.sign !== " " ? html`<tr key=${n} class="muted"><td class="line"></td><td class="code" colspan="3"><${Text} of=${one.text} max=${400} /></td></tr>` : html`<tr key=${n}>${side(one, "old")}${side(other, "now")}</tr>`)}</tbody></table>`;
}
