// Profiles, templates and hooks: texts with versions, and an editor that says what is wrong before anything is kept.

import { html, useRef, useState } from "../dom.js";
import { at, call, get, pathOf, piece } from "../api.js";
import { Act, Badge, Block, Empty, Field, Head, Missing, Sure, Table, Text, Time, Trouble, isMissing, useLoad } from "../parts.js";

const KINDS = {
  profiles: { one: "profile", word: "Profiles", what: "What jobs run with when they do not say." },
  templates: { one: "template", word: "Templates", what: "What prompts and instructions are rendered from." },
  hooks: { one: "hook", word: "Hooks", what: "What runs inside before and after an engine." },
};
const FIRST = {
  profiles: "[agent]\ndescription = \"\"\n\n[prompt]\ntemplate = \"\"\"\nSay what is to be done with {{ subject }}.\n\"\"\"\n\n[prompt.variables.subject]\ntype = \"string\"\nrequired = true\n",
  templates: "Say what is to be done with {{ subject }}.\n",
  hooks: "#!/bin/sh\n",
};

export function Profiles() {
  const first = useLoad("/v1/profiles", 5000);
  if (isMissing(first.problem)) return html`<${Head} title="Profiles" /><${Missing} what="Profiles" />`;
  return html`<${Head} title="Profiles" sub="What jobs run with: profiles, and the templates and hooks that they name." />
    ${Object.keys(KINDS).map((kind) => html`<${Kind} key=${kind} kind=${kind} />`)}`;
}

function Kind({ kind }) {
  const { data, problem } = useLoad(`/v1/${kind}`, 5000);
  const { word, what, one } = KINDS[kind];
  if (isMissing(problem)) return null;
  return html`<section><div class="head small"><h2>${word}</h2><a class="button" href=${`#/profiles/${kind}`}>New ${one}</a></div>
    <${Trouble} problem=${problem} />
    ${data && !data.items.length ? html`<${Empty} title="None yet.">${what}<//>` : null}
    ${data?.items.length ? html`<${Table} label=${word} heads=${["Name", "About", "#Version", "From"]} rows=${data.items.map((item) => ({
      key: item.name,
      cells: [html`<a class="open" href=${`#/profiles/${kind}/${piece(item.name)}`}><${Text} of=${item.name} /></a>`,
        html`<${Text} of=${item.description || (kind === "profiles" ? variables(item) : "–")} max=${160} />`, item.version, item.shipped ? html`<span class="muted">ships with Lazaret</span>` : "your own"],
    }))} />` : null}</section>`;
}

const variables = (profile) => Object.keys(profile.prompt_vars ?? {}).join(", ") || "–";

export function Profile({ kind, name }) {
  const path = `/v1/${kind}`;
  const own = Object.hasOwn(KINDS, kind);
  const { data, problem, isLoading, reload } = useLoad(own && name ? `${path}/${pathOf(name)}` : null);
  if (!own) return html`<${Head} title="Profiles" /><${Empty} title="There is no such kind of text."><a href="#/profiles">All of them</a><//>`;
  if (!name) return html`<${Head} title=${`New ${KINDS[kind].one}`} sub=${KINDS[kind].what} /><${Editor} kind=${kind} />`;
  if (!data) return html`<${Head} title=${name} /><${Trouble} problem=${problem} />${isLoading ? html`<p class="muted">loading</p>` : null}`;
  const remove = async () => {
    await call("DELETE", `${path}/${pathOf(name)}`);
    location.hash = "#/profiles";
  };
  return html`<${Head} title=${name} sub=${html`<span>${KINDS[kind].one}, version ${data.version}</span>${data.shipped ? html`<span>ships with Lazaret</span>` : null}`}>
      ${kind === "profiles" ? html`<a class="button primary" href=${`#/new?profile=${piece(name)}`}>New job</a>` : null}
      <${Sure} ask=${`Remove the ${KINDS[kind].one} ${name}? Its versions are kept.`} run=${remove}>Remove<//><//>
    <${Editor} key=${data.version} kind=${kind} name=${name} was=${data} done=${reload} />
    <${Versions} key=${`v${data.version}`} kind=${kind} name=${name} present=${data.version} done=${reload} />`;
}

