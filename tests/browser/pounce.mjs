// A real server on free ports, and posts of our own for it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const BINARY = process.env.POUNCE ?? "target/debug/pounce";

const NEGATIVE = [
  "worst service ever, I want my money back",
  "waited an hour and nobody answers, terrible service",
  "it broke again on day two. so angry right now",
  "never again, rude staff and awful quality",
];
const OTHER = [
  "I love it so much, thank you!",
  "great experience today, friendly and quick",
  "a new shop opens in town on Monday",
  "made my day, what a lovely team",
];

/** Runs `pounce` to its end; what it wrote to stdout. One that gets no `input` may end before it could. */
async function run(args, input) {
  const stdin = input === undefined ? "ignore" : "pipe";
  const child = spawn(BINARY, ["--log", "warn", ...args], { stdio: [stdin, "pipe", "ignore"] });
  child.stdin?.end(input);
  let out = "";
  child.stdout.on("data", (chunk) => { out += chunk; });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`pounce ${args[0]} ended with ${code}`);
  return out.trim();
}

/** A server that is ready; with tokens for `scopes` ({name: scopes}) if there are any. */
export async function serve({ scopes = {}, flags = [] } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "pounce-board-"));
  const tokens = {};
  const file = join(folder, "tokens");
  for (const [name, list] of Object.entries(scopes)) {
    tokens[name] = await run(["token", name, "--scopes", list, "--tokens", file]);
  }
  const secured = Object.keys(scopes).length ? ["--tokens", file] : [];
  const child = spawn(BINARY, [
    "serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--drain-notice", "0",
    "--drain-timeout", "5", ...secured, ...flags,
  ], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "close");
  const lines = createInterface({ input: child.stderr });
  const log = [];
  const serving = await new Promise((resolve, reject) => {
    child.on("close", () => reject(new Error(`the server ended:\n${log.join("\n")}`)));
    lines.on("line", (line) => {
      log.push(line);
      const entry = JSON.parse(line);
      if (entry.message === "serving") resolve(entry);
    });
  });
  return {
    url: `http://${serving.http}/`,
    tokens,
    /** Scores posts with the binary's own client. */
    async feed(posts, token) {
      const show = [];
      if (token) {
        const path = join(folder, "shown");
        await writeFile(path, token);
        show.push("--token-file", path);
      }
      const lines = posts.map((post) => JSON.stringify(post)).join("\n");
      await run(["score", "--addr", `http://${serving.grpc}`, ...show], `${lines}\n`);
    },
    terminate: () => child.kill("SIGTERM"),
    async stop() {
      child.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

/**
 * Posts on one topic, `everySeconds` apart, of which the n-th is negative if `negative(n, count)`;
 * the last one is of a minute and a half ago, so that all their minutes close at once.
 */
export function posts(topic, { minutes, everySeconds = 20, negative, ...more }) {
  const count = Math.floor((minutes * 60) / everySeconds);
  const end = Date.now() - 90_000;
  return Array.from({ length: count }, (_, n) => ({
    id: `${topic}-${n}`,
    // No two alike: of copies, one counts.
    text: `${(negative(n, count) ? NEGATIVE : OTHER)[n % 4]} ${n}`,
    topic,
    author: `author ${n} of ${topic}`,
    followers: n % 120 === 0 ? 24_000 : 120,
    posted_at: new Date(end - (count - 1 - n) * everySeconds * 1000).toISOString(),
    ...more,
  }));
}

/** Whose share turns from one in eight to three in four in the last `minutes` of the posts. */
export function turning(minutes, everySeconds = 20) {
  return (n, count) => (count - n) * everySeconds < minutes * 60 ? n % 4 !== 0 : n % 8 === 0;
}
