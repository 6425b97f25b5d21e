// What runs and what does not: Temporal, Redis, workers, providers, waiting work, the configuration.
import { html } from "/console/ui.js";
import { Problem, Time, count, seconds, useLoaded } from "/console/parts.js";
import { Refusals } from "/console/refusals.js";

const EVERY_MS = 3000;

export function Health() {
  const health = useLoaded("/v1/admin/health", EVERY_MS);
  const found = health.data;
  if (!found) {
    return html`<h1 tabindex="-1">Health</h1><${Problem} error=${health.error} what="the health of this server" onRetry=${health.reload} />
      ${health.isLoading && html`<p class="muted">Loading …</p>`}`;
  }
  return html`
    <h1 tabindex="-1">Health</h1>
    <${Problem} error=${health.error} />
    <dl class="facts" data-testid="health">
      <${Part} name="Temporal" part=${found.temporal} />
      <${Part} name="Redis" part=${found.redis} />
      <div><dt>Workers</dt><dd class=${found.workers.length ? "good" : "bad"}>${found.workers.length || "none"}</dd></div>
      <div><dt>Waiting tasks</dt><dd>${count(found.backlog.workflow_tasks + found.backlog.activity_tasks)}</dd></div>
      <div><dt>Longest wait</dt><dd>${seconds(found.backlog.oldest_seconds ?? 0)}</dd></div>
      <div><dt>Configuration loaded</dt><dd><${Time} at=${found.configuration.loaded_at} /></dd></div>
    </dl>
    ${found.configuration.error && html`<p class="problem" role="alert">The configuration file was not reloaded: ${found.configuration.error}</p>`}
    <${Restart} advice=${found.restart} />
    <h2>Workers</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="List of workers"><table>
      <thead><tr><th scope="col">Worker</th><th scope="col" class="number">Running</th><th scope="col" class="number">Last sign of life</th><th scope="col">Version</th></tr></thead>
      <tbody>${found.workers.map((one) => html`<tr key=${one.id}><th scope="row">${one.id}</th><td class="number">${count(one.running)}</td>
        <td class="number">${seconds(one.lease_age_seconds)} ago</td><td>${one.version ?? "–"}</td></tr>`)}</tbody></table></div>
    <h2>Providers</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="List of providers"><table>
      <thead><tr><th scope="col">Provider</th><th scope="col">Adapter</th><th scope="col">Breaker</th><th scope="col">Last error</th></tr></thead>
      <tbody>${found.providers.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}</th><td>${one.adapter}</td>
        <td class=${one.breaker === "closed" ? "good" : "bad"}>${one.breaker.replaceAll("_", " ")}${one.open_until ? html` until <${Time} at=${one.open_until} />` : null}</td><td>${one.last_error ?? "–"}</td></tr>`)}</tbody></table></div>
    <h2>Workers that died</h2>
    <${Takeovers} rows=${found.takeovers} />
    <${Refusals} />
  `;
}

/** Whether a process may be restarted now, first of all in a word. */
function Restart({ advice }) {
  return html`<div class=${advice.is_safe ? "notice" : "problem"} data-testid="restart">
    <p><strong>${advice.is_safe ? "Restarting is safe, one process at a time." : "Do not restart a process now."}</strong></p>
    ${[...advice.reasons, ...advice.notes].map((line) => html`<p key=${line}>${line}</p>`)}
  </div>`;
}

function Takeovers({ rows }) {
  if (rows.length === 0) return html`<p class="muted">No worker died in the last seven days.</p>`;
  return html`<p class="muted">What a dead worker ran went on in another. The timeline of a response shows the attempt that was lost.</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Takeovers"><table data-testid="takeovers">
    <thead><tr><th scope="col">Worker</th><th scope="col">Taken over</th><th scope="col" class="number">After</th><th scope="col">By</th>
      <th scope="col" class="number">Activities</th><th scope="col">Responses</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${`${row.worker} ${row.at}`}><th scope="row">${row.worker}</th><td><${Time} at=${row.at} /></td>
      <td class="number">${row.silence_seconds === null ? "at once" : seconds(row.silence_seconds)}</td><td>${row.by}</td><td class="number">${count(row.activities)}</td>
      <td class="long">${row.responses.length === 0 ? "–" : row.responses.map((id) => html`<a class="short-id" key=${id} title=${id} href=${`#/responses/${encodeURIComponent(id)}`}>${id}</a> `)}</td></tr>`)}</tbody></table></div>`;
}

function Part({ name, part }) {
  return html`<div><dt>${name}</dt><dd class=${part.ok ? "good" : "bad"}>${part.ok ? `answers in ${seconds(part.latency_ms / 1000)}` : part.detail}</dd></div>`;
}
