// Agents: configured personas, what each is told, and what it may use.

import { html, useState } from "../dom.js";
import { at, call, piece } from "../api.js";
import { Act, Badge, Empty, Field, Form, Head, List, Missing, Sure, Table, Text, Time, Trouble, isMissing, useLoad, usePages } from "../parts.js";

const lines = (text) => String(text ?? "").split(/[\n ]+/).map((line) => line.trim()).filter(Boolean);

export function Agents() {
  const pages = usePages("/v1/agents", {}, "name", 5000);
  const make = async (form, node) => {
    const made = await call("POST", "/v1/agents", { name: form.get("name").trim(), instructions: form.get("instructions") });
    node.reset();
    location.hash = `#/agents/${piece(made.name)}`;
  };
  return html`<${Head} title="Agents" sub="Personas: instructions, engine, model, tools and hosts." />
    ${isMissing(pages.problem) ? null : html`<details class="panel"><summary>Make an agent</summary><${Form} run=${make} label="Make an agent" send="Make"><div class="fields">
      <${Field} label="Name"><input name="name" required maxlength="64" pattern="[A-Za-z0-9_\\-]{1,64}" /><//><${Field} label="Instructions" wide><textarea name="instructions" rows="3"></textarea><//></div><//></details>`}
    <${List} pages=${pages} what="Agents" heads=${["Name", "Group", "Engine", "Model", "Tools", "Instructions"]} row=${(agent) => ({
      key: agent.name,
      cells: [html`<a class="open" href=${`#/agents/${piece(agent.name)}`}><${Text} of=${agent.name} /></a>`, html`<${Text} of=${agent.group} />`, html`<${Text} of=${agent.engine ?? "the usual"} />`, html`<${Text} of=${agent.model ?? "the engine’s"} />`,
        html`<${Text} of=${(agent.tools ?? []).join(", ") || "all"} max=${80} />`, html`<${Text} of=${agent.instructions} max=${80} />`],
    })}><${Empty} title="No agent but the default one.">Make one above, or with <code>lazaret agent add</code>.<//><//>`;
}

export function Agent({ name }) {
  const path = `/v1/agents/${piece(name)}`;
  const { data: agent, problem, reload } = useLoad(path);
  const [isKept, kept] = useState(false);
  const [isChoosing, choose] = useState(false);
  if (isMissing(problem)) return html`<${Head} title="Agent" /><${Missing} what="Agents" />`;
  if (!agent) return html`<${Head} title="Agent" /><${Trouble} problem=${problem} />`;
  const save = async (form) => {
    const given = (field) => String(form.get(field) ?? "").trim();
    // What the form does not show stays as it is.
    await call("PUT", path, {
      ...agent, trigger: given("trigger") || null, secrets: lines(form.get("secrets")), group: given("group"), engine: given("engine") || null, model: given("model") || null, instructions: form.get("instructions"),
      tools: lines(form.get("tools")), skills: lines(form.get("skills")), egress: lines(form.get("egress")),
      instructions_policy: given("instructions_policy") || "confirm", memory_policy: given("memory_policy") || "confirm",
    });
    kept(true);
    reload();
  };
  const list = (field) => (agent[field] ?? []).join("\n");
  return html`<${Head} title=${agent.name} sub="What its sessions begin with from the next turn on.">
      <a class="button primary" href=${`#/chat/${piece(agent.name)}`}>Talk</a>
      ${agent.name === "default" ? null : html`<${Sure} ask=${`Remove the agent ${agent.name}? An agent that a session is with stays.`} run=${async () => (await call("DELETE", path), (location.hash = "#/agents"))}>Remove<//>`}<//>
    <${Trouble} problem=${problem} />
    <${Form} key=${agent.name} run=${save} label="The agent" send="Keep"><div class="fields">
      <${Field} label="Called in chats" name="trigger" hint="empty: @Andy"><input name="trigger" defaultValue=${agent.trigger ?? ""} maxlength="64" placeholder="@Andy" /><//>
      <${Field} label="Group" name="group" hint="which skills and tools it may see"><input name="group" defaultValue=${agent.group} maxlength="64" /><//>
      <${Field} label="Engine" name="engine" hint="empty: the configured one"><input name="engine" defaultValue=${agent.engine ?? ""} maxlength="64" /><//>
      <${Field} label="Model" name="model" hint="empty: the engine’s choice"><input name="model" defaultValue=${agent.model ?? ""} maxlength="128" list="models-there-are" onFocus=${() => choose(true)} />${isChoosing ? html`<${Models} />` : null}<//>
      <${Field} label="Instructions" wide><textarea name="instructions" rows="8" defaultValue=${agent.instructions}></textarea><//>
      <${Policy} label="Changes to its instructions" name="instructions_policy" of=${agent.instructions_policy} hint="by itself, where it has the tool set_instructions" />
      <${Policy} label="What it remembers" name="memory_policy" of=${agent.memory_policy} hint="and would act on in other sessions" />
      <${Field} label="Tools" name="tools" hint="one in a line; empty: all"><textarea name="tools" rows="4" class="mono" defaultValue=${list("tools")}></textarea><//>
      <${Field} label="Skills" name="skills" hint="one in a line"><textarea name="skills" rows="4" class="mono" defaultValue=${list("skills")}></textarea><//>
      <${Field} label="Hosts" name="egress" hint="HOST[:PORT][/PATH][,METHOD], within what the configuration grants"><textarea name="egress" rows="4" class="mono" defaultValue=${list("egress")}></textarea><//>
      <${Field} label="Bound secrets" name="secrets" hint="one in a line; it uses them at their hosts and never holds them"><textarea name="secrets" rows="4" class="mono" defaultValue=${list("secrets")}></textarea><//></div><//>
    ${isKept ? html`<p class="fine-news" role="status">It is kept.</p>` : null}
    <${Skills} /><${Places} agent=${agent.name} /><${Remembers} agent=${agent.name} />`;
}

// The models of the providers that can be asked, to choose from. Nobody is asked before somebody chooses.
function Models() {
  const { data } = useLoad("/v1/providers");
  const usable = (data?.items ?? []).filter((provider) => provider.usable);
  return html`<datalist id="models-there-are">${usable.map((provider) => html`<${ModelsOf} key=${provider.name} name=${provider.name} />`)}</datalist>`;
}
function ModelsOf({ name }) {
  const { data } = useLoad(`/v1/providers/${piece(name)}/models`);
  return (data?.models ?? []).map((model) => html`<option key=${model.id} value=${`${name}/${model.id}`}></option>`);
}

// What becomes of a change that an agent makes to itself.
const POLICIES = [["off", "none is made"], ["confirm", "who answers for it says yes to each"], ["free", "made where only they have a word"]];
function Policy({ label, name, of, hint }) {
  return html`<${Field} label=${label} name=${name} hint=${hint}><select name=${name}>${POLICIES.map(([value, about]) => html`<option value=${value} selected=${value === (of ?? "confirm")}>${value}: ${about}</option>`)}</select><//>`;
}

