// gRPC-Web from pages in a real browser: who may call, and what a page sees of the replies.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

import { posts, serve, turning } from "./pounce.mjs";

let browser;
const cleanup = [];

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
});
after(async () => {
  await browser?.close();
  for (const end of cleanup) await end();
});

/** An empty page of an origin of its own. */
async function site() {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>a board</title>");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup.push(() => server.close());
  const origin = `http://127.0.0.1:${server.address().port}`;
  const page = await (await browser.newContext()).newPage();
  await page.goto(origin);
  return { origin, page };
}

/**
 * Calls a method with an empty message from within a page; what the page sees of the reply: its
 * first bytes as text, which those of a stream are before it ends.
 */
function call(page, url, method, token) {
  return page.evaluate(async ({ url, method, token }) => {
    const headers = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" };
    if (token) headers.authorization = `Bearer ${token}`;
    let reply;
    try {
      reply = await fetch(`${url}pounce.v1.${method}`, { method: "POST", headers, body: new Uint8Array(5) });
    } catch (error) {
      return { refused: String(error) };
    }
    const reader = reply.body.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return { code: reply.headers.get("grpc-status"), text: new TextDecoder().decode(value) };
  }, { url, method, token });
}

test("a page of a listed origin calls and watches, and one of another origin sees nothing", async () => {
  const [board, other] = [await site(), await site()];
  const server = await serve({
    scopes: { page: "score,alerts:read" },
    flags: ["--grpc-web-origins", board.origin],
  });
  cleanup.push(() => server.stop());
  const { page: token } = server.tokens;

  const model = await call(board.page, server.url, "ScoringService/GetModel", token);
  assert.equal(model.code, null, "of a call that succeeds the status ends the body");
  assert.match(model.text, /pounce-social-en/);
  const stranger = await call(board.page, server.url, "ScoringService/GetModel");
  assert.equal(stranger.code, "16", "the page may read the header that tells the status");

  await server.feed(posts("northwind rail", { minutes: 240, negative: turning(40) }), token);
  const watch = await call(board.page, server.url, "AlertService/WatchAlerts", token);
  assert.match(watch.text, /northwind rail/);

  const elsewhere = await call(other.page, server.url, "ScoringService/GetModel", token);
  assert.match(elsewhere.refused ?? "", /Failed to fetch/);
});
