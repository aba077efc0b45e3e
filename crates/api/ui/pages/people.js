// People: who may do what in which tenant, by which handles they are known, what they are to agents, and who asks to be let in.

import { html, useRef, useState } from "../dom.js";
import { at, call, piece } from "../api.js";
import { Act, Badge, Empty, Field, Form, Head, List, Missing, Since, Sure, Table, Text, Time, Trouble, isMissing, useLoad, usePages } from "../parts.js";

const ROLES = [["viewer", "looks"], ["member", "works"], ["admin", "answers confirmations, looks after members"], ["owner", "looks after admins too"]];
const STATES = ["pending", "allowed", "denied", ""];

export function People() {
  const people = useLoad("/v1/users", 5000);
  const all = people.data?.items ?? [];
  return html`<${Head} title="People" sub="Who may do what, by which handles they are known, and who asks to be let in." />
    <${Admissions} /><${Members} people=${people} all=${all} /><${Pairing} all=${all} /><${Handles} all=${all} /><${Roles} all=${all} /><${Tenants} />`;
}

const nameOf = (all, id) => {
  const person = all.find((one) => one.id === id);
  return person ? person.name || person.email || person.id : id;
};

// Somebody unknown who wrote to a chat that asks first.
function Admissions() {
  const [state, choose] = useState("pending");
  const { data, problem, reload } = useLoad(at("/v1/admissions", { state }), 3000);
  if (isMissing(problem)) return null;
  const items = data?.items ?? [];
  const answer = (of, allow) => async () => (await call("POST", `/v1/admissions/${piece(of.id)}`, { allow }), reload());
  return html`<div class="head small"><h2>Who asks to be let in</h2><label class="row small"><span class="fine">Show</span><select aria-label="Which admissions" value=${state} onChange=${(event) => choose(event.target.value)}>${STATES.map((name) => html`<option value=${name}>${name || "all"}</option>`)}</select></label></div>
    <${Trouble} problem=${problem} />
    ${data && !items.length ? html`<p class="muted">${state === "pending" ? "Nobody waits." : "None."} In a chat whose policy is <code>request</code>, who is not known waits here.</p>` : null}
    ${items.map((of) => html`<article class=${`panel ${of.state === "pending" ? "ask" : ""}`} key=${of.id} aria-label=${`Admission of ${of.handle}`}><div class="head small"><p><strong><${Text} of=${of.name || of.handle} max=${120} /></strong> <span class="muted">(<code><${Text} of=${of.handle} max=${120} /></code> on <${Text} of=${of.channel} />)</span> wants to talk to <strong><${Text} of=${of.agent} /></strong>
        in <a href=${`#/wirings/${piece(of.chat)}`}>this chat</a>. <${Time} of=${of.created} /></p><${Badge} of=${of.state} /></div>
      ${of.state === "pending" ? html`<div class="row"><${Act} kind="danger" run=${answer(of, false)}>Refuse<//><${Act} kind="primary" run=${answer(of, true)}>Let in<//></div>` : null}</article>`)}`;
}

function Members({ people, all }) {
  const put = async (form, node) => {
    const tenant = form.get("tenant").trim();
    await call("PUT", "/v1/users", { email: form.get("email").trim(), role: form.get("role"), ...(tenant ? { tenant } : {}) });
    node.reset();
    people.reload();
  };
  // One person can be in several tenants.
  const rows = all.map((person) => ({
    key: `${person.id} ${person.tenant}`,
    cells: [html`<${Text} of=${person.name || person.email || person.id} max=${120} />`, html`<${Text} of=${person.email || "–"} />`, html`<${Text} of=${person.tenant} />`, html`<${Text} of=${person.role} />${person.by_rule ? html` <small>by a rule</small>` : null}`, html`<${Time} of=${person.seen} />`,
      html`<${Sure} ask=${`Take ${person.name || person.email || person.id} out of ${person.tenant}? Their tokens there end.`} run=${async () => (await call("DELETE", at(`/v1/users/${piece(person.id)}`, { tenant: person.tenant })), people.reload())}>Take out<//>`],
  }));
  return html`<h2>People</h2>${isMissing(people.problem) ? html`<${Missing} what="People" />` : html`<${Trouble} problem=${people.problem} />`}
    ${people.data && !rows.length ? html`<${Empty} title="Nobody but the owner.">People come in by the issuer that the configuration names, by a pairing code in a chat, or when they are invited below.<//>` : null}
    ${rows.length ? html`<${Table} label="People" heads=${["Name", "Address", "Tenant", "Role", "Seen", ""]} rows=${rows} />` : null}
    <details class="panel"><summary>Invite somebody, or change their role</summary><${Form} run=${put} label="Invite somebody" send="Put"><div class="fields">
      <${Field} label="Address" name="email"><input name="email" type="email" required maxlength="200" /><//>
      <${Field} label="Role" name="role"><select name="role">${ROLES.map(([value, word]) => html`<option value=${value} selected=${value === "member"}>${value}: ${word}</option>`)}</select><//>
      <${Field} label="Tenant" name="tenant" hint="empty: your own"><input name="tenant" maxlength="64" /><//></div><//></details>`;
}

