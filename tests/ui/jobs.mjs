// Jobs, from the form to what came of them.

import { readFileSync } from "node:fs";
import { assert } from "./harness.mjs";

async function fill(page, prompt, more = {}) {
  await page.view("new");
  await page.page.getByLabel("Prompt").fill(prompt);
  await page.page.getByText("More: engine").click();
  await page.page.locator("select[name=engine]").selectOption("mini");
  for (const [name, value] of Object.entries(more)) await page.page.locator(`[name=${name}]`).fill(value);
}

const state = (page, word) => page.page.locator("main .head .badge", { hasText: word });

export const tests = {
  async "a job goes from the form to its result, and again"(world) {
    const page = await world.page();
    await fill(page, "note the tide", { agent_id: "pier", artifacts: "*.txt", labels: "berth=7" });
    await page.page.locator("input[type=file]").setInputFiles({ name: "cargo.txt", mimeType: "text/plain", buffer: Buffer.from("ten crates") });
    await page.page.getByRole("button", { name: "Run the job" }).click();
    await page.page.waitForURL(/#\/jobs\/pier-/);
    const first = page.page.url();
    await state(page, "completed").waitFor();
    await page.page.getByRole("region", { name: "Log" }).locator(".end .badge", { hasText: "completed" }).waitFor();
    await page.sees("the tide is noted");
    await page.page.getByText("Prompt", { exact: true }).click();
    await page.page.getByLabel("prompt", { exact: true }).getByText("note the tide").waitFor();
    const row = page.page.locator(".files li", { hasText: "tide.txt" });
    const [file] = await Promise.all([page.page.waitForEvent("download"), row.getByRole("button", { name: "download" }).click()]);
    assert.equal(file.suggestedFilename(), "tide.txt");
    assert.match(readFileSync(await file.path(), "utf8"), /ebb at noon/);
    await page.page.locator(".files li", { hasText: "cargo.txt" }).waitFor();

    await page.page.getByRole("button", { name: "Run again" }).click();
    await page.page.waitForURL((url) => url.href !== first);
    await state(page, "completed").waitFor();

    await page.view("jobs?label=berth%3D7");
    await page.page.locator("table a.open").first().waitFor();
    assert.ok((await page.page.locator("table a.open").count()) >= 2);
    await page.page.getByLabel("State").selectOption("failed");
    await page.sees("No job is like that");
    page.check();
  },

  async "a job is cancelled, and its end is seen without asking again"(world) {
    const page = await world.page();
    await fill(page, "hold on", { agent_id: "mole" });
    await page.page.getByRole("button", { name: "Run the job" }).click();
    await state(page, "running").waitFor();
    await page.page.getByRole("region", { name: "Log" }).locator(".tool .badge", { hasText: "running" }).waitFor();
    await page.page.getByRole("button", { name: "Cancel" }).click();
    await page.page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await state(page, "cancelled").waitFor();
    page.check();
  },

  async "a job that is refused says which field"(world) {
    const page = await world.page();
    await fill(page, "x", { webhook_url: "http://169.254.169.254/latest" });
    await page.page.getByRole("button", { name: "Run the job" }).click();
    const said = await page.page.getByRole("alert").first().innerText();
    assert.match(said, /webhook_url/);
    assert.match(said, /request req_/);
    page.check();
  },
};
