// The tenant's files: upload, download, delete.
import { html, useState } from "/console/ui.js";
import { download, send } from "/console/http.js";
import { Confirm, More, Problem, ShortId, Time, size, useAction, usePages } from "/console/parts.js";
import { FilePicker, UploadList, uploads, useUploaded } from "/console/uploads.js";

const EVERY_MS = 10_000;
const PLACE = "files";

export const PURPOSES = [
  ["assistants", "assistants: for vector stores, requests and code"],
  ["user_data", "user_data: for requests"],
  ["vision", "vision: an image"],
];
const LIVES = [
  ["", "never"],
  ["3600", "after an hour"],
  ["86400", "after a day"],
  ["604800", "after a week"],
  ["2592000", "after 30 days"],
];

/** The fields of an upload. */
export function uploadFields(purpose, seconds) {
  return { purpose, ...(seconds && { "expires_after[anchor]": "created_at", "expires_after[seconds]": seconds }) };
}

export function Files({ query }) {
  const purpose = query.get("purpose") ?? "";
  const pages = usePages("/v1/files", { purpose }, EVERY_MS);
  const [deleting, setDeleting] = useState(null);
  const [act, problem] = useAction();
  const [settings, setSettings] = useState({ purpose: "assistants", seconds: "" });
  const change = (name) => (event) => setSettings({ ...settings, [name]: event.target.value });
  const isEmpty = !pages.isLoading && !pages.error && pages.rows.length === 0;
  useUploaded(PLACE, pages.reload);
  const add = (files) => uploads.add(files, { place: PLACE, fields: uploadFields(settings.purpose, settings.seconds) });
  const remove = (row) => act(async () => {
    await send(`/v1/files/${encodeURIComponent(row.id)}`, { method: "DELETE" });
    await pages.reload();
  });
  return html`
    <h1 tabindex="-1">Files</h1>
    <p>The files of your tenant. A request names one by its id in <code>input_file</code> or <code>input_image</code>, and a <a href="#/stores">vector store</a> makes it searchable.</p>
    <div class="panel" role="group" aria-label="Upload files">
      <div class="filters is-wide">
        <label>Purpose <select value=${settings.purpose} onChange=${change("purpose")}>${PURPOSES.map(([value, label]) => html`<option value=${value}>${label}</option>`)}</select></label>
        <label>Expires <select value=${settings.seconds} onChange=${change("seconds")}>${LIVES.map(([value, label]) => html`<option value=${value}>${label}</option>`)}</select></label>
      </div>
      <${FilePicker} id="upload" label="Upload files (choose, or drop them here)" onFiles=${add} />
      <${UploadList} place=${PLACE} />
    </div>
    <form class="filters" role="search" aria-label="Filter the files" onSubmit=${(event) => event.preventDefault()}>
      <label>Purpose <select value=${purpose} onChange=${(event) => {
        location.hash = event.target.value ? `#/files?purpose=${event.target.value}` : "#/files";
      }}><option value="">any</option>${PURPOSES.map(([value]) => html`<option value=${value}>${value}</option>`)}</select></label>
    </form>
    <${Problem} error=${problem} />
    <${Problem} error=${pages.error} what="files" onRetry=${pages.reload} />
    ${isEmpty && html`<p class="muted">${purpose ? "No file has this purpose." : "There are no files yet. Upload one above, or with POST /v1/files, as client.files.create of the openai SDK does."}</p>`}
    ${pages.rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="List of files" aria-busy=${pages.isLoading}>
      <table data-testid="files">
        <thead><tr><th scope="col">File</th><th scope="col">Id</th><th scope="col" class="number">Size</th><th scope="col">Purpose</th><th scope="col">Created</th>
          <th scope="col">Expires</th><th scope="col">Actions</th></tr></thead>
        <tbody>${pages.rows.map((row) => html`<${Row} row=${row} key=${row.id} onDelete=${() => setDeleting(row)}
          onDownload=${() => act(() => download(`/v1/files/${encodeURIComponent(row.id)}/content`, row.filename))} />`)}</tbody>
      </table></div>`}
    <${More} pages=${pages} />
    ${deleting && html`<${Confirm} question=${`Delete ${deleting.filename}? Its content goes, and its passages in every vector store. A conversation that names it goes on without it.`}
      action="Delete the file" onConfirm=${() => remove(deleting)} onClose=${() => setDeleting(null)} />`}
  `;
}

function Row({ row, onDownload, onDelete }) {
  return html`<tr>
    <th scope="row" class="name">${row.filename}</th>
    <td><${ShortId} id=${row.id} /></td>
    <td class="number" title=${`${row.bytes} bytes`}>${size(row.bytes)}</td><td>${row.purpose}</td><td><${Time} at=${row.created_at} /></td>
    <td>${row.expires_at ? html`<${Time} at=${row.expires_at} />` : "never"}</td>
    <td><button type="button" class="quiet" onClick=${onDownload}>Download<span class="hidden"> ${row.filename}</span></button>
      <button type="button" class="danger" onClick=${onDelete}>Delete<span class="hidden"> ${row.filename}</span></button></td>
  </tr>`;
}
