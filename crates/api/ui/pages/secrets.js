// Secrets: their names and who has them, and a way in for their values. A value is never shown again.

import { html, useState } from "../dom.js";
import { at, call, piece } from "../api.js";
import { Badge, Empty, Field, Form, Head, List, Sure, Table, Text, Time, Trouble, isMissing, useLoad, usePages } from "../parts.js";

const entryOf = (secret) => (typeof secret === "string" ? { name: secret } : secret);

export function Secrets() {
  const pages = usePages("/v1/secrets", {}, "name", 5000);
  const agents = useLoad("/v1/agents", 10_000).data?.items ?? [];
  const items = pages.items.map(entryOf);
  const [name, setName] = useState("");
  const isThere = items.some((secret) => secret.name === name.trim());
  const keep = async (form, node) => {
    await call("PUT", `/v1/secrets/${piece(form.get("name").trim())}`, { value: form.get("value") });
    node.reset();
    setName("");
    pages.reload();
  };
  // Those of agents, by name: which may use a secret that is bound to a host.
  const users = (secret) => agents.filter((agent) => (agent.secrets ?? []).includes(secret.name)).map((agent) => agent.name);
  return html`<${Head} title="Secrets" sub="Keys of providers and others. They stay on the host; no sandbox holds one that was not exposed to it by name." />
    ${isMissing(pages.problem) ? null : html`<details class="panel" open=${!pages.isLoading && !items.length}><summary>Keep a secret, or give one another value</summary><${Form} run=${keep} label="Keep a secret" send=${isThere ? "Rotate" : "Keep"}><div class="fields">
      <${Field} label="Name" name="name" hint=${isThere ? "it is there: its value is replaced, and what runs gets the new one with its next start" : "a provider’s name, or your own"}><input name="name" class="mono" required maxlength="64" placeholder="anthropic" value=${name} onInput=${(event) => setName(event.target.value)} autocapitalize="off" spellcheck="false" /><//>
      <${Field} label="Value" name="value" hint="goes in and is never shown again"><input name="value" type="password" required autocomplete="off" /><//></div><//></details>`}
    <${List} pages=${{ ...pages, items }} what="Secrets" heads=${["Name", "Scope", "Used by", "Changed", ""]} row=${(secret) => ({
      key: secret.name,
      cells: [html`<code><${Text} of=${secret.name} max=${120} /></code>`, html`${secret.exposed_to ? html`<span class="badge bad">exposed to <${Text} of=${secret.exposed_to} max=${64} /></span>` : html`<${Text} of=${scopeOf(secret)} />`}`,
        html`<${Text} of=${[...new Set([...(secret.used_by ?? []), ...users(secret)])].join(", ") || "–"} max=${120} />`, html`<${Time} of=${secret.updated ?? secret.changed ?? secret.created} />`,
        html`<div class="row"><button type="button" onClick=${() => (setName(secret.name), document.querySelector("main details").setAttribute("open", ""), document.querySelector("main [name=value]").focus())}>Rotate</button>
        <${Sure} ask=${`Forget the secret ${secret.name}? What needs it fails from now on.`} run=${async () => (await call("DELETE", `/v1/secrets/${piece(secret.name)}`), pages.reload())}>Forget<//></div>`],
    })}><${Empty} title="No secret is kept.">Keep one above, or with <code>lazaret secret set</code>.<//><//>
    <${Bound} /><${Exposed} />`;
}

function scopeOf(secret) {
  if (secret.scope) return secret.scope;
  if (secret.name.startsWith("channel.")) return `channel ${secret.name.split(".")[1]}`;
  if (secret.name.startsWith("plugin.")) return `plugin ${secret.name.split(".")[1]}`;
  return "install";
}

// Secrets that agents use without holding them.
function Bound() {
  const { data, problem, reload } = useLoad("/v1/bound", 5000);
  if (isMissing(problem) || problem?.status === 403) return null;
  const bind = async (form, node) => {
    const given = (name) => String(form.get(name) ?? "").trim() || null;
    await call("POST", "/v1/bound", { name: given("name"), host: given("host"), path: given("path"), method: given("method"), header: given("header") });
    node.reset();
    reload();
  };
  const items = data?.items ?? [];
  return html`<h2>Bound to hosts</h2><${Trouble} problem=${problem} />
    ${data && !items.length ? html`<p class="muted">None. An agent gets a placeholder for a bound secret; its value is put in on the way to that host only.</p>` : null}
    ${items.length ? html`<${Table} label="Bound secrets" heads=${["Secret", "Host", "Path", "Method", "Header", ""]} rows=${items.map((of) => ({
      key: `${of.name} ${of.host} ${of.port}`,
      cells: [html`<code><${Text} of=${of.name} /></code>`, html`<${Text} of=${of.port && of.port !== 443 ? `${of.host}:${of.port}` : of.host} />`, html`<${Text} of=${of.path || "every"} max=${120} />`, html`<${Text} of=${of.method || "every"} />`, html`<${Text} of=${of.header || "Authorization"} />`,
        html`<${Sure} ask=${`Bind ${of.name} to ${of.host} no longer?`} run=${async () => (await call("DELETE", at(`/v1/bound/${piece(of.name)}`, { host: of.port && of.port !== 443 ? `${of.host}:${of.port}` : of.host })), reload())}>Unbind<//>`],
    }))} />` : null}
    <details class="panel"><summary>Bind a secret to a host</summary><${Form} run=${bind} label="Bind a secret" send="Bind"><div class="fields">
      <${Field} label="Secret" name="name" hint="and the variable that has its placeholder inside"><input name="name" class="mono" required maxlength="64" /><//><${Field} label="Host" name="host" hint="with a port unless it is 443"><input name="host" class="mono" required placeholder="api.example.com" /><//>
      <${Field} label="Path" name="path" hint="what it begins with; empty: every"><input name="path" class="mono" /><//><${Field} label="Method" name="method"><input name="method" class="mono" placeholder="every" /><//><${Field} label="Header" name="header"><input name="header" class="mono" placeholder="Authorization" /><//></div><//></details>`;
}

// The loud exception: what an agent holds itself.
function Exposed() {
  const { data, problem, reload } = useLoad("/v1/exposed", 5000);
  const items = data?.items ?? [];
  if (problem || !items.length) return null;
  return html`<h2>Exposed</h2><p class="note bad">These stand in the sandboxes of one agent, because the owner said so on this machine.</p>
    <${Table} label="Exposed secrets" heads=${["Secret", "Agent", "State", ""]} rows=${items.map((of) => ({
      key: of.name, cells: [html`<code><${Text} of=${of.name} /></code>`, html`<${Text} of=${of.agent} />`, html`<${Badge} of="exposed" />`,
        html`<${Sure} ask=${`Expose ${of.name} no longer? Rotate it too: the agent has seen it.`} run=${async () => (await call("DELETE", `/v1/exposed/${piece(of.name)}`), reload())}>Hide<//>`] }))} />`;
}
