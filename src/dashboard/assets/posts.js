// A post as the page names it: its id, a link to it if the server knows where posts are, and its text if it is shown.

import { make } from "./dom.js";

/** Address of a post, with {post_id} in it; null if the server has none. */
let address = null;

/** The server tells where posts are. */
export function setPostUrl(url) {
  address = url ?? null;
}

/** The id of a post, as a link where that is possible. */
export function postId(id) {
  const name = make("code", {}, id);
  if (!address) return name;
  const href = address.replaceAll("{post_id}", encodeURIComponent(id));
  return make("a", { href, target: "_blank", rel: "noopener noreferrer" }, name);
}

/** Posts to start with: ids alone in a line, or with their texts one below the other. */
export function samples({ sample_post_ids: ids, sample_texts: texts }) {
  if (!ids.length) return [];
  if (!texts?.some(Boolean)) return [make("p", { class: "ids" }, "Posts to read ", ...ids.map(postId))];
  const row = (id, at) => make("li", {}, postId(id), texts[at] ? make("q", {}, texts[at]) : null);
  return [make("p", { class: "ids" }, "Posts to read"), make("ul", { class: "plain samples" }, ...ids.map(row))];
}
