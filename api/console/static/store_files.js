// The files of one vector store: attach, read again, attributes, text, remove.
import { html, useEffect, useState } from "/console/ui.js";
import { attributesAsText, attributesOf } from "/console/attributes.js";
import { json, send } from "/console/http.js";
import { Confirm, Dialog, Form, More, Problem, Status, Time, size, useAction, useLoaded, usePages } from "/console/parts.js";
import { FilePicker, UploadList, uploads, useUploaded } from "/console/uploads.js";

const STATUSES = ["in_progress", "completed", "failed", "cancelled"];
/** The files whose names are loaded at once; the name of an older one is asked for by itself. */
const KNOWN_FILES = 1000;

export function StoreFiles({ path, store, everyMs, onChange }) {
  const [status, setStatus] = useState("");
  const pages = usePages(`${path}/files`, { filter: status }, everyMs);
  const files = useLoaded(`/v1/files?limit=${KNOWN_FILES}`);
  const names = useNames(files.data?.data, pages.rows);
  const [asks, setAsks] = useState({});
  const [act, problem] = useAction();
  const place = `store ${store.id}`;
  const changed = () => Promise.all([pages.reload(), onChange()]);
  const close = () => setAsks({});
  const attach = (file_id, attributes) => send(`${path}/files`, { method: "POST", body: { file_id, attributes } });
  useUploaded(place, () => Promise.all([files.reload(), changed()]));
  const remove = (row) => act(async () => {
    await send(`${path}/files/${encodeURIComponent(row.id)}`, { method: "DELETE" });
    await changed();
  });
  const again = (row) => act(async () => {
    await attach(row.id, row.attributes);
    await changed();
  });
  const isEmpty = !pages.isLoading && !pages.error && pages.rows.length === 0;
  return html`
    <h2>Files of this store</h2>
    ${store.status !== "expired" && html`<${Attach} files=${files} place=${place} attach=${attach} onChange=${changed} />`}
    <form class="filters" role="search" aria-label="Filter the files of the store" onSubmit=${(event) => event.preventDefault()}>
      <label>Status <select value=${status} onChange=${(event) => setStatus(event.target.value)}><option value="">any</option>
        ${STATUSES.map((one) => html`<option value=${one}>${one.replaceAll("_", " ")}</option>`)}</select></label>
    </form>
    <${Problem} error=${problem} />
    <${Problem} error=${pages.error} what="files of this store" onRetry=${pages.reload} />
    ${isEmpty && html`<p class="muted">${status ? "No file has this status." : "This store has no files. Upload some, or attach files that the server has."}</p>`}
    ${pages.rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Files of the store" aria-busy=${pages.isLoading}>
      <table data-testid="store-files">
        <thead><tr><th scope="col">File</th><th scope="col">Status</th><th scope="col" class="number">Text</th><th scope="col">Attributes</th><th scope="col">Attached</th><th scope="col">Actions</th></tr></thead>
        <tbody>${pages.rows.map((row) => html`<${Row} row=${row} name=${names(row.id)} key=${row.id} again=${() => again(row)} ask=${(what) => setAsks({ what, row, name: names(row.id) })} />`)}</tbody>
      </table></div>`}
    <${More} pages=${pages} />
    ${asks.what === "remove" && html`<${Confirm} question=${`Take ${asks.name} out of this store? The file itself is kept.`} action="Take it out" onConfirm=${() => remove(asks.row)} onClose=${close} />`}
    ${asks.what === "text" && html`<${Dialog} label=${`Text of ${asks.name}`} isWide onClose=${close}><${ReadText} path=${path} row=${asks.row} name=${asks.name} onClose=${close} /></${Dialog}>`}
    ${asks.what === "attributes" && html`<${Dialog} label=${`Attributes of ${asks.name}`} onClose=${close}><h2>Attributes of ${asks.name}</h2>
      <${Form} action="Save" onCancel=${close} save=${async (fields) => {
        await send(`${path}/files/${encodeURIComponent(asks.row.id)}`, { method: "POST", body: { attributes: attributesOf(fields.attributes) } });
        close();
        await changed();
      }}><${AttributesField} text=${attributesAsText(asks.row.attributes)} /></${Form}></${Dialog}>`}
  `;
}

function Row({ row, name, again, ask }) {
  const attributes = attributesAsText(row.attributes);
  const { max_chunk_size_tokens: chunk, chunk_overlap_tokens: overlap } = row.chunking_strategy?.static ?? {};
  return html`<tr>
    <th scope="row" class="name" title=${row.id}>${name}</th>
    <td class="long"><${Status} value=${row.status} />${row.last_error && html` <code class="bad">${row.last_error.code}</code> ${row.last_error.message}`}</td>
    <td class="number" title=${chunk && `in passages of ${chunk} tokens, ${overlap} of which overlap`}>${size(row.usage_bytes)}</td>
    <td class="long">${attributes ? attributes.split("\n").join(", ") : "–"}</td><td><${Time} at=${row.created_at} /></td>
    <td>${row.status === "completed" && html`<button type="button" class="quiet" onClick=${() => ask("text")}>Text<span class="hidden"> of ${name}</span></button>`}
      ${(row.status === "failed" || row.status === "cancelled") && html`<button type="button" class="quiet" onClick=${again}>Read again<span class="hidden"> ${name}</span></button>`}
      <button type="button" class="quiet" onClick=${() => ask("attributes")}>Attributes<span class="hidden"> of ${name}</span></button>
      <button type="button" class="danger" onClick=${() => ask("remove")}>Remove<span class="hidden"> ${name}</span></button></td>
  </tr>`;
}

/** Two ways in: files of this computer, and files that the server has. Both get the attributes. */
function Attach({ files, place, attach, onChange }) {
  const [attributes, setAttributes] = useState("");
  const [act, problem] = useAction();
  const add = (chosen) => act(async () => {
    const given = attributesOf(attributes);
    uploads.add(chosen, { place, fields: { purpose: "assistants" }, then: (file) => attach(file.id, given) });
  });
  const choose = async (fields) => {
    await attach(fields.file_id, attributesOf(attributes));
    await onChange();
  };
  return html`<details><summary>Add files</summary>
    <div class="panel">
      <${AttributesField} text="" onInput=${(event) => setAttributes(event.target.value)} />
      <${FilePicker} id="upload" label="Upload files into this store (choose, or drop them here)" onFiles=${add} />
      <${Problem} error=${problem} />
    </div>
    ${files.data?.data.length > 0 && html`<${Form} action="Attach the file" save=${choose} label="Attach a file of the server">
      <label>A file of the server <select name="file_id" required><option value="">choose</option>
        ${files.data.data.map((file) => html`<option value=${file.id} key=${file.id}>${file.filename}, ${size(file.bytes)}</option>`)}</select></label>
    </${Form}>`}
    <${Problem} error=${files.error} what="files" onRetry=${files.reload} />
  </details>
  <${UploadList} place=${place} />`;
}

function AttributesField({ text, onInput }) {
  return html`<label>Attributes, one a line: <code>topic = law</code>
    <textarea name="attributes" rows="3" defaultValue=${text} onInput=${onInput} placeholder="year = 2026"></textarea></label>`;
}

function ReadText({ path, row, name, onClose }) {
  const text = useLoaded(`${path}/files/${encodeURIComponent(row.id)}/content`);
  return html`<h2>${name}</h2>
    <p class="muted">What was read of the file, in the passages that are searched.</p>
    <${Problem} error=${text.error} onRetry=${text.reload} />
    ${text.isLoading && html`<p class="muted">Loading …</p>`}
    ${text.data && html`<div class="read-text" tabindex="0" role="region" aria-label=${`Text of ${name}`}>
      ${text.data.data.map((part, index) => html`<pre class="text" key=${index}>${part.text}</pre>`)}</div>`}
    <p><button type="button" onClick=${onClose}>Close</button></p>`;
}

/** A file of a store has no name of its own: `names(id)` looks it up among the files, and asks for older ones once each. */
function useNames(files, rows) {
  const [own, setOwn] = useState({});
  const known = Object.fromEntries((files ?? []).map((file) => [file.id, file.filename]));
  const missing = files ? rows.filter((row) => !(row.id in known) && !(row.id in own)).map((row) => row.id) : [];
  useEffect(() => {
    if (missing.length === 0) return;
    const [id] = missing;
    const keep = (name) => setOwn((before) => ({ ...before, [id]: name }));
    json(`/v1/files/${encodeURIComponent(id)}`).then((file) => keep(file.filename), () => keep(id));
  }, [missing[0]]);
  return (id) => known[id] ?? own[id] ?? id;
}
