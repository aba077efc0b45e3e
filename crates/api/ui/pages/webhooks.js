// Webhooks: what was told of the ends of jobs, what is owed, and what was given up.

import { html, useState } from "../dom.js";
import { call, get, piece } from "../api.js";
import { Act, Badge, Block, Empty, Field, Head, List, Text, Time, usePages } from "../parts.js";

const STATES = ["", "pending", "sent", "dead"];

export function Webhooks() {
  const [status, choose] = useState("");
  const pages = usePages("/v1/webhooks", status ? { status } : {}, "id", 5000);
  const [shown, show] = useState(null);
  return html`<${Head} title="Webhooks" sub="The ends of jobs, told to whoever asked for it." />
    <div class="fields"><${Field} label="State"><select value=${status} onChange=${(event) => choose(event.target.value)}>${STATES.map((state) => html`<option value=${state}>${state || "any"}</option>`)}</select><//></div>
    <${List} pages=${pages} what="Webhooks" heads=${["Job", "Event", "State", "#Tries", "Answer", "Next", ""]} row=${(hook) => ({
      key: hook.id,
      cells: [html`<a class="open" href=${`#/jobs/${piece(hook.job)}`}><${Text} of=${hook.job} /></a>`, html`<${Text} of=${hook.event} />`, html`<${Badge} of=${hook.status} />`, hook.tries ?? "–",
        html`<${Text} of=${hook.error ?? hook.response ?? "–"} max=${120} />`, html`<${Time} of=${hook.next ?? hook.settled} />`,
        html`<div class="row"><${Act} run=${async () => show(await get(`/v1/webhooks/${piece(hook.id)}`))}>What it says<//>
          ${hook.status === "pending" ? null : html`<${Act} run=${async () => (await call("POST", `/v1/webhooks/${piece(hook.id)}/resend`), pages.reload())}>Send again<//>`}</div>`],
    })}><${Empty} title="Nobody was told anything.">A job with <code>webhook_url</code> is told of at its end.<//><//>
    ${shown && html`<dialog ref=${(node) => node && !node.open && node.showModal()} onClose=${() => show(null)} aria-label="What the webhook says"><${Block} of=${shown.body ?? "It was not tried yet."} label="body" />
      <div class="row end"><button onClick=${() => show(null)}>Close</button></div></dialog>`}`;
}
