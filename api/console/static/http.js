// Requests to the API, with the key that the person at the page entered. The key lives as long as the tab.

const KEY = "open_responses.key";

export const apiKey = {
  get: () => sessionStorage.getItem(KEY),
  set: (key) => sessionStorage.setItem(KEY, key),
  /** Forgets the key, and what this tab keeps of the requests that were made with it. */
  clear: () => sessionStorage.clear(),
};

/** An answer that is not 2xx, with the code and the message of the API's error. */
export class ApiError extends Error {
  constructor(status, error, requestId) {
    super(error?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = error?.code ?? null;
    this.param = error?.param ?? null;
    this.requestId = requestId;
  }
}

const listeners = new Set();

/** Calls `listener` when the server refuses the key (401), so that the page asks for another. */
export function onUnauthorized(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function headers(extra = {}) {
  const key = apiKey.get();
  return key ? { Authorization: `Bearer ${key}`, ...extra } : { ...extra };
}

/** Sends one request. Resolves with the Response if it is 2xx; rejects with ApiError otherwise. */
export async function send(path, { method = "GET", body, signal, extraHeaders } = {}) {
  const given = body === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, {
      method,
      signal,
      headers: headers({ ...given, ...extraHeaders }),
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable(error.message);
  }
  if (answer.ok) return answer;
  throw refusal(answer.status, await answer.text(), answer.headers.get("x-request-id"));
}

/** Sends a form with a file. `onProgress(fraction)` is called as its bytes leave, which fetch does not report. */
export function upload(path, form, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    Object.entries(headers()).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(refusal(request.status, request.responseText, request.getResponseHeader("x-request-id")));
    };
    request.onerror = () => reject(unreachable("the upload was cut off"));
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Saves what a path answers as a file of this name: a link could not send the key. */
export async function download(path, filename) {
  const url = URL.createObjectURL(await (await send(path)).blob());
  Object.assign(document.createElement("a"), { href: url, download: filename }).click();
  // The browser begins to read it after this turn of the event loop.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function refusal(status, text, requestId) {
  if (status === 401) listeners.forEach((listener) => listener());
  let error = null;
  try {
    error = JSON.parse(text).error;
  } catch {
    // A proxy's own page: the status says enough.
  }
  return new ApiError(status, error, requestId);
}

function unreachable(reason) {
  return new ApiError(0, { message: `The server cannot be reached (${reason}). Is it running?` });
}

export async function json(path, options) {
  const answer = await send(path, options);
  return answer.status === 204 ? null : answer.json();
}

/** A path with the parameters that have a value. */
export function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}
