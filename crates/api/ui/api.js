// Speaks with this same server, and nobody else. The token lives in this tab's sessionStorage: it is in no address, no
// cookie and no other tab.

// Where the page is served: everything else of the server stands beside it. Empty unless the server is mounted below a path.
export const BASE = new URL(import.meta.url).pathname.replace(/\/ui\/[^/]*$/, "");
const KEY = "lazaret-token";
// What proves that a login by an issuer was begun in this tab.
const VERIFIER = "lazaret-verifier";
// How long a stream that broke waits before it is opened again: the first and the longest wait.
const AGAIN_MS = [500, 10_000];
// The longest single event of a stream; more than that is a fault, not an event.
const EVENT_CHARS_MAX = 8 << 20;

// What the server refused, or that it could not be asked.
export class Problem extends Error {
  constructor(status, error) {
    super(error.message ?? "the request failed");
    this.status = status;
    this.code = error.code ?? "UNKNOWN";
    this.hint = error.hint;
    this.field = error.field;
    this.request = error.request_id;
  }
}

export const login = {
  token: () => sessionStorage.getItem(KEY),
  keep: (token) => sessionStorage.setItem(KEY, token),
  // Tells the page, which then shows the way in.
  end() {
    sessionStorage.removeItem(KEY);
    dispatchEvent(new Event("lazaret-login"));
  },
};

// Exchanges the one-time code of a link for a token. Whoever comes back from an issuer of logins shows that it was this tab
// that sent them there.
export async function redeem(code) {
  const verifier = sessionStorage.getItem(VERIFIER);
  sessionStorage.removeItem(VERIFIER);
  const answer = await send("POST", "/v1/login", { body: verifier ? { code, verifier } : { code }, isOpen: true });
  login.keep((await answer.json()).token);
}

// Whether people can log in by an issuer.
export async function hasIssuer() {
  try {
    return (await (await send("GET", "/v1/login/oidc", { isOpen: true })).json()).enabled === true;
  } catch {
    return false;
  }
}

const base64 = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// Leads to the issuer of logins. The secret stays in this tab; its hash goes along.
export async function goToIssuer() {
  if (!crypto.subtle) throw new Problem(0, { code: "USAGE", message: "the browser makes no secrets on a page without TLS", hint: "open the page as localhost or over https" });
  const verifier = base64(crypto.getRandomValues(new Uint8Array(32)));
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const answer = await send("POST", "/v1/login/oidc", { body: { challenge: base64(new Uint8Array(hash)) }, isOpen: true });
  const { url } = await answer.json();
  if (!/^https?:/.test(url)) throw new Problem(0, { code: "USAGE", message: "the issuer has no address of the web" });
  sessionStorage.setItem(VERIFIER, verifier);
  location.assign(url);
}

// Ends the login here and on the server.
export async function logout() {
  try {
    await send("POST", "/v1/logout", {});
  } catch {
    // It ends here in any case, and on the server with its time.
  }
  login.end();
}

async function send(method, path, { body, form, headers = {}, signal, isOpen = false }) {
  const head = { ...headers };
  if (!isOpen) {
    const token = login.token();
    if (!token) throw new Problem(401, { code: "UNAUTHORIZED", message: "not logged in" });
    head.authorization = `Bearer ${token}`;
  }
  let content = form;
  if (body !== undefined) {
    head["content-type"] = "application/json";
    content = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(BASE + path, { method, headers: head, body: content, signal, credentials: "omit", redirect: "error", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { code: "DAEMON_MISSING", message: "the daemon does not answer", hint: "see on its machine: lazaret status" });
  }
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (answer.status === 401 && !isOpen) login.end();
  throw problem;
}

async function problemOf(answer) {
  const fallback = { message: `the server answered ${answer.status}`, request_id: answer.headers.get("x-request-id") };
  try {
    const body = await answer.json();
    return new Problem(answer.status, { ...fallback, ...body.error });
  } catch {
    return new Problem(answer.status, fallback);
  }
}

// Asks and gives the JSON of the answer.
export async function call(method, path, body, more = {}) {
  const answer = await send(method, path, { body, ...more });
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

export const get = (path, signal) => call("GET", path, undefined, { signal });

// The text of an answer that is no JSON.
export async function text(path, signal) {
  return (await send("GET", path, { signal })).text();
}

// Fetches a file with the token and gives it to the browser to keep. It is never opened here: its bytes are anybody's.
export async function download(path, name) {
  const answer = await send("GET", path, {});
  const blob = new Blob([await answer.blob()], { type: "application/octet-stream" });
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// A path with a query; what is empty is left out.
export function at(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

// One piece of a path. What stands in it cannot become another path; a browser resolves dots even when they are encoded.
export function piece(text) {
  if (/^\.{0,2}$/.test(text)) throw new Problem(0, { code: "USAGE", message: "this is no name" });
  return encodeURIComponent(text);
}

// A path of a file, piece by piece.
export const pathOf = (path) => String(path).split("/").map(piece).join("/");

// Follows a log of events: `take` gets the events as they come, `state` gets `live`, `waiting` or a Problem that ends it.
// The connection is opened again where it broke off, until `signal`.
export async function follow(path, after, take, state, signal) {
  let wait = AGAIN_MS[0];
  while (!signal.aborted) {
    try {
      const answer = await send("GET", at(path, { after }), { headers: { accept: "text/event-stream" }, signal });
      state("live");
      for await (const event of events(answer.body)) {
        wait = AGAIN_MS[0];
        if (event.seq > after) after = event.seq;
        take(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      const isFinal = error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429;
      if (isFinal) {
        state(error);
        return;
      }
    }
    if (signal.aborted) return;
    state("waiting");
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, AGAIN_MS[1]);
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    if (rest.length > EVENT_CHARS_MAX) throw new Problem(0, { code: "TOO_LARGE", message: "an event of the stream has no end" });
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}
