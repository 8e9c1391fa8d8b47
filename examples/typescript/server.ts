// A real server for the tests, on ports of its own.

import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { after } from "node:test";

const POUNCE = process.env.POUNCE ?? "target/debug/pounce";
const MODEL = process.env.POUNCE_MODEL ?? "model";
const running = new Set<ChildProcess>();
after(() => running.forEach((child) => child.kill("SIGKILL")));

export async function freePort(): Promise<number> {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  listener.close();
  return port;
}

/** A server that is ready, on ports of which 0 is any. */
export async function serve(
  ports: { grpc?: number; http?: number },
  ...flags: string[]
): Promise<ChildProcess> {
  const [grpc, http] = [ports.grpc ?? 0, ports.http ?? 0].map((port) => `127.0.0.1:${port}`);
  const addresses = ["--grpc-addr", grpc!, "--http-addr", http!];
  const fixed = ["--model", MODEL, "--workers", "1", "--drain-notice", "0"];
  const child = spawn(POUNCE, ["serve", ...addresses, ...fixed, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  running.add(child);
  for await (const line of createInterface(child.stderr!)) {
    if (JSON.parse(line).message === "serving") {
      child.stderr!.resume(); // So that the server never waits for a reader.
      return child;
    }
  }
  throw new Error("the server did not start");
}

export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal);
  const [code] = await once(child, "exit");
  if (signal === "SIGTERM") assert.equal(code, 0, "a clean drain");
  running.delete(child);
}

/** A token with these scopes, added to a file of tokens. */
export function makeToken(file: string, scopes: string): string {
  return execFileSync(POUNCE, ["token", "page", "--scopes", scopes, "--tokens", file], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}
