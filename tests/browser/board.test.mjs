// The live board in a real browser, before a real server.
//
//     make test-board                   installs what is needed and runs this
//     PICTURES=docs make test-board     and takes the pictures of the docs

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

import { posts, serve, turning } from "./pounce.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PHONE = { width: 375, height: 812 };
const DESK = { width: 1280, height: 1000 };
const HOSTILE = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`;

let browser;
const cleanup = [];

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
});
after(async () => {
  await browser?.close();
  for (const server of cleanup) await server.stop();
});

async function start(options) {
  const server = await serve(options);
  cleanup.push(server);
  return server;
}

/** A page that collects whatever goes wrong in it. */
async function open(server, options = {}) {
  const context = await browser.newContext({ viewport: DESK, ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => {
    // The browser notes every refused call by itself: the page tells of them in words.
    const refusal = /status of (401|403|409|503)/.test(message.text());
    if (message.type() === "error" && !refusal) page.faults.push(message.text());
  });
  page.on("pageerror", (error) => page.faults.push(String(error)));
  await page.goto(server.url);
  return page;
}

async function check(page) {
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

async function accessible(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join("; ")}`);
  assert.deepEqual(found, []);
}

async function fits(page) {
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(inner <= outer, `${inner} px wide in a viewport of ${outer}`);
}

async function picture(page, name) {
  if (process.env.PICTURES) await page.screenshot({ path: join(process.env.PICTURES, name) });
}

/** A morning of four topics, one of which turns. */
function morning() {
  return [
    ...posts("northwind rail", { minutes: 260, negative: turning(16) }),
    ...posts("kite mobile", { minutes: 260, everySeconds: 30, negative: (n) => n % 9 === 0 }),
    ...posts("corner bank", { minutes: 260, everySeconds: 40, negative: (n) => n % 6 === 0, place: "Lisbon" }),
    ...posts("acorn books", { minutes: 200, everySeconds: 60, negative: (n) => n % 14 === 0 }),
  ];
}

test("what happens shows up by itself, first what fires and why", async () => {
  const server = await start();
  const page = await open(server);
  await page.getByText("All calm").waitFor();
  await page.getByText("No post has named a topic yet").waitFor();
  await server.feed(morning());

  const group = page.locator(".group").filter({ hasText: "northwind rail" });
  const alert = group.locator(".alert");
  await alert.waitFor();
  const words = await alert.locator(".why").innerText();
  assert.match(words, /^\d+ of \d+ posts in 15 min were negative; usual is [\d.]+\s%\.$/);
  assert.ok((await alert.locator(".ids code").count()) > 0, "post ids");
  assert.match(await page.title(), /^\(1\) /);
  assert.match(await page.locator("#announcer").textContent(), /New alert on northwind rail: \d+ of/);
  assert.equal(await alert.getByRole("button").count(), 0, "read-only without tokens");
  await page.getByText("Read-only: to acknowledge").waitFor();

  const topic = page.locator(".topic").filter({ hasText: "northwind rail" });
  await topic.waitFor();
  // Topics are looked at every five seconds: the first look may come before the last posts.
  await page.locator(".topic").nth(3).waitFor();
  assert.equal(await page.locator(".topic").count(), 4);
  assert.match(await topic.locator("path.share").getAttribute("d"), /^M[\d. ]+L/);
  assert.equal(await page.locator(".topic h3").first().innerText(), "northwind rail", "what fires goes first");
  await page.locator("#flagged li").first().waitFor();
  assert.equal(await page.locator("#flagged q").count(), 0, "no texts unasked");
  assert.match(await page.locator("#service .rate").innerText(), /posts\/s/);
  assert.equal(await page.locator("#connection-text").innerText(), "Live");
  await accessible(page);
  await fits(page);

  server.terminate();
  await page.getByText(/Lost; trying again|draining/).waitFor();
  assert.ok(await alert.isVisible(), "what was known stays");
  page.faults = page.faults.filter((fault) => !fault.includes("ERR_"));
  await check(page);
});

