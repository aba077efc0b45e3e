// The pool: sandboxes that are ready before anybody asks for one.

import { html } from "../dom.js";
import { Badge, Block, Empty, Head, Missing, Table, Text, Trouble, isMissing, useLoad } from "../parts.js";

export function Pool() {
  const { data, problem } = useLoad("/v1/pool", 2000);
  if (isMissing(problem)) return html`<${Head} title="Pool" /><${Missing} what="Pools" />`;
  const items = data?.items ?? data?.profiles ?? [];
  const rows = items.map((of) => ({
    key: of.profile ?? of.name,
    cells: [html`<${Text} of=${of.profile ?? of.name} />`, of.ready ?? "–", of.target ?? of.size ?? "–", of.booting ?? of.making ?? "–", html`${of.why ? html`<${Text} of=${of.why.message ?? of.why} max=${200} />` : of.state ? html`<${Badge} of=${of.state} />` : "–"}`],
  }));
  return html`<${Head} title="Pool" sub="Sandboxes that are ready before they are asked for. Each is used once." /><${Trouble} problem=${problem} />
    ${data && !items.length ? html`<${Empty} title="No pool.">A profile with <code>pool</code> keeps some ready.<//>` : null}
    ${rows.length ? html`<${Table} label="Pools" heads=${["Profile", "#Ready", "#Wanted", "#Booting", "State"]} rows=${rows} />` : null}
    ${data ? html`<details class="about"><summary>All of it</summary><${Block} of=${data} label="pool" /></details>` : null}`;
}
