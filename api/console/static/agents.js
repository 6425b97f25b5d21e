// What a response waits for, and the responses of the agents that it has called.
import { html } from "/console/ui.js";
import { send } from "/console/http.js";
import { ResponseLink } from "/console/links.js";
import { Problem, Status, Time, count, money, seconds, useLoaded } from "/console/parts.js";

const EVERY_MS = 3000;

/** The response that has called this one. */
export function Caller({ timeline }) {
  if (!timeline?.agent_of) return null;
  return html`<p class="notice" data-testid="caller">This is the response of an agent. <${ResponseLink} id=${timeline.agent_of} /> has called it.</p>`;
}

/** The waits that go on, each with its end. */
export function Waits({ entries }) {
  const waits = entries.filter((entry) => entry.kind === "wait" && entry.ended_at === null);
  return waits.map((entry) => html`<p class="notice" key=${entry.started_at} data-testid="wait">Waits until <${Time} at=${entry.due_at} />,
    for ${seconds(Math.max(0, entry.due_at - Date.now() / 1000))} more. No worker is held meanwhile. A message to the response ends the wait.</p>`);
}

/** The agents of a response, with how far each is. */
export function Agents({ entries }) {
  const agents = entries.filter((entry) => entry.kind === "agent");
  if (agents.length === 0) return null;
  return html`<h2>Agents</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Agents"><table data-testid="agents">
      <thead><tr><th scope="col">Agent</th><th scope="col">Response</th><th scope="col">Status</th><th scope="col">Model</th><th scope="col" class="number">Took</th>
        <th scope="col" class="number">Tokens in</th><th scope="col" class="number">Tokens out</th><th scope="col" class="number">Cost</th></tr></thead>
      <tbody>${agents.map((entry) => html`<${Agent} entry=${entry} key=${entry.response_id} />`)}</tbody></table></div>
    <p class="muted">The tokens of agents that have ended are part of this response's; its cost is that of its own turns.</p>`;
}

function Agent({ entry }) {
  const isOver = entry.ended_at !== null;
  const response = useLoaded(`/v1/responses/${encodeURIComponent(entry.response_id)}`, isOver ? null : EVERY_MS, withCost);
  const { found, cost } = response.data ?? {};
  const usage = found?.usage;
  return html`<tr>
    <th scope="row">${entry.name}</th><td><a class="short-id" title=${entry.response_id} href=${`#/responses/${encodeURIComponent(entry.response_id)}`}>${entry.response_id}</a></td>
    <td>${found ? html`<${Status} value=${found.status} />` : response.error ? html`<${Problem} error=${response.error} />` : "…"}</td><td>${found?.model ?? "–"}</td>
    <td class="number">${seconds((entry.ended_at ?? Date.now() / 1000) - entry.started_at)}</td>
    <td class="number">${count(usage?.input_tokens)}</td><td class="number">${count(usage?.output_tokens)}</td><td class="number">${usage?.total_tokens ? money(cost) : "–"}</td></tr>`;
}

/** The response and its cost, which only the headers have, unless the request asked for it. */
export async function withCost(path) {
  const answer = await send(path);
  const cost = answer.headers.get("x-open-responses-cost-usd");
  return { found: await answer.json(), cost: cost === null ? null : Number(cost) };
}
