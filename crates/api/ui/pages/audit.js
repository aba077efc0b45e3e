// The audit: what was decided, row by row, and whether the chain is whole.

import { html, useEffect, useMemo, useState } from "../dom.js";
import { at, call, download, get, piece } from "../api.js";
import { Act, Badge, Block, Empty, Field, Head, Missing, Text, Trouble, isMissing } from "../parts.js";
import { count, short, time } from "../text.js";

const KINDS = ["tool", "model", "egress", "confirmation", "admin"];
const PAGE = 100;

export function Audit() {
  const [filter, setFilter] = useState({ kind: "", topic: "", outcome: "", session: "" });
  const [state, set] = useState({ rows: [], isWhole: false, problem: null, isLoading: true });
  const [check, setCheck] = useState(null);
  // With another filter, what was asked with this one is not wanted any more.
  const end = useMemo(() => new AbortController(), [filter]);
  const load = async (before, old = []) => {
    try {
      const page = await get(at("/v1/audit", { ...filter, latest: true, limit: PAGE, to: before }), end.signal);
      const known = new Set(old.map((row) => row.seq));
      const rows = [...old, ...page.items.filter((row) => !known.has(row.seq))].sort((a, b) => b.seq - a.seq);
      set({ rows, isWhole: page.items.length < PAGE || rows.length === old.length, problem: null, isLoading: false });
    } catch (problem) {
      if (!end.signal.aborted) set({ rows: old, isWhole: true, problem, isLoading: false });
    }
  };
  useEffect(() => {
    load();
    return () => end.abort();
  }, [end]);
  if (isMissing(state.problem)) return html`<${Head} title="Audit" /><${Missing} what="Audit rows" />`;
  const field = (name) => (event) => setFilter({ ...filter, [name]: event.target.value.trim() });
  return html`<${Head} title="Audit" sub="What was decided, each row bound to the one before."><${Act} run=${async () => setCheck(await get("/v1/audit/verify"))}>Verify the chain<//>
      <${Act} run=${() => download(at("/v1/audit/export", filter), "audit.ndjson")}>Export<//><//>
    ${check && html`<div class=${check.broken ? "trouble" : "fine-news"} role="status">${check.broken
      ? html`<strong>Row ${check.broken.seq} is not what it was: <${Text} of=${check.broken.why} /></strong>`
      : html`<strong>The chain is whole:</strong> ${count(check.rows)} rows up to ${check.seq}. Head <code class="hash">${check.head}</code>`}</div>`}
    <div class="filters" role="search">
      <${Field} label="Kind"><select data-first value=${filter.kind} onChange=${field("kind")}><option value="">all</option>${KINDS.map((kind) => html`<option>${kind}</option>`)}</select><//>
      <${Field} label="Topic"><input defaultValue=${filter.topic} onChange=${field("topic")} /><//>
      <${Field} label="Outcome"><input defaultValue=${filter.outcome} onChange=${field("outcome")} /><//>
      <${Field} label="Session"><input defaultValue=${filter.session} onChange=${field("session")} /><//></div>
    <${Trouble} problem=${state.problem} />
    ${!state.isLoading && !state.problem && !state.rows.length ? html`<${Empty} title="No row.">Decisions about tools, models, hosts, confirmations and settings are written here as they are made.<//>` : null}
    ${state.rows.length ? html`<table class="list" aria-label="Audit"><thead><tr><th class="num">Row</th><th>Time</th><th>Kind</th><th>Topic</th><th>Outcome</th><th>Who</th><th>Session</th></tr></thead>
      <tbody>${state.rows.map((row) => html`<${Row} key=${row.seq} of=${row} />`)}</tbody></table>` : null}
    ${!state.isWhole && state.rows.length ? html`<p><button onClick=${() => load(state.rows.at(-1).time + 1, state.rows)}>Show older</button></p>` : null}`;
}

function Row({ of }) {
  const [isOpen, open] = useState(false);
  return html`<tr><td class="num" data-head="Row"><button class="plain" aria-expanded=${isOpen} aria-label=${`row ${of.seq}`} onClick=${() => open(!isOpen)}>${of.seq}</button></td>
      <td data-head="Time" class="nowrap">${time(of.time)}</td><td data-head="Kind">${of.kind}</td><td data-head="Topic"><${Text} of=${of.topic} max=${200} /></td>
      <td data-head="Outcome"><${Badge} of=${of.outcome} />${of.code ? html` <code>${of.code}</code>` : null}</td><td data-head="Who"><${Text} of=${of.actor} max=${80} /></td>
      <td data-head="Session">${of.session ? html`<a href=${`#/sessions/${piece(of.session)}`}><code>${short(of.session)}</code></a>` : "–"}</td></tr>
    ${isOpen && html`<tr class="more"><td colspan="7"><${Block} of=${of} label="the whole row" /></td></tr>`}`;
}
