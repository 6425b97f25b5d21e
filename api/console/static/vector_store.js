// One vector store: its files and how far each is, a search, and what can be changed.
import { html, useState } from "/console/ui.js";
import { send } from "/console/http.js";
import { Confirm, Copy, Dialog, Form, Problem, Status, Time, count, size, useAction, useLoaded } from "/console/parts.js";
import { StoreFiles } from "/console/store_files.js";
import { StoreSearch } from "/console/store_search.js";
import { FileCounts, SearchIsOff, StoreFields, expiryOf } from "/console/vector_stores.js";

const BUSY_MS = 2000;
const IDLE_MS = 10_000;

export function VectorStore({ id }) {
  const path = `/v1/vector_stores/${encodeURIComponent(id)}`;
  const [isBusy, setIsBusy] = useState(false);
  const store = useLoaded(path, isBusy ? BUSY_MS : IDLE_MS);
  const [asks, setAsks] = useState(null);
  const [act, problem] = useAction();
  const found = store.data;
  if (!found) {
    return html`<p><a href="#/stores">All vector stores</a></p><h1 class="id" tabindex="-1">${id}</h1>
      ${store.isLoading ? html`<p class="muted">Loading …</p>` : html`<${Problem} error=${store.error} onRetry=${store.reload} />`}`;
  }
  if (isBusy !== found.file_counts.in_progress > 0) setIsBusy(!isBusy);
  const isExpired = found.status === "expired";
  const remove = () => act(async () => {
    await send(path, { method: "DELETE" });
    location.hash = "#/stores";
  });
  const change = async (fields) => {
    await send(path, { method: "POST", body: { name: fields.name, ...expiryOf(fields.days, { expires_after: null }) } });
    setAsks(null);
    await store.reload();
  };
  return html`
    <p><a href="#/stores">All vector stores</a></p>
    <h1 tabindex="-1">${found.name || "A store without a name"}</h1>
    <p class="row"><${Status} value=${found.status} /> <code>${found.id}</code> <${Copy} label="Copy the id" text=${found.id} />
      <${Copy} label="Copy as a tool" text=${() => JSON.stringify({ type: "file_search", vector_store_ids: [found.id] })} /></p>
    <p class="row"><button type="button" onClick=${() => setAsks("change")}>Change</button>
      <button type="button" class="danger" onClick=${() => setAsks("delete")}>Delete</button></p>
    <${SearchIsOff} />
    <${Problem} error=${problem} />
    <${Problem} error=${store.error} />
    ${isExpired && html`<p class="notice">This store was not used for ${count(found.expires_after?.days)} days, and its index was deleted. Create another one from its files, which are kept.</p>`}
    <dl class="facts" data-testid="store-facts">
      <div><dt>Files</dt><dd><${FileCounts} counts=${found.file_counts} /></dd></div>
      <div><dt>Index</dt><dd>${size(found.usage_bytes)}</dd></div>
      <div><dt>Created</dt><dd><${Time} at=${found.created_at} /></dd></div>
      <div><dt>Last used</dt><dd><${Time} at=${found.last_active_at} /></dd></div>
      <div><dt>Expires</dt><dd>${found.expires_at ? html`<${Time} at=${found.expires_at} />` : "never"}</dd></div>
      ${Object.entries(found.metadata ?? {}).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
    ${!isExpired && html`<${StoreSearch} path=${path} isEmpty=${found.file_counts.completed === 0} />`}
    <${StoreFiles} path=${path} store=${found} everyMs=${isBusy ? BUSY_MS : IDLE_MS} onChange=${store.reload} />
    ${asks === "delete" && html`<${Confirm} question=${`Delete the store ${found.name || found.id}? Its index goes, and models find nothing in it any more. Its files are kept.`} action="Delete the store"
      onConfirm=${remove} onClose=${() => setAsks(null)} />`}
    ${asks === "change" && html`<${Dialog} label=${`Change the store ${found.name}`} onClose=${() => setAsks(null)}><h2>Change the store</h2>
      <${Form} action="Save" save=${change} onCancel=${() => setAsks(null)}><${StoreFields} store=${found} /></${Form}></${Dialog}>`}
  `;
}
