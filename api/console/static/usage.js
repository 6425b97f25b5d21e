// What was used and what it cost, by tenant, model and day.
import { html, useState } from "/console/ui.js";
import { withQuery } from "/console/http.js";
import { Problem, count, money, useLoaded } from "/console/parts.js";

const GROUPS = ["tenant", "model", "day"];
const DAY_MS = 24 * 3600 * 1000;

const dayOf = (time) => new Date(time).toISOString().slice(0, 10);

export function Usage() {
  const [filter, setFilter] = useState({ from: dayOf(Date.now() - 29 * DAY_MS), until: dayOf(Date.now()), group: "day" });
  const [measure, setMeasure] = useState("total_tokens");
  // The last day is part of what is shown; the API's `to` is the first moment that is not.
  const to = filter.until ? dayOf(Date.parse(filter.until) + DAY_MS) : "";
  const usage = useLoaded(withQuery("/v1/usage", { from: filter.from, to, group_by: filter.group }));
  const change = (name) => (event) => setFilter({ ...filter, [name]: event.target.value });
  const rows = usage.data?.data ?? [];
  const largest = Math.max(...rows.map((row) => row[measure] ?? 0), 0) || 1;
  return html`
    <h1>Usage</h1>
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>
      <label>From <input type="date" value=${filter.from} onChange=${change("from")} /></label>
      <label>Until <input type="date" value=${filter.until} onChange=${change("until")} /></label>
      <label>By <select value=${filter.group} onChange=${change("group")}>${GROUPS.map((group) => html`<option>${group}</option>`)}</select></label>
      <label>Bars show <select value=${measure} onChange=${(event) => setMeasure(event.target.value)}>
        <option value="total_tokens">tokens</option><option value="cost_usd">cost</option><option value="responses">responses</option></select></label>
    </form>
    <${Problem} error=${usage.error} onRetry=${usage.reload} />
    ${usage.data && html`
      <dl class="facts">
        <div><dt>Responses</dt><dd>${count(usage.data.total.responses)}</dd></div>
        <div><dt>Failed</dt><dd>${count(usage.data.total.failed)}</dd></div>
        <div><dt>Tokens</dt><dd>${count(usage.data.total.total_tokens)}</dd></div>
        <div><dt>Cost</dt><dd>${money(usage.data.total.cost_usd)}</dd></div>
        ${usage.data.total.unpriced_responses > 0 && html`<div><dt>Without a price</dt><dd>${count(usage.data.total.unpriced_responses)}</dd></div>`}
      </dl>
      <div class="scroll" tabindex="0" role="region" aria-label="Usage">
        <table>
          <thead><tr><th scope="col">${filter.group}</th><th scope="col">${measure.replaceAll("_", " ")}</th><th scope="col" class="number">Responses</th>
            <th scope="col" class="number">Failed</th><th scope="col" class="number">Tokens in</th><th scope="col" class="number">Tokens out</th><th scope="col" class="number">Cost</th></tr></thead>
          <tbody>${rows.map((row) => html`<tr key=${row[filter.group]}>
            <th scope="row">${row[filter.group]}</th>
            <td class="bar-cell"><span class="bar bar-model_turn" style=${{ width: `${((row[measure] ?? 0) / largest) * 100}%` }}></span></td>
            <td class="number">${count(row.responses)}</td><td class="number">${count(row.failed)}</td>
            <td class="number">${count(row.input_tokens)}</td><td class="number">${count(row.output_tokens)}</td><td class="number">${money(row.cost_usd)}</td>
          </tr>`)}</tbody>
        </table>
      </div>
      ${rows.length === 0 && html`<p class="muted">Nothing was used in this time.</p>`}`}
  `;
}
