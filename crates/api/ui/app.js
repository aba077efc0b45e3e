// The page: the way in, the frame around every view, and which view the address names.

import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./dom.js";
import { BASE, Problem, goToIssuer, hasIssuer, login, logout, redeem } from "./api.js";
import { Act, Trouble, useLoad } from "./parts.js";
import { KEYS, listen } from "./keys.js";
import { Overview } from "./pages/overview.js";
import { Jobs } from "./pages/jobs.js";
import { Job } from "./pages/job.js";
import { NewJob } from "./pages/newjob.js";
import { Sessions } from "./pages/sessions.js";
import { Session } from "./pages/session.js";
import { Approvals } from "./pages/approvals.js";
import { Profiles, Profile } from "./pages/profiles.js";
import { Tasks, Task } from "./pages/tasks.js";
import { Usage } from "./pages/usage.js";
import { Tokens } from "./pages/tokens.js";
import { Audit } from "./pages/audit.js";
import { Envs } from "./pages/envs.js";
import { Plugins } from "./pages/plugins.js";
import { Agents, Agent } from "./pages/agents.js";
import { Activity } from "./pages/activity.js";
import { Branch, Branches } from "./pages/branches.js";
import { Channel, Channels } from "./pages/channels.js";
import { Chat } from "./pages/chat.js";
import { Setup } from "./pages/setup.js";
import { Wiring, Wirings } from "./pages/wirings.js";
import { Memory } from "./pages/memory.js";
import { Secrets } from "./pages/secrets.js";
import { Webhooks } from "./pages/webhooks.js";
import { People } from "./pages/people.js";
import { Pool } from "./pages/pool.js";

// Every view: its address, its word in the frame, its key after `g`, and what shows it. A longer address of one view is
// written with a colon for what it names. They stand in groups: one begins with `group`.
const VIEWS = [
  { path: "", word: "Overview", key: "o", view: Overview },
  { path: "chat", word: "Chat", key: "c", view: Chat, group: "Work" },
  { path: "chat/:agent", view: Chat },
  { path: "sessions", word: "Sessions", key: "s", view: Sessions },
  { path: "sessions/:id", view: Session },
  { path: "jobs", word: "Jobs", key: "j", view: Jobs },
  { path: "jobs/:id", view: Job },
  { path: "new", word: "New job", key: "n", view: NewJob },
  { path: "branches", word: "Branch agents", key: "r", view: Branches },
  { path: "branches/:id", view: Branch },
  { path: "approvals", word: "Approvals", key: "a", view: Approvals },
  { path: "approvals/:id", view: Approvals },
  { path: "tasks", word: "Schedules", key: "t", view: Tasks },
  { path: "tasks/:id", view: Task },
  { path: "agents", word: "Agents", key: "g", view: Agents, group: "Agents" },
  { path: "agents/:name", view: Agent },
  { path: "memory", word: "Memory", key: "m", view: Memory },
  { path: "profiles", word: "Profiles", key: "p", view: Profiles },
  { path: "profiles/:kind", view: Profile },
  { path: "profiles/:kind/:name", view: Profile },
  { path: "envs", word: "Envs", key: "e", view: Envs },
  { path: "plugins", word: "Plugins", key: "l", view: Plugins },
  { path: "channels", word: "Channels", key: "v", view: Channels, group: "Channels" },
  { path: "channels/:name", view: Channel },
  { path: "wirings", word: "Wirings", key: "i", view: Wirings },
  { path: "wirings/:chat", view: Wiring },
  { path: "people", word: "People", key: "h", view: People },
  { path: "activity", word: "Activity", key: "y", view: Activity },
  { path: "usage", word: "Usage", key: "u", view: Usage, group: "House" },
  { path: "secrets", word: "Secrets", key: "x", view: Secrets },
  { path: "tokens", word: "Tokens", key: "k", view: Tokens },
  { path: "webhooks", word: "Webhooks", key: "w", view: Webhooks },
  { path: "pool", word: "Pool", key: "b", view: Pool },
  { path: "audit", word: "Audit", key: "d", view: Audit },
  { path: "setup", word: "First steps", key: "f", view: Setup },
];