function Editor({ kind, name, was, done }) {
  const path = `/v1/${kind}`;
  const content = useRef(null);
  const about = useRef(null);
  const values = useRef(null);
  const called = useRef(null);
  const [checked, setChecked] = useState(null);
  const form = () => ({ content: content.current.value, ...(kind === "profiles" ? {} : { description: about.current.value }) });
  const check = async () => {
    setChecked(null);
    const more = {};
    const said = values.current?.value.trim();
    if (said) {
      try {
        more.prompt_vars = JSON.parse(said);
      } catch {
        throw new Error("the values are not JSON");
      }
    }
    const given = name ?? called.current.value.trim();
    setChecked(await call("POST", `${path}/check`, { content: content.current.value, ...(given ? { name: given } : {}), ...more }));
  };
  const save = async () => {
    if (name) {
      await call("PUT", `${path}/${pathOf(name)}`, { ...form(), version: was.version });
      done();
      return;
    }
    const made = await call("POST", path, { ...form(), name: called.current.value.trim() });
    location.hash = `#/profiles/${kind}/${piece(made.name)}`;
  };
  return html`<div class="panel">
    ${name ? null : html`<div class="fields"><${Field} label="Name"><input ref=${called} required maxlength="80" placeholder=${kind === "templates" ? "prompts/NAME.md.j2" : "name"} /><//></div>`}
    <${Field} label=${kind === "profiles" ? "Text, in TOML" : "Text"} wide><textarea ref=${content} class="code" data-first spellcheck="false" rows="18" onInput=${() => checked && setChecked(null)}>${was?.content ?? FIRST[kind]}</textarea><//>
    ${kind === "profiles" ? html`<${Field} label="Values to try its prompt with, as JSON" wide><textarea ref=${values} class="code small" rows="2" spellcheck="false" placeholder='{"subject": "the harbour"}'></textarea><//>`
      : html`<${Field} label="About" wide><input ref=${about} defaultValue=${was?.description ?? ""} maxlength="2000" /><//>`}
    <div class="row spaced"><${Act} run=${check}>Check<//><${Act} kind="primary" run=${save}>${name ? "Save as a new version" : "Make"}<//></div>
    ${checked && html`<div class="fine-news" role="status"><strong>It can be kept.</strong>${checked.warnings.length ? html`<ul>${checked.warnings.map((warning) => html`<li><${Text} of=${warning} /></li>`)}</ul>` : null}</div>
      ${checked.prompt ? html`<h3>Prompt</h3><${Block} of=${checked.prompt} label="rendered prompt" />` : null}
      ${checked.instructions ? html`<h3>Instructions</h3><${Block} of=${checked.instructions} label="rendered instructions" />` : null}`}
    ${was?.warnings?.length ? html`<p class="muted"><${Text} of=${was.warnings.join("; ")} /></p>` : null}</div>`;
}

function Versions({ kind, name, present, done }) {
  const path = kind === "templates" ? at("/v1/template-versions", { name }) : `/v1/${kind}/${piece(name)}/versions`;
  const { data, problem } = useLoad(path);
  const [shown, show] = useState(null);
  if (problem) return null;
  const look = async (version) => show(await get(at(`/v1/${kind}/${pathOf(name)}`, { version })));
  const back = async (version) => {
    await call("POST", `/v1/${kind}/reset`, { name, version });
    done();
  };
  return html`<section><h2>Versions</h2>${data?.items.length ? html`<${Table} label="Versions" heads=${["#Version", "Made", "About", ""]} rows=${data.items.map((item) => ({
    key: item.version,
    cells: [item.version, item.updated ? html`<${Time} of=${item.updated} />` : html`<span class="muted">shipped</span>`, item.removed ? html`<${Badge} of="removed" />` : html`<${Text} of=${item.description || "–"} max=${160} />`,
      item.removed ? null : html`<div class="row small"><${Act} label=${`show version ${item.version}`} run=${() => look(item.version)}>Show<//>${item.version === present ? null : html`<${Act} label=${`go back to version ${item.version}`} run=${() => back(item.version)}>Go back to it<//>`}</div>`],
  }))} />` : html`<p class="muted">There is only this one.</p>`}
    ${shown && html`<h3>Version ${shown.version}</h3><${Block} of=${shown.content} label=${`version ${shown.version}`} />`}</section>`;
}
