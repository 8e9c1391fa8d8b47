//! The state machine through its public door: entries go in, alerts come out, on every replica
//! alike.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pounce_alerts::alert::ChangeKind;
use pounce_alerts::{
    AlertEngine, AuthorHash, CloseAction, Observation, Settings, Signal, TextHash,
};
use pounce_cases::{
    ActionKind, CaseAction, CaseChangeKind, CaseEngine, CaseError, CaseId, CaseSettings,
};
use pounce_replication::log::Extent;
use pounce_replication::{
    Batch, Disposition, Engines, Entry, EntryForm, Item, LoggedObservation, Membership,
    NewerVersion, Outbox, OutboxLimits, Outcome, Replica,
};
use pounce_types::closing::Outcome as AlertOutcome;
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::{DiscontentSource, Sentiment, Severity};
use proptest::prelude::*;

const START: u64 = 1_700_000_000_000;

fn topic() -> Topic {
    Topic::parse(b"acme").expect("a topic")
}

fn signal(revision: &str) -> Signal {
    Signal {
        model: "tiny".to_owned(),
        revision: revision.to_owned(),
        source: DiscontentSource::Negative,
        threshold: 0.6,
    }
}

/// The n-th complaint: an author of its own, 20 seconds apart.
fn complaint(n: u64) -> LoggedObservation {
    let name = n.to_string();
    let observation = Observation {
        topic: topic(),
        place: None,
        post_id: PostId::parse(name.as_bytes()).expect("an id"),
        author: Some(AuthorHash::from_bits(n)),
        followers: n,
        at: Timestamp::from_millis(START + 20_000 * n),
        foreign: false,
        sentiment: Sentiment::Negative,
        discontent: Some(Severity::Low),
        signal: signal("r1").id(),
        near_text: None,
    };
    LoggedObservation { observation, oldest_in_flight: None, advocate: None, respond_within: None }
}

fn limits() -> OutboxLimits {
    OutboxLimits {
        batch_items_max: 10,
        batch_bytes_max: 1 << 20,
        bytes_max: 1 << 20,
        age_max: Duration::from_secs(600),
    }
}

/// A writer, and the entries that it appends.
struct Writer(Outbox<()>);

impl Writer {
    fn new(nonce: u64) -> Self {
        Self(Outbox::new(EntryForm::Cases, nonce, 7, limits()))
    }

    fn batch(&mut self, items: &[Item]) -> Bytes {
        for item in items {
            self.0.push(item, (), Instant::now());
        }
        self.0.seal(EntryForm::NEWEST, Instant::now()).bytes
    }

    fn complaints(&mut self, numbers: std::ops::Range<u64>) -> Bytes {
        let items: Vec<_> = numbers.map(|n| Item::Observation(complaint(n))).collect();
        self.batch(&items)
    }
}

/// A replica with its engine.
struct Machine {
    replica: Replica,
    engine: AlertEngine,
    cases: CaseEngine,
}

impl Machine {
    fn new() -> Self {
        let mut replica = Replica::default();
        replica.begin(START);
        let cases = CaseEngine::new(CaseSettings::default());
        Self { replica, engine: AlertEngine::new(Settings::default(), 100), cases }
    }

    /// Applies an entry that the log took in `seconds` after the start.
    fn apply(&mut self, position: u64, seconds: u64, bytes: &Bytes) -> pounce_replication::Applied {
        let at = Timestamp::from_millis(START + seconds * 1000);
        let entry = Entry { position, at, bytes: bytes.clone(), behind: 0 };
        self.read(&entry).expect("an entry of this release")
    }

    fn read(&mut self, entry: &Entry) -> Result<pounce_replication::Applied, NewerVersion> {
        let engines = Engines { alerts: &mut self.engine, cases: &mut self.cases };
        self.replica.apply(engines, entry)
    }

    /// Another one that reads its snapshot.
    fn restarted(&self) -> Self {
        let mut bytes = Vec::new();
        let snapshot = self.replica.snapshot(&self.engine, &self.cases);
        snapshot.write(&mut bytes).expect("a vector takes everything");
        let settings = (Settings::default(), CaseSettings::default());
        let (replica, engine, cases) =
            Replica::restore(&bytes[..], settings.0, 100, settings.1).expect("a snapshot");
        Self { replica, engine, cases }
    }

    fn digest(&self) -> u64 {
        self.replica.digest(&self.engine, &self.cases)
    }
}

