// The log of deliveries, live, with filters that are part of the address.
import { html } from "/console/ui.js";
import { send } from "/console/http.js";
import { FilterText, More, Problem, Status, Time, counted, useAction, usePages } from "/console/parts.js";
import { outcomeOf } from "/console/webhook_outcomes.js";

const EVERY_MS = 3000;
const STATUSES = ["pending", "delivered", "failed"];

export function Deliveries({ query, onSent }) {
  const filters = Object.fromEntries([...query].filter(([, value]) => value));
  const pages = usePages("/v1/webhook_deliveries", filters, EVERY_MS);
  const [act, problem] = useAction();
  const change = (event) => {
    event.preventDefault();
    const given = [...new FormData(event.currentTarget.form ?? event.currentTarget)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value);
    location.hash = given.length ? `#/webhooks?${new URLSearchParams(given)}` : "#/webhooks";
  };
  const replay = (row) => act(async () => {
    await replayed(row.id);
    await Promise.all([pages.reload(), onSent()]);
  });
  return html`
    <h2>Deliveries</h2>
    <form class="filters" onSubmit=${change} role="search" aria-label="Filter the deliveries">
      <label>Status <select name="status" value=${filters.status ?? ""} onChange=${change}><option value="">any</option>
        ${STATUSES.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
      <${FilterText} name="response_id" label="Response" value=${filters.response_id} onChange=${change} placeholder="resp_…" />
      <${FilterText} name="tenant" label="Tenant" value=${filters.tenant} onChange=${change} />
      <span class="row"><button>Filter</button> <a href="#/webhooks">Clear</a></span>
    </form>
    <${Problem} error=${problem} />
    <${Problem} error=${pages.error} what="deliveries of webhooks" onRetry=${pages.reload} />
    ${!pages.isLoading && !pages.error && pages.rows.length === 0 && html`<p class="muted">${Object.keys(filters).length > 0 ? "No delivery matches." : "Nothing was sent yet. Create an endpoint, or send a request with a webhook of its own."}</p>`}
    ${pages.rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="List of deliveries" aria-busy=${pages.isLoading}><table data-testid="deliveries">
      <thead><tr><th scope="col">Event</th><th scope="col">Status</th><th scope="col">Address</th><th scope="col">Attempts</th><th scope="col">Next</th><th scope="col">Response</th>
        <th scope="col">Tenant</th><th scope="col">Created</th><th scope="col">Actions</th></tr></thead>
      <tbody>${pages.rows.map((row) => html`<tr key=${row.id}>
        <th scope="row"><a href=${`#/webhooks/${encodeURIComponent(row.id)}`}>${row.type}<span class="hidden"> to ${row.url}</span></a></th><td><${Status} value=${row.status} /></td>
        <td class="long"><code>${row.url}</code></td><td class="long">${attemptsOf(row)}</td><td><${Time} at=${row.next_attempt_at} /></td>
        <td>${row.response_id ? html`<a class="short-id" title=${row.response_id} href=${`#/responses/${encodeURIComponent(row.response_id)}`}>${row.response_id}</a>` : html`<span class="muted">a test</span>`}</td>
        <td>${row.tenant}</td><td><${Time} at=${row.created_at} /></td>
        <td><button type="button" class="quiet" onClick=${() => replay(row)}>${row.status === "pending" ? "Send now" : "Replay"}<span class="hidden"> ${row.type} to ${row.url}</span></button></td></tr>`)}</tbody></table></div>`}
    <${More} pages=${pages} />
  `;
}

export function replayed(id) {
  return send(`/v1/webhook_deliveries/${encodeURIComponent(id)}/replay`, { method: "POST", body: {} });
}

function attemptsOf(row) {
  const last = row.attempts.at(-1);
  if (!last) return html`<span class="muted">none yet</span>`;
  const outcome = outcomeOf(last);
  return html`${counted(row.attempt_count, "attempt")}; <span class=${outcome.isReceived ? "good" : "bad"}>${outcome.text}</span>`;
}
