// Branch agents on the page: looked at, compared, judged, and merged as they were seen.

import { assert } from "./harness.mjs";

const PHONE = { width: 360, height: 740 };

const agent = async (world, branch) => (await world.ask("GET", "/v1/branches?limit=100")).items.find((one) => one.branch === branch);
const decide = (page, name) => page.page.getByRole("region", { name: "Decide" }).getByRole("button", { name, exact: true });
const note = (page, text) => page.page.locator("main .note", { hasText: text });

async function look(world, page, branch) {
  const of = await agent(world, branch);
  await page.view(`branches/${of.id}`);
  await page.page.getByRole("heading", { name: branch }).waitFor();
  return of;
}

// Presses a button that asks once more, and answers with its own word.
async function sure(page, name) {
  await decide(page, name).click();
  const box = page.page.locator("dialog[open]");
  await box.waitFor();
  return { asks: await box.locator("p").first().innerText(), box, yes: () => box.getByRole("button", { name, exact: true }).click() };
}

export const tests = {
  async "agents stand beside each other, with what would conflict"(world) {
    const page = await world.page();
    await page.view("branches");
    for (const branch of ["feat/one", "feat/two"]) await page.page.getByLabel(`Compare ${branch}`).check();
    await note(page, "conflict in README.md").waitFor();
    page.check();
  },

  async "changes are read side by side, and what hides in them is told"(world) {
    const page = await world.page();
    await look(world, page, "feat/one");
    await note(page, "something that a reader should look at twice").waitFor();
    await page.page.locator(".diff-files > li", { hasText: "sly.txt" }).locator(".badge", { hasText: "bidi" }).waitFor();
    await page.page.getByRole("button", { name: "README.md" }).click();
    const row = page.page.locator("table.diff.split tr", { hasText: "two of one" });
    await row.waitFor();
    assert.deepEqual(await row.locator("td").allInnerTexts(), ["2", "two", "2", "two of one"], "the old line stands beside the new one");
    await page.page.getByLabel("side by side").uncheck();
    await page.page.locator("table.diff:not(.split) tr.plus").waitFor();
    const lines = await page.page.locator("table.diff:not(.split) tr.minus, table.diff:not(.split) tr.plus").allInnerTexts();
    assert.deepEqual(lines.map((line) => line.trim().split(/\s+/).slice(1).join(" ")), ["- two", "+ two of one"]);
    page.check();
  },

  async "a check, a verdict and a merge are a press each, on a phone"(world) {
    const page = await world.page({ viewport: PHONE });
    const of = await look(world, page, "feat/one");
    await decide(page, "Run its check").click();
    await page.page.locator("main .tool .badge", { hasText: "passed" }).waitFor();
    await decide(page, "Approve").click();
    await world.until("the verdict", async () => (await agent(world, "feat/one")).verdict?.verdict === "approved");
    await decide(page, "Would it merge?").click();
    await page.page.locator("main [role=status] .badge", { hasText: "ready" }).waitFor();
    const { asks, yes } = await sure(page, "Merge");
    assert.ok(asks.includes(`feat/one at ${of.tip.slice(0, 12)} into main`), asks);
    await yes();
    await page.page.locator("main [role=status] .badge", { hasText: "merged" }).waitFor();
    assert.equal((await agent(world, "feat/one")).merged_into, "main");
    const wide = await page.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wide <= 0, `it scrolls sideways by ${wide}`);
    page.check();
  },

  async "a conflict changes nothing, and its agent is offered it"(world) {
    const page = await world.page();
    await look(world, page, "feat/two");
    await (await sure(page, "Merge")).yes();
    await note(page, "Conflicts in README.md").waitFor();
    await page.page.getByRole("button", { name: "Let the agent resolve it" }).waitFor();
    assert.equal((await agent(world, "feat/two")).merged_into, null);
    page.check();
  },

  async "what came after the question is not merged with the answer"(world) {
    const page = await world.page();
    const of = await look(world, page, "moves");
    const { box, yes } = await sure(page, "Merge");
    await world.ask("POST", `/v1/branches/${of.id}/messages`, { text: process.env.LAZARET_UI_FURTHER });
    const now = await world.until("a further commit", async () => {
      const found = await agent(world, "moves");
      return found.state === "done" && found.commits === 2 && found;
    });
    // The page has learned of it meanwhile; the question is still the one that was asked.
    await page.page.locator("main dl code", { hasText: now.tip.slice(0, 12) }).first().waitFor();
    await yes();
    await box.locator(".trouble", { hasText: "no longer at" }).waitFor();
    assert.equal((await agent(world, "moves")).merged_into, null);
    await box.getByRole("button", { name: "Leave it" }).click();
    await (await sure(page, "Merge")).yes();
    await world.until("the merge", async () => (await agent(world, "moves")).merged_into === "main");
    page.check();
  },

  async "an agent of two repositories is seen in both and goes through the queue of both"(world) {
    const page = await world.page();
    const of = await look(world, page, "both");
    await page.page.getByRole("table", { name: "Repositories beside the first one" }).getByText("lib").waitFor();
    await page.page.getByRole("heading", { name: "Changes in lib" }).waitFor();
    await page.page.getByRole("button", { name: "of-lib.txt" }).click();
    await page.page.locator("table.diff", { hasText: "for lib" }).waitFor();
    await (await sure(page, "Queue")).yes();
    await page.page.getByRole("status", { name: "Merge queue" }).locator(".badge", { hasText: "merged" }).waitFor();
    const { also, merged_into } = await agent(world, "both");
    assert.deepEqual([merged_into, also[0].merged_into], ["main", "main"]);
    const [queue] = (await world.ask("GET", "/v1/merge-queues")).items;
    assert.equal(queue.places[0].expect, `${of.tip},lib=${of.also[0].tip}`);
    page.check();
  },

  async "what an agent wants to do is answered from its card, on a phone"(world) {
    const page = await world.page({ viewport: PHONE });
    await page.view("branches");
    const card = page.page.getByRole("article", { name: "Agent on asks" });
    await card.getByRole("link", { name: "answer" }).click();
    const call = page.page.getByRole("article", { name: "Confirmation of mark_set" });
    await call.getByLabel("exact arguments").getByText('"text": "one"').waitFor();
    await call.getByRole("button", { name: "Approve" }).click();
    await page.sees("Nothing waits for you");
    await page.view("branches");
    await card.locator(".badge", { hasText: "done" }).waitFor();
    page.check();
  },

  async "what an agent asks is answered from its card, on a phone"(world) {
    const page = await world.page({ viewport: PHONE });
    await page.view("branches");
    const card = page.page.getByRole("article", { name: "Agent on wonders" });
    await card.getByText("an answer: Which colour?").waitFor();
    await card.getByRole("link", { name: "answer" }).click();
    await page.page.getByRole("region", { name: "Question" }).getByRole("button", { name: "red" }).click();
    await page.view("branches");
    await card.locator(".badge", { hasText: "done" }).waitFor();
    page.check();
  },
};
