// One response: what it is, its timeline, its transcript, its events; cancel, approve, run again.
import { html, useEffect, useRef, useState } from "/console/ui.js";
import { isRunningStatus, laneOf, openApprovals } from "/console/answer.js";
import { json, send } from "/console/http.js";
import { ApprovalButtons, EventList, ItemText, callsIn, itemTitle } from "/console/items.js";
import { Agents, Caller, Waits, withCost } from "/console/agents.js";
import { isWebAddress } from "/console/links.js";
import { Confirm, Copy, Problem, Status, Time, count, money, seconds, useLoaded } from "/console/parts.js";
import { SteerBox } from "/console/steer.js";
import { Follower } from "/console/stream.js";
import { Timeline } from "/console/timeline.js";

const EVERY_MS = 3000;

export function Response({ id }) {
  const path = `/v1/responses/${encodeURIComponent(id)}`;
  const [everyMs, setEveryMs] = useState(EVERY_MS);
  const response = useLoaded(path, everyMs, withCost);
  const timeline = useLoaded(`${path}/timeline`, everyMs);
  const input = useLoaded(`${path}/input_items?limit=100&order=asc`);
  const [problem, setProblem] = useState(null);
  const [asks, setAsks] = useState(false);
  const { found, cost } = response.data ?? {};
  const isRunning = isRunningStatus(found?.status);
  useEffect(() => {
    if (!found || isRunning) return;
    setEveryMs(null);
    // The end of the response is newer than the timeline that was loaded beside it.
    timeline.reload();
  }, [found?.status]);
  if (!found) {
    return html`<p><a href="#/responses">All responses</a></p><h1 class="id" tabindex="-1">${id}</h1>
      ${response.isLoading ? html`<p class="muted">Loading …</p>` : html`<${Problem} error=${response.error} onRetry=${response.reload} />`}`;
  }
  const entries = timeline.data?.entries ?? [];
  const given = input.data?.data ?? [];
  const calls = callsIn([...given, ...found.output]);
  const act = async (action) => {
    setProblem(null);
    try {
      await action();
    } catch (error) {
      setProblem(error);
    }
    await Promise.all([response.reload(), timeline.reload()]);
  };
  const cancel = () => act(() => send(`${path}/cancel`, { method: "POST", body: {} }));
  const again = () => act(async () => {
    const started = await json("/v1/responses", { method: "POST", body: await requestOf(found, path) });
    location.hash = `#/responses/${encodeURIComponent(started.id)}`;
  });
  const answer = (item) => async (approve) => {
    await send(`${path}/approvals`, { method: "POST", body: { approval_request_id: item.id, approve } });
    await Promise.all([response.reload(), timeline.reload()]);
  };
  return html`
    <p><a href="#/responses">All responses</a></p>
    <h1 class="id" tabindex="-1">${found.id}</h1>
    <p class="row"><${Status} value=${found.status} /> <span>${found.model}, created <${Time} at=${found.created_at} /></span>
      <${Copy} label="Copy the id" text=${found.id} /></p>
    ${found.error && html`<p class="problem"><code>${found.error.code}</code> ${found.error.message}</p>`}
    ${found.incomplete_details && html`<p class="notice">Incomplete: <code>${found.incomplete_details.reason}</code></p>`}
    <p class="row">
      ${isRunning && html`<button type="button" class="danger" onClick=${() => setAsks(true)}>Cancel</button>`}
      <button type="button" onClick=${again}>Run again</button>
      <a href=${`#/webhooks?response_id=${encodeURIComponent(id)}`}>Its webhooks</a>
      ${isWebAddress(timeline.data?.temporal_url) && html`<a href=${timeline.data.temporal_url} target="_blank" rel="noreferrer">Open the run in Temporal</a>`}
    </p>
    ${asks && html`<${Confirm} question="Cancel this response? What it has said so far stays." action="Cancel the response"
      onConfirm=${cancel} onClose=${() => setAsks(false)} />`}
    <${Problem} error=${problem} />
    <${Problem} error=${response.error} />
    <${Caller} timeline=${timeline.data} />
    ${isRunning && html`<${Waits} entries=${entries} />`}
    <dl class="facts">
      <div><dt>Tokens in</dt><dd>${count(found.usage?.input_tokens)}</dd></div>
      <div><dt>Tokens out</dt><dd>${count(found.usage?.output_tokens)}</dd></div>
      <div><dt>of these reasoning</dt><dd>${count(found.usage?.output_tokens_details?.reasoning_tokens)}</dd></div>
      <div><dt>Cost</dt><dd>${found.usage?.total_tokens ? money(cost) : "–"}</dd></div>
      <div><dt>Took</dt><dd>${tookOf(found, entries)}</dd></div>
      ${found.previous_response_id && html`<div><dt>Continues</dt><dd><a href=${`#/responses/${found.previous_response_id}`}>${found.previous_response_id}</a></dd></div>`}
      ${found.conversation && html`<div><dt>Conversation</dt><dd>${found.conversation.id ?? found.conversation}</dd></div>`}
    </dl>
    <h2>Timeline</h2>
    <${Problem} error=${timeline.error} what="timelines" onRetry=${timeline.reload} />
    ${timeline.data && html`<${Timeline} entries=${timeline.data.entries} />`}
    <${Agents} entries=${entries} />
    <h2>Transcript</h2>
    <${Problem} error=${input.error} />
    <div class="transcript">
      ${given.map((item) => html`<${Item} item=${item} calls=${calls} from="input" key=${item.id} />`)}
      ${input.data?.has_more && html`<p class="muted">More of the input is not shown.</p>`}
      ${found.output.map((item) => html`<${Item} item=${item} calls=${calls} from="output" key=${item.id} />`)}
      ${isRunning && openApprovals(found.output).map((item) => html`<${ApprovalButtons} key=${item.id} id=${item.id} tool=${item.name} answer=${answer(item)} />`)}
    </div>
    ${isRunning && html`<${SteerBox} id=${id} output=${found.output} onSent=${response.reload} />`}
    <h2>Events</h2>
    <${Events} id=${id} />
    <${AsJson} value=${found} />
  `;
}

/** The response's own times are in whole seconds; those of its steps are not. */
function tookOf(found, entries) {
  const begin = Math.min(...entries.map((entry) => entry.started_at));
  if (isRunningStatus(found.status)) return `${seconds(Math.max(0, Date.now() / 1000 - found.created_at))} so far`;
  const ends = entries.map((entry) => entry.ended_at).filter(Boolean);
  if (ends.length > 0) return seconds(Math.max(...ends) - begin);
  return found.completed_at ? seconds(found.completed_at - found.created_at) : "–";
}

const REPEATED = [
  "model", "instructions", "tools", "tool_choice", "parallel_tool_calls", "temperature", "top_p", "max_output_tokens",
  "max_tool_calls", "reasoning", "text", "truncation", "metadata", "previous_response_id",
];

/** The request that made this response, as far as it is stored, to be run in the background. */
async function requestOf(found, path) {
  const given = REPEATED.map((name) => [name, found[name]]).filter(([, value]) => value !== null && value !== undefined);
  return { ...Object.fromEntries(given), input: await everyInputItem(path), background: true };
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

function Item({ item, calls, from }) {
  return html`<section class=${`item item-${laneOf(item)} from-${from} ${item.steer_id ? "item-steered" : ""}`}>
    <h3>${itemTitle(item, calls)} ${item.status && item.status !== "completed" ? html`<${Status} value=${item.status} />` : null}</h3>
    <${ItemText} item=${item} />
  </section>`;
}

/** Written out only where somebody looks: a response can be megabytes. */
function AsJson({ value }) {
  const [isOpen, setIsOpen] = useState(false);
  return html`<details onToggle=${(event) => setIsOpen(event.target.open)}><summary>The response as JSON</summary>
    ${isOpen && html`<pre tabindex="0" role="region" aria-label="The response as JSON">${JSON.stringify(value, null, 2)}</pre>`}</details>`;
}

const KEPT_EVENTS = 2000;

/** The raw events, from the first, live. */
function Events({ id }) {
  const [isOpen, setIsOpen] = useState(false);
  const [seen, setSeen] = useState({ events: [], dropped: 0, figures: null });
  const [isLive, setIsLive] = useState(true);
  const [problem, setProblem] = useState(null);
  const follower = useRef(null);
  useEffect(() => {
    if (!isOpen) return undefined;
    const own = new Follower({
      onBatch: (entries, figures) => setSeen((before) => {
        const events = [...before.events, ...entries.map(({ event }) => event)];
        const tooMany = Math.max(0, events.length - KEPT_EVENTS);
        return { events: events.slice(tooMany), dropped: before.dropped + tooMany, figures };
      }),
    });
    follower.current = own;
    own.resume(id).catch(setProblem).finally(() => setIsLive(false));
    return () => own.stop();
  }, [isOpen]);
  if (!isOpen) return html`<p><button type="button" onClick=${() => setIsOpen(true)}>Replay the events</button></p>`;
  return html`
    <${Problem} error=${problem} />
    ${seen.figures && html`<p>${count(seen.figures.events)} events, ${seen.figures.gaps} gaps, ${seen.figures.repeats} repeats,
      ${seen.figures.attempts} further attempts</p>`}
    <${EventList} events=${seen.events} dropped=${seen.dropped} isLive=${isLive} />
  `;
}
