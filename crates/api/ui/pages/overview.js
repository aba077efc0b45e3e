// What is going on, at a glance.

import { html } from "../dom.js";
import { piece } from "../api.js";
import { Badge, Empty, FRESH_MS, Facts, Head, Table, Text, Time, Trouble, isMissing, level, useLoad } from "../parts.js";
import { count, money, short, span } from "../text.js";
import { costOf, dayStart } from "./usage.js";
import { jobName } from "./jobs.js";

// How many of a kind are counted; more are shown as more.
const COUNT_MAX = 200;

function many({ data }) {
  if (!data) return "–";
  return data.next ? `${COUNT_MAX}+` : String(data.items.length);
}

function Card({ word, of, sub, to, tone = "" }) {
  return html`<a class=${`card tile ${tone}`} href=${to}><span class="tile-word">${word}</span><span class="tile-number">${of}</span><span class="tile-sub muted">${sub}</span></a>`;
}

export function Overview() {
  const status = useLoad("/v1/status", FRESH_MS);
  const running = useLoad(`/v1/jobs?status=running&limit=${COUNT_MAX}`, FRESH_MS);
  const queued = useLoad(`/v1/jobs?status=queued&limit=${COUNT_MAX}`, FRESH_MS);
  const recent = useLoad("/v1/jobs?limit=8", FRESH_MS);
  const sessions = useLoad("/v1/sessions?limit=8", FRESH_MS);
  const asked = useLoad(`/v1/approvals?status=pending&limit=${COUNT_MAX}`, FRESH_MS);
  const today = useLoad(`/v1/usage?by=model&from=${dayStart(0)}`, 10_000);
  const steps = useLoad("/v1/setup", 30_000).data;
  const channels = useLoad("/v1/channels", 10_000).data?.items ?? [];
  const ill = channels.filter((channel) => channel.on && ["credential", "configuration", "down"].includes(channel.health));
  const hasJobs = !isMissing(recent.problem);
  const waits = asked.data?.items.length ?? 0;
  const now = status.data;
  const at = new Date().toISOString().slice(0, 10);
  return html`<${Head} title="Overview" sub=${now ? html`<${Badge} of="ok" /> version ${now.version}, up ${span(now.uptime_s * 1000)}` : at}>
      ${hasJobs ? html`<a class="button primary" href="#/new">New job</a>` : null}<a class="button" href="#/chat">Chat</a><a class="button" href="#/sessions">Sessions</a><//>
    <${Trouble} problem=${status.problem} />
    ${steps && !steps.ready ? html`<p class="note ask">First steps: ${steps.steps.filter((step) => step.state === "done").length} of ${steps.steps.length} are done. <a href="#/setup">Go on with them</a></p>` : null}
    ${ill.map((channel) => html`<p class="note bad" key=${channel.name}>The channel <a href=${`#/channels/${piece(channel.name)}`}><${Text} of=${channel.name} /></a> is not well: <${Text} of=${channel.message || channel.health} max=${200} /></p>`)}
    <section class="tiles" aria-label="Numbers">
      ${hasJobs ? html`<${Card} word="Running" of=${many(running)} sub="jobs" to="#/jobs?status=running" /><${Card} word="Queue" of=${many(queued)} sub="jobs wait" to="#/jobs?status=queued" />` : null}
      <${Card} word="Approvals" of=${many(asked)} sub=${waits ? "wait for you" : "nothing waits"} to="#/approvals" tone=${waits ? "wait" : ""} />
      <${Card} word="Sandboxes" of=${now ? now.sandboxes : "–"} sub=${now ? `of at most ${count(now.sandboxes_max)}` : ""} to="#/sessions" />
      <${Card} word="Cost today" of=${today.data ? money(costOf(today.data.items)) : "–"} sub=${today.data ? `${count(today.data.items.reduce((n, item) => n + item.calls, 0))} calls` : ""} to="#/usage" />
    </section>
    <div class="columns">
      ${hasJobs ? html`<section><h2><a href="#/jobs">Jobs</a></h2><${Trouble} problem=${recent.problem} />
        ${recent.data && !recent.data.items.length ? html`<${Empty} title="No job yet."><a href="#/new">Ask for the first one</a>, or in a terminal: <code>lazaret job create</code>.<//>` : null}
        ${recent.data?.items.length ? html`<${Table} label="Recent jobs" heads=${["Job", "State", "Made"]} rows=${recent.data.items.map((job) => ({
          key: job.id, cells: [html`<a class="open" href=${`#/jobs/${piece(job.id)}`}><${Text} of=${jobName(job)} /></a>`, html`<${Badge} of=${job.status} />`, html`<${Time} of=${job.created} />`] }))} />` : null}</section>` : null}
      <section><h2><a href="#/sessions">Sessions</a></h2><${Trouble} problem=${sessions.problem} />
        ${sessions.data && !sessions.data.items.length ? html`<${Empty} title="No session yet."><a href="#/sessions">Begin one</a>, or in a terminal: <code>lazaret chat</code>.<//>` : null}
        ${sessions.data?.items.length ? html`<${Table} label="Recent sessions" heads=${["Session", "State", "Used"]} rows=${sessions.data.items.map((session) => ({
          key: session.id, cells: [html`<a class="open" href=${`#/sessions/${piece(session.id)}`}><${Text} of=${session.title || short(session.id)} max=${80} /></a>`, html`<${Badge} of=${session.state} />`, html`<${Time} of=${session.updated} />`] }))} />` : null}</section>
    </div>
    <${House} now=${now} />`;
}

// What the work is done with.
function House({ now }) {
  const sandboxes = useLoad("/v1/sandboxes", 5000);
  const engines = useLoad("/v1/engines", 30_000);
  const items = sandboxes.data?.items ?? [];
  return html`<section><h2>House</h2><${Facts} of=${[
    ["Keys of providers", now && (now.providers.length ? now.providers.join(", ") : "none: only the rehearsal answers")],
    ["Engines", engines.data?.items.filter((engine) => engine.installed).map((engine) => `${engine.name}${engine.version ? ` ${engine.version}` : ""}`).join(", ")],
    ["Process", now?.pid],
  ]} />
    ${items.length ? html`<${Table} label="Sandboxes" heads=${["Sandbox", "For", "What holds"]} rows=${items.map((box) => ({ key: box.id, cells: [html`<code>${short(box.id)}</code>`, html`<${Text} of=${box.label} max=${120} />`, level(box.level)] }))} />` : null}</section>`;
}
