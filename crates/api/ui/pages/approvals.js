// Confirmations: exactly what would be done, and a person's yes or no to it.

import { html, useRef, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Badge, Block, Empty, Facts, Field, Head, Since, Text, Time, Trouble, isMissing, Missing, useLoad, usePages } from "../parts.js";
import { time } from "../text.js";

const STATES = ["pending", "approved", "denied", "expired", "cancelled"];

export function Approvals({ id, query }) {
  return id ? html`<${One} id=${id} />` : html`<${All} query=${query} />`;
}

function One({ id }) {
  const asked = useLoad(`/v1/approvals/${piece(id)}`, 2000);
  return html`<${Head} title="Confirmation"><a class="button" href="#/approvals">All</a><//><${Trouble} problem=${asked.problem} />
    ${asked.data && html`<${Card} of=${asked.data} done=${asked.reload} />`}`;
}

function All({ query }) {
  const [status, setStatus] = useState(query.status ?? "pending");
  const pages = usePages("/v1/approvals", { status, limit: 50 }, "id", 2000);
  if (isMissing(pages.problem)) return html`<${Head} title="Approvals" /><${Missing} what="Confirmations" />`;
  return html`<${Head} title="Approvals" sub="What agents may do only with a person's yes to exactly this call." />
    <div class="filters" role="search"><${Field} label="Show"><select data-first value=${status} onChange=${(event) => setStatus(event.target.value)}>${STATES.map((state) => html`<option>${state}</option>`)}<option value="">all</option></select><//></div>
    <${Trouble} problem=${pages.problem} />
    ${pages.items.map((item) => html`<${Card} key=${item.id} of=${item} done=${pages.reload} />`)}
    ${!pages.isLoading && !pages.problem && !pages.items.length ? html`<${Empty} title=${status === "pending" ? "Nothing waits for you." : "None."}>When an agent wants to do something of high risk, it waits here and in <code>lazaret approvals</code>.<//>` : null}
    ${pages.hasMore ? html`<button onClick=${pages.loadMore}>Show more</button>` : null}`;
}

function Card({ of, done }) {
  const [state, set] = useState({ isBusy: false, problem: null });
  const note = useRef(null);
  const isOpen = of.status === "pending";
  const answer = async (decision) => {
    set({ isBusy: true, problem: null });
    try {
      // The hash that was on the page goes along: an answer to anything else is refused.
      await call("POST", `/v1/approvals/${piece(of.id)}`, { decision, hash: of.hash, note: note.current?.value || null });
      set({ isBusy: false, problem: null });
    } catch (problem) {
      set({ isBusy: false, problem });
    }
    await done();
  };
  return html`<article class="panel card" aria-label=${`Confirmation of ${of.tool}`}>
    <div class="head small"><h2><code><${Text} of=${of.tool} /></code> <${Badge} of=${of.status} /></h2>
      <span class="muted">risk ${of.risk}</span></div>
    <div class="said"><${Text} of=${of.text} /></div>
    <${Block} of=${of.arguments} label="exact arguments" />
    <${Facts} of=${[
      ["Agent", html`<${Text} of=${of.agent} />`], ["Plugin", html`<${Text} of=${of.plugin} />`],
      ["Session", of.session && html`<a href=${`#/sessions/${piece(of.session)}`}><code>${of.session}</code></a>`],
      ["Asked", html`<${Time} of=${of.asked_at} />`], [isOpen ? "Expires" : "Expired at", isOpen ? html`<${Left} until=${of.expires_at} />` : time(of.expires_at)],
      ["Answered", of.answered_at && html`<${Time} of=${of.answered_at} /> by <${Text} of=${of.answered_by ?? "nobody"} />`],
      ["Note", of.note && html`<${Text} of=${of.note} />`],
      ["Hash of the call", html`<code class="hash">${of.hash}</code>`],
    ]} />
    ${isOpen && html`<div class="row grow"><input ref=${note} aria-label="Note for the agent" placeholder="A note for the agent (optional)" maxlength="500" />
      <button class="danger" disabled=${state.isBusy} onClick=${() => answer("deny")}>Deny</button>
      <button class="primary" disabled=${state.isBusy} onClick=${() => answer("approve")}>Approve</button></div>`}
    <${Trouble} problem=${state.problem} /></article>`;
}

function Left({ until }) {
  return html`in <${Since} from=${Date.now()} to=${until} />`;
}
