// Talking with an agent as on any chat network: what is said goes the way of every message, with the rights of whoever is logged in.

import { html, useEffect, useMemo, useRef, useState } from "../dom.js";
import { Problem, at, call, download, get, piece } from "../api.js";
import { Act, Badge, Empty, Head, Missing, Text, Time, Trouble, isMissing, useLoad } from "../parts.js";
import { TurnLog, useLog, useTail } from "../log.js";
import { Marked } from "../marked.js";
import { bytes, fileName } from "../text.js";
import { readFiles } from "../files.js";

// How long the server is asked to wait for a change, in seconds; and the first and the longest rest after a failure.
const WAIT_S = 25;
const AGAIN_MS = [500, 10_000];
// Messages of one page.
const PAGE = 100;
// How many of the youngest events of a session are read for the turn that runs.
const BACK = 2000;
const OPEN = ["queued", "leased", "running", "waiting"];

export function Chat({ agent }) {
  const chats = useLoad("/v1/web/chats", 10_000);
  if (isMissing(chats.problem)) return html`<${Head} title="Chat" /><${Missing} what="Conversations" />`;
  const items = chats.data?.items ?? [];
  return html`<div class="chat"><${Talks} items=${items} now=${agent} />
    ${agent ? html`<${Talk} key=${agent} agent=${agent} of=${items.find((item) => item.agent === agent)} />` : html`<div><${Head} title="Chat" sub="Talk with an agent; what you say goes through the router like a message of any chat network." />
      <${Trouble} problem=${chats.problem} />${chats.isLoading ? html`<p class="muted" role="status">loading</p>` : null}
      ${chats.data && !items.length ? html`<${Empty} title="No agent is yours to talk to.">Who looks after people gives you a role with one: <code>lazaret role grant</code>.<//>` : null}
      ${items.length ? html`<p class="muted">Choose an agent to begin.</p>` : null}</div>`}</div>`;
}

function Talks({ items, now }) {
  return html`<nav class="talks" aria-label="Agents to talk to"><ul>${items.map((item) => html`<li key=${item.agent}><a class="open" href=${`#/chat/${piece(item.agent)}`} aria-current=${item.agent === now ? "page" : undefined}>
    <strong><${Text} of=${item.agent} /></strong><small>${item.heard ? html`<${Time} of=${item.heard} />` : "not begun"}${item.is_heard ? null : " · nobody hears it"}</small></a></li>`)}</ul></nav>`;
}

// The messages, kept up to date by requests that wait for a change.
function useMessages(path) {
  const [state, set] = useState({ items: [], next: null, isLoading: true, problem: null });
  const known = useRef(new Map());
  const taken = useRef(0);
  const take = (page, isOlder) => {
    for (const item of page.items) known.current.set(item.id, { ...item, order: known.current.get(item.id)?.order });
    for (const edit of page.edits) {
      const old = known.current.get(edit.id);
      if (old) known.current.set(edit.id, { ...old, text: edit.text, buttons: edit.buttons, edited: true });
    }
    const items = [...known.current.values()].sort((a, b) => a.at - b.at);
    set((old) => ({ items, next: isOlder || old.isLoading ? page.next : old.next, isLoading: false, problem: null }));
  };
  // Takes the youngest page. Of answers that were on their way together nobody knows which is newer: one that was overtaken is
  // asked for once more, without waiting.
  const look = async (wait, signal) => {
    for (let query = wait; ; query = {}) {
      const before = taken.current;
      const page = await get(at(path, { limit: PAGE, ...query }), signal);
      if (before !== taken.current) continue;
      taken.current += 1;
      take(page, false);
      return page.version;
    }
  };
  useEffect(() => {
    const end = new AbortController();
    const run = async () => {
      let seen;
      let rest = AGAIN_MS[0];
      while (!end.signal.aborted) {
        try {
          seen = await look({ seen, wait_s: seen === undefined ? undefined : WAIT_S }, end.signal);
          rest = AGAIN_MS[0];
        } catch (problem) {
          if (end.signal.aborted) return;
          set((old) => ({ ...old, problem }));
          if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) return;
          await new Promise((done) => setTimeout(done, rest));
          rest = Math.min(rest * 2, AGAIN_MS[1]);
        }
      }
    };
    run();
    return () => end.abort();
  }, [path]);
  const older = async () => take(await get(at(path, { limit: PAGE, after: state.next })), true);
  return { ...state, older, again: () => look({}) };
}

