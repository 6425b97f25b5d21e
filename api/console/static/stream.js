// Follows one response's event stream, and comes back to it after a lost connection without a gap or a repeat.
import { ApiError, send } from "/console/http.js";

const TERMINAL = new Set(["response.completed", "response.incomplete", "response.failed"]);
const LONGEST_WAIT_MS = 8000;

/** Splits a byte stream into the events of SSE. Yields parsed JSON objects. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value.replaceAll("\r", "");
      let end;
      while ((end = rest.indexOf("\n\n")) >= 0) {
        const block = rest.slice(0, end);
        rest = rest.slice(end + 2);
        const data = block
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trimStart())
          .join("\n");
        if (data && data !== "[DONE]") yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * One response that is being followed.
 *
 * `onEvent(event)` gets each event once, in order. `onChange(figures)` gets the counters: events, gaps and repeats in
 * the numbering, connections, attempts, and the longest pause in milliseconds.
 */
export class Follower {
  constructor({ onEvent, onChange }) {
    this.onEvent = onEvent;
    this.onChange = onChange;
    this.responseId = null;
    this.figures = { events: 0, gaps: 0, repeats: 0, connections: 0, attempts: 0, longestPause: 0, firstToken: null };
    this.next = 0;
    this.lastEventAt = null;
    this.isEnded = false;
    this.stopped = new AbortController();
    this.connection = null;
    this.startedAt = performance.now();
  }

  /** Starts a response with this body, and follows it to its end. Rejects with ApiError if the request is refused. */
  async start(body) {
    this.startedAt = performance.now();
    const answer = await this.#connect("/v1/responses", { method: "POST", body: { ...body, stream: true } });
    await this.#toEnd(answer);
  }

  /** Follows a response that runs, or has run, from its first event. */
  async resume(responseId) {
    this.responseId = responseId;
    await this.#toEnd(null);
  }

  /** Closes the connection as a failing network would; the follower connects again at once. */
  dropConnection() {
    this.connection?.abort();
  }

  /** Stops following. The response goes on. */
  stop() {
    this.stopped.abort();
    this.connection?.abort();
  }

  async #toEnd(answer) {
    let wait = 0;
    while (!this.isEnded && !this.stopped.signal.aborted) {
      try {
        answer ??= await this.#connect(this.#continuation());
        wait = 0;
        for await (const event of events(answer.body)) this.#take(event);
      } catch (error) {
        const isFinal = error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
        if (isFinal || this.responseId === null) throw error;
      }
      answer = null;
      if (!this.isEnded && !this.stopped.signal.aborted) {
        await new Promise((resume) => setTimeout(resume, wait));
        wait = Math.min(LONGEST_WAIT_MS, wait * 2 + 250);
      }
    }
  }

  #continuation() {
    const from = this.next > 0 ? `&starting_after=${this.next - 1}` : "";
    return `/v1/responses/${encodeURIComponent(this.responseId)}?stream=true${from}`;
  }

  async #connect(path, options = {}) {
    this.connection = new AbortController();
    const answer = await send(path, { ...options, signal: this.connection.signal });
    this.figures.connections += 1;
    return answer;
  }

  #take(event) {
    const now = performance.now();
    const figures = this.figures;
    if (typeof event.sequence_number === "number") {
      if (event.sequence_number < this.next) figures.repeats += 1;
      if (event.sequence_number > this.next) figures.gaps += event.sequence_number - this.next;
      this.next = Math.max(this.next, event.sequence_number + 1);
    }
    figures.events += 1;
    if (this.lastEventAt !== null) figures.longestPause = Math.max(figures.longestPause, now - this.lastEventAt);
    this.lastEventAt = now;
    if (event.type.endsWith(".delta")) figures.firstToken ??= now - this.startedAt;
    if (event.type === "open_responses:attempt") figures.attempts += 1;
    this.responseId ??= event.response?.id ?? null;
    if (TERMINAL.has(event.type) || event.type === "error") this.isEnded = true;
    this.onEvent(event);
    this.onChange({ ...figures });
  }
}
