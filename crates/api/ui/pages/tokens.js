// Tokens of the API: made here, shown once, ended at once.

import { html, useRef, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Badge, Empty, Field, Form, Head, List, Sure, Text, Time, usePages } from "../parts.js";

const SCOPES = [["read", "look at things"], ["write", "and make them work"], ["approve", "and answer confirmations"], ["manage", "and look after a tenant"], ["admin", "everything"]];
const DAY_S = 86_400;

export function Tokens() {
  const pages = usePages("/v1/tokens", {}, "id", 5000);
  const [made, setMade] = useState(null);
  const run = async (form, node) => {
    const days = Number(form.get("days"));
    const tenant = form.get("tenant").trim();
    const token = await call("POST", "/v1/tokens", {
      name: form.get("name"), scope: form.get("rights").trim() || form.get("scope"), ...(tenant ? { tenant } : {}), ...(days > 0 ? { expires_s: Math.round(days * DAY_S) } : {}),
    });
    setMade(token);
    node.reset();
    pages.reload();
  };
  return html`<${Head} title="Tokens" sub="What other programs show to be let in." />
    <details class="panel" open=${!pages.isLoading && !pages.items.length}><summary>Make a token</summary><${Form} run=${run} label="Make a token" send="Make">
      <div class="fields"><${Field} label="Name"><input name="name" required maxlength="64" placeholder="what it is for" /><//>
      <${Field} label="Scope"><select name="scope">${SCOPES.map(([name, what]) => html`<option value=${name}>${name}: ${what}</option>`)}</select><//>
      <${Field} label="Or narrower" hint="rights with spaces between them"><input name="rights" placeholder="jobs:write sessions:read" /><//>
      <${Field} label="Tenant" hint="empty: everything of this install"><input name="tenant" maxlength="64" /><//>
      <${Field} label="Days that it is good" hint="empty: until it is revoked"><input name="days" type="number" min="1" max="3650" step="1" defaultValue="90" /><//></div><//></details>
    <${List} pages=${pages} what="Tokens" heads=${["Name", "Scope", "Tenant", "State", "Made", "Ends", ""]} row=${(token) => ({
      key: token.id,
      cells: [html`<${Text} of=${token.name} />`, html`<code><${Text} of=${[token.scope].flat().join(" ")} /></code>`, html`<${Text} of=${token.tenant ?? "–"} />`, html`<${Badge} of=${stateOf(token)} />`,
        html`<${Time} of=${token.created} />`, html`<${Time} of=${token.revoked ?? token.expires} />`,
        stateOf(token) === "active" ? html`<${Sure} ask=${`Revoke the token “${token.name}”? Whatever uses it is refused from now on.`} run=${async () => (await call("DELETE", `/v1/tokens/${piece(token.id)}`), pages.reload())}>Revoke<//>` : null],
    })}><${Empty} title="No token yet.">A program that uses the API needs one. Make it above, or with <code>lazaret token add</code>.<//><//>
    ${made && html`<${Shown} token=${made} close=${() => setMade(null)} />`}`;
}

function stateOf(token) {
  if (token.revoked) return "revoked";
  return token.expires && token.expires <= Date.now() ? "expired" : "active";
}

// The one time that a token's text is seen.
function Shown({ token, close }) {
  const field = useRef(null);
  const copy = () => {
    field.current.select();
    navigator.clipboard?.writeText(token.token).catch(() => {});
  };
  return html`<dialog ref=${(node) => node && !node.open && node.showModal()} onClose=${close} aria-label="The new token">
    <h2>The token “${token.name}”</h2><p>This is the only time that it is shown. Keep it where only its program can read it.</p>
    <div class="row grow"><input ref=${field} class="mono" readonly value=${token.token} aria-label="Token" /><button onClick=${copy}>Copy</button></div>
    <div class="row end"><button class="primary" onClick=${close}>I have it</button></div></dialog>`;
}
