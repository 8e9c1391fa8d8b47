// What fires, and why: the numbers an alert rests on, taking it, and closing it with an outcome.

import { clock, count, distance, draw, keep, make, many, minutes, moment, percent, say, show } from "./dom.js";
import { call, reason } from "./feed.js";
import { byTopic, isOverdue } from "./groups.js";
import { samples } from "./posts.js";

/** Longest wait for the answer to what somebody does. */
const ANSWER_MAX = 10_000;
const NAME = "pounce-name";
const KINDS = { share: "Share", volume: "Volume", reach: "Reach" };
const OUTCOMES = {
  answered: "Answered", no_answer_needed: "No answer needed", false_alarm: "False alarm", could_not_reach: "Could not reach",
};
/** Ids that were shown; none before the first view. */
let known = null;

/**
 * Shows the alerts. `reader.may` tells whether the reader may take and close them, `reader.passes(topic)` whether they
 * want to see a topic; `topics` is what is counted now.
 */
export function showAlerts({ firing: all, firing_total, resolved: ended }, topics, reader) {
  const $ = (id) => document.getElementById(id);
  const wanted = (alert) => reader.passes(alert.topic);
  const [firing, resolved] = [all.filter(wanted), ended.filter(wanted)];
  const hidden = all.length - firing.length;
  const heading = firing_total ? `Firing: ${many(firing_total, "alert")}` : "Firing";
  say($("firing-title"), hidden ? `Firing: ${count(firing.length)} of ${many(firing_total, "alert")}` : heading);
  document.title = firing_total ? `(${firing_total}) Pounce` : "Pounce";
  show($("calm"), firing.length === 0);
  if (firing.length === 0) say($("calm"), hidden ? "No alert on these topics." : "All calm: no alert is firing.");
  show($("read-only"), firing.length > 0 && !reader.may);
  keep($("alerts"), byTopic(firing), (group) => group.topic, groupCard, (node, group) => node.update(group, topics, reader.may));
  show($("more-firing"), firing_total > all.length);
  say($("more-firing"), `and ${count(firing_total - all.length)} more`);
  show($("resolved-box"), resolved.length > 0);
  say($("resolved-title"), `Resolved lately: ${resolved.length}`);
  keep($("resolved"), resolved, (alert) => alert.id, () => make("li"), past);
  announce(all);
}

/** A topic that fires, and its alerts. */
function groupCard({ topic }) {
  const words = make("span", { class: "hint" });
  const late = make("span", { class: "badge", "data-severity": "high" });
  const list = make("ul", { class: "plain cards" });
  const node = make("li", { class: "group" }, make("div", { class: "top" }, make("h3", {}, topic), late, words), list);
  node.update = ({ alerts, overdue, open }, topics, may) => {
    show(late, overdue > 0);
    say(late, `${overdue} overdue`);
    say(words, `${many(alerts.length, "alert")}${open ? `, ${open} not acknowledged` : ", all acknowledged"}`);
    const now = topics?.find((other) => other.topic === topic);
    keep(list, alerts, (alert) => alert.id, card, (child, alert) => child.update(alert, now, may));
  };
  return node;
}

function announce(firing) {
  const fresh = known && firing.filter((alert) => !known.has(alert.id));
  const over = known && firing.length < known.size && firing.every((alert) => known.has(alert.id));
  known = new Set(firing.map((alert) => alert.id));
  const announcer = document.getElementById("announcer");
  if (fresh?.length) {
    say(announcer, fresh.map((alert) => `New alert on ${about(alert)}: ${why(alert).join("")}`).join(" "));
  } else if (over) {
    say(announcer, `${many(firing.length, "alert")} still firing`);
  }
}

function about(alert) {
  return alert.place ? `${alert.topic}, ${alert.place}` : alert.topic;
}

/** Why it fires, in words: parts at odd places are what counts most. */
function why({ kind, evidence }) {
  const span = minutes(evidence.window_seconds / 60);
  if (kind === "share") {
    return ["", `${count(evidence.negatives)} of ${many(evidence.posts, "post")}`,
      ` in ${span} were negative; usual is `, percent(evidence.baseline), "."];
  }
  if (kind === "volume") {
    return ["", many(evidence.negatives, "negative post"), ` in ${span}; usual are `,
      evidence.baseline.toFixed(1), "."];
  }
  return ["", many(evidence.bound, "author"), " with together ", many(evidence.observed, "follower"),
    ` wrote negative posts in ${span}.`];
}

