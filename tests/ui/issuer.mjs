// The way in by an issuer of logins, and what who came by it may do.

import { assert } from "./harness.mjs";

const MEMBER = { sub: "anna", email: "anna@example.com", email_verified: true, name: "Anna" };
const CHIEF = { sub: "clara", email: "clara@example.org", email_verified: true, groups: ["chiefs"] };
const STRANGER = { sub: "eve", email: "eve@example.org", email_verified: true };

const says = async (world, told) => assert.equal((await fetch(`${world.issuer}/test`, { method: "POST", body: JSON.stringify(told) })).status, 200);

// Presses the button in a browser of its own.
async function press(world, claims) {
  await says(world, { claims, lie: null });
  const page = await world.fresh();
  await page.page.goto(`${world.base}/ui`);
  await page.page.getByRole("button", { name: "Log in with your organisation" }).click();
  return page;
}

async function comeIn(world, claims) {
  const page = await press(world, claims);
  await page.page.locator("nav a[aria-current=page]").waitFor({ state: "attached" });
  return page;
}

const tokenOf = (page) => page.page.evaluate(() => sessionStorage.getItem("lazaret-token"));

async function status(world, token, method, path, body) {
  const headers = { authorization: `Bearer ${token}`, ...(body ? { "content-type": "application/json" } : {}) };
  return (await fetch(`${world.base}${path}`, { method, headers, body: body && JSON.stringify(body) })).status;
}

export const tests = {
  async "the button leads to the issuer and back, and nothing secret stays"(world) {
    const page = await comeIn(world, MEMBER);
    assert.equal(page.page.url(), `${world.base}/ui#/`);
    await page.sees("Overview");
    const kept = await page.page.evaluate(() => ({ local: { ...localStorage }, session: Object.keys(sessionStorage), cookie: document.cookie }));
    assert.deepEqual(kept.session, ["lazaret-token"]);
    assert.equal(kept.cookie, "");
    assert.ok(!/lz[cbt]_/.test(JSON.stringify(kept.local)), "nothing secret outlives the tab");
    // Back does not lead to a code that works.
    await page.page.goBack().catch(() => {});
    assert.ok(!/lz[cbt]_/.test(page.page.url()), page.page.url());
    page.check();
  },

  async "a rule says what somebody is"(world) {
    const member = await comeIn(world, MEMBER);
    const chief = await comeIn(world, CHIEF);
    const [less, more] = [await tokenOf(member), await tokenOf(chief)];
    const ask = { name: "made by a person", scope: "read" };
    assert.equal(await status(world, less, "POST", "/v1/tokens", ask), 403);
    assert.equal(await status(world, more, "POST", "/v1/tokens", ask), 201);
    assert.equal(await status(world, less, "POST", "/v1/sessions", {}), 201);
    // Neither sees what another tenant has; the owner does.
    const { id } = await world.ask("POST", "/v1/sessions", {});
    for (const token of [less, more]) assert.equal(await status(world, token, "GET", `/v1/sessions/${id}`), 404);
    assert.equal(await status(world, world.owner, "GET", `/v1/sessions/${id}`), 200);
    member.check();
    chief.check();
  },

  async "logging out ends the token"(world) {
    const page = await comeIn(world, MEMBER);
    const token = await tokenOf(page);
    assert.equal(await status(world, token, "GET", "/v1/sessions"), 200);
    await page.page.getByRole("button", { name: "Log out" }).click();
    await page.sees("lazaret ui");
    await world.until("the end of the token", async () => (await status(world, token, "GET", "/v1/sessions")) === 401);
    // The page does not come in with what was.
    await page.page.evaluate((old) => sessionStorage.setItem("lazaret-token", old), token);
    await page.page.reload();
    await page.page.getByRole("button", { name: "Log in with your organisation" }).waitFor();
    page.check();
  },

  async "who no rule names stays out"(world) {
    const page = await press(world, STRANGER);
    await page.page.getByRole("alert").getByText("You are in no tenant here.").waitFor();
    await page.sees("lazaret ui");
    assert.equal(page.page.url(), `${world.base}/ui#/`);
    assert.equal(await tokenOf(page), null);
    page.check();
  },

  async "a link cannot put words into the page's mouth"(world) {
    const page = await world.fresh();
    await page.page.goto(`${world.base}/ui#refused-WIRE_ME_MONEY`);
    await page.page.getByRole("alert").getByText("The issuer of logins cannot be used now.").waitFor();
    await page.page.goto(`${world.base}/ui#refused-<b>call me</b>`);
    await page.sees("lazaret ui");
    assert.equal(await page.page.getByText("call me").count(), 0);
    page.check();
  },

  async "a code that another tab was given lets nobody in"(world) {
    await says(world, { claims: MEMBER, lie: null });
    const first = await world.fresh();
    // The first tab gets as far as the issuer; who watches takes its code along.
    let asked = null;
    await first.page.route(`${world.issuer}/authorize*`, (route) => {
      asked = route.request().url();
      route.fulfill({ status: 200, contentType: "text/html", body: "who are you?" });
    });
    await first.page.goto(`${world.base}/ui`);
    await first.page.getByRole("button", { name: "Log in with your organisation" }).click();
    await first.page.getByText("who are you?").waitFor();
    const told = await (await fetch(asked)).json();
    const back = new URLSearchParams({ code: told.code, state: told.state });
    const answer = await fetch(`${world.base}/v1/login/callback?${back}`, { redirect: "manual" });
    assert.equal(answer.status, 303);
    const other = await world.fresh();
    await other.page.goto(new URL(answer.headers.get("location"), world.base).href);
    await other.page.getByRole("alert").waitFor();
    assert.equal(await tokenOf(other), null);
    assert.equal(await other.page.locator("nav").count(), 0);
    other.check();
  },
};
