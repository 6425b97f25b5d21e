// One delivery: the event, its attempts with their outcomes, and sending it again.
import { html } from "/console/ui.js";
import { Copy, Problem, Status, Time, count, seconds, useAction, useLoaded } from "/console/parts.js";
import { replayed } from "/console/webhook_deliveries.js";
import { outcomeOf } from "/console/webhook_outcomes.js";

const EVERY_MS = 2000;

export function WebhookDelivery({ id }) {
  const delivery = useLoaded(`/v1/webhook_deliveries/${encodeURIComponent(id)}`, EVERY_MS);
  const [act, problem] = useAction();
  const found = delivery.data;
  if (!found) {
    return html`<p><a href="#/webhooks">All deliveries</a></p><h1 class="id" tabindex="-1">${id}</h1>
      ${delivery.isLoading ? html`<p class="muted">Loading …</p>` : html`<${Problem} error=${delivery.error} onRetry=${delivery.reload} />`}`;
  }
  const isPending = found.status === "pending";
  const replay = () => act(async () => {
    await replayed(id);
    await delivery.reload();
  });
  const last = found.attempts.at(-1);
  const outcome = last && outcomeOf(last);
  const body = { id: found.event_id, object: "event", type: found.type, created_at: found.created_at, data: found.data };
  return html`
    <p><a href="#/webhooks">All deliveries</a></p>
    <h1 tabindex="-1">${found.type}</h1>
    <p class="row"><${Status} value=${found.status} /> <span>to <code>${found.url}</code></span></p>
    <p class="row"><code>${found.event_id}</code> <${Copy} label="Copy the event's id" text=${found.event_id} /></p>
    ${found.status === "failed" && outcome && html`<p class="problem">The receiver ${outcome.text}. ${outcome.advice} A replay sends the same event, with the same id.</p>`}
    ${isPending && outcome && !outcome.isReceived && html`<p class="notice">The receiver ${outcome.text}. ${outcome.advice}</p>`}
    <p class="row"><button type="button" class="primary" onClick=${replay}>${isPending ? "Send now" : "Replay"}</button></p>
    <${Problem} error=${problem} />
    <${Problem} error=${delivery.error} />
    <dl class="facts">
      <div><dt>Attempts</dt><dd>${count(found.attempt_count)}</dd></div>
      <div><dt>Next attempt</dt><dd><${Time} at=${found.next_attempt_at} /></dd></div>
      <div><dt>Event of</dt><dd><${Time} at=${found.created_at} /></dd></div>
      <div><dt>Response</dt><dd>${found.response_id ? html`<a href=${`#/responses/${encodeURIComponent(found.response_id)}`}>${found.response_id}</a>` : "none: a test"}</dd></div>
      <div><dt>Endpoint</dt><dd>${found.webhook_endpoint_id ?? "of the request"}</dd></div>
      <div><dt>Tenant</dt><dd>${found.tenant}</dd></div>
    </dl>
    <h2>Attempts</h2>
    ${found.attempts.length === 0 && html`<p class="muted">No attempt has ended yet.</p>`}
    ${found.attempts.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Attempts"><table data-testid="attempts">
      <thead><tr><th scope="col">When</th><th scope="col">Outcome</th><th scope="col" class="number">HTTP status</th><th scope="col">Error</th><th scope="col" class="number">Took</th></tr></thead>
      <tbody>${found.attempts.map((one, index) => html`<tr key=${index}><th scope="row"><${Time} at=${one.at} /></th>
        <td class=${outcomeOf(one).isReceived ? "good long" : "bad long"}>${outcomeOf(one).text}</td><td class="number">${one.status ?? "–"}</td><td>${one.error ? html`<code>${one.error}</code>` : "–"}</td>
        <td class="number">${seconds(one.duration_ms / 1000)}</td></tr>`)}</tbody></table></div>`}
    ${found.attempt_count > found.attempts.length && html`<p class="muted">Earlier attempts are not kept.</p>`}
    <h2>Event</h2>
    <pre tabindex="0" role="region" aria-label="The event">${JSON.stringify(body, null, 2)}</pre>
  `;
}
