// The playground: a request by form, its answer as it streams, and the figures of the stream.
import { html, useEffect, useMemo, useRef, useState } from "/console/ui.js";
import { laneOf, openApprovals } from "/console/answer.js";
import { conversation, useConversation } from "/console/conversation.js";
import { filesAsParts } from "/console/attachments.js";
import { ApprovalButtons, EventList, ItemText, callsIn, itemTitle } from "/console/items.js";
import { Lanes } from "/console/lanes.js";
import { Copy, Problem, Status, count, money, seconds, useLoaded } from "/console/parts.js";
import { PlaygroundTools, includeOf, toolsOf } from "/console/playground_tools.js";
import { curl, python, typescript } from "/console/snippets.js";
import { SteerBox } from "/console/steer.js";

const DRAFT = "open_responses.draft";
const NEW_DRAFT = {
  model: "", instructions: "", input: "Tell me a story about a river.", maxOutputTokens: "", background: true,
  tools: [], mcp: [], mcpAsks: true, builtIn: [], stores: [],
};

export function Playground({ info }) {
  const models = useLoaded("/v1/models");
  const offers = useLoaded("/console/offers");
  const [draft, setDraft] = useState(readDraft);
  const [files, setFiles] = useState([]);
  const talk = useConversation();
  const input = useRef(null);
  const isRunning = talk.isRunning;

  useEffect(() => writeDraft(draft), [draft]);
  useEffect(() => {
    const id = models.data?.data[0]?.id;
    if (id && !draft.model) setDraft((before) => ({ ...before, model: id }));
  }, [models.data]);
  useEffect(() => {
    talk.goOn();
  }, []);

  const body = useMemo(() => requestBody(draft, files, talk.previous), [draft, files, talk.previous]);
  const submit = (event) => {
    event.preventDefault();
    if (isRunning || !draft.model) return;
    talk.ask(body, draft.input);
    setFiles([]);
  };
  const take = (list) => talk.attempt(async () => {
    const added = await filesAsParts([...list], files);
    setFiles((before) => [...before, ...added]);
  });
  const begin = () => {
    talk.begin();
    input.current.focus();
  };
  // A streaming answer draws the view sixty times a second: what it does not change is not drawn again.
  const form = useMemo(
    () => html`<${RequestForm} ...${{ draft, setDraft, files, setFiles, take, submit, begin, input, isRunning, models, offers, body, info }} />`,
    [draft, files, isRunning, models.data, offers.data, body],
  );
  const drawn = useRef(new WeakMap());
  const canKill = info.can_kill_workers && offers.data?.is_admin;
  const draw = (turn, isLast) => html`<${Turn} turn=${turn} key=${turn.key} isLast=${isLast} canKill=${canKill} draft=${draft} />`;
  const drawEarlier = (turn) => {
    if (!drawn.current.has(turn)) drawn.current.set(turn, draw(turn, false));
    return drawn.current.get(turn);
  };

  return html`
    <h1 tabindex="-1">Playground</h1>
    <div class="split">
      ${form}
      <div class="answers">
        <${Problem} error=${talk.problem} />
        <${Problem} error=${models.error} what="the models" onRetry=${models.reload} />
        <${Announcer} turn=${talk.turns.at(-1)} />
        ${talk.turns.map((turn, index) => (index === talk.turns.length - 1 ? draw(turn, true) : drawEarlier(turn)))}
        ${talk.turns.length === 0 && html`<div class="empty"><p>The answer appears here, in lanes for its text, its reasoning and its tools.</p>
          <p>While it streams you can drop your connection${info.can_kill_workers ? ", or kill the worker that runs it" : ""}: the
          answer goes on without a gap or a repeat. You can also reload this page.</p></div>`}
      </div>
    </div>
  `;
}

