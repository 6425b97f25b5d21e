// The playground's conversation: its turns, and the stream of the newest. It outlives the view, so that an answer goes on
// while its reader looks at another page of the console; and the id of a running response outlives the page.
import { EMPTY, fold } from "/console/answer.js";
import { ApiError, json, send } from "/console/http.js";
import { Follower } from "/console/stream.js";
import { useEffect, useState } from "/console/ui.js";

const STORED = "open_responses.playground";
/** More raw events of one answer than these are not kept: an answer can have a hundred thousand. */
const KEPT_EVENTS = 2000;

class Conversation {
  turns = [];
  problem = null;
  /** The response that the next request continues. */
  previous = null;
  follower = null;
  /** Resolves at the end of the newest turn. */
  #following = Promise.resolve();
  #listeners = new Set();

  get isRunning() {
    return this.turns.at(-1)?.isRunning ?? false;
  }

  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Sends a request and follows its answer. `input` is what the turn shows as asked. */
  async ask(request, input) {
    this.#following = this.#follow((follower) => follower.start(request), input);
    await this.#following;
  }

  /** After a reload in the middle of an answer: follows it again, from its first event. */
  async goOn() {
    const stored = readStored();
    if (!stored || this.turns.length > 0) return;
    this.previous = stored.previous ?? null;
    this.#following = this.#follow((follower) => follower.resume(stored.id), stored.input, { id: stored.id, isResumed: true });
    await this.#following;
  }

  async cancel() {
    const id = this.follower?.responseId;
    if (!id) {
      this.follower?.stop();
      return;
    }
    await this.attempt(() => send(`/v1/responses/${encodeURIComponent(id)}/cancel`, { method: "POST", body: {} }));
  }

  /**
   * Answers an approval: of the running response, which waits for it, or with another request if the response ends with
   * it. Rejects with ApiError.
   */
  async approve(turn, answer, request) {
    if (turn.isRunning) {
      try {
        await send(`/v1/responses/${encodeURIComponent(turn.answer.id)}/approvals`, { method: "POST", body: answer });
        return;
      } catch (error) {
        if (error.code !== "response_ended") throw error;
        await this.#following;
      }
    }
    const input = [{ type: "mcp_approval_response", ...answer }];
    this.ask({ ...request, input }, answer.approve ? "Approved." : "Denied.");
  }

  async killWorkers() {
    await this.attempt(async () => {
      this.follower?.markBreak();
      const { killed } = await json("/console/kill-workers", { method: "POST", body: {} });
      this.#update((turn) => ({ kills: turn.kills + killed.length }));
    });
  }

  dropConnection() {
    this.follower?.dropConnection();
    this.#update((turn) => ({ drops: turn.drops + 1 }));
  }

  begin() {
    this.follower?.stop();
    this.turns = [];
    this.previous = null;
    this.problem = null;
    sessionStorage.removeItem(STORED);
    this.#changed();
  }

  /** Runs an action and shows its failure. */
  async attempt(action) {
    this.problem = null;
    try {
      await action();
    } catch (error) {
      this.problem = error;
    }
    this.#changed();
  }

  async #follow(run, input, { id = null, isResumed = false } = {}) {
    this.problem = null;
    const turn = {
      key: this.turns.length, input, answer: { ...EMPTY, id }, events: [], dropped: 0, figures: null, kills: 0, drops: 0,
      isRunning: true, isResumed,
    };
    this.turns = [...this.turns, turn];
    const follower = new Follower({ onBatch: (entries, figures) => this.#take(follower, entries, figures) });
    this.follower = follower;
    this.#changed();
    try {
      await run(follower);
      if (follower.isEnded && follower.responseId) {
        this.previous = follower.responseId;
        await this.#addCost(follower);
      }
    } catch (error) {
      const isGone = isResumed && error instanceof ApiError && error.status === 404;
      if (isGone) this.turns = this.turns.slice(0, -1);
      else this.problem = error;
    } finally {
      if (this.follower === follower) {
        if (!follower.isStopped) sessionStorage.removeItem(STORED);
        this.#update(() => ({ isRunning: false }));
      }
    }
  }

  #take(follower, entries, figures) {
    if (this.follower !== follower) return;
    if (follower.responseId && !follower.isStored) {
      follower.isStored = true;
      store({ id: follower.responseId, input: this.turns.at(-1).input, previous: this.previous });
    }
    this.#update((turn) => {
      const events = [...turn.events, ...entries.map(({ event }) => event)];
      const tooMany = Math.max(0, events.length - KEPT_EVENTS);
      return {
        answer: entries.reduce((answer, { event, at }) => fold(answer, event, at), turn.answer),
        events: tooMany ? events.slice(tooMany) : events,
        dropped: turn.dropped + tooMany,
        figures,
      };
    });
  }

  /** A stream's last event has no cost: the stored response has, where the server knows a price. */
  async #addCost(follower) {
    try {
      const stored = await json(`/v1/responses/${encodeURIComponent(follower.responseId)}?include=open_responses.cost`);
      if (stored.usage && this.follower === follower) this.#update((turn) => ({ answer: { ...turn.answer, usage: stored.usage } }));
    } catch {
      // The answer is whole without it. A response with `store: false` is gone.
    }
  }

  #update(part) {
    const turn = this.turns.at(-1);
    if (turn) this.turns = [...this.turns.slice(0, -1), { ...turn, ...part(turn) }];
    this.#changed();
  }

  #changed() {
    this.#listeners.forEach((listener) => listener());
  }
}

export const conversation = new Conversation();

/** Draws the view again whenever the conversation changes. */
export function useConversation() {
  const [, redraw] = useState(0);
  useEffect(() => conversation.subscribe(() => redraw((count) => count + 1)), []);
  return conversation;
}

function readStored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

function store(running) {
  try {
    sessionStorage.setItem(STORED, JSON.stringify(running));
  } catch {
    // A long input: what was asked is not shown again after a reload, and the answer is.
    sessionStorage.setItem(STORED, JSON.stringify({ ...running, input: null }));
  }
}
