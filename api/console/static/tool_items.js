// Calls of built-in tools and programs, as people read them: the query and its sources, code and what it printed.
import { html } from "/console/ui.js";
import { ContainerFiles } from "/console/container_files.js";
import { ExternalLink, ResponseLink } from "/console/links.js";
import { Passage } from "/console/store_search.js";

const BODIES = {
  web_search_call: WebSearch,
  file_search_call: FileSearch,
  code_interpreter_call: Code,
  program: ({ item, text }) => html`<${CodeText} text=${item.code ?? text} name="Program" />`,
  program_output: ({ item }) => html`<${CodeText} text=${item.result || "It printed nothing."} name="Output of the program" />`,
  "open_responses:refused_call": ({ item }) => html`<p class="problem">Not run: ${item.reason}</p>
    <${CodeText} text=${item.arguments} name="Arguments" />`,
};

export const TOOL_TITLES = {
  web_search_call: ({ action }) => ({ open_page: "Opens a page", find_in_page: "Looks for words in a page" })[action?.type] ?? "Searches the web",
  file_search_call: () => "Searches files",
  code_interpreter_call: () => "Runs Python",
  program: () => "Runs a program that calls tools",
  program_output: () => "Output of the program",
  "open_responses:refused_call": ({ name }) => `A call of ${name} that was not run`,
};

/** What the item of a tool says. Null for an item of another type. `text` is newer than the item's own while it streams. */
export function toolBody(item, text) {
  const Body = BODIES[item.type];
  return Body ? html`<${Body} item=${item} text=${text} />` : null;
}

function WebSearch({ item }) {
  const action = item.action ?? {};
  const queries = action.queries?.length ? action.queries : [action.query].filter(Boolean);
  return html`
    ${queries.length > 0 && html`<p>For ${queries.map((query, index) => html`${index > 0 && ", "}“${query}”`)}</p>`}
    ${action.url && html`<p><${ExternalLink} url=${action.url} /></p>`}
    ${action.pattern && html`<p>For “${action.pattern}”</p>`}
    ${action.sources?.length > 0 && html`<${Sources} name="Sources" sources=${action.sources.map((one) => ({ url: one.url ?? one.name, title: one.title }))} />`}
    ${action.type === "search" && !action.sources && isOver(item) && html`<${NotIncluded} what="web_search_call.action.sources" />`}
  `;
}

function FileSearch({ item }) {
  return html`
    ${item.queries?.length > 0 && html`<p>For ${item.queries.map((query, index) => html`${index > 0 && ", "}“${query}”`)}</p>`}
    ${item.results?.length === 0 && html`<p class="muted">Nothing was found.</p>`}
    ${item.results?.length > 0 && html`<details><summary>${item.results.length === 1 ? "One passage" : `${item.results.length} passages`}</summary>
      ${item.results.map((one, index) => html`<${Passage} passage=${one} key=${index} />`)}</details>`}
    ${!item.results && isOver(item) && html`<${NotIncluded} what="file_search_call.results" />`}
  `;
}

function Code({ item, text }) {
  const outputs = item.outputs ?? [];
  return html`<${CodeText} text=${item.code ?? text} name="Python" />
    ${outputs.map((one, index) => one.type === "logs"
      ? html`<p class="subhead" key=${index}>Output</p><${CodeText} text=${one.logs || "It printed nothing."} name="Output" />`
      : html`<p key=${index} class="muted">${one.type} ${one.url ?? ""}</p>`)}
    ${!item.outputs && isOver(item) && html`<${NotIncluded} what="code_interpreter_call.outputs" />`}
    ${item.container_id && isOver(item) && html`<${ContainerFiles} id=${item.container_id} />`}`;
}

/** Code scrolls sideways instead of breaking its lines, and then the keyboard has to reach it. */
function CodeText({ text, name }) {
  if (!text) return null;
  return html`<pre class="code" tabindex="0" role="region" aria-label=${name}>${text}</pre>`;
}

/** The pages and files that a text cites, or that a search has found. */
export function Sources({ sources, name }) {
  const seen = new Set();
  const own = sources.filter((one) => !seen.has(one.url ?? one.file) && seen.add(one.url ?? one.file));
  if (own.length === 0) return null;
  return html`<div class="sources"><p class="subhead">${name}</p><ol>${own.map((one) => html`<li key=${one.url ?? one.file}>
    ${one.url ? html`<${ExternalLink} url=${one.url} text=${one.title || one.url} />` : html`${one.title} <code class="muted">${one.file}</code>`}</li>`)}</ol></div>`;
}

/** The citations of a message, each source once. */
export function citationsOf(item) {
  const annotations = (Array.isArray(item.content) ? item.content : []).flatMap((part) => part.annotations ?? []);
  return annotations.flatMap((one) => {
    if (one.type === "url_citation") return [{ url: one.url, title: one.title }];
    if (one.file_id) return [{ file: one.file_id, title: one.filename ?? "file" }];
    return [];
  });
}

/** The response of the agent that a call has started. */
export function AgentLink({ item }) {
  if (!item.agent_response_id) return null;
  return html`<p class="muted">The agent's response: <${ResponseLink} id=${item.agent_response_id} /></p>`;
}

function NotIncluded({ what }) {
  return html`<p class="muted">Its request did not ask for more: <code>include: ["${what}"]</code> shows it.</p>`;
}

const isOver = (item) => item.status === "completed";
