// One conversation: what was said, what is asked, and going back or another way.

import { html, useEffect, useMemo, useRef, useState } from "../dom.js";
import { Problem, at, call, get, piece, text } from "../api.js";
import { Act, Badge, Block, Empty, Facts, Head, Sure, Text, Time, Trouble, useAsked } from "../parts.js";
import { Link, TurnLog, useLog, useTail } from "../log.js";
import { bytes } from "../text.js";
import { readFiles } from "../files.js";

// How many of the youngest events are read when a session is opened.
const BACK = 3000;

const isWorking = (session) => ["running", "queued", "waiting"].includes(session.state);

export function Session({ id }) {
  const path = `/v1/sessions/${piece(id)}`;
  const both = (signal) => Promise.all([get(path, signal), allTurns(path, signal)]);
  const { data, problem, isLoading, reload } = useAsked(path, both, (known) => (known && isWorking(known[0]) ? 2500 : 10_000));
  if (!data) return html`<${Head} title="Session" /><${Trouble} problem=${problem} />${isLoading ? html`<p class="muted">loading</p>` : null}`;
  return html`<${Open} path=${path} session=${data[0]} turns=${data[1]} problem=${problem} refresh=${reload} />`;
}

function Open({ path, session, turns, problem, refresh }) {
  const [from, setFrom] = useState(() => Math.max(0, session.last_seq - BACK));
  const log = useLog(session.id, from);
  // What the log tells of is not all that there is of a turn: its prompt and its place in history are asked for when one
  // begins, waits or ends.
  const ended = [...log.turns.values()].filter((turn) => turn.result).length;
  const asked = [...log.turns.values()].reduce((n, turn) => n + turn.entries.filter((entry) => entry.type === "question" || entry.type === "approval").length, 0);
  useEffect(() => void (log.turns.size && refresh()), [log.turns.size, ended, asked]);
  useTail(log.seq);
  return html`<${Head} title=${session.title || "Session"} sub=${html`<${Badge} of=${session.state} /> <${Link} of=${log.link} />`}>
      <${Menu} path=${path} session=${session} done=${refresh} /><//>
    <${Trouble} problem=${problem} />
    <details class="about"><summary>About this session</summary><${Facts} of=${[
      ["Identity", html`<code>${session.id}</code>`], ["Agent", session.agent], ["Engine", session.engine], ["Model", session.model], ["Provider", session.provider],
      ["Env", session.env && html`<${Text} of=${session.env} />`], ["Working directory", html`<code><${Text} of=${session.workdir} /></code>`],
      ["Forked from", session.parent && html`<a href=${`#/sessions/${piece(session.parent.session)}`}>${session.parent.session}</a> at turn ${session.parent.turn}`],
      ["Made", html`<${Time} of=${session.created} />`],
      ["Labels", Object.keys(session.labels).length ? html`<${Text} of=${Object.entries(session.labels).map(([k, v]) => `${k}=${v}`).join("  ")} />` : null],
    ]} /></details>
    ${from > 0 ? html`<p><button onClick=${() => setFrom(0)}>Show the whole log</button></p>` : null}
    <ol class="turns" aria-label="Turns">${turns.map((turn) => html`<${Turn} key=${turn.id} path=${path} turn=${turn} log=${log.turns.get(turn.id)} session=${session} done=${refresh} />`)}</ol>
    ${turns.length === 0 ? html`<${Empty} title="Nothing was said yet.">Write below what the agent shall do.<//>` : null}
    ${session.questions.map((question) => html`<${Question} key=${question.id} path=${path} question=${question} done=${refresh} />`)}
    <${Write} path=${path} session=${session} done=${refresh} />`;
}

// Every turn, page by page.
async function allTurns(path, signal) {
  const all = [];
  let after = 0;
  for (;;) {
    const page = await get(at(`${path}/turns`, { after, limit: 1000 }), signal);
    all.push(...page.items);
    if (!page.next) return all;
    after = page.next;
  }
}

function Turn({ path, turn, log, session, done }) {
  const isHead = turn.n === session.head;
  return html`<li class=${turn.in_history || !turn.ended ? "turn" : "turn undone"}>
    <div class="prompt"><div class="who">Turn ${turn.n}${turn.in_history || !turn.ended ? null : html` <span class="badge calm">undone</span>`}<${Time} of=${turn.accepted} /></div>
      <${Prompt} path=${path} turn=${turn} /></div>
    <div class="answer">${log ? html`<${TurnLog} turn=${log} />` : html`<p class="end"><${Badge} of=${turn.outcome ?? turn.state} /></p>`}
      ${turn.ended ? html`<div class="row small"><${Changes} path=${path} turn=${turn} />
        ${turn.checkpoint && !isHead ? html`<${Back} path=${path} to=${turn.n} word="Go back to here" kind="plain" done=${done} />` : null}
        ${turn.checkpoint ? html`<${Act} kind="plain" run=${() => fork(path, turn.n)}>Fork here<//>` : null}</div>` : null}</div></li>`;
}

// The list of turns has the beginning of each prompt; the rest is asked for.
const PROMPT_CHARS_LISTED = 200;

function Prompt({ path, turn }) {
  const [whole, setWhole] = useState(null);
  const isCut = whole === null && [...turn.prompt].length >= PROMPT_CHARS_LISTED;
  return html`<div class="said"><${Text} of=${whole ?? turn.prompt} />${isCut ? "…" : null}</div>
    ${isCut ? html`<${Act} kind="plain" run=${async () => setWhole(await text(`${path}/turns/${piece(turn.id)}/prompt`))}>Show the whole prompt<//>` : null}`;
}

async function fork(path, n) {
  const made = await call("POST", `${path}/fork`, { at: n, n: 1 });
  location.hash = `#/sessions/${piece(made.items[0].id)}`;
}

// Going back to the end of a turn. In an env that others changed since, the server wants to know how.
function Back({ path, to, word, kind = "", done }) {
  const [isShared, share] = useState(null);
  const go = (how) => async () => {
    try {
      await call("POST", `${path}/undo`, { to, ...how });
      share(null);
      await done();
    } catch (problem) {
      if (problem.code !== "ENV_SHARED") throw problem;
      share(problem);
    }
  };
  return html`<${Act} kind=${kind} run=${go({})}>${word}<//>
    ${isShared && html`<${Trouble} problem=${isShared} /><${Act} run=${go({ private: true })}>Go on in a private copy<//><${Act} kind="danger" run=${go({ force: true })}>Go back all the same<//>`}`;
}

function Changes({ path, turn }) {
  const [state, set] = useState({ isOpen: false, items: null, problem: null, patch: null });
  const asked = useRef(0);
  const open = async () => {
    if (state.isOpen) return set({ ...state, isOpen: false });
    try {
      const { items } = await get(at(`${path}/diff`, { turn: turn.n }));
      set({ isOpen: true, items, problem: null, patch: null });
    } catch (problem) {
      set({ isOpen: true, items: [], problem, patch: null });
    }
    return undefined;
  };
  // The file that was chosen last is shown, whichever comes last.
  const show = async (change) => {
    const mine = (asked.current += 1);
    const take = (patch, problem) => mine === asked.current && set((old) => ({ ...old, patch, problem }));
    try {
      take(await text(at(`${path}/diff/${turn.n}`, { path: change.path })), null);
    } catch (problem) {
      take(null, problem);
    }
  };
  return html`<button class="plain" aria-expanded=${state.isOpen} onClick=${open}>Files changed</button>
    ${state.isOpen ? html`<div class="panel wide"><${Trouble} problem=${state.problem} />
      ${state.items?.length === 0 && !state.problem ? html`<p class="muted">No file was changed.</p>` : null}
      <ul class="files">${(state.items ?? []).map((change) => html`<li><button class="plain" onClick=${() => show(change)}><${Text} of=${change.path} /></button>
        <span class="muted">${change.change}${Number.isFinite(change.size_after) ? ` · ${bytes(change.size_after)}` : ""}</span></li>`)}</ul>
      ${state.patch !== null && html`<${Patch} of=${state.patch} />`}</div>` : null}`;
}

function Patch({ of }) {
  const lines = useMemo(() => of.split("\n").slice(0, 5000), [of]);
  const tone = (line) => (/^(\+\+\+|---)/.test(line) ? "muted" : line[0] === "+" ? "plus" : line[0] === "-" ? "minus" : line[0] === "@" ? "muted" : "");
  return html`<pre class="block patch" tabindex="0" aria-label="changes">${lines.map((line) => html`<div class=${tone(line)}><${Text} of=${line} /></div>`)}</pre>`;
}

function Question({ path, question, done }) {
  const answer = async (said) => {
    await call("POST", `${path}/answer`, { question: question.id, text: said });
    await done();
  };
  const field = useRef(null);
  return html`<section class="panel ask" aria-label="Question"><p><strong>The agent asks:</strong></p><div class="said"><${Text} of=${question.text} /></div>
    <div class="row">${question.options.map((option) => html`<${Act} run=${() => answer(option)}><${Text} of=${option} max=${200} /><//>`)}</div>
    <div class="row grow"><input ref=${field} aria-label="Your answer" placeholder="Your answer" /><${Act} kind="primary" run=${() => answer(field.current.value)}>Answer<//></div></section>`;
}

function Write({ path, session, done }) {
  const [state, set] = useState({ isBusy: false, problem: null });
  const field = useRef(null);
  const files = useRef(null);
  if (session.state === "archived") return html`<p class="muted">This session is archived and takes no turns.</p>`;
  const isBusy = isWorking(session);
  const send = async (event) => {
    event?.preventDefault();
    const said = field.current.value;
    if (state.isBusy || (!said.trim() && !files.current.files.length)) return;
    set({ isBusy: true, problem: null });
    try {
      const body = { text: said, files: await readFiles(files.current.files, "name") };
      await call("POST", `${path}/messages`, body, { headers: { "idempotency-key": crypto.randomUUID?.() ?? String(Math.random()) } });
      field.current.value = "";
      files.current.value = "";
      set({ isBusy: false, problem: null });
      scrollTo(0, document.documentElement.scrollHeight);
      await done();
    } catch (problem) {
      set({ isBusy: false, problem: problem instanceof Problem ? problem : new Problem(0, { code: "USAGE", message: problem.message }) });
    }
  };
  const press = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  };
  return html`<form class="write" onSubmit=${send} aria-label="Message">
    <textarea ref=${field} data-first rows="3" aria-label="Message" placeholder=${isBusy ? "Waits until the present turn has ended" : "What shall the agent do?"} onKeyDown=${press}></textarea>
    <${Trouble} problem=${state.problem} />
    <div class="row"><input type="file" multiple ref=${files} aria-label="Files" /><span class="grow"></span>
      <small class="muted wide-only">Enter sends, Shift+Enter begins a line</small>
      ${isBusy ? html`<${Act} kind="danger" run=${async () => (await call("POST", `${path}/cancel`), await done())}>Cancel<//>` : null}
      <button class="primary" disabled=${state.isBusy}>Send</button></div></form>`;
}

function Menu({ path, session, done }) {
  const rename = useRef(null);
  const title = useRef(null);
  const isArchived = session.state === "archived";
  const patch = async (body) => {
    await call("PATCH", path, body);
    rename.current?.close();
    await done();
  };
  return html`${session.head > 0 && !isArchived ? html`<${Back} path=${path} word="Undo" done=${done} /><${Act} run=${() => fork(path, undefined)}>Fork<//>` : null}
    <button onClick=${() => rename.current.showModal()}>Rename</button>
    <${Act} run=${() => patch({ archived: !isArchived })}>${isArchived ? "Unarchive" : "Archive"}<//>
    <${Sure} ask="Delete this session with its files? This cannot be undone." run=${async () => (await call("DELETE", path), (location.hash = "#/sessions"))}>Delete<//>
    <dialog ref=${rename} aria-label="Rename"><label class="field"><span>Title</span><input ref=${title} defaultValue=${session.title} maxlength="200" /></label>
      <div class="row end"><button type="button" onClick=${() => rename.current.close()}>Leave it</button><${Act} kind="primary" run=${() => patch({ title: title.current.value })}>Rename<//></div></dialog>`;
}
