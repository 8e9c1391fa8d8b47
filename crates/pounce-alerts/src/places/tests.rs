//! Places that rest beside places each of which is closed for each minute.

use proptest::prelude::*;

use super::*;
use crate::hashing::{AuthorHash, TextHash};
use crate::key::Key;
use crate::observation::Record;
use crate::settings::Settings;
use crate::votes::Votes;
use pounce_types::post::{Timestamp, Topic};
use pounce_types::score::Severity;

const SETTINGS: &str = "[share]\nwindows_minutes = [5, 15]\nposts_min = 3\nprior_posts = 5\n\
    prior_negatives = 1\nbaseline_gap_minutes = 10\nbaseline_minutes = 60\n\
    [volume]\nnegatives_min = 2\nwarmup_minutes = 30\n\
    [reach]\nwindow_minutes = 7\nauthors_min = 1\nfollowers_min = 1500\n";

fn name(nth: u8) -> Place {
    Place::parse(format!("place {nth}").as_bytes()).expect("a place")
}

/// A topic's places, and the same places each of which is closed for each minute.
struct Both {
    settings: Settings,
    next: Minute,
    places: Places,
    each: BTreeMap<Place, KeyState>,
    votes: [Votes; 2],
    ledgers: [Ledger; 2],
    changes: [Vec<AlertChange>; 2],
}

impl Both {
    fn new() -> Self {
        let settings = Settings::parse(SETTINGS).expect("good settings");
        Self {
            next: Minute::default().plus(7),
            places: Places::default(),
            each: BTreeMap::new(),
            votes: [Votes::new(&settings.limits), Votes::new(&settings.limits)],
            settings,
            ledgers: Default::default(),
            changes: Default::default(),
        }
    }

    /// Counts a post in the minute to come.
    fn count(&mut self, place: &Place, id: u64, negative: bool) {
        let Self { settings, next, places, each, votes, ledgers, .. } = self;
        let rules = settings.base();
        if !each.contains_key(place) {
            let topic = Topic::parse(b"kite").expect("a topic");
            let key_state = KeyState::new(Key { topic, place: Some(place.clone()) }, id);
            each.insert(place.clone(), key_state.clone());
            places.add(place.clone(), key_state, *next, rules);
        }
        let record = Record {
            at: next.start(),
            id,
            author: Some(AuthorHash(id)),
            discontent: negative.then_some(Severity::Low),
            followers: id % 2_000,
            place: Some(place.clone()),
            // Copies count as texts alone.
            near_text: Some(TextHash(id / 4)),
            post_id: None,
        };
        let of_each = [places.wake(place, *next, rules), each.get_mut(place)];
        for ((key_state, votes), ledger) in of_each.into_iter().zip(votes).zip(ledgers) {
            let key_state = key_state.expect("added above");
            key_state.count(&record, rules, &settings.counting, votes, ledger, Timestamp::MIN);
        }
    }

    fn close(&mut self) {
        let Self { settings, next, places, each, ledgers, changes, .. } = self;
        let closing = Closing {
            minute: *next,
            rules: settings.base(),
            topic_fires: [false; 3],
            now: Timestamp::MIN,
            places: &|_| Vec::new(),
        };
        places.close(&closing, &mut ledgers[0], &mut changes[0], |_| {});
        for key_state in each.values_mut() {
            key_state.close(&closing, &mut ledgers[1], &mut changes[1]);
        }
        *next = next.plus(1);
    }

    /// Lets minutes without posts pass. `skips`: those that can be skipped are.
    fn pass(&mut self, minutes: u32, skips: bool) {
        let end = self.next.plus(minutes);
        while self.next < end {
            if skips && self.each.values().all(KeyState::is_idle) {
                let rules = self.settings.base();
                self.places.skip_idle(self.next, end, rules);
                for key_state in self.each.values_mut() {
                    key_state.skip_idle(self.next, end, rules);
                }
                self.next = end;
            } else {
                self.close();
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let Self { settings, next, places, each, ledgers, changes, .. } = self;
        let rules = settings.base();
        prop_assert!(places.as_of(*next, rules).eq(each.iter().map(|(p, k)| (p, k.clone()))));
        prop_assert_eq!(places.bytes(), each.values().map(KeyState::bytes).sum::<usize>());
        prop_assert_eq!(places.is_idle(), each.values().all(KeyState::is_idle));
        prop_assert_eq!(places.fires(), each.values().any(|k| k.fires().contains(&true)));
        prop_assert_eq!(&changes[0], &changes[1]);
        prop_assert_eq!(&ledgers[0], &ledgers[1]);
        for (place, is) in each {
            let rests = places.get(place).expect("a place");
            prop_assert_eq!(&rests.baseline, &is.baseline, "what lists show");
            prop_assert_eq!(rests.rank(*next, rules), is.rank(*next, rules));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// With stretches from a minute to more than a week, closed or skipped.
    #[test]
    fn places_that_rest_are_what_they_were_if_each_were_closed_each_minute(
        steps in prop::collection::vec(
            (
                prop::collection::vec((0_u8..4, any::<bool>()), 0..9),
                prop_oneof![
                    20 => 0_u32..12, 60 => 12_u32..40, 10 => 40_u32..400, 1 => 10_000_u32..12_000
                ],
                prop::bool::weighted(0.8),
            ),
            1..160,
        ),
    ) {
        let (mut both, mut id) = (Both::new(), 0);
        for (posts, minutes, skips) in steps {
            for (place, negative) in posts {
                id += 1;
                both.count(&name(place), id, negative);
            }
            both.close();
            both.pass(minutes, skips);
            both.check()?;
        }
    }
}
