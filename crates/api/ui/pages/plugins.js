// Plugins: what tools there are, what they reach, and what of them waits for a person.

import { html, useState } from "../dom.js";
import { call, get, piece } from "../api.js";
import { Act, Badge, Block, Empty, Facts, Head, Missing, Sure, Text, Trouble, isMissing, useLoad } from "../parts.js";

export function Plugins() {
  const { data, problem, reload } = useLoad("/v1/plugins", 5000);
  if (isMissing(problem)) return html`<${Head} title="Plugins" /><${Missing} what="Plugins" />`;
  return html`<${Head} title="Plugins" sub="Programs that give agents tools, each sealed off with its own credentials."><${Act} run=${async () => (await call("POST", "/v1/plugin-reload"), reload())}>Look again<//><//>
    <${Trouble} problem=${problem} />
    ${data && !data.items.length ? html`<${Empty} title="No plugin.">Install one in a terminal: <code>lazaret plugin install</code>.<//>` : null}
    ${(data?.items ?? []).map((plugin) => html`<${One} key=${plugin.name} of=${plugin} reload=${reload} />`)}`;
}

function One({ of, reload }) {
  const [detail, setDetail] = useState(null);
  const path = `/v1/plugins/${piece(of.name)}`;
  const act = (verb) => async () => {
    setDetail(await call("POST", `${path}/${verb}`));
    reload();
  };
  const look = async (event) => {
    if (!event.currentTarget.open || detail) return;
    const found = await get(path).catch(() => null);
    // What was done meanwhile has told what is newer.
    setDetail((now) => now ?? found);
  };
  const pending = detail?.record?.pending;
  const missing = of.credentials.filter((credential) => credential.required && !credential.set);
  return html`<details class="panel" onToggle=${look}><summary><strong><${Text} of=${of.name} /></strong> <${Badge} of=${of.state} /> <span class="muted"><${Text} of=${of.description} max=${160} /></span></summary>
    ${of.why && of.state === "off" ? html`<p class="muted"><${Text} of=${of.why.message} />${of.why.hint ? html`: <${Text} of=${of.why.hint} />` : null}</p>` : html`<${Trouble} problem=${of.why} />`}
    <${Facts} of=${[
      ["Version", html`<${Text} of=${of.version} />`], ["From", of.shipped ? "ships with Lazaret" : html`<${Text} of=${detail?.record?.source ?? "the home"} />`],
      ["Reaches", of.hosts.length ? html`<${Text} of=${of.hosts.join(", ")} />` : "no host"],
      ["Credentials", of.credentials.length ? html`<ul class="plain-list">${of.credentials.map((c) => html`<li><code><${Text} of=${c.key} /></code> ${c.set ? "stored" : c.required ? "missing" : "not set"} <span class="muted"><${Text} of=${c.description} max=${200} /></span></li>`)}</ul>` : "none"],
    ]} />
    ${missing.length ? html`<p>Store what is missing in a terminal: <code>lazaret auth api-key --plugin <${Text} of=${of.name} /></code></p>` : null}
    ${pending && html`<div class="panel ask"><strong>Its tools are not those that were approved.</strong>${pending.changes.map((change) => html`<div><p><${Text} of=${change.what} /></p><${Block} of=${change.before} label="before" kind="bad" /><${Block} of=${change.after} label="after" /></div>`)}
      <${Sure} kind="primary" ask="Approve these changes of its tools?" run=${async () => (setDetail(await call("POST", `${path}/approve`, { hash: pending.hash })), reload())}>Approve the changes<//></div>`}
    ${of.tools.length ? html`<h3>Tools</h3><ul class="plain-list tools">${of.tools.map((tool) => html`<li><details><summary><code><${Text} of=${tool.name} /></code> ${tool.risk === "high" ? html`<span class="badge wait">asks first</span>` : null} <span class="muted"><${Text} of=${tool.description} max=${200} /></span></summary><${Block} of=${tool.schema} label="schema" /></details></li>`)}</ul>` : null}
    <div class="row">${of.state === "off" ? html`<${Act} run=${act("enable")}>Enable<//>` : html`<${Act} run=${act("disable")}>Disable<//>`}<${Act} run=${act("reload")}>Load again<//><${Act} run=${act("verify")}>Verify<//></div></details>`;
}