fn duplicates(applied: &pounce_replication::Applied) -> usize {
    let duplicate =
        |outcome: &&Outcome| matches!(outcome, Outcome::Observed { duplicate: true, .. });
    applied.outcomes.iter().filter(duplicate).count()
}

#[test]
fn an_entry_that_was_appended_twice_counts_once() {
    let mut machine = Machine::new();
    let mut writer = Writer::new(1);
    let (first, second) = (writer.complaints(0..5), writer.complaints(5..10));
    assert_eq!(machine.apply(1, 1, &first).disposition, Disposition::Counted);
    assert_eq!(machine.apply(2, 1, &second).disposition, Disposition::Counted);
    // Copies of both come late, as when a connection was cut while the log stored them.
    for (position, copy) in [(3, &first), (4, &second), (5, &first)] {
        let applied = machine.apply(position, 1, copy);
        assert_eq!((applied.disposition, applied.outcomes.len()), (Disposition::Repeated, 0));
    }
    // The same posts of another writer are other batches, and duplicates.
    let applied = machine.apply(6, 1, &Writer::new(2).complaints(0..10));
    assert_eq!((applied.disposition.clone(), duplicates(&applied)), (Disposition::Counted, 10));
}

#[test]
fn a_newer_entry_stops_a_replica_and_a_damaged_one_is_skipped() {
    let mut machine = Machine::new();
    let before = machine.digest();
    // Field 1, the version, is 4.
    let newer = Bytes::from_static(&[8, 4, 24, 1]);
    let at = Timestamp::from_millis(START);
    let entry = Entry { position: 1, at, bytes: newer, behind: 0 };
    let error = machine.read(&entry).expect_err("newer");
    assert_eq!(error.to_string(), "the entry has version 4; this release reads up to 3");
    assert_eq!((machine.digest(), machine.replica.position()), (before, 0));
    let applied = machine.apply(1, 0, &Bytes::from_static(b"\xff\xff"));
    assert!(matches!(applied.disposition, Disposition::Damaged(_)), "{applied:?}");
    assert_eq!(machine.replica.position(), 1);
}

#[test]
fn the_clock_is_the_logs_and_a_small_step_back_of_it_is_none() {
    let mut machine = Machine::new();
    let mut writer = Writer::new(1);
    machine.apply(1, 10, &writer.batch(&[]));
    machine.apply(2, 4, &writer.batch(&[]));
    assert_eq!(machine.replica.clock(), Timestamp::from_millis(START + 10_000));
}

/// A server of the log whose clock was wrong: its replicas follow it, those that read a snapshot alike.
#[test]
fn a_log_whose_clock_ran_a_day_ahead_goes_on_when_it_is_right_again() {
    const DAY: u64 = 24 * 3600;
    let (mut machine, mut writer) = (Machine::new(), Writer::new(1));
    let mut silent = Writer::new(2);
    let held = LoggedObservation {
        oldest_in_flight: Some(Timestamp::from_millis(START)),
        ..complaint(1_000)
    };
    machine.apply(1, 200, &writer.complaints(0..10));
    // The clock is wrong for the 11th to the 20th, and the last post of a writer that is killed.
    machine.apply(2, DAY + 400, &writer.complaints(10..20));
    machine.apply(3, DAY + 401, &silent.batch(&[Item::Observation(held)]));
    let mut other = machine.restarted();
    let mut opened = 0;
    for (position, n) in (4..).zip((20..80).step_by(10)) {
        let bytes = writer.complaints(n..n + 10);
        let applied = machine.apply(position, 20 * (n + 10), &bytes);
        assert_eq!(applied, other.apply(position, 20 * (n + 10), &bytes));
        let late = |outcome: &Outcome| matches!(outcome, Outcome::Observed { late: true, .. });
        assert!(!applied.outcomes.iter().any(late), "posts from the {n}th");
        let is_opened = |kind| kind == ChangeKind::Opened;
        opened += applied.changes.iter().filter(|change| is_opened(change.change.kind)).count();
    }
    assert_eq!(machine.replica.clock(), Timestamp::from_millis(START + 1600 * 1000));
    assert_eq!(machine.digest(), other.digest());
    assert_eq!(opened, 1, "nobody waits for the writer that is gone");
}

