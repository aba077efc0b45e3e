// Channels: accounts of chat networks, how each is, and what each is owed.

import { html, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Act, Badge, Block, Empty, Facts, Field, Form, Head, List, Missing, Sure, Text, Time, Trouble, isMissing, useLoad, usePages } from "../parts.js";

// The networks that ship, and what each calls the credential that it cannot do without. Any other name is taken as well.
const NETWORKS = ["telegram", "slack", "discord", "matrix", "whatsapp", "signal", "teams", "googlechat", "email", "github", "linear", "webex", "wechat", "imessage", "resend"];
const STATES = ["", "waiting", "sending", "sent", "dead"];

// `key = value` in lines; what reads as JSON is it.
function settings(text) {
  const lines = String(text ?? "").split("\n").map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));
  return Object.fromEntries(lines.map((line) => {
    const [key, ...rest] = line.split("=");
    const value = rest.join("=").trim();
    try {
      return [key.trim(), JSON.parse(value)];
    } catch {
      return [key.trim(), value];
    }
  }));
}

const settingsText = (config) => Object.entries(config ?? {}).map(([key, value]) => `${key} = ${typeof value === "string" ? value : JSON.stringify(value)}`).join("\n");

export function Channels() {
  const pages = usePages("/v1/channels", {}, "name", 3000);
  return html`<${Head} title="Channels" sub="Accounts of chat networks. Each runs in a sandbox of its own, with its own credential."><a class="button" href="#/wirings">Who hears what</a><//>
    ${isMissing(pages.problem) ? null : html`<details class="panel"><summary>Add an account</summary><${Add} done=${pages.reload} /></details>`}
    <${List} pages=${pages} what="Channels" heads=${["Name", "Network", "State", "Who it is", "What it says", "#Restarts"]} row=${(channel) => ({
      key: channel.name,
      cells: [html`<a class="open" href=${`#/channels/${piece(channel.name)}`}><${Text} of=${channel.name} /></a>`, html`<${Text} of=${channel.network} />`, html`<${Badge} of=${channel.health} />`,
        html`<${Text} of=${channel.me ? channel.me.name || channel.me.id : "–"} max=${80} />`, html`<${Text} of=${channel.message || "–"} max=${160} />`, channel.restarts],
    })}><${Empty} title="No account yet.">Add one above, or with <code>lazaret channel add NAME --network telegram</code>. An install without any runs nothing of this.<//><//>`;
}

function Add({ done }) {
  const [missing, need] = useState(null);
  const run = async (form, node) => {
    const given = (name) => String(form.get(name) ?? "").trim();
    const credentials = {};
    for (const n of [1, 2, 3]) {
      const value = form.get(`value${n}`);
      // Without its key, the only one that the network needs is meant.
      if (value) credentials[given(`key${n}`)] = String(value);
    }
    const made = await call("POST", "/v1/channels", { name: given("name"), network: given("network"), ...(given("program") ? { program: given("program") } : {}), config: settings(form.get("config")), credentials });
    node.reset();
    done();
    location.hash = `#/channels/${piece(made.name)}`;
  };
  const [more, show] = useState(1);
  return html`<${Form} run=${(form, node) => run(form, node).catch((problem) => (need(problem.code === "KEY_MISSING" ? problem.field : null), Promise.reject(problem)))} label="Add an account" send="Add"><div class="fields">
      <${Field} label="Name" name="name" hint="what this account is called here"><input name="name" required maxlength="64" pattern="[a-z0-9\\-]{1,64}" placeholder="family" /><//>
      <${Field} label="Network" name="network"><input name="network" required maxlength="64" list="networks" placeholder="telegram" /><datalist id="networks">${NETWORKS.map((name) => html`<option value=${name}></option>`)}</datalist><//>
      <${Field} label="Somebody else’s program" name="program" hint="a folder in channels/ of the home; empty: what ships"><input name="program" maxlength="64" /><//></div>
      <div class="fields">${[1, 2, 3].slice(0, more).map((n) => html`<${Field} label=${`Credential${n > 1 ? ` ${n}` : ""}`} name=${n === 1 && missing ? missing : `value${n}`} hint=${n === 1 && missing ? `its key is ${missing}` : "goes in and is never shown again"}><input name=${`value${n}`} type="password" autocomplete="off" spellcheck="false" /><//>
        <${Field} label=${`Its key${n > 1 ? ` ${n}` : ""}`} hint="empty: the one that the network needs"><input name=${`key${n}`} class="mono" maxlength="64" placeholder="token" /><//>`)}</div>
      ${more < 3 ? html`<p><button type="button" class="plain" onClick=${() => show(more + 1)}>A further credential</button></p>` : null}
      <${Field} label="Settings" name="config" hint="key = value, one in a line" wide><textarea name="config" rows="2" class="code" spellcheck="false" placeholder="base_url = https://…"></textarea><//><//>`;
}

