// Wirings: which agent hears which chat, when it engages, and what becomes of who is not known.

import { html, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Act, Badge, Empty, Facts, Field, Form, Head, List, Missing, Sure, Table, Text, Time, Trouble, isMissing, useLoad, usePages } from "../parts.js";
import { Test } from "./channels.js";

export const ENGAGE = [["pattern", "every message that has the pattern"], ["mention", "when it is spoken to"], ["sticky", "when it is spoken to, then all that follows"]];
export const SENDERS = [["known", "members of the agent"], ["all", "anybody whom the chat lets in"]];
export const IGNORED = [["accumulate", "is kept as context"], ["drop", "is forgotten"]];
export const MODES = [["shared", "one conversation for the chat"], ["thread", "one for each thread"], ["agent", "one for all chats of the agent"]];
const POLICIES = [["strict", "are not heard"], ["request", "wait until somebody lets them in"], ["public", "are heard"]];

export function Wirings({ query }) {
  const [channel, choose] = useState(query.channel ?? "");
  const channels = useLoad("/v1/channels", 10_000).data?.items ?? [];
  const pages = usePages("/v1/chats", { channel }, "id", 5000);
  if (isMissing(pages.problem)) return html`<${Head} title="Wirings" /><${Missing} what="Chats" />`;
  return html`<${Head} title="Wirings" sub="Which agent hears which chat. A chat that no agent hears starts nothing."><a class="button" href="#/people">Pair with a code</a><//>
    <div class="filters" role="search"><${Field} label="Channel"><select data-first value=${channel} onChange=${(event) => choose(event.target.value)}><option value="">all</option>${channels.map((item) => html`<option>${item.name}</option>`)}</select><//></div>
    <${List} pages=${pages} what="Chats" heads=${["Chat", "Channel", "Kind", "Unknown senders", "Heard by", "Heard"]} row=${(chat) => ({
      key: chat.id,
      cells: [html`<a class="open" href=${`#/wirings/${piece(chat.id)}`}><${Text} of=${chat.name || chat.chat} max=${80} /></a>`, html`<${Text} of=${chat.channel} />`, chat.group ? "group" : "direct",
        chat.denied ? html`<${Badge} of="refused" />` : html`<${Text} of=${chat.policy} />`, chat.agents.length ? html`<${Text} of=${chat.agents.join(", ")} max=${80} />` : html`<span class="badge wait">nobody</span>`, html`<${Time} of=${chat.heard} />`],
    })}><${Empty} title="No chat is known yet.">A chat comes here with its first message, or when it is made known: <code>lazaret wire add --channel NAME --chat ID --agent NAME</code>.<//><//>
    ${channels.length ? html`<details class="panel"><summary>Make a chat known before anything was heard in it</summary><${Known} channels=${channels} /></details>` : null}`;
}

function Known({ channels }) {
  const run = async (form) => {
    const made = await call("POST", "/v1/chats", { channel: form.get("channel"), chat: form.get("chat").trim(), name: form.get("name").trim(), group: form.get("group") === "on" });
    location.hash = `#/wirings/${piece(made.id)}`;
  };
  return html`<${Form} run=${run} label="Make a chat known" send="Make known"><div class="fields">
    <${Field} label="Channel" name="channel"><select name="channel" required>${channels.filter((item) => item.network !== "web").map((item) => html`<option>${item.name}</option>`)}</select><//>
    <${Field} label="Its id on the network" name="chat"><input name="chat" class="mono" required maxlength="1024" /><//>
    <${Field} label="What people call it" name="name"><input name="name" maxlength="200" /><//>
    <label class="check"><input type="checkbox" name="group" /> others than one person can be in it</label></div><//>`;
}

const options = (of, chosen) => of.map(([value, word]) => html`<option value=${value} selected=${value === chosen}>${word}</option>`);

