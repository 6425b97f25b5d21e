// The request of the playground as code: for a shell, Python and TypeScript.

function withoutStream(body) {
  const { stream: _, ...rest } = body;
  return rest;
}

export function curl(body, origin, needsKey) {
  const quoted = JSON.stringify({ ...withoutStream(body), stream: true }, null, 2).replaceAll("'", "'\\''");
  const key = needsKey ? ` \\\n  -H "Authorization: Bearer $OPEN_RESPONSES_KEY"` : "";
  return `curl -N ${origin}/v1/responses \\\n  -H "Content-Type: application/json"${key} \\\n  -d '${quoted}'\n`;
}

export function python(body, origin, needsKey) {
  const key = needsKey ? 'os.environ["OPEN_RESPONSES_KEY"]' : '"none"';
  const given = Object.entries(withoutStream(body))
    .map(([name, value]) => `    ${name}=${pythonValue(value, 1)},\n`)
    .join("");
  return (
    `${needsKey ? "import os\n\n" : ""}from openai import OpenAI\n\n` +
    `client = OpenAI(base_url="${origin}/v1", api_key=${key})\n` +
    `with client.responses.stream(\n${given}) as stream:\n` +
    `    for event in stream:\n        if event.type == "response.output_text.delta":\n` +
    `            print(event.delta, end="", flush=True)\n`
  );
}

export function typescript(body, origin, needsKey) {
  const key = needsKey ? "process.env.OPEN_RESPONSES_KEY" : '"none"';
  const given = JSON.stringify({ ...withoutStream(body), stream: true }, null, 2);
  return (
    `import OpenAI from "openai";\n\n` +
    `const client = new OpenAI({ baseURL: "${origin}/v1", apiKey: ${key} });\n` +
    `const stream = await client.responses.create(${given});\n` +
    `for await (const event of stream) {\n` +
    `  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);\n}\n`
  );
}

/** A JSON value as Python source. */
function pythonValue(value, depth) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = "    ".repeat(depth + 1);
  const outer = "    ".repeat(depth);
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[\n${value.map((one) => `${inner}${pythonValue(one, depth + 1)},\n`).join("")}${outer}]`;
  }
  const members = Object.entries(value);
  if (members.length === 0) return "{}";
  const lines = members.map(([name, one]) => `${inner}${JSON.stringify(name)}: ${pythonValue(one, depth + 1)},\n`);
  return `{\n${lines.join("")}${outer}}`;
}
