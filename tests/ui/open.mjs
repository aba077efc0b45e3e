// Servers in the sandboxes of two agents, opened by links that each work once.

import http from "node:http";
import { PATIENCE_MS, assert } from "./harness.mjs";

const [first, second] = process.env.LAZARET_UI_LINKS.split(" ");

// What becomes of a request that a page makes of another origin, in each way that a page has.
const tried = (origin) =>
  Promise.all([
    fetch(`${origin}/count`).then((answer) => `read ${answer.status}`, () => "refused"),
    fetch(`${origin}/count`, { mode: "no-cors", credentials: "include" }).then((answer) => `sent ${answer.type}`, () => "refused"),
    new Promise((done) => {
      try {
        const socket = new WebSocket(`${origin.replace("http", "ws")}/live`);
        socket.onopen = () => done("opened");
        socket.onerror = () => done("refused");
      } catch {
        done("refused");
      }
    }),
    new Promise((done) => {
      const image = new Image();
      image.onload = () => done("loaded");
      image.onerror = () => done("refused");
      image.src = `${origin}/count`;
    }),
  ]);

// The status that a request with this Host gets, past every browser.
const asked = (base, host, cookie) =>
  new Promise((done, failed) => {
    const { hostname, port } = new URL(base);
    const request = http.request({ hostname, port, path: "/count", headers: { host, cookie } }, (answer) => {
      answer.resume();
      done(answer.statusCode);
    });
    request.on("error", failed);
    request.end();
  });

export const tests = {
  async "each agent's page is an origin of its own, and its socket works"(world) {
    const context = await world.browser.newContext();
    const pages = [];
    for (const [link, name] of [[first, "feat/one"], [second, "feat/two"]]) {
      const page = await context.newPage();
      page.setDefaultTimeout(PATIENCE_MS);
      await page.goto(link);
      await page.getByRole("heading", { name }).waitFor();
      await page.locator("#said", { hasText: "heard hello" }).waitFor();
      pages.push(page);
    }
    const [one, two] = pages;
    const [own, other] = pages.map((page) => new URL(page.url()));
    for (const url of [own, other]) assert.ok(url.hostname.endsWith(".localhost"), url.hostname);
    assert.notEqual(own.origin, other.origin);

    // A link that was used leads nobody anywhere.
    const stranger = await (await world.browser.newContext()).newPage();
    assert.equal((await stranger.goto(first)).status(), 401);
    assert.equal((await stranger.goto(`${own.origin}/`)).status(), 401, "nor does the name alone");

    // Neither the other agent's server nor the daemon is reached from the page; nothing of it arrives.
    const count = () => two.evaluate(async () => Number(await (await fetch("/count")).text()));
    const before = await count();
    for (const origin of [other.origin, world.base]) {
      assert.deepEqual(await one.evaluate(tried, origin), ["refused", "refused", "refused", "refused"], origin);
    }
    // The control: the page itself reaches its server, by the same ways.
    const [read, , opened] = await two.evaluate(tried, other.origin);
    assert.deepEqual([read, opened], ["read 200", "opened"]);
    // Three of its own and the two looks: nothing came of the other page.
    assert.ok((await count()) <= before + 5, "only its own requests came");

    // Other names for the same address, with the cookie that is right for this one.
    const cookies = (await context.cookies(own.origin)).map(({ name, value }) => `${name}=${value}`).join("; ");
    assert.equal(await asked(world.base, own.host, cookies), 200);
    for (const host of ["evil.example", `x.${own.host}`, `${own.hostname}.evil.example:${own.port}`]) {
      assert.ok([400, 403, 421].includes(await asked(world.base, host, cookies)), host);
    }
    assert.equal(await asked(world.base, other.host, cookies), 401, "another agent's name wants its own cookie");
    assert.notEqual(await asked(world.base, new URL(world.base).host, cookies), 200, "the cookie is nothing under the name of the daemon");
  },
};
