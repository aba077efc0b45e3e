// Jobs: which there are.

import { html, useState } from "../dom.js";
import { piece } from "../api.js";
import { Badge, Empty, Field, Head, List, Since, Text, Time, usePages } from "../parts.js";
import { money } from "../text.js";

const STATES = ["queued", "running", "waiting", "completed", "failed", "cancelled"];
const SPANS = [["", "any time"], ["3600000", "last hour"], ["86400000", "last day"], ["604800000", "last week"]];
const NONE = { status: "", profile: "", engine: "", agent_id: "", label: "", from: "" };

// Identities end in digits that a list need not repeat whole.
export const jobName = (job) => job.id;

export function Jobs({ query }) {
  const [filter, setFilter] = useState({ ...NONE, ...Object.fromEntries(Object.keys(NONE).filter((key) => query[key]).map((key) => [key, query[key]])) });
  const [since, setSince] = useState("");
  // Counts how often the filters were cleared, so that the fields begin anew.
  const [round, setRound] = useState(0);
  const pages = usePages("/v1/jobs", { ...filter, limit: 50 });
  const set = (name) => (event) => setFilter({ ...filter, [name]: event.target.value.trim() });
  const setTime = (event) => {
    setSince(event.target.value);
    setFilter({ ...filter, from: event.target.value ? Math.floor((Date.now() - Number(event.target.value)) / 1000) * 1000 : "" });
  };
  const isFiltered = Object.values(filter).some((value) => value !== "");
  return html`<${Head} title="Jobs" sub="One prompt, one turn, one result."><a class="button primary" href="#/new">New job</a><//>
    <div class="filters" role="search" key=${round}>
      <${Field} label="State"><select data-first value=${filter.status} onChange=${set("status")}><option value="">all</option>${STATES.map((state) => html`<option>${state}</option>`)}</select><//>
      <${Field} label="Agent id"><input defaultValue=${filter.agent_id} onChange=${set("agent_id")} /><//>
      <${Field} label="Profile"><input defaultValue=${filter.profile} onChange=${set("profile")} /><//>
      <${Field} label="Engine"><input defaultValue=${filter.engine} onChange=${set("engine")} /><//>
      <${Field} label="Label"><input defaultValue=${filter.label} placeholder="KEY=VALUE" onChange=${set("label")} /><//>
      <${Field} label="Made"><select value=${since} onChange=${setTime}>${SPANS.map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select><//>
      ${isFiltered ? html`<button class="plain" onClick=${() => (setFilter(NONE), setSince(""), setRound(round + 1))}>Clear</button>` : null}</div>
    <${List} pages=${pages} what="Jobs" heads=${["Job", "State", "Profile", "Engine", "Labels", "#Took", "#Cost", "Made"]} row=${(job) => ({
      key: job.id,
      cells: [
        html`<a class="open" href=${`#/jobs/${piece(job.id)}`}><${Text} of=${jobName(job)} /></a>`,
        html`<${Badge} of=${job.status} />${job.code ? html` <code class="fine">${job.code}</code>` : null}`,
        html`<${Text} of=${job.profile} />`,
        html`<${Text} of=${job.engine || "–"} />`,
        html`<${Text} of=${labels(job.labels)} max=${100} />`,
        html`<${Since} from=${job.started} to=${job.finished} />`,
        money(job.cost_usd),
        html`<${Time} of=${job.created} />`,
      ],
    })}>${isFiltered ? html`<${Empty} title="No job is like that.">Clear a filter to see more.<//>` : html`<${Empty} title="No job yet."><a href="#/new">Ask for the first one</a>, or in a terminal: <code>lazaret job create</code>.<//>`}<//>`;
}

export function labels(of) {
  return Object.entries(of ?? {}).map(([key, value]) => `${key}=${value}`).join("  ") || "–";
}
