// The first steps with a model of this machine: no key, nothing typed in a terminal.

import { assert } from "./harness.mjs";

const { LAZARET_UI_MODEL: MODEL } = process.env;

export const tests = {
  async "somebody without a key is led to an agent that answers"(world) {
    const page = await world.page();
    await page.view("setup");
    const step = (n) => page.page.locator("ol.steps > li").nth(n);
    const done = (n) => step(n).locator(".head .badge", { hasText: "done" }).waitFor();

    const address = step(0).locator("[name=base_url]");
    await page.opens(step(0).getByText("A model of this machine"), address);
    await address.fill("http://127.0.0.1:1/v1");
    await step(0).getByRole("button", { name: "Use it" }).click();
    await step(0).locator(".trouble").waitFor();
    assert.ok(!(await world.ask("GET", "/v1/providers")).items.some((provider) => provider.usable), "one that does not answer is not kept");
    // That nothing answered there is one request of the page that failed.
    page.faults.length = 0;
    await address.fill(MODEL);
    await step(0).getByRole("button", { name: "Use it" }).click();
    await done(0);

    await step(1).locator("[name=name]").fill("andy");
    // It says what there is.
    const listed = step(1).locator("#near-models option");
    await listed.first().waitFor({ state: "attached" });
    const models = await listed.evaluateAll((options) => options.map((option) => option.value));
    await step(1).locator("[name=model]").fill(models[0]);
    await step(1).getByRole("button", { name: "Make it", exact: true }).click();
    await done(1);
    const agent = await world.ask("GET", "/v1/agents/andy");
    assert.equal(agent.model, `local/${models[0]}`);
    await world.session("good day", { agent: "andy" });
    page.check();
  },
};
