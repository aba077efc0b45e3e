// Conversations on the page, and what stands on the pages of channels, wirings, people and activity.

import { assert } from "./harness.mjs";
import { WORDS, isClean, unfold } from "./hostile.mjs";

const PATH = "/v1/web/chats/default/messages";

// A conversation in which something was said and answered.
export async function talked(world, text = "Say what lies in the harbour.") {
  const said = await world.ask("POST", PATH, { text });
  await world.until("the answer", async () => {
    const items = (await world.ask("GET", PATH)).items;
    const mine = items.find((item) => item.id === said.id);
    return mine?.turn && items.some((item) => item.by !== "you" && item.turn === mine.turn);
  });
}

const field = (page) => page.page.getByRole("textbox", { name: "Message" });
const message = (page, text) => page.page.locator("ol.messages > li", { hasText: text });

export const tests = {
  async "what is said is answered in the same place, and a command too"(world) {
    const page = await world.page();
    await page.view("chat");
    await page.page.getByRole("link", { name: /^default/ }).click();
    await field(page).fill("note the tide");
    await field(page).press("Enter");
    await message(page, "note the tide").first().waitFor();
    await page.page.locator(".by-agent", { hasText: "the tide is noted" }).first().waitFor();
    await field(page).fill("/help");
    await field(page).press("Enter");
    await page.page.locator(".by-host", { hasText: "/status" }).waitFor();
    page.check();
  },

  async "what runs is stopped, and who comes later sees all of it"(world) {
    const page = await world.page();
    await page.view("chat/default");
    await field(page).fill("hold on");
    await field(page).press("Enter");
    await page.page.locator(".now .tool").first().waitFor();
    await page.page.getByRole("button", { name: "Stop" }).click();
    await page.page.locator(".now").waitFor({ state: "detached" });
    const later = await world.page();
    await later.view("chat/default");
    await message(later, "hold on").first().waitFor();
    page.check();
    later.check();
    // The next turn begins with what became of the call that was stopped.
    await talked(world, "Go on.");
  },

  async "a card is answered where the conversation is, also on a phone"(world) {
    await world.ask("POST", PATH, { text: "mark one" });
    const page = await world.page({ viewport: { width: 360, height: 740 } });
    await page.view("chat/default");
    const card = page.page.locator("ol.messages > li").filter({ has: page.page.getByRole("button", { name: "Approve" }) }).last();
    const button = card.getByRole("button", { name: "Approve" });
    await button.waitFor();
    const box = await button.boundingBox();
    assert.ok(box.height >= 40 && box.x >= 0 && box.x + box.width <= 360, JSON.stringify(box));
    await button.click();
    await page.page.locator(".by-agent", { hasText: "it is over" }).first().waitFor();
    const aside = await page.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(aside <= 0, `it scrolls sideways by ${aside}`);
    page.check();
  },

  async "a file goes along"(world) {
    const page = await world.page();
    await page.view("chat/default");
    await page.page.getByLabel("Files").setInputFiles({ name: "<img src=x onerror=alert(1)>.txt", mimeType: "text/plain", buffer: Buffer.from("ebb") });
    await field(page).fill("what came along");
    await page.page.getByRole("button", { name: "Send" }).click();
    await message(page, "what came along").locator(".files").waitFor();
    await isClean(page);
  },

  async "no message, name, card or reason becomes more than text"(world) {
    await talked(world, `hostile\n${WORDS.join("\n")}`);
    const page = await world.page();
    await page.view("chat/default");
    for (const word of [WORDS[0], WORDS.at(-1)]) await message(page, word).first().waitFor();
    await page.page.locator(".by-agent", { hasText: WORDS[0] }).first().waitFor();
    await isClean(page);
    // A card with the words of an agent in it.
    await world.ask("POST", PATH, { text: "mark hostile" });
    await page.page.locator(".message", { hasText: "<img src=x onerror=alert(1)>" }).filter({ has: page.page.getByRole("button", { name: "Deny" }) }).last().waitFor();
    await isClean(page);
    await page.page.getByRole("button", { name: "Deny" }).last().click();
    // Names of people and chats, and agents that were told anything.
    for (const word of WORDS.slice(0, 6)) {
      await world.ask("POST", "/v1/chats", { channel: "web", chat: `x.${word}`.slice(0, 200), name: word.slice(0, 200), group: true });
    }
    await world.ask("POST", "/v1/agents", { name: "mole", instructions: WORDS.join("\n"), tools: [WORDS[0].slice(0, 100)] });
    await world.ask("POST", "/v1/memory", { agent: "default", type: "fact", content: WORDS.join(" ") });
    for (const view of ["wirings", "channels", "channels/web", "people", "activity", "setup", "agents", "agents/mole", "memory", "secrets"]) {
      await page.view(view);
      await page.settles();
      await unfold(page);
      await isClean(page);
    }
    await page.view("wirings");
    await page.sees(WORDS[0].slice(0, 60));
    for (const chat of (await world.ask("GET", "/v1/chats")).items.slice(0, 3)) {
      await page.view(`wirings/${chat.id}`);
      await page.page.getByRole("button", { name: /Refuse the chat|Let it in/ }).waitFor();
      await unfold(page);
      await isClean(page);
    }
    // That the watch would notice: a node that no view makes.
    await page.page.evaluate(() => document.querySelector("main").append(document.createElement("iframe")));
    await assert.rejects(isClean(page));
  },

  async "an agent is wired, refused and asked about without a terminal"(world) {
    await talked(world);
    const chat = (await world.ask("GET", "/v1/chats?channel=web")).items.find((item) => item.agents.length);
    const page = await world.page();
    await page.view(`wirings/${chat.id}`);
    await page.opens(page.page.getByText("Let an agent hear it, or change how"), page.page.locator("[name=pattern]"));
    await page.page.locator("[name=pattern]").fill("(");
    await page.page.getByRole("button", { name: "Wire", exact: true }).click();
    // What is wrong stands beside its field.
    await page.page.locator(".field.wrong", { hasText: "Pattern" }).waitFor();
    await page.page.locator("[name=pattern]").fill("harbour|tide");
    await page.page.getByRole("button", { name: "Wire", exact: true }).click();
    await page.page.locator("table code", { hasText: "harbour|tide" }).waitFor();
    await world.ask("POST", PATH, { text: "nothing of the kind" });
    await page.view("activity");
    await page.page.locator("tbody tr", { hasText: "engage" }).first().waitFor();
    await page.page.locator("main a.open").first().click();
    await page.page.locator("ol.path li").first().waitFor();
    await world.ask("POST", "/v1/wirings", { chat: chat.id, agent: chat.agents[0], engage: "pattern", pattern: "." });
    page.check();
  },
};
