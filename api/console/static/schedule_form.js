// The form of a schedule, new or changed.
import { html, useState } from "/console/ui.js";
import { cronInWords } from "/console/cron_words.js";
import { ApiError } from "/console/http.js";
import { Form, useLoaded } from "/console/parts.js";

export const OVERLAPS = {
  skip: "skip the new run",
  queue: "start it when the response before has ended",
  parallel: "run both",
  cancel: "cancel the response before",
};
const EXAMPLES = ["30 9 * * mon-fri", "0 * * * *", "*/15 9-17 * * *", "0 0 1 * *", "@daily", "@weekly"];

/** `save(body)` sends it. A schedule that is changed keeps its request, unless another is written. */
export function ScheduleForm({ schedule = null, action, save, onCancel }) {
  const models = useLoaded(schedule ? null : "/v1/models").data?.data ?? [];
  const [kind, setKind] = useState(schedule?.at ? "at" : "cron");
  const [cron, setCron] = useState(schedule?.cron ?? "30 9 * * mon-fri");
  const words = cronInWords(cron);
  const send = (fields) => save(bodyOf(fields, kind, schedule));
  return html`<${Form} action=${action} save=${send} onCancel=${onCancel} label=${action}>
    <label>Name <input name="name" maxlength="128" autocomplete="off" required defaultValue=${schedule?.name ?? ""} /></label>
    <fieldset><legend>When</legend>
      <label class="check"><input type="radio" name="kind" checked=${kind === "cron"} onChange=${() => setKind("cron")} /><span>again and again, by a cron expression</span></label>
      <label class="check"><input type="radio" name="kind" checked=${kind === "at"} onChange=${() => setKind("at")} /><span>once, at a time</span></label>
      ${kind === "cron"
        ? html`<label>Cron expression <input name="cron" list="crons" required autocomplete="off" value=${cron} onInput=${(event) => setCron(event.target.value)} aria-describedby="cron-words" /></label>
          <datalist id="crons">${EXAMPLES.map((one) => html`<option value=${one}>${cronInWords(one)}</option>`)}</datalist>
          <p class="muted note" id="cron-words" role="status">${words === cron ? "Minute, hour, day of the month, month, day of the week." : words}</p>
          <label>Time zone <input name="timezone" list="zones" required autocomplete="off" defaultValue=${schedule?.timezone ?? ownZone()} /></label>
          <datalist id="zones">${zones().map((zone) => html`<option value=${zone}></option>`)}</datalist>`
        : html`<label>Time, in your time zone <input name="at" type="datetime-local" required defaultValue=${localTime(schedule?.at)} /></label>`}
      <label>If the response before still runs <select name="overlap">${Object.entries(OVERLAPS).map(([value, label]) =>
        html`<option value=${value} selected=${value === (schedule?.overlap ?? "skip")}>${label}</option>`)}</select></label>
    </fieldset>
    ${!schedule && html`<fieldset><legend>Request</legend>
      <label>Model <input name="model" list="schedule-models" required autocomplete="off" /></label>
      <datalist id="schedule-models">${models.map((model) => html`<option value=${model.id}></option>`)}</datalist>
      <label>Input <textarea name="input" rows="3" required></textarea></label>
      <label>Further members, as JSON <textarea name="members" rows="2" placeholder='{"instructions": "Be brief.", "tools": [{"type": "web_search"}]}'></textarea></label>
    </fieldset>
    <label class="check"><input type="checkbox" name="paused" /><span>paused: nothing runs until you resume it</span></label>`}
    ${schedule && html`<label>Another request, as JSON (empty: the present one stays) <textarea name="request" rows="4" placeholder='{"model": "…", "input": "…"}'></textarea></label>`}
  </${Form}>`;
}

function bodyOf(fields, kind, schedule) {
  const time = kind === "cron" ? { cron: fields.cron.trim(), timezone: fields.timezone.trim() } : { at: Math.floor(Date.parse(fields.at) / 1000) };
  const body = { name: fields.name, overlap: fields.overlap, ...(schedule && isSame(time, schedule) ? {} : time) };
  if (schedule) return fields.request.trim() ? { ...body, request: parsed(fields.request, "The request") } : body;
  const members = fields.members.trim() ? parsed(fields.members, "What is in 'Further members'") : {};
  return { ...body, request: { model: fields.model, input: fields.input, ...members }, ...(fields.paused && { paused: true }) };
}

/** A time that has passed cannot be sent again: it is left out unless it was changed. */
const isSame = (time, schedule) => time.at !== undefined && time.at === Math.floor(schedule.at / 60) * 60;

function parsed(text, what) {
  try {
    const value = JSON.parse(text);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  } catch {
    // The same is to be said of both.
  }
  throw new ApiError(0, { message: `${what} must be an object in JSON, such as {"instructions": "Be brief."}.` });
}

const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

const zones = () => ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])];

/** Seconds since the epoch as the value of a datetime-local input. */
function localTime(at) {
  if (!at) return "";
  const date = new Date(at * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
