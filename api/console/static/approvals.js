// The calls that wait for a person.
import { html, useState } from "/console/ui.js";
import { More, Problem, Time, usePages } from "/console/parts.js";
import { ApprovalButtons } from "/console/response.js";

const EVERY_MS = 3000;

export function Approvals() {
  const pages = usePages("/v1/approvals", {}, EVERY_MS);
  const [problem, setProblem] = useState(null);
  const act = (action) => async () => {
    setProblem(null);
    try {
      await action();
    } catch (error) {
      setProblem(error);
    }
    await pages.reload();
  };
  return html`
    <h1>Approvals</h1>
    <p>Background responses that wait until a person approves or denies a call.</p>
    <${Problem} error=${problem ?? pages.error} onRetry=${pages.reload} />
    ${pages.rows.map((row) => html`<section class="item item-tools" key=${row.id}>
      <h2>${row.tool}${row.server_label ? ` on ${row.server_label}` : ""}</h2>
      <p>Asked <${Time} at=${row.requested_at} /> by <a href=${`#/responses/${row.response_id}`}>${row.response_id}</a>, tenant ${row.tenant}</p>
      <pre class="text">${row.arguments}</pre>
      <${ApprovalButtons} act=${act} path=${`/v1/responses/${row.response_id}`} id=${row.id} />
    </section>`)}
    ${!pages.isLoading && pages.rows.length === 0 && html`<p class="muted">Nothing waits for a person.</p>`}
    <${More} pages=${pages} />
  `;
}
