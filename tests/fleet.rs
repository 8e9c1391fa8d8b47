//! Replicas that share a log count as one, whatever happens to them or to the log.

#![allow(clippy::print_stdout, reason = "the counts are for people")]

#[path = "support/nats.rs"]
mod nats;
#[path = "support/proxy.rs"]
mod proxy;
mod support;
#[path = "support/trial.rs"]
mod trial;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use nats::Nats;
use pounce::alerting::state::StateDir;
use pounce::lifecycle::drain::Phase;
use pounce_alerts::{AlertEngine, Settings};
use pounce_cases::{CaseEngine, CaseSettings};
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::watch_alerts_response::Message;
use pounce_proto::{
    AcknowledgeAlertRequest, Alert, AlertChange, AlertChangeKind, AlertFilter, Flag,
    GetTopicRequest, ListAlertsRequest, Post, ScoreRequest, ScoredEvent, WatchAlertsRequest,
};
use pounce_replication::log::Extent;
use pounce_replication::{
    Credentials, Engines, EntryForm, JetStreamLog, JetStreamSpec, ObservationLog, Outbox,
    OutboxLimits, Replica, SnapshotStore,
};
use proxy::{Network, Proxy};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::replica::{impatient, replica, started};
use support::{HASH_KEY, IMPATIENCE, Service, Spec, angry, counts, eventually, message, metric};
use tonic::Code;
use trial::seeds;

async fn fleet<const N: usize>(nats: &Nats) -> [Service; N] {
    let mut replicas = Vec::new();
    for _ in 0..N {
        replicas.push(replica(nats.log("test").await).await);
    }
    replicas.try_into().unwrap_or_else(|_| panic!("{N} replicas"))
}

async fn impatient_fleet(nats: &Nats) -> [Service; 2] {
    [impatient(nats.log("test").await).await, impatient(nats.log("test").await).await]
}

async fn score(service: &Service, post: Post) -> ScoredEvent {
    let request = ScoreRequest { post: Some(post), ..Default::default() };
    let reply = service.connect().await.score(request).await.expect("an answer");
    reply.into_inner().event.expect("an event")
}

fn has(event: &ScoredEvent, flag: Flag) -> bool {
    event.flags().any(|other| other == flag)
}

async fn alerts(service: &Service) -> Vec<Alert> {
    let mut client = AlertServiceClient::new(service.channel().await);
    let filter = AlertFilter { topics: vec!["acme".to_owned()], ..AlertFilter::default() };
    let request =
        ListAlertsRequest { filter: Some(filter), resolved: true, ..ListAlertsRequest::default() };
    let listed = client.list_alerts(request).await;
    listed.expect("a list").into_inner().alerts
}

/// Posts of the last four hours of topic `acme`, as a replica has them.
async fn posts_counted(service: &Service) -> u64 {
    let mut client = AlertServiceClient::new(service.channel().await);
    let topic = GetTopicRequest { topic: "acme".to_owned(), place: String::new() };
    let Ok(status) = client.get_topic(topic).await else { return 0 };
    let windows = status.into_inner().status.expect("a status").windows;
    windows.last().expect("windows").posts
}

fn bytes(engine: &pounce::alerting::monitor::AlertMonitor) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (topics, outcomes) = engine.snapshot();
    topics.write(&mut bytes).expect("a vector takes everything");
    outcomes.write(&mut bytes).expect("a vector takes everything");
    bytes
}

/// Waits until all replicas are equal. Time goes on in them, by entries that they all read: the
/// same bytes are seen when none reads one just then.
async fn all_equal(replicas: &[&Service]) {
    eventually("all replicas are equal", || {
        let first = bytes(&replicas[0].monitor);
        replicas.iter().all(|replica| bytes(&replica.monitor) == first)
    })
    .await;
}