#[test]
fn an_alert_opens_once_and_somebody_takes_it() {
    let mut machine = Machine::new();
    let mut writer = Writer::new(1);
    let mut opened = Vec::new();
    for (position, n) in (1..).zip((0..60).step_by(10)) {
        let applied = machine.apply(position, 20 * n, &writer.complaints(n..n + 10));
        opened.extend(applied.changes);
    }
    let [opened, later @ ..] = &opened[..] else { panic!("an alert opens") };
    assert_eq!(opened.change.kind, ChangeKind::Opened);
    assert!(later.iter().all(|change| change.change.kind == ChangeKind::Escalated), "{later:?}");
    assert_eq!(opened.position.map(|at| (at.origin, at.number)), Some((START, 1)));
    let id = opened.change.alert.id.to_string();
    let take = |id: &str, by: &str| Item::Acknowledge {
        id: id.to_owned(),
        by: by.to_owned(),
        note: String::new(),
    };
    let items = [take(&id, "ann"), take(&id, "bob"), take("none", "ann")];
    let applied = machine.apply(9, 1300, &writer.batch(&items));
    let by = |outcome: &Outcome| match outcome {
        Outcome::Acknowledged(Ok(taken)) => {
            taken.alert.acknowledgement.as_ref().map(|taken| taken.by.clone())
        }
        _ => None,
    };
    let by: Vec<_> = applied.outcomes.iter().map(by).collect();
    assert_eq!(by, [Some("ann".to_owned()), Some("ann".to_owned()), None]);
    assert_eq!(applied.changes.len(), 1, "it was taken once");
}

#[test]
fn changes_after_a_log_was_made_anew_have_another_origin() {
    let mut machine = Machine::new();
    let mut writer = Writer::new(1);
    machine.apply(1, 1, &writer.batch(&[flagged(0)]));
    let [alerts, cases] = [machine.replica.last_change(), machine.replica.last_case_change()];
    assert_eq!((alerts.origin, cases.origin, cases.number), (START, START, 1));
    // A watcher may have seen more changes than the newest snapshot holds.
    let mut machine = machine.restarted();
    machine.replica.begin_anew(Extent { created: START + 1, first: 1, last: 0 });
    machine.replica.begin(START + 1);
    let applied = machine.apply(1, 2, &writer.batch(&[flagged(1)]));
    let [opened] = &applied.case_changes[..] else { panic!("one case: {applied:?}") };
    assert_eq!(opened.position.map(|at| (at.origin, at.number)), Some((START + 1, 2)));
    assert_eq!(machine.replica.last_change().origin, START + 1);
}

#[test]
fn posts_that_overtook_a_slow_one_do_not_make_it_late() {
    // An hour of posts overtakes one that is still being scored.
    let late = |told: bool| {
        let mut machine = Machine::new();
        let mut writer = Writer::new(1);
        let slow = complaint(0);
        let overtaking: Vec<_> = (1..180)
            .map(|n| LoggedObservation {
                oldest_in_flight: told.then_some(slow.observation.at),
                ..complaint(n)
            })
            .map(Item::Observation)
            .collect();
        for (position, items) in (1..).zip(overtaking.chunks(10)) {
            machine.apply(position, 3600, &writer.batch(items));
        }
        let applied = machine.apply(100, 3600, &writer.batch(&[Item::Observation(slow)]));
        matches!(applied.outcomes[..], [Outcome::Observed { late: true, .. }])
    };
    assert!(late(false) && !late(true));
}

#[test]
fn nobody_waits_for_the_posts_of_a_writer_that_was_killed() {
    // A post is in flight when its writer is heard of for the last time; then come an hour of posts.
    let late = |silent: u64| {
        let mut machine = Machine::new();
        let [mut killed, mut other] = [1, 2].map(Writer::new);
        let slow = complaint(0);
        let held =
            LoggedObservation { oldest_in_flight: Some(slow.observation.at), ..complaint(1) };
        machine.apply(1, 3600, &killed.batch(&[Item::Observation(held)]));
        let silent = 3600 + silent;
        for (position, second) in (2..).zip(3601..=silent) {
            machine.apply(position, second, &other.batch(&[]));
        }
        for (position, n) in (100..).zip((2..180).step_by(10)) {
            machine.apply(position, silent, &other.complaints(n..n + 10));
        }
        machine.apply(200, silent + 1, &other.batch(&[]));
        let applied = machine.apply(201, silent + 1, &killed.batch(&[Item::Observation(slow)]));
        matches!(applied.outcomes[..], [Outcome::Observed { late: true, .. }])
    };
    assert!(!late(9) && late(11));
}