// A code by which somebody proves that a handle or a chat is theirs.
function Pairing({ all }) {
  const codes = useLoad("/v1/pairings", 5000);
  const agents = useLoad("/v1/agents").data?.items ?? [];
  const channels = (useLoad("/v1/channels").data?.items ?? []).filter((item) => item.network !== "web");
  const [made, show] = useState(null);
  if (isMissing(codes.problem)) return null;
  const make = async (form) => {
    const given = (name) => String(form.get(name) ?? "").trim() || null;
    const minutes = Number(form.get("minutes"));
    show(await call("POST", "/v1/pairings", { user: given("user"), agent: given("agent"), role: given("role"), channel: given("channel"), ...(minutes > 0 ? { ttl_s: Math.round(minutes * 60) } : {}) }));
    codes.reload();
  };
  const open = (codes.data?.items ?? []).filter((code) => !code.used_by && code.expires > Date.now());
  return html`<h2>Pairing</h2><details class="panel" open=${Boolean(made)}><summary>Make a code that somebody writes in a chat</summary><${Form} run=${make} label="Make a pairing code" send="Make a code"><div class="fields">
      <${Field} label="The agent that hears the chat" name="agent"><select name="agent"><option value="">none: only the handle is linked</option>${agents.map((agent) => html`<option value=${agent.name}>${agent.name}</option>`)}</select><//>
      <${Field} label="What they become" name="role"><select name="role"><option value="">nothing more</option><option value="member">member of the agent</option><option value="admin">admin</option><option value="owner">owner</option></select><//>
      <${Field} label="Who it is" name="user"><select name="user"><option value="">somebody new</option>${all.map((person) => html`<option value=${person.id}>${person.name || person.email || person.id}</option>`)}</select><//>
      <${Field} label="Only through" name="channel"><select name="channel"><option value="">any account</option>${channels.map((item) => html`<option>${item.name}</option>`)}</select><//>
      <${Field} label="Minutes that it is good" name="ttl_s"><input name="minutes" type="number" min="1" max="60" step="1" defaultValue="10" /><//></div><//>
    ${made ? html`<${Code} of=${made} all=${codes.data?.items ?? []} />` : null}
    ${open.length ? html`<p class="fine">${open.length === 1 ? "One code" : `${open.length} codes`} can still be used.</p>` : null}</details>`;
}

function Code({ of, all }) {
  const used = all.find((code) => code.id === of.id)?.used_by;
  const field = useRef(null);
  const digits = `${of.code.slice(0, 4)} ${of.code.slice(4)}`;
  return html`<div class="code-card" role="status">${used ? html`<p><span class="badge good">used</span> by <code><${Text} of=${used} max=${200} /></code></p>`
    : html`<p>Write this in the chat, to the account. It works once, and is shown only now.</p><output ref=${field} class="code-digits" aria-label="Pairing code">${digits}</output>
      <p class="fine">${of.agent ? html`<${Text} of=${of.agent} /> hears the chat then. ` : null}It ends in <${Since} from=${Date.now()} to=${of.expires} />.</p>`}</div>`;
}

function Handles({ all }) {
  const { data, problem, reload } = useLoad("/v1/handles", 5000);
  const channels = useLoad("/v1/channels").data?.items ?? [];
  if (isMissing(problem)) return null;
  const link = async (form, node) => {
    const given = (name) => String(form.get(name) ?? "").trim();
    await call("PUT", "/v1/handles", { channel: given("channel"), handle: given("handle"), user: given("user"), name: given("name") });
    node.reset();
    reload();
  };
  const items = data?.items ?? [];
  return html`<h2>Handles</h2><${Trouble} problem=${problem} />
    ${data && !items.length ? html`<p class="muted">No handle is linked to anybody. A pairing code links one; so does an admin, below.</p>` : null}
    ${items.length ? html`<${Table} label="Handles" heads=${["Account", "Handle", "Called there", "Person", "Direct chat", ""]} rows=${items.map((of) => ({
      key: `${of.channel} ${of.handle}`,
      cells: [html`<${Text} of=${of.channel} />`, html`<code><${Text} of=${of.handle} max=${120} /></code>`, html`<${Text} of=${of.name || "–"} max=${120} />`, html`<${Text} of=${nameOf(all, of.user)} max=${120} />`, of.dm ? "known" : "–",
        html`<${Sure} ask=${`Unlink ${of.handle}? Whoever has it is unknown from then on.`} run=${async () => (await call("DELETE", `/v1/handles/${piece(of.channel)}/${piece(of.handle)}`), reload())}>Unlink<//>`],
    }))} />` : null}
    ${channels.length && all.length ? html`<details class="panel"><summary>Link a handle</summary><${Form} run=${link} label="Link a handle" send="Link"><div class="fields">
      <${Field} label="Account" name="channel"><select name="channel">${channels.map((item) => html`<option>${item.name}</option>`)}</select><//><${Field} label="Handle" name="handle" hint="the network’s own id of them, never a display name"><input name="handle" class="mono" required maxlength="1024" /><//>
      <${Field} label="Person" name="user"><select name="user">${all.map((person) => html`<option value=${person.id}>${person.name || person.email || person.id}</option>`)}</select><//><${Field} label="Called there" name="name"><input name="name" maxlength="200" /><//></div><//></details>` : null}`;
}

