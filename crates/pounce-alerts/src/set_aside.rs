//! A switch to another signal: what was counted by the last one is set aside.

use std::sync::Arc;

use super::engine::AlertEngine;
use super::settings::Settings;
use super::signal::Signal;
use super::topic::TopicState;
use super::votes::Votes;
use pounce_types::post::Topic;

impl AlertEngine {
    /// Counts observations of `signal` from now on, and no others. If what was counted is of
    /// another signal it is set aside: windows, baselines and audiences start anew. Alerts,
    /// acknowledgements and post ids stay. Returns whether anything was set aside.
    pub fn use_signal(&mut self, signal: Signal) -> bool {
        if self.signal.as_ref() == Some(&signal) {
            return false;
        }
        self.signal = Some(signal);
        self.change_topics(|_| true, |state, _| state.set_counts_aside());
        self.votes = Votes::new(&self.settings.limits);
        !self.topics.is_empty()
    }

    /// Changes the topics that `which` picks, and keeps up what is known of their memory. Returns
    /// their names.
    pub(super) fn change_topics(
        &mut self,
        which: impl Fn(&TopicState) -> bool,
        change: impl Fn(&mut TopicState, &Settings),
    ) -> Vec<Topic> {
        let mut changed = Vec::new();
        for (name, state) in self.topics.iter_mut().filter(|(_, state)| which(state)) {
            let state = Arc::make_mut(state);
            self.open -= state.open_posts();
            self.bytes -= state.bytes;
            change(state, &self.settings);
            self.open += state.open_posts();
            self.bytes += state.bytes;
            changed.push(name.clone());
        }
        changed
    }

    /// What observations must be of to be counted; none before it was set.
    #[must_use]
    pub fn signal(&self) -> Option<&Signal> {
        self.signal.as_ref()
    }
}

impl TopicState {
    /// Forgets every count. Alerts and the topic's time stay.
    pub(super) fn set_counts_aside(&mut self) {
        let _ = self.take_open();
        for key_state in std::iter::once(&mut self.whole).chain(self.places.values_mut()) {
            key_state.set_counts_aside();
        }
        self.take_stock();
    }
}
