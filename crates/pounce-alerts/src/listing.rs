//! Alerts, topics and places as lists, page by page. Changes nothing.
//!
//! A page goes on after a position in the order of the list, not after a number of items: what
//! comes or goes between two pages moves nothing else.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::engine::AlertEngine;
use super::key::{AlertId, AlertKind, Key};
use super::key_state::KeyState;
use super::lifecycle::Firing;
use super::status::TopicStatus;
use super::topic::TopicState;
use pounce_types::post::{Timestamp, Topic};

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, P> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins: after the last item. None if there is nothing more.
    pub next: Option<P>,
}

/// Where an alert stands: those that fire first, each part newest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertPosition {
    resolved: bool,
    opened_at: Reverse<Timestamp>,
    id: AlertId,
}

/// Where a topic or place stands: those that fire first, each part by the highest lower bound of
/// its share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicPosition {
    calm: bool,
    /// Bits of a number that is not negative: in the same order.
    bound: Reverse<u64>,
    name: String,
}

impl AlertEngine {
    /// Alerts that fire, and if `resolved` those that did lately: those that fire first, each
    /// part newest first.
    #[must_use]
    pub fn alerts(&self, resolved: bool) -> Vec<Alert> {
        self.alerts_page(resolved, |_| true, None, usize::MAX).items
    }

    /// Up to `max` of [`AlertEngine::alerts`] that pass, from those after `after` on.
    #[must_use]
    pub fn alerts_page(
        &self,
        resolved: bool,
        passes: impl Fn(&Alert) -> bool,
        after: Option<&AlertPosition>,
        max: usize,
    ) -> Page<Alert, AlertPosition> {
        let order = |alert: &Alert| (alert.resolved_at.is_some(), Reverse(alert.opened_at));
        let is_after = |alert: &Alert| {
            after.is_none_or(|after| {
                (order(alert), &alert.id) > ((after.resolved, after.opened_at), &after.id)
            })
        };
        let firing = self.firing.iter().filter_map(|(_, (key, kind))| self.firing_of(key, *kind));
        let over = self.ledger.over.iter().map(|(_, firing)| firing).filter(|_| resolved);
        let alerts = firing.chain(over).map(|firing| &firing.alert);
        let left: Vec<&Alert> = alerts.filter(|alert| is_after(alert) && passes(alert)).collect();
        let by_order = |a: &&Alert, b: &&Alert| (order(a), &a.id).cmp(&(order(b), &b.id));
        let (page, more) = first(left, max, by_order);
        let position = |alert: &&Alert| {
            let (resolved, opened_at) = order(alert);
            AlertPosition { resolved, opened_at, id: alert.id.clone() }
        };
        Page {
            next: page.last().filter(|_| more).map(position),
            items: page.into_iter().cloned().collect(),
        }
    }

    /// The topics that fire first, then those with most discontent; at most `max`.
    #[must_use]
    pub fn topics(&self, max: usize) -> Vec<TopicStatus> {
        self.topics_page(None, max).items
    }

    /// Up to `max` of the topics, from those after `after` on.
    #[must_use]
    pub fn topics_page(
        &self,
        after: Option<&TopicPosition>,
        max: usize,
    ) -> Page<TopicStatus, TopicPosition> {
        let topics = self.topics.values().map(|state| {
            let topic = &**state;
            (topic, &topic.whole, topic.name.as_str())
        });
        page_of(topics, after, max)
    }

    /// Up to `max` of the places of a topic, from those after `after` on; none if there is no
    /// such topic.
    #[must_use]
    pub fn places_page(
        &self,
        of: &Topic,
        after: Option<&TopicPosition>,
        max: usize,
    ) -> Option<Page<TopicStatus, TopicPosition>> {
        let topic = &**self.topics.get(of)?;
        let places = topic.places.iter().map(|(place, state)| (topic, state, place.as_str()));
        Some(page_of(places, after, max))
    }

    pub(super) fn firing_of(&self, key: &Key, kind: AlertKind) -> Option<&Firing> {
        let key_state = self.topics.get(&key.topic)?.key_state(key.place.as_ref())?;
        key_state.lifecycles()[kind.index()].firing.as_ref()
    }
}

/// A page of keys, each with its topic and its name. Of thousands few are shown: only these are
/// made into statuses.
fn page_of<'a>(
    keys: impl Iterator<Item = (&'a TopicState, &'a KeyState, &'a str)>,
    after: Option<&TopicPosition>,
    max: usize,
) -> Page<TopicStatus, TopicPosition> {
    let order = |topic: &TopicState, key: &KeyState| {
        let (fires, bound) = key.mood(topic.next(), &topic.rules);
        (!fires, Reverse(bound.to_bits()))
    };
    let ordered = keys.map(|(topic, key, name)| ((order(topic, key), name), topic, key));
    let after = after.map(|after| ((after.calm, after.bound), after.name.as_str()));
    let left = ordered.filter(|(position, ..)| after.is_none_or(|after| *position > after));
    let (page, more) = first(left.collect(), max, |a, b| a.0.cmp(&b.0));
    let next = page.last().filter(|_| more).map(|(((calm, bound), name), ..)| TopicPosition {
        calm: *calm,
        bound: *bound,
        name: (*name).to_owned(),
    });
    let items = page.into_iter().map(|(_, topic, key)| topic.status_of(key)).collect();
    Page { items, next }
}

/// The first `max` in order, and whether there are more.
fn first<T>(
    mut items: Vec<T>,
    max: usize,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> (Vec<T>, bool) {
    let more = items.len() > max;
    if more && max > 0 {
        items.select_nth_unstable_by(max - 1, &order);
    }
    items.truncate(max);
    items.sort_unstable_by(&order);
    (items, more)
}
