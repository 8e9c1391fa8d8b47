// Cases: who is to be answered by when, and who does it. One key each for what can be done with one.

import { clock, count, keep, make, many, moment, say, show } from "./dom.js";
import { call, reason } from "./feed.js";
import { postId } from "./posts.js";

/** Longest wait for the answer to an action. */
const ANSWER_MAX = 10_000;
/** Key, what it does, words of the button. */
const ACTIONS = [
  ["c", { action: "claim" }, "Claim"],
  ["r", { action: "release" }, "Release"],
  ["a", { action: "close", outcome: "answered" }, "Answered"],
  ["n", { action: "close", outcome: "no_answer_needed" }, "No answer needed"],
  ["f", { action: "close", outcome: "false_alarm" }, "False alarm"],
  ["u", { action: "close", outcome: "could_not_reach" }, "Could not reach"],
];
const $ = (id) => document.getElementById(id);
/** Ids that were shown; none before the first view. */
let known = null;

/** Shows the cases of topics that pass; `you` is what this reader may do, and their name. */
export function showCases({ on, cases, total, overdue }, you, passes) {
  show($("queue"), on);
  if (!on) return;
  const late = overdue ? `, ${count(overdue)} overdue` : "";
  say($("queue-title"), total ? `Cases: ${count(total)} open${late}` : "Cases");
  show($("no-cases"), total === 0);
  show($("queue-keys"), total > 0 && you.may_act);
  show($("queue-read-only"), total > 0 && !you.may_act);
  keep($("cases"), cases.filter((item) => passes(item.topic)), (item) => item.id, row, (node, item) => node.update(item, you));
  show($("more-cases"), total > cases.length);
  say($("more-cases"), `and ${count(total - cases.length)} more with later deadlines`);
  announce(cases);
}

function announce(cases) {
  const fresh = known && cases.filter((item) => !known.has(item.id));
  known = new Set(cases.map((item) => item.id));
  if (!fresh?.length) return;
  const words = fresh.length > 3 ? `${count(fresh.length)} new cases`
    : fresh.map((item) => `New case of ${item.severity} severity on ${about(item)}`).join(". ");
  say($("announcer"), words);
}

function about(item) {
  return item.place ? `${item.topic}, ${item.place}` : item.topic;
}

/** "12:34", or "2 h" where seconds do not matter any more. */
function length(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const minutes = Math.floor(seconds / 60);
  return minutes < 600 ? `${minutes}:${String(seconds % 60).padStart(2, "0")}` : `${Math.round(minutes / 60)} h`;
}

function row(first) {
  const due = make("time", { class: "countdown" });
  const badge = make("span", { class: "badge" });
  const holder = make("span", { class: "holder" });
  const posts = make("div", { class: "ids" });
  const fault = make("p", { class: "fault", role: "alert" });
  const buttons = make("div", { class: "actions" });
  const title = make("h3", {}, first.topic, first.place ? make("span", { class: "place" }, ` · ${first.place}`) : null);
  const node = make("li", { class: "card case", tabindex: "0" },
    make("div", { class: "top" }, due, title, badge, holder), posts, buttons, fault);
  let item = first;
  let may = {};
  let busy = false;
  let shown = "";

  const act = async (body, words) => {
    if (busy) return;
    busy = true;
    // By then this case may be gone, and with it who comes after it.
    const following = next(node) ?? previous(node);
    say(fault, "");
    try {
      const headers = { "content-type": "application/json" };
      const signal = AbortSignal.timeout(ANSWER_MAX);
      const sent = JSON.stringify({ id: item.id, ...body });
      const response = await call("board/cases", { method: "POST", headers, body: sent, signal });
      if (!response.ok) throw new Error(await reason(response));
      say($("announcer"), `${words}: case on ${about(item)}`);
      if (body.action === "close" && [document.body, node].includes(document.activeElement)) following?.focus();
    } catch (error) {
      const why = error.name === "TimeoutError" ? "the server did not answer within 10 s" : error.message;
      say(fault, `Not done: ${why}`);
    } finally {
      busy = false;
    }
  };
  const done = new Map(ACTIONS.map(([key, body, words]) => {
    const button = make("button", { type: "button", "aria-keyshortcuts": key.toUpperCase() }, words,
      make("kbd", { "aria-hidden": "true" }, key.toUpperCase()));
    if (key === "c") button.className = "strong";
    button.addEventListener("click", () => act(body, words));
    buttons.append(button);
    return [key, { button, run: () => act(body, words) }];
  }));
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowDown: next, ArrowUp: previous }[event.key]?.(node);
    const action = done.get(event.key.toLowerCase());
    if (step) step.focus();
    else if (action && !action.button.hidden) action.run();
    else return;
    event.preventDefault();
  });

  node.update = (now, you) => {
    [item, may] = [now, you];
    node.dataset.severity = item.severity;
    badge.dataset.severity = item.severity;
    say(badge, item.severity);
    const left = Date.parse(item.respond_by) - Date.now();
    moment(due, item.respond_by, left >= 0 ? length(left) : `${length(-left)} late`);
    node.classList.toggle("late", left < 0);
    const mine = item.claimed_by !== null && item.claimed_by === may.name;
    const taken = item.claimed_by !== null && !mine;
    node.classList.toggle("taken", taken);
    say(holder, mine ? `yours until ${clock(item.lease_until)}`
      : taken ? `${item.claimed_by} has it until ${clock(item.lease_until)}` : "free");
    const label = `Case on ${about(item)}, ${item.severity} severity, ${many(item.posts, "post")}, `
      + `answer by ${clock(item.respond_by)}, ${holder.textContent}`;
    if (node.getAttribute("aria-label") !== label) node.setAttribute("aria-label", label);
    for (const [key, { button }] of done) {
      show(button, may.may_act && !taken && (key === "c" ? !mine : key === "r" ? mine : true));
    }
    if (shown !== JSON.stringify([item.post_ids, item.posts, item.texts])) {
      shown = JSON.stringify([item.post_ids, item.posts, item.texts]);
      posts.replaceChildren(`${many(item.posts, "post")} `, ...item.post_ids.map(postId),
        ...(item.texts ?? []).filter(Boolean).map((text) => make("q", {}, text)));
    }
  };
  return node;
}

const next = (node) => node.nextElementSibling;
const previous = (node) => node.previousElementSibling;
