// The log of a session as people read it: events, folded into what they belong to, turn by turn.

import { html, useEffect, useRef, useState } from "./dom.js";
import { follow, piece } from "./api.js";
import { Badge, Block, Text, Trouble, level } from "./parts.js";
import { count, money, span } from "./text.js";

// How many entries of one turn are on the page at once; the youngest stay.
const ENTRIES_MAX = 1000;
// How much of one piece of text is kept; a page is no archive.
const ENTRY_CHARS_MAX = 400_000;

// Puts an event to the turn that it belongs to. Turns keep their order of appearance.
export function fold(turns, event) {
  let turn = turns.get(event.turn);
  if (!turn) {
    turn = { id: event.turn, entries: [], calls: new Map(), cost: 0, tokens: 0, first: event.seq, left: 0 };
    turns.set(event.turn, turn);
  }
  const last = turn.entries.at(-1);
  const add = (entry) => turn.entries.push({ key: event.seq, time: event.time, ...entry });
  if (event.type === "text" || event.type === "thinking") {
    if (last?.type === event.type && last.text.length < ENTRY_CHARS_MAX) last.text += event.text;
    else add({ type: event.type, text: event.text });
  } else if (event.type === "tool_call") {
    add({ type: "tool", name: event.name, input: event.input, output: null });
    turn.calls.set(event.id, turn.entries.at(-1));
  } else if (event.type === "tool_result") {
    const call = turn.calls.get(event.id);
    if (call) Object.assign(call, { output: event.output, isError: event.is_error });
    else add({ type: "tool", name: "tool", input: null, output: event.output, isError: event.is_error });
  } else if (event.type === "usage") {
    turn.cost += event.cost_usd;
    turn.tokens += (event.usage.input_tokens ?? 0) + (event.usage.output_tokens ?? 0);
  } else if (event.type === "start") {
    turn.start = event;
  } else if (event.type === "result") {
    turn.result = event;
  } else {
    add({ ...event, key: event.seq });
  }
  if (turn.entries.length > ENTRIES_MAX) turn.left += turn.entries.splice(0, turn.entries.length - ENTRIES_MAX).length;
  return turns;
}

// Follows a session's log. Events that come together are shown together, once per frame.
export function useLog(session, after = 0) {
  const [state, set] = useState({ turns: new Map(), link: "waiting", seq: after });
  useEffect(() => {
    if (!session) return undefined;
    const end = new AbortController();
    const turns = new Map();
    let frame = 0;
    let link = "waiting";
    let seq = after;
    const show = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        if (!end.signal.aborted) set({ turns, link, seq });
      });
    };
    const take = (event) => {
      fold(turns, event);
      seq = event.seq;
      show();
    };
    const tell = (now) => {
      link = now;
      show();
    };
    follow(`/v1/sessions/${piece(session)}/events`, after, take, tell, end.signal);
    return () => {
      end.abort();
      cancelAnimationFrame(frame);
    };
  }, [session, after]);
  return state;
}

function Tool({ entry }) {
  const word = entry.output === null ? "running" : entry.isError ? "failed" : "done";
  return html`<details class="tool"><summary><code><${Text} of=${entry.name} /></code> <${Badge} of=${word} /></summary>
    ${entry.input !== null && html`<${Block} of=${entry.input} label="what was asked" />`}
    ${entry.output !== null && html`<${Block} of=${entry.output} label="what came back" kind=${entry.isError ? "bad" : ""} />`}</details>`;
}

function Entry({ entry }) {
  switch (entry.type) {
    case "text":
      return html`<div class="said"><${Text} of=${entry.text} /></div>`;
    case "thinking":
      return html`<details class="thinking"><summary>Thinking</summary><div class="said"><${Text} of=${entry.text} /></div></details>`;
    case "tool":
      return html`<${Tool} entry=${entry} />`;
    case "question":
      return html`<div class="note ask"><strong>Asks:</strong> <${Text} of=${entry.text} /></div>`;
    case "approval":
      return html`<div class="note ask">Confirmation <a href=${`#/approvals/${piece(entry.id)}`}><${Text} of=${entry.tool || "of a call"} /></a> <${Badge} of=${entry.status} /></div>`;
    case "notice":
      return html`<div class="note"><${Text} of=${entry.text} /></div>`;
    case "error":
      return html`<div class="note bad"><code>${entry.code}</code> <${Text} of=${entry.message} />${entry.retriable ? " (tried again)" : ""}</div>`;
    default:
      return html`<div class="note"><code><${Text} of=${entry.type} /></code></div>`;
  }
}

// How a turn ended, in one line.
function End({ turn }) {
  const { result, start } = turn;
  if (!result) return html`<p class="end muted" role="status"><span class="dot" aria-hidden="true"></span> ${start ? "working" : "waiting for a place"}</p>`;
  const tokens = (result.usage.input_tokens ?? 0) + (result.usage.output_tokens ?? 0);
  return html`<p class="end muted"><${Badge} of=${result.status} />${result.code ? html` <code>${result.code}</code>` : null}
    <span>${span(result.duration_ms)}</span><span>${money(result.cost_usd)}</span><span>${count(tokens)} tokens</span>${
      start ? html`<span><${Text} of=${start.engine} /></span>` : null}<span class="level" title=${level(result.level)}>${level(result.level)}</span></p>`;
}

// The entries of one turn and how it ended.
export function TurnLog({ turn }) {
  // A result without any text of its own is shown all the same: some engines only say how it came out.
  const hasText = turn.entries.some((entry) => entry.type === "text");
  return html`${turn.left ? html`<p class="muted">${count(turn.left)} earlier entries are not shown.</p>` : null}
    ${turn.entries.map((entry) => html`<${Entry} key=${entry.key} entry=${entry} />`)}
    ${!hasText && turn.result?.text ? html`<div class="said"><${Text} of=${turn.result.text} /></div>` : null}
    <${End} turn=${turn} />`;
}

// Whether the log is being followed.
export function Link({ of }) {
  if (typeof of === "object") return html`<${Trouble} problem=${of} />`;
  return html`<span class="link muted" role="status">${of === "live" ? "live" : "connecting"}</span>`;
}

// Keeps the end of what grows in sight, unless somebody scrolled away from it.
export function useTail(what) {
  const isAtEnd = useRef(true);
  useEffect(() => {
    const look = () => {
      isAtEnd.current = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
    };
    addEventListener("scroll", look, { passive: true });
    return () => removeEventListener("scroll", look);
  }, []);
  useEffect(() => {
    if (isAtEnd.current) scrollTo(0, document.documentElement.scrollHeight);
  }, [what]);
}