export function Channel({ name }) {
  const path = `/v1/channels/${piece(name)}`;
  const { data: channel, problem, reload } = useLoad(path, 2000);
  if (isMissing(problem)) return html`<${Head} title="Channel" /><${Missing} what="Channels" />`;
  if (!channel) return html`<${Head} title=${name} /><${Trouble} problem=${problem} />`;
  const act = (verb) => async () => {
    await call("POST", `${path}/${verb}`);
    await reload();
  };
  const keep = async (form, node) => {
    const credentials = Object.fromEntries(Object.keys(channel.credentials).map((key) => [key, String(form.get(`cred.${key}`) ?? "")]).filter(([, value]) => value));
    await call("PATCH", path, { config: settings(form.get("config")), credentials });
    node.querySelectorAll("input[type=password]").forEach((field) => (field.value = ""));
    await reload();
  };
  const isOwn = channel.network === "web";
  const missing = Object.entries(channel.credentials).filter(([, isSet]) => !isSet).map(([key]) => key);
  return html`<${Head} title=${channel.name} sub=${html`<${Text} of=${channel.network} /> <${Badge} of=${channel.health} />`}>
      ${channel.on ? html`<${Act} run=${act("off")}>Switch off<//>` : html`<${Act} kind="primary" run=${act("on")}>Switch on<//>`}
      <${Sure} ask=${`Remove the account ${channel.name}? Its chats, what was heard, what is owed and its credentials go. Sessions stay.`} run=${async () => (await call("DELETE", path), (location.hash = "#/channels"))}>Remove<//><//>
    <${Trouble} problem=${problem} />
    ${channel.message && channel.on && channel.health !== "well" ? html`<p class="note ask"><${Text} of=${channel.message} /></p>` : null}
    ${channel.health === "credential" ? html`<p>Its credential is not accepted. Give it another one below, or in a terminal: <code>lazaret auth api-key --plugin <${Text} of=${channel.name} /></code></p>` : null}
    <${Facts} of=${[
      ["Who it is", channel.me && html`<${Text} of=${channel.me.name || channel.me.id} />`], ["Tenant", html`<${Text} of=${channel.tenant} />`], ["Program", channel.program && html`<${Text} of=${channel.program} />`],
      ["Reaches", channel.hosts.length ? html`<${Text} of=${channel.hosts.join(", ")} />` : "no host"], ["Credentials", missing.length ? html`missing: <code><${Text} of=${missing.join(", ")} /></code>` : Object.keys(channel.credentials).length ? "stored" : "none"],
      ["Its platform calls", channel.hook && html`<code><${Text} of=${channel.hook} /></code>`], ["Restarts", channel.restarts], ["Added", html`<${Time} of=${channel.created} />`],
    ]} />
    ${channel.abilities ? html`<details class="about"><summary>What its network can do</summary><${Block} of=${channel.abilities} label="abilities" /></details>` : null}
    ${isOwn ? null : html`<details class="panel"><summary>Credentials and settings</summary><${Form} key=${channel.name} run=${keep} label="Credentials and settings" send="Keep and begin again"><div class="fields">
      ${Object.entries(channel.credentials).map(([key, isSet]) => html`<${Field} label=${key} name=${key} hint=${isSet ? "stored; a new value replaces it" : "missing"}><input name=${`cred.${key}`} type="password" autocomplete="off" spellcheck="false" placeholder=${isSet ? "••••••••" : ""} /><//>`)}
      <${Field} label="Settings" name="config" hint="key = value, one in a line" wide><textarea name="config" rows="4" class="code" spellcheck="false" defaultValue=${settingsText(channel.config)}></textarea><//></div><//></details>`}
    <${Chats} channel=${channel.name} /><${Deliveries} channel=${channel.name} />`;
}

function Chats({ channel }) {
  const pages = usePages("/v1/chats", { channel, limit: 20 }, "id", 5000);
  return html`<h2>Chats</h2><${List} pages=${pages} what="Chats" heads=${["Chat", "Kind", "Unknown senders", "Agents", "Heard", ""]} row=${(chat) => ({
    key: chat.id,
    cells: [html`<a class="open" href=${`#/wirings/${piece(chat.id)}`}><${Text} of=${chat.name || chat.chat} max=${80} /></a>`, chat.group ? "group" : "direct", chat.denied ? html`<${Badge} of="refused" />` : html`<${Text} of=${chat.policy} />`,
      html`<${Text} of=${chat.agents.join(", ") || "nobody"} max=${80} />`, html`<${Time} of=${chat.heard} />`, html`<${Test} chat=${chat.id} />`],
  })}><${Empty} title="No chat yet.">Write to the account, or pair a chat with a code: <code>lazaret wire pair --agent NAME</code>, or <a href="#/people">make one here</a>.<//><//>`;
}

// Sends a word to a chat, so that somebody sees that it arrives.
export function Test({ chat }) {
  const [sent, tell] = useState(null);
  return html`<${Act} run=${async () => tell(await call("POST", `/v1/chats/${piece(chat)}/test`))}>Send a test<//>${sent ? html` <span class="fine" role="status">owed; see below</span>` : null}`;
}

export function Deliveries({ channel }) {
  const [state, choose] = useState("");
  const pages = usePages("/v1/deliveries", { channel, state, limit: 20 }, "id", 3000);
  return html`<div class="head small"><h2>What it is owed</h2><label class="row small"><span class="fine">State</span><select aria-label="State" value=${state} onChange=${(event) => choose(event.target.value)}>${STATES.map((name) => html`<option value=${name}>${name || "any"}</option>`)}</select></label></div>
    <${List} pages=${pages} what="Deliveries" heads=${["What", "State", "#Tries", "Why not", "Owed", ""]} row=${(out) => ({
      key: out.id,
      cells: [html`<${Text} of=${said(out.act)} max=${120} />`, html`<${Badge} of=${out.state} />`, out.attempts, html`<${Text} of=${out.error ?? "–"} max=${160} />`, html`<${Time} of=${out.created} />`,
        out.state === "dead" ? html`<${Act} run=${async () => (await call("POST", `/v1/deliveries/${piece(out.id)}/resend`), pages.reload())}>Send again<//>` : null],
    })}><${Empty} title="Nothing is owed.">Answers of agents, questions and cards are written here before they leave.<//><//>`;
}

function said(act) {
  if (act?.do === "react") return `reacts ${act.emoji ?? ""}`;
  const files = act?.files?.length ? ` (${act.files.length} files)` : "";
  return `${act?.do === "edit" ? "edits: " : ""}${act?.text ?? ""}${files}` || "–";
}
