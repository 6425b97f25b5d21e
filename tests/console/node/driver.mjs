// Drives Chromium for tests/console: one JSON object a line in, one out, in order.
//
// {method, args, page} calls that method of Playwright's page (by name, "main" if none is given). Methods of our own:
// open {options}: a new browser context and page under that name; close; axe; problems: what the browser complained about.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const pages = new Map();

const own = {
  async open(name, options) {
    await pages.get(name)?.page.context().close();
    const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const problems = [];
    // The failed requests that a test provokes are not the page's fault.
    page.on("console", (said) => said.type() === "error" && !said.text().startsWith("Failed to load resource") && problems.push(said.text()));
    page.on("pageerror", (error) => problems.push(error.stack));
    pages.set(name, { page, problems });
    return null;
  },
  async close(name) {
    await pages.get(name)?.page.context().close();
    pages.delete(name);
    return null;
  },
  async axe(name) {
    const { page } = pages.get(name);
    await page.evaluate(axe);
    return page.evaluate(async () => {
      const found = await window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
      return found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => `${node.html.slice(0, 160)} ${node.failureSummary.slice(0, 200)}`).join(" | ")}`);
    });
  },
  /** Playwright's waitForFunction makes a function of a string in the page, which the page's policy forbids. */
  async until(name, condition, milliseconds) {
    const { page } = pages.get(name);
    const deadline = Date.now() + milliseconds;
    while (!(await page.evaluate(condition))) {
      if (Date.now() > deadline) throw new Error(`not true within ${milliseconds} ms: ${condition}`);
      await new Promise((resume) => setTimeout(resume, 50));
    }
    return null;
  },
  async problems(name) {
    return pages.get(name).problems.splice(0);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { method, args = [], page = "main" } = JSON.parse(line);
  let answer;
  try {
    const result = own[method] ? await own[method](page, ...args) : await pages.get(page).page[method](...args);
    answer = { result: isPlain(result) ? result : null };
  } catch (error) {
    answer = { error: `${error.message}\nThe page:\n${await seenOn(page)}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();

/** What a failed test would have shown: the page's text, and what the browser complained about. */
async function seenOn(name) {
  const found = pages.get(name);
  const text = await found?.page.evaluate(() => document.body.innerText).catch(() => "");
  return [text?.slice(0, 3000), ...(found?.problems ?? [])].join("\n");
}

function isPlain(value) {
  return value === null || ["string", "number", "boolean"].includes(typeof value) || Array.isArray(value) || value?.constructor === Object;
}
