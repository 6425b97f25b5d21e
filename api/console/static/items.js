// Items of a response, raw events, and the buttons of an approval, as several views show them.
import { html, useEffect, useRef, useState } from "/console/ui.js";
import { textOf } from "/console/answer.js";
import { Problem, count } from "/console/parts.js";
import { AgentLink, Sources, TOOL_TITLES, citationsOf, toolBody } from "/console/tool_items.js";

const SHORT_JSON = 60;
const OUTPUTS = new Set(["function_call_output", "custom_tool_call_output"]);
const TITLES = {
  message: (item) => (item.role === "assistant" ? "Answer" : item.steer_id ? "Message of the user, while it ran" : `Message of the ${item.role}`),
  reasoning: () => "Reasoning",
  function_call: (item) => `Calls ${item.name}`,
  function_call_output: () => "Tool's output",
  custom_tool_call: (item) => `Calls ${item.name}`,
  custom_tool_call_output: () => "Tool's output",
  mcp_call: (item) => `Calls ${item.name} on ${item.server_label}`,
  mcp_list_tools: (item) => `Tools of ${item.server_label}`,
  mcp_approval_request: (item) => `Asks to call ${item.name}`,
  mcp_approval_response: (item) => (item.approve ? "Approved" : "Denied"),
  ...TOOL_TITLES,
};

/** `calls` are the names of the functions by the ids of their calls: an output does not name its own. */
export function itemTitle(item, calls) {
  const name = OUTPUTS.has(item.type) && calls?.get(item.call_id);
  const title = name ? `Output of ${name}` : (TITLES[item.type] ?? (() => item.type.replaceAll("_", " ")))(item);
  return item.caller?.type === "program" ? `${title}, for the program` : title;
}

/** The names of the functions that items call, by the ids of the calls. */
export function callsIn(items) {
  return new Map(items.filter((item) => item.name && item.call_id).map((item) => [item.call_id, item.name]));
}

/** What an item says: its text or arguments, its images, its output, its error. `text` is newer than the item's own while it streams. */
export function ItemText({ item, text = textOf(item) }) {
  const body = toolBody(item, text);
  // A text that streams is not parsed anew with each delta.
  const shown = item.type === "message" || item.status === "in_progress" ? text : readable(text);
  const images = (Array.isArray(item.content) ? item.content : []).filter((part) => part.type === "input_image");
  return html`
    ${body ?? html`<${Text} text=${shown || (item.type === "message" ? "" : bareJson(item))} />`}
    ${images.map((part) => html`<${Image} url=${part.image_url} />`)}
    ${item.type === "mcp_call" && item.output && html`<h3>Output</h3><${Text} text=${readable(item.output)} />`}
    <${Sources} name="Cites" sources=${citationsOf(item)} />
    <${AgentLink} item=${item} />
    ${item.error && html`<p class="problem">${typeof item.error === "string" ? item.error : (item.error.message ?? JSON.stringify(item.error))}</p>`}
  `;
}

/** Long texts scroll, and then the keyboard has to reach them. */
function Text({ text }) {
  if (!text) return null;
  const isLong = text.length > 2000;
  return html`<pre class="text" tabindex=${isLong ? 0 : undefined} role=${isLong ? "region" : undefined} aria-label=${isLong ? "Text" : undefined}>${text}</pre>`;
}

/** Only an image that is part of the request: one at another server would tell that server who looks at it. */
function Image({ url }) {
  if (!url?.startsWith("data:image/")) return html`<p class="muted">Image at ${url ?? "no address"}</p>`;
  return html`<img class="shown-image" src=${url} alt="Image of the request" />`;
}

/** JSON in a string, as models write arguments and tools results, on lines of its own if it is long. */
export function readable(text) {
  if (typeof text !== "string") return JSON.stringify(text, null, 2);
  if (text.length < SHORT_JSON || !/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function bareJson(item) {
  const { id: _id, type: _type, status: _status, call_id: _call, ...rest } = item;
  return Object.values(rest).some((value) => value !== null && value !== "") ? JSON.stringify(rest, null, 2) : "";
}

/** Approve and deny, once. `answer(approve)` sends it; its failure is shown here, beside the call that it is about. */
export function ApprovalButtons({ id, tool, answer }) {
  const [sent, setSent] = useState(null);
  const [problem, setProblem] = useState(null);
  const give = (approve) => async () => {
    setSent(approve);
    setProblem(null);
    try {
      await answer(approve);
    } catch (error) {
      setProblem(error);
      setSent(null);
    }
  };
  if (sent !== null) return html`<p role="status">${sent ? "Approved" : "Denied"}: ${tool}.</p>`;
  return html`<div><p class="row" id=${`approval-${id}`}>
      <button type="button" class="primary" onClick=${give(true)}>Approve<span class="hidden"> ${tool}</span></button>
      <button type="button" class="danger" onClick=${give(false)}>Deny<span class="hidden"> ${tool}</span></button></p>
    <${Problem} error=${problem} /></div>`;
}

const REDRAW_MS = 250;
const SHOWN = 200;

/** The newest events; older ones would make the page heavy. While they come, the list is drawn four times a second. */
export function EventList({ events, dropped = 0, isLive = false }) {
  const newest = useRef(events);
  newest.current = events;
  const [drawn, setDrawn] = useState(events);
  useEffect(() => {
    setDrawn(newest.current);
    if (!isLive) return undefined;
    const timer = setInterval(() => setDrawn(newest.current), REDRAW_MS);
    return () => clearInterval(timer);
  }, [isLive, isLive ? null : events]);
  const list = useRef(null);
  useEffect(() => {
    if (isLive) list.current.scrollTop = list.current.scrollHeight;
  }, [drawn, isLive]);
  const shown = drawn.slice(-SHOWN);
  const earlier = dropped + drawn.length - shown.length;
  return html`<div class="events" ref=${list} tabindex="0" role="region" aria-label="Raw events" data-testid="raw-events">
    ${earlier > 0 && html`<p class="muted">${count(earlier)} earlier events are not shown.</p>`}
    ${shown.map((event) => html`<${EventRow} event=${event} key=${event.sequence_number} />`)}
  </div>`;
}

function EventRow({ event }) {
  const [isOpen, setIsOpen] = useState(false);
  return html`<details onToggle=${(toggled) => setIsOpen(toggled.target.open)}><summary><span class="number">${event.sequence_number}</span> ${event.type}
    ${typeof event.delta === "string" ? html` <span class="muted">${event.delta.slice(0, 60)}</span>` : null}</summary>
    ${isOpen && html`<pre>${JSON.stringify(event, null, 2)}</pre>`}</details>`;
}
