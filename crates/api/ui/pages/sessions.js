// Conversations: which there are, and a new one.

import { html, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Badge, Empty, Field, Form, Head, List, Text, Time, useLoad, usePages } from "../parts.js";
import { short } from "../text.js";

export function Sessions({ query }) {
  const [filter, setFilter] = useState({ env: query.env ?? "", label: "", archived: "" });
  const pages = usePages("/v1/sessions", filter);
  const set = (name) => (event) => setFilter({ ...filter, [name]: event.target.value });
  return html`<${Head} title="Sessions"><${Begin} /><//>
    <div class="filters" role="search">
      <${Field} label="Label"><input data-first defaultValue=${filter.label} placeholder="KEY=VALUE" onChange=${set("label")} /><//>
      <${Field} label="Env"><input defaultValue=${filter.env} onChange=${set("env")} /><//>
      <${Field} label="Show"><select value=${filter.archived} onChange=${set("archived")}><option value="">in use</option><option value="true">archived</option></select><//>
    </div>
    <${List} pages=${pages} what="Sessions" heads=${["Title", "State", "Agent", "Engine", "Env", "#Turns", "Used"]} row=${(session) => ({
      key: session.id,
      cells: [
        html`<a class="open" href=${`#/sessions/${piece(session.id)}`}><${Text} of=${session.title || short(session.id)} max=${120} /></a>`,
        html`<${Badge} of=${session.state} />`,
        html`<${Text} of=${session.agent} />`,
        html`<${Text} of=${session.engine || "–"} />`,
        html`<${Text} of=${session.env ?? "–"} />`,
        session.turns,
        html`<${Time} of=${session.updated} />`,
      ],
    })}><${Empty} title="No session here.">A session is a conversation with one agent. Begin one above, or in a terminal: <code>lazaret chat</code>.<//><//>`;
}

function Begin() {
  const [isOpen, open] = useState(false);
  const agents = useLoad(isOpen ? "/v1/agents" : null).data?.items ?? [];
  const envs = useLoad(isOpen ? "/v1/envs" : null).data?.items ?? [];
  const engines = useLoad(isOpen ? "/v1/engines" : null).data?.items ?? [];
  const run = async (form) => {
    const given = Object.fromEntries([...form].filter(([, value]) => value !== ""));
    const made = await call("POST", "/v1/sessions", given);
    location.hash = `#/sessions/${piece(made.id)}`;
  };
  if (!isOpen) return html`<button class="primary" onClick=${() => open(true)}>New session</button>`;
  const names = (items, name) => items.map((item) => html`<option value=${item[name]}>${item[name]}</option>`);
  return html`<div class="panel wide"><${Form} run=${run} label="New session" send="Begin">
    <div class="fields">
      <${Field} label="Title"><input name="title" maxlength="200" /><//>
      <${Field} label="Agent"><select name="agent"><option value="">default</option>${names(agents.filter((a) => a.name !== "default"), "name")}</select><//>
      <${Field} label="Engine"><select name="engine"><option value="">the agent's own</option>${names(engines, "name")}</select><//>
      <${Field} label="Model"><input name="model" placeholder="the engine's own" /><//>
      <${Field} label="Env"><select name="env"><option value="">a private one</option>${names(envs, "slug")}</select><//>
    </div><//></div>`;
}