function RequestForm({ draft, setDraft, files, setFiles, take, submit, begin, input, isRunning, models, offers, body, info }) {
  const [isOver, setIsOver] = useState(false);
  const change = (name) => (event) =>
    setDraft({ ...draft, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const drop = (event) => {
    event.preventDefault();
    setIsOver(false);
    take(event.dataTransfer.files);
  };
  return html`<form class=${isOver ? "panel is-over" : "panel"} onSubmit=${submit} onDrop=${drop} onDragLeave=${() => setIsOver(false)}
      onDragOver=${(event) => {
        event.preventDefault();
        setIsOver(true);
      }}>
    <label for="model">Model</label>
    <input id="model" list="models" value=${draft.model} onInput=${change("model")} required autocomplete="off" />
    <datalist id="models">${models.data?.data.map((model) => html`<option value=${model.id}></option>`)}</datalist>
    <label for="instructions">Instructions</label>
    <textarea id="instructions" rows="2" value=${draft.instructions} onInput=${change("instructions")}></textarea>
    <label for="input">Input</label>
    <textarea id="input" ref=${input} rows="5" value=${draft.input} onInput=${change("input")} required aria-describedby="input-note"
      onPaste=${(event) => event.clipboardData.files.length > 0 && take(event.clipboardData.files)}
      onKeyDown=${(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          event.target.form.requestSubmit();
        }
      }}></textarea>
    <p class="muted note" id="input-note">Ctrl+Enter sends.</p>
    <label for="files">Files and images (choose, paste, or drop them here)</label>
    <input id="files" type="file" multiple onChange=${(event) => {
      take([...event.target.files]);
      event.target.value = "";
    }} />
    ${files.length > 0 && html`<ul class="files">${files.map((file, index) => html`<li key=${file.name}>
      ${file.preview && html`<img src=${file.preview} alt="" class="thumb" />`} ${file.name}
      <button type="button" class="quiet" onClick=${() => setFiles(files.filter((_, at) => at !== index))}>Remove<span class="hidden"> ${file.name}</span></button></li>`)}</ul>`}
    <${PlaygroundTools} offers=${offers.data} draft=${draft} setDraft=${setDraft} change=${change} />
    <label for="limit">Most output tokens</label>
    <input id="limit" type="number" min="16" value=${draft.maxOutputTokens} onInput=${change("maxOutputTokens")} placeholder="no bound" />
    <label class="check"><input type="checkbox" checked=${draft.background} onChange=${change("background")} />
      <span>Run in the background: it goes on without a reader, and waits for approvals</span></label>
    ${conversation.previous && html`<p class="notice">Continues <a href=${`#/responses/${conversation.previous}`}>${conversation.previous}</a>
      <button type="button" class="quiet" onClick=${begin}>Begin anew</button></p>`}
    <div class="row"><button class="primary" disabled=${isRunning || !draft.model}>Send</button>
      ${isRunning && html`<button type="button" class="danger" onClick=${() => conversation.cancel()}>Stop</button>`}</div>
    <${Snippets} body=${body} needsKey=${info.needs_key} />
  </form>`;
}

/** Says to a screen reader that an answer begins, waits or ends. The text itself is not a live region: it would be read word by word. */
function Announcer({ turn }) {
  let said = "";
  if (turn) {
    const waiting = openApprovals(turn.answer.items.filter(Boolean).map((shown) => shown.item)).at(-1);
    if (turn.isRunning && waiting) said = `${waiting.name} waits for your approval.`;
    else if (turn.isRunning) said = turn.answer.items.length ? "The answer streams." : "The request was sent.";
    else if (turn.answer.status) said = `The answer is ${turn.answer.status.replaceAll("_", " ")}.`;
  }
  return html`<p class="hidden" role="status">${said}</p>`;
}

function Turn({ turn, isLast, canKill, draft }) {
  const [showsEvents, setShowsEvents] = useState(false);
  const { answer, figures, events } = turn;
  const shown = answer.items.filter(Boolean);
  const calls = callsIn(shown.map((one) => one.item));
  const waiting = isLast ? openApprovals(shown.map((one) => one.item)) : [];
  return html`<article class="turn" aria-busy=${turn.isRunning} aria-label=${`Turn ${turn.key + 1}`}>
    ${turn.input && html`<p class="asked">${turn.input}</p>`}
    <p class="row">${answer.status && html`<${Status} value=${answer.status} />`}
      ${answer.id && html`<a href=${`#/responses/${answer.id}`}>${answer.id}</a>`}
      ${turn.isResumed && html`<span class="muted">followed again from its first event</span>`}</p>
    ${turn.isRunning && isLast && html`<div class="row" role="group" aria-label="Break it">
      <button type="button" onClick=${() => conversation.dropConnection()}>Drop my connection</button>
      ${canKill && html`<button type="button" class="danger" onClick=${() => conversation.killWorkers()}>Kill the worker</button>`}
    </div>`}
    ${figures && html`<${Figures} turn=${turn} />`}
    ${answer.error && html`<p class="problem"><code>${answer.error.code}</code> ${answer.error.message}</p>`}
    ${answer.incomplete && html`<p class="notice">Incomplete: <code>${answer.incomplete}</code></p>`}
    ${answer.attempts.map((one) => html`<p class="notice" key=${one.sequence_number}>Attempt ${one.attempt} of turn ${one.turn} at ${one.provider}: ${one.action}${one.reason ? ` (${one.reason})` : ""}</p>`)}
    ${shown.length > 0 && html`<${Lanes} answer=${answer} isRunning=${turn.isRunning} />`}
    <div class=${showsEvents ? "beside" : ""}>
      <div>
        ${shown.map((one) => html`<section class=${`item item-${laneOf(one.item)} ${one.item.steer_id ? "item-steered" : ""}`} key=${one.item.id}>
          <h2 class="item-title">${itemTitle(one.item, calls)} <span class="muted">${one.endedAt === null ? "…" : seconds((one.endedAt - one.startedAt) / 1000)}</span></h2>
          ${one.progress.map((message) => html`<p class="muted">${message}</p>`)}
          <${ItemText} item=${one.item} text=${one.text} />
          ${waiting.includes(one.item) && html`<${ApprovalButtons} id=${one.item.id} tool=${one.item.name}
            answer=${(approve) => decide(turn, one.item, approve, draft)} />`}
        </section>`)}
      </div>
      ${showsEvents && html`<${EventList} events=${events} dropped=${turn.dropped} isLive=${turn.isRunning} />`}
    </div>
    ${turn.isRunning && isLast && answer.id && html`<${SteerBox} id=${answer.id} output=${shown.map((one) => one.item)} />`}
    <p><button type="button" class="quiet" aria-expanded=${showsEvents} onClick=${() => setShowsEvents(!showsEvents)}>${showsEvents ? "Hide" : "Show"} the raw events</button></p>
  </article>`;
}

function decide(turn, item, approve, draft) {
  const request = requestBody({ ...draft, input: "" }, [], turn.answer.id);
  return conversation.approve(turn, { approval_request_id: item.id, approve }, request);
}

function Figures({ turn }) {
  const { answer, figures } = turn;
  const zero = (value) => (value ? "bad" : "good");
  return html`<dl class="facts" data-testid="figures">
    ${!turn.isResumed && html`<div><dt>First token</dt><dd>${figures.firstToken === null ? "–" : seconds(figures.firstToken / 1000)}</dd></div>`}
    <div><dt>Longest pause</dt><dd>${seconds(figures.longestPause / 1000)}</dd></div>
    ${figures.pauseAfterBreak !== null && html`<div><dt>Pause after the break</dt><dd data-testid="pause">${seconds(figures.pauseAfterBreak / 1000)}</dd></div>`}
    <div><dt>Events</dt><dd data-testid="events">${count(figures.events)}</dd></div>
    <div><dt>Gaps</dt><dd class=${zero(figures.gaps)} data-testid="gaps">${figures.gaps}</dd></div>
    <div><dt>Repeats</dt><dd class=${zero(figures.repeats)} data-testid="repeats">${figures.repeats}</dd></div>
    <div><dt>Connections</dt><dd data-testid="connections">${figures.connections}</dd></div>
    ${turn.kills > 0 && html`<div><dt>Workers killed</dt><dd data-testid="kills">${turn.kills}</dd></div>`}
    <div><dt>Tokens</dt><dd>${answer.usage ? `${count(answer.usage.input_tokens)} in, ${count(answer.usage.output_tokens)} out` : "–"}</dd></div>
    ${answer.usage?.cost_usd !== undefined && html`<div><dt>Cost</dt><dd>${money(answer.usage.cost_usd)}</dd></div>`}
  </dl>`;
}

function Snippets({ body, needsKey }) {
  const from = (write) => () => write(body, location.origin, needsKey);
  return html`<p class="row"><span class="muted">Copy as</span>
    <${Copy} label="curl" text=${from(curl)} /><${Copy} label="Python" text=${from(python)} /><${Copy} label="TypeScript" text=${from(typescript)} /></p>`;
}

function requestBody(draft, files, previous) {
  const tools = toolsOf(draft);
  const include = includeOf(draft);
  const content = [{ type: "input_text", text: draft.input }, ...files.map((file) => file.part)];
  return {
    model: draft.model,
    ...(draft.instructions && { instructions: draft.instructions }),
    input: files.length ? [{ type: "message", role: "user", content }] : draft.input,
    ...(tools.length && { tools }),
    ...(include.length && { include }),
    ...(draft.maxOutputTokens && { max_output_tokens: Number(draft.maxOutputTokens) }),
    ...(draft.background && { background: true }),
    ...(previous && { previous_response_id: previous }),
  };
}

function readDraft() {
  try {
    return { ...NEW_DRAFT, ...JSON.parse(sessionStorage.getItem(DRAFT) ?? "{}") };
  } catch {
    return NEW_DRAFT;
  }
}

function writeDraft(draft) {
  try {
    sessionStorage.setItem(DRAFT, JSON.stringify(draft));
  } catch {
    // Longer than what a tab may keep: the draft lasts until the page is reloaded.
  }
}