#[test]
fn after_an_outage_minutes_stay_open_until_every_writer_had_time() {
    let mut machine = Machine::new();
    let [mut one, mut two] = [1, 2].map(Writer::new);
    let live = |n: u64| {
        Item::Observation(LoggedObservation {
            observation: Observation {
                at: Timestamp::from_millis(START + n * 1000),
                ..complaint(n).observation
            },
            ..complaint(n)
        })
    };
    machine.apply(1, 0, &one.batch(&[live(0)]));
    // Fifteen minutes without a log. One writer has posts of now, the other of the outage's begin.
    machine.apply(2, 900, &one.batch(&[live(900)]));
    let applied = machine.apply(3, 901, &two.batch(&[live(60)]));
    assert_eq!(applied.outcomes, [Outcome::Observed { late: false, duplicate: false }]);
    machine.apply(4, 940, &one.batch(&[live(940)]));
    let applied = machine.apply(5, 941, &two.batch(&[live(61)]));
    assert_eq!(applied.outcomes, [Outcome::Observed { late: true, duplicate: false }]);
}

#[test]
fn a_replica_that_was_restored_goes_on_as_the_one_that_was_not() {
    let mut machine = Machine::new();
    let mut writer = Writer::new(1);
    let held =
        LoggedObservation { oldest_in_flight: Some(complaint(0).observation.at), ..complaint(30) };
    for (position, n) in (1..).zip((0..30).step_by(10)) {
        machine.apply(position, 20 * n, &writer.complaints(n..n + 10));
    }
    machine.apply(4, 620, &writer.batch(&[Item::Observation(held), flagged(70), flagged(71)]));
    machine.apply(5, 650, &writer.batch(&[]));
    let mut bytes = Vec::new();
    let snapshot = machine.replica.snapshot(&machine.engine, &machine.cases);
    snapshot.write(&mut bytes).expect("a vector takes everything");
    let restore =
        |bytes: &[u8]| Replica::restore(bytes, Settings::default(), 100, CaseSettings::default());
    let (replica, engine, cases) = restore(&bytes).expect("its own");
    let mut other = Machine { replica, engine, cases };
    assert_eq!(other.digest(), machine.digest());
    let copy = writer.complaints(31..60);
    for (position, seconds) in [(6, 1200), (7, 1201), (8, 2000)] {
        assert_eq!(other.apply(position, seconds, &copy), machine.apply(position, seconds, &copy));
        assert_eq!(other.digest(), machine.digest());
    }
    for end in [0, 7, 11, 40, bytes.len() - 1] {
        restore(&bytes[..end]).expect_err("cut");
    }
}

#[test]
fn what_waits_is_bounded_in_bytes_and_in_age() {
    let began = Instant::now();
    let later = |seconds| began + Duration::from_secs(seconds);
    let mut outbox =
        Outbox::new(EntryForm::Alerts, 1, 0, OutboxLimits { bytes_max: 2000, ..limits() });
    let mut dropped = 0;
    for n in 0..200 {
        dropped += outbox.push(&Item::Observation(complaint(n)), n, later(n));
    }
    assert!(dropped > 100 && outbox.bytes() <= 2000, "{dropped} {}", outbox.bytes());
    assert_eq!(dropped + outbox.items(), 200);
    let oldest = outbox.seal(EntryForm::NEWEST, later(200));
    assert_eq!(oldest.items, 10);
    assert_eq!(outbox.applied(oldest.number).len(), 10);
    let left = outbox.items();
    assert_eq!(outbox.expire(later(2000)), left);
    assert_eq!((outbox.items(), outbox.bytes(), outbox.oldest_waiting()), (0, 0, None));
}

#[test]
fn nobody_waits_for_a_batch_that_was_applied_elsewhere_or_lost() {
    let began = Instant::now();
    let later = |seconds| began + Duration::from_secs(seconds);
    let mut outbox = Outbox::new(EntryForm::Alerts, 1, 0, limits());
    let numbers: Vec<u64> = (0..3)
        .map(|n| {
            outbox.push(&Item::Observation(complaint(n)), n, later(n));
            outbox.seal(EntryForm::NEWEST, later(n)).number
        })
        .collect();
    assert_eq!(outbox.applied(numbers[1]), [1]);
    outbox.forget_before(numbers[1]);
    assert_eq!(outbox.oldest_waiting(), Some(later(2)), "the first is waited for no longer");
    assert_eq!(outbox.applied(numbers[2]), [2]);
}

