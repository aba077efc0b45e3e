// Tokens and cost, by whatever is asked; and budgets.

import { html, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Badge, Empty, Field, Form, Head, Missing, Table, Text, Trouble, isMissing, useLoad } from "../parts.js";
import { NANOS, count, money } from "../text.js";
import { at } from "../api.js";

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
  return html`<h2>Budgets</h2><${Trouble} problem=${problem} />
    ${data && !data.items.length ? html`<${Empty} title="No budget is set.">Set one in a terminal: <code>lazaret budget set</code>.<//>` : null}
    ${data?.items.length ? html`<${Table} label="Budgets" heads=${Object.keys(data.items[0])} rows=${data.items.map((item, n) => ({ key: n, cells: Object.values(item).map((value) => html`<${Text} of=${typeof value === "object" ? JSON.stringify(value) : value} />`) }))} />` : null}`;
}
