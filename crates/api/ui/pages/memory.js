// Memory: what agents keep beyond a session, and what of it waits for a person.

import { html, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Act, Badge, Empty, Field, Form, Head, List, Sure, Text, Time, isMissing, usePages } from "../parts.js";

// What a memory can be.
const KINDS = ["fact", "preference", "instruction", "correction", "context"];

export function Memory() {
  const [query, ask] = useState({});
  const pages = usePages("/v1/memory", query, "id", 5000);
  const look = async (form) => ask(Object.fromEntries(["agent", "query", "state"].map((name) => [name, String(form.get(name) ?? "").trim()]).filter(([, value]) => value)));
  const keep = async (form, node) => {
    await call("POST", "/v1/memory", { agent: form.get("agent").trim() || "default", type: form.get("type"), content: form.get("content") });
    node.reset();
    pages.reload();
  };
  return html`<${Head} title="Memory" sub="What agents keep. What could change what one does waits for you." />
    ${isMissing(pages.problem) ? null : html`<${Form} run=${look} label="Look for memories" send="Look" kind=""><div class="fields">
        <${Field} label="Words"><input name="query" maxlength="500" /><//><${Field} label="Agent"><input name="agent" maxlength="64" /><//>
        <${Field} label="State"><select name="state"><option value="">any</option><option>live</option><option>superseded</option><option>withdrawn</option></select><//></div><//>
      <details class="panel"><summary>Write one down</summary><${Form} run=${keep} label="Write a memory" send="Keep"><div class="fields">
        <${Field} label="Agent"><input name="agent" placeholder="default" maxlength="64" /><//>
        <${Field} label="What it is" name="type"><select name="type">${KINDS.map((kind) => html`<option>${kind}</option>`)}</select><//><${Field} label="What it shall know" name="content" wide><textarea name="content" rows="3" required></textarea><//></div><//></details>`}
    <${List} pages=${pages} what="Memories" heads=${["What", "Agent", "By", "State", "Written", ""]} row=${(memory) => ({
      key: memory.id,
      cells: [html`<${Text} of=${memory.content} max=${400} />`, html`<${Text} of=${memory.agent} />`, html`<${Text} of=${memory.by} />`,
        html`<${Badge} of=${memory.state} />${memory.behavioural && !memory.confirmed ? html` <span class="badge wait">waits for you</span>` : null}`, html`<${Time} of=${memory.created} />`,
        html`<div class="row">${memory.confirmed ? null : html`<${Act} run=${async () => (await call("POST", `/v1/memory/${piece(memory.id)}/confirm`), pages.reload())}>Confirm<//>`}
          <${Sure} ask="Forget this for good?" run=${async () => (await call("DELETE", `/v1/memory/${piece(memory.id)}`), pages.reload())}>Forget<//></div>`],
    })}><${Empty} title="Nothing is remembered." /><//>`;
}
