// The tenant's schedules: when each runs next, how its last run went, and a new one.
import { html } from "/console/ui.js";
import { cronInWords } from "/console/cron_words.js";
import { json } from "/console/http.js";
import { More, Problem, Status, Time, counted, useLoaded, usePages } from "/console/parts.js";
import { ScheduleForm } from "/console/schedule_form.js";

const EVERY_MS = 5000;
const RUN_MS = 3000;

export function Schedules() {
  const pages = usePages("/v1/schedules", {}, EVERY_MS);
  const create = async (body) => {
    const made = await json("/v1/schedules", { method: "POST", body });
    location.hash = `#/schedules/${encodeURIComponent(made.id)}`;
  };
  return html`
    <h1 tabindex="-1">Schedules</h1>
    <p>A schedule runs a request at a time, or again and again. Each run is a response like any other, with the limits and the budget that its API key has then.</p>
    <details><summary>Create a schedule</summary><${ScheduleForm} action="Create the schedule" save=${create} /></details>
    <${Problem} error=${pages.error} what="schedules" onRetry=${pages.reload} />
    ${!pages.isLoading && !pages.error && pages.rows.length === 0 && html`<p class="muted">There are no schedules yet. Create one above, or with POST /v1/schedules.</p>`}
    ${pages.rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="List of schedules" aria-busy=${pages.isLoading}>
      <table data-testid="schedules">
        <thead><tr><th scope="col">Schedule</th><th scope="col">Status</th><th scope="col">When</th><th scope="col">Next run</th><th scope="col">Last run</th><th scope="col">Model</th><th scope="col">Runs</th></tr></thead>
        <tbody>${pages.rows.map((row) => html`<tr key=${row.id}>
          <th scope="row" class="name"><a href=${`#/schedules/${encodeURIComponent(row.id)}`}>${row.name ?? row.id}</a></th>
          <td class="long"><${Status} value=${row.status} />${row.note && html` <span class="muted">${row.note}</span>`}</td>
          <td class="long"><${When} schedule=${row} /></td>
          <td>${row.next_runs.length > 0 ? html`<${Time} at=${row.next_runs[0]} />` : html`<span class="muted">none</span>`}</td>
          <td><${LastRun} schedule=${row} key=${row.run_count} /></td>
          <td>${row.request?.model ?? "–"}</td>
          <td>${runsOf(row)}</td></tr>`)}</tbody>
      </table></div>`}
    <${More} pages=${pages} />
  `;
}

/** The times of a schedule in words, with the expression that they stand for. */
export function When({ schedule }) {
  if (schedule.cron === null) return html`once, at <${Time} at=${schedule.at} />`;
  const words = cronInWords(schedule.cron);
  return html`${words}${words !== schedule.cron && html` <code>${schedule.cron}</code>`} <span class="muted">${schedule.timezone}</span>`;
}

/** Loaded once for each count of runs, and again while that run goes on. */
function LastRun({ schedule }) {
  const path = schedule.run_count > 0 ? `/v1/schedules/${encodeURIComponent(schedule.id)}/runs?limit=1` : null;
  const runs = useLoaded(path, schedule.status === "active" ? RUN_MS * 5 : null);
  const last = runs.data?.data[0];
  if (!path) return html`<span class="muted">never</span>`;
  if (!last) return html`<span class="muted">${runs.error ? runs.error.message : runs.data ? "its records are gone" : "…"}</span>`;
  return html`<${RunResult} run=${last} /> <${Time} at=${last.started_at} />`;
}

/** What became of a run, as a link to its response where it has one. */
export function RunResult({ run }) {
  const status = html`<${Status} value=${run.response_status ?? run.status} />`;
  if (!run.response_id) return html`${status}${run.error_code && html` <code>${run.error_code}</code>`}`;
  return html`<a href=${`#/responses/${encodeURIComponent(run.response_id)}`}>${status}<span class="hidden"> response of the run</span></a>`;
}

export function runsOf(row) {
  const more = [[row.skipped_count, "skipped"], [row.missed_count, "missed"]].filter(([number]) => number > 0);
  return [counted(row.run_count, "run"), ...more.map(([number, word]) => `${number} ${word}`)].join(", ");
}