test("on a phone in the dark it is all there", async () => {
  const server = await start({ flags: ["--board-texts"] });
  await server.feed(morning());
  const page = await open(server, {
    viewport: PHONE, colorScheme: "dark", reducedMotion: "reduce", deviceScaleFactor: 2, isMobile: true, hasTouch: true,
  });
  await page.locator(".alert").waitFor();
  await page.locator(".topic").first().waitFor();
  await page.locator("#flagged q").first().waitFor();
  const [ground, motion] = await page.evaluate(() => [
    getComputedStyle(document.body).backgroundColor,
    getComputedStyle(document.querySelector(".dot")).animationName,
  ]);
  const light = ground.match(/\d+/g).map(Number);
  assert.ok(Math.max(...light) < 64, `${ground} is not dark`);
  assert.equal(motion, "none");
  await fits(page);
  await accessible(page);
  await picture(page, "board-phone.png");
  await check(page);
});

test("with a token an alert is taken and closed, without one nothing is seen", async () => {
  const scopes = { feeder: "score", reader: "alerts:read", taker: "alerts:read,alerts:write" };
  const server = await start({ scopes });
  await server.feed(morning(), server.tokens.feeder);
  const page = await open(server);
  const token = page.getByLabel("Token", { exact: true });
  await token.waitFor();
  assert.equal(await page.locator(".alert").count(), 0);
  await accessible(page);
  await token.fill(server.tokens.feeder);
  await page.keyboard.press("Enter");
  await page.getByText("That token did not do").waitFor();

  await token.fill(server.tokens.reader);
  await page.keyboard.press("Enter");
  const alert = page.locator(".alert");
  await alert.waitFor();
  assert.equal(await alert.getByRole("button", { name: "Acknowledge" }).count(), 0);
  const refused = await page.evaluate(async () => {
    const response = await fetch("board/acknowledgements", {
      method: "POST",
      headers: {
        authorization: `Bearer ${sessionStorage.getItem("pounce-token")}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ id: "any", by: "ann" }),
    });
    return response.status;
  });
  assert.equal(refused, 403);

  await page.getByRole("button", { name: "Forget token" }).click();
  await token.fill(server.tokens.taker);
  await page.keyboard.press("Enter");
  await alert.getByRole("button", { name: "Acknowledge" }).press("Enter");
  await page.getByLabel("Your name").fill("Ann");
  await page.getByLabel("Note").fill("calling them <b>now</b>");
  await page.waitForTimeout(2500);
  assert.equal(await page.getByLabel("Your name").inputValue(), "Ann", "typing outlives updates");
  await accessible(page);
  await page.getByLabel("Note").press("Enter");
  await page.getByText(/Ann took it .* ago: calling them <b>now<\/b>/).waitFor();
  assert.equal(await alert.getByRole("button", { name: "Acknowledge" }).count(), 0);
  await accessible(page);
  await alert.getByRole("button", { name: "False alarm" }).press("Enter");
  await page.getByText(/taker closed it .* ago: False alarm/).waitFor();
  assert.equal(await alert.getByRole("button").count(), 0, "closed once");
  assert.match(await page.locator("#announcer").textContent(), /You closed the alert on northwind rail.*: False alarm/);
  const kept = await page.evaluate(() => [localStorage.length, document.cookie]);
  assert.deepEqual(kept, [0, ""], "the token stays in this tab");
  await check(page);
});

/** A fleet of complaints: a place of one topic for most of an hour, another topic as a whole since just now. */
function complaints() {
  const of = (place, more) => posts("corner bank", { minutes: 240, place, ...more })
    .map((post) => ({ ...post, id: `${place}-${post.id}`, author: `${place} ${post.author}` }));
  return [
    ...of("Porto", { everySeconds: 40, negative: turning(45, 40) }),
    ...of("Lisbon", { everySeconds: 6, negative: () => false }),
    ...posts("northwind rail", { minutes: 240, negative: turning(9) }),
    ...posts("acorn books", { minutes: 200, everySeconds: 60, negative: (n) => n % 14 === 0 }),
  ].sort((a, b) => a.posted_at.localeCompare(b.posted_at));
}

test("a moment is told where the reader is and in UTC, with the date where it is another day", async () => {
  const server = await start();
  const told = async (timezoneId, now, at) => {
    const context = await browser.newContext({ timezoneId });
    const page = await context.newPage();
    await page.clock.setFixedTime(new Date(now));
    await page.goto(server.url);
    const text = await page.evaluate(async (moment) => (await import("/board/dom.js")).clock(moment), at);
    await context.close();
    return text;
  };
  const noon = "2026-07-01T12:00:00Z";
  assert.equal(await told("UTC", noon, "2026-07-01T10:42:31Z"), "10:42 UTC");
  assert.equal(await told("UTC", noon, "2026-06-30T10:42:31Z"), "2026-06-30 10:42 UTC");
  assert.equal(await told("Europe/Berlin", noon, "2026-07-01T10:42:31Z"), "12:42 (10:42 UTC)");
  assert.equal(await told("Europe/Berlin", noon, "2026-06-30T10:42:31Z"), "2026-06-30 12:42 (10:42 UTC)");
  // Half past midnight where the reader is, and the day before in UTC.
  const night = "2026-06-30T22:31:00Z";
  assert.equal(await told("Europe/Berlin", night, "2026-06-30T22:29:00Z"), "00:29 (2026-06-30 22:29 UTC)");
  assert.equal(await told("Europe/Berlin", night, "2026-06-30T21:29:00Z"), "2026-06-30 23:29 (21:29 UTC)");
});

test("alerts stand under their topics, what is overdue first, and lead to their posts", async () => {
  const server = await start({ flags: ["--board-texts", "--post-url", "https://social.example/{post_id}"] });
  await server.feed(complaints());
  const page = await open(server, { timezoneId: "Europe/Berlin" });
  const groups = page.locator(".group");
  await groups.nth(1).waitFor();
  assert.deepEqual(await groups.locator("h3").allInnerTexts(), ["corner bank", "northwind rail"]);
  const bank = groups.first();
  assert.equal(await bank.locator(".badge").first().innerText(), "1 overdue");
  assert.equal(await bank.locator("h4").innerText(), "Porto");
  assert.equal(await groups.nth(1).locator("h4").innerText(), "Whole topic");
  const moment = String.raw`(\d{4}-\d\d-\d\d )?\d\d:\d\d \((\d{4}-\d\d-\d\d )?\d\d:\d\d UTC\)`;
  assert.match(await bank.locator(".as-of").innerText(), new RegExp(`^Numbers as of ${moment}, when it opened`));
  assert.match(await bank.locator(".current").innerText(), new RegExp(`^As of ${moment}: \\d+ of \\d+ posts in`));

  const post = bank.locator(".samples li").first();
  const id = await post.locator("code").innerText();
  assert.equal(await post.locator("a").getAttribute("href"), `https://social.example/${encodeURIComponent(id)}`);
  assert.match(await post.locator("q").innerText(), /service|hour|broke|staff/);
  assert.match(await page.locator("#flagged a").first().getAttribute("href"), /^https:\/\/social\.example\//);

  const topic = page.locator(".topic").filter({ hasText: "corner bank" });
  await topic.locator(".places-box summary").click();
  assert.equal(await topic.locator(".places-box summary").innerText(), "2 places, firing");
  assert.match(await topic.locator(".places li").first().innerText(), /^Porto firing \d+ of \d+ posts in .* negative, lower bound/);
  await accessible(page);
  await fits(page);
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.setViewportSize({ ...DESK, height: 1400 });
  await picture(page, "board.png");

  await page.getByLabel("Filter topics").fill("RAIL");
  await page.waitForFunction(() => document.querySelectorAll(".group").length === 1);
  assert.deepEqual(await groups.locator("h3").allInnerTexts(), ["northwind rail"]);
  assert.equal(await page.locator("#firing-title").innerText(), "Firing: 1 of 2 alerts");
  assert.deepEqual(await page.locator(".topic h3").allInnerTexts(), ["northwind rail"]);
  assert.equal(await page.locator("#filter-note").innerText(), "2 hidden");
  assert.match(page.url(), /#topic=RAIL$/);
  await accessible(page);

  // As the link of a notification leads here.
  await page.goto(`${server.url}#topic=corner%20bank`);
  await page.reload();
  await groups.first().waitFor();
  assert.deepEqual(await groups.locator("h3").allInnerTexts(), ["corner bank"]);
  await page.getByLabel("Filter topics").fill("nobody");
  await page.getByText("No alert on these topics").waitFor();
  await page.getByText("None of the topics that are listed").waitFor();
  await page.setViewportSize(PHONE);
  await fits(page);
  await check(page);
});

/** Posts of now, which open cases: three with time left, and one whose time is over. */
function unanswered() {
  const at = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
  const text = "worst service ever, nobody answers, I want my money back";
  return [
    { id: "k-1", topic: "kite mobile", author: "one", text: `${text} 1`, posted_at: at(3) },
    { id: "k-2", topic: "kite mobile", author: "one", text: `${text} 2`, posted_at: at(2) },
    { id: "b-1", topic: "corner bank", place: "Lisbon", author: "two", text: `${text} 3`, posted_at: at(1) },
    { id: "n-1", topic: "northwind rail", author: "three", text: `${text} 4`, posted_at: at(18) },
    { id: "a-1", topic: "acorn books", author: "four", text: `${text} 5`, posted_at: at(8) },
  ];
}

const CARE = "alerts:read,cases:read,cases:write";

/** A page of somebody who holds a token. */
async function openAs(server, token, options) {
  const page = await open(server, options);
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.keyboard.press("Enter");
  await page.locator(".case").first().waitFor();
  return page;
}

test("two race for a case: one has it, the other is told, and a key closes it", async () => {
  const scopes = { feeder: "score", ann: CARE, bob: CARE, reader: "alerts:read,cases:read", other: "alerts:read" };
  const flags = ["--cases", "low", "--discontent", "0,0,0", "--board-texts"];
  const server = await start({ scopes, flags });
  await server.feed(unanswered(), server.tokens.feeder);
  const ann = await openAs(server, server.tokens.ann);
  const bob = await openAs(server, server.tokens.bob);
  await ann.getByText("Cases: 4 open, 1 overdue").waitFor();
  const order = await ann.locator(".case h3").allInnerTexts();
  assert.deepEqual(order, ["northwind rail", "acorn books", "kite mobile", "corner bank · Lisbon"], "overdue first");
  assert.match(await ann.locator(".case.late .countdown").innerText(), /^[23]:\d\d late$/);
  const counting = ann.locator(".case").nth(1).locator(".countdown");
  const before = await counting.innerText();
  await ann.waitForFunction(
    (shown) => document.querySelectorAll(".case .countdown")[1].textContent !== shown, before);
  assert.equal(await ann.locator(".case").nth(2).locator("q").count(), 2, "texts, because --board-texts is on");
  await accessible(ann);
  await fits(ann);

  // Both press C at the same moment.
  await Promise.all([ann, bob].map((page) => page.locator(".case").first().focus()));
  await Promise.all([ann, bob].map((page) => page.keyboard.press("c")));
  const pages = { ann, bob };
  const mine = async (page) => (await page.locator(".case .holder").first().innerText()).startsWith("yours until");
  await ann.waitForFunction(() => document.querySelector(".case .holder").textContent !== "free");
  await bob.waitForFunction(() => document.querySelector(".case .holder").textContent !== "free");
  const holds = { ann: await mine(ann), bob: await mine(bob) };
  assert.deepEqual(Object.values(holds).sort(), [false, true], "one has it");
  const [winner, loser] = holds.ann ? ["ann", "bob"] : ["bob", "ann"];
  await pages[loser].getByText(`${winner} has it until`).waitFor();
  await pages[loser].locator(".case .fault").filter({ hasText: `claimed by ${winner} until` }).waitFor();
  assert.equal(await pages[loser].locator(".case").first().getByRole("button").count(), 0, "nothing to press");
  await picture(pages[winner], "cases.png");

  await pages[winner].locator(".case").first().focus();
  await pages[winner].keyboard.press("a");
  await ann.getByText("Cases: 3 open").waitFor();
  await bob.getByText("Cases: 3 open").waitFor();
  const focused = await pages[winner].evaluate(() => document.activeElement.querySelector("h3")?.textContent);
  assert.equal(focused, "acorn books", "the focus goes to the next case");
  await pages[winner].keyboard.press("ArrowDown");
  await pages[winner].keyboard.press("f");
  await bob.getByText("Cases: 2 open").waitFor();
  await ann.waitForFunction(() => document.querySelectorAll(".case").length === 2);

  // Who hears the page instead of seeing it is told of a new case.
  const [first] = unanswered();
  await server.feed([{ ...first, id: "l-1", topic: "lark air", author: "five" }], server.tokens.feeder);
  await ann.waitForFunction(() => /New case .* on lark air/.test(document.getElementById("announcer").textContent));
  assert.equal(await ann.locator("#announcer").getAttribute("aria-live"), "polite");
  const label = await ann.locator(".case").filter({ hasText: "lark air" }).getAttribute("aria-label");
  assert.match(label, /^Case on lark air, \w+ severity, 1 post, answer by .*, free$/);

  const reader = await openAs(server, server.tokens.reader);
  await reader.getByText("Read-only: to claim").waitFor();
  assert.equal(await reader.locator(".case").first().getByRole("button").count(), 0);
  const other = await open(server);
  await other.getByLabel("Token", { exact: true }).fill(server.tokens.other);
  await other.keyboard.press("Enter");
  await other.locator("#service .rate").waitFor();
  assert.equal(await other.locator(".case").count(), 0, "cases need a scope of their own");
  for (const page of [ann, bob, reader, other]) await check(page);
});

test("cases are worked on with a thumb", async () => {
  const server = await start({ scopes: { feeder: "score", ann: CARE }, flags: ["--cases", "low", "--discontent", "0,0,0"] });
  await server.feed(unanswered(), server.tokens.feeder);
  const page = await openAs(server, server.tokens.ann, {
    viewport: PHONE, colorScheme: "dark", reducedMotion: "reduce", isMobile: true, hasTouch: true,
  });
  const bank = page.locator(".case").filter({ hasText: "corner bank" });
  await bank.getByRole("button", { name: "Claim" }).tap();
  await bank.getByText("yours until").waitFor();
  const { height } = await bank.getByRole("button", { name: "Answered" }).boundingBox();
  assert.ok(height >= 40, `${height} px are too low for a thumb`);
  await fits(page);
  await accessible(page);
  await bank.getByRole("button", { name: "Could not reach" }).tap();
  await bank.waitFor({ state: "detached" });
  await check(page);
});

test("a hostile name is shown, and nothing else", async () => {
  const server = await start({ flags: ["--board-texts"] });
  const page = await open(server);
  const negative = turning(20);
  const feed = posts(HOSTILE, { minutes: 40, negative, place: `"'>${HOSTILE}` });
  // Complaints alone: markup behind a plain report is a complaint to some models.
  const markup = (n) => (negative(n, feed.length) ? ` ${HOSTILE}` : "");
  await server.feed(feed.map((post, n) => ({ ...post, text: `${post.text}${markup(n)}` })));
  const alert = page.locator(".alert").first();
  await alert.waitFor();
  assert.ok((await page.locator(".group h3").first().innerText()).includes(HOSTILE));
  await page.locator(".topic").first().waitFor();
  await page.locator("#flagged q").first().waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator("main img, main script").count(), 0);
  await fits(page);
  await page.setViewportSize(PHONE);
  await fits(page);
  await check(page);
});

test("eight tabs share a stream, the eighth acknowledges, and another takes over from the first", async () => {
  const server = await start({ scopes: { feeder: "score", taker: "alerts:read,alerts:write" } });
  await server.feed(morning(), server.tokens.feeder);
  const context = await browser.newContext({ viewport: DESK });
  await context.addInitScript((token) => sessionStorage.setItem("pounce-token", token), server.tokens.taker);
  const tabs = [];
  for (let n = 0; n < 8; n += 1) {
    const tab = await context.newPage();
    await tab.goto(server.url);
    await tab.locator(".alert").waitFor();
    tabs.push(tab);
  }
  const last = tabs[7];
  await last.getByRole("button", { name: "Acknowledge" }).press("Enter");
  await last.getByLabel("Your name").fill("Ann");
  await last.getByLabel("Note").press("Enter");
  for (const tab of tabs) await tab.getByText(/Ann took it/).waitFor();

  await tabs.shift().close();
  await server.feed(posts("acorn bikes", { minutes: 30, negative: (n) => n % 9 === 0 }), server.tokens.feeder);
  for (const tab of tabs) await tab.locator(".topic").filter({ hasText: "acorn bikes" }).waitFor();
  assert.equal(await last.locator("#connection-text").innerText(), "Live");
  await context.close();
});
