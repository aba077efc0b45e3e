// One job: how it goes, what came of it, and what it left.

import { html, useState } from "../dom.js";
import { call, download, pathOf, piece, text } from "../api.js";
import { Act, Badge, Block, Empty, Facts, Head, Since, Sure, Text, Time, Trouble, isMissing, Missing, useLoad } from "../parts.js";
import { Link, TurnLog, useLog, useTail } from "../log.js";
import { bytes, count, fileName, money } from "../text.js";
import { labels } from "./jobs.js";

const FINAL = ["completed", "failed", "cancelled"];

export function Job({ id }) {
  const path = `/v1/jobs/${piece(id)}`;
  const { data: job, problem, reload, isLoading } = useLoad(path, (job) => (FINAL.includes(job?.status) ? 0 : 1500));
  if (isMissing(problem)) return html`<${Head} title="Job" /><${Missing} what="Jobs" />`;
  if (!job) return html`<${Head} title=${id} /><${Trouble} problem=${problem} />${isLoading ? html`<p class="muted">loading</p>` : null}`;
  return html`<${Head} title=${job.id} sub=${html`<${Badge} of=${job.status} />${job.code ? html` <code>${job.code}</code>` : null}`}>
      ${FINAL.includes(job.status)
        ? html`<${Act} run=${async () => go(await call("POST", `${path}/retry`))}>Run again<//>
          <${Sure} ask="Forget this job with its session, result and files? This cannot be undone." run=${async () => (await call("DELETE", path), (location.hash = "#/jobs"))}>Delete<//>`
        : html`<${Sure} ask="Cancel this job?" run=${async () => (await call("POST", `${path}/cancel`), reload())}>Cancel<//>`}<//>
    <${Trouble} problem=${problem} />
    <${Facts} of=${[
      ["Profile", html`<${Text} of=${job.profile} />`], ["Engine", job.engine && html`<${Text} of=${job.engine} />`], ["Model", job.model && html`<${Text} of=${job.model} />`],
      ["Priority", job.priority], ["Tries", job.tries], ["Labels", Object.keys(job.labels).length ? html`<${Text} of=${labels(job.labels)} />` : null],
      ["Made", html`<${Time} of=${job.created} />`], ["Took", job.started && html`<${Since} from=${job.started} to=${job.finished} />`],
      ["Cost", money(job.cost_usd)], ["Tokens", count((job.usage.input_tokens ?? 0) + (job.usage.output_tokens ?? 0))], ["Exit code", job.exit_code],
      ["Session", job.session && html`<a href=${`#/sessions/${piece(job.session)}`}><code>${job.session}</code></a>`],
    ]} />
    ${job.error ? html`<div class="trouble" role="status"><strong><${Text} of=${job.error} /></strong>${job.code ? html`<div class="fine"><code>${job.code}</code></div>` : null}</div>` : null}
    <${Result} job=${job} path=${path} />
    <${Artifacts} job=${job} path=${path} />
    <${Prompt} path=${path} />
    <${Log} job=${job} />`;
}

function go(job) {
  location.hash = `#/jobs/${piece(job.id)}`;
}

function Result({ job, path }) {
  const has = job.result !== undefined && job.result !== null;
  if (!has && !job.output) return FINAL.includes(job.status) && job.status === "completed" ? html`<h2>Result</h2><p class="muted">It said nothing.</p>` : null;
  return html`<section><div class="head small"><h2>Result</h2><${Act} kind="plain" run=${() => download(`${path}/result`, `${fileName(job.id)}-result`)}>Download<//></div>
    ${has && (typeof job.result === "string" ? html`<div class="panel said"><${Text} of=${job.result} /></div>` : html`<${Block} of=${job.result} label="result" />`)}
    ${job.output ? html`<${Block} of=${job.output} label="output" />` : null}</section>`;
}

function Artifacts({ job, path }) {
  if (!job.artifacts.length) return null;
  return html`<section><h2>Files</h2><ul class="files">${job.artifacts.map((file) => html`<li><code><${Text} of=${file.path} /></code> <span class="muted">${bytes(file.bytes)}</span>
    <${Act} kind="plain" label="download the file" run=${() => download(`${path}/artifacts/${pathOf(file.path)}`, fileName(file.path))}>Download<//></li>`)}</ul></section>`;
}

function Prompt({ path }) {
  const [state, set] = useState({ text: null, problem: null });
  const look = async (event) => {
    if (!event.currentTarget.open || state.text !== null) return;
    try {
      set({ text: await text(`${path}/prompt`), problem: null });
    } catch (problem) {
      set({ text: null, problem });
    }
  };
  return html`<details class="about" onToggle=${look}><summary>Prompt</summary><${Trouble} problem=${state.problem} />${state.text !== null ? html`<${Block} of=${state.text} label="prompt" />` : null}</details>`;
}

function Log({ job }) {
  const log = useLog(job.session);
  useTail(FINAL.includes(job.status) ? 0 : log.seq);
  if (!job.session) return html`<section><h2>Log</h2><${Empty} title="It has not begun.">What happens will be seen here as it happens.<//></section>`;
  return html`<section aria-label="Log"><div class="head small"><h2>Log</h2>${FINAL.includes(job.status) ? null : html`<${Link} of=${log.link} />`}</div>
    ${typeof log.link === "object" ? html`<${Link} of=${log.link} />` : null}
    ${[...log.turns.values()].map((turn) => html`<div class="answer" key=${turn.id}><${TurnLog} turn=${turn} /></div>`)}</section>`;
}
