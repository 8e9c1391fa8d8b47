// Topics with their charts, flagged posts, and how the server fares.

import { clock, count, distance, draw, keep, make, many, minutes, moment, percent, say, show } from "./dom.js";
import { postId } from "./posts.js";

/** Topics that are shown unasked. */
const TOPICS = 12;
let all = false;

const $ = (id) => document.getElementById(id);

/** Shows the topics that `passes` lets through. */
export function showTopics(part, passes) {
  const { keys_total } = part;
  const topics = part.topics.filter(({ topic }) => passes(topic));
  const shown = all ? topics : topics.slice(0, TOPICS);
  show($("no-topics"), topics.length === 0);
  say($("no-topics"), part.topics.length ? "None of the topics that are listed has such a name."
    : "No post has named a topic yet. Topics show up here a minute or two after their first posts.");
  show($("legend"), topics.length > 0);
  keep($("topics"), shown, (topic) => topic.topic, topicCard, (node, topic) => node.update(topic));
  show($("all-topics"), topics.length > TOPICS);
  say($("all-topics"), all ? `Show ${TOPICS} only` : `Show all ${topics.length}`);
  $("all-topics").onclick = () => { all = !all; showTopics(part, passes); };
  show($("topics-note"), keys_total > part.topics.length);
  say($("topics-note"), `${count(keys_total)} topics and places are counted; here are the topics with most discontent.`);
}

function topicCard(topic) {
  const fires = make("span", { class: "badge", "data-severity": "high" }, "firing");
  const warming = make("span", { class: "badge" }, "warming up");
  const share = make("b");
  const words = make("span");
  const chart = make("div", { class: "chart" });
  const from = make("span");
  const to = make("time");
  const rows = make("tbody");
  const asOf = make("p", { class: "hint" });
  const places = make("ul", { class: "plain places" });
  const placesBox = make("details", { class: "places-box" }, make("summary", {}), places);
  const head = ["Window", "Posts", "Negative", "Share", "Bound"];
  const node = make("li", { class: "card topic" },
    make("div", { class: "top" }, make("h3", {}, topic.topic), fires, warming),
    make("p", { class: "now" }, share, words), chart,
    make("div", { class: "span" }, from, to),
    placesBox,
    make("details", {}, make("summary", {}, "Numbers"),
      make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))), rows), asOf));
  let drawn = "";
  node.update = (now) => {
    const next = JSON.stringify(now);
    if (drawn === next) return;
    drawn = next;
    const { history, windows, baseline, threshold } = now;
    const last = history.posts.length - 1;
    const [posts, negatives, bound] = [history.posts[last], history.negatives[last], history.bound[last]];
    show(fires, now.alert_ids.length > 0);
    node.classList.toggle("fires", now.alert_ids.length > 0);
    show(warming, now.warming);
    say(share, posts ? percent(negatives / posts) : "–");
    say(words, posts
      ? `negative of ${many(posts, "post")} in ${minutes(history.window_minutes)}, lower bound ${percent(bound)}; `
        + `baseline ${percent(baseline)}, threshold ${percent(threshold)}`
      : `no posts in ${minutes(history.window_minutes)}; baseline ${percent(baseline)}`);
    chart.replaceChildren(...lines(now));
    say(from, `${minutes(last * history.step_minutes)} before`);
    moment(to, now.watermark, clock(now.watermark));
    say(asOf, `As of ${clock(now.watermark)}.`);
    show(placesBox, now.places.length > 0);
    const most = `${now.more_places ? "The first " : ""}${many(now.places.length, "place")}`;
    say(placesBox.firstChild, now.places.some((place) => place.alert_ids.length) ? `${most}, firing` : most);
    places.replaceChildren(...now.places.map(placeRow));
    rows.replaceChildren(...windows.map((window) => make("tr", {},
      make("th", { scope: "row" }, minutes(window.minutes)),
      ...[count(window.posts), count(window.negatives),
        window.posts ? percent(window.negatives / window.posts) : "–", percent(window.bound)]
        .map((text) => make("td", {}, text)))));
  };
  return node;
}

/** A place of a topic: its counts in the shortest window that has posts. */
function placeRow({ place, windows, threshold, alert_ids }) {
  const window = windows.find(({ posts }) => posts > 0);
  const words = window
    ? `${count(window.negatives)} of ${many(window.posts, "post")} in ${minutes(window.minutes)} negative, `
      + `lower bound ${percent(window.bound)}, threshold ${percent(threshold)}`
    : "no posts lately";
  return make("li", {}, make("b", {}, place), " ",
    alert_ids.length ? make("span", { class: "badge", "data-severity": "high" }, "firing") : null,
    make("span", { class: "hint" }, ` ${words}`));
}