export function Wiring({ chat: id }) {
  const path = `/v1/chats/${piece(id)}`;
  const { data: chat, problem, reload } = useLoad(path, 5000);
  const wirings = useLoad(chat && `/v1/wirings?chat=${piece(chat.id)}`, 5000);
  if (isMissing(problem)) return html`<${Head} title="Chat" /><${Missing} what="Chats" />`;
  if (!chat) return html`<${Head} title="Chat" /><${Trouble} problem=${problem} />`;
  const again = () => Promise.all([reload(), wirings.reload()]);
  const rows = (wirings.data?.items ?? []).map((wiring) => ({
    key: wiring.id,
    cells: [html`<a class="open" href=${`#/agents/${piece(wiring.agent)}`}><${Text} of=${wiring.agent} /></a>`, html`${wiring.engage === "pattern" && wiring.pattern === "." ? "every message" : word(ENGAGE, wiring.engage)}${wiring.pattern && wiring.pattern !== "." ? html` <code><${Text} of=${wiring.pattern} max=${120} /></code>` : null}`,
      word(SENDERS, wiring.senders), word(IGNORED, wiring.ignored), word(MODES, wiring.mode), wiring.priority, wiring.bots ? "yes" : "no",
      html`<${Sure} ask=${`Let ${wiring.agent} hear this chat no more? Its conversation stays.`} run=${async () => (await call("DELETE", `/v1/wirings/${piece(wiring.id)}`), again())}>Unwire<//>`],
  }));
  return html`<${Head} title=${chat.name || chat.chat} sub=${html`<${Text} of=${chat.channel} /> · ${chat.group ? "group" : "direct chat"}`}>
      <${Test} chat=${chat.id} /><${Act} run=${async () => (await call("PATCH", path, { denied: !chat.denied }), reload())}>${chat.denied ? "Let it in again" : "Refuse the chat"}<//><//>
    <${Trouble} problem=${problem} /><${Facts} of=${[["Identity", html`<code>${chat.id}</code>`], ["On its network", html`<code><${Text} of=${chat.chat} max=${200} /></code>`], ["State", chat.denied ? html`<${Badge} of="refused" />` : null], ["Last heard", html`<${Time} of=${chat.heard} />`]]} />
    <div class="filters"><${Field} label="Senders who are not known"><select value=${chat.policy} onChange=${async (event) => (await call("PATCH", path, { policy: event.target.value }), reload())}>${POLICIES.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select><//></div>
    <h2>Who hears it</h2><${Trouble} problem=${wirings.problem} />
    ${rows.length ? html`<${Table} label="Wirings" heads=${["Agent", "Engages", "Senders", "The rest", "Conversation", "#Priority", "Programs", ""]} rows=${rows} />` : html`<${Empty} title="No agent hears this chat.">What is said in it is kept for an hour and answered once one does.<//>`}
    <details class="panel" open=${!wirings.isLoading && !rows.length}><summary>Let an agent hear it, or change how</summary><${Wire} chat=${chat} done=${again} /></details>`;
}

const word = (of, value) => of.find(([name]) => name === value)?.[1] ?? value;

function Wire({ chat, done }) {
  const agents = useLoad("/v1/agents").data?.items ?? [];
  const [engage, setEngage] = useState(chat.group ? "sticky" : "pattern");
  const run = async (form) => {
    const given = (name) => String(form.get(name) ?? "").trim();
    await call("POST", "/v1/wirings", {
      chat: chat.id, agent: given("agent"), engage, ...(engage === "pattern" ? { pattern: given("pattern") || "." } : {}), senders: given("senders"), ignored: given("ignored"), mode: given("mode"),
      priority: Number(given("priority")) || 0, bots: form.get("bots") === "on",
    });
    await done();
  };
  return html`<${Form} run=${run} label="Wire an agent" send="Wire"><div class="fields">
    <${Field} label="Agent" name="agent"><select name="agent" required>${agents.map((agent) => html`<option>${agent.name}</option>`)}</select><//>
    <${Field} label="It engages" name="engage"><select name="engage" value=${engage} onChange=${(event) => setEngage(event.target.value)}>${ENGAGE.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select><//>
    ${engage === "pattern" ? html`<${Field} label="Pattern" name="pattern" hint="a regular expression; . is every message"><input name="pattern" class="mono" defaultValue="." maxlength="500" spellcheck="false" /><//>` : null}
    <${Field} label="Whose messages" name="senders"><select name="senders">${options(SENDERS, "known")}</select><//>
    <${Field} label="What does not engage it" name="ignored"><select name="ignored">${options(IGNORED, chat.group ? "accumulate" : "drop")}</select><//>
    <${Field} label="Messages belong to" name="mode"><select name="mode">${options(MODES, "shared")}</select><//>
    <${Field} label="Priority" name="priority" hint="the higher is asked first"><input name="priority" type="number" step="1" defaultValue="0" /><//>
    <label class="check"><input type="checkbox" name="bots" /> other programs are heard too</label></div><//>`;
}
