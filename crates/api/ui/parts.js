// What the pages are put together from.

import { createContext, html, useCallback, useContext, useEffect, useRef, useState } from "./dom.js";
import { Problem, at, get } from "./api.js";
import { ago, hasHidden, json, pieces, span, time } from "./text.js";

// The longest text that is put on the page; the rest can be had as a file.
const TEXT_CHARS_MAX = 200_000;
// How often what may change is asked for again.
export const FRESH_MS = 3000;

// A text of anybody's. Nothing in it can hide or turn what stands beside it.
export function Text({ of, max = TEXT_CHARS_MAX }) {
  const whole = String(of ?? "");
  const text = whole.length > max ? whole.slice(0, max) : whole;
  const parts = hasHidden(text) ? pieces(text) : [[text, false]];
  return html`<bdi class="text">${parts.map(([part, hidden]) => (hidden ? html`<span class="hidden-char" title="a character that is not seen">${part}</span>` : part))}${
    whole.length > max ? html`<span class="muted">… ${whole.length - max} characters more</span>` : null}</bdi>`;
}

// A block of text as it was written.
export function Block({ of, label, kind = "" }) {
  return html`<pre class=${`block ${kind}`} tabindex="0" aria-label=${label ?? "text"}><${Text} of=${json(of)} /></pre>`;
}

const TONES = {
  good: ["completed", "done", "approved", "ready", "ok", "active", "installed", "sent", "delivered", "live", "allowed", "well", "merged", "passed", "turn"],
  busy: ["running", "leased", "begun", "starting", "connecting", "sending"],
  wait: ["queued", "waiting", "pending", "due", "paused", "credential", "configuration", "held", "stopped"],
  bad: ["failed", "denied", "timeout", "expired", "broken", "removed", "refused", "revoked", "error", "dead", "high", "down", "dropped", "conflict", "rejected", "bidi", "invisible"],
};

// A state in one word, with a tone that colour is not alone to carry.
export function Badge({ of }) {
  const word = String(of ?? "");
  const tone = Object.keys(TONES).find((name) => TONES[name].includes(word)) ?? "calm";
  return html`<span class=${`badge ${tone}`}><${Text} of=${word} /></span>`;
}

export function Time({ of }) {
  if (!of) return html`<span class="muted">–</span>`;
  return html`<time class="nowrap" datetime=${new Date(of).toISOString()} title=${time(of)}>${ago(of)}</time>`;
}

// What went wrong, what to do about it, and how the log names it.
export function Trouble({ problem }) {
  if (!problem) return null;
  if (!(problem instanceof Problem)) return html`<div class="trouble" role="alert"><strong>${String(problem.message ?? problem)}</strong></div>`;
  return html`<div class="trouble" role="alert">
    <strong><${Text} of=${problem.message} /></strong>
    ${problem.hint && html`<div><${Text} of=${problem.hint} /></div>`}
    <div class="fine"><code>${problem.code}</code>${problem.field && html` · field <code><${Text} of=${problem.field} /></code>`}${
      problem.request && html` · request <code>${problem.request}</code>`}</div>
  </div>`;
}

// A page whose part of the server is not there.
export function Missing({ what }) {
  return html`<div class="empty"><strong>${what} are not served here.</strong><p>This daemon has no such route. A newer version may have it.</p></div>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><strong>${title}</strong>${children && html`<p>${children}</p>`}</div>`;
}

export const isMissing = (problem) => problem?.status === 404 && /^there is nothing at/.test(problem.message);

// Loads a path; again every `every` ms while somebody looks.
export function useLoad(path, every = 0) {
  const [state, set] = useState({ data: null, problem: null, isLoading: true });
  const asked = useRef(0);
  const load = useCallback(async (signal) => {
    if (!path) return;
    const mine = (asked.current += 1);
    try {
      const data = await get(path, signal);
      if (mine === asked.current && !signal?.aborted) set({ data, problem: null, isLoading: false });
    } catch (problem) {
      if (problem.name !== "AbortError" && mine === asked.current) set((old) => ({ data: problem.status === 404 ? null : old.data, problem, isLoading: false }));
    }
  }, [path]);
  useEffect(() => {
    const end = new AbortController();
    set({ data: null, problem: null, isLoading: true });
    load(end.signal);
    const timer = every && setInterval(() => document.hidden || load(end.signal), every);
    return () => {
      end.abort();
      clearInterval(timer);
    };
  }, [load, every]);
  return { ...state, reload: () => load() };
}

// Loads a list page by page. The first page is asked for again while somebody looks; `key` tells entries apart.
export function usePages(path, query, key = "id", every = FRESH_MS) {
  const first = path && at(path, query);
  const fresh = useLoad(first, every);
  const [more, setMore] = useState({ of: first, items: [], next: undefined, problem: null, isBusy: false });
  const later = more.of === first ? more : { items: [], next: undefined, problem: null, isBusy: false };
  const next = later.next === undefined ? fresh.data?.next : later.next;
  const seen = new Set();
  const items = [...(fresh.data?.items ?? []), ...later.items].filter((item) => !seen.has(item[key]) && seen.add(item[key]));
  const loadMore = async () => {
    setMore({ ...later, of: first, isBusy: true });
    try {
      const page = await get(at(path, { ...query, after: next }));
      setMore({ of: first, items: [...later.items, ...page.items], next: page.next, problem: null, isBusy: false });
    } catch (problem) {
      setMore({ ...later, of: first, problem, isBusy: false });
    }
  };
  return { ...fresh, items, hasMore: Boolean(next), loadMore, isBusy: later.isBusy, problem: fresh.problem ?? later.problem };
}

