// The console: navigation, the key form, and one view per address (#/play, #/responses, …).
import { html, render, useEffect, useState } from "/console/ui.js";
import { apiKey, json, onUnauthorized } from "/console/http.js";
import { Approvals } from "/console/approvals.js";
import { Health } from "/console/health.js";
import { Keys } from "/console/keys.js";
import { Playground } from "/console/playground.js";
import { Response } from "/console/response.js";
import { Responses } from "/console/responses.js";
import { Usage } from "/console/usage.js";

const VIEWS = [
  ["play", "Playground", Playground],
  ["responses", "Responses", Responses],
  ["approvals", "Approvals", Approvals],
  ["usage", "Usage", Usage],
  ["keys", "Keys", Keys],
  ["health", "Health", Health],
];

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
  useEffect(() => {
    const shown = VIEWS.find(([name]) => name === route.name);
    document.title = `${route.id ?? shown?.[1] ?? "Not found"} · open_responses`;
  }, [route.name, route.id]);
  if (needsKey) return html`<${KeyForm} version=${info.version} onKey=${() => setNeedsKey(false)} />`;
  return html`
    <a class="skip" href="#main" onClick=${skipToMain}>Skip to the content</a>
    <header>
      <a class="brand" href="#/play">open_responses</a>
      <nav aria-label="Views">
        ${VIEWS.map(
          ([name, label]) =>
            html`<a href=${`#/${name}`} aria-current=${route.name === name ? "page" : undefined}>${label}</a>`,
        )}
      </nav>
      <span class="header-end">
        <span class="muted">${info.version}</span>
        ${info.needs_key && html`<button class="quiet" onClick=${signOut}>Forget the key</button>`}
      </span>
    </header>
    <main id="main" tabindex="-1"><${View} route=${route} info=${info} key=${route.name + (route.id ?? "")} /></main>
  `;
}

function View({ route, info }) {
  if (route.name === "responses" && route.id) return html`<${Response} id=${route.id} info=${info} />`;
  const found = VIEWS.find(([name]) => name === route.name);
  if (!found) return html`<h1>Not found</h1><p>The console has no such page.</p>`;
  return html`<${found[2]} info=${info} query=${route.query} />`;
}

function KeyForm({ version, onKey }) {
  const [problem, setProblem] = useState(null);
  const [isChecking, setIsChecking] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    apiKey.set(new FormData(event.target).get("key").trim());
    setIsChecking(true);
    try {
      await json("/v1/models");
      onKey();
    } catch (error) {
      apiKey.clear();
      setProblem(error.message);
      setIsChecking(false);
    }
  };
  return html`
    <main class="key-form" id="main">
      <h1>open_responses</h1>
      <form onSubmit=${submit}>
        <label for="key">API key</label>
        <input id="key" name="key" type="password" autocomplete="off" required aria-describedby="key-note" />
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
    root.replaceChildren(Object.assign(document.createElement("p"), { className: "problem", textContent: error.message }));
  }
}

start();
