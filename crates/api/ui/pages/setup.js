// First steps: a model that answers, an agent, a network, a chat that is paired, a hello. Done is what is there.

import { html, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Act, Badge, Field, Form, Head, Missing, Text, Trouble, isMissing, useLoad } from "../parts.js";

const TITLES = { model: "A model that answers", agent: "An agent to talk to", channel: "A chat network", pair: "A chat that is yours", hello: "Say hello" };
const WORDS = { todo: "waiting", skipped: "passed over", done: "done" };
const PROVIDERS = ["anthropic", "openai", "gemini", "openrouter"];

export function Setup() {
  const { data, problem, reload } = useLoad("/v1/setup", 3000);
  if (isMissing(problem)) return html`<${Head} title="First steps" /><${Missing} what="First steps" />`;
  const skip = (step) => async () => (await call("POST", "/v1/setup", { step, skip: true }), reload());
  return html`<${Head} title="First steps" sub=${data?.ready ? "Everything is there. What you change later, you change on its own page." : "Five short steps. Each can be passed over, and taken up again here or with lazaret setup."}>
      <${Act} run=${async () => (await call("DELETE", "/v1/setup"), reload())}>Show what was passed over<//><//>
    <${Trouble} problem=${problem} />
    <ol class="steps">${(data?.steps ?? []).map((step) => html`<li key=${step.step} class=${`panel ${data.next === step.step ? "now" : ""}`} aria-current=${data.next === step.step ? "step" : undefined}>
      <div class="head small"><h2>${TITLES[step.step] ?? step.step}</h2><${Badge} of=${WORDS[step.state] ?? step.state} /></div>
      <p class="muted"><${Text} of=${step.what} max=${300} />${step.state === "done" || !step.fix ? null : html`. In a terminal: <code><${Text} of=${step.fix} max=${200} /></code>`}</p>
      ${step.state === "done" ? null : html`<${Step} of=${step.step} done=${reload} />${step.state === "todo" ? html`<div class="row spaced"><${Act} kind="plain" run=${skip(step.step)}>Pass this over<//></div>` : null}`}</li>`)}</ol>`;
}

function Step({ of, done }) {
  switch (of) {
    case "model":
      return html`<${Model} done=${done} />`;
    case "agent":
      return html`<${AnAgent} done=${done} />`;
    case "channel":
      return html`<${Network} done=${done} />`;
    case "pair":
      return html`<p><a class="button" href="#/people">Make a code</a> and write it to the account; or talk <a href="#/chat">on this page</a> first.</p>`;
    default:
      return html`<p><a class="button primary" href="#/chat">Say hello to an agent</a></p>`;
  }
}

function Model({ done }) {
  const [tried, tell] = useState(null);
  const keep = async (form, node) => {
    const provider = form.get("provider").trim();
    await call("PUT", `/v1/secrets/${piece(provider)}`, { value: form.get("key") });
    node.reset();
    await test(provider);
  };
  // The list of its models costs nothing, and shows that the key is good. One that is refused is not kept.
  const test = async (provider) => {
    tell({ provider, word: "running" });
    try {
      await call("GET", `/v1/providers/${piece(provider)}/models?fresh=true`);
      tell({ provider, word: "done" });
      await call("POST", "/v1/setup", { step: "model", note: provider });
    } catch (problem) {
      if (problem.code === "CREDENTIAL_EXPIRED") await call("DELETE", `/v1/secrets/${piece(provider)}`);
      tell(isMissing(problem) ? { provider, word: "stored" } : { provider, word: "failed", problem });
    }
    await done();
  };
  // A server that needs no key is kept only when it lists its models.
  const near = async (form) => {
    const provider = form.get("provider").trim();
    const { models } = await call("PUT", `/v1/providers/${piece(provider)}`, { base_url: form.get("base_url").trim() });
    tell({ provider, word: "done", models });
    await call("POST", "/v1/setup", { step: "model", note: provider });
    await done();
  };
  return html`<${Form} run=${keep} label="A provider's key" send="Keep and try it"><div class="fields">
      <${Field} label="Provider" name="provider"><input name="provider" required maxlength="64" list="providers" defaultValue="anthropic" /><datalist id="providers">${PROVIDERS.map((name) => html`<option value=${name}></option>`)}</datalist><//>
      <${Field} label="Key" name="value" hint="stays on this machine, and is never shown again"><input name="key" type="password" required autocomplete="off" /><//></div><//>
    <details><summary>A model of this machine, which needs no key</summary><${Form} run=${near} label="A model of this machine" send="Use it"><div class="fields">
      <${Field} label="Address" name="base_url" hint="Ollama, vLLM, llama.cpp or the like, as the daemon reaches it"><input name="base_url" type="url" required maxlength="500" defaultValue="http://127.0.0.1:11434/v1" /><//>
      <${Field} label="Name" name="provider"><input name="provider" required maxlength="64" defaultValue="local" /><//></div><//></details>
    ${tried ? html`<p role="status"><${Badge} of=${tried.word} /> <${Text} of=${tried.provider} /></p><${Trouble} problem=${tried.problem} />` : null}`;
}

// An agent's engine chooses a model of the provider with a key. One without is named with it.
function AnAgent({ done }) {
  const providers = (useLoad("/v1/providers", 3000).data?.items ?? []).filter((provider) => provider.usable);
  const near = providers.some((provider) => provider.key === "stored") ? null : providers.find((provider) => provider.key === "not_needed");
  const models = useLoad(near ? `/v1/providers/${piece(near.name)}/models` : null).data?.models ?? [];
  const make = async (form) => {
    const model = form.get("model")?.trim();
    await call("POST", "/v1/agents", { name: form.get("name").trim(), instructions: form.get("instructions"), ...(model ? { model: `${near.name}/${model}` } : {}) });
    await done();
  };
  return html`<${Form} run=${make} label="An agent" send="Make it"><div class="fields">
    <${Field} label="Name" name="name"><input name="name" required maxlength="64" pattern="[A-Za-z0-9_\\-]{1,64}" placeholder="andy" /><//>${near ? html`
    <${Field} label="Model" name="model"><input name="model" required maxlength="200" list="near-models" /><datalist id="near-models">${models.map((model) => html`<option value=${model.id}></option>`)}</datalist><//>` : null}
    <${Field} label="What it shall be like" name="instructions" wide><textarea name="instructions" rows="3" defaultValue="You help the family. Be brief and kind. Ask when something is not clear."></textarea><//></div><//>`;
}

// What the network needs, in order, and then the account.
function Network({ done }) {
  const guides = useLoad("/v1/networks").data?.items ?? [];
  const [name, choose] = useState("telegram");
  const guide = guides.find((one) => one.network === name) ?? guides[0];
  const [made, tell] = useState(null);
  const add = async (form) => {
    const fields = guide.fields.map((field) => [field, String(form.get(`field.${field.key}`) ?? "").trim()]).filter(([, value]) => value);
    const pick = (isSecret) => Object.fromEntries(fields.filter(([field]) => field.secret === isSecret).map(([field, value]) => [field.key, value]));
    const account = form.get("name").trim();
    await call("POST", "/v1/channels", { name: account, network: guide.network, config: pick(false), credentials: pick(true) });
    tell(account);
    await done();
  };
  if (!guide) return html`<p><a class="button" href="#/channels">Add an account</a></p>`;
  return html`<${Field} label="Network"><select value=${guide.network} onChange=${(event) => choose(event.target.value)}>${guides.map((one) => html`<option value=${one.network}>${one.title}</option>`)}</select><//>
    <ol class="guide">${guide.steps.map((step) => html`<li><${Text} of=${step} /></li>`)}</ol>
    ${guide.reached ? html`<p class="note ask">Its platform must reach this machine over HTTPS.</p>` : null}
    <${Form} key=${guide.network} run=${add} label="The account" send="Connect"><div class="fields"><${Field} label="Name" name="name"><input name="name" required maxlength="64" pattern="[a-z0-9\\-]{1,64}" defaultValue=${guide.network} /><//>
      ${guide.fields.map((field) => html`<${Field} label=${field.key} name=${field.key} hint=${field.what}><input name=${`field.${field.key}`} type=${field.secret ? "password" : "text"} required=${field.required} autocomplete="off" spellcheck="false" /><//>`)}</div><//>
    ${made ? html`<${Health} name=${made} hello=${guide.hello} />` : null}`;
}

function Health({ name, hello }) {
  const { data, problem } = useLoad(`/v1/channels/${piece(name)}`, 1000);
  return html`<p role="status">${data ? html`<${Badge} of=${data.health} /> <${Text} of=${data.message} max=${300} />` : null} ${data?.health === "well" ? html`<${Text} of=${hello} max=${300} />` : null}</p><${Trouble} problem=${problem} />`;
}