// A table whose rows lead somewhere. On a narrow screen each row becomes a card with the heads as labels.
export function Table({ heads, rows, label }) {
  return html`<table class="list" aria-label=${label}>
    <thead><tr>${heads.map((head) => html`<th scope="col" class=${head.startsWith("#") ? "num" : ""}>${head.replace("#", "")}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.key}>${row.cells.map((cell, n) => html`<td data-head=${heads[n].replace("#", "")} class=${heads[n].startsWith("#") ? "num" : ""}>${cell}</td>`)}</tr>`)}</tbody>
  </table>`;
}

// A list: trouble, nothing, rows, and the way to more of them.
export function List({ pages, what, heads, row, children }) {
  if (isMissing(pages.problem)) return html`<${Missing} what=${what} />`;
  return html`<${Trouble} problem=${pages.problem} />
    ${pages.isLoading && !pages.items.length ? html`<p class="muted" role="status">loading</p>` : null}
    ${!pages.isLoading && !pages.problem && !pages.items.length ? children : null}
    ${pages.items.length ? html`<${Table} label=${what} heads=${heads} rows=${pages.items.map(row)} />` : null}
    ${pages.hasMore ? html`<p><button onClick=${pages.loadMore} disabled=${pages.isBusy}>Show more</button></p>` : null}`;
}

// A button that does something at the server: busy while it does, and its trouble shown beside it.
export function Act({ run, children, kind = "", label, disabled = false, quiet = false }) {
  const [state, set] = useState({ isBusy: false, problem: null });
  const act = async () => {
    set({ isBusy: true, problem: null });
    try {
      await run();
      set({ isBusy: false, problem: null });
    } catch (problem) {
      set({ isBusy: false, problem });
    }
  };
  return html`<span class="act"><button type="button" class=${kind} aria-label=${label} disabled=${disabled || state.isBusy} onClick=${act}>${children}</button>${
    quiet ? null : html`<${Trouble} problem=${state.problem} />`}</span>`;
}

// The same for what cannot be taken back: it asks once more. What is done is what stood there when it asked, whatever the page has
// learned since.
export function Sure({ run, children, ask, kind = "danger" }) {
  const box = useRef(null);
  const [problem, set] = useState(null);
  const [asked, put] = useState({ run, ask, children });
  const open = () => {
    set(null);
    put({ run, ask, children });
    box.current.showModal();
  };
  const go = async () => {
    try {
      await asked.run();
      box.current?.close();
    } catch (trouble) {
      set(trouble);
    }
  };
  return html`<button type="button" class=${kind} onClick=${open}>${children}</button>
    <dialog ref=${box} aria-label=${asked.ask}><p>${asked.ask}</p><${Trouble} problem=${problem} />
      <div class="row end"><button type="button" onClick=${() => box.current.close()}>Leave it</button>
      <button type="button" class=${kind} onClick=${go}>${asked.children}</button></div></dialog>`;
}

// What the server said of the form that a field stands in.
const Wrong = createContext(null);

// A form that sends something. `run` gets the FormData. What is wrong with a field stands beside it.
export function Form({ run, children, label, send = "Save", kind = "primary" }) {
  const [state, set] = useState({ isBusy: false, problem: null });
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    set({ isBusy: true, problem: null });
    try {
      await run(new FormData(form), form);
      set({ isBusy: false, problem: null });
    } catch (problem) {
      set({ isBusy: false, problem });
      form.elements.namedItem(problem.field)?.focus?.();
    }
  };
  return html`<form onSubmit=${submit} aria-label=${label}><${Wrong.Provider} value=${state.problem}>${children}<//><${Trouble} problem=${state.problem} />
    <div class="row"><button class=${kind} disabled=${state.isBusy} aria-busy=${state.isBusy}>${send}</button></div></form>`;
}

// `name` is how the server calls it where something is wrong with it.
export function Field({ label, hint, children, name, wide = false }) {
  const problem = useContext(Wrong);
  const isWrong = Boolean(name && problem?.field === name);
  return html`<label class=${`field${wide ? " wide" : ""}${isWrong ? " wrong" : ""}`}><span>${label}</span>${children}${hint && html`<small>${hint}</small>`}${
    isWrong ? html`<small class="wrong-why" role="alert"><${Text} of=${problem.message} max=${300} /></small>` : null}</label>`;
}

export function Head({ title, children, sub }) {
  return html`<div class="head"><div><h1 tabindex="-1"><${Text} of=${title} /></h1>${sub && html`<div class="sub">${sub}</div>`}</div><div class="row">${children}</div></div>`;
}

// Names and values of one thing.
export function Facts({ of }) {
  const given = of.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return html`<dl class="facts">${given.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// A clock that ticks, for what runs.
export function Since({ from, to }) {
  const [, tick] = useState(0);
  useEffect(() => {
    if (to || !from) return undefined;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [from, to]);
  return from ? html`<span class="nowrap">${span((to ?? Date.now()) - from)}</span>` : html`<span class="muted">–</span>`;
}

// What holds in a sandbox, in one line.
export function level(of) {
  if (!of) return "";
  const missing = of.lines.filter((line) => !line.holds).map((line) => line.name);
  return missing.length ? `${of.mode}: without ${missing.join(", ")}` : `${of.mode}: all ${of.lines.length} layers hold`;
}
