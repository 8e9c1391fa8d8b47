//! Alerts on topics through the public door: opened by a stream, watched, taken.

mod support;

use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply as Wire;
use pounce_proto::watch_alerts_response::Message;
use pounce_proto::{self as proto, alert_service_client::AlertServiceClient};
use pounce_proto::{
    AcknowledgeAlertRequest, AlertChange, AlertChangeKind, AlertFilter, AlertKind, Author,
    DiscontentSource, Flag, GetModelRequest, GetTopicRequest, ListAlertsRequest, ListTopicsRequest,
    Post, ScoreBatchRequest, ScoreRequest, ScoreStreamRequest, ScoredEvent, Sentiment, Severity,
    StreamOptions, WatchAlertsRequest,
};
use pounce_types::post::Topic;
use pounce_types::score::LabelWeights;
use support::{
    Service, Spec, angry, eventually, message, metric, post, three_classes, two_answers,
};
use tonic::Code;
use tonic::transport::Channel;

async fn exchange(service: &Service, posts: Vec<Post>) -> (Vec<ScoredEvent>, Vec<AlertChange>) {
    let options = StreamOptions { alerts: true, ..StreamOptions::default() };
    stream(service, options, posts).await
}

/// The events of a stream with thresholds of its own.
async fn scored_with(
    service: &Service,
    thresholds: proto::Thresholds,
    posts: Vec<Post>,
) -> Vec<ScoredEvent> {
    let options = StreamOptions { thresholds: Some(thresholds), ..StreamOptions::default() };
    stream(service, options, posts).await.0
}

async fn stream(
    service: &Service,
    options: StreamOptions,
    posts: Vec<Post>,
) -> (Vec<ScoredEvent>, Vec<AlertChange>) {
    let first = ScoreStreamRequest { request: Some(Request::Options(options)) };
    let messages: Vec<_> = std::iter::once(first).chain(posts.into_iter().map(message)).collect();
    let replies = service.connect().await.score_stream(futures::stream::iter(messages)).await;
    let mut replies = replies.expect("a stream").into_inner();
    let (mut events, mut changes) = (Vec::new(), Vec::new());
    while let Some(reply) = replies.message().await.expect("no status") {
        match reply.reply.expect("a reply") {
            Wire::Event(event) => events.push(event),
            Wire::AlertChange(change) => changes.push(change),
            Wire::Rejection(rejection) => panic!("{rejection:?}"),
            Wire::Drain(_) | Wire::Summary(_) => {}
        }
    }
    (events, changes)
}

