// The first steps on the page, as somebody new takes them: from an empty home to a chat that answers.

import { createHmac, randomUUID } from "node:crypto";
import { assert } from "./harness.mjs";

const { LAZARET_UI_KEY: KEY, LAZARET_UI_PLATFORM: PLATFORM, LAZARET_UI_SECRET: SECRET } = process.env;

// Somebody's program tells the account what was said to it, until that is taken.
async function says(world, text) {
  const body = JSON.stringify({ id: randomUUID(), chat: "ann", sender: { id: "ann", name: "Ann" }, text });
  await world.until("the request is taken", async () => {
    const at = Math.floor(Date.now() / 1000);
    const tag = createHmac("sha256", SECRET).update(`${at}.${body}`).digest("hex");
    const headers = { "content-type": "application/json", "x-lazaret-signature": `t=${at},v1=${tag}` };
    const answer = await fetch(`${world.base}/hooks/webhook`, { method: "POST", headers, body });
    await answer.text();
    assert.ok(answer.ok || answer.status === 429, `${answer.status}`);
    return answer.ok;
  });
}

export const tests = {
  async "somebody new is led from nothing to a chat that answers"(world) {
    const page = await world.page();
    await page.view("setup");
    const step = (n) => page.page.locator("ol.steps > li").nth(n);
    const done = (n) => step(n).locator(".head .badge", { hasText: "done" }).waitFor();
    const send = (n, name) => step(n).getByRole("button", { name, exact: true }).click();

    // A key that is refused is told of, and not kept.
    await step(0).locator("[name=key]").fill("sk-ant-not-the-key");
    await send(0, "Keep and try it");
    await step(0).locator("[role=status] .badge", { hasText: "failed" }).waitFor();
    assert.deepEqual((await world.ask("GET", "/v1/secrets")).items, []);
    // That the provider refused it is one request of the page that failed.
    page.faults.length = 0;
    await step(0).locator("[name=key]").fill(KEY);
    await send(0, "Keep and try it");
    await done(0);
    assert.ok(!(await page.page.content()).includes(KEY), "it is not shown again");

    await step(1).locator("[name=name]").fill("andy");
    await send(1, "Make it");
    await done(1);

    await step(2).locator("select").selectOption("webhook");
    await step(2).locator("[name='field.base_url']").fill(PLATFORM);
    await step(2).locator("[name='field.secret']").fill(SECRET);
    await send(2, "Connect");
    await done(2);
    await world.until("the account is well", async () => (await world.ask("GET", "/v1/channels/webhook")).health === "well");

    await step(3).getByRole("link", { name: "Make a code" }).click();
    const agent = page.page.locator("form[aria-label='Make a pairing code'] [name=agent]");
    await page.opens(page.page.getByText("Make a code that somebody writes in a chat"), agent);
    await agent.selectOption("andy");
    await page.page.locator("form[aria-label='Make a pairing code'] [name=role]").selectOption("owner");
    await page.page.getByRole("button", { name: "Make a code", exact: true }).click();
    const code = await page.page.locator("output.code-digits").innerText();
    await says(world, code.replace(/\D/g, ""));
    await page.page.locator(".code-card .badge", { hasText: "used" }).waitFor();
    await page.view("setup");
    await done(3);

    await says(world, "good day");
    await page.sees("Everything is there");
    await done(4);
    page.check();
  },
};
