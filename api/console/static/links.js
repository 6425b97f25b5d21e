// Addresses that models and tools write: a link where the browser may go there, else text.
import { html } from "/console/ui.js";

export const isWebAddress = (url) => /^https?:\/\//.test(url ?? "");

/** Opens in a tab of its own, and does not say from where. */
export function ExternalLink({ url, text = url }) {
  if (!isWebAddress(url)) return html`<code>${text ?? "no address"}</code>`;
  return html`<a href=${url} target="_blank" rel="noreferrer noopener" title=${url}>${text || url}</a>`;
}

export function ResponseLink({ id }) {
  return html`<a href=${`#/responses/${encodeURIComponent(id)}`}>${id}</a>`;
}
