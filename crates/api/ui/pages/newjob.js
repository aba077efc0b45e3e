// A new job: what its profile wants to know, what comes along, and what it may use.

import { html, useMemo, useRef, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Field, Form, Head, Missing, Text, Trouble, isMissing, useLoad } from "../parts.js";
import { bytes } from "../text.js";

const FORMATS = ["json", "text", "stream-json"];
const AGENT = "lazaret-agent-id";

export function NewJob({ query }) {
  const jobs = useLoad("/v1/jobs?limit=1");
  const profiles = useLoad("/v1/profiles");
  const [name, setName] = useState(query.profile ?? "default");
  const items = profiles.data?.items ?? [];
  if (isMissing(jobs.problem)) return html`<${Head} title="New job" /><${Missing} what="Jobs" />`;
  const names = [...new Set(["default", name, ...items.map((item) => item.name)])];
  return html`<${Head} title="New job" sub="One prompt, one turn, one result." />
    <${Trouble} problem=${profiles.problem && !isMissing(profiles.problem) ? profiles.problem : null} />
    <${Ask} key=${name} name=${name} names=${names} choose=${setName} profile=${items.find((item) => item.name === name)} />`;
}

// The variables that a profile declares, for its prompt and for its instructions. The default one has but a place for what
// is asked, and the prompt is that.
function declared(profile) {
  if (profile?.name === "default" && profile.shipped) return { prompt: [], instructions: [] };
  const of = (table) => Object.entries(table ?? {}).map(([name, variable]) => ({ name, ...variable }));
  return { prompt: of(profile?.prompt_vars), instructions: of(profile?.claude_md_vars) };
}

function Ask({ name, names, choose, profile }) {
  const engines = useLoad("/v1/engines").data?.items ?? [];
  const envs = useLoad("/v1/envs").data?.items ?? [];
  const vars = useMemo(() => declared(profile), [profile]);
  const files = useRef(null);
  const [chosen, setChosen] = useState([]);
  const run = async (form) => {
    const job = jobOf(form, vars, name);
    localStorage.setItem(AGENT, job.agent_id);
    const list = [...files.current.files];
    const key = { headers: { "idempotency-key": crypto.randomUUID?.() ?? String(Math.random()) } };
    let made;
    if (list.length) {
      // The files go as they are, beside the job.
      const parts = new FormData();
      parts.append("job", new Blob([JSON.stringify(job)], { type: "application/json" }));
      for (const file of list) parts.append("file", file, file.name);
      made = await call("POST", "/v1/jobs", undefined, { form: parts, ...key });
    } else {
      made = await call("POST", "/v1/jobs", job, key);
    }
    location.hash = `#/jobs/${piece(made.id)}`;
  };
  const [hasPrompt, setPrompt] = useState(false);
  const prompt = html`<${Field} label="Prompt" wide><textarea name="prompt" rows="6" placeholder="What shall be done?" onInput=${(event) => setPrompt(event.target.value.trim() !== "")}></textarea><//>`;
  const hasVars = vars.prompt.length + vars.instructions.length > 0;
  return html`<${Form} run=${run} label="New job" send="Run the job">
    <div class="panel"><div class="fields">
      <${Field} label="Profile" hint=${profile?.description ? html`<${Text} of=${profile.description} max=${200} />` : null}><select data-first value=${name} onChange=${(event) => choose(event.target.value)}>${names.map((n) => html`<option value=${n}>${n}</option>`)}</select><//>
      <${Field} label="Agent id" hint="who asks; the job’s name begins with it"><input name="agent_id" required pattern="[A-Za-z0-9_\\-]{1,64}" defaultValue=${localStorage.getItem(AGENT) ?? "page"} /><//></div>
      ${hasVars ? html`<div class="fields">${vars.prompt.map((v) => html`<${Variable} of=${v} prefix="var." isFree=${hasPrompt} />`)}${vars.instructions.map((v) => html`<${Variable} of=${v} prefix="ins." />`)}</div>` : null}
      ${vars.prompt.length ? html`<details class="about"><summary>Say it in your own words instead</summary>${prompt}</details>` : prompt}
      <${Field} label="Files" hint="they lie in the working directory when it begins" wide><input type="file" multiple ref=${files} onChange=${(event) => setChosen([...event.target.files])} /><//>
      ${chosen.length ? html`<ul class="files">${chosen.map((file) => html`<li><code><${Text} of=${file.name} /></code> <span class="muted">${bytes(file.size)}</span></li>`)}</ul>` : null}
    </div>
    <details class="panel"><summary>More: engine, limits, repository, what is kept</summary><div class="fields">
      <${Field} label="Engine"><select name="engine"><option value="">the profile’s</option>${engines.map((engine) => html`<option value=${engine.name}>${engine.name}</option>`)}</select><//>
      <${Field} label="Model"><input name="model" placeholder="the profile’s" maxlength="128" /><//>
      <${Field} label="Env"><select name="env"><option value="">a private tree</option>${envs.map((env) => html`<option value=${env.slug}>${env.slug}</option>`)}</select><//>
      <${Field} label="Result"><select name="output_format"><option value="">the profile’s</option>${FORMATS.map((format) => html`<option>${format}</option>`)}</select><//>
      <${Field} label="Rounds with the model"><input name="max_turns" type="number" min="1" max="100" /><//>
      <${Field} label="Most it may cost, US dollars"><input name="max_budget_usd" type="number" min="0.000001" max="50" step="any" /><//>
      <${Field} label="Fails after, seconds"><input name="timeout_s" type="number" min="1" /><//>
      <${Field} label="Not before, seconds"><input name="delay_s" type="number" min="0" /><//>
      <${Field} label="Priority"><input name="priority" type="number" min="0" max="9" placeholder="5" /><//>
      <${Field} label="Tries again"><input name="retries" type="number" min="0" max="10" /><//>
      <${Field} label="Repository"><input name="repo" placeholder="https://… or a listed path" /><//>
      <${Field} label="Branch, tag or commit"><input name="ref" /><//>
      <${Field} label="Files to keep" hint="globs, one a line"><textarea name="artifacts" rows="2" placeholder="report/*.md"></textarea><//>
      <${Field} label="Hosts it may reach" hint="one a line"><textarea name="egress" rows="2" placeholder="example.com:443"></textarea><//>
      <${Field} label="Labels" hint="KEY=VALUE, one a line"><textarea name="labels" rows="2"></textarea><//>
      <${Field} label="Webhook"><input name="webhook_url" type="url" placeholder="https://…" /><//>
      <${Field} label="Told before everything else" wide><textarea name="system_prompt" rows="2"></textarea><//>
      <${Field} label="JSON Schema of the result" wide><textarea name="output_schema" class="code" rows="3"></textarea><//>
      <label class="check"><input type="checkbox" name="dry_run" /> only show what would be run</label></div></details><//>`;
}

