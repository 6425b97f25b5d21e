// A message to a response that runs: its next model turn reads it.
import { html, useRef, useState } from "/console/ui.js";
import { json } from "/console/http.js";
import { Form } from "/console/parts.js";

/** `output` are the items so far: a message is in them once a turn has read it. */
export function SteerBox({ id, output, onSent }) {
  const [sent, setSent] = useState([]);
  const unsure = useRef(null);
  const send = async ({ message }, form) => {
    // The same message again, because nobody knows whether it was accepted, is the same submission.
    if (unsure.current?.message !== message) unsure.current = { message, key: crypto.randomUUID?.() ?? `console-${Math.random().toString(36).slice(2)}` };
    const extraHeaders = { "Idempotency-Key": unsure.current.key };
    const accepted = await json(`/v1/responses/${encodeURIComponent(id)}/steer`, { method: "POST", body: { input: message }, extraHeaders });
    unsure.current = null;
    setSent((before) => [...before, { id: accepted.id, message }]);
    form.reset();
    await onSent?.();
  };
  const read = new Set(output.map((item) => item?.steer_id).filter(Boolean));
  const waiting = sent.filter((one) => !read.has(one.id));
  return html`<div class="steer" data-testid="steer">
    <div role="status">${waiting.map((one) => html`<p class="notice" key=${one.id}>Accepted, and read by the next model turn: ${one.message}</p>`)}</div>
    <${Form} action="Send to the response" save=${send} label="Send a message to the response">
      <label>Message to the response while it runs <textarea name="message" rows="2" required></textarea></label>
      <p class="muted note">Nothing that runs is stopped. The next model turn reads it; behind a last answer, another one follows.</p>
    </${Form}></div>`;
}
