// One response: what it is, its timeline, its transcript, its events; cancel, approve, run again.
import { html, useEffect, useReducer, useRef, useState } from "/console/ui.js";
import { EMPTY, fold, laneOf } from "/console/answer.js";
import { json, send } from "/console/http.js";
import { Confirm, Copy, Problem, Status, Time, count, money, seconds, useLoaded } from "/console/parts.js";
import { Follower } from "/console/stream.js";

const EVERY_MS = 3000;
const RUNNING = new Set(["queued", "in_progress"]);

export function Response({ id }) {
  const path = `/v1/responses/${encodeURIComponent(id)}`;
  const [isRunning, setIsRunning] = useState(true);
  const response = useLoaded(`${path}?include=open_responses.cost`, isRunning ? EVERY_MS : null);
  const timeline = useLoaded(`${path}/timeline`, isRunning ? EVERY_MS : null);
  const input = useLoaded(`${path}/input_items?limit=100&order=asc`);
  const [problem, setProblem] = useState(null);
  const [asks, setAsks] = useState(false);
  useEffect(() => {
    if (response.data) setIsRunning(RUNNING.has(response.data.status));
  }, [response.data?.status]);
  if (!response.data) return html`<h1>${id}</h1><${Problem} error=${response.error} onRetry=${response.reload} />`;
  const found = response.data;
  const act = (action) => async () => {
    setProblem(null);
    try {
      await action();
      await Promise.all([response.reload(), timeline.reload()]);
    } catch (error) {
      setProblem(error);
    }
  };
  const cancel = act(() => send(`${path}/cancel`, { method: "POST", body: {} }));
  const again = act(async () => {
    const items = await everyInputItem(path);
    const { model, instructions, tools, tool_choice, temperature, top_p, max_output_tokens, reasoning, text } = found;
    const body = { model, instructions, tools, tool_choice, temperature, top_p, max_output_tokens, reasoning, text };
    const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null && value !== undefined));
    const started = await json("/v1/responses", { method: "POST", body: { ...given, input: items, background: true } });
    location.hash = `#/responses/${encodeURIComponent(started.id)}`;
  });
  return html`
    <p><a href="#/responses">All responses</a></p>
    <h1 class="id">${found.id} <${Copy} text=${found.id} /></h1>
    <p><${Status} value=${found.status} /> ${found.model}, created <${Time} at=${found.created_at} /></p>
    ${found.error && html`<p class="problem"><code>${found.error.code}</code> ${found.error.message}</p>`}
    ${found.incomplete_details && html`<p class="notice">Incomplete: <code>${found.incomplete_details.reason}</code></p>`}
    <p class="row">
      ${isRunning && html`<button class="danger" onClick=${() => setAsks(true)}>Cancel</button>`}
      <button onClick=${again}>Run again</button>
      ${timeline.data?.temporal_url && html`<a href=${timeline.data.temporal_url} target="_blank" rel="noreferrer">Open the run in Temporal</a>`}
    </p>
    ${asks && html`<${Confirm} question="Cancel this response? What it has said so far stays." action="Cancel the response"
      onConfirm=${cancel} onClose=${() => setAsks(false)} />`}
    <${Problem} error=${problem} />
    <dl class="facts">
      <div><dt>Tokens in</dt><dd>${count(found.usage?.input_tokens)}</dd></div>
      <div><dt>Tokens out</dt><dd>${count(found.usage?.output_tokens)}</dd></div>
      <div><dt>Cost</dt><dd>${money(found.usage?.cost_usd)}</dd></div>
      <div><dt>Took</dt><dd>${found.completed_at ? seconds(found.completed_at - found.created_at) : "–"}</dd></div>
      ${found.previous_response_id && html`<div><dt>Continues</dt><dd><a href=${`#/responses/${found.previous_response_id}`}>${found.previous_response_id}</a></dd></div>`}
      ${found.conversation && html`<div><dt>Conversation</dt><dd>${found.conversation.id ?? found.conversation}</dd></div>`}
    </dl>
    <h2>Timeline</h2>
    <${Problem} error=${timeline.error} onRetry=${timeline.reload} />
    ${timeline.data && html`<${Timeline} entries=${timeline.data.entries} />`}
    <h2>Transcript</h2>
    <${Transcript} input=${input.data?.data ?? []} output=${found.output} act=${act} path=${path} isRunning=${isRunning} />
    <h2>Events</h2>
    <${Events} id=${id} />
    <details><summary>The response as JSON</summary><pre tabindex="0">${JSON.stringify(found, null, 2)}</pre></details>
  `;
}

async function everyInputItem(path) {
  const items = [];
  let after;
  for (;;) {
    const page = await json(`${path}/input_items?limit=100&order=asc${after ? `&after=${encodeURIComponent(after)}` : ""}`);
    items.push(...page.data);
    if (!page.has_more) return items.map(({ id: _id, status: _status, ...item }) => item);
    after = page.last_id;
  }
}

