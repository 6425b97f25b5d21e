// Clauses of the Open Responses specification, tried against this server with the reader's key, as any client could.
import { html, useEffect, useState } from "/console/ui.js";
import { ApiError, json, send } from "/console/http.js";
import { Problem, seconds, useLoaded } from "/console/parts.js";

const UNKNOWN = `resp_${"0".repeat(48)}`;
const MEMBERS = ["id", "object", "created_at", "status", "model", "output", "error", "usage", "tools", "tool_choice", "metadata"];
const TERMINAL = ["response.completed", "response.incomplete", "response.failed"];

/** A clause that is not met; the message says what happened instead. */
class Unmet extends Error {}

function check(isMet, otherwise) {
  if (!isMet) throw new Unmet(otherwise);
}

/** One run against one model. What several clauses look at is asked for once. */
class Run {
  #kept = new Map();

  constructor(model) {
    this.model = model;
  }

  create(body = {}) {
    return json("/v1/responses", { method: "POST", body: { model: this.model, input: "Say hello.", max_output_tokens: 64, ...body } });
  }

  response = () => this.#once("response", () => this.create());

  stream = () => this.#once("stream", async () => {
    const body = { model: this.model, input: "Count from one to five.", max_output_tokens: 64, stream: true };
    const answer = await send("/v1/responses", { method: "POST", body });
    const lines = (await answer.text()).split("\n");
    const names = lines.filter((line) => line.startsWith("event:")).map((line) => line.slice(6).trim());
    const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
    return {
      media: answer.headers.get("content-type") ?? "",
      names,
      isDone: data.at(-1) === "[DONE]",
      events: data.filter((one) => one !== "[DONE]").map((one) => JSON.parse(one)),
    };
  });

  /** The error of a request that has to be refused with this status. */
  async refused(status, path, options) {
    try {
      await send(path, options);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 0) throw error;
      check(error.status === status, `status ${error.status} instead of ${status}`);
      return error;
    }
    throw new Unmet("the request was accepted");
  }

  #once(name, make) {
    if (!this.#kept.has(name)) this.#kept.set(name, make());
    return this.#kept.get(name);
  }
}

const CLAUSES = [
  ["A response is an object of type response, with every member that the specification requires", async (run) => {
    const response = await run.response();
    check(response.object === "response", `object is ${response.object}`);
    const missing = MEMBERS.filter((name) => !(name in response));
    check(missing.length === 0, `no ${missing.join(", ")}`);
  }],
  ["A finished response has output items with ids, types and statuses", async (run) => {
    const { status, output } = await run.response();
    check(["completed", "incomplete"].includes(status), `status is ${status}`);
    check(output.length > 0 && output.every((item) => item.id && item.type && item.status), "an item lacks one of them");
  }],
  ["usage counts input, output and their sum", async (run) => {
    const { usage } = await run.response();
    check(usage && usage.input_tokens + usage.output_tokens === usage.total_tokens, JSON.stringify(usage));
  }],
  ["A stored response can be read again, unchanged", async (run) => {
    const made = await run.response();
    const read = await json(`/v1/responses/${made.id}`);
    check(JSON.stringify(read.output) === JSON.stringify(made.output), "the output differs");
  }],
  ["A stream is text/event-stream and ends with [DONE]", async (run) => {
    const { media, isDone } = await run.stream();
    check(media.startsWith("text/event-stream"), `the content type is ${media}`);
    check(isDone, "the last line of data is something else");
  }],
  ["The event field of each event is the type in its body", async (run) => {
    const { names, events } = await run.stream();
    check(names.length === events.length && names.every((name, index) => name === events[index].type), "they differ");
  }],
  ["Sequence numbers increase by one from the first event", async (run) => {
    const { events } = await run.stream();
    check(events.every((event, index) => event.sequence_number === events[0].sequence_number + index), "there is a gap or a repeat");
  }],
  ["A stream begins with response.created and has one terminal event, the last", async (run) => {
    const { events } = await run.stream();
    const terminal = events.filter((event) => TERMINAL.includes(event.type));
    check(events[0].type === "response.created", `it begins with ${events[0].type}`);
    check(terminal.length === 1 && terminal[0] === events.at(-1), `${terminal.length} terminal events`);
  }],
  ["Each item is announced and finished, and the deltas of a text are the text", async (run) => {
    const { events } = await run.stream();
    const of = (type) => events.filter((event) => event.type === type);
    check(of("response.output_item.added").length === of("response.output_item.done").length, "an item stays open");
    const text = of("response.output_text.delta").map((event) => event.delta).join("");
    check(text === of("response.output_text.done").map((event) => event.text).join(""), "the text differs");
  }],
  ["A response continues another with previous_response_id", async (run) => {
    const first = await run.response();
    const next = await run.create({ previous_response_id: first.id, input: "Once more." });
    check(next.previous_response_id === first.id, `previous_response_id is ${next.previous_response_id}`);
  }],
  ["The input of a stored response can be listed", async (run) => {
    const made = await run.response();
    const items = await json(`/v1/responses/${made.id}/input_items`);
    check(items.object === "list" && items.data.length === 1, JSON.stringify(items).slice(0, 100));
  }],
  ["An invalid request is a 400 that names the parameter", async (run) => {
    const body = { model: run.model, input: "x", temperature: "hot" };
    const error = await run.refused(400, "/v1/responses", { method: "POST", body });
    check(error.param === "temperature", `param is ${error.param}`);
  }],
  ["An unknown response is a 404 with an error object", async (run) => {
    const error = await run.refused(404, `/v1/responses/${UNKNOWN}`);
    check(error.code !== null, "the error has no code");
  }],
];