async fn alerts(service: &Service) -> AlertServiceClient<Channel> {
    AlertServiceClient::new(service.channel().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhappy_crowd_opens_an_alert_with_evidence_that_somebody_can_take() {
    let service = Service::start(Spec::default()).await;
    let (events, changes) = exchange(&service, (0..60).map(angry).collect()).await;

    let opened = changes.iter().find(|change| change.kind() == AlertChangeKind::Opened);
    let alert = opened.and_then(|change| change.alert.clone()).expect("an alert opened");
    assert_eq!((alert.topic.as_str(), alert.place.as_str()), ("acme", ""));
    assert_eq!(alert.kind(), AlertKind::Share);
    let evidence = alert.evidence.expect("evidence");
    assert!(evidence.posts >= 20 && evidence.negatives == evidence.posts, "{evidence:?}");
    assert!(evidence.bound > evidence.threshold, "{evidence:?}");
    assert!(!evidence.sample_post_ids.is_empty());
    let last = events.last().expect("events");
    assert!(last.flags().any(|flag| flag == Flag::TopicAlert));
    assert!(last.alert_ids.contains(&alert.id));
    eventually("the gauge has it", || metric(r#"pounce_alerts_firing{kind="share"}"#) >= 1.0).await;

    let mut client = alerts(&service).await;
    let mut watch =
        client.watch_alerts(WatchAlertsRequest::default()).await.expect("a watch").into_inner();
    let first = watch.message().await.expect("no status").expect("what fires").message;
    let Some(Message::Change(firing)) = first else { panic!("a change, not {first:?}") };
    assert_eq!(firing.kind(), AlertChangeKind::Firing);

    let take = |by: &str| AcknowledgeAlertRequest {
        id: alert.id.clone(),
        by: by.to_owned(),
        note: "calling now".to_owned(),
    };
    for by in ["ann", "bob"] {
        let taken = client.acknowledge_alert(take(by)).await.expect("an alert").into_inner();
        let by = taken.alert.and_then(|alert| alert.acknowledgement).map(|taken| taken.by);
        assert_eq!(by.as_deref(), Some("ann"), "the first one stays");
    }
    let next = loop {
        match watch.message().await.expect("no status").expect("a change").message {
            Some(Message::Change(change)) if change.kind() == AlertChangeKind::Acknowledged => {
                break change;
            }
            _ => {}
        }
    };
    assert_eq!(next.alert.map(|alert| alert.id), Some(alert.id.clone()));
    assert!(metric(r#"pounce_alert_ack_seconds_count{kind="share"}"#) >= 1.0);
    assert_eq!(
        client.acknowledge_alert(take("")).await.map_err(|s| s.code()).err(),
        Some(Code::InvalidArgument)
    );
    let unknown = AcknowledgeAlertRequest { id: "none".to_owned(), ..take("ann") };
    assert_eq!(
        client.acknowledge_alert(unknown).await.map_err(|s| s.code()).err(),
        Some(Code::NotFound)
    );
    service.stop().await;
}

/// Posts of topic `acme` in its longest window.
async fn posts_counted(service: &Service) -> u64 {
    let topic = GetTopicRequest { topic: "acme".to_owned(), place: String::new() };
    let Ok(status) = alerts(service).await.get_topic(topic).await else { return 0 };
    status.into_inner().status.expect("a status").windows.last().map_or(0, |window| window.posts)
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_posts_are_scored_and_count_for_no_topic() {
    let service = Service::start(Spec::default()).await;
    let history = StreamOptions { alerts: true, history: true, ..StreamOptions::default() };
    let praise = |number| {
        let author = Some(Author { id: "fan".into(), followers: 1_000_000 });
        Post { author, ..post(100 + number, "good") }
    };
    let watch = WatchAlertsRequest { advocates: true, ..WatchAlertsRequest::default() };
    let watch = alerts(&service).await.watch_alerts(watch).await.expect("a watch");
    let recorded: Vec<Post> = (0..60).map(angry).chain((0..5).map(praise)).collect();
    let (events, changes) = stream(&service, history, recorded.clone()).await;
    assert!(changes.is_empty(), "no alert: {changes:?}");
    assert_eq!(events.len(), recorded.len());
    let discontent = |event: &ScoredEvent| event.flags().any(|flag| flag == Flag::Discontent);
    assert!(events.iter().take(60).all(discontent), "they are scored and flagged");
    assert!(events.iter().all(|event| event.respond_by.is_none()), "nobody is to respond");
    assert_eq!(posts_counted(&service).await, 0);

    // The same ids count once they come live, and their alert leaves recorded posts alone.
    let (_, changes) = exchange(&service, (0..60).map(angry).collect()).await;
    assert!(changes.iter().any(|change| change.kind() == AlertChangeKind::Opened), "{changes:?}");
    let counted = posts_counted(&service).await;
    let one = |history| ScoreRequest { post: Some(angry(0)), history, ..ScoreRequest::default() };
    let score = async |history| {
        let event = service.connect().await.score(one(history)).await.expect("an event");
        event.into_inner().event.expect("an event")
    };
    let (recorded, live) = (score(true).await, score(false).await);
    assert!(recorded.alert_ids.is_empty() && !live.alert_ids.is_empty());
    let flags = |event: &ScoredEvent| event.flags().collect::<Vec<_>>();
    assert!(
        flags(&live).contains(&Flag::Duplicate) && !flags(&recorded).contains(&Flag::Duplicate)
    );
    assert_eq!(posts_counted(&service).await, counted);
    let batch = ScoreBatchRequest {
        posts: (200..260).map(angry).collect(),
        history: true,
        ..Default::default()
    };
    service.connect().await.score_batch(batch).await.expect("scored");
    assert_eq!(posts_counted(&service).await, counted);

    // Of what was watched all is live.
    drop(
        service
            .connect()
            .await
            .score(ScoreRequest { post: Some(praise(99)), ..Default::default() })
            .await,
    );
    let mut watch = watch.into_inner();
    let first_advocate = loop {
        let news = watch.message().await.expect("no status").expect("news");
        if let Some(Message::Advocate(advocate)) = news.message {
            break advocate;
        }
    };
    assert_eq!(first_advocate.post_id, "199");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_models_label_weights_decide_the_label_and_not_what_topics_count() {
    let label_weights = LabelWeights::new(9000.0, 1.0, 2.0).expect("above 0");
    let labels = three_classes().weighed(label_weights);
    let mut spec = Spec { labels, ..Spec::default() };
    spec.service.topic_labels = vec![Topic::parse(b"torn").expect("a topic")];
    let service = Service::start(spec).await;
    // Of one text: all but the first have their score from the cache.
    let torn = |n| Post { topic: "torn".into(), text: "good".into(), ..angry(n) };
    let (events, _) = exchange(&service, (0..60).map(torn).collect()).await;
    for event in events {
        assert!(event.probabilities.expect("three").positive > 0.9);
        assert_eq!(event.sentiment(), Sentiment::Negative);
        assert_eq!(event.severity(), Severity::Unspecified, "severity is of P(negative) itself");
    }
    let topic = GetTopicRequest { topic: "torn".to_owned(), place: String::new() };
    let status = alerts(&service).await.get_topic(topic).await.expect("a topic").into_inner();
    let windows = status.status.expect("a status").windows;
    assert!(windows.iter().all(|w| w.posts > 0 && w.negatives == 0), "{windows:?}");
    let labelled = r#"pounce_topic_posts_total{topic="torn",sentiment="negative"}"#;
    assert!((metric(labelled) - 60.0).abs() < 0.1);
    assert!(metric(r#"pounce_topic_discontent_total{topic="torn"}"#) < 0.1);
    let model = service.connect().await.get_model(GetModelRequest {}).await;
    let model = model.expect("a model").into_inner();
    let expected = proto::LabelWeights { negative: 9000.0, neutral: 1.0, positive: 2.0 };
    assert_eq!(model.label_weights, Some(expected));
    assert_eq!(model.discontent_source(), DiscontentSource::Negative);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discontent_and_severity_are_of_the_models_own_answer() {
    let spec = Spec { labels: two_answers(), ..Spec::default() };
    let service = Service::start(spec).await;
    let said = |n, text: &str| Post { text: text.as_bytes().to_vec().into(), ..angry(n) };
    // In a good mood on the whole, and yet unhappy with something; the second time from the cache.
    let posts = vec![said(0, "good good bad"), said(1, "good good bad"), said(2, "good")];
    let (events, _) = exchange(&service, posts).await;
    let [first, again, content] = &events[..] else { panic!("three events: {events:?}") };
    for event in [first, again] {
        assert_eq!(event.sentiment(), Sentiment::Positive);
        assert!(event.discontent > 0.98);
        assert_eq!(event.severity(), Severity::High);
    }
    assert!(content.discontent < 0.02);
    assert_eq!(content.severity(), Severity::Unspecified);
    let model = service.connect().await.get_model(GetModelRequest {}).await;
    let model = model.expect("a model").into_inner();
    assert_eq!(model.discontent_source(), DiscontentSource::Output);
    assert_eq!(model.labels, ["negative", "neutral", "positive", "discontent"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_count_by_the_services_thresholds_whatever_a_stream_chose() {
    let mut spec = Spec::default();
    spec.service.topic_labels = vec![Topic::parse(b"ours").expect("a topic")];
    let service = Service::start(spec).await;
    let never = proto::Thresholds {
        discontent_low: Some(1.0),
        discontent_medium: Some(1.0),
        discontent_high: Some(1.0),
        ..proto::Thresholds::default()
    };
    let always = proto::Thresholds { discontent_low: Some(0.0), ..proto::Thresholds::default() };
    let ours = |n, text: &str| Post {
        topic: "ours".into(),
        text: text.as_bytes().to_vec().into(),
        ..angry(n)
    };
    let unhappy = (0..30).map(|n| ours(n, "bad service")).collect();
    for event in scored_with(&service, never, unhappy).await {
        assert_eq!(event.severity(), Severity::Unspecified);
    }
    let content = (30..60).map(|n| ours(n, "good")).collect();
    for event in scored_with(&service, always, content).await {
        assert_ne!(event.severity(), Severity::Unspecified);
    }
    exchange(&service, vec![ours(90, "good")]).await;
    let topic = GetTopicRequest { topic: "ours".to_owned(), place: String::new() };
    let status = alerts(&service).await.get_topic(topic).await.expect("a topic").into_inner();
    let widest = status.status.expect("a status").windows.pop().expect("four windows");
    assert_eq!((widest.posts, widest.negatives), (60, 30));
    assert!((metric(r#"pounce_topic_discontent_total{topic="ours"}"#) - 30.0).abs() < 0.1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_have_one_vote_and_evidence_tells_texts_and_places() {
    let service = Service::start(Spec::default()).await;
    let said = |n: i64, text: String, place: &str| Post {
        text: text.into_bytes().into(),
        place: place.to_owned().into(),
        ..angry(n)
    };
    let copy = |n| said(n, format!("RT @a{n}: bad service again and nobody answers"), "Porto");
    let own = |n| said(n, format!("bad service for the {n}th time and nobody answers"), "Lisbon");
    let posts = (0..90).map(|n| if n % 3 == 0 { copy(n) } else { own(n) }).collect();
    let (_, changes) = exchange(&service, posts).await;
    let opened = changes.iter().find(|change| change.kind() == AlertChangeKind::Opened);
    let evidence = opened.and_then(|change| change.alert.clone()?.evidence).expect("an alert");
    let copies = evidence.commonest_text_posts;
    assert!(copies > 5, "{evidence:?}");
    assert_eq!(evidence.distinct_texts, evidence.negatives, "{evidence:?}");
    assert_eq!(evidence.texts_window, evidence.window);
    let places: Vec<_> =
        evidence.places.iter().map(|of| (of.place.as_str(), of.negatives)).collect();
    assert_eq!(places, [("Lisbon", evidence.negatives - 1), ("Porto", 1)]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_alerts_can_be_asked_for_and_filtered() {
    let service = Service::start(Spec::default()).await;
    // A post that names no topic counts for none.
    let nowhere = Post { topic: "".into(), ..angry(60) };
    exchange(&service, (0..60).map(angry).chain([nowhere]).collect()).await;
    let mut client = alerts(&service).await;

    let topic = GetTopicRequest { topic: "acme".to_owned(), place: String::new() };
    let status = client.get_topic(topic.clone()).await.expect("a topic").into_inner().status;
    let status = status.expect("a status");
    assert!(
        status.windows.iter().any(|window| window.posts >= 20 && window.bound > status.threshold)
    );
    let nobody = GetTopicRequest { topic: "nobody".to_owned(), ..topic.clone() };
    assert_eq!(client.get_topic(nobody).await.map_err(|s| s.code()).err(), Some(Code::NotFound));
    let place = GetTopicRequest { place: "nowhere".to_owned(), ..topic };
    let unknown = client.get_topic(place).await.map_err(|s| s.message().to_owned());
    assert_eq!(unknown.err().as_deref(), Some("no post of this topic and place was counted"));
    let topics = client.list_topics(ListTopicsRequest::default()).await.expect("topics");
    assert_eq!(topics.into_inner().topics.len(), 1);

    let mut listed = async |filter: AlertFilter| {
        let request = ListAlertsRequest {
            filter: Some(filter),
            resolved: true,
            ..ListAlertsRequest::default()
        };
        client.list_alerts(request).await.map(|alerts| alerts.into_inner().alerts.len())
    };
    let all = listed(AlertFilter::default()).await.expect("a list");
    assert!(all >= 1);
    let acme = AlertFilter { topics: vec!["acme".to_owned()], ..AlertFilter::default() };
    assert_eq!(listed(acme).await.expect("a list"), all);
    let other = AlertFilter { topics: vec!["other".to_owned()], ..AlertFilter::default() };
    assert_eq!(listed(other).await.expect("a list"), 0);
    let reach = AlertFilter { kinds: vec![AlertKind::Reach.into()], ..AlertFilter::default() };
    assert_eq!(listed(reach).await.expect("a list"), 0);
    let low = AlertFilter { severity_min: Severity::Low.into(), ..AlertFilter::default() };
    assert_eq!(listed(low).await.expect("a list"), all);
    let unknown = AlertFilter { kinds: vec![99], ..AlertFilter::default() };
    assert_eq!(listed(unknown).await.map_err(|s| s.code()), Err(Code::InvalidArgument));
    service.stop().await;
}

/// Praise by somebody with `followers`.
fn praise(id: impl ToString, topic: &str, followers: u64) -> Post {
    Post {
        topic: topic.to_owned().into(),
        place: "Lisbon".into(),
        author: Some(Author { id: "star".into(), followers }),
        posted_at: angry(0).posted_at,
        ..post(id, "good service")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn praise_with_an_audience_is_told_once_to_those_who_asked() {
    let service = Service::start(Spec::default()).await;
    let mut client = alerts(&service).await;
    let filter = AlertFilter { topics: vec!["acme".to_owned()], ..AlertFilter::default() };
    let all = WatchAlertsRequest {
        filter: Some(filter),
        advocates: true,
        ..WatchAlertsRequest::default()
    };
    let mut all = client.watch_alerts(all).await.expect("a watch").into_inner();
    let changes = client.watch_alerts(WatchAlertsRequest::default()).await.expect("a watch");
    let mut changes = changes.into_inner();

    let posts = vec![
        praise("quiet", "acme", 9_999),
        praise("elsewhere", "zebra", 20_000),
        praise("first", "acme", 20_000),
        praise("first", "acme", 20_000),
        praise("second", "acme", 30_000),
    ];
    let (events, _) = exchange(&service, posts).await;
    let flagged = |event: &ScoredEvent| event.flags().any(|flag| flag == Flag::Advocate);
    assert_eq!(events.iter().map(flagged).collect::<Vec<_>>(), [false, true, true, true, true]);
    for (id, followers) in [("first", 20_000), ("second", 30_000)] {
        let told = all.message().await.expect("no status").expect("an advocate").message;
        let Some(Message::Advocate(told)) = told else { panic!("an advocate, not {told:?}") };
        assert_eq!((told.post_id.as_str(), told.followers), (id, followers));
        assert_eq!((told.topic.as_str(), told.place.as_str()), ("acme", "Lisbon"));
        assert!(told.probability >= 0.8, "{told:?}");
        assert_eq!(told.posted_at, angry(0).posted_at);
    }
    exchange(&service, (0..60).map(angry).collect()).await;
    let first = changes.message().await.expect("no status").expect("a message").message;
    assert!(matches!(first, Some(Message::Change(_))), "alerts alone, not {first:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_is_told_how_many_advocates_it_missed_and_misses_no_alert() {
    let service = Service::start(Spec::default()).await;
    let request = WatchAlertsRequest { advocates: true, ..WatchAlertsRequest::default() };
    let mut client = alerts(&service).await;
    let mut watch = client.watch_alerts(request).await.expect("a watch").into_inner();
    // More than the transport and the service hold for a reader that does not read.
    let long = "x".repeat(240);
    let posts = (0..6000).map(|nth| praise(format!("{nth} {long}"), &long, 20_000)).collect();
    exchange(&service, posts).await;
    exchange(&service, (0..60).map(angry).collect()).await;

    let (mut told, mut missed, mut opened) = (0, 0, 0);
    while told + missed < 6000 || opened == 0 {
        match watch.message().await.expect("no status").expect("a message").message {
            Some(Message::Advocate(_)) => told += 1,
            Some(Message::AdvocatesMissed(count)) => missed += count,
            Some(Message::Change(_)) => opened += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told + missed, 6000);
    assert!(missed > 0 && told >= 1024, "told {told}, missed {missed}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_in_a_language_that_the_model_does_not_know_are_counted_apart() {
    let mut spec = Spec::default();
    spec.service.topic_labels = vec![Topic::parse(b"babel").expect("a topic")];
    let service = Service::start(spec).await;
    let foreign = "pounce_events_foreign_total";
    let before = metric(foreign);
    let tagged = |n: i64, language: &'static str| Post {
        topic: "babel".into(),
        language: language.into(),
        ..angry(n)
    };
    // A tag is taken at its word, although the text is English.
    let mut posts: Vec<_> = (0..60).map(|n| tagged(n, "de-AT")).collect();
    posts.push(tagged(100, "en"));
    let (events, changes) = exchange(&service, posts).await;
    assert!(changes.is_empty(), "{changes:?}");
    let unknown = |event: &ScoredEvent| event.flags().any(|f| f == Flag::LanguageUnknownToModel);
    assert_eq!(events.iter().filter(|event| unknown(event)).count(), 60);
    let last = tagged(110, "en");
    exchange(&service, vec![last]).await;
    let topic = GetTopicRequest { topic: "babel".to_owned(), place: String::new() };
    let status = alerts(&service).await.get_topic(topic).await.expect("a topic").into_inner();
    let windows = status.status.expect("a status").windows;
    assert!(windows.iter().all(|window| window.posts == 1), "{windows:?}");
    assert!(metric(foreign) - before >= 59.9);
    let counted = r#"pounce_topic_discontent_total{topic="babel"}"#;
    assert!((metric(counted) - 2.0).abs() < 0.1, "the rule over replicas counts alike");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_and_a_late_post_are_scored_but_not_counted() {
    let service = Service::start(Spec::default()).await;
    let late = Post { posted_at: angry(0).posted_at, ..angry(1000) };
    let posts = vec![angry(0), angry(0), angry(200), late];
    let (events, _) = exchange(&service, posts).await;
    let has = |n: usize, flag: Flag| events[n].flags().any(|set| set == flag);
    assert!(!has(0, Flag::Duplicate) && has(1, Flag::Duplicate));
    assert!(!has(2, Flag::Late) && has(3, Flag::Late));
    service.stop().await;
}
