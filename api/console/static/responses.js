// The list of responses, live, with filters that are part of the address.
import { html, useRef, useState } from "/console/ui.js";
import { FilterText, More, Problem, Status, Time, count, money, seconds, usePages } from "/console/parts.js";

const STATUSES = ["in_progress", "awaiting_approval", "retrying", "completed", "incomplete", "failed", "cancelled"];
const TIMES = [
  ["900", "in the last 15 minutes"],
  ["3600", "in the last hour"],
  ["86400", "in the last day"],
  ["604800", "in the last week"],
];
const DURATIONS = [
  ["10", "10 s or more"],
  ["60", "1 min or more"],
  ["600", "10 min or more"],
  ["3600", "1 h or more"],
];
const EVERY_MS = 3000;

export function Responses({ query }) {
  const filters = Object.fromEntries([...query].filter(([, value]) => value));
  const pages = usePages("/v1/responses", parametersOf(filters), EVERY_MS);
  const form = useRef(null);
  const change = (event) => {
    event.preventDefault();
    const given = [...new FormData(form.current)].filter(([, value]) => value);
    location.hash = given.length ? `#/responses?${new URLSearchParams(given)}` : "#/responses";
  };
  const text = (name, label) =>
    html`<${FilterText} name=${name} label=${label} value=${filters[name]} onChange=${change} />`;
  return html`
    <h1 tabindex="-1">Responses</h1>
    <form class="filters" ref=${form} onSubmit=${change} role="search" aria-label="Filter the responses">
      <label>Status
        <select name="status" value=${filters.status ?? ""} onChange=${change}>
          <option value="">any</option>
          ${STATUSES.map((one) => html`<option value=${one}>${one.replaceAll("_", " ")}</option>`)}
        </select>
      </label>
      <label>Created
        <select name="since" value=${filters.since ?? ""} onChange=${change}>
          <option value="">at any time</option>
          ${TIMES.map(([value, label]) => html`<option value=${value}>${label}</option>`)}
        </select>
      </label>
      <label>Took
        <select name="slower_than" value=${filters.slower_than ?? ""} onChange=${change}>
          <option value="">any time</option>
          ${DURATIONS.map(([value, label]) => html`<option value=${value}>${label}</option>`)}
        </select>
      </label>
      ${text("model", "Model")} ${text("provider", "Provider")} ${text("tenant", "Tenant")} ${text("conversation", "Conversation")}
      ${text("error_code", "Error code")}
      <label class="check"><input type="checkbox" name="waiting" value="true" checked=${filters.waiting === "true"} onChange=${change} /><span>waiting</span></label>
      <span class="row"><button>Filter</button> <a href="#/responses">Clear</a></span>
    </form>
    <${Problem} error=${pages.error} what="the list of responses" onRetry=${pages.reload} />
    <div class="scroll" tabindex="0" role="region" aria-label="List of responses" aria-busy=${pages.isLoading}>
      <table data-testid="responses">
        <thead>
          <tr><th scope="col">Response</th><th scope="col">Status</th><th scope="col">Model</th><th scope="col">Provider</th>
            <th scope="col">Tenant</th><th scope="col">Created</th><th scope="col" class="number">Took</th><th scope="col" class="number">Tokens</th>
            <th scope="col" class="number">Cost</th></tr>
        </thead>
        <tbody>${pages.rows.map((row) => html`<${Row} row=${row} key=${row.id} />`)}</tbody>
      </table>
    </div>
    ${!pages.isLoading && !pages.error && pages.rows.length === 0 && html`<p class="muted">No response matches.</p>`}
    <${More} pages=${pages} />
    <${OpenById} />
  `;
}

/** The filters as the API has them. A span of time begins at a whole minute, so that each repetition asks the same. */
function parametersOf({ since, ...filters }) {
  if (!since) return filters;
  const begin = Math.floor((Date.now() / 1000 - Number(since)) / 60) * 60;
  return { ...filters, created_after: new Date(begin * 1000).toISOString() };
}

function Row({ row }) {
  return html`<tr class=${row.waiting_for ? "is-waiting" : ""}>
    <th scope="row"><a class="short-id" title=${row.id} href=${`#/responses/${encodeURIComponent(row.id)}`}>${row.id}</a></th>
    <td><${Status} value=${row.status} />${row.error_code && html` <code>${row.error_code}</code>`}
      ${row.waiting_for && html` <span class="muted">waits for ${row.waiting_for}</span>`}</td>
    <td>${row.model}${row.tools?.length ? html` <span class="muted">${row.tools.join(", ")}</span>` : null}</td>
    <td>${row.provider}</td>
    <td>${row.tenant}</td>
    <td><${Time} at=${row.created_at} /></td>
    <td class="number">${row.ended_at ? seconds(row.ended_at - row.created_at) : html`<span class="muted">so far</span> ${seconds(Math.max(0, Date.now() / 1000 - row.created_at))}`}</td>
    <td class="number">${count(row.total_tokens)}</td>
    <td class="number">${row.total_tokens ? money(row.cost_usd) : "–"}</td>
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
