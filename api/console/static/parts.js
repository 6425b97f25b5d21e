// Parts that several views share: status badges, errors, tables with pages, times, money.
import { html, useCallback, useEffect, useRef, useState } from "/console/ui.js";
import { json, withQuery } from "/console/http.js";

/** A state as a badge; the word says it, the colour repeats it. */
export function Status({ value }) {
  return html`<span class=${`status status-${value}`}>${(value ?? "unknown").replaceAll("_", " ")}</span>`;
}

/** An error in words. `what` names what was asked for, e.g. "the usage". */
export function Problem({ error, what, onRetry }) {
  if (!error) return null;
  const isForbidden = error.status === 403;
  return html`<div class=${isForbidden ? "notice" : "problem"} role="alert">
    ${isForbidden && what && html`<p>Your key may not see ${what}.</p>`}
    ${error.status === 404 && what && html`<p>This server has no endpoint for ${what}, or it is gone.</p>`}
    <p>${error.message}</p>
    ${error.requestId && html`<p class="muted">Request ${error.requestId}</p>`}
    ${onRetry && html`<button type="button" onClick=${onRetry}>Try again</button>`}
  </div>`;
}

/** Seconds since the epoch, as local time, without the date if that is today's; the exact time is in the title. */
export function Time({ at }) {
  if (!at) return html`<span class="muted">–</span>`;
  const date = new Date(at * 1000);
  return html`<time dateTime=${date.toISOString()} title=${date.toISOString()}>${isToday(date) ? date.toLocaleTimeString() : date.toLocaleString()}</time>`;
}

const isToday = (date) => date.toDateString() === new Date().toDateString();

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  if (value < 48 * 3600) return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
  return `${Math.floor(value / 86_400)} days ${Math.round((value % 86_400) / 3600)} h`;
}

export function money(usd) {
  if (usd === null || usd === undefined) return "no price";
  return `$${usd < 1 ? usd.toFixed(usd === 0 ? 2 : 6).replace(/0+$/, "").replace(/\.$/, ".00") : usd.toFixed(2)}`;
}

export function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString();
}