function Roles({ all }) {
  const { data, problem, reload } = useLoad("/v1/roles", 5000);
  const agents = useLoad("/v1/agents").data?.items ?? [];
  if (isMissing(problem)) return null;
  const grant = async (form) => {
    await call("PUT", "/v1/roles", { agent: form.get("agent"), user: form.get("user"), role: form.get("role") });
    reload();
  };
  const items = data?.items ?? [];
  return html`<h2>Roles with agents</h2><${Trouble} problem=${problem} />
    ${data && !items.length ? html`<p class="muted">Nobody has a role with a single agent. Members, admins and owners of the tenant talk to all of them.</p>` : null}
    ${items.length ? html`<${Table} label="Roles" heads=${["Agent", "Person", "Role", "Tenant", ""]} rows=${items.map((of) => ({
      key: `${of.agent} ${of.user}`,
      cells: [html`<${Text} of=${of.agent} />`, html`<${Text} of=${nameOf(all, of.user)} max=${120} />`, html`<${Text} of=${of.role} />`, html`<${Text} of=${of.tenant} />`,
        html`<${Sure} ask=${`Take the role with ${of.agent} away?`} run=${async () => (await call("DELETE", `/v1/roles/${piece(of.agent)}/${piece(of.user)}`), reload())}>Take away<//>`],
    }))} />` : null}
    ${all.length ? html`<details class="panel"><summary>Give a role</summary><${Form} run=${grant} label="Give a role" send="Give"><div class="fields">
      <${Field} label="Person" name="user"><select name="user">${all.map((person) => html`<option value=${person.id}>${person.name || person.email || person.id}</option>`)}</select><//><${Field} label="Agent" name="agent"><select name="agent">${agents.map((agent) => html`<option>${agent.name}</option>`)}</select><//>
      <${Field} label="Role" name="role"><select name="role"><option value="member">member: talks to it</option><option value="admin">admin: answers for it</option></select><//></div><//></details>` : null}`;
}

function Tenants() {
  const tenants = usePages("/v1/tenants", {}, "name", 5000);
  if (isMissing(tenants.problem)) return null;
  const make = async (form, node) => {
    await call("POST", "/v1/tenants", { name: form.get("name").trim(), title: form.get("title").trim() });
    node.reset();
    tenants.reload();
  };
  const turn = (tenant) => async () => {
    await call("PATCH", `/v1/tenants/${piece(tenant.name)}`, { state: tenant.state === "active" ? "suspended" : "active" });
    tenants.reload();
  };
  return html`<h2>Tenants</h2><${List} pages=${tenants} what="Tenants" heads=${["Name", "Title", "State", "Made", ""]} row=${(tenant) => ({
      key: tenant.name,
      cells: [html`<${Text} of=${tenant.name} />`, html`<${Text} of=${tenant.title || "–"} max=${120} />`, html`<${Badge} of=${tenant.state} />`, html`<${Time} of=${tenant.created} />`,
        html`<div class="row"><${Act} run=${turn(tenant)}>${tenant.state === "active" ? "Suspend" : "Let it work"}<//><${Sure} ask=${`Remove the tenant ${tenant.name}? One that owns something stays.`} run=${async () => (await call("DELETE", `/v1/tenants/${piece(tenant.name)}`), tenants.reload())}>Remove<//></div>`],
    })}><p class="muted">No tenant.</p><//>
    <details class="panel"><summary>Make a tenant</summary><${Form} run=${make} label="Make a tenant" send="Make"><div class="fields">
      <${Field} label="Name" name="name"><input name="name" required maxlength="64" pattern="[a-z0-9\\-]{1,64}" /><//><${Field} label="Title" name="title"><input name="title" maxlength="100" /><//></div><//></details>`;
}
