// Every view with real data, in both themes and at the width of a phone.

import { mkdirSync } from "node:fs";
import { assert } from "./harness.mjs";
import { talked } from "./talk.mjs";

const VIEWS = ["", "jobs", "new", "sessions", "approvals", "tasks", "profiles", "envs", "plugins", "agents", "memory", "secrets", "webhooks", "people", "pool", "usage", "tokens", "audit", "chat", "branches", "channels", "wirings", "activity", "setup"];
const WIDTHS = { wide: { width: 1280, height: 800 }, phone: { width: 360, height: 740 } };

async function each(world, page, names) {
  const dir = process.env.LAZARET_UI_SHOTS;
  if (dir) mkdirSync(dir, { recursive: true });
  for (const [name, path] of Object.entries(names)) {
    for (const theme of ["light", "dark"]) {
      for (const [width, size] of Object.entries(WIDTHS)) {
        await page.page.emulateMedia({ colorScheme: theme });
        await page.page.setViewportSize(size);
        await page.view(path);
        await page.settles();
        const aside = await page.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(aside <= 0, `${name} scrolls sideways by ${aside} at ${size.width}`);
        const ground = await page.page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(Number));
        assert.equal(ground.every((part) => part > 128), theme === "light", `${name}: ${theme} is ${ground}`);
        assert.ok((await page.page.locator("main h1").first().innerText()).trim(), `${name} has a head`);
        assert.equal(await page.page.locator("main .trouble").count(), 0, `${name} shows trouble: ${await page.page.locator("main").innerText()}`);
        if (dir) await page.page.screenshot({ path: `${dir}/${name}-${theme}-${width}.png`, fullPage: width === "phone" });
      }
    }
  }
  page.check();
}

export const tests = {
  async "every view is shown with what there is"(world) {
    const id = await world.session("Say what lies in the harbour.");
    await world.ask("POST", "/v1/envs", { name: "Harbour notes" });
    await world.ask("POST", "/v1/tokens", { name: "a program", scope: "write" });
    const names = Object.fromEntries(VIEWS.map((path) => [path || "overview", path]));
    names.session = `sessions/${id}`;
    if (await world.has("/v1/jobs")) {
      const job = await world.ask("POST", "/v1/jobs", { agent_id: "views", engine: "mini", prompt: "Say what lies in the harbour.", labels: { pier: "7" } });
      await world.until("the end of the job", async () => ["completed", "failed"].includes((await world.ask("GET", `/v1/jobs/${job.id}`)).status));
      names.job = `jobs/${job.id}`;
    }
    await talked(world);
    names.conversation = "chat/default";
    names.chat_wiring = `wirings/${(await world.ask("GET", "/v1/chats")).items[0].id}`;
    names.channel = "channels/web";
    const page = await world.page();
    await each(world, page, names);
  },

  async "the theme can be chosen and stays"(world) {
    const page = await world.page({ colorScheme: "light" });
    const ground = () => page.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    const button = page.page.getByRole("button", { name: /^theme:/ });
    await button.click();
    assert.equal(await ground(), light);
    await button.click();
    await page.page.locator("html[data-theme=dark]").waitFor();
    assert.notEqual(await ground(), light);
    await page.page.reload();
    await page.page.locator("html[data-theme=dark]").waitFor();
    assert.notEqual(await ground(), light);
    page.check();
  },

  async "a view of something that is not there says so with its code and request"(world) {
    const page = await world.page();
    await page.view(`sessions/ses_${"0".repeat(32)}`);
    const said = await page.page.getByRole("alert").first().innerText();
    assert.match(said, /NOT_FOUND/);
    assert.match(said, /request req_[0-9a-f]{16}/);
    page.check();
  },
};