export function Conformance() {
  const models = useLoaded("/v1/models");
  const [model, setModel] = useState("");
  const [results, setResults] = useState([]);
  const [isRunning, setIsRunning] = useState(false);
  useEffect(() => setModel((before) => before || (models.data?.data[0]?.id ?? "")), [models.data]);
  const start = async (event) => {
    event.preventDefault();
    setIsRunning(true);
    setResults([]);
    const run = new Run(model);
    for (const [, clause] of CLAUSES) {
      const began = performance.now();
      const problem = await clause(run).then(() => null, (error) => error.message);
      setResults((before) => [...before, { problem, took: (performance.now() - began) / 1000 }]);
    }
    setIsRunning(false);
  };
  const met = results.filter((one) => one.problem === null).length;
  const summary = results.length === CLAUSES.length ? `${met} of ${CLAUSES.length} clauses are met.` : "";
  return html`
    <h1 tabindex="-1">Conformance</h1>
    <p>Clauses of the <a href="https://www.openresponses.org" target="_blank" rel="noreferrer">Open Responses</a> specification, tried against this server
      with three short requests to a model.</p>
    <${Problem} error=${models.error} what="the models" onRetry=${models.reload} />
    <form class="filters" onSubmit=${start}>
      <label>Model <input list="models" value=${model} onInput=${(event) => setModel(event.target.value)} required autocomplete="off" /></label>
      <datalist id="models">${models.data?.data.map((one) => html`<option value=${one.id}></option>`)}</datalist>
      <button class="primary" disabled=${isRunning}>${isRunning ? "Running …" : "Run"}</button>
    </form>
    <p role="status" data-testid="met">${summary}</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Clauses"><table class="wraps">
      <thead><tr><th scope="col">Clause</th><th scope="col">Result</th><th scope="col" class="number">Took</th></tr></thead>
      <tbody>${CLAUSES.map(([text], index) => {
        const result = results[index];
        return html`<tr key=${text}><th scope="row">${text}</th>
          <td class=${result ? (result.problem === null ? "good" : "bad") : "muted"}>${result ? (result.problem ?? "met") : "–"}</td>
          <td class="number">${result ? seconds(result.took) : "–"}</td></tr>`;
      })}</tbody></table></div>
  `;
}
