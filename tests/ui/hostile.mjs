// Texts of programs that nobody trusts, in every place where the page shows one.

import { readFileSync } from "node:fs";
import { assert } from "./harness.mjs";

// Each would do something if it became more than text. The scripted model says the same.
export const WORDS = JSON.parse(readFileSync(new URL("corpus.json", import.meta.url), "utf8"));
// A file that ends in `exe` and seems to end in `txt`, colours of a terminal, a bell, a name that a space hides.
const TURNED = "in\u202etxt.exe";
const ESCAPES = "\u001b[31mred\u0007 zero\u200bwidth \u2066left\u2069";

// What no text may have made: nodes that the page itself never makes, or makes with other addresses.
export async function isClean(page) {
  const found = await page.page.evaluate(() => {
    const bad = "img, iframe, object, embed, base, math, svg, style, form[action], link:not([href^='ui/']), meta[http-equiv], script:not([src^='ui/'])";
    const nodes = [...document.querySelectorAll(bad)].map((node) => node.outerHTML);
    const links = [...document.querySelectorAll("a, [href], [src]")].filter((node) => !/^(#\/|ui\/|\/docs$)/.test(node.getAttribute("href") ?? node.getAttribute("src") ?? "#/")).map((node) => node.outerHTML);
    const handlers = [...document.querySelectorAll("*")].flatMap((node) => [...node.attributes].filter((a) => /^on/i.test(a.name)).map(() => node.outerHTML));
    // eslint-disable-next-line no-control-regex
    const hidden = /[\u0000-\u0008\u000b-\u001f\u202a-\u202e\u2066-\u2069\u200b]/.test(document.body.innerText);
    return { nodes, links, handlers, hidden, polluted: {}.berth9 !== undefined };
  });
  assert.deepEqual(found, { nodes: [], links: [], handlers: [], hidden: false, polluted: false }, page.page.url());
  page.check();
}

// Opens everything that can be opened, so that what is folded away is made too.
export async function unfold(page) {
  await page.page.evaluate(() => document.querySelectorAll("main details").forEach((node) => (node.open = true)));
}

export const tests = {
  async "what an agent says, does and leaves stays text"(world) {
    const id = await world.session("hostile", { title: WORDS[0], labels: { pier: WORDS[2] } });
    await world.turn(id, `${"x".repeat(300)} ${WORDS.join("\n")}`);
    await world.turn(id, `${ESCAPES} ${TURNED}`);
    const page = await world.page();
    await page.view("");
    await page.sees(WORDS[0]);
    await isClean(page);
    await page.view("sessions");
    await page.sees(WORDS[0]);
    await isClean(page);
    await page.view(`sessions/${id}`);
    // As the log tells it: then all that is in it is there, to be unfolded.
    await page.page.locator("ol.turns > li").nth(2).locator(".end.muted .badge").waitFor();
    await unfold(page);
    await page.page.getByRole("button", { name: "Show the whole prompt" }).click();
    const whole = page.page.locator("ol.turns > li").nth(1).locator(".prompt");
    await whole.getByText(WORDS.at(-1)).waitFor();
    for (const word of WORDS) assert.ok((await whole.innerText()).includes(word), `${word} is not seen in the prompt`);
    const seen = await page.page.locator("ol.turns > li").nth(0).innerText();
    for (const word of WORDS) assert.ok(seen.includes(word), `${word} is not seen as it is`);
    for (const text of [seen, await page.page.locator("ol.turns > li").nth(2).innerText()]) {
      assert.ok(text.includes("inU+202Etxt.exe"), "what turns the text round is shown by name");
      assert.ok(text.includes("\u241b[31mred"), "control characters are shown by name");
    }
    await isClean(page);
    // Names of files that the agent made, and what is in them.
    await page.page.locator("ol.turns > li").nth(0).getByRole("button", { name: "Files changed" }).click();
    await page.sees("<img src=x onerror=alert(1)>.txt");
    await page.page.locator(".files button", { hasText: "onerror" }).click();
    await page.page.locator(".patch").waitFor();
    await isClean(page);
  },

  async "names and labels of everything else stay text"(world) {
    const page = await world.page();
    for (const word of WORDS.slice(0, 6)) {
      const name = word.slice(0, 64);
      await world.ask("POST", "/v1/envs", { name });
      await world.ask("POST", "/v1/tokens", { name, scope: "read" });
    }
    for (const view of ["envs", "tokens", "audit"]) {
      await page.view(view);
      await page.page.locator("main table").waitFor();
      if (view !== "audit") await page.sees(WORDS[0]);
      else for (const button of (await page.page.getByRole("button", { name: /^row \d+$/ }).all()).slice(0, 20)) await button.click();
      await unfold(page);
      await isClean(page);
    }
  },

  async "what a tool would be called with stays text"(world) {
    const { id } = await world.ask("POST", "/v1/sessions", { engine: "mini" });
    await world.ask("POST", `/v1/sessions/${id}/messages`, { text: "mark hostile" });
    const page = await world.page();
    await page.view("approvals");
    await page.page.getByRole("article").waitFor();
    await page.sees("<img src=x onerror=alert(1)>");
    await isClean(page);
    const asked = (await world.ask("GET", "/v1/approvals?status=pending")).items.find((item) => item.session === id);
    await page.view(`approvals/${asked.id}`);
    await page.page.getByRole("article").waitFor();
    await isClean(page);
    await world.ask("POST", `/v1/approvals/${asked.id}`, { decision: "deny", hash: asked.hash, note: WORDS[0] });
    await page.sees(WORDS[0]);
    await isClean(page);
  },

  async "an address leads to no other path of the server and to no markup"(world) {
    const page = await world.page();
    const asked = [];
    page.page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    for (const hash of ["sessions/..%2f..%2fv1%2ftokens", "sessions/%2e%2e", "jobs/..", "approvals/%3Cimg%20src=x%20onerror=alert(1)%3E", "nothing/%E0%A4%A", "<svg onload=alert(1)>", "profiles/..%2F/x"]) {
      await page.page.goto(`${world.base}/ui#/${hash}`);
      await page.page.locator("main h1").first().waitFor();
      await isClean(page);
    }
    assert.ok(!asked.includes("/v1/tokens"), asked.join(" "));
  },

  async "no other page can frame it, and the policy holds"(world) {
    const answer = await fetch(`${world.base}/ui`);
    const policy = answer.headers.get("content-security-policy");
    for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "trusted-types 'none'"]) {
      assert.ok(policy.includes(part), part);
    }
    assert.ok(!/unsafe|\*|https?:/.test(policy), policy);
    assert.equal(answer.headers.get("x-frame-options"), "DENY");
    assert.equal(answer.headers.get("set-cookie"), null);
    // That the watch of this suite would notice: an inline script and markup from text are refused.
    const page = await world.page();
    const refused = await page.page.evaluate(() => {
      try {
        document.createElement("div").innerHTML = "<b>x</b>";
        return false;
      } catch {
        return true;
      }
    });
    assert.ok(refused, "markup from text is refused by the browser");
    await page.page.evaluate(() => {
      const image = document.createElement("img");
      image.src = "http://evil.invalid/x.png";
      document.body.append(image);
    });
    await world.until("the refusal", () => page.faults.some((fault) => /Content Security Policy/.test(fault)));
  },

  async "what jobs say and leave stays text"(world) {
    if (!(await world.has("/v1/jobs"))) throw new Error("jobs are not served");
    const job = await world.ask("POST", "/v1/jobs", { agent_id: "mole", engine: "mini", prompt: "hostile", labels: { pier: WORDS[2] }, artifacts: ["*"] });
    await world.until("the end of the job", async () => ["completed", "failed"].includes((await world.ask("GET", `/v1/jobs/${job.id}`)).status));
    const page = await world.page();
    await page.view("jobs");
    await page.sees(WORDS[2]);
    await isClean(page);
    await page.view(`jobs/${job.id}`);
    await page.page.locator(".files li", { hasText: "onerror" }).waitFor();
    await page.page.getByRole("region", { name: "Log" }).locator(".end .badge").waitFor();
    await unfold(page);
    await page.sees(`${WORDS[0]}`);
    await isClean(page);
    const [file] = await Promise.all([page.page.waitForEvent("download"), page.page.locator(".files li", { hasText: "onerror" }).getByRole("button").click()]);
    assert.match(file.suggestedFilename(), /^[\w .-]+$/);
    await isClean(page);
  },
};