/** What the window of an alert holds now; empty if that is not known. */
function sinceThen({ kind, place, evidence }, topic) {
  const key = place ? topic?.places.find((other) => other.place === place) : topic;
  const span = evidence.window_seconds / 60;
  // Evidence is shorter than its window where another alert ended within it.
  const window = kind === "reach" ? undefined : key?.windows.find(({ minutes: length }) => length >= span);
  if (!window) return "";
  const { posts, negatives, bound } = window;
  const share = posts ? ` (${percent(negatives / posts)}, lower bound ${percent(bound)})` : "";
  return `As of ${clock(key.watermark)}: ${count(negatives)} of ${many(posts, "post")} in ${minutes(window.minutes)} negative${share}.`;
}

/** Names and values of the evidence; the third, if any, is the key of its mark on the scale. */
function facts({ kind, evidence }) {
  const list = kind === "share" ? [
    ["Share", percent(evidence.observed), "seen"],
    ["Lower bound", percent(evidence.bound), "sure"],
    ["Threshold", percent(evidence.threshold), "limit"],
    ["Baseline", percent(evidence.baseline), "usual"],
  ] : kind === "volume" ? [
    ["Negative posts", count(evidence.negatives)],
    ["Baseline", evidence.baseline.toFixed(1)],
    ["Deviation z", evidence.bound.toFixed(1)],
    ["Threshold", evidence.threshold.toFixed(1)],
  ] : [
    ["Authors", count(evidence.bound)],
    ["Followers", count(evidence.observed)],
    ["Threshold", count(evidence.threshold)],
  ];
  if (evidence.busiest_author_posts > 1) list.push(["Busiest author", many(evidence.busiest_author_posts, "post")]);
  if (evidence.commonest_text_posts > 1)
    list.push(["Different texts", count(evidence.distinct_texts)], ["Commonest text", many(evidence.commonest_text_posts, "post")]);
  for (const { place, negatives } of evidence.places) list.push([place, many(negatives, "negative post")]);
  if (evidence.suppressed) list.push(["Held back on places", many(evidence.suppressed, "time")]);
  return list;
}

/** A share's evidence from 0 to 100 %: its lower bound, what was seen, and the two marks it is held against. */
function scale({ observed, bound, baseline, threshold }) {
  const at = (share) => `${(share * 100).toFixed(2)}%`;
  const line = (kind, share) => draw("line", { class: kind, x1: at(share), x2: at(share), y1: 0, y2: "100%" });
  const mark = (kind, share) => [line("halo", share), line(kind, share)];
  return draw("svg", { class: "scale", "aria-hidden": "true" },
    draw("rect", { class: "track", x: 0, y: "25%", width: "100%", height: "50%", rx: 3 }),
    draw("rect", { class: "sure", x: 0, y: "25%", width: at(bound), height: "50%", rx: 3 }),
    draw("rect", { class: "seen", x: at(bound), y: "25%", width: at(Math.max(observed - bound, 0)), height: "50%" }),
    ...mark("usual", baseline), ...mark("limit", threshold));
}

function card(first) {
  const when = make("time");
  const due = make("span", { class: "due" });
  const dueTime = make("time");
  const badge = make("span", { class: "badge" });
  const sentence = make("p", { class: "why" });
  const numbers = make("div");
  const frozen = make("p", { class: "hint as-of" });
  const current = make("p", { class: "hint current" });
  const posts = make("div");
  const open = make("button", { type: "button", class: "strong" }, "Acknowledge");
  const title = make("h4", {}, first.place || "Whole topic");
  const end = make("div", { class: "end" }, due, open);
  const closing = outcomes(first);
  const node = make("li", { class: "card alert" },
    make("div", { class: "top" }, title, badge,
      make("span", { class: "badge" }, KINDS[first.kind] ?? first.kind),
      make("span", { class: "when" }, "since ", when)),
    sentence, numbers, frozen, current, posts, end, closing);
  open.setAttribute("aria-label", `Acknowledge the alert on ${about(first)}`);
  const form = taking(first, open);
  end.append(form);
  open.addEventListener("click", () => { show(open, false); show(form, true); form.querySelector("input").focus(); });
  let shown = "";
  node.update = (alert, topic, may) => {
    node.dataset.severity = alert.severity;
    badge.dataset.severity = alert.severity;
    say(badge, `${alert.severity} severity`);
    moment(when, alert.opened_at, `${clock(alert.opened_at)}, ${distance(alert.opened_at)}`);
    if (shown !== JSON.stringify(alert.evidence)) {
      shown = JSON.stringify(alert.evidence);
      sentence.replaceChildren(...why(alert).map((part, place) => (place % 2 ? make("b", {}, part) : part)));
      numbers.replaceChildren(...(alert.kind === "share" ? [scale(alert.evidence)] : []),
        make("dl", { class: "facts" }, ...facts(alert).map(([name, value, key]) =>
          make("div", {}, make("dt", {}, key ? make("i", { class: `key ${key}` }) : null, name), make("dd", {}, value)))));
      posts.replaceChildren(...samples(alert.evidence));
    }
    // When an alert grows worse its numbers are taken anew; at what time is not told.
    say(frozen, `Numbers as of ${clock(alert.opened_at)}, when it opened, or as of its last rise in severity.`);
    say(current, sinceThen(alert, topic));
    show(current, current.textContent !== "");
    const taken = Boolean(alert.acknowledged_by);
    node.classList.toggle("taken", taken);
    if (alert.outcome) {
      say(due, ended(alert));
    } else if (taken) {
      const { acknowledged_by: by, acknowledged_at: at, acknowledged_note: note } = alert;
      say(due, `${by} took it ${distance(at)}${note ? `: ${note}` : ""}`);
    } else {
      const late = isOverdue(alert);
      moment(dueTime, alert.respond_by, `${clock(alert.respond_by)}, ${distance(alert.respond_by)}`);
      if (dueTime.parentNode !== due) due.replaceChildren("", dueTime);
      due.firstChild.data = late ? "An answer was due by " : "Answer by ";
    }
    due.classList.toggle("late", isOverdue(alert));
    if (taken || !may) show(form, false);
    show(open, may && !taken && form.hidden);
    show(closing, may && !alert.outcome);
  };
  return node;
}

