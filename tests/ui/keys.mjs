// Everything by the keyboard alone.

import { assert } from "./harness.mjs";

const focused = (page) => page.page.evaluate(() => {
  const node = document.activeElement;
  return { tag: node.tagName, text: (node.getAttribute("aria-label") ?? node.innerText ?? node.placeholder ?? "").trim(), outline: getComputedStyle(node).outlineStyle };
});

export const tests = {
  async "two keys lead to every view"(world) {
    const page = await world.page();
    const places = { j: "Jobs", n: "New job", s: "Sessions", a: "Approvals", t: "Schedules", p: "Profiles", e: "Envs", l: "Plugins", u: "Usage", k: "Tokens", d: "Audit", c: "Chat", r: "Branch agents", v: "Channels", i: "Wirings", h: "People", y: "Activity", x: "Secrets", f: "First steps", o: "Overview" };
    for (const [key, name] of Object.entries(places)) {
      await page.keys("g", key, page.page.getByRole("heading", { name, level: 1 }));
    }
    await page.page.keyboard.press("?");
    await page.page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.page.keyboard.press("Escape");
    await page.page.getByRole("dialog", { name: "Keys" }).waitFor({ state: "hidden" });
    page.check();
  },

  async "the first stop skips to the page, and every stop can be seen"(world) {
    const page = await world.page();
    await page.page.reload();
    await page.page.locator("nav").waitFor({ state: "attached" });
    await page.sees("Overview");
    await page.page.keyboard.press("Tab");
    assert.match((await focused(page)).text, /Skip/);
    await page.page.keyboard.press("Enter");
    assert.equal((await focused(page)).tag, "MAIN");
    const seen = new Set();
    for (let n = 0; n < 12; n += 1) {
      await page.page.keyboard.press("Tab");
      const at = await focused(page);
      if (at.tag === "BODY") break;
      assert.notEqual(at.outline, "none", `${at.tag} ${at.text} has no visible focus`);
      seen.add(`${at.tag} ${at.text}`);
    }
    assert.ok(seen.size >= 4, [...seen].join("\n"));
    page.check();
  },

  async "a conversation without a mouse"(world) {
    await world.session("the first", { title: "By hand" });
    const page = await world.page();
    await page.keys("g", "s", page.page.getByRole("heading", { name: "Sessions", level: 1 }));
    await page.page.locator("main a.open", { hasText: "By hand" }).waitFor();
    await page.page.keyboard.press("j");
    assert.equal((await focused(page)).text, "By hand");
    await page.page.keyboard.press("Enter");
    await page.page.getByRole("heading", { name: "By hand" }).waitFor();
    await page.page.getByRole("textbox", { name: "Message" }).waitFor();
    await page.page.keyboard.press("/");
    await page.page.keyboard.type("count g j to three");
    await page.page.keyboard.press("Enter");
    const turn = page.page.locator("ol.turns > li").nth(1);
    await turn.locator(".prompt", { hasText: "count g j to three" }).waitFor();
    await turn.locator(".end.muted .badge", { hasText: "completed" }).waitFor();
    page.check();
  },

  async "what somebody types is not taken away when the view is fresh"(world) {
    const page = await world.page();
    await page.view("sessions");
    const field = page.page.getByLabel("Label");
    await field.pressSequentially("pier=");
    // Two rounds of the list go by while the field is written in.
    for (let n = 0; n < 2; n += 1) await page.page.waitForResponse(/\/v1\/sessions($|\?)/);
    await field.pressSequentially("7");
    assert.equal(await field.inputValue(), "pier=7");
    page.check();
  },

  async "a call is approved without a mouse"(world) {
    const { id } = await world.ask("POST", "/v1/sessions", { engine: "mini" });
    await world.ask("POST", `/v1/sessions/${id}/messages`, { text: "mark by hand" });
    const page = await world.page();
    await page.keys("g", "a", page.page.getByRole("heading", { name: "Approvals", level: 1 }));
    await page.page.getByRole("article").waitFor();
    for (let n = 0; (await focused(page)).text !== "Approve"; n += 1) {
      assert.ok(n < 60, "the button is never reached");
      await page.page.keyboard.press("Tab");
    }
    await page.page.keyboard.press("Enter");
    await world.until("the answer", async () => (await world.ask("GET", "/v1/approvals?status=approved")).items.some((item) => item.session === id));
    page.check();
  },
};
