// What people do with the page, done with the mouse.

import { DRAWN_MS, assert } from "./harness.mjs";

async function send(page, text) {
  await page.page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.page.getByRole("button", { name: "Send" }).click();
}

// The n-th turn of the conversation, once it is over.
function turn(page, n) {
  return page.page.locator("ol.turns > li").nth(n - 1);
}

async function ended(page, n, how = "completed") {
  await turn(page, n).locator(".end.muted .badge", { hasText: how }).waitFor();
}

export const tests = {
  async "a conversation streams, goes back, and goes another way"(world) {
    const page = await world.page();
    await page.view("sessions");
    await page.page.getByRole("button", { name: "New session" }).click();
    await page.page.getByLabel("Title").fill("Harbour");
    await page.page.locator("select[name=engine]").selectOption("mini");
    await page.page.getByRole("button", { name: "Begin" }).click();
    await page.page.getByRole("heading", { name: "Harbour" }).waitFor();
    await send(page, "count slowly");
    // That pieces are seen before the end, the test of what is cancelled shows: its turn would never end.
    const said = turn(page, 1).locator(".answer .said");
    await said.filter({ hasText: "one two" }).waitFor();
    await ended(page, 1);
    assert.match(await said.innerText(), /the end/);
    await send(page, "note the tide");
    await ended(page, 2);
    await turn(page, 2).getByRole("button", { name: "Files changed" }).click();
    await turn(page, 2).getByRole("button", { name: /tide\.txt/ }).click();
    await turn(page, 2).locator(".patch .plus", { hasText: "ebb at noon" }).waitFor();

    const origin = page.page.url();
    await page.page.getByRole("button", { name: "Fork", exact: true }).click();
    await page.page.waitForURL((url) => url.href !== origin);
    assert.match(page.page.url(), /sessions\/ses_/);
    await page.page.getByText("Forked from").waitFor({ state: "attached" });
    await page.page.goBack();
    // The other one has the same title and turns: it must be gone.
    await page.page.getByText("Forked from").waitFor({ state: "detached" });
    await page.page.getByRole("heading", { name: "Harbour" }).waitFor();
    await ended(page, 2);
    await page.page.getByRole("button", { name: "Undo", exact: true }).click();
    await turn(page, 2).locator(".badge", { hasText: "undone" }).waitFor();
    await page.page.getByRole("button", { name: "Rename" }).click();
    await page.page.getByRole("dialog", { name: "Rename" }).getByLabel("Title").fill("Pier");
    await page.page.getByRole("dialog", { name: "Rename" }).getByRole("button", { name: "Rename" }).click();
    await page.page.getByRole("heading", { name: "Pier" }).waitFor();
    page.check();
  },

  async "an answer that comes late puts nothing older back"(world) {
    const { id } = await world.ask("POST", "/v1/sessions", { engine: "mini" });
    const page = await world.page();
    await page.view(`sessions/${id}`);
    await page.sees("Nothing was said yet");
    // The first answer from now on is kept back until a newer one is shown.
    let [late, hold, free] = [];
    const held = new Promise((done) => (hold = done));
    const freed = new Promise((done) => (free = done));
    await page.page.route(`**/v1/sessions/${id}`, async (route) => {
      if (late || route.request().method() !== "GET") return route.continue();
      late = route.request();
      const response = await route.fetch();
      hold();
      await freed;
      return route.fulfill({ response });
    });
    await page.page.getByRole("button", { name: "Rename" }).click();
    await page.page.getByRole("dialog", { name: "Rename" }).getByLabel("Title").fill("Quay");
    await page.page.getByRole("dialog", { name: "Rename" }).getByRole("button", { name: "Rename" }).click();
    await held;
    await page.page.getByRole("button", { name: "Archive", exact: true }).click();
    const archived = page.page.getByText("This session is archived");
    await archived.waitFor();
    const came = page.page.waitForEvent("requestfinished", (request) => request === late);
    free();
    await came;
    await page.page.evaluate((rest) => new Promise((done) => setTimeout(done, rest)), DRAWN_MS);
    assert.ok(await archived.isVisible());
    page.check();
  },

  async "what runs is cancelled from the page"(world) {
    const { id } = await world.ask("POST", "/v1/sessions", { engine: "mini" });
    const page = await world.page();
    await page.view(`sessions/${id}`);
    await send(page, "hold on");
    await turn(page, 1).locator(".tool .badge", { hasText: "running" }).waitFor();
    await page.page.getByRole("button", { name: "Cancel" }).click();
    await ended(page, 1, "cancelled");
    page.check();
  },

  async "a call waits for a yes on the page, and is made"(world) {
    const page = await world.page();
    const { id } = await world.ask("POST", "/v1/sessions", { engine: "mini" });
    await world.ask("POST", `/v1/sessions/${id}/messages`, { text: "mark one" });
    await page.page.locator("nav .count", { hasText: "1" }).waitFor();
    await page.view("approvals");
    const card = page.page.getByRole("article", { name: "Confirmation of mark_set" });
    await card.getByLabel("exact arguments").getByText('"text": "one"').waitFor();
    const asked = (await world.ask("GET", "/v1/approvals?status=pending")).items[0];
    assert.ok((await card.innerText()).includes(asked.hash), "the whole hash is shown");
    await card.getByRole("button", { name: "Approve" }).click();
    await page.sees("Nothing waits for you");
    await world.until("the answer", async () => (await world.ask("GET", `/v1/approvals/${asked.id}`)).status === "approved");
    await world.until("the end", async () => (await world.ask("GET", `/v1/sessions/${id}`)).state === "idle");

    await world.ask("POST", `/v1/sessions/${id}/messages`, { text: "mark two" });
    await card.getByLabel("exact arguments").getByText('"text": "two"').waitFor();
    await card.getByLabel("Note for the agent").fill("not now");
    await card.getByRole("button", { name: "Deny" }).click();
    await page.sees("Nothing waits for you");
    await page.page.getByLabel("Show").selectOption("denied");
    await page.sees("not now");
    page.check();
  },

  async "a token is shown once and ends at once"(world) {
    const page = await world.page();
    await page.view("tokens");
    await page.opens(page.page.getByText("Make a token"), page.page.getByLabel("Name"));
    await page.page.getByLabel("Name").fill("from the page");
    await page.page.getByRole("button", { name: "Make", exact: true }).click();
    const token = await page.page.getByLabel("Token", { exact: true }).inputValue();
    assert.match(token, /^lzt_/);
    const look = async () => (await fetch(`${world.base}/v1/status`, { headers: { authorization: `Bearer ${token}` } })).status;
    assert.equal(await look(), 200);
    await page.page.getByRole("button", { name: "I have it" }).click();
    const row = page.page.locator("tr", { hasText: "from the page" });
    await row.waitFor();
    assert.ok(!(await page.page.content()).includes(token), "it is not shown again");
    await row.getByRole("button", { name: "Revoke" }).click();
    await row.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
    await row.locator(".badge", { hasText: "revoked" }).waitFor();
    assert.equal(await look(), 401);
    page.check();
  },

  async "an env is made, changed, used and deleted"(world) {
    const page = await world.page();
    await page.view("envs");
    await page.opens(page.page.getByText("Make an env"), page.page.getByLabel("Name", { exact: true }));
    await page.page.getByLabel("Name", { exact: true }).first().fill("Tide tables");
    await page.page.getByRole("button", { name: "Make", exact: true }).click();
    const row = page.page.locator("tr", { hasText: "tide-tables" });
    await row.waitFor();
    await row.getByRole("button", { name: "edit tide-tables" }).click();
    const box = page.page.getByRole("dialog", { name: "Edit the env" });
    await box.getByLabel("What every session in it is told").fill("The harbour closes at noon.");
    await box.getByRole("button", { name: "Save" }).click();
    await world.until("the change", async () => (await world.ask("GET", "/v1/envs/tide-tables")).core_memory === "The harbour closes at noon.");
    await row.getByRole("button", { name: "Delete" }).click();
    await row.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await row.waitFor({ state: "detached" });
    page.check();
  },

  async "the audit is read and verified"(world) {
    const page = await world.page();
    await page.view("audit");
    await page.page.getByRole("button", { name: "Verify the chain" }).click();
    await page.sees("The chain is whole");
    await page.page.getByLabel("Kind").selectOption("admin");
    await page.opens(page.page.getByRole("button", { name: /^row \d+$/ }), page.page.getByLabel("the whole row"));
    const [file] = await Promise.all([page.page.waitForEvent("download"), page.page.getByRole("button", { name: "Export" }).click()]);
    assert.equal(file.suggestedFilename(), "audit.ndjson");
    page.check();
  },
};
