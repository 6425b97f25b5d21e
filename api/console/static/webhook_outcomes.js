// What became of an attempt to deliver an event, in words, and what helps.
const ERRORS = {
  status: ["", "The receiver has to answer with 2xx. Its log says why it does not."],
  gone: ["answered 410 Gone", "The receiver wants no more events. Replay the delivery once it takes them again."],
  timeout: ["did not answer in time", "Answer first, and work afterwards."],
  connection_failed: ["could not be connected to", "Check the address, the certificate, and that the receiver can be reached from this server."],
  forbidden_address: ["has a private address", "An operator opens it with trusted_urls in [webhooks]."],
  outcome_unknown: ["was sent to, and the worker was lost before it could record the answer", "The event is sent again with the same id."],
  endpoint_removed: ["was removed, or its key was revoked", "Nothing is sent to it any more."],
  response_deleted: ["was not sent to: the response was deleted", "Nothing is sent of a deleted response."],
  secret_missing: ["was not sent to: the worker has no secret for it", "Set the variables of secrets_env in the environment of the workers."],
  secret_unreadable: ["was not sent to: the worker cannot read its secret", "Give the workers the encryption key with which the secret was sealed."],
};

/** What the owner of the endpoint or of the response has ended: no receiver fails. */
const WITHDRAWN = new Set(["endpoint_removed", "response_deleted"]);

/** {text, advice, isReceived, isWithdrawn} of one attempt. */
export function outcomeOf(attempt) {
  const isReceived = attempt.status >= 200 && attempt.status < 300;
  const [text, advice] = ERRORS[attempt.error] ?? [attempt.error ? attempt.error.replaceAll("_", " ") : "", ""];
  return { text: text || `answered ${attempt.status}`, advice: isReceived ? "" : advice, isReceived, isWithdrawn: WITHDRAWN.has(attempt.error) };
}
