// The playground: a request by form, its answer as it streams, and the figures of the stream.
import { html, useEffect, useMemo, useRef, useState } from "/console/ui.js";
import { EMPTY, fold, laneOf } from "/console/answer.js";
import { ApiError, json, send } from "/console/http.js";
import { Copy, Problem, Status, count, money, seconds, useLoaded } from "/console/parts.js";
import { ApprovalButtons, EventList, itemTitle } from "/console/response.js";
import { curl, python, typescript } from "/console/snippets.js";
import { Follower } from "/console/stream.js";

const RUNNING = "open_responses.playground";
const DRAFT = "open_responses.draft";
const LARGEST_FILE = 20 * 1024 * 1024;
const NEW_DRAFT = { model: "", instructions: "", input: "Tell me a story about a river.", maxOutputTokens: "", background: true, hosted: false, tools: [], mcp: [] };

export function Playground({ info }) {
  const models = useLoaded("/v1/models");
  const offers = useLoaded("/console/offers");
  const [draft, setDraft] = useState(() => ({ ...NEW_DRAFT, ...JSON.parse(sessionStorage.getItem(DRAFT) ?? "{}") }));
  const [files, setFiles] = useState([]);
  const [previous, setPrevious] = useState(null);
  const [turns, setTurns] = useState([]);
  const [problem, setProblem] = useState(null);
  const follower = useRef(null);
  const shown = turns.at(-1) ?? null;
  const isRunning = shown?.isRunning ?? false;

  useEffect(() => sessionStorage.setItem(DRAFT, JSON.stringify(draft)), [draft]);
  useEffect(() => {
    const id = models.data?.data[0]?.id;
    if (id && !draft.model) setDraft((before) => ({ ...before, model: id }));
  }, [models.data]);
  useEffect(() => {
    // After a reload in the middle of an answer.
    const running = sessionStorage.getItem(RUNNING);
    if (running) follow(null, running);
    return () => follower.current?.stop();
  }, []);

  const change = (name) => (event) =>
    setDraft({ ...draft, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const toggle = (list, name) => (event) =>
    setDraft({ ...draft, [list]: event.target.checked ? [...draft[list], name] : draft[list].filter((one) => one !== name) });
  const body = useMemo(() => requestBody(draft, files, previous), [draft, files, previous]);

  async function follow(request, id) {
    setProblem(null);
    const turn = { input: request ? draft.input : null, answer: EMPTY, events: [], figures: null, isRunning: true };
    setTurns((before) => [...before, turn]);
    const update = (part) => setTurns((before) => [...before.slice(0, -1), { ...before.at(-1), ...part(before.at(-1)) }]);
    const own = new Follower({
      onEvent: (event) => {
        const at = performance.now() - own.startedAt;
        if (own.responseId) sessionStorage.setItem(RUNNING, own.responseId);
        update((before) => ({ answer: fold(before.answer, event, at), events: [...before.events, event] }));
      },
      onChange: (figures) => update(() => ({ figures })),
    });
    follower.current = own;
    try {
      await (request ? own.start(request) : own.resume(id));
      if (own.responseId) {
        setPrevious(own.responseId);
        const stored = await json(`/v1/responses/${own.responseId}?include=open_responses.cost`);
        update((before) => ({ answer: { ...before.answer, usage: stored.usage ?? before.answer.usage } }));
      }
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof ApiError && error.status === 404 && own.isEnded)) setProblem(error);
    } finally {
      sessionStorage.removeItem(RUNNING);
      update(() => ({ isRunning: false }));
    }
  }

  const submit = (event) => {
    event.preventDefault();
    if (isRunning || !draft.model) return;
    follow(body, null);
    setFiles([]);
  };
  const stop = async () => {
    if (!shown?.answer.id) return;
    try {
      await send(`/v1/responses/${shown.answer.id}/cancel`, { method: "POST", body: {} });
    } catch (error) {
      setProblem(error);
    }
  };
  const kill = async () => {
    try {
      const { killed } = await json("/console/kill-workers", { method: "POST", body: {} });
      setTurns((before) => [...before.slice(0, -1), { ...before.at(-1), kills: (before.at(-1).kills ?? 0) + killed.length }]);
    } catch (error) {
      setProblem(error);
    }
  };
  const take = async (list) => {
    try {
      setFiles([...files, ...(await Promise.all([...list].map(asPart)))]);
    } catch (error) {
      setProblem(error);
    }
  };
  const begin = () => {
    setTurns([]);
    setPrevious(null);
    setProblem(null);
  };

  return html`
    <h1>Playground</h1>
    <div class="split">
      <form class="panel" onSubmit=${submit} onDragOver=${(event) => event.preventDefault()} onDrop=${(event) => {
        event.preventDefault();
        take(event.dataTransfer.files);
      }}>
        <label for="model">Model</label>
        <input id="model" list="models" value=${draft.model} onInput=${change("model")} required autocomplete="off" />
        <datalist id="models">${models.data?.data.map((model) => html`<option value=${model.id}></option>`)}</datalist>
        <label for="instructions">Instructions</label>
        <textarea id="instructions" rows="2" value=${draft.instructions} onInput=${change("instructions")}></textarea>
        <label for="input">Input</label>
        <textarea id="input" rows="5" value=${draft.input} onInput=${change("input")} required onKeyDown=${(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
        }}></textarea>
        <label for="files">Files and images (or drop them here)</label>
        <input id="files" type="file" multiple onChange=${(event) => take(event.target.files)} />
        ${files.length > 0 && html`<ul class="files">${files.map((file, index) => html`<li>${file.name}
          <button type="button" class="quiet" onClick=${() => setFiles(files.filter((_, at) => at !== index))}>Remove</button></li>`)}</ul>`}
        <${Tools} offers=${offers.data} draft=${draft} toggle=${toggle} />
        <label for="limit">Most output tokens</label>
        <input id="limit" type="number" min="16" value=${draft.maxOutputTokens} onInput=${change("maxOutputTokens")} placeholder="no bound" />
        <label class="check"><input type="checkbox" checked=${draft.background} onChange=${change("background")} />
          Run in the background: it goes on without a reader, and waits for approvals</label>
        ${previous && html`<p class="notice">Continues <a href=${`#/responses/${previous}`}>${previous}</a>
          <button type="button" class="quiet" onClick=${begin}>Begin anew</button></p>`}
        <div class="row"><button class="primary" disabled=${isRunning || !draft.model}>Send</button>
          ${isRunning && html`<button type="button" class="danger" onClick=${stop}>Stop</button>`}</div>
        <${Snippets} body=${body} needsKey=${info.needs_key} />
      </form>
      <div class="answers">
        <${Problem} error=${problem ?? models.error} />
        ${turns.map((turn, index) => html`<${Turn} turn=${turn} key=${index} setProblem=${setProblem} />`)}
        ${isRunning && html`<div class="row break-it" role="group" aria-label="Break it">
          <button type="button" onClick=${() => follower.current?.dropConnection()}>Drop my connection</button>
          ${info.can_kill_workers && html`<button type="button" class="danger" onClick=${kill}>Kill the worker</button>`}
        </div>`}
        ${turns.length === 0 && html`<p class="muted">The answer appears here. While it streams you can drop your connection${info.can_kill_workers ? ", or kill the worker that runs it" : ""}: the answer goes on without a gap or a repeat.</p>`}
      </div>
    </div>
  `;
}

