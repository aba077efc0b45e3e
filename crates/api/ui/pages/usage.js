// Tokens and cost, by whatever is asked; and budgets.

import { html, useState } from "../dom.js";
import { at, call, piece } from "../api.js";
import { Act, Empty, Field, Form, Head, Sure, Table, Text, Trouble, isMissing, useLoad } from "../parts.js";
import { NANOS, count, money } from "../text.js";

const BY = ["model", "provider", "day", "session", "job", "agent", "profile", "tenant"];
const SPANS = [["1", "today"], ["7", "7 days"], ["30", "30 days"], ["", "all time"]];

// The beginning of a day, so many days ago.
export function dayStart(daysBack) {
  const day = new Date();
  day.setHours(0, 0, 0, 0);
  day.setDate(day.getDate() - daysBack);
  return day.getTime();
}

const inUsd = (item) => (Number.isFinite(item.cost_usd) ? item.cost_usd : (item.cost ?? 0) / NANOS);
const tokensIn = (usage = {}) => (usage.input_tokens ?? 0) + (usage.cache_read_tokens ?? 0) + (usage.cache_write_tokens ?? 0);

export function costOf(items = []) {
  return items.reduce((sum, item) => sum + inUsd(item), 0);
}

export function Usage() {
  const [by, setBy] = useState("model");
  const [days, setDays] = useState("30");
  const { data, problem, isLoading } = useLoad(at("/v1/usage", { by, from: days ? dayStart(Number(days) - 1) : undefined }), 10_000);
  const items = data?.items ?? [];
  const most = Math.max(...items.map(inUsd), 0);
  return html`<${Head} title="Usage" sub=${`${money(costOf(items))} in the time shown`} />
    <div class="filters" role="search"><${Field} label="By"><select data-first value=${by} onChange=${(event) => setBy(event.target.value)}>${BY.map((name) => html`<option>${name}</option>`)}</select><//>
      <${Field} label="Time"><select value=${days} onChange=${(event) => setDays(event.target.value)}>${SPANS.map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select><//></div>
    <${Trouble} problem=${problem} />
    ${!isLoading && !problem && !items.length ? html`<${Empty} title="Nothing was used in this time.">Every call of a model is counted here with its tokens and its cost.<//>` : null}
    ${items.length ? html`<${Table} label="Usage" heads=${[by, "#Calls", "#Tokens in", "#Tokens out", "#Cost", "Share"]} rows=${items.map((item) => ({
      key: item.key,
      cells: [html`<${Text} of=${item.key || "–"} max=${120} />`, count(item.calls), count(tokensIn(item.usage)), count(item.usage?.output_tokens ?? 0), money(inUsd(item)),
        html`<span class="meter" aria-hidden="true"><span style=${{ width: `${most ? Math.round((inUsd(item) / most) * 100) : 0}%` }}></span></span>`],
    }))} />` : null}
    <${Budgets} />`;
}

function Budgets() {
  const { data, problem, reload } = useLoad("/v1/budgets", 10_000);
  if (isMissing(problem)) return null;
  const path = (name) => `/v1/budgets/${piece(name)}`;
  const set = async (form, node) => {
    await call("PUT", path(form.get("name").trim()), { limit_usd: Number(form.get("limit")), ...(form.get("policy") ? { policy: form.get("policy") } : {}) });
    node.reset();
    reload();
  };
  return html`<h2>Budgets</h2><${Trouble} problem=${problem} />
    ${data && !data.items.length ? html`<${Empty} title="No budget is set.">Work stops, or waits and asks, when what it may spend is spent.<//>` : null}
    ${data?.items.length ? html`<${Table} label="Budgets" heads=${["Budget", "#Limit", "#Spent", "#Left", "When it is spent", ""]} rows=${data.items.map((item) => ({
      key: item.name,
      cells: [html`<code><${Text} of=${item.name} /></code>`, money(item.limit_usd), money(item.spent_usd), money(item.left_usd), item.policy ?? "the usual",
        html`<div class="row small"><${Act} label=${`raise ${item.name} by half`} run=${async () => (await call("POST", `${path(item.name)}/raise`, { by_usd: item.limit_usd / 2 }), reload())}>Raise by half<//>
          <${Sure} ask=${`Forget the budget ${item.name}? Nothing holds its work then.`} run=${async () => (await call("DELETE", path(item.name)), reload())}>Remove<//></div>`],
    }))} />` : null}
    <details class="panel"><summary>Set a budget</summary><${Form} run=${set} label="Set a budget" send="Set"><div class="fields">
      <${Field} label="Of what" hint="all, agent:NAME, tenant:NAME, session:ID or job:ID; @day behind it for each day"><input name="name" required placeholder="all@day" /><//>
      <${Field} label="US dollars"><input name="limit" type="number" min="0" step="any" required /><//>
      <${Field} label="When it is spent"><select name="policy"><option value="">the usual</option><option value="wait">work waits and asks</option><option value="fail">work fails</option></select><//></div><//></details>`;
}
