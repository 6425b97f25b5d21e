// The tenant's vector stores: how far each is, and a new one.
import { html } from "/console/ui.js";
import { json } from "/console/http.js";
import { Form, More, Problem, ShortId, Status, Time, count, size, useLoaded, usePages } from "/console/parts.js";

const EVERY_MS = 5000;

export function VectorStores() {
  const pages = usePages("/v1/vector_stores", {}, EVERY_MS);
  const create = async (fields) => {
    const made = await json("/v1/vector_stores", { method: "POST", body: { name: fields.name, ...expiryOf(fields.days) } });
    location.hash = `#/stores/${encodeURIComponent(made.id)}`;
  };
  return html`
    <h1 tabindex="-1">Vector stores</h1>
    <p>A store makes files searchable by meaning and by words. A model searches it with the tool <code>file_search</code>, and you can search it here.</p>
    <${SearchIsOff} />
    <details><summary>Create a vector store</summary><${Form} action="Create the store" save=${create} label="Create a vector store">
      <${StoreFields} />
    </${Form}></details>
    <${Problem} error=${pages.error} what="vector stores" onRetry=${pages.reload} />
    ${!pages.isLoading && !pages.error && pages.rows.length === 0 && html`<p class="muted">There are no vector stores yet. Create one, and upload files into it.</p>`}
    ${pages.rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="List of vector stores" aria-busy=${pages.isLoading}>
      <table data-testid="stores">
        <thead><tr><th scope="col">Store</th><th scope="col">Id</th><th scope="col">Status</th><th scope="col">Files</th><th scope="col" class="number">Index</th>
          <th scope="col">Created</th><th scope="col">Last used</th><th scope="col">Expires</th></tr></thead>
        <tbody>${pages.rows.map((row) => html`<tr key=${row.id}>
          <th scope="row" class="name"><a href=${`#/stores/${encodeURIComponent(row.id)}`}>${row.name || "without a name"}</a></th>
          <td><${ShortId} id=${row.id} /></td><td><${Status} value=${row.status} /></td><td><${FileCounts} counts=${row.file_counts} /></td>
          <td class="number">${size(row.usage_bytes)}</td><td><${Time} at=${row.created_at} /></td><td><${Time} at=${row.last_active_at} /></td>
          <td>${row.expires_at ? html`<${Time} at=${row.expires_at} />` : "never"}</td></tr>`)}</tbody>
      </table></div>`}
    <${More} pages=${pages} />
  `;
}

/** A server without `[file_search]` keeps and searches stores, and offers its models no tool for it. */
export function SearchIsOff() {
  const offers = useLoaded("/console/offers").data;
  if (!offers || offers.built_in_tools.includes("file_search")) return null;
  return html`<div class="notice" data-testid="search-is-off"><p>Models cannot search your stores: <code>file_search</code> is not among the tools that this server offers you. An operator enables it with a
    <code>[file_search]</code> table in the configuration, and a key with <code>tools</code> has to name it. Stores, and searches here and in the API, work without it.</p></div>`;
}

/** The files of a store by their status, with a bar while some are being read. */
export function FileCounts({ counts }) {
  const words = [
    [counts.completed, "ready", "good"], [counts.in_progress, "being read", ""], [counts.failed, "failed", "bad"], [counts.cancelled, "cancelled", "muted"],
  ].filter(([number]) => number > 0);
  return html`${counts.in_progress > 0 && html`<progress max=${counts.total} value=${counts.total - counts.in_progress} aria-label="Files that have been read"></progress> `}
    ${words.length === 0 ? html`<span class="muted">no files</span>` : words.map(([number, word, look], index) => html`${index > 0 && ", "}<span class=${look}>${count(number)} ${word}</span>`)}`;
}

/** The name and the expiry of a store, new or changed. The page is drawn again while somebody types: only defaults. */
export function StoreFields({ store = null }) {
  return html`<label>Name <input name="name" required maxlength="256" autocomplete="off" defaultValue=${store?.name ?? ""} /></label>
    <label>Expires after so many days without use <input name="days" type="number" min="1" max="365" placeholder="never" defaultValue=${store?.expires_after?.days ?? ""} /></label>`;
}

export function expiryOf(days, otherwise = {}) {
  return days ? { expires_after: { anchor: "last_active_at", days: Number(days) } } : otherwise;
}
