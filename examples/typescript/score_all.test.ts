// The recipe against a real server: `make test-typescript`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { PostSchema, type Post } from "./gen/pounce/v1/post_pb.ts";
import { scoreAll } from "./score_all.ts";
import { end, freePort, serve } from "./server.ts";

const POSTS = 400;

async function* posts(pause: number): AsyncGenerator<Post> {
  for (let n = 0; n < POSTS; n++) {
    if (n % 10 === 0) await sleep(pause);
    yield create(PostSchema, { id: `${n}`, text: `parcel ${n} is late` });
  }
}

/** Scores all posts; `at` is called after so many answers. */
async function score(port: number, pause: number, at: Map<number, () => Promise<void>>) {
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  const ids: string[] = [];
  const acts: Promise<void>[] = [];
  for await (const reply of scoreAll(transport, posts(pause), { inFlight: 32 })) {
    assert.ok("event" in reply, "rejection" in reply ? reply.rejection.reason : "");
    ids.push(reply.event.postId);
    const act = at.get(ids.length);
    if (act !== undefined) acts.push(act());
  }
  await Promise.all(acts);
  return ids;
}

const every = Array.from({ length: POSTS }, (_, n) => `${n}`);

test("a drain and a crash cost no post and answer none twice", async () => {
  const port = await freePort();
  let server = await serve({ grpc: port });
  const replace = async (signal: NodeJS.Signals) => {
    await end(server, signal);
    server = await serve({ grpc: port });
  };
  const at = new Map([
    [100, () => replace("SIGTERM")],
    [250, () => replace("SIGKILL")],
  ]);
  assert.deepEqual(await score(port, 20, at), every);
  await end(server, "SIGTERM");
});

test("streams that reach their age move on", async () => {
  const port = await freePort();
  const server = await serve({ grpc: port }, "--stream-age-max", "1");
  assert.deepEqual(await score(port, 100, new Map()), every);
  await end(server, "SIGTERM");
});
