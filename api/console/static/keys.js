// API keys: make, change, expire, revoke, and who changed what.
import { html, useState } from "/console/ui.js";
import { json, send } from "/console/http.js";
import { Confirm, Copy, Dialog, More, Problem, Time, usePages } from "/console/parts.js";

const LIMITS = [
  ["requests_per_minute", "Requests a minute"],
  ["tokens_per_minute", "Tokens a minute"],
  ["max_concurrent", "Responses at once"],
  ["budget_tokens", "Budget, tokens"],
  ["budget_usd", "Budget, USD"],
];

export function Keys() {
  const pages = usePages("/v1/admin/keys", {});
  const changes = usePages("/v1/admin/keys/audit", {});
  const [made, setMade] = useState(null);
  const [revoking, setRevoking] = useState(null);
  const [changing, setChanging] = useState(null);
  const [problem, setProblem] = useState(null);
  const reload = () => Promise.all([pages.reload(), changes.reload()]);
  const create = async (body) => {
    setMade(await json("/v1/admin/keys", { method: "POST", body }));
    await reload();
  };
  const revoke = async (row) => {
    setProblem(null);
    try {
      await send(`/v1/admin/keys/${encodeURIComponent(row.id)}`, { method: "DELETE" });
      await reload();
    } catch (error) {
      setProblem(error);
    }
  };
  if (!pages.rows.length && pages.error) return html`<h1 tabindex="-1">Keys</h1><${Problem} error=${pages.error} what="the keys of this server" />`;
  return html`
    <h1 tabindex="-1">Keys</h1>
    <${Problem} error=${problem ?? pages.error} what="the keys of this server" />
    ${made && html`<div class="notice" role="status"><p>The key of ${made.tenant}, shown this once:</p>
      <p><code class="secret" data-testid="new-key">${made.key}</code> <${Copy} text=${made.key} label="Copy the key" /></p>
      <button type="button" onClick=${() => setMade(null)}>I have stored it</button></div>`}
    <details><summary>Make a key</summary><${KeyFields} action="Make the key" save=${create} /></details>
    <div class="scroll" tabindex="0" role="region" aria-label="List of keys" aria-busy=${pages.isLoading}>
      <table data-testid="keys">
        <thead><tr><th scope="col">Key</th><th scope="col">Tenant</th><th scope="col">State</th><th scope="col">Scopes</th><th scope="col">Limits</th>
          <th scope="col">Made</th><th scope="col">Last used</th><th scope="col">Expires</th></tr></thead>
        <tbody>${pages.rows.map((row) => html`<${Row} row=${row} key=${row.id} onChange=${() => setChanging(row)} onRevoke=${() => setRevoking(row)} />`)}</tbody>
      </table>
    </div>
    ${!pages.isLoading && pages.rows.length === 0 && html`<p class="muted">There are no keys: this server answers its own machine only.</p>`}
    <${More} pages=${pages} />
    ${revoking && html`<${Confirm} question=${`Revoke the key ${nameOf(revoking)} of ${revoking.tenant}? Requests with it are refused at once.`} action="Revoke"
      onConfirm=${() => revoke(revoking)} onClose=${() => setRevoking(null)} />`}
    ${changing && html`<${Dialog} label=${`Change the key ${nameOf(changing)}`} onClose=${() => setChanging(null)}>
      <h2>Change ${nameOf(changing)}</h2>
      <${KeyFields} row=${changing} action="Save" save=${async (body) => {
        await send(`/v1/admin/keys/${encodeURIComponent(changing.id)}`, { method: "POST", body });
        setChanging(null);
        await reload();
      }} onCancel=${() => setChanging(null)} /></${Dialog}>`}
    <h2>Changes</h2>
    <${Problem} error=${changes.error} what="the changes of keys" />
    <p class="muted">Who made, changed or revoked which key. A key of the file is made where the file is.</p>
    ${changes.rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Changes of keys"><table data-testid="changes">
      <thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col">Key</th><th scope="col">Tenant</th><th scope="col">By</th><th scope="col">Fields</th></tr></thead>
      <tbody>${changes.rows.map((row) => html`<tr key=${row.id}>
        <td><${Time} at=${row.at} /></td><td>${row.action}</td><th scope="row" title=${row.key_id}>${row.key_name ?? row.key_id}</th><td>${row.tenant}</td>
        <td title=${row.by}>${[row.by_name, row.by_tenant].filter(Boolean).join(", ") || row.by}</td><td class="long">${row.fields.join(", ") || "–"}</td></tr>`)}</tbody>
    </table></div>`}
    ${!changes.isLoading && !changes.error && changes.rows.length === 0 && html`<p class="muted">No key was made at run time yet.</p>`}
    <${More} pages=${changes} />
  `;
}

function Row({ row, onChange, onRevoke }) {
  const isOver = row.expires_at && row.expires_at < Date.now() / 1000;
  const state = row.revoked_at
    ? html`revoked <${Time} at=${row.revoked_at} />`
    : row.source === "file"
      ? "in force, from the file"
      : html`${isOver ? "expired" : "in force"} <button type="button" class="quiet" onClick=${onChange}>Change<span class="hidden"> ${nameOf(row)}</span></button>
          <button type="button" class="danger" onClick=${onRevoke}>Revoke<span class="hidden"> ${nameOf(row)}</span></button>`;
  return html`<tr>
    <th scope="row"><span class="short-id" title=${row.id}>${nameOf(row)}</span>${row.prefix && row.name ? html` <span class="muted">${row.prefix}…</span>` : null}</th>
    <td>${row.tenant}</td><td>${state}</td><td>${row.scopes.join(", ") || "–"}</td><td class="long">${limitsOf(row)}</td>
    <td><${Time} at=${row.created_at} /></td><td><${Time} at=${row.last_used_at} /></td><td><${Time} at=${row.expires_at} /></td>
  </tr>`;
}

/** The form of a new key, or of one that is changed. `save(body)` sends it; its failure is shown in the form. */
function KeyFields({ row = null, action, save, onCancel }) {
  const [problem, setProblem] = useState(null);
  const [isSaving, setIsSaving] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    setProblem(null);
    setIsSaving(true);
    try {
      await save(bodyOf(form, row));
      if (!row) form.reset();
    } catch (error) {
      setProblem(error);
    }
    setIsSaving(false);
  };
  return html`<form class="panel" onSubmit=${submit}>
    ${!row && html`<label>Tenant <input name="tenant" required maxlength="64" autocomplete="off" /></label>`}
    <label>Name <input name="name" maxlength="64" autocomplete="off" value=${row?.name ?? ""} /></label>
    ${!row && html`<label class="check"><input type="checkbox" name="admin" /><span>admin: sees every tenant, manages keys</span></label>`}
    <label>Models, comma-separated patterns <input name="models" placeholder="all" value=${row?.models?.join(", ") ?? ""} /></label>
    <label>Tools, comma-separated names <input name="tools" placeholder="all" value=${row?.tools?.join(", ") ?? ""} /></label>
    ${LIMITS.map(([name, label]) => html`<label key=${name}>${label} <input name=${name} type="number" min=${name === "budget_usd" ? 0.01 : 1} step=${name === "budget_usd" ? "any" : 1} placeholder="no bound" value=${row?.limits?.[name] ?? ""} /></label>`)}
    <label>Expires <input name="expires_at" type="datetime-local" value=${localTime(row?.expires_at)} /></label>
    <${Problem} error=${problem} />
    <p class="row"><button class="primary" disabled=${isSaving}>${action}</button>
      ${onCancel && html`<button type="button" onClick=${onCancel}>Leave it</button>`}</p>
  </form>`;
}

const nameOf = (row) => row.name ?? row.prefix ?? row.id;

function limitsOf(row) {
  const given = LIMITS.filter(([name]) => row.limits?.[name] !== null && row.limits?.[name] !== undefined);
  const places = [["models", row.models], ["tools", row.tools]].filter(([, names]) => names?.length);
  const words = [...given.map(([name]) => `${name.replaceAll("_", " ")}: ${row.limits[name]}`), ...places.map(([name, names]) => `${name}: ${names.join(", ")}`)];
  return words.join("; ") || "none";
}

/** Seconds since the epoch as the value of a datetime-local input. */
function localTime(at) {
  if (!at) return "";
  const date = new Date(at * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** What a form says. A change names every field, so that an emptied one is taken back. */
function bodyOf(form, row) {
  const given = Object.fromEntries(new FormData(form));
  const list = (text) => {
    const names = text.split(",").map((one) => one.trim()).filter(Boolean);
    return names.length ? names : null;
  };
  const number = (text) => (text === "" ? null : Number(text));
  const body = {
    name: given.name || null,
    models: list(given.models),
    tools: list(given.tools),
    limits: Object.fromEntries(LIMITS.map(([name]) => [name, number(given[name])])),
    expires_at: given.expires_at ? Math.floor(Date.parse(given.expires_at) / 1000) : null,
  };
  if (row) return body;
  body.limits = withoutNull(body.limits);
  return withoutNull({ ...body, tenant: given.tenant, scopes: given.admin ? ["admin"] : null });
}

const withoutNull = (value) => Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null));
