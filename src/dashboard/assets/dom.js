// Makes and updates nodes. Whatever comes from outside goes in as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** A node with attributes and children; strings become text. */
export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Shows or hides. */
export function show(node, visible) {
  node.hidden = !visible;
}

/** Sets a text only if it differs, so that screen readers and selections stay where they are. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in their order. A child lives as long as its
 * key: what somebody types or selects in it survives. `update` gets the child and its item.
 */
export function keep(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.boardKey, child]));
  const names = new Set(items.map(key));
  // First, so that no other child has to move for it: a node that moves loses the focus.
  for (const [name, child] of known) if (!names.has(name)) child.remove();
  let before = null;
  for (const item of items) {
    const name = key(item);
    let child = known.get(name);
    if (!child) {
      child = create(item);
      child.boardKey = name;
    }
    update(child, item);
    const next = before ? before.nextElementSibling : parent.firstElementChild;
    if (next !== child) parent.insertBefore(child, next);
    before = child;
  }
}

/** A share of 1 as percent. */
export function percent(share) {
  const value = share * 100;
  // The space does not break.
  return `${value < 10 && value > 0 ? value.toFixed(1) : Math.round(value)}\u00a0%`;
}

/** A count, with its thousands set apart. */
export function count(number) {
  return number.toLocaleString("en");
}

/** "1 post", "2 posts". */
export function many(number, one) {
  return `${count(number)} ${one}${number === 1 ? "" : "s"}`;
}

/** Minutes in words. */
export function minutes(number) {
  if (number < 60) return `${number} min`;
  const rest = number % 60;
  return `${Math.floor(number / 60)} h${rest ? ` ${rest} min` : ""}`;
}

const two = (number) => String(number).padStart(2, "0");
const localDay = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

/**
 * A moment where the reader is, with UTC beside it: "11:42 (10:42 UTC)", in UTC itself "10:42 UTC"; with the date if
 * it is another day. The same as `pounce watch` and `pounce topics` show.
 */
export function clock(text) {
  const at = new Date(text);
  const day = localDay(at) === localDay(new Date()) ? "" : `${localDay(at)} `;
  const utc = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())} UTC`;
  if (at.getTimezoneOffset() === 0) return day + utc;
  const utcDay = at.toISOString().slice(0, 10);
  return `${day}${two(at.getHours())}:${two(at.getMinutes())} (${utcDay === localDay(at) ? "" : `${utcDay} `}${utc})`;
}

/** How long ago, or in how long. */
export function distance(text, now = Date.now()) {
  const seconds = Math.round((now - Date.parse(text)) / 1000);
  const length = Math.abs(seconds);
  const words = length < 45 ? `${length} s`
    : length < 5400 ? `${Math.round(length / 60)} min`
    : length < 129600 ? `${Math.round(length / 3600)} h`
    : `${Math.round(length / 86400)} days`;
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}

/** A <time> that shows `text` and tells the whole moment. */
export function moment(node, at, text) {
  if (node.dateTime !== at) {
    node.dateTime = at;
    node.title = at;
  }
  say(node, text);
}
