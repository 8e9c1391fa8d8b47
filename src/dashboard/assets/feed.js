// The stream of server-sent events, read with fetch: EventSource can't show a token.

import { inTurn } from "./tabs.js";

const TOKEN = "pounce-token";
/** Silence after which a stream is taken for dead; the server speaks every ten seconds. */
const SILENCE_MAX = 25_000;
const BACKOFF = 1_000;
const BACKOFF_MAX = 15_000;
/** Pause between two looks while the server has no stream for us. */
const LOOK = 5_000;

/** The token of this tab; empty if there is none. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** A call with the token, if there is one. */
export function call(path, options = {}) {
  const headers = { ...options.headers };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
}

/** What a refusal says of itself. */
export async function reason(response) {
  const body = await response.json().catch(() => ({}));
  return body.error ?? `the server answered ${response.status}`;
}

/**
 * Follows the server without end, while the tab is seen. `on.part(name, value)` gets each part as it
 * changes, `on.state(name)` is told "live", "looking", "lost"; `on.token(refused)` promises a token.
 */
export async function follow(on) {
  for (;;) {
    await inTurn(token.get(), on, { look, hold });
  }
}

/** Holds a stream until the tab is hidden or has another token. */
async function hold(on, hidden) {
  let backoff = BACKOFF;
  while (!hidden.aborted) {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, hidden]);
    try {
      const response = await call("board/events", { signal });
      if (response.ok) {
        backoff = BACKOFF;
        on.state("live");
        await read(response.body, stop, on.part);
        on.state("lost");
      } else if (response.status === 401 || response.status === 403) {
        await on.token(token.get() !== "", await reason(response));
        return;
      } else {
        await look(on);
        on.state("looking");
        await pause(LOOK, hidden);
        continue;
      }
    } catch {
      if (!hidden.aborted) on.state("lost");
    } finally {
      stop.abort();
    }
    await pause(backoff * (0.75 + Math.random() / 2), hidden);
    backoff = Math.min(backoff * 2, BACKOFF_MAX);
  }
}

/** One look without a stream. */
async function look(on) {
  const response = await call("board/state");
  if (!response.ok) throw new Error(await reason(response));
  for (const [name, value] of Object.entries(await response.json())) on.part(name, value);
}

/** Reads events to the end of the stream, or until it has been silent for too long. */
async function read(body, stop, part) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const timer = setTimeout(() => stop.abort(), SILENCE_MAX);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const fields = new Map(event.split("\n").map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
      }));
      if (fields.has("event")) part(fields.get("event"), JSON.parse(fields.get("data")));
    }
  }
}

/** Waits; not longer than until `signal`. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });
}
