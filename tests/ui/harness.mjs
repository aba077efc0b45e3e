// A browser that notices everything that may not happen.

import { createRequire } from "node:module";
import assert from "node:assert/strict";

export { assert };

// Whatever is waited for comes within this time, or the test fails.
export const PATIENCE_MS = 600_000;
// How long one of several tries is given.
const TRY_MS = 10_000;
// How long a view may take to come to rest before it is looked at as it is.
const REST_MS = 5_000;
// Within this time of its own a page has drawn what it knows.
export const DRAWN_MS = 200;

// Answers that the page asks for on purpose and shows calmly.
const CALM = /the server responded with a status of (401|403|404|409|422)/;

export class Page {
  constructor(world, context, page) {
    Object.assign(this, { world, context, page, faults: [] });
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => this.faults.push(`an error of the page: ${error.stack ?? error.message}`));
    page.on("dialog", (dialog) => {
      this.faults.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()) && !CALM.test(message.text())) this.faults.push(`the console: ${message.text()}`);
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      const isOwn = [world.base, world.issuer].includes(url.origin) || ["data:", "blob:"].includes(url.protocol);
      if (!isOwn) this.faults.push(`a request to ${request.url()}`);
      if (/lz[btc]_/.test(url.search + url.pathname)) this.faults.push(`a secret in an address: ${request.url()}`);
    });
    page.on("popup", () => this.faults.push("a window was opened"));
  }

  // Goes to a view of the page.
  async view(path) {
    await this.page.goto(`${this.world.base}/ui#/${path}`);
    await this.page.locator("main h1").first().waitFor();
  }

  // Waits until a text is seen.
  async sees(text, within = "main") {
    await this.page.locator(within).getByText(text).first().waitFor();
  }

  // Does something until a place of the page is seen: whatever was drawn anew meanwhile may have taken the first try back.
  async until(place, act) {
    await this.world.until("what was to be seen", async () => {
      if (await place.first().isVisible()) return true;
      await act();
      return place.first().waitFor({ timeout: TRY_MS }).then(() => true, () => false);
    });
  }

  // Opens what is folded away behind some words, so that a place in it is seen.
  async opens(words, place) {
    await this.until(place, () => words.first().click());
  }

  // Presses two keys, one after the other, until their view is there: a machine that stands still between them makes two of them.
  async keys(first, second, place) {
    await this.until(place, async () => {
      await this.page.keyboard.press(first);
      await this.page.keyboard.press(second);
    });
  }

  // Waits for a while until nothing is on its way any more. A view that goes on asking never comes to that.
  async settles() {
    await this.page.waitForLoadState("networkidle", { timeout: REST_MS }).catch(() => {});
  }

  check() {
    assert.deepEqual(this.faults, []);
  }
}

// What the parts work with: the daemon's address, the owner's token, and a browser.
export class World {
  static async start() {
    const require = createRequire(`${process.env.LAZARET_UI_NODE}/`);
    const { chromium } = require("playwright-core");
    const world = new World();
    world.base = process.env.LAZARET_UI_BASE;
    world.owner = process.env.LAZARET_UI_TOKEN;
    // The one other place that a page may lead to, where there is one.
    world.issuer = process.env.LAZARET_UI_ISSUER;
    // Root may not use Chromium's own sandbox; what it loads here is the test's own daemon.
    const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
    world.browser = await chromium.launch({ executablePath: process.env.LAZARET_UI_CHROMIUM ?? "/usr/bin/chromium", args, timeout: PATIENCE_MS });
    return world;
  }

  async ask(method, path, body, headers = {}) {
    const answer = await fetch(`${this.base}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.owner}`, ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  async has(path) {
    const answer = await fetch(`${this.base}${path}`, { headers: { authorization: `Bearer ${this.owner}` } });
    return answer.status !== 404;
  }

  async link() {
    return (await this.ask("POST", "/v1/login/link")).url;
  }

  // A page of its own, not logged in.
  async fresh(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    return new Page(this, context, await context.newPage());
  }

  // A page that is logged in by a link.
  async page(options) {
    const page = await this.fresh(options);
    await page.page.goto(await this.link());
    await page.page.locator("nav a[aria-current=page]").waitFor({ state: "attached" });
    return page;
  }

  // Waits until something is so at the server.
  async until(what, test) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = await test();
      if (found) return found;
      assert.ok(Date.now() < end, `${what} did not come`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  // A session with one turn that is over.
  async session(text, form = {}) {
    const { id } = await this.ask("POST", "/v1/sessions", { engine: "mini", ...form });
    await this.turn(id, text);
    return id;
  }

  async turn(id, text) {
    const { turn } = await this.ask("POST", `/v1/sessions/${id}/messages`, { text });
    await this.until("the end of the turn", async () => (await this.ask("GET", `/v1/sessions/${id}/turns?limit=1000`)).items.find((t) => t.id === turn)?.outcome);
  }
}
