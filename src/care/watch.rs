//! A watch of cases: what there is, or what was missed, and then each change.

use std::sync::Arc;

use futures::Stream;
use tokio::sync::broadcast::error::RecvError;

use super::wire::{CaseFilter, show_change, show_present};
use crate::cases::monitor::CaseMonitor;
use crate::change_feed::{Changes, News};
use pounce_cases::{Case, CaseChange};
use pounce_proto::WatchCasesCurrent;
use pounce_proto::watch_cases_response::Message;
use pounce_replication::{ChangePosition, Numbered};

/// How a watch begins: with the changes that it missed, or with the cases that are not closed.
struct Begun {
    missed: Vec<Arc<Numbered<CaseChange>>>,
    present: Vec<Arc<Case>>,
    /// The last change that the watcher knows, where it goes on after it.
    seen: Option<ChangePosition>,
    /// Every change after those.
    changes: Changes<CaseChange>,
}

fn begin(cases: &CaseMonitor, seen: Option<ChangePosition>) -> Begun {
    if let Some((missed, changes)) = seen.and_then(|seen| cases.watch_after(seen)) {
        return Begun { missed, present: Vec::new(), seen, changes };
    }
    let (present, changes) = cases.watch();
    Begun { missed: Vec::new(), present, seen: None, changes }
}

/// The messages of a watch that goes on after `seen`. Ends when all that is known is replaced: the
/// watcher comes again.
pub(super) fn watch(
    cases: &CaseMonitor,
    filter: CaseFilter,
    seen: Option<ChangePosition>,
) -> impl Stream<Item = Message> + Send + use<> {
    let Begun { missed, present, seen, mut changes } = begin(cases, seen);
    async_stream::stream! {
        for case in present.into_iter().filter(|case| filter.passes(case)) {
            yield Message::Change(show_present(&case));
        }
        for change in missed.iter().filter(|change| filter.passes(&change.change.case)) {
            yield Message::Change(show_change(change));
        }
        drop(missed);
        yield Message::Current(WatchCasesCurrent { resumed: seen.is_some() });
        loop {
            match changes.recv().await {
                Ok(News::Changed(change))
                    if filter.passes(&change.change.case) && !change.was_seen(seen) =>
                {
                    yield Message::Change(show_change(&change));
                }
                Ok(News::Changed(_)) => {}
                Err(RecvError::Lagged(missed)) => yield Message::Missed(missed),
                Ok(News::Replaced) | Err(RecvError::Closed) => break,
            }
        }
    }
}
