// Folds the events of a stream into what the playground shows: items in their order, with text and timing.

/** The view of an answer before its first event. `latest` is the time of the newest one. */
export const EMPTY = { id: null, status: null, items: [], attempts: [], usage: null, error: null, incomplete: null, latest: 0 };

const RUNNING = new Set(["queued", "in_progress"]);

/** The view after one more event. Pure; `at` is the time in milliseconds since the request. */
export function fold(answer, event, at) {
  return { ...changed(answer, event, at), latest: at };
}

function changed(answer, event, at) {
  const response = event.response;
  switch (event.type) {
    case "response.created":
    case "response.queued":
    case "response.in_progress":
      return { ...answer, id: response.id, status: response.status };
    case "response.completed":
    case "response.incomplete":
    case "response.failed":
      return {
        ...answer,
        id: response.id,
        status: response.status,
        usage: response.usage,
        error: response.error,
        incomplete: response.incomplete_details?.reason ?? null,
        items: answer.items.map((item) => (item.endedAt === null ? { ...item, endedAt: at } : item)),
      };
    case "error":
      return { ...answer, status: "failed", error: event.error ?? event };
    case "open_responses:attempt":
      return { ...answer, attempts: [...answer.attempts, { ...event, at }] };
    case "response.output_item.added":
      return withItem(answer, event.output_index, () => ({
        item: event.item,
        text: textOf(event.item),
        progress: [],
        deltas: 0,
        startedAt: at,
        endedAt: null,
      }));
    case "response.output_item.done":
      return withItem(answer, event.output_index, (shown) => ({
        ...(shown ?? { progress: [], deltas: 0, startedAt: at }),
        item: event.item,
        text: textOf(event.item) || (shown?.text ?? ""),
        endedAt: at,
      }));
    case "open_responses:tool_progress":
      return withItem(answer, event.output_index, (shown) =>
        shown && { ...shown, progress: [...shown.progress, event.message] },
      );
    default:
      if (event.type.endsWith(".delta") && typeof event.delta === "string") {
        return withItem(answer, event.output_index, (shown) =>
          shown && { ...shown, text: shown.text + event.delta, deltas: shown.deltas + 1 },
        );
      }
      return answer;
  }
}

function withItem(answer, index, change) {
  const item = change(answer.items[index]);
  if (!item) return answer;
  const items = answer.items.slice();
  items[index] = item;
  return { ...answer, items };
}

/** The text of an item: a message's parts, a reasoning item's summary or text, a call's arguments or input, an output. */
export function textOf(item) {
  const parts = [...(Array.isArray(item.content) ? item.content : []), ...(item.summary ?? [])];
  const text = typeof item.content === "string" ? item.content : parts.map(textOfPart).join("");
  if (text) return text;
  if (typeof item.arguments === "string") return item.arguments;
  if (typeof item.input === "string") return item.input;
  if (typeof item.input === "string") return item.input;
  if (typeof item.output === "string") return item.output;
  return item.output === undefined || item.output === null ? "" : JSON.stringify(item.output, null, 2);
}

function textOfPart(part) {
  if (part.type === "input_file") return `[file ${part.filename ?? part.file_url ?? ""}]\n`;
  return part.text ?? part.refusal ?? "";
}

/** The lane that an item belongs to: `text`, `reasoning` or `tools`. */
export function laneOf(item) {
  if (item.type === "message") return "text";
  return item.type === "reasoning" ? "reasoning" : "tools";
}

/** The approval requests that nobody has answered, as far as the items say. */
export function openApprovals(items) {
  const answered = new Set(items.map((item) => item.approval_request_id).filter(Boolean));
  return items.filter((item) => item.type === "mcp_approval_request" && !answered.has(item.id));
}

export const isRunningStatus = (status) => RUNNING.has(status);
