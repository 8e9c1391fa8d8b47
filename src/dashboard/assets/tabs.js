// Of all tabs with the same token, one that is seen holds the stream, and the others hear what it hears: a
// browser opens six connections to a host, and a stream for each tab would leave none for the seventh.

/**
 * Runs `hold(on, hidden)` when it is this tab's turn, until the tab is hidden; `hidden` is an AbortSignal. What
 * `hold` tells `on`, the other tabs are told too; `look(on)` shows what there was before a tab listened. Ends when
 * the tab is hidden or `hold` has ended.
 */
export async function inTurn(token, on, { look, hold }) {
  await seen();
  const hidden = untilHidden();
  // Locks are for pages of a secure origin. Elsewhere each tab that is seen has a stream of its own.
  if (!navigator.locks) return hold(on, hidden);
  const name = `pounce ${await digest(token)}`;
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data: [what, ...value] }) => on[what](...value);
  const tell = (what) => (...value) => {
    channel.postMessage([what, ...value]);
    on[what](...value);
  };
  try {
    const turn = navigator.locks.request(name, { signal: hidden }, () => {
      channel.onmessage = null;
      return hold({ part: tell("part"), state: tell("state"), token: on.token }, hidden);
    });
    await look(on).then(() => on.state("live")).catch(() => {});
    await turn;
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    channel.close();
  }
}

/** Waits until somebody can see the tab. */
function seen() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.visibilityState !== "visible") return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });
}

function untilHidden() {
  const hidden = new AbortController();
  const look = () => {
    if (document.visibilityState === "visible") return;
    document.removeEventListener("visibilitychange", look);
    hidden.abort();
  };
  document.addEventListener("visibilitychange", look);
  return hidden.signal;
}

/** A name that does not show the token. */
async function digest(text) {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