function Tools({ offers, draft, toggle }) {
  if (!offers || offers.tools.length + offers.mcp_servers.length === 0) return null;
  return html`<fieldset><legend>Tools</legend>
    ${offers.tools.map((tool) => html`<label class="check"><input type="checkbox" checked=${draft.tools.includes(tool.name)} onChange=${toggle("tools", tool.name)} />
      ${tool.name}${tool.require_approval ? " (asks for approval)" : ""}</label>`)}
    ${offers.mcp_servers.map((label) => html`<label class="check"><input type="checkbox" checked=${draft.mcp.includes(label)} onChange=${toggle("mcp", label)} /> MCP server ${label}</label>`)}
  </fieldset>`;
}

function Turn({ turn, setProblem }) {
  const [showsEvents, setShowsEvents] = useState(false);
  const { answer, figures, events } = turn;
  const act = (action) => () => action().catch(setProblem);
  return html`<article class="turn" aria-busy=${turn.isRunning}>
    ${turn.input !== null && html`<p class="asked">${turn.input}</p>`}
    <p class="row">${answer.status && html`<${Status} value=${answer.status} />`}
      ${answer.id && html`<a href=${`#/responses/${answer.id}`}>${answer.id}</a>`}</p>
    ${answer.error && html`<p class="problem"><code>${answer.error.code}</code> ${answer.error.message}</p>`}
    ${answer.incomplete && html`<p class="notice">Incomplete: <code>${answer.incomplete}</code></p>`}
    <div aria-live="polite" aria-atomic="false">
      ${answer.items.map((shown) => shown && html`<section class=${`item item-${laneOf(shown.item)}`} key=${shown.item.id}>
        <h3>${itemTitle(shown.item)} <span class="muted">${seconds(((shown.endedAt ?? shown.startedAt) - shown.startedAt) / 1000)}</span></h3>
        ${shown.progress.map((message) => html`<p class="muted">${message}</p>`)}
        <pre class="text">${shown.text}</pre>
        ${shown.item.type === "mcp_approval_request" && turn.isRunning && html`<${ApprovalButtons} act=${act} path=${`/v1/responses/${answer.id}`} id=${shown.item.id} />`}
      </section>`)}
    </div>
    ${figures && html`<dl class="facts" data-testid="figures">
      <div><dt>First token</dt><dd>${figures.firstToken === null ? "–" : seconds(figures.firstToken / 1000)}</dd></div>
      <div><dt>Longest pause</dt><dd>${seconds(figures.longestPause / 1000)}</dd></div>
      <div><dt>Events</dt><dd>${count(figures.events)}</dd></div>
      <div><dt>Gaps</dt><dd class=${figures.gaps ? "bad" : "good"}>${figures.gaps}</dd></div>
      <div><dt>Repeats</dt><dd class=${figures.repeats ? "bad" : "good"}>${figures.repeats}</dd></div>
      <div><dt>Connections</dt><dd>${figures.connections}</dd></div>
      ${turn.kills > 0 && html`<div><dt>Workers killed</dt><dd>${turn.kills}</dd></div>`}
      <div><dt>Tokens</dt><dd>${answer.usage ? `${count(answer.usage.input_tokens)} in, ${count(answer.usage.output_tokens)} out` : "–"}</dd></div>
      ${answer.usage?.cost_usd !== undefined && html`<div><dt>Cost</dt><dd>${money(answer.usage.cost_usd)}</dd></div>`}
    </dl>`}
    <p><button class="quiet" aria-expanded=${showsEvents} onClick=${() => setShowsEvents(!showsEvents)}>${showsEvents ? "Hide" : "Show"} the raw events</button></p>
    ${showsEvents && html`<${EventList} events=${events} />`}
  </article>`;
}