#[test]
fn another_models_signal_counts_once_nobody_uses_the_old_one() {
    let mut machine = Machine::new();
    let [mut old, mut new] = [1, 2].map(Writer::new);
    let offer = |revision: &str| Item::Signal(signal(revision));
    machine.apply(1, 0, &old.batch(&[offer("r1")]));
    machine.apply(2, 0, &old.complaints(0..1));
    let in_force = |machine: &Machine| {
        machine.engine.signal().map(|signal| signal.revision.clone()).unwrap_or_default()
    };
    // While the old model is in use the new one may offer its own as often as it likes.
    for (position, seconds) in (3..).zip((0..300).step_by(50)) {
        machine.apply(position, seconds, &new.batch(&[offer("r2")]));
        machine.apply(position, seconds, &old.complaints(seconds..seconds + 1));
        assert_eq!(in_force(&machine), "r1");
    }
    machine.apply(20, 309, &new.batch(&[offer("r2")]));
    assert_eq!(in_force(&machine), "r1");
    machine.apply(21, 310, &new.batch(&[offer("r2")]));
    assert_eq!(in_force(&machine), "r2");
    // An old process that comes back does not turn it back.
    machine.apply(22, 311, &Writer::new(3).batch(&[offer("r1")]));
    assert_eq!(in_force(&machine), "r2");
}

/// A complaint that opens a case.
fn flagged(n: u64) -> Item {
    Item::Observation(LoggedObservation {
        respond_within: Some(Duration::from_secs(900)),
        ..complaint(n)
    })
}

fn claim(id: CaseId, by: &str) -> Item {
    let kind = ActionKind::Claim { lease: Duration::from_secs(900) };
    Item::Case(CaseAction { id, by: by.to_owned(), kind })
}

#[test]
fn of_two_replicas_that_claim_a_case_at_once_the_log_lets_one_win() {
    let mut machine = Machine::new();
    let [mut one, mut two] = [1, 2].map(Writer::new);
    let applied = machine.apply(1, 0, &one.batch(&[flagged(0), flagged(0)]));
    let [opened] = &applied.case_changes[..] else { panic!("one case: {applied:?}") };
    assert_eq!(opened.change.kind, CaseChangeKind::Opened);
    assert_eq!(opened.position.map(|at| (at.origin, at.number)), Some((START, 1)));
    let id = opened.change.case.id;
    let first = one.batch(&[claim(id, "ann")]);
    let won = machine.apply(2, 1, &first);
    assert!(matches!(won.outcomes[..], [Outcome::Case(Ok(_))]), "{won:?}");
    let lost = machine.apply(3, 1, &two.batch(&[claim(id, "bob")]));
    let [Outcome::Case(Err(CaseError::Claimed { by, .. }))] = &lost.outcomes[..] else {
        panic!("told by whom: {lost:?}")
    };
    assert_eq!((&**by, lost.case_changes.len()), ("ann", 0));
    assert_eq!(
        machine.apply(4, 1, &first).disposition,
        Disposition::Repeated,
        "a retry changes nothing"
    );
    // Deadlines and leases end by the time of the log, whoever writes the entry.
    let applied = machine.apply(5, 902, &two.batch(&[]));
    let kinds: Vec<_> = applied.case_changes.iter().map(|change| change.change.kind).collect();
    assert_eq!(kinds, [CaseChangeKind::LeaseEnded, CaseChangeKind::Overdue]);
    assert_eq!(machine.replica.last_case_change().number, 4);
}

fn closing(n: u64) -> Item {
    let outcome = AlertOutcome::ALL[usize::try_from(n % 4).expect("small")];
    let (id, by, note) = (format!("alert {n}"), "ann".to_owned(), String::new());
    Item::CloseAlert(CloseAction { id, by, outcome, note })
}

/// An entry without items of a writer that reads forms up to `reads`.
fn heartbeat(nonce: u64, number: u64, reads: EntryForm) -> Bytes {
    let mut outbox = Outbox::<()>::new(reads, nonce, 7, limits());
    (1..number).for_each(|_| drop(outbox.seal(reads, Instant::now())));
    outbox.seal(reads, Instant::now()).bytes
}

