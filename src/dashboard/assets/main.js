// Wires the page: parts of the server's view go to those who show them.

import { say, show } from "./dom.js";
import { follow, token } from "./feed.js";
import { showAlerts } from "./alerts.js";
import { showCases } from "./cases.js";
import { onFilter, passes, tellHidden } from "./filter.js";
import { setPostUrl } from "./posts.js";
import { showPosts, showService, showTopics } from "./panels.js";

const $ = (id) => document.getElementById(id);
/** The newest of each part. */
const parts = {};
const NOBODY = { may_acknowledge: false, may_act: false, name: null };
let state = "wait";

/** Draws what depends on time, on the filter, or on several parts. */
function draw() {
  const reader = { may: parts.you?.may_acknowledge ?? false, passes };
  if (parts.alerts) showAlerts(parts.alerts, parts.topics?.topics, reader);
  if (parts.cases) showCases(parts.cases, parts.you ?? NOBODY, passes);
  if (parts.posts) showPosts(parts.posts, passes);
  if (parts.topics) showTopics(parts.topics, passes);
  const names = new Set([...(parts.alerts?.firing ?? []), ...(parts.topics?.topics ?? [])].map(({ topic }) => topic));
  tellHidden([...names].filter((topic) => !passes(topic)).length);
}

function part(name, value) {
  parts[name] = value;
  if (name === "you") setPostUrl(value.post_url);
  if (name !== "service") draw();
  if (name === "service") { showService(value); showState(state); }
  show($("board"), true);
  show($("sign-in"), false);
  show($("forget"), token.get() !== "");
}

function showState(next) {
  state = next;
  const words = { wait: "Connecting", live: "Live", looking: "Every 5 s: many watch", lost: "Lost; trying again" };
  const draining = parts.service?.state === "draining" && next !== "lost";
  const starting = parts.service?.state === "starting" && next !== "lost";
  $("connection").dataset.state = draining || starting ? "wait" : next;
  say($("connection-text"), draining ? "The server is draining" : starting ? "The server is starting" : words[next]);
}

/** Asks for a token; the promise is kept when somebody gives one. */
function askForToken(refused, why) {
  token.forget();
  show($("board"), false);
  show($("forget"), false);
  show($("sign-in"), true);
  showState("wait");
  say($("connection-text"), "Waiting for a token");
  if (refused) {
    say($("token-reason"), `That token did not do: ${why}. The scope alerts:read is needed.`);
    $("token-reason").className = "fault";
  }
  $("token").value = "";
  $("token").focus();
  return new Promise((resolve) => {
    $("token-form").onsubmit = (event) => {
      event.preventDefault();
      token.set($("token").value.trim());
      resolve();
    };
  });
}

$("forget").addEventListener("click", () => { token.forget(); location.reload(); });
// "2 min ago" goes on although nothing comes.
setInterval(draw, 1000);
onFilter(draw);
follow({ part, state: showState, token: askForToken });
