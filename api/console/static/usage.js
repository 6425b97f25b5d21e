// What was used and what it cost, by day, tenant or model.
import { html, useState } from "/console/ui.js";
import { Columns } from "/console/chart.js";
import { withQuery } from "/console/http.js";
import { Problem, count, money, useLoaded } from "/console/parts.js";

const GROUPS = ["day", "tenant", "model", "tenant,model"];
const MEASURES = [
  ["total_tokens", "tokens", count],
  ["cost_usd", "cost", money],
  ["responses", "responses", count],
  ["failed", "failed responses", count],
];
const DAY_MS = 24 * 3600 * 1000;

const dayOf = (time) => new Date(time).toISOString().slice(0, 10);

export function Usage() {
  const [filter, setFilter] = useState({ from: dayOf(Date.now() - 29 * DAY_MS), until: dayOf(Date.now()), group: "day" });
  const [chosen, setChosen] = useState("total_tokens");
  // The last day is part of what is shown; the API's `to` is the first moment that is not.
  const to = filter.until ? dayOf(Date.parse(filter.until) + DAY_MS) : "";
  const usage = useLoaded(withQuery("/v1/usage", { from: filter.from, to, group_by: filter.group }));
  const change = (name) => (event) => setFilter({ ...filter, [name]: event.target.value });
  const [measure, label, format] = MEASURES.find(([name]) => name === chosen);
  return html`
    <h1 tabindex="-1">Usage</h1>
    <form class="filters" onSubmit=${(event) => event.preventDefault()} aria-label="What to show">
      <label>From <input type="date" value=${filter.from} max=${filter.until} onChange=${change("from")} /></label>
      <label>Until <input type="date" value=${filter.until} min=${filter.from} onChange=${change("until")} /></label>
      <label>By <select value=${filter.group} onChange=${change("group")}>${GROUPS.map((group) => html`<option value=${group}>${group.replace(",", " and ")}</option>`)}</select></label>
      <label>Bars show <select value=${chosen} onChange=${(event) => setChosen(event.target.value)}>
        ${MEASURES.map(([name, word]) => html`<option value=${name}>${word}</option>`)}</select></label>
    </form>
    <p class="muted">Days are those of UTC.</p>
    <${Problem} error=${usage.error} what="the usage" onRetry=${usage.reload} />
    ${usage.data && html`<div aria-busy=${usage.isLoading}>
      <${Totals} total=${usage.data.total} />
      <${Groups} data=${usage.data} filter=${filter} measure=${measure} label=${label} format=${format} />
    </div>`}
  `;
}

function Totals({ total }) {
  return html`<dl class="facts" data-testid="totals">
    <div><dt>Responses</dt><dd>${count(total.responses)}</dd></div>
    <div><dt>Failed</dt><dd>${count(total.failed)}</dd></div>
    <div><dt>Tokens in</dt><dd>${count(total.input_tokens)}</dd></div>
    <div><dt>of these cached</dt><dd>${count(total.cached_tokens)}</dd></div>
    <div><dt>Tokens out</dt><dd>${count(total.output_tokens)}</dd></div>
    <div><dt>Cost</dt><dd>${money(total.cost_usd)}</dd></div>
    ${total.unpriced_responses > 0 && html`<div><dt>Without a price</dt><dd>${count(total.unpriced_responses)}</dd></div>`}
  </dl>`;
}

function Groups({ data, filter, measure, label, format }) {
  // The answer's own grouping: another may be on its way.
  const groups = data.group_by;
  const group = groups[0];
  const rows = data.data;
  if (rows.length === 0) return html`<p class="muted">Nothing was used in this time.</p>`;
  const largest = Math.max(...rows.map((row) => row[measure] ?? 0), 0) || 1;
  return html`
    ${group === "day" && html`<${Columns} name=${`A column for each day: ${label}. The table below has the numbers.`} format=${format}
      rows=${everyDay(rows, filter).map((row) => ({ label: row.day, value: row[measure] ?? 0, text: format(row[measure] ?? null) }))} />`}
    <div class="scroll" tabindex="0" role="region" aria-label="Usage as a table">
      <table data-testid="usage">
        <thead><tr>${groups.map((one) => html`<th scope="col">${one}</th>`)}${group !== "day" && html`<th scope="col">${label}</th>`}<th scope="col" class="number">Responses</th>
          <th scope="col" class="number">Failed</th><th scope="col" class="number">Tokens in</th><th scope="col" class="number">Tokens out</th><th scope="col" class="number">Cost</th></tr></thead>
        <tbody>${rows.map((row) => html`<tr key=${groups.map((one) => row[one]).join(" ")}>
          <th scope="row">${row[group] ?? "–"}</th>${groups.slice(1).map((one) => html`<td>${row[one] ?? "–"}</td>`)}
          ${group !== "day" && html`<td class="bar-cell"><span class="bar bar-inline" style=${{ width: `${((row[measure] ?? 0) / largest) * 100}%` }}></span><span class="hidden">${format(row[measure] ?? null)}</span></td>`}
          <td class="number">${count(row.responses)}</td><td class="number">${count(row.failed)}</td>
          <td class="number">${count(row.input_tokens)}</td><td class="number">${count(row.output_tokens)}</td><td class="number">${money(row.cost_usd)}</td>
        </tr>`)}</tbody>
      </table>
    </div>`;
}

const MOST_DAYS = 400;

/** The days in between as well: a day on which nothing was used is a gap in the chart, not a shorter chart. */
function everyDay(rows, { from, until }) {
  const byDay = new Map(rows.map((row) => [row.day.slice(0, 10), row]));
  const known = [...byDay.keys()].sort();
  const first = Date.parse(from || known[0]);
  const last = Date.parse(until || known.at(-1));
  const days = Math.min(MOST_DAYS, Math.round((last - first) / DAY_MS) + 1);
  return Array.from({ length: Math.max(days, 0) }, (_, index) => {
    const day = dayOf(first + index * DAY_MS);
    return { ...byDay.get(day), day };
  });
}
