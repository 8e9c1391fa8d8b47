// gRPC-Web with a client that others wrote, against a real server: `make test-typescript`.

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Code, ConnectError, createClient } from "@connectrpc/connect";

import { AlertChangeKind } from "./gen/pounce/v1/alert_pb.ts";
import { ScoringService } from "./gen/pounce/v1/scoring_service_pb.ts";
import { Sentiment } from "./gen/pounce/v1/event_pb.ts";
import { connect, watchAlerts } from "./page.ts";
import { end, freePort, makeToken, serve } from "./server.ts";

const BOARD = "https://board.example";
const ANGRY = [
  "worst service ever, I want my money back",
  "waited an hour and nobody answers, terrible service",
  "it broke again on day two. so angry right now",
  "never again, rude staff and awful quality",
];

/** What a browser adds for a page of `origin`; it lets the page see replies to listed origins alone. */
function from(origin: string): typeof fetch {
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set("origin", origin);
    return fetch(input, { ...init, headers });
  };
}

const codeOf = async (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error).code,
  );

test("a page scores a post and watches alerts through a restart of the server", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "pounce-page-")), "tokens");
  const token = makeToken(file, "score,alerts:read");
  const http = await freePort();
  const start = () => serve({ http }, "--grpc-web-origins", BOARD, "--tokens", file);
  let server = await start();
  const address = `http://127.0.0.1:${http}`;
  const page = connect(address, token, from(BOARD));
  const scoring = createClient(ScoringService, page);

  const { event } = await scoring.score({ post: { id: "1", text: "I love this, thank you!" } });
  assert.equal(event?.sentiment, Sentiment.POSITIVE);

  const stop = new AbortController();
  const changes = watchAlerts(page, stop.signal);
  const until = Date.now() - 90_000;
  const posts = (topic: string) =>
    Array.from({ length: 90 }, (_, n) => ({
      id: `${topic} ${n}`,
      topic,
      text: `${ANGRY[n % 4]} ${n}`,
      author: { id: `author ${n}`, followers: 120n },
      postedAt: { seconds: BigInt(Math.floor((until - (89 - n) * 20_000) / 1000)), nanos: 0 },
    }));
  for (const topic of ["acme", "globex"]) {
    await scoring.scoreBatch({ posts: posts(topic) });
    const { value: change } = await changes.next();
    assert.equal(change?.alert?.topic, topic);
    assert.ok([AlertChangeKind.FIRING, AlertChangeKind.OPENED].includes(change.kind));
    if (topic === "acme") {
      await end(server, "SIGTERM");
      server = await start();
    }
  }
  stop.abort();
  assert.equal((await changes.next()).done, true);
  await end(server, "SIGTERM");
});

test("a wrong token, a missing scope and a wrong origin are refused", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "pounce-page-")), "tokens");
  const token = makeToken(file, "score");
  const http = await freePort();
  const server = await serve({ http }, "--grpc-web-origins", BOARD, "--tokens", file);
  const address = `http://127.0.0.1:${http}`;
  const post = { post: { id: "1", text: "fine" } };
  const score = (origin: string, token?: string) =>
    codeOf(createClient(ScoringService, connect(address, token, from(origin))).score(post));
  assert.equal(await score(BOARD, token), undefined);
  assert.equal(await score(BOARD), Code.Unauthenticated);
  assert.equal(await score(BOARD, "pounce_nobody"), Code.Unauthenticated);
  assert.equal(await score("https://evil.example", token), Code.PermissionDenied);

  const watch = watchAlerts(connect(address, token, from(BOARD)), new AbortController().signal);
  assert.equal(await codeOf(watch.next()), Code.PermissionDenied);

  for (const [origin, allowed] of [[BOARD, BOARD], ["https://evil.example", null]] as const) {
    const asked = await fetch(`${address}/pounce.v1.ScoringService/Score`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    });
    assert.equal(asked.headers.get("access-control-allow-origin"), allowed);
  }
  await end(server, "SIGTERM");
});