function Talk({ agent, of }) {
  const path = `/v1/web/chats/${piece(agent)}/messages`;
  const talk = useMessages(path);
  const [editing, edit] = useState(null);
  const answered = new Set(talk.items.filter((item) => item.by !== "you" && item.turn).map((item) => item.turn));
  const open = talk.items.filter((item) => item.by === "you" && item.turn && OPEN.includes(item.state) && !answered.has(item.turn)).at(-1)
    ?? talk.items.filter((item) => item.by === "you" && item.turn && OPEN.includes(item.state)).at(-1);
  useTail(talk.items.length);
  if (talk.problem?.status === 403 || talk.problem?.status === 404) return html`<div><${Head} title=${agent} /><${Trouble} problem=${talk.problem} /></div>`;
  return html`<section class="talk" aria-label=${`Conversation with ${agent}`}><${Head} title=${agent} sub=${html`<span class="link muted" role="status">${talk.problem ? "connecting" : "live"}</span>${of && !of.is_heard ? html`<${Badge} of="nobody hears it" />` : null}`}>
      ${open ? html`<${Act} kind="danger" run=${() => say(path, "/stop", [])}>Stop<//>` : null}<a class="button" href=${`#/agents/${piece(agent)}`}>The agent</a><//>
    ${talk.problem ? html`<${Trouble} problem=${talk.problem} />` : null}
    ${talk.next ? html`<p><${Act} run=${talk.older}>Show older<//></p>` : null}
    ${!talk.isLoading && !talk.items.length && !talk.problem ? html`<${Empty} title="Nothing was said yet.">Say hello below. <code>/help</code> tells what the host itself understands.<//>` : null}
    <ol class="messages" aria-label="Messages">${talk.items.map((item) => html`<${Message} key=${item.id} of=${item} path=${path} edit=${edit} done=${talk.again} />`)}</ol>
    ${open ? html`<${Now} key=${open.turn} of=${open} isAnswered=${answered.has(open.turn)} done=${talk.again} />` : null}
    <${Write} path=${path} agent=${agent} editing=${editing} stop=${() => edit(null)} done=${talk.again} /></section>`;
}

const REASONS = { kept: "heard, and told with the next message", held: "waits", dropped: "was not taken" };

function Message({ of, path, edit, done }) {
  const who = of.by === "you" ? "You" : of.by === "host" ? "Lazaret" : of.agent ?? "agent";
  const isOpen = of.by === "you" && of.outcome === "turn" && of.state === "queued";
  const trouble = of.by === "you" && REASONS[of.outcome];
  return html`<li class=${`message by-${of.by}`}><div class="who"><span><${Text} of=${who} max=${80} /></span><span>${of.edited ? "edited · " : null}<${Time} of=${of.at} /></span></div>
    <div class="bubble">${of.text ? of.by === "you" ? html`<div class="said"><${Text} of=${of.text} /></div>` : html`<${Marked} of=${of.text} />` : null}
      ${of.files?.length ? html`<ul class="files">${of.files.map((file) => html`<li>${file.id
        ? html`<${Act} kind="plain" run=${() => download(`${path}/${piece(of.id)}/files/${piece(file.id)}`, fileName(file.name))}><${Text} of=${file.name} max=${120} /><//>`
        : html`<${Text} of=${file.name} max=${120} />`}<span class="muted">${Number.isFinite(file.size) ? bytes(file.size) : ""}</span>${file.error ? html`<span class="badge bad">did not come: <${Text} of=${file.error} max=${120} /></span>` : null}</li>`)}</ul>` : null}
      ${of.buttons?.length ? html`<${Buttons} of=${of} path=${path} done=${done} />` : null}</div>
    ${of.reactions?.length ? html`<div class="reactions">${of.reactions.map((emoji) => html`<span><${Text} of=${emoji} max=${16} /></span>`)}</div>` : null}
    ${trouble ? html`<p class="fine">It ${trouble}${of.gate ? html`: <code>${of.gate}</code>` : null}${of.reason ? html`, <${Text} of=${of.reason} max=${300} />` : null}.${of.fix ? html` What helps: <${Text} of=${of.fix} max=${400} />` : null}</p>` : null}
    ${of.by === "you" && of.state === "failed" ? html`<p class="fine">The turn failed. ${of.session ? html`<a href=${`#/sessions/${piece(of.session)}`}>See what happened</a>` : null}</p>` : null}
    ${isOpen ? html`<button class="plain fine" onClick=${() => edit(of)}>Edit</button>` : null}</li>`;
}

function Buttons({ of, path, done }) {
  const [said, tell] = useState(null);
  const press = (button) => async () => {
    const answer = await call("POST", `${path}/${piece(of.id)}/press`, { value: button.value });
    tell(answer.said ?? null);
    await done();
  };
  return html`<div class="row card-buttons">${of.buttons.map((button, n) => html`<${Act} key=${button.value} kind=${n === 0 ? "primary" : ""} run=${press(button)}><${Text} of=${button.label} max=${80} /><//>`)}</div>
    ${said ? html`<p class="fine" role="status"><${Text} of=${said} max=${500} /></p>` : null}`;
}

// The turn that runs, as it happens.
function Now({ of, isAnswered, done }) {
  const session = useLoad(`/v1/sessions/${piece(of.session)}`);
  const after = session.data ? Math.max(0, session.data.last_seq - BACK) : null;
  const log = useLog(after === null ? null : of.session, after ?? 0);
  const turn = log.turns.get(of.turn);
  const isOver = Boolean(turn?.result);
  useEffect(() => {
    if (isOver) done();
  }, [isOver]);
  useTail(log.seq);
  if (isOver || isAnswered) return null;
  if (!turn) return html`<p class="end muted" role="status"><span class="dot" aria-hidden="true"></span> ${of.state === "queued" ? "waiting for a place" : "working"}</p>`;
  return html`<div class="now" aria-live="off"><${TurnLog} turn=${turn} /></div>`;
}

const freshKey = () => crypto.randomUUID?.() ?? String(Math.random());

const say = (path, text, files, key = freshKey()) => call("POST", path, { text, files }, { headers: { "idempotency-key": key } });

function Write({ path, agent, editing, stop, done }) {
  const [state, set] = useState({ isBusy: false, problem: null });
  const field = useRef(null);
  const files = useRef(null);
  // The same until the server has it: a request that broke off is repeated, not said twice.
  const key = useRef(freshKey());
  useEffect(() => {
    if (!editing) return;
    field.current.value = editing.text;
    field.current.focus();
  }, [editing]);
  const send = async (event) => {
    event?.preventDefault();
    const said = field.current.value;
    if (state.isBusy || (!said.trim() && !files.current?.files.length)) return;
    set({ isBusy: true, problem: null });
    try {
      if (editing) await call("PATCH", `${path}/${piece(editing.id)}`, { text: said });
      else await say(path, said, await readFiles(files.current.files, "name"), key.current);
      key.current = freshKey();
      field.current.value = "";
      if (files.current) files.current.value = "";
      set({ isBusy: false, problem: null });
      stop();
      scrollTo(0, document.documentElement.scrollHeight);
      await done();
    } catch (problem) {
      // What the server refused is a new attempt the next time.
      if (problem.status >= 400) key.current = freshKey();
      set({ isBusy: false, problem: problem instanceof Problem ? problem : new Problem(0, { code: "USAGE", message: problem.message }) });
    }
  };
  const press = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
    else if (event.key === "Escape" && editing) (stop(), (field.current.value = ""));
  };
  return html`<form class="write" onSubmit=${send} aria-label="Message">
    ${editing ? html`<p class="fine">Another text for what waits. <button type="button" class="plain" onClick=${() => (stop(), (field.current.value = ""))}>Leave it</button></p>` : null}
    <textarea ref=${field} data-first rows="2" aria-label="Message" placeholder=${`Say something to ${agent}`} onKeyDown=${press}></textarea>
    <${Trouble} problem=${state.problem} />
    <div class="row">${editing ? null : html`<input type="file" multiple ref=${files} aria-label="Files" />`}<span class="grow"></span>
      <small class="muted wide-only">Enter sends, Shift+Enter begins a line, /help tells more</small>
      <button class="primary" disabled=${state.isBusy}>${editing ? "Change" : "Send"}</button></div></form>`;
}
