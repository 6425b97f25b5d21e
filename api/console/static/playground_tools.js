// The tools of the playground's request: hosted ones, those that this server runs itself, and MCP servers.
import { html } from "/console/ui.js";
import { Problem, listed, useLoaded } from "/console/parts.js";

const BUILT_IN = {
  web_search: { label: "Search the web", tool: () => ({ type: "web_search" }), include: "web_search_call.action.sources" },
  code_interpreter: {
    label: "Run Python", tool: () => ({ type: "code_interpreter", container: { type: "auto" } }), include: "code_interpreter_call.outputs",
  },
  programmatic_tool_calling: { label: "Write programs that call the other tools", tool: () => ({ type: "programmatic_tool_calling" }) },
  file_search: {
    label: "Search vector stores",
    tool: (draft) => draft.stores.length > 0 && { type: "file_search", vector_store_ids: draft.stores },
    include: "file_search_call.results",
  },
};

export function PlaygroundTools({ offers, draft, setDraft, change }) {
  if (!offers) return null;
  const builtIn = offers.built_in_tools.filter((name) => name in BUILT_IN);
  const missing = Object.keys(BUILT_IN).filter((name) => !builtIn.includes(name));
  const toggle = (list, name) => (event) =>
    setDraft({ ...draft, [list]: event.target.checked ? [...draft[list], name] : draft[list].filter((one) => one !== name) });
  return html`<fieldset><legend>Tools</legend>
    <div class="tools">
    ${builtIn.map((name) => html`<label class="check" key=${name} title=${name}>
      <input type="checkbox" checked=${draft.builtIn.includes(name)} onChange=${toggle("builtIn", name)} /><span>${BUILT_IN[name].label}</span></label>
      ${name === "file_search" && draft.builtIn.includes(name) && html`<${Stores} draft=${draft} toggle=${toggle} />`}`)}
    ${offers.tools.map((tool) => html`<label class="check" key=${tool.name} title=${tool.description}>
      <input type="checkbox" checked=${draft.tools.includes(tool.name)} onChange=${toggle("tools", tool.name)} />
      <span>${tool.name}${tool.require_approval ? " (asks for approval)" : ""}</span></label>`)}
    ${offers.mcp_servers.map((label) => html`<label class="check" key=${label}>
      <input type="checkbox" checked=${draft.mcp.includes(label)} onChange=${toggle("mcp", label)} /><span>MCP server ${label}</span></label>`)}
    </div>
    ${missing.length > 0 && html`<p class="muted note" data-testid="not-enabled">This server does not run ${listed(missing)} for you: a table of the configuration enables each.</p>`}
    ${draft.mcp.length > 0 && html`<label class="check"><input type="checkbox" checked=${draft.mcpAsks} onChange=${change("mcpAsks")} />
      <span>Ask for approval before each call to an MCP server</span></label>`}
  </fieldset>`;
}

function Stores({ draft, toggle }) {
  const stores = useLoaded("/v1/vector_stores?limit=100");
  const rows = stores.data?.data ?? [];
  return html`<div class="inner" role="group" aria-label="Vector stores to search">
    <${Problem} error=${stores.error} what="vector stores" onRetry=${stores.reload} />
    ${stores.data && rows.length === 0 && html`<p class="muted note">There are none: <a href="#/stores">create one</a>.</p>`}
    ${rows.map((row) => html`<label class="check" key=${row.id} title=${row.id}>
      <input type="checkbox" checked=${draft.stores.includes(row.id)} onChange=${toggle("stores", row.id)} /><span>${row.name || row.id}</span></label>`)}
    ${rows.length > 0 && draft.stores.length === 0 && html`<p class="muted note">Choose a store. Without one, the tool is not sent.</p>`}
  </div>`;
}

/** The request's `tools`. */
export function toolsOf(draft) {
  return [
    ...draft.builtIn.map((name) => BUILT_IN[name]?.tool(draft)).filter(Boolean),
    ...draft.tools.map((name) => ({ type: "function", name })),
    ...draft.mcp.map((server_label) => ({ type: "mcp", server_label, ...(!draft.mcpAsks && { require_approval: "never" }) })),
  ];
}

/** The request's `include`: what the console shows of the calls. */
export function includeOf(draft) {
  return draft.builtIn.filter((name) => BUILT_IN[name]?.tool(draft)).map((name) => BUILT_IN[name].include).filter(Boolean);
}