function Variable({ of, prefix, isFree = false }) {
  const id = prefix + of.name;
  // Whoever writes the prompt needs no words for the profile's.
  const required = of.required && !isFree;
  const word = html`<${Text} of=${of.name} />${required ? " *" : ""}`;
  const hint = of.description ? html`<${Text} of=${of.description} max=${300} />` : null;
  const usual = of.default === undefined || of.default === null ? "" : String(of.default);
  const choices = of.enum ?? [];
  let field;
  if (choices.length) field = html`<select name=${id} required=${required}><option value="">${usual ? `usual: ${usual}` : "–"}</option>${choices.map((choice) => html`<option value=${String(choice)}>${String(choice)}</option>`)}</select>`;
  else if (of.type === "boolean") field = html`<select name=${id} required=${required}><option value="">${usual ? `usual: ${usual}` : "–"}</option><option>true</option><option>false</option></select>`;
  else if (of.type === "integer" || of.type === "float") field = html`<input name=${id} type="number" step=${of.type === "integer" ? "1" : "any"} required=${required} placeholder=${usual} />`;
  else field = html`<input name=${id} required=${required} placeholder=${usual} />`;
  return html`<${Field} label=${word} hint=${hint}>${field}<//>`;
}

function valueOf(variable, text) {
  if (variable.type === "integer" || variable.type === "float") return Number(text);
  if (variable.type === "boolean") return text === "true";
  return text;
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

// What is sent: only what was filled in, so that the profile's own choices stay.
function jobOf(form, vars, profile) {
  const given = (name) => String(form.get(name) ?? "").trim();
  const job = { agent_id: given("agent_id"), profile };
  const fill = (list, prefix) => Object.fromEntries(list.filter((v) => given(prefix + v.name) !== "").map((v) => [v.name, valueOf(v, given(prefix + v.name))]));
  if (vars.prompt.length) job.prompt_vars = fill(vars.prompt, "var.");
  if (vars.instructions.length) job.claude_md_vars = fill(vars.instructions, "ins.");
  const prompt = String(form.get("prompt") ?? "");
  if (prompt.trim()) job.prompt = prompt;
  for (const name of ["engine", "model", "env", "output_format", "repo", "ref", "webhook_url", "system_prompt"]) if (given(name)) job[name] = given(name);
  for (const name of ["max_turns", "max_budget_usd", "timeout_s", "delay_s", "priority", "retries"]) if (given(name)) job[name] = Number(given(name));
  for (const name of ["artifacts", "egress"]) if (given(name)) job[name] = lines(given(name));
  if (given("labels")) job.labels = Object.fromEntries(lines(given("labels")).map((line) => [line.split("=")[0], line.slice(line.indexOf("=") + 1)]));
  if (given("output_schema")) {
    try {
      job.output_schema = JSON.parse(given("output_schema"));
    } catch {
      throw new Error("the JSON Schema is not JSON");
    }
  }
  if (form.get("dry_run")) job.dry_run = true;
  return job;
}
