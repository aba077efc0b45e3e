// Jobs of a Lazaret server: ask, wait, follow, take home.

import type { Event, JobForm, JobView } from "./models.ts";

export type * from "./models.ts";

/** Seconds that the server is asked to hold one answer back. */
const WAIT_STEP_S = 600;
/** How often a lost connection is made again before it is given up. */
const RECONNECTS_MAX = 10;
/** Milliseconds between two tries. */
const RECONNECT_STEP_MS = 500;
/** The states in which nothing more happens. */
const OVER: readonly string[] = ["completed", "failed", "cancelled"];

/** The server refused, or failed. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly field: string | undefined;
  readonly hint: string | undefined;

  constructor(status: number, code: string, message: string, field?: string, hint?: string) {
    super(`${code}: ${message}${hint ? ` (${hint})` : ""}`);
    this.status = status;
    this.code = code;
    this.field = field;
    this.hint = hint;
  }
}

/** The fields that a job needs, and any other. */
export type NewJob = Partial<JobForm> & { agent_id: string };

/** A server. */
export class Lazaret {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
  }

  /** Asks for a job and returns at once. The key makes a repetition harmless. */
  async create(job: NewJob, files: Record<string, Blob> = {}, key: string = crypto.randomUUID()): Promise<JobView> {
    const headers: Record<string, string> = { "idempotency-key": key };
    let body: BodyInit = JSON.stringify(job);
    if (Object.keys(files).length === 0) {
      headers["content-type"] = "application/json";
    } else {
      const form = new FormData();
      form.set("job", body);
      for (const [path, blob] of Object.entries(files)) form.append("file", blob, path);
      body = form;
    }
    return this.#again(() => this.#json("POST", "/v1/jobs", { headers, body }));
  }

  /** Asks for a job and waits until it is over. */
  async run(job: NewJob, files: Record<string, Blob> = {}): Promise<JobView> {
    return this.wait((await this.create(job, files)).id);
  }

  /** A job, with its result once it is over. */
  async show(id: string): Promise<JobView> {
    return this.#again(() => this.#json("GET", at(id)));
  }

  /** Jobs, the youngest first, without their results. */
  async *list(query: Record<string, string> = {}): AsyncGenerator<JobView> {
    const asked = new URLSearchParams(query);
    for (;;) {
      const page: { items: JobView[]; next: string | null } = await this.#again(() => this.#json("GET", `/v1/jobs?${asked}`));
      yield* page.items;
      if (page.next === null) return;
      asked.set("after", page.next);
    }
  }

  /** Waits until a job is over, over restarts of the server. */
  async wait(id: string): Promise<JobView> {
    for (;;) {
      try {
        return await this.#again(() => this.#json("GET", `${at(id)}/wait?timeout_s=${WAIT_STEP_S}`));
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 408) throw error;
      }
    }
  }

  /** Stops a job. */
  async cancel(id: string): Promise<JobView> {
    return this.#json("POST", `${at(id)}/cancel`);
  }

  /** Asks for the same again, in a new job. */
  async retry(id: string): Promise<JobView> {
    return this.#json("POST", `${at(id)}/retry`);
  }

  /** Forgets a job that is over; stops one that is not. */
  async remove(id: string): Promise<void> {
    await this.#json("DELETE", at(id));
  }

  /** A file that a job left. */
  async download(id: string, path: string): Promise<Blob> {
    const parts = path.split("/").map(encodeURIComponent).join("/");
    return (await this.#send("GET", `${at(id)}/artifacts/${parts}`)).blob();
  }

  /** The events of a job as they come, from its beginning to its end. */
  async *events(id: string): AsyncGenerator<Event> {
    let last = "";
    let lost = 0;
    for (;;) {
      let isOver = false;
      try {
        // Whether it was over before the stream began: then the stream was the whole of what is left.
        isOver = OVER.includes((await this.show(id)).status);
        for await (const [place, event] of this.#stream(id, last)) {
          last = place;
          lost = 0;
          yield event;
        }
        if (isOver) return;
      } catch (error) {
        if (error instanceof ApiError || ++lost > RECONNECTS_MAX) throw error;
        await pause();
      }
    }
  }

  async #send(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${this.#token}`);
    const response = await fetch(this.#url + path, { ...init, method, headers });
    if (response.ok) return response;
    throw await failure(response);
  }

  async #json<T>(method: string, path: string, init: RequestInit = {}): Promise<T> {
    return (await (await this.#send(method, path, init)).json()) as T;
  }

  /** A request that may be repeated, over restarts of the server. */
  async #again<T>(ask: () => Promise<T>): Promise<T> {
    for (let left = RECONNECTS_MAX; ; left--) {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof ApiError || left === 0) throw error;
        await pause();
      }
    }
  }

  async *#stream(id: string, last: string): AsyncGenerator<[string, Event]> {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (last !== "") headers["last-event-id"] = last;
    const response = await this.#send("GET", `${at(id)}/events`, { headers });
    if (response.body === null) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        held += value;
        for (let end = held.indexOf("\n\n"); end >= 0; end = held.indexOf("\n\n")) {
          const lines = held.slice(0, end).split("\n");
          held = held.slice(end + 2);
          const place = lines.find((line) => line.startsWith("id: "))?.slice(4) ?? last;
          const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
          if (data.length > 0) yield [place, JSON.parse(data.join("\n")) as Event];
        }
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
  }
}

function at(id: string): string {
  return `/v1/jobs/${encodeURIComponent(id)}`;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, RECONNECT_STEP_MS));
}

async function failure(response: Response): Promise<ApiError> {
  const said = await response.json().then((body) => body.error, () => undefined);
  if (typeof said?.code !== "string") return new ApiError(response.status, "INTERNAL", `the server answered ${response.status}`);
  return new ApiError(response.status, said.code, said.message, said.field, said.hint);
}
