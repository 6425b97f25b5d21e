// Turns, attempts and tools of one response as bars on one scale of time. The same facts are beside each bar as text.
import { html } from "/console/ui.js";
import { Status, count, money, seconds } from "/console/parts.js";

export function Timeline({ entries }) {
  if (entries.length === 0) return html`<p class="muted">Nothing has run yet.</p>`;
  const now = Date.now() / 1000;
  const begin = Math.min(...entries.map((entry) => entry.started_at));
  const end = Math.max(...entries.map((entry) => entry.ended_at ?? now), begin + 0.001);
  const percent = (span) => `${Math.max(0, Math.min(100, (span / (end - begin)) * 100))}%`;
  return html`<ol class="timeline" data-testid="timeline">
    ${entries.map((entry, index) => {
      const until = entry.ended_at ?? Math.max(now, entry.started_at);
      return html`<li key=${index}>
        <span class="timeline-name">${entry.name}${entry.attempt > 1 ? `, attempt ${entry.attempt}` : ""}</span>
        <span class="lane-track" aria-hidden="true"><span class=${`bar bar-${entry.kind} bar-${entry.status}`}
          style=${{ left: percent(entry.started_at - begin), width: percent(until - entry.started_at) }}></span></span>
        <span class="timeline-note"><${Status} value=${entry.status} /> ${seconds(until - entry.started_at)}${notesOf(entry)}
          ${entry.detail ? html`<br /><span class="muted">${entry.detail}</span>` : null}</span>
      </li>`;
    })}
  </ol>`;
}

function notesOf(entry) {
  const tokens = entry.tokens?.total_tokens ?? entry.tokens;
  const cost = entry.cost_usd === null || entry.cost_usd === undefined ? "" : `, ${money(entry.cost_usd)}`;
  return `${tokens > 0 ? `, ${count(tokens)} tokens` : ""}${cost}`;
}
