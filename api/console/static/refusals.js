// Which requests were refused: by tenant, code and endpoint.
import { html } from "/console/ui.js";
import { Problem, Time, count, useLoaded } from "/console/parts.js";

const EVERY_MS = 5000;
const HOURS = 24;

export function Refusals() {
  const refusals = useLoaded(`/v1/admin/refusals?hours=${HOURS}`, EVERY_MS);
  const rows = refusals.data?.data ?? [];
  return html`
    <h2>Refused requests</h2>
    <${Problem} error=${refusals.error} what="refusals" onRetry=${refusals.reload} />
    ${refusals.data && rows.length === 0 && html`<p class="muted">No request was refused in the last ${HOURS} hours.</p>`}
    ${rows.length > 0 && html`<p class="muted">In the last ${HOURS} hours, of all API processes. The log of the API has a line for each.</p>
      <div class="scroll" tabindex="0" role="region" aria-label="Refused requests"><table data-testid="refusals">
        <thead><tr><th scope="col">Tenant</th><th scope="col">Code</th><th scope="col" class="number">Status</th><th scope="col">Endpoint</th>
          <th scope="col" class="number">Refused</th><th scope="col">Last</th><th scope="col">Last request</th></tr></thead>
        <tbody>${rows.map((row) => html`<tr key=${[row.tenant, row.code, row.status, row.path].join(" ")}>
          <th scope="row">${row.tenant ?? html`<span class="muted">no valid key</span>`}</th><td><code>${row.code}</code></td><td class="number">${row.status}</td>
          <td>${row.path || "–"}</td><td class="number">${count(row.count)}</td><td><${Time} at=${row.last_at} /></td>
          <td><span class="short-id" title=${row.last_request_id}>${row.last_request_id ?? "–"}</span></td></tr>`)}</tbody></table></div>`}
  `;
}
