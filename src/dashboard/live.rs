//! The page's stream of server-sent events: each part when it has changed, at
//! most once a second.
//!
//! The transport polls the stream when it can send, and every watcher is shown
//! the newest view: one that reads slowly skips what it missed and holds up
//! nobody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::MissedTickBehavior;

use super::page::{Page, VIEW_AGE_MAX};
use crate::auth::caller::Caller;
use crate::lifecycle::drain::Phase;

/// Silence after which a comment tells proxies that the stream is alive.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The events for one watcher, until the drain begins or its token is taken
/// away; `place` is its own among those that may watch. `callers` are the watcher as let in for
/// alerts, and for cases if it may see them.
pub(super) fn events(
    page: Arc<Page>,
    mut callers: [Caller; 2],
    place: OwnedSemaphorePermit,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    let mut drain = page.parts.drain.clone();
    let seen_by = callers[0].clone();
    let you = page.you(&seen_by);
    let events = async_stream::stream! {
        let _place = place;
        yield Ok(event("you", &you));
        let mut ticks = tokio::time::interval(VIEW_AGE_MAX);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = None;
        loop {
            ticks.tick().await;
            let view = page.view().await;
            let before = sent.replace(Arc::clone(&view));
            for (place, (name, scope, part)) in view.parts().into_iter().enumerate() {
                let is_new = before.as_ref().is_none_or(|before| before.parts()[place].2 != part);
                if is_new && seen_by.may(scope) {
                    yield Ok(event(name, part));
                }
            }
        }
    };
    let over = async move {
        let [first, second] = &mut callers;
        tokio::select! {
            () = drain.reached(Phase::Draining) => {}
            () = first.taken_away() => {}
            () = second.taken_away() => {}
        }
    };
    Sse::new(events.take_until(Box::pin(over))).keep_alive(KeepAlive::new().interval(KEEPALIVE))
}

fn event(name: &'static str, data: &str) -> Event {
    // JSON of ours has no line break, which is all that could be wrong with it.
    Event::default().event(name).data(data)
}
