// What the pages are put together from.

import { createContext, html, useContext, useEffect, useMemo, useRef, useState } from "./dom.js";
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

// Asks for one thing, as often as it is told to. However slow the answers are and in whatever order they come, one that is newer
// than what is known is taken, an older one is not, and none is after the end.
function asking(ask, take) {
  const over = new AbortController();
  let [asked, ended, taken, data] = [0, 0, 0, null];
  const again = async () => {
    const mine = (asked += 1);
    const [answer, problem] = await ask(over.signal).then((found) => [found, null], (failure) => [null, failure]);
    ended += 1;
    if (over.signal.aborted || mine < taken) return;
    // What is known stays in sight when asking fails, unless the thing itself is gone.
    if (!problem || problem.status === 404) [taken, data] = [mine, answer];
    take({ data, problem, isLoading: false });
  };
  return { again, isBusy: () => ended < asked, end: () => over.abort() };
}

const UNKNOWN = { data: null, problem: null, isLoading: true };

// What `ask` answers about what `of` names; it is known until `of` names another. While somebody looks it is asked again `every` ms
// after the last answer, and never while an answer is on its way. `every` can be told by what is known.
export function useAsked(of, ask, every = 0) {
  const [state, set] = useState(UNKNOWN);
  const line = useMemo(() => (of ? asking(ask, (answer) => set({ of, ...answer })) : null), [of]);
  const known = state.of === of ? state : UNKNOWN;
  const pause = typeof every === "function" ? every(known.data) : every;
  useEffect(() => {
    line?.again();
    return line?.end;
  }, [line]);
  // Each answer begins the pause anew.
  useEffect(() => {
    const timer = line && pause && setInterval(() => document.hidden || line.isBusy() || line.again(), pause);
    return () => clearInterval(timer);
  }, [line, pause, state]);
  return { ...known, reload: async () => line?.again() };
}

// Loads a path.
export const useLoad = (path, every) => useAsked(path, (signal) => get(path, signal), every);

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
    // What comes for another list than the one that is shown is left out.
    const take = (now) => setMore((old) => (old.of === first ? { ...old, ...now, isBusy: false } : old));
    try {
      const page = await get(at(path, { ...query, after: next }));
      take({ items: [...later.items, ...page.items], next: page.next, problem: null });
    } catch (problem) {
      take({ problem });
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
