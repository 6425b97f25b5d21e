// The items of an answer on one scale of time, in three lanes: text, reasoning, tools.
import { html } from "/console/ui.js";
import { laneOf } from "/console/answer.js";
import { itemTitle } from "/console/items.js";
import { count, seconds } from "/console/parts.js";

const LANES = [
  ["text", "Text"],
  ["reasoning", "Reasoning"],
  ["tools", "Tools"],
];

export function Lanes({ answer, isRunning }) {
  const items = answer.items.filter(Boolean);
  const now = Math.max(...items.map((one) => one.endedAt ?? one.startedAt), ...(isRunning ? [answer.latest ?? 0] : []));
  const begin = Math.min(...items.map((one) => one.startedAt));
  const span = Math.max(now - begin, 1);
  return html`<dl class="lanes" data-testid="lanes">
    ${LANES.map(([lane, label]) => {
      const own = items.filter((one) => laneOf(one.item) === lane);
      if (own.length === 0) return null;
      const busy = own.reduce((sum, one) => sum + (one.endedAt ?? now) - one.startedAt, 0);
      return html`<div key=${lane}><dt>${label}</dt>
        <dd class="lane-track" aria-hidden="true">${own.map((one) => html`<span key=${one.item.id} class=${`bar bar-${lane}`} title=${itemTitle(one.item)}
          style=${{ left: `${((one.startedAt - begin) / span) * 100}%`, width: `${(((one.endedAt ?? now) - one.startedAt) / span) * 100}%` }}></span>`)}</dd>
        <dd class="lane-note">${own.length === 1 ? "1 item" : `${own.length} items`}, ${seconds(busy / 1000)}${tokensOf(lane, own, answer.usage)}</dd></div>`;
    })}
  </dl>`;
}

/** The provider counts reasoning apart, and all else that the model wrote together: its text and the arguments of calls. */
function tokensOf(lane, own, usage) {
  const deltas = own.reduce((sum, one) => sum + one.deltas, 0);
  if (!usage) return deltas ? `, ${count(deltas)} deltas` : "";
  const reasoning = usage.output_tokens_details?.reasoning_tokens ?? 0;
  if (lane === "reasoning") return `, ${count(reasoning)} tokens`;
  return lane === "text" ? `, ${count(usage.output_tokens - reasoning)} tokens` : "";
}
