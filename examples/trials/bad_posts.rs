//! Every kind of bad post in the middle of a stream.

use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Author, Post, ScoreStreamRequest, StreamOptions};
use tonic::transport::Endpoint;

use super::server::Server;
use super::{Outcome, post, say};

/// Good posts before the bad ones, and after.
const GOOD: usize = 100;

pub(crate) async fn run() -> Outcome<()> {
    let server = Server::start(0)?;
    let bad = kinds();
    let posts = (0..GOOD).map(post).chain(bad.clone().map(|(_, post)| post));
    let posts = posts.chain((GOOD..2 * GOOD).map(post));
    let mut messages: Vec<_> = posts.map(|post| message(Request::Post(Box::new(post)))).collect();
    // Options after the first message, and a message that is nothing.
    messages.push(message(Request::Options(StreamOptions::default())));
    messages.push(ScoreStreamRequest { request: None });

    let mut service =
        ScoringServiceClient::new(Endpoint::from_shared(server.addr.clone())?.connect().await?);
    let mut replies = service.score_stream(futures::stream::iter(messages)).await?.into_inner();
    let mut names = bad.map(|(name, _)| name).into_iter().chain(["late options", "empty message"]);
    let mut lines = Vec::new();
    let mut scored = 0;
    let mut summary = None;
    while let Some(reply) = replies.message().await? {
        match reply.reply {
            Some(Reply::Event(_)) => scored += 1,
            Some(Reply::Rejection(rejection)) => lines.push(format!(
                "  {:<14} {} `{}`: {}",
                names.next().unwrap_or("?"),
                rejection.code().as_str_name(),
                rejection.field,
                rejection.reason
            )),
            Some(Reply::Summary(last)) => summary = Some(last),
            _ => return Err("an unexpected message".into()),
        }
    }
    let summary = summary.ok_or("no summary")?;
    if scored != 2 * GOOD || names.next().is_some() {
        return Err(format!("{scored} scored, rejected:\n{}", lines.join("\n")).into());
    }
    say(&format!(
        "bad posts in the middle of a stream: {scored} good ones scored, {} bad ones and 2 other \
         messages rejected:\n{}",
        summary.rejected,
        lines.join("\n")
    ))
}

fn kinds() -> [(&'static str, Post); 9] {
    let of = |change: fn(&mut Post)| {
        let mut post = post(0);
        change(&mut post);
        post
    };
    [
        ("no id", of(|post| post.id.clear())),
        ("empty text", of(|post| post.text.clear())),
        ("blank text", of(|post| post.text = " \n".into())),
        ("long text", of(|post| post.text = "late again ".repeat(1_000).into())),
        ("bad UTF-8", of(|post| post.text = vec![b'a', 0xff].into())),
        ("long topic", of(|post| post.topic = "t".repeat(300).into())),
        (
            "bad author",
            of(|post| post.author = Some(Author { id: vec![0xff].into(), followers: 1 })),
        ),
        (
            "bad time",
            of(|post| post.posted_at = Some(prost_types::Timestamp { seconds: -1, nanos: 0 })),
        ),
        ("long language", of(|post| post.language = "x".repeat(40).into())),
    ]
}

fn message(request: Request) -> ScoreStreamRequest {
    ScoreStreamRequest { request: Some(request) }
}
