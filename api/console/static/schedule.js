// One schedule: when it runs, what it runs, its runs; run now, pause, resume, change, delete.
import { html, useState } from "/console/ui.js";
import { send } from "/console/http.js";
import { Confirm, Copy, Dialog, More, Problem, Status, Time, seconds, useAction, useLoaded, usePages } from "/console/parts.js";
import { OVERLAPS, ScheduleForm } from "/console/schedule_form.js";
import { When, runsOf } from "/console/schedules.js";

const EVERY_MS = 3000;

export function Schedule({ id }) {
  const path = `/v1/schedules/${encodeURIComponent(id)}`;
  const schedule = useLoaded(path, EVERY_MS);
  const runs = usePages(`${path}/runs`, {}, EVERY_MS);
  const [asks, setAsks] = useState(null);
  const [act, problem] = useAction();
  const found = schedule.data;
  if (!found) {
    return html`<p><a href="#/schedules">All schedules</a></p><h1 class="id" tabindex="-1">${id}</h1>
      ${schedule.isLoading ? html`<p class="muted">Loading …</p>` : html`<${Problem} error=${schedule.error} onRetry=${schedule.reload} />`}`;
  }
  const close = () => setAsks(null);
  const reload = () => Promise.all([schedule.reload(), runs.reload()]);
  const post = (what) => () => act(async () => {
    await send(`${path}/${what}`, { method: "POST", body: {} });
    await reload();
  });
  const remove = () => act(async () => {
    await send(path, { method: "DELETE" });
    location.hash = "#/schedules";
  });
  const change = async (body) => {
    await send(path, { method: "POST", body });
    close();
    await reload();
  };
  return html`
    <p><a href="#/schedules">All schedules</a></p>
    <h1 tabindex="-1">${found.name ?? found.id}</h1>
    <p class="row"><${Status} value=${found.status} /> <span><${When} schedule=${found} /></span></p>
    <p class="row"><code>${found.id}</code> <${Copy} label="Copy the id" text=${found.id} /></p>
    ${found.note && html`<p class="notice">${found.note}</p>`}
    <p class="row"><button type="button" class="primary" onClick=${post("trigger")}>Run now</button>
      ${found.status === "paused" ? html`<button type="button" onClick=${post("resume")}>Resume</button>` : found.status === "active" && html`<button type="button" onClick=${post("pause")}>Pause</button>`}
      <button type="button" onClick=${() => setAsks("change")}>Change</button>
      <button type="button" class="danger" onClick=${() => setAsks("delete")}>Delete</button></p>
    <${Problem} error=${problem} />
    <${Problem} error=${schedule.error} />
    <dl class="facts" data-testid="schedule-facts">
      <div><dt>Runs so far</dt><dd>${runsOf(found)}</dd></div>
      <div><dt>If the response before still runs</dt><dd>${OVERLAPS[found.overlap] ?? found.overlap}</dd></div>
      <div><dt>Created</dt><dd><${Time} at=${found.created_at} /></dd></div>
      <div><dt>Changed</dt><dd><${Time} at=${found.updated_at} /></dd></div>
      ${Object.entries(found.metadata ?? {}).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
    <h2>Next runs</h2>
    ${found.next_runs.length > 0
      ? html`<ol data-testid="next-runs">${found.next_runs.map((at) => html`<li key=${at}><${Time} at=${at} /> <span class="muted">in ${seconds(Math.max(0, at - Date.now() / 1000))}</span></li>`)}</ol>`
      : html`<p class="muted">${found.status === "paused" ? "None while it is paused." : "None."}</p>`}
    <h2>Runs</h2>
    <${Problem} error=${runs.error} what="runs" onRetry=${runs.reload} />
    ${!runs.isLoading && !runs.error && runs.rows.length === 0 && html`<p class="muted">It has not run yet, or the records of its runs are over.</p>`}
    ${runs.rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Runs" aria-busy=${runs.isLoading}><table data-testid="runs">
      <thead><tr><th scope="col">Began</th><th scope="col">Result</th><th scope="col">Response</th><th scope="col" class="number">Took</th><th scope="col">Problem</th></tr></thead>
      <tbody>${runs.rows.map((run) => html`<tr key=${run.id}>
        <th scope="row"><${Time} at=${run.started_at} /></th><td><${Status} value=${run.response_status ?? run.status} /></td>
        <td>${run.response_id ? html`<a class="short-id" title=${run.response_id} href=${`#/responses/${encodeURIComponent(run.response_id)}`}>${run.response_id}</a>` : "–"}</td>
        <td class="number">${run.ended_at ? seconds(run.ended_at - run.started_at) : "–"}</td>
        <td class="long">${run.error_code ? html`<code>${run.error_code}</code> ${run.error_message}` : "–"}</td></tr>`)}</tbody></table></div>`}
    <${More} pages=${runs} />
    <h2>Request</h2>
    <pre class="text" tabindex="0" role="region" aria-label="The request">${JSON.stringify(found.request, null, 2)}</pre>
    ${asks === "delete" && html`<${Confirm} question=${`Delete the schedule ${found.name ?? found.id} with the records of its runs? Their responses stay, and go on.`} action="Delete the schedule"
      onConfirm=${remove} onClose=${close} />`}
    ${asks === "change" && html`<${Dialog} label="Change the schedule" onClose=${close}><h2>Change the schedule</h2>
      <${ScheduleForm} schedule=${found} action="Save" save=${change} onCancel=${close} /></${Dialog}>`}
  `;
}
