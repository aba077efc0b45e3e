// Jobs, from the form to what came of them.

import { readFileSync } from "node:fs";
import { DRAWN_MS, assert } from "./harness.mjs";

// Longer than the view of a job waits before it asks again.
const SLOW_MS = 2_000;

// Opens what a form has besides, and chooses the engine.
async function chooseMini(page) {
  const engine = page.page.locator("select[name=engine]");
  await page.opens(page.page.getByText("More: engine"), engine);
  await engine.selectOption("mini");
}

async function fill(page, prompt, more = {}) {
  await page.view("new");
  await page.page.locator("[name=prompt]").fill(prompt);
  await chooseMini(page);
  for (const [name, value] of Object.entries(more)) await page.page.locator(`[name=${name}]`).fill(value);
}

const state = (page, word) => page.page.locator("main .head .badge", { hasText: word });

// The form of a profile is there once the profile is known.
async function choose(page, profile, variable) {
  await page.view("new");
  await page.page.locator("main select[data-first]").selectOption(profile);
  await page.page.locator(`[name="var.${variable}"]`).waitFor();
}

export const tests = {
  async "a form is made of the profile's variables, after a check of its text"(world) {
    const page = await world.page();
    await page.view("profiles/profiles");
    await page.page.getByLabel("Name").fill("harbour");
    const text = page.page.getByLabel("Text, in TOML");
    await text.fill("[agent\n");
    await page.page.getByRole("button", { name: "Check" }).click();
    await page.page.getByRole("alert").waitFor();
    await text.fill('[agent]\ndescription = "Work of the <b>harbour</b>."\n\n[prompt]\ntemplate = "note the {{ what }} of pier {{ pier }}"\n\n[prompt.variables.what]\ntype = "string"\nrequired = true\n\n[prompt.variables.pier]\ntype = "integer"\ndefault = 7\n');
    await page.page.getByLabel("Values to try").fill('{"what": "tide"}');
    await page.page.getByRole("button", { name: "Check" }).click();
    await page.sees("It can be kept");
    await page.page.getByLabel("rendered prompt").getByText("note the tide of pier 7").waitFor();
    await page.page.getByRole("button", { name: "Make", exact: true }).click();
    await page.page.getByRole("heading", { name: "harbour", level: 1 }).waitFor();
    await world.until("the text", async () => (await text.inputValue()).includes("default = 7"));
    await text.fill((await text.inputValue()).replace("default = 7", "default = 8"));
    await page.page.getByRole("button", { name: "Save as a new version" }).click();
    await page.sees("version 2");
    await page.page.getByRole("button", { name: "go back to version 1" }).click();
    await page.sees("version 3");

    await choose(page, "harbour", "what");
    await page.sees("Work of the <b>harbour</b>.");
    await page.page.getByRole("button", { name: "Run the job" }).click();
    assert.ok(await page.page.locator('[name="var.what"]').evaluate((field) => !field.validity.valid), "what is needed is asked for");
    await page.page.locator('[name="var.what"]').fill("tide");
    await page.page.locator('[name="var.pier"]').fill("9");
    await chooseMini(page);
    await page.page.getByRole("button", { name: "Run the job" }).click();
    await state(page, "completed").waitFor();
    await page.opens(page.page.getByText("Prompt", { exact: true }), page.page.getByLabel("prompt", { exact: true }).getByText("note the tide of pier 9"));
    page.check();
  },

  async "a schedule is made, run by hand, paused and forgotten"(world) {
    const page = await world.page();
    await page.view("tasks");
    await page.opens(page.page.getByText("Make a schedule"), page.page.locator("[name=cron]"));
    await page.page.locator("[name=name]").fill("Every morning");
    await page.page.locator("[name=cron]").fill("0 0 1 1 *");
    await page.page.locator("[name=zone]").fill("Europe/Berlin");
    await page.page.locator("form select[name=engine]").selectOption("mini");
    await page.page.locator("[name=prompt]").fill("note the tide");
    await page.page.getByRole("button", { name: "Make", exact: true }).click();
    await page.page.getByRole("heading", { name: "Every morning", level: 1 }).waitFor();
    await page.sees("Europe/Berlin");
    await page.page.getByRole("button", { name: "Run now" }).click();
    await page.page.locator("tr", { hasText: "by hand" }).locator(".badge", { hasText: "done" }).waitFor();
    await page.page.getByRole("button", { name: "Pause" }).click();
    await state(page, "paused").waitFor();
    await page.page.getByRole("button", { name: "Resume" }).click();
    await state(page, "active").waitFor();
    await page.page.getByRole("button", { name: "Delete" }).click();
    await page.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.page.waitForURL(/#\/tasks$/);
    page.check();
  },

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
    await page.opens(page.page.getByText("Prompt", { exact: true }), page.page.getByLabel("prompt", { exact: true }).getByText("note the tide"));
    const row = page.page.locator(".files li", { hasText: "tide.txt" });
    const [file] = await Promise.all([page.page.waitForEvent("download"), row.getByRole("button", { name: "download" }).click()]);
    assert.equal(file.suggestedFilename(), "tide.txt");
    assert.match(readFileSync(await file.path(), "utf8"), /ebb at noon/);

    await page.page.getByRole("button", { name: "Run again" }).click();
    await page.page.waitForURL((url) => url.href !== first);
    await state(page, "completed").waitFor();

    // It is shown also when every answer takes longer than the page waits before it asks again, and it is asked for once at a time.
    const second = page.page.url();
    await page.view("jobs");
    let [asks, most] = [0, 0];
    await page.page.route("**/v1/jobs/pier-*", async (route) => {
      asks += 1;
      most = Math.max(most, asks);
      await new Promise((done) => setTimeout(done, SLOW_MS));
      asks -= 1;
      await route.continue();
    });
    await page.page.goto(second);
    await world.until("the slow answer", async () => {
      assert.ok(most <= 1, "it was asked for while the answer was on its way");
      return state(page, "completed").isVisible();
    });

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
    await page.opens(page.page.getByText("Prompt", { exact: true }), page.page.getByLabel("prompt", { exact: true }).getByText("hold on"));
    const prompt = await page.page.locator("main details.about[open]").elementHandle();
    await page.page.getByRole("button", { name: "Cancel" }).click();
    await page.page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await state(page, "cancelled").waitFor();
    // What somebody opened stays open when nothing more is asked for.
    assert.ok(await prompt.evaluate((node, rest) => new Promise((done) => setTimeout(() => done(node.isConnected && node.open), rest)), DRAWN_MS));
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
