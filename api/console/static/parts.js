// Parts that several views share: status badges, errors, tables with pages, times, money.
import { html, useCallback, useEffect, useRef, useState } from "/console/ui.js";
import { json, withQuery } from "/console/http.js";

export function Status({ value }) {
  return html`<span class=${`status status-${value}`}>${(value ?? "unknown").replaceAll("_", " ")}</span>`;
}

export function Problem({ error, onRetry }) {
  if (!error) return null;
  return html`<div class="problem" role="alert">
    <p>${error.message}</p>
    ${error.requestId && html`<p class="muted">Request ${error.requestId}</p>`}
    ${onRetry && html`<button onClick=${onRetry}>Try again</button>`}
  </div>`;
}

/** Seconds since the epoch, as local time; the exact time is in the title. */
export function Time({ at }) {
  if (!at) return html`<span class="muted">–</span>`;
  const date = new Date(at * 1000);
  return html`<time dateTime=${date.toISOString()} title=${date.toISOString()}>${date.toLocaleString()}</time>`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
}

export function money(usd) {
  if (usd === null || usd === undefined) return "no price";
  return `$${usd < 1 ? usd.toFixed(usd === 0 ? 2 : 6).replace(/0+$/, "").replace(/\.$/, ".00") : usd.toFixed(2)}`;
}

export function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString();
}

/** Loads `path` at once and again every `everyMs` while the page is visible. Returns {data, error, isLoading, reload}. */
export function useLoaded(path, everyMs = null) {
  const [state, setState] = useState({ data: null, error: null, isLoading: true });
  const newest = useRef(0);
  const load = useCallback(async () => {
    const own = ++newest.current;
    try {
      const data = await json(path);
      if (own === newest.current) setState({ data, error: null, isLoading: false });
    } catch (error) {
      if (own === newest.current) setState((before) => ({ ...before, error, isLoading: false }));
    }
  }, [path]);
  useEffect(() => {
    load();
    if (!everyMs) return undefined;
    const timer = setInterval(() => document.visibilityState === "visible" && load(), everyMs);
    return () => clearInterval(timer);
  }, [load, everyMs]);
  return { ...state, reload: load };
}

/** The pages of a list endpoint, newest first. Returns {rows, error, hasMore, more, reload}. */
export function usePages(path, parameters, everyMs = null) {
  const key = withQuery(path, parameters);
  const [pages, setPages] = useState([]);
  const first = useLoaded(withQuery(path, { limit: 20, ...parameters }), everyMs);
  const [error, setError] = useState(null);
  useEffect(() => setPages([]), [key]);
  const shown = first.data ? [first.data, ...pages] : [];
  const last = shown.at(-1);
  const more = async () => {
    try {
      const page = await json(withQuery(path, { limit: 20, ...parameters, after: last.last_id }));
      setPages([...pages, page]);
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  const seen = new Set();
  const rows = shown.flatMap((page) => page.data).filter((row) => !seen.has(row.id) && seen.add(row.id));
  return { rows, error: first.error ?? error, isLoading: first.isLoading, hasMore: Boolean(last?.has_more), more, reload: first.reload };
}

export function More({ pages }) {
  return pages.hasMore ? html`<p><button onClick=${pages.more}>Show more</button></p>` : null;
}

/** A button that copies `text`, and says so. */
export function Copy({ text, label = "Copy" }) {
  const [isCopied, setIsCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
    setIsCopied(true);
    setTimeout(() => setIsCopied(false), 1500);
  };
  return html`<button class="quiet" onClick=${copy}>${isCopied ? "Copied" : label}</button>`;
}

/** A dialog that asks before something that cannot be undone. */
export function Confirm({ question, action, onConfirm, onClose }) {
  const dialog = useRef(null);
  useEffect(() => dialog.current.showModal(), []);
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="confirm-question">
    <p id="confirm-question">${question}</p>
    <form method="dialog" class="row">
      <button>Keep it</button>
      <button class="danger" onClick=${onConfirm}>${action}</button>
    </form>
  </dialog>`;
}
