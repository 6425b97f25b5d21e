// The files of a container in which code has run. They are asked for once somebody looks.
import { html, useState } from "/console/ui.js";
import { download } from "/console/http.js";
import { Problem, size, useAction, useLoaded } from "/console/parts.js";

export function ContainerFiles({ id }) {
  const path = `/v1/containers/${encodeURIComponent(id)}/files`;
  const [isOpen, setIsOpen] = useState(false);
  const files = useLoaded(isOpen ? `${path}?limit=100` : null);
  const [act, problem] = useAction();
  const save = (file) => () => act(() => download(`${path}/${encodeURIComponent(file.id)}/content`, file.path.split("/").at(-1)));
  return html`<details data-testid="container-files" onToggle=${(event) => setIsOpen(event.target.open)}>
    <summary>Files of the container <code class="muted">${id}</code></summary>
    <${Problem} error=${problem ?? files.error} />
    ${files.data?.data.length === 0 && html`<p class="muted">It has none.</p>`}
    ${files.data && html`<ul class="plain">${files.data.data.map((file) => html`<li key=${file.id}><code>${file.path}</code>
      <span class="muted">${size(file.bytes)}, ${file.source === "assistant" ? "written by the code" : "brought in"}</span>
      <button type="button" class="quiet" onClick=${save(file)}>Download<span class="hidden"> ${file.path}</span></button></li>`)}</ul>`}
    ${files.data?.has_more && html`<p class="muted">More files are not shown.</p>`}
  </details>`;
}
