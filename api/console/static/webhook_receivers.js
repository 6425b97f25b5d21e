// Who receives events and who fails, as far as the newest deliveries say.
import { html } from "/console/ui.js";
import { Status, Time } from "/console/parts.js";
import { outcomeOf } from "/console/webhook_outcomes.js";

/** By tenant and address: the newest delivery that was tried, and how many of them ended without being received or wait for another attempt. */
export function receiversOf(rows) {
  const found = new Map();
  for (const row of rows.filter((one) => one.attempts.length > 0)) {
    const key = keyOf(row.tenant, row.url);
    const known = found.get(key) ?? { url: row.url, newest: row, failed: 0, waiting: 0 };
    known.failed += row.status === "failed" ? 1 : 0;
    known.waiting += row.status === "pending" ? 1 : 0;
    found.set(key, known);
  }
  return found;
}

/** The name of a receiver in what `receiversOf` returns. */
export const keyOf = (tenant, url) => `${tenant} ${url}`;

export function Failing({ receivers }) {
  const failing = [...receivers.values()].map((one) => [one, outcomeOf(one.newest.attempts.at(-1))])
    .filter(([, outcome]) => !outcome.isReceived && !outcome.isWithdrawn).map(([one]) => one);
  if (failing.length === 0) return null;
  return html`<div class="problem" data-testid="failing"><p><strong>These receivers fail.</strong> Their newest event was not received.</p>
    <ul>${failing.map((one) => html`<li key=${one.newest.id}><${Receiver} receiver=${one} /></li>`)}</ul></div>`;
}

function Receiver({ receiver }) {
  const { newest, failed, waiting } = receiver;
  const last = newest.attempts.at(-1);
  const counts = [[failed, "given up"], [waiting, "tried again"]].filter(([number]) => number > 0).map(([number, word]) => `${number} ${word}`);
  return html`<code>${receiver.url}</code> of ${newest.tenant}: ${outcomeOf(last).text}, <${Time} at=${last.at} />. ${counts.length > 0 && `${counts.join(", ")}. `}<a href=${`#/webhooks/${encodeURIComponent(newest.id)}`}>The newest delivery</a>`;
}

/** Whether a receiver receives, in a word, for the table of endpoints. */
export function ReceiverState({ receiver }) {
  if (!receiver) return html`<span class="muted">not used lately</span>`;
  const last = receiver.newest.attempts.at(-1);
  return html`<${Status} value=${receiver.newest.status} /> <span class="muted">${outcomeOf(last).text}, <${Time} at=${last.at} /></span>`;
}
