// The page: what runs, what is installed, what it cost. Everything it shows is set as text, never as markup: labels and
// names come from programs that nobody trusts.

const REFRESH_MS = 3000;
const KEY = "lazaret-token";
const state = document.getElementById("state");

// The one-time code stands in the fragment; it is taken out of the address at once.
async function login() {
  const code = location.hash.slice(1);
  if (!code) return;
  history.replaceState(null, "", location.pathname);
  const answer = await fetch("/v1/login", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ code }) });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error.message);
  sessionStorage.setItem(KEY, body.token);
}

async function get(path) {
  const token = sessionStorage.getItem(KEY);
  if (!token) throw new Error("not logged in: run `lazaret ui` for a link");
  const answer = await fetch(path, { headers: { authorization: `Bearer ${token}` } });
  const body = await answer.json();
  if (answer.status === 401) throw new Error("the login has ended: run `lazaret ui` for a new link");
  if (!answer.ok) throw new Error(body.error.message);
  return body;
}

function fill(id, heads, rows) {
  const table = document.getElementById(id);
  const line = (cells, tag) => {
    const row = document.createElement("tr");
    for (const cell of cells) row.appendChild(document.createElement(tag)).textContent = cell;
    return row;
  };
  const none = rows.length === 0 ? [line(["none"], "td")] : [];
  table.replaceChildren(line(heads, "th"), ...rows.map((row) => line(row, "td")), ...none);
}

function level(of) {
  const missing = of.lines.filter((l) => !l.holds).map((l) => l.name);
  return missing.length ? `${of.mode}: without ${missing.join(", ")}` : `${of.mode}: all ${of.lines.length} layers hold`;
}

async function show() {
  try {
    const [status, sandboxes, engines, usage] = await Promise.all(["/v1/status", "/v1/sandboxes", "/v1/engines", "/v1/usage?by=model"].map(get));
    const keys = status.providers.length ? `keys for ${status.providers.join(", ")}` : "no provider has a key";
    state.textContent = `version ${status.version}, ${status.sandboxes} of at most ${status.sandboxes_max} sandboxes, ${keys}`;
    fill("sandboxes", ["identity", "for", "what holds"], sandboxes.items.map((s) => [s.id, s.label, level(s.level)]));
    fill("engines", ["engine", "version", ""], engines.items.map((e) => [e.name, e.version ?? "built in", e.installed ? "installed" : "not installed"]));
    fill("usage", ["model", "calls", "tokens in", "tokens out", "US dollars"], usage.items.map((u) => [
      u.key, u.calls, u.usage.input_tokens + u.usage.cache_read_tokens + u.usage.cache_write_tokens, u.usage.output_tokens, (u.cost / 1e9).toFixed(6)]));
  } catch (error) {
    state.textContent = error.message;
  }
}

try {
  await login();
} catch (error) {
  state.textContent = error.message;
}
await show();
setInterval(show, REFRESH_MS);
