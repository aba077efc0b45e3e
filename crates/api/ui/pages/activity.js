// Activity: what was heard and what became of it, what is owed, and why something did or did not happen.

import { html, useEffect, useState } from "../dom.js";
import { call, get, piece } from "../api.js";
import { Act, Badge, Empty, Field, Head, List, Text, Time, Trouble, isMissing, useLoad, usePages } from "../parts.js";
import { short, time } from "../text.js";

const OUTCOMES = ["", "turn", "kept", "held", "dropped", "command", "answer", "paired"];

export function Activity({ query }) {
  return html`<${Head} title="Activity" sub="What was heard, what became of it, and why." />
    <${Why} of=${query.why ?? ""} /><${Heard} /><${Given} />`;
}

// The path of a message, turn, job or task.
function Why({ of }) {
  const [id, setId] = useState(of);
  const [asked, ask] = useState(of);
  const [state, set] = useState({ data: null, problem: null });
  useEffect(() => {
    if (!asked) return undefined;
    const end = new AbortController();
    get(`/v1/why/${encodeURIComponent(asked)}`, end.signal).then((data) => set({ data, problem: null }), (problem) => problem.name !== "AbortError" && set({ data: null, problem }));
    return () => end.abort();
  }, [asked]);
  const go = (event) => {
    event.preventDefault();
    const said = id.trim();
    if (/^\.{0,2}$/.test(said)) return;
    if (said === asked) ask("");
    setTimeout(() => ask(said));
  };
  return html`<form class="panel" onSubmit=${go} role="search" aria-label="Why"><div class="row grow"><input data-first class="mono" aria-label="Message, turn, job or task" placeholder="msg_…, trn_…, job or task: why?" maxlength="300" value=${id} onInput=${(event) => setId(event.target.value)} spellcheck="false" autocapitalize="off" /><button class="primary">Why?</button></div>
    <${Trouble} problem=${state.problem} />
    ${state.data ? html`<div role="status"><ol class="path">${state.data.path.map((step) => html`<li><time class="fine" datetime=${new Date(step.at).toISOString()}>${time(step.at)}</time> <${Text} of=${step.what} max=${600} /></li>`)}</ol>
      ${state.data.gate ? html`<p class="note ask">It stopped at <code><${Text} of=${state.data.gate} /></code>.${state.data.fix ? html` What helps: <${Text} of=${state.data.fix} max=${600} />` : null}</p>` : null}</div>` : null}</form>`;
}

function Heard() {
  const [outcome, choose] = useState("");
  const [channel, setChannel] = useState("");
  const channels = useLoad("/v1/channels", 10_000).data?.items ?? [];
  const pages = usePages("/v1/heard", { outcome, channel }, "id", 3000);
  if (isMissing(pages.problem)) return null;
  return html`<h2>Heard</h2><div class="filters"><${Field} label="What became of it"><select value=${outcome} onChange=${(event) => choose(event.target.value)}>${OUTCOMES.map((name) => html`<option value=${name}>${name || "anything"}</option>`)}</select><//>
      <${Field} label="Channel"><select value=${channel} onChange=${(event) => setChannel(event.target.value)}><option value="">all</option>${channels.map((item) => html`<option>${item.name}</option>`)}</select><//></div>
    <${List} pages=${pages} what="Messages" heads=${["Message", "Channel", "From", "What", "Became", "Why", "When"]} row=${(of) => ({
      key: of.id,
      cells: [html`<a class="open" href=${`#/activity?why=${piece(of.id)}`}><code>${short(of.id)}</code></a>`, html`<${Text} of=${of.channel} />`, html`<${Text} of=${of.sender_name || of.sender} max=${80} />`, html`<${Text} of=${of.kind} />`, html`<${Badge} of=${of.outcome} />`,
        html`${of.gate ? html`<code><${Text} of=${of.gate} /></code> ` : null}<${Text} of=${of.reason ?? "–"} max=${160} />`, html`<${Time} of=${of.heard} />`],
    })}><${Empty} title="Nothing was heard.">Messages of chat networks are listed here with what became of them. <a href="#/channels">Add a channel</a>, or <a href="#/chat">talk here</a>.<//><//>`;
}

// What was given up: the owner should know.
function Given() {
  const pages = usePages("/v1/deliveries", { state: "dead", limit: 20 }, "id", 5000);
  if (isMissing(pages.problem) || (!pages.items.length && !pages.problem)) return null;
  return html`<h2>Given up</h2><${List} pages=${pages} what="Deliveries" heads=${["What", "Channel", "#Tries", "Why not", "Owed", ""]} row=${(out) => ({
    key: out.id,
    cells: [html`<${Text} of=${out.act?.text ?? out.act?.emoji ?? "–"} max=${120} />`, html`<${Text} of=${out.channel} />`, out.attempts, html`<${Text} of=${out.error ?? "–"} max=${200} />`, html`<${Time} of=${out.created} />`,
      html`<${Act} run=${async () => (await call("POST", `/v1/deliveries/${piece(out.id)}/resend`), pages.reload())}>Send again<//>`],
  })} />`;
}
