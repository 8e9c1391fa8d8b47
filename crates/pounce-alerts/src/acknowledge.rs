//! Who takes care of an alert.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::alert::{Acknowledgement, Alert};
use super::engine::AlertEngine;
use super::key::{AlertKind, Key};
use super::lifecycle::Firing;
use super::topic::TopicState;
use pounce_types::post::{Timestamp, Topic};

/// What came of acknowledging an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledged {
    /// The alert, with whoever took it first.
    pub alert: Alert,
    /// How long it had waited by the wall clock; none if it was taken before.
    pub waited: Option<Duration>,
}

/// No alert has this id: it never had, or resolved too long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no alert has this id: it never opened, or resolved more than a day ago")]
pub struct UnknownAlert;

impl AlertEngine {
    /// Notes who acknowledged an alert, firing or resolved. The first one stays.
    /// # Errors
    /// [`UnknownAlert`] if no alert has this id.
    pub fn acknowledge(
        &mut self,
        id: &str,
        by: &str,
        note: &str,
        at: Timestamp,
    ) -> Result<Acknowledged, UnknownAlert> {
        let firing = self.find_mut(id).ok_or(UnknownAlert)?;
        let first = firing.alert.acknowledgement.is_none();
        if first {
            firing.alert.acknowledgement =
                Some(Acknowledgement { by: by.to_owned(), note: note.to_owned(), at });
        }
        let waited = at.millis().saturating_sub(firing.noticed_at.millis());
        Ok(Acknowledged {
            alert: firing.alert.clone(),
            waited: first.then(|| Duration::from_millis(waited)),
        })
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut Firing> {
        if let Some((key, kind)) = self.firing.get(id) {
            return firing_mut(&mut self.topics, key, *kind);
        }
        let over = self.ledger.over.iter_mut().map(|(_, firing)| firing);
        over.rev().find(|firing| firing.alert.id.as_str() == id)
    }
}

/// The alert of a kind that fires on a key.
pub(super) fn firing_mut<'a>(
    topics: &'a mut HashMap<Topic, Arc<TopicState>>,
    key: &Key,
    kind: AlertKind,
) -> Option<&'a mut Firing> {
    let state = Arc::make_mut(topics.get_mut(&key.topic)?);
    let key_state = state.key_state_mut(key.place.as_ref())?;
    key_state.lifecycles_mut()[kind.index()].firing.as_mut()
}
