// The console: navigation, the key form, and one view per address (#/play, #/responses, …).
import { html, render, useEffect, useRef, useState } from "/console/ui.js";
import { apiKey, json, onUnauthorized } from "/console/http.js";
import { Approvals } from "/console/approvals.js";
import { Conformance } from "/console/conformance.js";
import { Files } from "/console/files.js";
import { Health } from "/console/health.js";
import { Keys } from "/console/keys.js";
import { useLoaded } from "/console/parts.js";
import { Playground } from "/console/playground.js";
import { Response } from "/console/response.js";
import { Responses } from "/console/responses.js";
import { Schedule } from "/console/schedule.js";
import { Schedules } from "/console/schedules.js";
import { Usage } from "/console/usage.js";
import { VectorStore } from "/console/vector_store.js";
import { VectorStores } from "/console/vector_stores.js";
import { WebhookDelivery } from "/console/webhook_delivery.js";
import { Webhooks } from "/console/webhooks.js";

/** Each view's name in the address, its label, the view, and the view of one entry (#/responses/resp_…). */
const VIEWS = [
  ["play", "Playground", Playground],
  ["responses", "Responses", Responses, Response],
  ["approvals", "Approvals", Approvals],
  ["files", "Files", Files],
  ["stores", "Vector stores", VectorStores, VectorStore],
  ["schedules", "Schedules", Schedules, Schedule],
  ["webhooks", "Webhooks", Webhooks, WebhookDelivery],
  ["usage", "Usage", Usage],
  ["keys", "Keys", Keys],
  ["health", "Health", Health],
  ["conformance", "Conformance", Conformance],
];

// The server refuses these to the key of a tenant; the navigation leaves them out.
const OPERATORS = new Set(["keys", "health"]);

function currentRoute() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "", id = null] = path.split("/");
  return { name: name || "play", id: id && decodeURIComponent(id), query: new URLSearchParams(query) };
}

function App({ info }) {
  const [route, setRoute] = useState(currentRoute);
  const [needsKey, setNeedsKey] = useState(info.needs_key && !apiKey.get());
  useEffect(() => {
    const changed = () => setRoute(currentRoute());
    addEventListener("hashchange", changed);
    const off = onUnauthorized(() => {
      apiKey.clear();
      setNeedsKey(true);
    });
    return () => {
      removeEventListener("hashchange", changed);
      off();
    };
  }, []);
  const isFirst = useRef(true);
  useEffect(() => {
    // A reader who cannot see that the view has changed is taken to its beginning. Not at the start: nobody asked.
    if (!isFirst.current) (document.querySelector("main h1") ?? document.getElementById("main"))?.focus();
    isFirst.current = needsKey;
    // On a phone the navigation is wider than the page.
    document.querySelector("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [route.name, route.id, needsKey]);
  useEffect(() => {
    const shown = VIEWS.find(([name]) => name === route.name);
    document.title = `${route.id ?? shown?.[1] ?? "Not found"} · open_responses`;
  }, [route.name, route.id]);
  const offers = useLoaded(info.needs_key && !needsKey ? "/console/offers" : null).data;
  const isTenants = offers !== null && !offers.is_admin;
  if (needsKey) return html`<${KeyForm} version=${info.version} onKey=${() => setNeedsKey(false)} />`;
  return html`
    <a class="skip" href="#main" onClick=${skipToMain}>Skip to the content</a>
    <header>
      <a class="brand" href="#/play">open_responses</a>
      <nav aria-label="Views">
        ${VIEWS.filter(([name]) => !(isTenants && OPERATORS.has(name))).map(
          ([name, label]) =>
            html`<a href=${`#/${name}`} aria-current=${route.name === name ? "page" : undefined}>${label}</a>`,
        )}
      </nav>
      <span class="header-end">
        <${Who} offers=${offers} /> <span class="muted">${info.version}</span>
        ${info.needs_key && html`<button type="button" class="quiet" onClick=${signOut}>Forget the key</button>`}
      </span>
    </header>
    <main id="main" tabindex="-1"><${View} route=${route} info=${info} key=${route.name + (route.id ?? "")} /></main>
  `;
}

/** Whose key it is, so that nobody takes one tenant's responses for all of them. */
function Who({ offers }) {
  if (!offers) return null;
  return html`<span>${offers.tenant}${offers.is_admin ? ", operator" : ""}</span>`;
}

function View({ route, info }) {
  const found = VIEWS.find(([name]) => name === route.name);
  if (found?.[3] && route.id) return html`<${found[3]} id=${route.id} info=${info} />`;
  if (!found) return html`<h1 tabindex="-1">Not found</h1><p>The console has no such page.</p>`;
  return html`<${found[2]} info=${info} query=${route.query} />`;
}

function KeyForm({ version, onKey }) {
  const [problem, setProblem] = useState(null);
  const [isChecking, setIsChecking] = useState(false);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    const key = new FormData(event.target).get("key").trim();
    // A header takes no other characters, and no key has any.
    if (!/^[\x21-\x7e]+$/.test(key)) return setProblem("This is no API key: it has characters that no key has.");
    apiKey.set(key);
    setIsChecking(true);
    try {
      await json("/console/offers");
      onKey();
    } catch (error) {
      apiKey.clear();
      // The API's own words are for programs that send headers.
      setProblem(error.status === 401 ? "This is no API key of this server, or it was revoked or has expired." : error.message);
      setIsChecking(false);
      field.current.select();
    }
  };
  return html`
    <main class="key-form" id="main">
      <h1>open_responses</h1>
      <form onSubmit=${submit}>
        <label for="key">API key</label>
        <input id="key" ref=${field} name="key" type="password" autocomplete="off" required aria-describedby="key-note" />
        <p class="muted" id="key-note">
          The key stays in this tab and is sent to this server only. A key of a tenant shows that tenant's responses; a
          key with the scope <code>admin</code> shows all.
        </p>
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <button class="primary" disabled=${isChecking}>Open the console</button>
      </form>
      <p class="muted">Version ${version}</p>
    </main>
  `;
}

function skipToMain(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function signOut() {
  apiKey.clear();
  location.reload();
}

async function start() {
  const root = document.getElementById("app");
  try {
    const info = await json("/console/info");
    root.replaceChildren();
    render(html`<${App} info=${info} />`, root);
  } catch (error) {
    root.replaceChildren(
      Object.assign(document.createElement("p"), { className: "problem", role: "alert", textContent: error.message }),
    );
  }
}

start();
