// Attributes of a file in a vector store, as text that a person writes: one `name = value` a line.
import { ApiError } from "/console/http.js";

/** The attributes that a text has. A number, true and false are themselves; all else, and what is in quotes, is a text. */
export function attributesOf(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf("=");
    const name = line.slice(0, at).trim();
    if (at < 1 || !name) throw new ApiError(0, { message: `"${line}" is no attribute. Write name = value, each on a line of its own.` });
    return [name, valueOf(line.slice(at + 1).trim())];
  }));
}

export function valueOf(text) {
  if (text === "true") return true;
  if (text === "false") return false;
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  const quoted = /^"(.*)"$/.exec(text);
  return quoted ? quoted[1] : text;
}

/** The text from which `attributesOf` makes the same attributes again. */
export function attributesAsText(attributes) {
  return Object.entries(attributes ?? {}).map(([name, value]) => `${name} = ${asText(value)}`).join("\n");
}

function asText(value) {
  return typeof value === "string" && valueOf(value) !== value ? `"${value}"` : String(value);
}
