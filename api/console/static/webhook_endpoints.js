// The webhook endpoints of the caller's key: make, test, change, rotate the secret, delete.
import { html, useState } from "/console/ui.js";
import { json, send } from "/console/http.js";
import { Confirm, Copy, Dialog, Form, Problem, Time, useAction, useLoaded, usePages } from "/console/parts.js";
import { ReceiverState, keyOf } from "/console/webhook_receivers.js";

const EVENTS = ["response.completed", "response.failed", "response.incomplete", "response.cancelled", "response.awaiting_approval"];
const PATH = "/v1/webhook_endpoints";
/** A receiver's answer may disable its endpoint at any time. */
const EVERY_MS = 10_000;

export function Endpoints({ receivers, onSent }) {
  const pages = usePages(PATH, {}, EVERY_MS);
  const offers = useLoaded("/console/offers").data;
  const [secret, setSecret] = useState(null);
  const [asks, setAsks] = useState({});
  const [act, problem] = useAction();
  const [tested, setTested] = useState(null);
  const close = () => setAsks({});
  const pathOf = (row) => `${PATH}/${encodeURIComponent(row.id)}`;
  const create = async (fields, form) => {
    const made = await json(PATH, { method: "POST", body: bodyOf(fields, form) });
    setSecret(made);
    form.reset();
    await pages.reload();
  };
  const change = async (fields, form) => {
    await send(pathOf(asks.row), { method: "POST", body: bodyOf(fields, form) });
    close();
    await pages.reload();
  };
  const rotate = async (fields) => {
    setSecret(await json(`${pathOf(asks.row)}/rotate_secret`, { method: "POST", body: { keep_old_secret_active_for_24_hours: Boolean(fields.keeps) } }));
    close();
    await pages.reload();
  };
  const test = async (fields) => {
    setTested(null);
    const { row } = asks;
    try {
      const answer = await json(`${pathOf(row)}/test`, { method: "POST", body: { event_type: fields.event_type } });
      setTested({ row, ...answer });
      close();
    } finally {
      await onSent();
    }
  };
  const remove = () => act(async () => {
    await send(pathOf(asks.row), { method: "DELETE" });
    await pages.reload();
  });
  const enable = (row) => act(async () => {
    await send(pathOf(row), { method: "POST", body: { url: row.url } });
    await pages.reload();
  });
  const isRuntime = offers?.webhook_endpoints === "runtime";
  const isEmpty = !pages.isLoading && !pages.error && pages.rows.length === 0;
  return html`
    <h2>Endpoints</h2>
    ${secret && html`<div class="notice" role="status"><p>The secret of ${secret.name}, shown this once:</p>
      <p><code class="secret" data-testid="new-secret">${secret.signing_secret}</code> <${Copy} text=${secret.signing_secret} label="Copy the secret" /></p>
      <button type="button" onClick=${() => setSecret(null)}>I have stored it</button></div>`}
    ${tested && html`<p class=${tested.status_code < 300 ? "notice" : "problem"} role="status">${tested.row.name} answered the test event with ${tested.status_code}. <a href=${`#/webhooks/${encodeURIComponent(tested.delivery_id)}`}>The delivery</a></p>`}
    ${isRuntime && html`<details><summary>Create an endpoint</summary><${Form} action="Create the endpoint" save=${create} label="Create an endpoint"><${EndpointFields} /></${Form}></details>`}
    ${offers && !isRuntime && html`<${Elsewhere} where=${offers.webhook_endpoints} />`}
    <${Problem} error=${problem} />
    <${Problem} error=${pages.error} what="webhook endpoints" onRetry=${pages.reload} />
    ${isEmpty && isRuntime && html`<p class="muted">Your key has no endpoints yet. One that you create gets the events of the background responses that your key starts.</p>`}
    ${pages.rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="List of endpoints" aria-busy=${pages.isLoading}><table data-testid="endpoints">
      <thead><tr><th scope="col">Endpoint</th><th scope="col">Address</th><th scope="col">Receives</th><th scope="col">Events</th><th scope="col">Secret</th><th scope="col">Created</th><th scope="col">Actions</th></tr></thead>
      <tbody>${pages.rows.map((row) => html`<tr key=${row.id}>
        <th scope="row" class="name" title=${row.id}>${row.name}</th><td class="long"><code>${row.url}</code></td><td class="long">${row.status === "disabled" ? html`<${Disabled} />` : html`<${ReceiverState} receiver=${receivers.get(keyOf(offers?.tenant, row.url))} />`}</td>
        <td class="long">${row.event_types.length === EVENTS.length ? "all" : row.event_types.join(", ")}</td><td><code>${row.signing_secret_hint ?? "in the environment"}</code></td>
        <td>${row.source === "file" ? "in the file" : html`<${Time} at=${row.created_at} />`}</td>
        <td class="long"><${Action} row=${row} word="Test" onClick=${() => setAsks({ what: "test", row })} />
          ${row.status === "disabled" && html`<${Action} row=${row} word="Enable" onClick=${() => enable(row)} />`}
          ${row.source !== "file" && html`<${Action} row=${row} word="Change" onClick=${() => setAsks({ what: "change", row })} />
            <${Action} row=${row} word="Rotate the secret" onClick=${() => setAsks({ what: "rotate", row })} />
            <${Action} row=${row} word="Delete" look="danger" onClick=${() => setAsks({ what: "delete", row })} />`}</td></tr>`)}</tbody></table></div>`}
    ${asks.what === "delete" && html`<${Confirm} question=${`Delete the endpoint ${asks.row.name}? Its deliveries that wait fail with their next attempt.`} action="Delete the endpoint" onConfirm=${remove} onClose=${close} />`}
    ${asks.what === "change" && html`<${Dialog} label=${`Change ${asks.row.name}`} onClose=${close}><h2>Change ${asks.row.name}</h2>
      <${Form} action="Save" save=${change} onCancel=${close}><${EndpointFields} row=${asks.row} /></${Form}></${Dialog}>`}
    ${asks.what === "rotate" && html`<${Dialog} label=${`Rotate the secret of ${asks.row.name}`} onClose=${close}><h2>Rotate the secret of ${asks.row.name}</h2>
      <${Form} action="Rotate the secret" save=${rotate} onCancel=${close}>
        <label class="check"><input type="checkbox" name="keeps" defaultChecked /><span>The old secret signs beside the new one for 24 hours</span></label></${Form}></${Dialog}>`}
    ${asks.what === "test" && html`<${Dialog} label=${`Test ${asks.row.name}`} onClose=${close}><h2>Test ${asks.row.name}</h2>
      <p>One event is sent now. Its response does not exist.</p>
      <${Form} action="Send the event" save=${test} onCancel=${close}>
        <label>Event <select name="event_type">${EVENTS.map((one) => html`<option value=${one}>${one}</option>`)}</select></label></${Form}></${Dialog}>`}
  `;
}

function Action({ row, word, look = "quiet", onClick }) {
  return html`<button type="button" class=${look} onClick=${onClick}>${word}<span class="hidden"> of ${row.name}</span></button> `;
}

function Disabled() {
  return html`<span class="status status-failed">disabled</span> <span class="muted">It answered 410 Gone, and gets no more events. Enable it when its receiver is back.</span>`;
}

/** Why no endpoint can be made here, and what to do instead. */
function Elsewhere({ where }) {
  return html`<div class="notice" data-testid="endpoints-elsewhere">${where === "file"
    ? html`<p>Your key is in the server's configuration file, and so are its endpoints. An operator adds an <code>[[api_keys.webhooks]]</code> table to it.</p>`
    : html`<p>An endpoint belongs to an API key, and this server has none.</p>`}
    <p>Each request can bring its own: <code>"webhook": {"url": "https://example.com/hook", "secret": "whsec_…"}</code></p></div>`;
}

function EndpointFields({ row = null }) {
  return html`<label>Name <input name="name" required maxlength="128" autocomplete="off" defaultValue=${row?.name ?? ""} /></label>
    <label>Address <input name="url" type="url" required maxlength="2048" autocomplete="off" placeholder="https://example.com/hook" defaultValue=${row?.url ?? ""} /></label>
    <fieldset><legend>Events</legend>${EVENTS.map((one) => html`<label class="check" key=${one}>
      <input type="checkbox" name="event_types" value=${one} defaultChecked=${row ? row.event_types.includes(one) : true} /><span>${one}</span></label>`)}</fieldset>`;
}

function bodyOf(fields, form) {
  return { name: fields.name, url: fields.url, event_types: new FormData(form).getAll("event_types") };
}