const CODE = /^#lzc_/;
const THEME = "lazaret-theme";
const THEMES = ["auto", "light", "dark"];

// The views of the frame: [group, views].
function groups() {
  const all = [];
  for (const view of VIEWS.filter((view) => view.word)) {
    if (!all.length || view.group) all.push([view.group ?? "", []]);
    all.at(-1)[1].push(view);
  }
  return all;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// Dots alone name nothing: they would lead to another path of the server.
const isName = (part) => decode(part).split("/").every((name) => !/^\.{0,2}$/.test(name));

// The view that an address names, and what it names in it.
function find(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/");
  for (const view of VIEWS) {
    const names = view.path.split("/");
    if (names.length !== parts.length || !names.every((name, n) => (name.startsWith(":") ? isName(parts[n]) : name === parts[n]))) continue;
    const params = Object.fromEntries(names.flatMap((name, n) => (name.startsWith(":") ? [[name.slice(1), decode(parts[n])]] : [])));
    return { view, params, query: Object.fromEntries(new URLSearchParams(query ?? "")) };
  }
  return { view: VIEWS[0], params: {}, query: {} };
}

function useTheme() {
  const [theme, set] = useState(() => (THEMES.includes(localStorage.getItem(THEME)) ? localStorage.getItem(THEME) : "auto"));
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(THEME, theme);
  }, [theme]);
  return [theme, () => set(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length])];
}

// The one-time code stands in the fragment; it is taken out of the address and the history before anything else is done.
function takeCode() {
  if (!CODE.test(location.hash)) return null;
  const code = location.hash.slice(1);
  history.replaceState(null, "", `${location.pathname}#/`);
  return code;
}

// Why the issuer's way ended here. The address names a code alone, since anybody can make one.
const REFUSED = /^#refused-([A-Z_]{3,40})$/;
const WHY = {
  FORBIDDEN: ["You are in no tenant here.", "Ask who runs this daemon to let you in."],
  UNAUTHORIZED: ["The login did not come to its end.", "It may have taken too long, or been used already: log in again."],
};

function takeRefusal() {
  const found = REFUSED.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", `${location.pathname}#/`);
  const [message, hint] = WHY[found[1]] ?? ["The issuer of logins cannot be used now.", "Try again, and tell who runs this daemon if it stays so."];
  return new Problem(0, { code: found[1], message, hint });
}