function Snippets({ body, needsKey }) {
  const from = (write) => () => write(body, location.origin, needsKey);
  return html`<p class="row"><span class="muted">Copy as</span>
    <${Copy} label="curl" text=${from(curl)} /><${Copy} label="Python" text=${from(python)} /><${Copy} label="TypeScript" text=${from(typescript)} /></p>`;
}

function requestBody(draft, files, previous) {
  const tools = [
    ...draft.tools.map((name) => ({ type: "function", name })),
    ...draft.mcp.map((server_label) => ({ type: "mcp", server_label })),
  ];
  const content = [{ type: "input_text", text: draft.input }, ...files.map((file) => file.part)];
  return {
    model: draft.model,
    ...(draft.instructions && { instructions: draft.instructions }),
    input: files.length ? [{ type: "message", role: "user", content }] : draft.input,
    ...(tools.length && { tools }),
    ...(draft.maxOutputTokens && { max_output_tokens: Number(draft.maxOutputTokens) }),
    ...(draft.background && { background: true }),
    ...(previous && { previous_response_id: previous }),
  };
}

/** A file as a content part of the request, inline. */
async function asPart(file) {
  if (file.size > LARGEST_FILE) throw new ApiError(0, { message: `${file.name} is larger than 20 MB. Choose a smaller file.` });
  const url = await new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(file);
  });
  const part = file.type.startsWith("image/")
    ? { type: "input_image", image_url: url, detail: "auto" }
    : { type: "input_file", filename: file.name, file_data: url };
  return { name: file.name, part };
}