#[test]
fn everybody_writes_the_oldest_form_that_a_member_reads_until_the_log_has_a_newer_one() {
    let mut machine = Machine::new();
    let membership = Membership { reads: EntryForm::Cases, ..Membership::default() };
    let old = Membership { reads: EntryForm::Alerts, ..membership };
    let forms = |machine: &Machine| {
        [membership, old].map(|membership| machine.replica.form_to_write(&membership))
    };
    assert_eq!(forms(&machine), [EntryForm::Cases, EntryForm::Alerts], "an empty log");
    machine.apply(1, 0, &heartbeat(1, 1, EntryForm::Cases));
    machine.apply(2, 1, &heartbeat(2, 1, EntryForm::Alerts));
    assert_eq!(forms(&machine), [EntryForm::Alerts; 2], "one reads the older form alone");
    // It was silent for the longest time that a member may be, and for longer.
    let mut position = 2;
    let mut go_on = |machine: &mut Machine, seconds: std::ops::RangeInclusive<u64>| {
        for second in seconds {
            position += 1;
            machine.apply(position, second, &heartbeat(1, position, EntryForm::Cases));
        }
    };
    go_on(&mut machine, 2..=301);
    assert_eq!(forms(&machine), [EntryForm::Alerts; 2]);
    go_on(&mut machine, 302..=302);
    assert_eq!(forms(&machine), [EntryForm::Cases, EntryForm::Alerts], "it has left");
    // It is back before a newer entry was written, and gone again after an outage: nobody could be heard.
    machine.apply(400, 303, &heartbeat(2, 2, EntryForm::Alerts));
    assert_eq!(forms(&machine), [EntryForm::Alerts; 2]);
    machine.apply(401, 1303, &heartbeat(1, 401, EntryForm::Cases));
    assert_eq!(forms(&machine), [EntryForm::Alerts; 2], "it may be about to append");
    machine.apply(402, 1303, &Writer::new(3).batch(&[flagged(0)]));
    assert_eq!(forms(&machine), [EntryForm::Cases, EntryForm::Alerts], "the log has it already");
}

#[test]
fn what_an_older_form_cannot_hold_is_left_out_and_the_rest_counts() {
    let mut outbox = Outbox::new(EntryForm::Cases, 1, 7, limits());
    let id = "0123456789abcdef0123456789abcdef".parse().expect("an id");
    for (n, item) in [flagged(0), claim(id, "ann"), flagged(1)].iter().enumerate() {
        outbox.push(item, n, Instant::now());
    }
    assert_eq!(outbox.next_form(), EntryForm::Cases);
    let sealed = outbox.seal(EntryForm::Alerts, Instant::now());
    assert_eq!((sealed.items, sealed.left_out), (2, 3));
    let read = Batch::decode(&sealed.bytes).expect("an entry");
    let items = [0, 1].map(|n| Item::Observation(complaint(n))).to_vec();
    let expected =
        Batch { form: EntryForm::Alerts, reads: 2, writer: 1, number: 1, settings: 7, items };
    assert_eq!(read, expected);
    assert_eq!(outbox.applied(sealed.number), [0, 2], "each waits for its own item");
}

proptest! {
    #[test]
    fn items_come_back_as_they_were_written(
        numbers in prop::collection::vec((0..1000_u64, any::<bool>(), any::<Option<f32>>()), 0..10)
    ) {
        let items: Vec<Item> = numbers
            .iter()
            .map(|&(n, negative, advocate)| {
                let mut logged = complaint(n);
                logged.observation.foreign = negative;
                logged.observation.discontent = negative.then_some(Severity::High);
                logged.observation.author = None;
                logged.observation.near_text = negative.then(|| TextHash::from_bits(n));
                logged.respond_within = negative.then(|| Duration::from_millis(n));
                logged.advocate = advocate.filter(|p| !p.is_nan());
                logged.oldest_in_flight = negative.then_some(Timestamp::from_millis(n));
                Item::Observation(logged)
            })
            .chain([Item::Release { topic: topic(), oldest_in_flight: None }])
            .chain([Item::Signal(signal("r1"))])
            .chain(numbers.iter().map(|&(n, ..)| closing(n)))
            .collect();
        let limits = OutboxLimits { batch_items_max: 100, ..limits() };
        let mut outbox = Outbox::<()>::new(EntryForm::Outcomes, 5, 9, limits);
        for item in &items {
            outbox.push(item, (), Instant::now());
        }
        let batch = Batch::decode(&outbox.seal(EntryForm::NEWEST, Instant::now()).bytes).expect("our own");
        let form = items.iter().map(Item::form).max().expect("two at least");
        prop_assert_eq!(
            batch,
            Batch { form, reads: 3, writer: 5, number: 1, settings: 9, items }
        );
    }

    #[test]
    fn no_bytes_make_a_replica_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut machine = Machine::new();
        let entry = Entry {
            position: 1,
            at: Timestamp::from_millis(START),
            bytes: bytes.into(),
            behind: 0,
        };
        let _ = machine.read(&entry);
    }
}
