// The list of responses, live, with filters that are part of the address.
import { html, useState } from "/console/ui.js";
import { More, Problem, Status, Time, count, money, seconds, usePages } from "/console/parts.js";

const STATUSES = ["in_progress", "awaiting_approval", "retrying", "completed", "incomplete", "failed", "cancelled"];
const EVERY_MS = 3000;

export function Responses({ query }) {
  const filters = Object.fromEntries([...query].filter(([, value]) => value));
  const pages = usePages("/v1/responses", filters, EVERY_MS);
  const change = (event) => {
    event.preventDefault();
    const given = [...new FormData(event.currentTarget.form ?? event.currentTarget)].filter(([, value]) => value);
    location.hash = given.length ? `#/responses?${new URLSearchParams(given)}` : "#/responses";
  };
  return html`
    <h1>Responses</h1>
    <form class="filters" onSubmit=${change} role="search" aria-label="Filter the responses">
      <label>Status
        <select name="status" value=${filters.status ?? ""} onChange=${change}>
          <option value="">any</option>
          ${STATUSES.map((one) => html`<option value=${one}>${one.replaceAll("_", " ")}</option>`)}
        </select>
      </label>
      <label>Model <input name="model" value=${filters.model ?? ""} onChange=${change} /></label>
      <label>Provider <input name="provider" value=${filters.provider ?? ""} onChange=${change} /></label>
      <label>Tenant <input name="tenant" value=${filters.tenant ?? ""} onChange=${change} /></label>
      <label>Error code <input name="error_code" value=${filters.error_code ?? ""} onChange=${change} /></label>
      <label>Created after <input name="created_after" type="date" value=${filters.created_after ?? ""} onChange=${change} /></label>
      <label>Created before <input name="created_before" type="date" value=${filters.created_before ?? ""} onChange=${change} /></label>
      <label class="check"><input type="checkbox" name="waiting" value="true" checked=${filters.waiting === "true"} onChange=${change} /> waiting</label>
      <a href="#/responses">Clear</a>
    </form>
    <${Problem} error=${pages.error} onRetry=${pages.reload} />
    <${OpenById} />
    <div class="scroll" tabindex="0" role="region" aria-label="Responses">
      <table>
        <thead>
          <tr><th scope="col">Response</th><th scope="col">Status</th><th scope="col">Model</th><th scope="col">Provider</th>
            <th scope="col">Tenant</th><th scope="col">Created</th><th scope="col">Took</th><th scope="col" class="number">Tokens</th>
            <th scope="col" class="number">Cost</th></tr>
        </thead>
        <tbody>${pages.rows.map((row) => html`<${Row} row=${row} key=${row.id} />`)}</tbody>
      </table>
    </div>
    ${!pages.isLoading && pages.rows.length === 0 && html`<p class="muted">No response matches.</p>`}
    <${More} pages=${pages} />
  `;
}

function Row({ row }) {
  return html`<tr>
    <th scope="row"><a href=${`#/responses/${encodeURIComponent(row.id)}`}>${row.id}</a></th>
    <td><${Status} value=${row.status} />${row.error_code && html` <code>${row.error_code}</code>`}
      ${row.waiting_for && html` <span class="muted">waits for ${row.waiting_for}</span>`}</td>
    <td>${row.model}</td>
    <td>${row.provider}</td>
    <td>${row.tenant}</td>
    <td><${Time} at=${row.created_at} /></td>
    <td>${row.ended_at ? seconds(row.ended_at - row.created_at) : "–"}</td>
    <td class="number">${count(row.total_tokens)}</td>
    <td class="number">${row.ended_at ? money(row.cost_usd) : "–"}</td>
  </tr>`;
}

function OpenById() {
  const [id, setId] = useState("");
  const open = (event) => {
    event.preventDefault();
    if (id.trim()) location.hash = `#/responses/${encodeURIComponent(id.trim())}`;
  };
  return html`<form class="row" onSubmit=${open}>
    <label>Open by id <input value=${id} onInput=${(event) => setId(event.target.value)} placeholder="resp_…" /></label>
    <button>Open</button>
  </form>`;
}