// The skills that there are to name.
function Skills() {
  const { data, problem } = useLoad("/v1/skills");
  if (problem || !data?.items.length) return null;
  return html`<details class="about"><summary>Skills that there are</summary><ul class="files">${data.items.map((skill) => html`<li key=${skill.name}><code><${Text} of=${skill.name} /></code> ${skill.state ? html`<${Badge} of=${skill.state} />` : null} <span class="muted"><${Text} of=${skill.description ?? ""} max=${200} /></span></li>`)}</ul></details>`;
}

// Where it may send to: the name is the permission.
function Places({ agent }) {
  const { data, problem, reload } = useLoad(at("/v1/destinations", { agent }), 5000);
  if (isMissing(problem)) return null;
  const items = data?.items ?? [];
  return html`<h2>Where it may send to</h2><${Trouble} problem=${problem} />
    ${data && !items.length ? html`<p class="muted">Nowhere but where it is asked. A chat that it hears becomes a place of its own: <a href="#/wirings">wirings</a>.</p>` : null}
    ${items.length ? html`<${Table} label="Destinations" heads=${["Name", "Where", ""]} rows=${items.map((of) => ({
      key: of.name, cells: [html`<code><${Text} of=${of.name} max=${120} /></code>`, of.chat ? html`<a href=${`#/wirings/${piece(of.chat)}`}>a chat</a>${of.thread ? html` · thread <${Text} of=${of.thread} max=${80} />` : null}` : html`agent <${Text} of=${of.target} max=${80} />`,
        html`<${Sure} ask=${`Let ${agent} send to ${of.name} no more?`} run=${async () => (await call("DELETE", `/v1/destinations/${piece(agent)}/${piece(of.name)}`), reload())}>Remove<//>`] }))} />` : null}`;
}

function Remembers({ agent }) {
  const pages = usePages("/v1/memory", { agent, limit: 20 }, "id", 5000);
  if (isMissing(pages.problem)) return null;
  return html`<h2>What it remembers</h2><${List} pages=${pages} what="Memories" heads=${["What", "State", "Written", ""]} row=${(memory) => ({
    key: memory.id, cells: [html`<${Text} of=${memory.content} max=${300} />`, html`<${Badge} of=${memory.state} />${memory.behavioural && !memory.confirmed ? html` <span class="badge wait">waits for you</span>` : null}`, html`<${Time} of=${memory.created} />`,
      html`<div class="row">${memory.confirmed ? null : html`<${Act} run=${async () => (await call("POST", `/v1/memory/${piece(memory.id)}/confirm`), pages.reload())}>Confirm<//>`}<${Sure} ask="Forget this for good?" run=${async () => (await call("DELETE", `/v1/memory/${piece(memory.id)}`), pages.reload())}>Forget<//></div>`],
  })}><p class="muted">Nothing yet. <a href="#/memory">Write something down</a> that it shall know.</p><//>`;
}
