// Columns on a scale of days, as SVG. The table below a chart has the same numbers, so the picture has a short name alone.
import { html } from "/console/ui.js";

const WIDTH = 720;
const HEIGHT = 160;
const FOOT = 20;
const HEAD = 18;

/** `rows` are {label, value, text}, from left to right; `name` says what the picture shows. */
export function Columns({ rows, name, format }) {
  if (rows.length === 0) return null;
  const largest = Math.max(...rows.map((row) => row.value), 0) || 1;
  const step = WIDTH / rows.length;
  const labelEvery = Math.ceil(rows.length / 8);
  const top = HEAD + HEIGHT;
  return html`<figure class="chart">
    <svg viewBox=${`0 0 ${WIDTH} ${top + FOOT}`} preserveAspectRatio="xMinYMid" role="img" aria-label=${name}>
      <text x="0" y="12" class="chart-text">${format(largest)}</text>
      <line x1="0" x2=${WIDTH} y1=${HEAD} y2=${HEAD} class="chart-line" />
      <line x1="0" x2=${WIDTH} y1=${top} y2=${top} class="chart-line" />
      ${rows.map((row, index) => {
        const height = (row.value / largest) * HEIGHT;
        return html`<g key=${row.label}>
          <rect x=${index * step + step * 0.1} y=${top - height} width=${step * 0.8} height=${height} class="chart-column"><title>${row.label}: ${row.text}</title></rect>
          ${index % labelEvery === 0 && html`<text x=${index * step + step / 2} y=${top + 14} text-anchor="middle" class="chart-text">${row.label.slice(5)}</text>`}</g>`;
      })}
    </svg>
  </figure>`;
}
