// Files on their way to the server, one after another. They go on while their reader looks at another page of the console.
import { upload } from "/console/http.js";
import { html, useEffect, useRef, useState } from "/console/ui.js";
import { Problem, size } from "/console/parts.js";

/** More entries than these that have ended are not kept. */
const KEPT = 20;

class Uploads {
  entries = [];
  #listeners = new Set();
  #uploadedListeners = new Set();
  #isBusy = false;
  #next = 0;

  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onUploaded(listener) {
    this.#uploadedListeners.add(listener);
    return () => this.#uploadedListeners.delete(listener);
  }

  /**
   * Uploads these files. `place` names the view that shows them, `fields` are the form's others, and `then(file)` is
   * called with each file that the server has, and may reject.
   */
  add(files, { place, fields, then }) {
    const added = [...files].map((file) => ({
      key: this.#next++, place, file, fields, then, state: "waiting", fraction: 0, error: null, stopping: new AbortController(),
    }));
    const ended = this.entries.filter((one) => !isUnderWay(one)).slice(-KEPT);
    this.entries = [...ended, ...this.entries.filter(isUnderWay), ...added];
    this.#changed();
    this.#work();
  }

  stop(entry) {
    if (entry.state === "waiting") this.#update(entry, { state: "stopped" });
    entry.stopping.abort();
  }

  /** Takes those that have ended off the list of a view. */
  forget(place) {
    this.entries = this.entries.filter((one) => one.place !== place || isUnderWay(one));
    this.#changed();
  }

  async #work() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    let next;
    while ((next = this.entries.find((one) => one.state === "waiting"))) await this.#send(next);
    this.#isBusy = false;
  }

  async #send(entry) {
    const form = new FormData();
    Object.entries(entry.fields).forEach(([name, value]) => form.set(name, value));
    // The file comes last: the server has read the settings when its bytes arrive.
    form.set("file", entry.file, entry.file.name);
    this.#update(entry, { state: "sending" });
    try {
      const stored = await upload("/v1/files", form, {
        signal: entry.stopping.signal,
        onProgress: (fraction) => this.#update(entry, { fraction }),
      });
      await entry.then?.(stored);
      this.#update(entry, { state: "uploaded" });
      this.#uploadedListeners.forEach((listener) => listener(entry));
    } catch (error) {
      this.#update(entry, error.name === "AbortError" ? { state: "stopped" } : { state: "failed", error });
    }
  }

  #update(entry, part) {
    Object.assign(entry, part);
    this.#changed();
  }

  #changed() {
    this.#listeners.forEach((listener) => listener());
  }
}

const isUnderWay = (entry) => entry.state === "waiting" || entry.state === "sending";

export const uploads = new Uploads();

/** Calls `onUploaded` after each upload of a view. */
export function useUploaded(place, onUploaded) {
  const newest = useRef(onUploaded);
  newest.current = onUploaded;
  useEffect(() => uploads.onUploaded((entry) => entry.place === place && newest.current()), [place]);
}

/** The uploads of one view, with their progress. */
export function UploadList({ place }) {
  const [, redraw] = useState(0);
  useEffect(() => uploads.subscribe(() => redraw((count) => count + 1)), []);
  const own = uploads.entries.filter((one) => one.place === place);
  const left = own.filter(isUnderWay).length;
  if (own.length === 0) return html`<p class="hidden" role="status"></p>`;
  const failed = own.filter((one) => one.state === "failed").length;
  return html`<div data-testid="uploads">
    <p class="hidden" role="status">${left === 0 ? `${own.length - failed} uploaded, ${failed} failed.` : `${left} to upload.`}</p>
    <ul class="plain">${own.map((one) => html`<li key=${one.key} class="upload">
      <span class="upload-name">${one.file.name} <span class="muted">${size(one.file.size)}</span></span>
      ${isUnderWay(one)
        ? html`<progress max="1" value=${one.fraction} aria-label=${`Upload of ${one.file.name}`}></progress>
          <span class="muted">${one.state === "waiting" ? "waits" : `${Math.floor(one.fraction * 100)} %`}</span>
          <button type="button" class="quiet" onClick=${() => uploads.stop(one)}>Stop<span class="hidden"> the upload of ${one.file.name}</span></button>`
        : html`<span class=${one.state === "uploaded" ? "good" : "bad"}>${one.state}</span>`}
      <${Problem} error=${one.error} />
    </li>`)}</ul>
    ${left === 0 && html`<button type="button" class="quiet" onClick=${() => uploads.forget(place)}>Clear this list</button>`}
  </div>`;
}

/** Files that are chosen or dropped. `onFiles(files)` gets them. */
export function FilePicker({ id, label, onFiles }) {
  const [isOver, setIsOver] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    setIsOver(false);
    if (event.dataTransfer.files.length > 0) onFiles([...event.dataTransfer.files]);
  };
  return html`<div class=${isOver ? "dropzone is-over" : "dropzone"} onDrop=${drop} onDragLeave=${() => setIsOver(false)}
      onDragOver=${(event) => {
        event.preventDefault();
        setIsOver(true);
      }}>
    <label for=${id}>${label}</label>
    <input id=${id} type="file" multiple onChange=${(event) => {
      onFiles([...event.target.files]);
      event.target.value = "";
    }} />
  </div>`;
}