/** Turns, attempts and tools as bars on one scale of time. */
export function Timeline({ entries }) {
  if (entries.length === 0) return html`<p class="muted">Nothing has run yet.</p>`;
  const begin = Math.min(...entries.map((entry) => entry.started_at));
  const end = Math.max(...entries.map((entry) => entry.ended_at ?? Date.now() / 1000), begin + 0.001);
  const at = (time) => `${((time - begin) / (end - begin)) * 100}%`;
  return html`<ol class="timeline">
    ${entries.map((entry) => {
      const until = entry.ended_at ?? end;
      return html`<li>
        <span class="timeline-name">${entry.name}${entry.attempt > 1 ? ` · attempt ${entry.attempt}` : ""}</span>
        <span class="timeline-bar"><span class=${`bar bar-${entry.kind} bar-${entry.status}`}
          style=${{ marginLeft: at(entry.started_at), width: `max(3px, ${((until - entry.started_at) / (end - begin)) * 100}%)` }}></span></span>
        <span class="timeline-note"><${Status} value=${entry.status} /> ${seconds(until - entry.started_at)}
          ${entry.tokens ? ` · ${count(entry.tokens)} tokens` : ""}${entry.cost_usd ? ` · ${money(entry.cost_usd)}` : ""}
          ${entry.detail ? html`<br /><span class="muted">${entry.detail}</span>` : null}</span>
      </li>`;
    })}
  </ol>`;
}

function Transcript({ input, output, act, path, isRunning }) {
  const answered = new Set([...input, ...output].map((item) => item.approval_request_id).filter(Boolean));
  return html`<div class="transcript">
    ${input.map((item) => html`<${Item} item=${item} from="input" key=${item.id} />`)}
    ${output.map((item) => html`<${Item} item=${item} from="output" key=${item.id} />
      ${item.type === "mcp_approval_request" && isRunning && !answered.has(item.id) && html`<${ApprovalButtons} act=${act} path=${path} id=${item.id} />`}`)}
  </div>`;
}

export function ApprovalButtons({ act, path, id }) {
  const answer = (approve) => act(() => send(`${path}/approvals`, { method: "POST", body: { approval_request_id: id, approve } }));
  return html`<p class="row"><button class="primary" onClick=${answer(true)}>Approve</button>
    <button class="danger" onClick=${answer(false)}>Deny</button></p>`;
}

const TITLES = {
  message: (item) => (item.role === "assistant" ? "Answer" : item.role),
  reasoning: () => "Reasoning",
  function_call: (item) => `Calls ${item.name}`,
  function_call_output: () => "Tool's output",
  mcp_call: (item) => `Calls ${item.name} on ${item.server_label}`,
  mcp_list_tools: (item) => `Tools of ${item.server_label}`,
  mcp_approval_request: (item) => `Asks to call ${item.name}`,
  mcp_approval_response: (item) => (item.approve ? "Approved" : "Denied"),
};

export function itemTitle(item) {
  return (TITLES[item.type] ?? (() => item.type))(item);
}

function Item({ item, from }) {
  const view = fold(EMPTY, { type: "response.output_item.done", output_index: 0, item }, 0).items[0];
  return html`<section class=${`item item-${laneOf(item)} from-${from}`}>
    <h3>${itemTitle(item)} ${item.status && item.status !== "completed" ? html`<${Status} value=${item.status} />` : null}</h3>
    <pre class="text">${view.text || JSON.stringify(item, null, 2)}</pre>
    ${item.error && html`<p class="problem">${typeof item.error === "string" ? item.error : item.error.message}</p>`}
    ${item.type === "mcp_call" && item.output && html`<pre class="text">${item.output}</pre>`}
  </section>`;
}

/** The raw events, from the first, live. */
function Events({ id }) {
  const [isOpen, setIsOpen] = useState(false);
  const [events, add] = useReducer((before, event) => [...before, event], []);
  const [figures, setFigures] = useState(null);
  const [problem, setProblem] = useState(null);
  const follower = useRef(null);
  useEffect(() => {
    if (!isOpen) return undefined;
    follower.current = new Follower({ onEvent: add, onChange: setFigures });
    follower.current.resume(id).catch(setProblem);
    return () => follower.current.stop();
  }, [isOpen]);
  if (!isOpen) return html`<p><button onClick=${() => setIsOpen(true)}>Replay the events</button></p>`;
  return html`
    <${Problem} error=${problem} />
    ${figures && html`<p>${count(figures.events)} events, ${figures.gaps} gaps, ${figures.repeats} repeats, ${figures.attempts} extra attempts</p>`}
    <${EventList} events=${events} />
  `;
}

/** The newest events; older ones would make the page heavy. */
export function EventList({ events }) {
  const shown = events.slice(-500);
  return html`<div class="events" tabindex="0" role="log" aria-label="Events" aria-live="off">
    ${events.length > shown.length && html`<p class="muted">${count(events.length - shown.length)} earlier events are not shown.</p>`}
    ${shown.map((event) => html`<details key=${event.sequence_number}><summary><span class="number">${event.sequence_number}</span> ${event.type}
      ${typeof event.delta === "string" ? html` <span class="muted">${event.delta.slice(0, 60)}</span>` : null}</summary>
      <pre>${JSON.stringify(event, null, 2)}</pre></details>`)}
  </div>`;
}
