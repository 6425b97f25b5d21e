// Clauses of the Open Responses specification, which the server tries against itself with the reader's key: the same as
// `open_responses conformance`.
import { html, useEffect, useState } from "/console/ui.js";
import { send } from "/console/http.js";
import { Problem, seconds, useLoaded } from "/console/parts.js";

/** The result of each clause, as the server has tried it. */
async function* tried(model) {
  const answer = await send("/console/conformance", { method: "POST", body: { model } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (text + value).split("\n");
    text = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

export function Conformance() {
  const models = useLoaded("/v1/models");
  const clauses = useLoaded("/console/conformance");
  const all = clauses.data?.data ?? [];
  const [model, setModel] = useState("");
  const [results, setResults] = useState([]);
  const [isRunning, setIsRunning] = useState(false);
  const [error, setError] = useState(null);
  useEffect(() => setModel((before) => before || (models.data?.data[0]?.id ?? "")), [models.data]);
  const start = async (event) => {
    event.preventDefault();
    setIsRunning(true);
    setResults([]);
    setError(null);
    try {
      for await (const result of tried(model)) setResults((before) => [...before, result]);
    } catch (problem) {
      setError(problem);
    } finally {
      setIsRunning(false);
    }
  };
  const met = results.filter((one) => one.problem === null).length;
  const summary = all.length > 0 && results.length === all.length ? `${met} of ${all.length} clauses are met.` : "";
  return html`
    <h1 tabindex="-1">Conformance</h1>
    <p>Clauses of the <a href="https://www.openresponses.org" target="_blank" rel="noreferrer">Open Responses</a> specification, tried against this server
      with about a dozen short requests to a model.</p>
    <${Problem} error=${models.error} what="the models" onRetry=${models.reload} />
    <${Problem} error=${clauses.error} what="the clauses" onRetry=${clauses.reload} />
    <${Problem} error=${error} what="the run" />
    <form class="filters" onSubmit=${start}>
      <label>Model <input list="models" value=${model} onInput=${(event) => setModel(event.target.value)} required autocomplete="off" /></label>
      <datalist id="models">${models.data?.data.map((one) => html`<option value=${one.id}></option>`)}</datalist>
      <button class="primary" disabled=${isRunning}>${isRunning ? "Running …" : "Run"}</button>
    </form>
    <p role="status" data-testid="met">${summary}</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Clauses"><table class="wraps">
      <thead><tr><th scope="col">Clause</th><th scope="col">Result</th><th scope="col" class="number">Took</th></tr></thead>
      <tbody>${all.map(({ id, says }, index) => {
        const result = results[index];
        return html`<tr key=${says}><th scope="row">${id}: ${says}</th>
          <td class=${result ? (result.problem === null ? "good" : "bad") : "muted"}>${result ? (result.problem ?? "met") : "–"}</td>
          <td class="number">${result ? seconds(result.took) : "–"}</td></tr>`;
      })}</tbody></table></div>
  `;
}
