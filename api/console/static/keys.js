// API keys: make, change, expire, revoke, and who changed what.
import { html, useState } from "/console/ui.js";
import { json, send } from "/console/http.js";
import { Confirm, Copy, More, Problem, Time, usePages } from "/console/parts.js";

const NUMBERS = [
  ["requests_per_minute", "Requests a minute"],
  ["tokens_per_minute", "Tokens a minute"],
  ["max_concurrent", "Running at once"],
  ["budget_tokens", "Budget, tokens"],
  ["budget_usd", "Budget, USD"],
];

export function Keys() {
  const pages = usePages("/v1/admin/keys", {});
  const changes = usePages("/v1/admin/keys/audit", {});
  const [made, setMade] = useState(null);
  const [revoking, setRevoking] = useState(null);
  const [problem, setProblem] = useState(null);
  const act = async (action) => {
    setProblem(null);
    try {
      await action();
      await Promise.all([pages.reload(), changes.reload()]);
      return true;
    } catch (error) {
      setProblem(error);
      return false;
    }
  };
  const create = async (event) => {
    event.preventDefault();
    const form = event.target;
    const isMade = await act(async () => setMade(await json("/v1/admin/keys", { method: "POST", body: bodyOf(form) })));
    if (isMade) form.reset();
  };
  if (pages.error?.status === 403) return html`<h1>Keys</h1><p class="notice">${pages.error.message}</p>`;
  return html`
    <h1>Keys</h1>
    <${Problem} error=${problem ?? pages.error} />
    ${made && html`<div class="notice" role="status"><p>The key, shown this once:</p>
      <p><code class="secret">${made.key}</code> <${Copy} text=${made.key} /></p>
      <button onClick=${() => setMade(null)}>I have stored it</button></div>`}
    <details><summary>Make a key</summary>
      <form class="panel" onSubmit=${create}>
        <label>Tenant <input name="tenant" required maxlength="64" /></label>
        <label>Name <input name="name" maxlength="64" /></label>
        <label class="check"><input type="checkbox" name="admin" /> admin: sees every tenant, manages keys</label>
        <label>Models, comma-separated patterns <input name="models" placeholder="all" /></label>
        <label>Tools, comma-separated names <input name="tools" placeholder="all" /></label>
        ${NUMBERS.map(([name, label]) => html`<label>${label} <input name=${name} type="number" min="0" step=${name === "budget_usd" ? "any" : 1} placeholder="no bound" /></label>`)}
        <label>Expires <input name="expires_at" type="datetime-local" /></label>
        <button class="primary">Make the key</button>
      </form>
    </details>
    <div class="scroll" tabindex="0" role="region" aria-label="Keys">
      <table>
        <thead><tr><th scope="col">Key</th><th scope="col">Tenant</th><th scope="col">Scopes</th><th scope="col">Limits</th><th scope="col">Made</th><th scope="col">Expires</th><th scope="col">State</th></tr></thead>
        <tbody>${pages.rows.map((row) => html`<tr key=${row.id}>
          <th scope="row">${row.name ?? row.prefix ?? row.id}</th><td>${row.tenant}</td><td>${row.scopes.join(", ") || "–"}</td><td>${limitsOf(row)}</td>
          <td><${Time} at=${row.created_at} /></td><td><${Time} at=${row.expires_at} /></td>
          <td>${row.revoked_at ? html`revoked <${Time} at=${row.revoked_at} />` : row.source === "file" ? "from the file" : html`<button class="danger" onClick=${() => setRevoking(row)}>Revoke</button>`}</td>
        </tr>`)}</tbody>
      </table>
    </div>
    <${More} pages=${pages} />
    ${revoking && html`<${Confirm} question=${`Revoke the key ${revoking.name ?? revoking.id} of ${revoking.tenant}? Requests with it are refused at once.`} action="Revoke"
      onConfirm=${() => act(() => send(`/v1/admin/keys/${revoking.id}`, { method: "DELETE" }))} onClose=${() => setRevoking(null)} />`}
    <h2>Changes</h2>
    <ul class="changes">${changes.rows.map((row) => html`<li key=${row.id}><${Time} at=${row.at} /> ${row.by} ${row.action} ${row.key_id} ${row.fields?.join?.(", ") ?? ""}</li>`)}</ul>
    <${More} pages=${changes} />
  `;
}

function limitsOf(row) {
  const given = Object.entries(row.limits ?? {}).filter(([name, value]) => value !== null && !["max_open_streams", "max_received_bytes", "budget_period"].includes(name));
  return given.map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`).join(", ") || "none";
}

function bodyOf(form) {
  const given = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  const list = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);
  const body = { tenant: given.tenant };
  if (given.name) body.name = given.name;
  if (given.admin) body.scopes = ["admin"];
  if (given.models) body.models = list(given.models);
  if (given.tools) body.tools = list(given.tools);
  const limits = Object.fromEntries(NUMBERS.filter(([name]) => name in given).map(([name]) => [name, Number(given[name])]));
  if (Object.keys(limits).length) body.limits = limits;
  if (given.expires_at) body.expires_at = Math.floor(Date.parse(given.expires_at) / 1000);
  return body;
}