/** `1 passage`, `1,200 passages`. */
export function counted(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

/** `a`, `a and b`, `a, b and c`. */
export function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** A size in the units of people: 1.4 MB. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  if (bytes < 1000) return `${bytes} B`;
  const unit = Math.min(3, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** unit;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${["B", "kB", "MB", "GB"][unit]}`;
}

/** An id in short, with its whole in the title, and a button that copies it. */
export function ShortId({ id }) {
  return html`<span class="short-id" title=${id}>${id}</span> <${Copy} text=${id} label="Copy" of=${id} />`;
}

/**
 * Loads `path` at once, and again `everyMs` after each answer while the page is visible.
 *
 * What is shown stays while its next state is loaded. A server that refuses (403) or has no such endpoint (404) is not
 * asked again by itself. Without a path nothing is loaded. `read(path)` makes `data`: the JSON, by default.
 * Returns {data, error, isLoading, reload}.
 */
export function useLoaded(path, everyMs = null, read = json) {
  const [state, setState] = useState({ path, data: null, error: null, isLoading: true });
  const newest = useRef(0);
  const load = useCallback(async () => {
    const own = ++newest.current;
    let next;
    try {
      next = { data: await read(path), error: null };
    } catch (error) {
      next = { error };
    }
    if (own === newest.current) setState((before) => ({ ...before, ...next, path, isLoading: false }));
    return next.error?.status;
  }, [path]);
  useEffect(() => {
    if (!path) return undefined;
    let timer = null;
    let isOver = false;
    const again = async () => {
      const status = document.hidden && timer !== null ? null : await load();
      if (!isOver && everyMs && status !== 403 && status !== 404) timer = setTimeout(again, everyMs);
    };
    again();
    return () => {
      isOver = true;
      newest.current += 1;
      clearTimeout(timer);
    };
  }, [load, everyMs]);
  return { ...state, isLoading: state.isLoading || state.path !== path, reload: load };
}

const PAGE = 20;
const LIVE_ROWS = 100;

/**
 * The rows of a list endpoint, newest first. Returns {rows, error, isLoading, isLive, hasMore, more, newest, reload}.
 *
 * Up to a hundred rows are one page that is loaded again and again. Rows after these are loaded once: new ones at the top
 * would push some out of the first page that no later page has, so the list stands still until `newest` is called.
 */
export function usePages(path, parameters, everyMs = null) {
  const key = withQuery(path, parameters);
  const [limit, setLimit] = useState(PAGE);
  const [later, setLater] = useState({ key, pages: [], error: null });
  const pages = later.key === key ? later.pages : [];
  const first = useLoaded(withQuery(path, { ...parameters, limit }), pages.length ? null : everyMs);
  useEffect(() => setLimit(PAGE), [key]);
  const shown = first.data ? [first.data, ...pages] : [];
  const last = shown.at(-1);
  const more = async () => {
    if (limit < LIVE_ROWS) return setLimit(Math.min(LIVE_ROWS, limit + 2 * PAGE));
    try {
      const page = await json(withQuery(path, { ...parameters, limit: LIVE_ROWS, after: last.last_id }));
      setLater({ key, pages: [...pages, page], error: null });
    } catch (error) {
      setLater({ key, pages, error });
    }
  };
  const newest = () => {
    setLater({ key, pages: [], error: null });
    setLimit(PAGE);
  };
  const seen = new Set();
  const rows = shown.flatMap((page) => page.data).filter((row) => !seen.has(row.id) && seen.add(row.id));
  return {
    rows,
    error: first.error ?? (later.key === key ? later.error : null),
    isLoading: first.isLoading,
    isLive: pages.length === 0,
    hasMore: Boolean(last?.has_more),
    more,
    newest,
    reload: first.reload,
  };
}

export function More({ pages }) {
  return html`<p class="row">
    ${pages.hasMore && html`<button type="button" onClick=${pages.more}>Show more</button>`}
    ${!pages.isLive && html`<span class="muted">${count(pages.rows.length)} rows; they stand still.</span>
      <button type="button" onClick=${pages.newest}>Back to the newest</button>`}
  </p>`;
}

/** A button that copies `text`, and says so. */
export function Copy({ text, label = "Copy", of = "" }) {
  const [result, setResult] = useState(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
      setResult("Copied");
    } catch {
      // A page that came over plain HTTP from another machine has no clipboard.
      setResult("The browser refused");
    }
    setTimeout(() => setResult(null), 1500);
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${label}${of && html`<span class="hidden"> ${of}</span>`}</button>
    <span class="copied" role="status">${result}</span>`;
}

/** A filter that somebody types. A list that is loaded again meanwhile does not take the text away. */
export function FilterText({ name, label, value = "", onChange, placeholder }) {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  return html`<label>${label} <input name=${name} value=${draft} placeholder=${placeholder} autocomplete="off"
    onInput=${(event) => setDraft(event.target.value)} onChange=${onChange} /></label>`;
}

/** Runs an action that a button begins, and keeps its failure. Returns [act, problem]. */
export function useAction() {
  const [problem, setProblem] = useState(null);
  const act = async (action) => {
    setProblem(null);
    try {
      await action();
    } catch (error) {
      setProblem(error);
    }
  };
  return [act, problem];
}

/** A form whose fields `save(fields, form)` sends. Its failure is shown in it, and its button waits meanwhile. */
export function Form({ action, save, onCancel, children, label }) {
  const [act, problem] = useAction();
  const [isSaving, setIsSaving] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    setIsSaving(true);
    await act(() => save(Object.fromEntries(new FormData(form)), form));
    setIsSaving(false);
  };
  return html`<form class="panel" onSubmit=${submit} aria-label=${label}>
    ${children}
    <${Problem} error=${problem} />
    <p class="row"><button class="primary" disabled=${isSaving}>${action}</button>
      ${onCancel && html`<button type="button" onClick=${onCancel}>Leave it</button>`}</p>
  </form>`;
}

/** A dialog that asks before something that cannot be undone. */
export function Confirm({ question, action, onConfirm, onClose }) {
  return html`<${Dialog} label=${question} onClose=${onClose}>
    <p>${question}</p>
    <form method="dialog" class="row">
      <button>Keep it</button>
      <button class="danger" onClick=${onConfirm}>${action}</button>
    </form>
  </${Dialog}>`;
}

/** A modal dialog, open as long as it is drawn. The browser keeps the focus in it, and gives it back. */
export function Dialog({ label, onClose, isWide = false, children }) {
  const dialog = useRef(null);
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current.showModal();
    return () => opener?.isConnected && opener.focus();
  }, []);
  return html`<dialog ref=${dialog} class=${isWide ? "wide" : ""} onClose=${onClose} aria-label=${label}>${children}</dialog>`;
}
