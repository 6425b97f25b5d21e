// A search in one vector store: the passages that a model would read, with their scores.
import { html, useState } from "/console/ui.js";
import { attributesAsText, valueOf } from "/console/attributes.js";
import { json } from "/console/http.js";
import { Problem, counted, seconds, useAction } from "/console/parts.js";

const COMPARISONS = [["eq", "is"], ["ne", "is not"], ["gt", "is more than"], ["gte", "is at least"], ["lt", "is less than"], ["lte", "is at most"]];

export function StoreSearch({ path, isEmpty }) {
  const [act, problem] = useAction();
  const [isSearching, setIsSearching] = useState(false);
  const [found, setFound] = useState(null);
  const search = (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.currentTarget));
    act(async () => {
      setIsSearching(true);
      const begin = performance.now();
      try {
        const page = await json(`${path}/search`, { method: "POST", body: bodyOf(fields) });
        setFound({ query: fields.query, passages: page.data, took: (performance.now() - begin) / 1000 });
      } catch (error) {
        setFound(null);
        throw error;
      } finally {
        setIsSearching(false);
      }
    });
  };
  return html`
    <h2>Search</h2>
    <form class="panel" role="search" aria-label="Search the store" onSubmit=${search}>
      <label>Query <input name="query" required maxlength="4096" autocomplete="off" placeholder="How long do cats sleep?" /></label>
      <div class="filters">
        <label>Passages <select name="most">${[3, 5, 10, 20, 50].map((most) => html`<option value=${most} selected=${most === 10}>${most} at most</option>`)}</select></label>
        <label>Compare <select name="ranker"><option value="auto">meaning, words</option><option value="none">meaning alone</option></select></label>
        <label>Least score <input name="threshold" type="number" min="0" max="1" step="any" placeholder="0" /></label>
        <label>Attribute <input name="key" maxlength="64" autocomplete="off" placeholder="any" /></label>
        <label>Comparison <select name="comparison">${COMPARISONS.map(([type, word]) => html`<option value=${type}>${word}</option>`)}</select></label>
        <label>Value <input name="value" maxlength="512" autocomplete="off" /></label>
      </div>
      <p class="row"><button class="primary" disabled=${isSearching}>Search</button>
        ${isEmpty && html`<span class="muted">No file of this store can be searched yet.</span>`}</p>
    </form>
    <${Problem} error=${problem} />
    <p role="status">${found && html`${found.passages.length === 0 ? "Nothing was found" : counted(found.passages.length, "passage")} for “${found.query}”, in ${seconds(found.took)}.`}</p>
    ${found && html`<div data-testid="passages">${found.passages.map((one, index) => html`<${Passage} passage=${one} key=${index} />`)}</div>`}
  `;
}

/** One passage with its score, as the store's search and the item of `file_search` have it. */
export function Passage({ passage }) {
  const text = passage.text ?? (passage.content ?? []).map((part) => part.text).join("\n");
  const attributes = attributesAsText(passage.attributes);
  return html`<section class="item item-tools">
    <h3>${passage.filename || passage.file_id} <span class="score"><meter min="0" max="1" value=${passage.score} aria-label=${`Score of a passage of ${passage.filename || passage.file_id}`}></meter> ${passage.score?.toFixed(3) ?? "–"}</span></h3>
    ${attributes && html`<p class="muted">${attributes.split("\n").join(", ")}</p>`}
    <pre class="text">${text}</pre>
  </section>`;
}

function bodyOf(fields) {
  const ranking = { ...(fields.ranker !== "auto" && { ranker: fields.ranker }), ...(fields.threshold && { score_threshold: Number(fields.threshold) }) };
  return {
    query: fields.query,
    max_num_results: Number(fields.most),
    ...(Object.keys(ranking).length > 0 && { ranking_options: ranking }),
    ...(fields.key.trim() && { filters: { type: fields.comparison, key: fields.key.trim(), value: valueOf(fields.value.trim()) } }),
  };
}