/** Who closed an alert, when, and how it ended. */
function ended({ outcome, closed_by: by, closed_at: at, closed_note: note }) {
  return `${by} closed it ${distance(at)}: ${OUTCOMES[outcome] ?? outcome}${note ? `, ${note}` : ""}`;
}

/** The outcomes with which somebody closes an alert, a button each. */
function outcomes(alert) {
  const fault = make("span", { class: "fault", role: "alert" });
  const buttons = Object.entries(OUTCOMES).map(([outcome, words]) => {
    const button = make("button", { type: "button" }, words);
    button.addEventListener("click", async () => {
      buttons.forEach((other) => { other.disabled = true; });
      say(fault, "");
      try {
        await send("board/closings", { id: alert.id, outcome });
        say(document.getElementById("announcer"), `You closed the alert on ${about(alert)}: ${words}`);
      } catch (error) {
        say(fault, `Not closed: ${error.message}`);
      } finally {
        buttons.forEach((other) => { other.disabled = false; });
      }
    });
    return button;
  });
  return make("div", { class: "actions closing", role: "group", "aria-label": `Close the alert on ${about(alert)}`, hidden: true },
    make("span", { class: "hint", "aria-hidden": "true" }, "Close as"), ...buttons, fault);
}

/** Sends what somebody does; fails with words for them. */
async function send(path, what) {
  const headers = { "content-type": "application/json" };
  const signal = AbortSignal.timeout(ANSWER_MAX);
  try {
    const response = await call(path, { method: "POST", headers, body: JSON.stringify(what), signal });
    if (!response.ok) throw new Error(await reason(response));
  } catch (error) {
    throw error.name === "TimeoutError" ? new Error("the server did not answer within 10 s") : error;
  }
}

/** The form in which somebody takes an alert. */
function taking(alert, open) {
  const by = make("input", { id: `by-${alert.id}`, required: true, maxlength: 100, autocomplete: "name" });
  const note = make("input", { id: `note-${alert.id}`, maxlength: 500, autocomplete: "off" });
  const fault = make("span", { class: "fault", role: "alert" });
  const submit = make("button", { type: "submit", class: "strong" }, "Acknowledge");
  const cancel = make("button", { type: "button" }, "Cancel");
  const form = make("form", { class: "taking", hidden: true },
    make("div", {}, make("label", { for: by.id }, "Your name"), by),
    make("div", {}, make("label", { for: note.id }, "Note (optional)"), note),
    make("div", { class: "buttons" }, submit, cancel, fault));
  by.value = sessionStorage.getItem(NAME) ?? "";
  const close = () => { show(form, false); show(open, true); open.focus(); };
  cancel.addEventListener("click", close);
  form.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    say(fault, "");
    try {
      await send("board/acknowledgements", { id: alert.id, by: by.value, note: note.value });
      sessionStorage.setItem(NAME, by.value);
      say(document.getElementById("announcer"), `You acknowledged the alert on ${about(alert)}`);
    } catch (error) {
      say(fault, `Not acknowledged: ${error.message}`);
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

function past(node, alert) {
  const taken = alert.outcome ? `, closed by ${alert.closed_by}: ${OUTCOMES[alert.outcome] ?? alert.outcome}`
    : alert.acknowledged_by ? `, acknowledged by ${alert.acknowledged_by}` : "";
  const words = [about(alert), `${KINDS[alert.kind]}, ${alert.severity}`,
    `${clock(alert.opened_at)} to ${clock(alert.resolved_at)}${taken}`];
  keep(node, words.map((text, place) => ({ text, place })), (word) => word.place,
    (word) => make(word.place ? "span" : "b"), (span, word) => say(span, word.text));
}
