// Follows one response's event stream, and comes back to it after a lost connection without a gap or a repeat.
import { ApiError, send } from "/console/http.js";

const TERMINAL = new Set(["response.completed", "response.incomplete", "response.failed", "error"]);
const LONGEST_WAIT_MS = 8000;
// A hidden page has no frames to draw.
const HIDDEN_FLUSH_MS = 500;
/** Pauses this long after a break are its own. */
const BREAK_MS = 30_000;

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
 * `onBatch(entries, figures)` gets each event once, in order, as `{event, at}` with `at` in milliseconds since the
 * request; the events of one animation frame come together, since a view that is drawn for each of a hundred deltas a
 * second would be busy with nothing else. It is called without events for each new connection. `figures` has the counters: events, gaps and repeats in the numbering,
 * connections, attempts, the time to the first token, the longest pause, and the longest pause since the last break, in
 * milliseconds.
 */
export class Follower {
  constructor({ onBatch }) {
    this.onBatch = onBatch;
    this.responseId = null;
    this.figures = {
      events: 0, gaps: 0, repeats: 0, connections: 0, attempts: 0, longestPause: 0, firstToken: null, pauseAfterBreak: null,
    };
    this.next = 0;
    this.lastEventAt = null;
    this.brokenAt = null;
    this.isEnded = false;
    this.isStopped = false;
    this.request = null;
    this.connection = null;
    this.batch = [];
    this.flushing = null;
    this.startedAt = performance.now();
  }

  /**
   * Starts a response with this body, and follows it to its end. Rejects with ApiError if the request is refused.
   *
   * The request has an Idempotency-Key: one whose connection breaks before its first event is sent again, and starts
   * nothing twice.
   */
  async start(body) {
    this.startedAt = performance.now();
    this.request = {
      method: "POST",
      body: { ...body, stream: true },
      extraHeaders: { "Idempotency-Key": crypto.randomUUID?.() ?? `console-${Math.random().toString(36).slice(2)}` },
    };
    await this.#toEnd();
  }

  /** Follows a response that runs, or has run, from its first event. */
  async resume(responseId) {
    this.responseId = responseId;
    await this.#toEnd();
  }

  /** Notes that somebody breaks something now: the pause that follows is measured apart. */
  markBreak() {
    this.brokenAt = performance.now();
    this.figures.pauseAfterBreak = 0;
  }

  /** Closes the connection as a failing network would; the follower connects again at once. */
  dropConnection() {
    this.markBreak();
    this.connection?.abort();
  }

  /** Stops following. The response goes on. */
  stop() {
    this.isStopped = true;
    this.connection?.abort();
    this.#flush();
  }

  async #toEnd() {
    let wait = 0;
    try {
      while (!this.isEnded && !this.isStopped) {
        const before = this.figures.events;
        try {
          const answer = await this.#connect();
          for await (const event of events(answer.body)) this.#take(event);
        } catch (error) {
          const isFinal = error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
          // A first request that the server cannot take is shown; one that was under way is tried again.
          const isRefused = error instanceof ApiError && this.responseId === null && this.figures.connections === 0;
          if (isFinal || isRefused) throw error;
        }
        if (this.isEnded || this.isStopped) return;
        // A connection that brought something may be followed by another at once.
        wait = this.figures.events > before ? 0 : Math.min(LONGEST_WAIT_MS, wait * 2 + 250);
        await new Promise((resume) => setTimeout(resume, wait));
      }
    } finally {
      this.#flush();
    }
  }

  async #connect() {
    this.connection = new AbortController();
    const signal = this.connection.signal;
    const answer = await (this.responseId === null
      ? send("/v1/responses", { ...this.request, signal })
      : send(this.#continuation(), { signal }));
    this.figures.connections += 1;
    this.onBatch([], { ...this.figures });
    return answer;
  }

  #continuation() {
    const from = this.next > 0 ? `&starting_after=${this.next - 1}` : "";
    return `/v1/responses/${encodeURIComponent(this.responseId)}?stream=true${from}`;
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
    this.#measurePause(now);
    if (event.type.endsWith(".delta")) figures.firstToken ??= now - this.startedAt;
    if (event.type === "open_responses:attempt") figures.attempts += 1;
    this.responseId ??= event.response?.id ?? null;
    if (TERMINAL.has(event.type)) this.isEnded = true;
    this.batch.push({ event, at: now - this.startedAt });
    this.flushing ??= document.hidden
      ? { timer: setTimeout(() => this.#flush(), HIDDEN_FLUSH_MS) }
      : { frame: requestAnimationFrame(() => this.#flush()) };
  }

  #measurePause(now) {
    if (this.lastEventAt !== null) {
      const pause = now - this.lastEventAt;
      this.figures.longestPause = Math.max(this.figures.longestPause, pause);
      if (this.brokenAt !== null && now - this.brokenAt < BREAK_MS) {
        this.figures.pauseAfterBreak = Math.max(this.figures.pauseAfterBreak, pause);
      }
    }
    this.lastEventAt = now;
  }

  #flush() {
    if (this.flushing?.timer) clearTimeout(this.flushing.timer);
    if (this.flushing?.frame) cancelAnimationFrame(this.flushing.frame);
    this.flushing = null;
    if (this.batch.length === 0) return;
    const batch = this.batch;
    this.batch = [];
    this.onBatch(batch, { ...this.figures });
  }
}
