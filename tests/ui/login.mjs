// The way in and out.

import { assert } from "./harness.mjs";

export const tests = {
  async "a link logs in once and leaves no trace of its code"(world) {
    const link = await world.link();
    const page = await world.fresh();
    await page.page.goto(link);
    await page.page.locator("nav").waitFor({ state: "attached" });
    assert.equal(page.page.url(), `${world.base}/ui#/`);
    await page.sees("Overview");
    // Back does not lead to the code.
    const entries = await page.page.evaluate(() => history.length);
    assert.ok(entries <= 2, `${entries} entries of history`);
    const kept = await page.page.evaluate(() => ({ local: { ...localStorage }, session: Object.keys(sessionStorage), cookie: document.cookie }));
    assert.deepEqual(kept.session, ["lazaret-token"]);
    assert.equal(kept.cookie, "");
    assert.ok(!/lz[cbt]_/.test(JSON.stringify(kept.local)), "nothing secret outlives the tab");
    page.check();

    const second = await world.fresh();
    await second.page.goto(link);
    await second.page.getByRole("alert").waitFor();
    await second.sees("used already or is too old");
    await second.sees("lazaret ui");
    assert.equal(await second.page.locator("nav").count(), 0);
    second.check();
  },

  async "a wrong code is refused, and no code shows the way"(world) {
    const page = await world.fresh();
    await page.page.goto(`${world.base}/ui#lzc_guess`);
    await page.page.getByRole("alert").waitFor();
    assert.ok(!page.page.url().includes("lzc_"));
    await page.sees("UNAUTHORIZED");
    const plain = await world.fresh();
    await plain.page.goto(`${world.base}/ui`);
    await plain.sees("lazaret ui");
    page.check();
    plain.check();
  },

  async "logging out ends the token on the server too"(world) {
    const page = await world.page();
    const token = await page.page.evaluate(() => sessionStorage.getItem("lazaret-token"));
    const look = async () => (await fetch(`${world.base}/v1/status`, { headers: { authorization: `Bearer ${token}` } })).status;
    assert.equal(await look(), 200);
    await page.page.getByRole("button", { name: "Log out" }).click();
    await page.sees("lazaret ui");
    await world.until("the end of the token", async () => (await look()) === 401);
    assert.equal(await page.page.evaluate(() => sessionStorage.length), 0);
    page.check();
  },

  async "a token that ended shows the way in"(world) {
    const page = await world.page();
    await page.page.evaluate(() => sessionStorage.setItem("lazaret-token", "lzb_wrong"));
    await page.page.evaluate(() => (location.hash = "#/tokens"));
    await page.sees("lazaret ui");
    page.check();
  },

  async "another tab is not logged in by this one"(world) {
    const page = await world.page();
    const other = await page.context.newPage();
    await other.goto(`${world.base}/ui`);
    await other.getByText("lazaret ui").waitFor();
    page.check();
  },
};