function Way({ problem }) {
  const [isOpen, open] = useState(false);
  useEffect(() => void hasIssuer().then(open), []);
  return html`<main class="way" id="main"><h1>Lazaret</h1>
    <${Trouble} problem=${problem} />
    ${isOpen ? html`<p><${Act} kind="primary" run=${goToIssuer}>Log in with your organisation<//></p>` : null}
    <p>To log in${isOpen ? " as the owner" : ""}, ask for a link on the machine where the daemon runs, and open it here:</p>
    <pre class="block">lazaret ui</pre>
    <p class="muted">A link works once, within five minutes. The login ends with this tab.</p></main>`;
}

function Frame({ at, theme, turn }) {
  const [isOpen, open] = useState(false);
  const waiting = useLoad("/v1/approvals?status=pending&limit=50", 5000).data?.items.length ?? 0;
  const main = useRef(null);
  const isFirst = useRef(true);
  const [fault, clear] = useErrorBoundary();
  useEffect(() => {
    open(false);
    clear();
    document.title = `${at.view.word ?? Object.values(at.params)[0] ?? "Lazaret"} · Lazaret`;
    // Who comes from another view is led to the head of this one; who just came begins at the top.
    if (!isFirst.current) main.current?.querySelector("h1")?.focus({ preventScroll: true });
    isFirst.current = false;
    scrollTo(0, 0);
  }, [at.view, JSON.stringify(at.params)]);
  const here = at.view.path.split("/")[0];
  return html`<a class="skip" href="#/" onClick=${(event) => (event.preventDefault(), main.current.focus())}>Skip to the page</a>
    <header class="bar"><a class="brand" href="#/">Lazaret</a>
      <button class="menu" aria-expanded=${isOpen} aria-controls="nav" onClick=${() => open(!isOpen)}>Menu${waiting ? html` <span class="count">${waiting}</span>` : null}</button></header>
    <nav id="nav" class=${isOpen ? "open" : ""} aria-label="Pages">
      <a class="brand" href="#/">Lazaret</a>
      ${groups().map(([group, views]) => html`${group ? html`<h2 id=${`nav-${group}`}>${group}</h2>` : null}<ul aria-labelledby=${group ? `nav-${group}` : undefined}>${views.map((view) => html`<li><a href=${`#/${view.path}`} aria-current=${here === view.path ? "page" : undefined}>${view.word}${
        view.path === "approvals" && waiting ? html` <span class="count" aria-label=${`${waiting} waiting`}>${waiting}</span>` : null}</a></li>`)}</ul>`)}
      <div class="foot"><button class="plain" onClick=${turn} aria-label=${`theme: ${theme}`}>Theme: ${theme}</button>
        <button class="plain" onClick=${() => document.getElementById("keys").showModal()}>Keys <kbd>?</kbd></button>
        <a href=${`${BASE}/docs`}>API</a><button class="plain" onClick=${logout}>Log out</button></div>
    </nav>
    <main id="main" ref=${main} tabindex="-1">${fault ? html`<h1>This view failed</h1><${Trouble} problem=${fault} />` : html`<${at.view.view} key=${at.view.path + JSON.stringify([at.params, at.query])} ...${at.params} query=${at.query} />`}</main>
    <dialog id="keys" aria-label="Keys"><h2>Keys</h2><dl class="keys">${[...VIEWS.filter((view) => view.key).map((view) => [`g ${view.key}`, view.word]), ...KEYS].map(([key, what]) =>
      html`<div><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
      <form method="dialog" class="row end"><button>Close</button></form></dialog>`;
}

function App() {
  const [at, go] = useState(() => find(location.hash));
  const [way, setWay] = useState({ isIn: Boolean(login.token()), isBusy: CODE.test(location.hash), problem: null });
  const [theme, turn] = useTheme();
  useEffect(() => {
    const enter = async () => {
      const refusal = takeRefusal();
      if (refusal) {
        setWay({ isIn: Boolean(login.token()), isBusy: false, problem: refusal });
        return;
      }
      const code = takeCode();
      if (!code) {
        go(find(location.hash));
        return;
      }
      setWay({ isIn: false, isBusy: true, problem: null });
      try {
        await redeem(code);
        go(find("#/"));
        setWay({ isIn: true, isBusy: false, problem: null });
      } catch (problem) {
        setWay({ isIn: Boolean(login.token()), isBusy: false, problem });
      }
    };
    const out = () => setWay((old) => (login.token() ? old : { isIn: false, isBusy: false, problem: null }));
    const stop = listen(Object.fromEntries(VIEWS.filter((view) => view.key).map((view) => [view.key, view.path])));
    addEventListener("hashchange", enter);
    addEventListener("lazaret-login", out);
    enter();
    return () => {
      stop();
      removeEventListener("hashchange", enter);
      removeEventListener("lazaret-login", out);
    };
  }, []);
  if (way.isBusy) return html`<main class="way"><p role="status">logging in</p></main>`;
  if (!way.isIn) return html`<${Way} problem=${way.problem} />`;
  return html`<${Frame} at=${at} theme=${theme} turn=${turn} />`;
}

render(html`<${App} />`, document.getElementById("app"));