/** A topic's chart, and the top of its scale. */
function lines({ topic, history, baseline, threshold }) {
  const shares = history.posts.map((posts, at) => (posts ? history.negatives[at] / posts : null));
  const highest = Math.max(threshold * 1.5, ...shares.map((share) => share ?? 0));
  const most = Math.min(Math.ceil(highest * 10) / 10, 1);
  const last = Math.max(shares.length - 1, 1);
  const x = (at) => ((at / last) * 100).toFixed(2);
  const y = (share) => (100 - (share / most) * 100).toFixed(2);
  let pen = "M";
  const path = shares.map((share, at) => {
    if (share === null) { pen = "M"; return ""; }
    const step = `${pen}${x(at)} ${y(share)}`;
    pen = "L";
    return step;
  }).join("");
  const area = `M0 100${history.bound.map((bound, at) => `L${x(at)} ${y(bound)}`).join("")}L100 100Z`;
  const level = (kind, share) => draw("line", { class: kind, x1: 0, x2: 100, y1: y(share), y2: y(share) });
  const label = `Negative share of ${topic} over the last ${minutes(last * history.step_minutes)}, `
    + `up to ${percent(Math.max(...shares.map((share) => share ?? 0)))}`;
  return [
    draw("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": label },
      draw("path", { class: "bound", d: area }), level("usual", baseline), level("limit", threshold),
      draw("path", { class: "share", d: path })),
    make("span", { class: "most", "aria-hidden": "true" }, percent(most)),
  ];
}

/** Shows the flagged posts of topics that `passes` lets through. */
export function showPosts({ flagged: all }, passes) {
  const flagged = all.filter(({ topic }) => passes(topic));
  show($("no-flagged"), flagged.length === 0);
  say($("no-flagged"), all.length ? "No flagged post of these topics."
    : "No post was flagged since the server started.");
  show($("flagged"), flagged.length > 0);
  const key = (post) => JSON.stringify([post.topic, post.id, post.at]);
  keep($("flagged"), flagged, key, postRow, (node) => node.update());
}

function postRow(post) {
  const when = make("time");
  const about = [post.topic, post.place].filter(Boolean).join(" · ") || "no topic";
  const badge = post.flag === "advocate" ? make("span", { class: "badge praise" }, "advocate")
    : make("span", { class: "badge", "data-severity": post.severity }, post.severity);
  const facts = [
    `${post.flag === "advocate" ? "positive" : "negative"} ${percent(post.probability)}`,
    post.followers ? many(post.followers, "follower") : null,
    post.respond_by ? `answer by ${clock(post.respond_by)}` : null,
  ].filter(Boolean);
  const node = make("li", {},
    make("div", { class: "top" }, badge, make("b", {}, about), make("span", { class: "when" }, when)),
    make("div", { class: "id" }, postId(post.id)),
    post.text === undefined ? null : make("q", {}, post.text),
    make("div", { class: "about" }, ...facts.map((fact) => make("span", {}, fact))));
  node.update = () => moment(when, post.at, distance(post.at));
  return node;
}

/** Shows how the server fares. */
export function showService(part) {
  const box = $("service");
  const milliseconds = (value) => (value === null ? "–" : value < 10 ? `${value.toFixed(1)} ms`
    : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);
  const { queue, workers, post_milliseconds: took } = part;
  const facts = [
    ["Median", milliseconds(took.p50)], ["95th percentile", milliseconds(took.p95)],
    ["99th percentile", milliseconds(took.p99)],
    ["Queue", `${count(queue.posts)} of ${count(queue.max)}`],
    ["Workers", `${workers.alive} of ${workers.max}`],
    ["Rejected, 1 min", count(part.rejected_last_minute)],
  ];
  if (!box.firstChild) {
    box.append(
      make("div", { class: "pulse" }, make("p", { class: "rate" }, make("span"), make("small", {}, " posts/s")),
        draw("svg", { viewBox: "0 0 60 100", preserveAspectRatio: "none", role: "img" }, draw("path", { class: "bars" }))),
      make("dl", { class: "facts" }, ...facts.map(([name]) => make("div", {}, make("dt", {}, name), make("dd")))),
      make("p", { class: "hint" }));
  }
  const rate = part.scored_per_second;
  say(box.querySelector(".rate span"), rate < 10 ? rate.toFixed(1) : count(Math.round(rate)));
  const most = Math.max(...part.scored, 1);
  const bar = (posts, at) => `M${at + 0.1} 100v${(-(posts / most) * 100).toFixed(1)}h.8V100Z`;
  box.querySelector(".bars").setAttribute("d", part.scored.map((posts, at) => (posts ? bar(posts, at) : "")).join(""));
  box.querySelector("svg").setAttribute("aria-label", `Posts scored in each of the last 60 seconds, at most ${most}`);
  box.querySelectorAll("dd").forEach((node, at) => say(node, facts[at][1]));
  const revision = part.model.revision.slice(0, 12);
  say(box.querySelector(".hint"), `Version ${part.version}, model ${part.model.name} ${revision}. `
    + "Counted here is what came to this server; other replicas have boards of their own.");
}
