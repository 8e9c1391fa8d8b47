//! The live board over HTTP: what it serves, to whom, and within which bounds.

mod support;
#[path = "support/token_file.rs"]
mod token_file;

use std::time::Duration;

use pounce::auth::tokens::Scope;
use pounce::cases::monitor::CaseSpec;
use pounce::lifecycle::drain::Phase;
use pounce_proto::{Post, ScoreRequest};
use pounce_types::score::Severity;
use serde_json::{Value, json};
use support::{Service, Spec, angry, eventually, metric, post};
use token_file::TokenFile;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(60);

/// An answer: its status, its head in lower case, its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// Sends one request on a connection of its own; `more` are header lines.
async fn send(service: &Service, method: &str, path: &str, more: &str, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(service.http_addr).await.expect("it listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: board\r\nconnection: close\r\n\
         content-length: {length}\r\n{more}\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    socket
}

async fn call(service: &Service, method: &str, path: &str, more: &str, body: &str) -> Answer {
    let mut socket = send(service, method, path, more, body).await;
    let mut answer = String::new();
    let read = socket.read_to_string(&mut answer);
    tokio::time::timeout(LIMIT, read).await.expect("in time").expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

async fn get(service: &Service, path: &str) -> Answer {
    call(service, "GET", path, "", "").await
}

async fn take(service: &Service, bearer: &str, body: &Value) -> Answer {
    let headers = format!("content-type: application/json\r\n{bearer}");
    call(service, "POST", "/board/acknowledgements", &headers, &body.to_string()).await
}

/// What a page is told of a reader without a token.
fn nobody() -> Value {
    json!({
        "may_acknowledge": false, "may_act": false, "name": null, "post_url": null,
    })
}

async fn start(texts: bool) -> Service {
    Service::start(Spec { board: Some(texts), ..Spec::default() }).await
}

/// Sends posts through the gRPC port; as the service's own client would.
async fn feed(service: &Service, token: Option<&str>, posts: Vec<Post>) {
    use futures::StreamExt;
    use pounce_client::{Access, Client, Reply, StreamSpec};
    let access = Access { token: token.map(str::to_owned), ..Access::default() };
    let client = Client::connect_with(&service.url(), &access).expect("an address");
    let sent = posts.len();
    let posts = futures::stream::iter(posts.into_iter().map(Ok));
    let replies: Vec<_> = client.score_all(posts, StreamSpec::default()).collect().await;
    let events = replies.iter().filter(|reply| matches!(reply, Ok(Reply::Event(_)))).count();
    assert_eq!(events, sent);
}

/// The parts of a stream of events, as they come.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(service: &Service, more: &str) -> Self {
        let socket = send(service, "GET", "/board/events", more, "").await;
        let mut events = Self(BufReader::new(socket));
        let status = events.line().await.expect("a status");
        assert!(status.contains(" 200 "), "{status}");
        events
    }

    /// The next line; none at the end of the stream.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(LIMIT, self.0.read_line(&mut line)).await;
        (read.expect("in time").expect("UTF-8") > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event of a name; none at the end of the stream.
    async fn next(&mut self, name: &str) -> Option<Value> {
        loop {
            if self.line().await? == format!("event: {name}") {
                let data = self.line().await?;
                let data = data.strip_prefix("data: ").expect("data follows").to_owned();
                return Some(serde_json::from_str(&data).expect("JSON"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_its_files_are_held_to_a_strict_policy() {
    let service = start(false).await;
    let page = get(&service, "/").await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("://"), "nothing comes from elsewhere");
    assert!(!page.body.contains("style=") && !page.body.contains("onclick"), "nothing is inline");
    let linked = page.body.split('"').filter(|word| word.starts_with("board/"));
    let mut files: Vec<String> = linked.map(|path| format!("/{path}")).collect();
    files.extend(
        ["dom", "feed", "filter", "posts", "alerts", "cases", "panels"]
            .map(|name| format!("/board/{name}.js")),
    );
    assert!(files.len() >= 7, "{files:?}");
    for path in files.iter().map(String::as_str).chain(["/"]) {
        let file = get(&service, path).await;
        assert_eq!((file.status, file.body.is_empty()), (200, false), "{path}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "require-trusted-types-for 'script'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
        ] {
            assert!(file.head.contains(header), "{path} has no {header}: {}", file.head);
        }
        assert!(!file.head.contains("unsafe-"), "{}", file.head);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_tells_what_fires_and_why() {
    let service = start(false).await;
    feed(&service, None, (0..60).map(angry).collect()).await;
    let answer = get(&service, "/board/state").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    let state = answer.json();
    assert_eq!(state["you"], nobody());

    let alert = &state["alerts"]["firing"][0];
    assert_eq!((&alert["topic"], &alert["kind"]), (&json!("acme"), &json!("share")));
    let evidence = &alert["evidence"];
    assert_eq!(evidence["negatives"], evidence["posts"]);
    assert!(evidence["bound"].as_f64() > evidence["threshold"].as_f64(), "{evidence}");
    assert!(evidence["sample_post_ids"].as_array().is_some_and(|ids| !ids.is_empty()));
    assert!(alert["opened_at"].as_str().is_some_and(|at| at.starts_with("2023-11-14T22:")));

    let topic = &state["topics"]["topics"][0];
    assert_eq!(topic["topic"], "acme");
    assert_eq!((&topic["places"], &topic["more_places"]), (&json!([]), &json!(false)));
    assert_eq!(topic["windows"].as_array().map(Vec::len), Some(4));
    assert_eq!(topic["alert_ids"][0], alert["id"]);
    let history = &topic["history"];
    assert_eq!((&history["window_minutes"], &history["step_minutes"]), (&json!(15), &json!(5)));
    let last = |name: &str| history[name].as_array().and_then(|list| list.last()).cloned();
    let of = |name: &str| history[name].as_array().map(Vec::len);
    assert_eq!(of("posts"), Some(46), "three hours and three quarters in steps of five minutes");
    assert_eq!((of("negatives"), of("bound")), (of("posts"), of("posts")));
    assert_eq!(last("posts").as_ref(), Some(&topic["windows"][0]["posts"]));
    assert_eq!(last("bound").as_ref(), Some(&topic["windows"][0]["bound"]));
    assert_eq!(history["posts"][0], 0);

    let flagged = state["posts"]["flagged"].as_array().expect("a list");
    assert_eq!(flagged.len(), 50, "the latest");
    assert_eq!((&flagged[0]["id"], &flagged[0]["topic"]), (&json!("59"), &json!("acme")));
    assert!(!answer.body.contains("bad service"), "no text unasked");
    assert_eq!(state["service"]["state"], "ready");
    assert!(state["service"]["post_milliseconds"]["p50"].is_number());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_shown_only_where_asked_for_and_are_cut() {
    let service = start(true).await;
    let long = Post { text: format!("bad {}", "x".repeat(990)).into(), ..angry(0) };
    feed(&service, None, vec![long]).await;
    let state = get(&service, "/board/state").await.json();
    let text = state["posts"]["flagged"][0]["text"].as_str().expect("a text");
    assert!(text.starts_with("bad xxx") && text.len() <= 1000, "{text}");

    // With an alert come the texts of its posts, however many were flagged since.
    feed(&service, None, (1..100).map(angry).collect()).await;
    // What is shown may be a second old.
    let fires = async {
        loop {
            let state = get(&service, "/board/state").await.json();
            if state["alerts"]["firing_total"] != 0 {
                return state;
            }
        }
    };
    let state = tokio::time::timeout(LIMIT, fires).await.expect("an alert opens");
    let evidence = &state["alerts"]["firing"][0]["evidence"];
    let (ids, texts) = (&evidence["sample_post_ids"], &evidence["sample_texts"]);
    assert_eq!(ids.as_array().map(Vec::len), texts.as_array().map(Vec::len));
    let id = ids[1].as_str().expect("an id");
    assert_eq!(texts[1], format!("bad service {id}"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_alerts_are_bounded_and_the_worst_are_shown() {
    let service = start(false).await;
    let posts = (0..70).flat_map(|topic| {
        (0..30).map(move |n| Post { topic: format!("topic {topic}").into(), ..angry(n * 2) })
    });
    // The topics' posts interleaved, as they would come.
    let mut posts: Vec<Post> = posts.collect();
    posts.sort_by_key(|post| post.posted_at.map(|at| at.seconds));
    for (n, post) in posts.iter_mut().enumerate() {
        post.id = n.to_string().into();
    }
    feed(&service, None, posts).await;
    let state = get(&service, "/board/state").await.json();
    let shown = |value: &Value| value.as_array().map(Vec::len);
    assert_eq!(state["topics"]["keys_total"], 70);
    assert_eq!(shown(&state["topics"]["topics"]), Some(50));
    let firing = state["alerts"]["firing_total"].as_u64().expect("a number");
    assert!(firing >= 70, "{firing}");
    assert_eq!(
        shown(&state["alerts"]["firing"]),
        Some(usize::try_from(firing.min(100)).expect("few"))
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_travel_as_json_strings_on_one_line() {
    let service = start(true).await;
    let name = "</script><img src=x onerror=alert(1)>\u{2028}\r\nevent: you\n\n\"'&";
    let hostile = |n: i64| Post { topic: name.into(), place: name.into(), ..angry(n) };
    feed(&service, None, (0..60).map(hostile).collect()).await;
    let mut events = Events::open(&service, "").await;
    let alerts = events.next("alerts").await.expect("alerts");
    assert_eq!(alerts["firing"][0]["topic"], name);
    let topics = events.next("topics").await.expect("topics");
    assert_eq!(topics["topics"][0]["topic"], name);
    let state = call(&service, "GET", "/board/state", "", "").await;
    assert!(state.head.contains("content-type: application/json"), "{}", state.head);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_as_events_without_being_asked_for() {
    let service = start(false).await;
    let mut events = Events::open(&service, "").await;
    assert_eq!(events.next("you").await, Some(nobody()));
    let alerts = events.next("alerts").await.expect("alerts");
    assert_eq!(alerts["firing_total"], 0);
    feed(&service, None, (0..60).map(angry).collect()).await;
    while events.next("alerts").await.expect("more")["firing_total"] != 1 {}
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_the_streams_of_events_even_those_that_nobody_reads() {
    let service = start(false).await;
    let mut events = Events::open(&service, "").await;
    events.next("service").await.expect("a part");
    let _unread = send(&service, "GET", "/board/events", "", "").await;
    // A post in the model keeps the drain from its end.
    service.script.hold();
    let mut client = service.connect().await;
    let scored = tokio::spawn(async move {
        client.score(ScoreRequest { post: Some(post(1, "good")), ..Default::default() }).await
    });
    eventually("the post is accepted", || service.scorer.posts_open() == 1).await;
    service.drain.advance(Phase::Draining);
    while events.line().await.is_some() {}
    assert_eq!(get(&service, "/board/events").await.status, 503);
    // What is shown may be a second old.
    let drains = async {
        while get(&service, "/board/state").await.json()["service"]["state"] != "draining" {}
    };
    tokio::time::timeout(LIMIT, drains).await.expect("the page tells of it");
    tokio::time::timeout(LIMIT, service.stop()).await.expect("nobody holds it up");
    scored.await.expect("no panic").expect("an accepted post is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_are_bounded_and_one_that_reads_nothing_holds_up_nobody() {
    let service = start(false).await;
    let mut watching = Vec::new();
    for _ in 0..32 {
        watching.push(Events::open(&service, "").await);
    }
    let refused = get(&service, "/board/events").await;
    assert_eq!((refused.status, refused.json()["error"].is_string()), (503, true));
    assert_eq!(get(&service, "/board/state").await.status, 200, "one can still ask");
    // 31 of them never read on: scoring and the 32nd don't notice.
    feed(&service, None, (0..300).map(angry).collect()).await;
    let last = watching.last_mut().expect("32");
    while last.next("alerts").await.expect("more")["firing_total"] != 1 {}

    watching.truncate(31);
    let free = async { while get_events(&service).await != 200 {} };
    tokio::time::timeout(LIMIT, free).await.expect("who leaves makes room");
    drop(watching);
    service.stop().await;
}

/// The status of an attempt to watch, which is given up at once.
async fn get_events(service: &Service) -> u16 {
    let socket = send(service, "GET", "/board/events", "", "").await;
    let mut status = String::new();
    BufReader::new(socket).read_line(&mut status).await.expect("a status");
    status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_everybody_may_look_and_nobody_may_take() {
    let service = start(false).await;
    feed(&service, None, (0..60).map(angry).collect()).await;
    let state = get(&service, "/board/state").await.json();
    let taking = json!({ "id": state["alerts"]["firing"][0]["id"], "by": "ann" });
    assert_eq!(take(&service, "", &taking).await.status, 403);
    let closing = json!({ "id": taking["id"], "outcome": "answered" }).to_string();
    let headers = "content-type: application/json\r\n";
    assert_eq!(call(&service, "POST", "/board/closings", headers, &closing).await.status, 403);
    let state = get(&service, "/board/state").await.json();
    assert_eq!(state["alerts"]["firing"][0]["acknowledged_by"], Value::Null);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tokens_each_scope_opens_its_own_door() {
    let file = TokenFile::new();
    let feeder = file.add("feeder", &[Scope::Score]);
    let reader = file.add("reader", &[Scope::AlertsRead]);
    let taker = file.add("taker", &[Scope::AlertsRead, Scope::AlertsWrite]);
    let tokens = file.open();
    let spec = Spec { board: Some(false), tokens: Some(tokens.clone()), ..Spec::default() };
    let service = Service::start(spec).await;
    feed(&service, Some(&feeder), (0..60).map(angry).collect()).await;
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let refused = metric("pounce_calls_refused_total{reason=\"missing_token\"}");

    assert_eq!(get(&service, "/").await.status, 200, "the page holds nothing secret");
    for path in ["/board/state", "/board/events"] {
        let nobody = get(&service, path).await;
        assert_eq!(nobody.status, 401, "{path}");
        assert!(nobody.head.contains("www-authenticate: bearer"), "{}", nobody.head);
        let unknown = call(&service, "GET", path, &bearer("pounce_guess"), "").await;
        assert_eq!((unknown.status, unknown.body), (401, nobody.body), "no hint of what exists");
        assert_eq!(call(&service, "GET", path, &bearer(&feeder), "").await.status, 403);
    }
    assert!(metric("pounce_calls_refused_total{reason=\"missing_token\"}") >= refused + 2.0);

    let state = call(&service, "GET", "/board/state", &bearer(&reader), "").await.json();
    assert_eq!(state["you"]["may_acknowledge"], false);
    let id = &state["alerts"]["firing"][0]["id"];
    let taking = json!({ "id": id, "by": "ann", "note": "calling" });
    assert_eq!(take(&service, "", &taking).await.status, 401);
    assert_eq!(take(&service, &bearer(&reader), &taking).await.status, 403);

    let write = bearer(&taker);
    for (bad, status) in [
        (json!({ "id": id, "by": " " }), 400),
        (json!({ "id": id, "by": "x".repeat(300) }), 400),
        (json!({ "id": id, "by": "ann", "note": "x".repeat(2000) }), 400),
        (json!({ "id": id, "by": "ann", "note": "x".repeat(9000) }), 413),
        (json!({ "by": "ann" }), 422),
        (json!({ "id": "none", "by": "ann" }), 404),
    ] {
        let answer = take(&service, &write, &bad).await;
        assert_eq!(answer.status, status, "{bad}");
        assert!(answer.json()["error"].is_string(), "{bad}");
    }
    assert_eq!(take(&service, &write, &taking).await.status, 204);
    let state = call(&service, "GET", "/board/state", &write, "").await.json();
    assert_eq!(state["you"]["may_acknowledge"], true);
    let alert = &state["alerts"]["firing"][0];
    let (by, note) = (&alert["acknowledged_by"], &alert["acknowledged_note"]);
    assert_eq!((by, note), (&json!("ann"), &json!("calling")));

    let headers = format!("content-type: application/json\r\n{write}");
    let close = async |body: &Value, headers: &str| {
        call(&service, "POST", "/board/closings", headers, &body.to_string()).await
    };
    let closing = json!({ "id": id, "outcome": "false_alarm" });
    let reads = format!("content-type: application/json\r\n{}", bearer(&reader));
    for (body, status) in [
        (json!({ "id": id, "outcome": "fine" }), 422),
        (json!({ "id": "none", "outcome": "answered" }), 404),
        (closing.clone(), 204),
        (closing.clone(), 204),
        (json!({ "id": id, "outcome": "answered" }), 409),
    ] {
        assert_eq!(close(&body, &headers).await.status, status, "{body}");
    }
    assert_eq!(close(&closing, &reads).await.status, 403);
    let state = call(&service, "GET", "/board/state", &write, "").await.json();
    let alert = &state["alerts"]["firing"][0];
    let (outcome, by) = (&alert["outcome"], &alert["closed_by"]);
    assert_eq!((outcome, by), (&json!("false_alarm"), &json!("taker")));

    // Cases are for tokens of their own.
    assert_eq!(state["cases"], Value::Null);
    let claim = json!({ "id": "0".repeat(32), "action": "claim" }).to_string();
    assert_eq!(call(&service, "POST", "/board/cases", &headers, &claim).await.status, 403);

    // A token that is taken away takes its open stream with it.
    let mut events = Events::open(&service, &bearer(&reader)).await;
    events.next("you").await.expect("a part");
    let content = std::fs::read_to_string(file.path()).expect("readable");
    let left: Vec<&str> = content.lines().filter(|line| !line.starts_with("reader ")).collect();
    std::fs::write(file.path(), left.join("\n")).expect("written");
    tokens.look();
    while events.line().await.is_some() {}
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_claim_a_case_on_the_page_one_is_told_who_has_it() {
    let file = TokenFile::new();
    let scopes = [Scope::Score, Scope::AlertsRead, Scope::CasesRead, Scope::CasesWrite];
    let [ann, bob] = ["ann", "bob"].map(|name| file.add(name, &scopes));
    let tokens = Some(file.open());
    let cases = CaseSpec { severity_min: Some(Severity::Low), ..CaseSpec::off() };
    let service =
        Service::start(Spec { board: Some(true), tokens, cases, ..Spec::default() }).await;
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let act = async |token: &str, body: &Value| {
        let headers = format!("content-type: application/json\r\n{}", bearer(token));
        call(&service, "POST", "/board/cases", &headers, &body.to_string()).await
    };
    feed(&service, Some(&ann), vec![angry(0), angry(1)]).await;
    let state = call(&service, "GET", "/board/state", &bearer(&ann), "").await.json();
    assert_eq!((&state["you"]["may_act"], &state["you"]["name"]), (&json!(true), &json!("ann")));
    assert_eq!((&state["cases"]["on"], &state["cases"]["total"]), (&json!(true), &json!(2)));
    let case = &state["cases"]["cases"][0];
    assert_eq!((&case["texts"], &case["state"]), (&json!(["bad service 0"]), &json!("open")));
    let claim = json!({ "id": case["id"], "action": "claim" });
    assert_eq!(act(&ann, &claim).await.status, 204);
    let lost = act(&bob, &claim).await;
    assert_eq!(lost.status, 409);
    assert!(
        lost.json()["error"].as_str().is_some_and(|told| told.contains("claimed by ann until"))
    );
    let close = json!({ "id": case["id"], "action": "close" });
    assert_eq!(act(&ann, &close).await.status, 400, "an outcome is missing");
    let close = json!({ "id": case["id"], "action": "close", "outcome": "answered" });
    assert_eq!(act(&ann, &close).await.status, 204);
    let state = call(&service, "GET", "/board/state", &bearer(&bob), "").await.json();
    assert_eq!(state["cases"]["total"], 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_board_there_is_no_page() {
    let service = Service::start(Spec::default()).await;
    for path in ["/", "/board/state", "/board/events", "/board/main.js"] {
        assert_eq!(get(&service, path).await.status, 404, "{path}");
    }
    assert_eq!(get(&service, "/healthz").await.status, 200);
    service.stop().await;
}
