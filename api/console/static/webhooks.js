// Webhooks: the endpoints of the key, the receivers that fail, and the log of deliveries.
import { html } from "/console/ui.js";
import { Problem, useLoaded } from "/console/parts.js";
import { Deliveries } from "/console/webhook_deliveries.js";
import { Endpoints } from "/console/webhook_endpoints.js";
import { Failing, receiversOf } from "/console/webhook_receivers.js";

const EVERY_MS = 10_000;
/** How far the newest deliveries say who receives and who fails. */
const LOOKED_AT = 100;

export function Webhooks({ query }) {
  const tenant = query.get("tenant");
  const newest = useLoaded(`/v1/webhook_deliveries?limit=${LOOKED_AT}${tenant ? `&tenant=${encodeURIComponent(tenant)}` : ""}`, EVERY_MS);
  const receivers = receiversOf(newest.data?.data ?? []);
  return html`
    <h1 tabindex="-1">Webhooks</h1>
    <p>The server sends an event when a response ends or waits for a person, signs it, and tries for a day. A receiver drops an event whose <code>webhook-id</code> it has seen.</p>
    <${Problem} error=${newest.error} what="deliveries of webhooks" onRetry=${newest.reload} />
    <${Failing} receivers=${receivers} />
    <${Endpoints} receivers=${receivers} onSent=${newest.reload} />
    <${Deliveries} query=${query} onSent=${newest.reload} />
  `;
}
