// The calls that wait for a person.
import { html } from "/console/ui.js";
import { send } from "/console/http.js";
import { ApprovalButtons, readable } from "/console/items.js";
import { More, Problem, Time, seconds, usePages } from "/console/parts.js";

const EVERY_MS = 3000;

export function Approvals({ query }) {
  const tenant = query.get("tenant");
  const pages = usePages("/v1/approvals", { tenant }, EVERY_MS);
  const answer = (row) => async (approve) => {
    const body = { approval_request_id: row.id, approve };
    await send(`/v1/responses/${encodeURIComponent(row.response_id)}/approvals`, { method: "POST", body });
    await pages.reload();
  };
  return html`
    <h1 tabindex="-1">Approvals</h1>
    <p>Background responses that wait until a person approves or denies a call. The list is live.</p>
    <${Problem} error=${pages.error} what="approvals" onRetry=${pages.reload} />
    <div aria-busy=${pages.isLoading}>
    ${pages.rows.map((row) => html`<section class="item item-tools" key=${row.id}>
      <h2>${row.tool}${row.server_label ? ` on ${row.server_label}` : ""}</h2>
      <p>Waits for ${seconds(Math.max(0, Date.now() / 1000 - row.requested_at))}, since <${Time} at=${row.requested_at} />: <a href=${`#/responses/${encodeURIComponent(row.response_id)}`}>${row.response_id}</a>, tenant ${row.tenant}</p>
      <pre class="text">${readable(row.arguments)}</pre>
      <${ApprovalButtons} id=${row.id} tool=${row.tool} answer=${answer(row)} />
    </section>`)}
    </div>
    ${!pages.isLoading && !pages.error && pages.rows.length === 0 && html`<p class="muted">Nothing waits for a person.</p>`}
    <${More} pages=${pages} />
  `;
}
