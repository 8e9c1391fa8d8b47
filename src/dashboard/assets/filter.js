// Which topics are shown: those whose names hold what the reader typed, or what the address says after #topic=.

import { say, show } from "./dom.js";

const box = () => document.getElementById("filter");
const named = () => new URLSearchParams(location.hash.slice(1)).get("topic") ?? "";

/** Whether a topic is shown. */
export function passes(topic) {
  return (topic ?? "").toLowerCase().includes(box().value.trim().toLowerCase());
}

/** What the reader typed. */
export function typed() {
  return box().value.trim();
}

/** Calls `changed` whenever other topics are to be shown. The address follows, so that it can be passed on. */
export function onFilter(changed) {
  const take = () => { box().value = named(); changed(); };
  box().value = named();
  window.addEventListener("hashchange", take);
  box().addEventListener("input", () => {
    const hash = typed() ? `#${new URLSearchParams({ topic: typed() })}` : " ";
    history.replaceState(null, "", hash === " " ? location.pathname + location.search : hash);
    changed();
  });
}

/** Tells how many of the topics that fire or are listed are hidden. */
export function tellHidden(hidden) {
  const note = document.getElementById("filter-note");
  show(note, typed() !== "");
  say(note, hidden ? `${hidden} hidden` : "all shown");
}