/// What a log holds, once it is connected.
async fn extent(log: &JetStreamLog) -> Extent {
    loop {
        match log.extent().await {
            Ok(extent) => return extent,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Appends entries that hold nothing.
async fn append_ticks(log: &JetStreamLog, count: usize) {
    extent(log).await;
    let limits = OutboxLimits {
        batch_items_max: 1,
        batch_bytes_max: 1,
        bytes_max: 1,
        age_max: Duration::from_secs(1),
    };
    let mut outbox = Outbox::<()>::new(EntryForm::OLDEST, 1, 0, limits);
    let tick = outbox.seal(EntryForm::OLDEST, Instant::now()).bytes;
    for appended in join_all((0..count).map(|_| log.append(tick.clone()))).await {
        appended.expect("stored");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp runs").success());
}

/// A process that only reads the log.
struct Reader {
    log: JetStreamLog,
    replica: Replica,
    engine: AlertEngine,
    cases: CaseEngine,
    created: u64,
}

impl Reader {
    async fn new(log: JetStreamLog) -> Self {
        let extent = extent(&log).await;
        let (mut engine, mut replica) =
            (AlertEngine::new(Settings::default(), 100), Replica::default());
        engine.hash_key(|| HASH_KEY);
        replica.begin(extent.created);
        let cases = CaseEngine::new(CaseSettings::default());
        Self { log, replica, engine, cases, created: extent.created }
    }

    /// Applies what the log holds.
    async fn catch_up(&mut self) {
        let last = extent(&self.log).await.last;
        let mut entries = self.log.read_after(self.replica.position()).await.expect("a log");
        while self.replica.position() < last {
            let entry = entries.next().await.expect("endless").expect("an entry");
            let engines = Engines { alerts: &mut self.engine, cases: &mut self.cases };
            self.replica.apply(engines, &entry).expect("an entry of this release");
        }
    }

    /// Publishes a snapshot, as a replica does.
    async fn publish(&mut self) {
        self.catch_up().await;
        let (position, mut bytes) = (self.replica.position(), Vec::new());
        let snapshot = self.replica.snapshot(&self.engine, &self.cases);
        snapshot.write(&mut bytes).expect("a vector takes everything");
        let published = self.log.publish(self.created, position, bytes.into()).await;
        published.expect("a store");
    }
}

/// Sends posts so that at most three are under way, each to the replica that `place` names, until
/// all are counted.
async fn spread(replicas: &[Service], posts: Vec<Post>, place: impl Fn(usize) -> usize) {
    let numbered: Vec<_> = posts.into_iter().enumerate().collect();
    for three in numbered.chunks(3) {
        let counted = three.iter().map(async |(n, post)| {
            // Sent again, it counts no second time.
            while has(&score(&replicas[place(*n)], post.clone()).await, Flag::NotCountedYet) {}
        });
        join_all(counted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_posts_come_into_no_log() {
    let nats = Nats::start();
    let replicas: [Service; 2] = fleet(&nats).await;
    for number in 0..60 {
        let request =
            ScoreRequest { post: Some(angry(number)), history: true, ..Default::default() };
        replicas[0].connect().await.score(request).await.expect("an answer");
    }
    // A live post comes behind all of them; the minute of a second one closes its own.
    for number in [60, 70] {
        score(&replicas[0], angry(number)).await;
    }
    all_equal(&replicas.each_ref()).await;
    for replica in &replicas {
        assert_eq!(posts_counted(replica).await, 1);
        assert!(alerts(replica).await.is_empty());
    }
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_are_spread_over_replicas_count_as_if_one_had_them_all() {
    let nats = Nats::start();
    let alone = Service::start(Spec::default()).await;
    for n in 0..60 {
        score(&alone, angry(n)).await;
    }
    let expected = alerts(&alone).await;
    assert!(!expected.is_empty(), "a crowd that is this unhappy opens an alert");

    let replicas = fleet::<3>(&nats).await;
    spread(&replicas, (0..60).map(angry).collect(), |n| n % 3).await;
    for service in &replicas {
        let same = alerts(service).await;
        let ids =
            |alerts: &[Alert]| alerts.iter().map(|alert| alert.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&same), ids(&expected));
        let evidence =
            |alerts: &[Alert]| alerts.iter().map(|a| a.evidence.clone()).collect::<Vec<_>>();
        assert_eq!(evidence(&same), evidence(&expected));
    }
    all_equal(&replicas.each_ref()).await;

    // Another process, which comes later, has the same from the log alone.
    let late = replica(nats.log("test").await).await;
    all_equal(&[&replicas[0], &late]).await;
    let mut reader = Reader::new(nats.log("test").await).await;
    // The replicas go on with each tick; the reader until it meets one of their states.
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        reader.catch_up().await;
        let mut read = Vec::new();
        reader.engine.snapshot().write(&mut read).expect("a vector takes everything");
        reader.engine.closings().write(&mut read).expect("a vector takes everything");
        if read == bytes(&late.monitor) {
            break;
        }
        assert!(Instant::now() < until, "who reads the log is no replica");
    }
    for service in replicas.into_iter().chain([late, alone]) {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_done_on_one_replica_holds_on_the_others() {
    let nats = Nats::start();
    let [one, two, three] = fleet(&nats).await;
    let replicas = [one, two, three];
    let mut watch = AlertServiceClient::new(replicas[0].channel().await);
    let mut watch =
        watch.watch_alerts(WatchAlertsRequest::default()).await.expect("a watch").into_inner();
    spread(&replicas, (0..60).map(angry).collect(), |n| n / 20).await;

    // A client that does not know whether its post was taken sends it to another replica.
    let again = score(&replicas[2], angry(0)).await;
    assert!(has(&again, Flag::Duplicate), "{again:?}");
    let first = alerts(&replicas[1]).await.remove(0);
    let next = score(&replicas[2], angry(61)).await;
    assert!(has(&next, Flag::TopicAlert));
    assert!(next.alert_ids.contains(&first.id));

    let opened = changes(&mut watch, 1).await;
    assert_eq!(opened[0].kind(), AlertChangeKind::Opened);
    let take = |by: &str, id: &str| AcknowledgeAlertRequest {
        id: id.to_owned(),
        by: by.to_owned(),
        note: String::new(),
    };
    for (service, by) in [(&replicas[1], "ann"), (&replicas[2], "bob")] {
        let mut client = AlertServiceClient::new(service.channel().await);
        let taken = client.acknowledge_alert(take(by, &first.id)).await.expect("an alert");
        let by = taken.into_inner().alert.and_then(|alert| alert.acknowledgement);
        assert_eq!(by.map(|taken| taken.by).as_deref(), Some("ann"), "the first one stays");
        let unknown = client.acknowledge_alert(take("ann", "none")).await;
        assert_eq!(unknown.map_err(|status| status.code()).err(), Some(Code::NotFound));
    }
    // A watcher that moves sees every change once.
    let resume_after = opened[0].position.clone();
    let request = WatchAlertsRequest { resume_after, ..WatchAlertsRequest::default() };
    let mut moved = AlertServiceClient::new(replicas[2].channel().await);
    let mut moved = moved.watch_alerts(request).await.expect("a watch").into_inner();
    let (here, there) = (changes(&mut watch, 1).await, changes(&mut moved, 1).await);
    assert_eq!(here, there);
    all_equal(&replicas.each_ref()).await;
    for service in replicas {
        service.stop().await;
    }
}

async fn changes(
    watch: &mut tonic::Streaming<pounce_proto::WatchAlertsResponse>,
    count: usize,
) -> Vec<AlertChange> {
    let mut changes = Vec::new();
    while changes.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(10), watch.message()).await;
        let next = next.expect("a change in time").expect("no status").expect("it goes on");
        if let Some(Message::Change(change)) = next.message {
            changes.push(change);
        }
    }
    changes
}

/// Scores until `done` holds of an event.
async fn score_until(service: &Service, what: &str, done: impl Fn(&ScoredEvent) -> bool) -> i64 {
    let until = Instant::now() + Duration::from_secs(60);
    for n in 1_000.. {
        if done(&score(service, Post { topic: "probe".into(), ..angry(n) }).await) {
            return n;
        }
        assert!(Instant::now() < until, "not within a minute: {what}");
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_log_holds_nobody_up_and_nothing_is_lost() {
    let nats = Nats::start();
    let replicas = impatient_fleet(&nats).await;
    spread(&replicas, (0..10).map(angry).collect(), |n| n % 2).await;

    nats.pause();
    score_until(&replicas[0], "the breaker opens", |event| has(event, Flag::NotCountedYet)).await;
    // Nobody waits any more: a stream of posts is answered as fast as it is scored.
    let posts: Vec<_> = (10..40).map(|n| message(angry(n))).collect();
    let began = Instant::now();
    let replies = replicas[0].connect().await.score_stream(futures::stream::iter(posts)).await;
    let mut replies = replies.expect("a stream").into_inner();
    let mut flagged = 0;
    while let Some(reply) = replies.message().await.expect("no status") {
        if let Some(pounce_proto::score_stream_response::Reply::Event(event)) = reply.reply {
            flagged += usize::from(has(&event, Flag::NotCountedYet));
        }
    }
    assert_eq!(flagged, 30);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut client = AlertServiceClient::new(replicas[0].channel().await);
    let take = AcknowledgeAlertRequest { id: "1".into(), by: "ann".into(), note: String::new() };
    let taken = client.acknowledge_alert(take).await;
    assert_eq!(taken.map_err(|status| status.code()).err(), Some(Code::Unavailable));

    nats.resume();
    let counted = |event: &ScoredEvent| !has(event, Flag::NotCountedYet);
    score_until(&replicas[0], "replies wait again", counted).await;
    // A minute that closes shows what was counted.
    score(&replicas[1], angry(60)).await;
    assert_eq!(posts_counted(&replicas[1]).await, 40);
    all_equal(&replicas.each_ref()).await;
    for service in replicas {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_drains_while_the_log_is_paused_leaves_its_posts_to_the_next() {
    let nats = Nats::start();
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::open(folder.path()).expect("writable");
    let start = async || {
        let (observations, unsent) = (Some(nats.log("test").await), Some(state.clone()));
        started(Spec { observations, unsent, log_silence_max: IMPATIENCE, ..Spec::default() }).await
    };
    let service = start().await;
    for n in 0..5 {
        score(&service, angry(n)).await;
    }
    nats.pause();
    score_until(&service, "the breaker opens", |event| has(event, Flag::NotCountedYet)).await;
    for n in 5..20 {
        score(&service, angry(n)).await;
    }
    service.drain.advance(Phase::Draining);
    tokio::time::timeout(Duration::from_secs(15), service.stop()).await.expect("an end in time");
    let kept = folder.path().join("observations.unsent");
    assert!(kept.exists());
    nats.resume();
    let service = start().await;
    let counted = |event: &ScoredEvent| !has(event, Flag::NotCountedYet);
    score_until(&service, "replies wait", counted).await;
    score(&service, angry(50)).await;
    assert_eq!(posts_counted(&service).await, 20, "some of them were sent twice");
    service.stop().await;
    assert!(!kept.exists(), "the log has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_killed_and_restarted_counts_every_post_once() {
    let mut nats = Nats::start();
    let replicas = impatient_fleet(&nats).await;
    spread(&replicas, (0..10).map(angry).collect(), |n| n % 2).await;
    nats.kill();
    score_until(&replicas[1], "the breaker opens", |event| has(event, Flag::NotCountedYet)).await;
    for n in 10..40 {
        assert!(has(&score(&replicas[1], angry(n)).await, Flag::NotCountedYet));
    }
    nats.restart();
    let counted = |event: &ScoredEvent| !has(event, Flag::NotCountedYet);
    score_until(&replicas[1], "replies wait again", counted).await;
    score(&replicas[0], angry(60)).await;
    assert_eq!(posts_counted(&replicas[0]).await, 40);
    all_equal(&replicas.each_ref()).await;
    for service in replicas {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_without_the_log_and_counts_when_it_comes() {
    let mut nats = Nats::start();
    let log = nats.log("test").await;
    nats.kill();
    let service = Service::start(Spec { observations: Some(log), ..Spec::default() }).await;
    assert!(service.health.ready(), "scoring does not wait for the log");
    assert!(!service.health.alerts_ready());
    assert!(has(&score(&service, angry(0)).await, Flag::NotCountedYet));
    nats.restart();
    counts(&service).await;
    let counted = |event: &ScoredEvent| !has(event, Flag::NotCountedYet);
    score_until(&service, "replies wait", counted).await;
    score(&service, angry(30)).await;
    assert_eq!(posts_counted(&service).await, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_may_ask_for_a_password() {
    let nats = Nats::start_with(&["--user", "pounce", "--pass", "secret password"]);
    let folder = tempfile::tempdir().expect("a folder");
    let as_user = |password: &str| {
        let password_file = folder.path().join(password);
        std::fs::write(&password_file, format!("{password}\n")).expect("written");
        Some(Credentials::Password { user: "pounce".to_owned(), password_file })
    };
    let stranger = nats.log_as("test", as_user("guessed")).await;
    let service = replica(nats.log_as("test", as_user("secret password")).await).await;
    assert!(!has(&score(&service, angry(0)).await, Flag::NotCountedYet));
    stranger.extent().await.expect_err("it must not get in");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fleets_with_other_names_do_not_meet() {
    let nats = Nats::start();
    let one = replica(nats.log("one").await).await;
    let two = replica(nats.log("two").await).await;
    score(&one, angry(0)).await;
    let event = score(&two, angry(0)).await;
    assert!(!has(&event, Flag::Duplicate));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_begins_with_a_snapshot_where_the_log_was_cut() {
    let nats = Nats::start();
    let old = replica(nats.log("test").await).await;
    let mut reader = Reader::new(nats.log("test").await).await;
    for n in 0..30 {
        score(&old, angry(n)).await;
    }
    // Replicas publish snapshots by themselves; these two leave nothing to them.
    reader.publish().await;
    score(&old, angry(30)).await;
    reader.publish().await;
    let first = reader.log.extent().await.expect("a log").first;
    assert!(first > 30, "entries that the older snapshot holds are gone, all before {first}");

    let new = replica(nats.log("test").await).await;
    let again = score(&new, angry(0)).await;
    assert!(has(&again, Flag::Duplicate), "it was counted before the cut: {again:?}");
    assert_eq!(alerts(&new).await, alerts(&old).await);
    all_equal(&[&old, &new]).await;
    old.stop().await;
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_publish_snapshots() {
    let nats = Nats::start();
    let service = replica(nats.log("test").await).await;
    let log = nats.log("test").await;
    let until = Instant::now() + Duration::from_secs(60);
    while !matches!(log.newest().await, Ok(Some(_))) {
        assert!(Instant::now() < until, "no snapshot was published");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_outlives_a_log_that_is_lost() {
    let mut nats = Nats::start();
    let replicas = impatient_fleet(&nats).await;
    let mut watch = AlertServiceClient::new(replicas[0].channel().await);
    let mut watch =
        watch.watch_alerts(WatchAlertsRequest::default()).await.expect("a watch").into_inner();
    spread(&replicas, (0..30).map(angry).collect(), |n| n % 2).await;
    let before = alerts(&replicas[0]).await;
    assert!(!before.is_empty());
    let opened = changes(&mut watch, 1).await.remove(0);
    nats.kill();
    nats.restart_empty();
    let counted = |event: &ScoredEvent| !has(event, Flag::NotCountedYet);
    for service in &replicas {
        score_until(service, "replies wait again", counted).await;
        counts(service).await;
    }
    let late = replica(nats.log("test").await).await;
    assert!(has(&score(&late, angry(0)).await, Flag::Duplicate));
    assert_eq!(alerts(&late).await, before);
    all_equal(&[&replicas[0], &replicas[1], &late]).await;
    // Whoever saw changes that are lost begins with what fires.
    let (origin, _) = opened.position.split_once('.').expect("an origin");
    let resume_after = format!("{origin}.1000");
    let request = WatchAlertsRequest { resume_after, ..WatchAlertsRequest::default() };
    let mut watch = AlertServiceClient::new(late.channel().await);
    let mut watch = watch.watch_alerts(request).await.expect("a watch").into_inner();
    assert_eq!(changes(&mut watch, 1).await[0].kind(), AlertChangeKind::Firing);
    for service in replicas.into_iter().chain([late]) {
        service.stop().await;
    }
}

/// What comes back of a server's streams as it was before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PutBack {
    All,
    /// The snapshots stay.
    Log,
}

/// A fleet whose log comes back without its newest entries, as after a power cut. `others` have
/// appended more than that before the fleet is back. Returns, by post, whether it counted before.
async fn after_a_lost_tail(put_back: PutBack, others: bool) -> Vec<bool> {
    let folder = tempfile::tempdir().expect("a folder");
    let [store, kept] = ["store", "kept"].map(|name| folder.path().join(name));
    let flags = ["--store_dir", store.to_str().expect("UTF-8")];
    let mut nats = Nats::start_with(&flags);
    let replicas: [Service; 2] = fleet(&nats).await;
    let mut reader = Reader::new(nats.log("test").await).await;
    spread(&replicas, (0..10).map(angry).collect(), |n| n % 2).await;
    reader.publish().await;
    spread(&replicas, (10..15).map(angry).collect(), |n| n % 2).await;
    nats.kill();
    copy_folder(&store, &kept);
    nats.restart();
    let counted = |event: &ScoredEvent| !has(event, Flag::NotCountedYet);
    for service in &replicas {
        score_until(service, "replies wait again", counted).await;
    }
    spread(&replicas, (15..30).map(angry).collect(), |n| n % 2).await;
    all_equal(&replicas.each_ref()).await;
    reader.publish().await;
    let before = extent(&reader.log).await;
    nats.kill();
    let part = match put_back {
        PutBack::All => "jetstream",
        PutBack::Log => "jetstream/$G/streams/pounce-test",
    };
    std::fs::remove_dir_all(store.join(part)).expect("it is there");
    copy_folder(&kept.join(part), &store.join(part));
    if others {
        let elsewhere = Nats::start_with(&flags);
        let log = elsewhere.log("test").await;
        let after = extent(&log).await;
        assert!(after.created == before.created && after.last < before.last, "{after:?}");
        append_ticks(&log, 200).await;
        assert!(extent(&log).await.last > before.last + 100);
    }
    nats.restart();
    for service in &replicas {
        score_until(service, "replies wait again", counted).await;
    }
    let late = replica(nats.log("test").await).await;
    all_equal(&[&replicas[0], &replicas[1], &late]).await;
    let mut known = Vec::new();
    for n in 0..30 {
        known.push(has(&score(&replicas[0], angry(n)).await, Flag::Duplicate));
    }
    all_equal(&[&replicas[0], &replicas[1], &late]).await;
    for service in replicas.into_iter().chain([late]) {
        service.stop().await;
    }
    known
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_lost_counts_on_no_replica() {
    let known = after_a_lost_tail(PutBack::All, false).await;
    assert_eq!(known, [[true; 15], [false; 15]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_lost_counts_on_no_replica_though_others_have_appended_since() {
    let known = after_a_lost_tail(PutBack::All, true).await;
    assert_eq!(known, [[true; 15], [false; 15]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_holds_what_the_log_lost_makes_no_replica_another() {
    for others in [false, true] {
        let known = after_a_lost_tail(PutBack::Log, others).await;
        assert_eq!(known[..15], [true; 15]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_were_dropped_in_front_of_a_slow_replica_come_with_a_snapshot() {
    let nats = Nats::start();
    let proxy = Proxy::to(nats.addr()).await;
    let servers = vec![format!("nats://{}", proxy.addr()).parse().expect("an address")];
    let spec = JetStreamSpec { servers, ..nats.spec("test") };
    let slow = replica(JetStreamLog::connect(&spec).await.expect("settings")).await;
    let prompt = replica(nats.log("test").await).await;
    let mut reader = Reader::new(nats.log("test").await).await;
    score(&prompt, angry(0)).await;

    proxy.set(Network::Silent);
    // More than the 500 that NATS sends without being asked again.
    append_ticks(&reader.log, 600).await;
    for n in 1..20 {
        score(&prompt, angry(n)).await;
    }
    reader.publish().await;
    append_ticks(&reader.log, 1).await;
    reader.publish().await;
    proxy.set(Network::Good);
    all_equal(&[&slow, &prompt]).await;
    for n in 0..20 {
        assert!(has(&score(&slow, angry(n)).await, Flag::Duplicate), "post {n}");
    }
    slow.stop().await;
    prompt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_gone_from_within_the_log_are_told_as_missing() {
    let nats = Nats::start();
    let log = nats.log("test").await;
    append_ticks(&log, 10).await;
    let client = async_nats::connect(nats.url()).await.expect("a server");
    let stream = async_nats::jetstream::new(client).get_stream("pounce-test").await;
    let stream = stream.expect("the log");
    for gone in [5, 6, 8] {
        assert!(stream.delete_message(gone).await.expect("it was there"));
    }
    // Its series exist once a replica has begun.
    let other = replica(nats.log("other").await).await;
    let missing = || metric("pounce_log_entries_total{result=\"missing\"}");
    let before = missing();
    let service = replica(log).await;
    eventually("three entries are missing", || missing() >= before + 3.0).await;
    assert!(!has(&score(&service, angry(0)).await, Flag::NotCountedYet));
    service.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_counts_once_whatever_happens() {
    for seed in seeds(3) {
        println!("seed {seed}: {} posts", random_schedule(seed).await);
    }
}

/// Sends posts to any replica while replicas come and go and the log fails; posts whose answer a
/// client does not trust are sent again elsewhere.
async fn random_schedule(seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut nats = Nats::start();
    let mut replicas: Vec<_> = impatient_fleet(&nats).await.into();
    let mut n = 0;
    for _ in 0..8 {
        match random.random_range(0..5) {
            0 => replicas.push(impatient(nats.log("test").await).await),
            1 if replicas.len() > 1 => {
                let leaving = replicas.swap_remove(random.random_range(0..replicas.len()));
                leaving.stop().await;
            }
            2 => nats.pause(),
            3 => {
                nats.kill();
                nats.restart();
            }
            _ => {}
        }
        // No more than the lateness may lie between what waits in one replica and in another.
        for _ in 0..random.random_range(1..12) {
            let (to, again) =
                (random.random_range(0..replicas.len()), random.random_range(0..replicas.len()));
            score(&replicas[to], angry(n)).await;
            if random.random_bool(0.2) {
                score(&replicas[again], angry(n)).await;
            }
            n += 1;
        }
        nats.resume();
        for service in &replicas {
            let counted = |event: &ScoredEvent| !has(event, Flag::NotCountedYet);
            score_until(service, "replies wait again", counted).await;
        }
    }
    score(&replicas[0], angry(n + 30)).await;
    let total = u64::try_from(n).expect("a count");
    assert_eq!(posts_counted(&replicas[0]).await, total, "seed {seed}");
    all_equal(&replicas.iter().collect::<Vec<_>>()).await;
    for service in replicas {
        service.stop().await;
    }
    total
}
