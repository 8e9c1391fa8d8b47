//! The path of one post through the service: parse, score, flag, count, show.
//!
//! Parts by the unary, batch and stream calls; the only place where a scored
//! post becomes an event.

use std::time::Duration;

use tokio::time::Instant;

use super::metrics;
use crate::alerting::advocates::{Advocate, Advocates};
use crate::alerting::monitor::AlertMonitor;
use crate::dashboard::recent::RecentPosts;
use crate::scoring::wire::{self, Refusal};
use crate::traces::{self, PostSpan};
use crate::wire::{show_duration, show_severity, show_timestamp};
use opentelemetry::trace::SpanContext;
use pounce_alerts::flags::{PostFlags, Thresholds};
use pounce_alerts::{Observation, Observed};
use pounce_inference::scorer::{Lane, Scored, Scorer, WhenFull, Wish};
use pounce_proto::{self as proto, Flag, ScoredEvent};
use pounce_types::clock::now;
use pounce_types::post::{Post, Timestamp};
use pounce_types::score::Sentiment;

/// Time within which somebody should answer an unhappy author.
const RESPOND_WITHIN: Duration = Duration::from_secs(15 * 60);

/// What is needed to answer a post.
pub(crate) struct Pipeline {
    pub(crate) scorer: Scorer,
    pub(crate) monitor: AlertMonitor,
    /// What the page shows of posts, if there is a page.
    pub(crate) recent: Option<RecentPosts>,
    pub(crate) advocates: Advocates,
    pub(crate) thresholds: Thresholds,
    pub(crate) text_bytes_max: usize,
    /// Topics that metrics may name.
    pub(crate) topic_labels: Vec<String>,
}

/// How a call wants its posts answered.
#[derive(Clone)]
pub(crate) struct CallOptions {
    pub(crate) thresholds: Thresholds,
    pub(crate) deadline: Option<Instant>,
    pub(crate) when_full: WhenFull,
    /// The call's span, if it is sampled.
    pub(crate) span: Option<SpanContext>,
}

/// A scored post that has not been counted.
pub(crate) struct ScoredPost {
    post: Post,
    scored: Scored,
    /// Event time.
    at: Timestamp,
    thresholds: Thresholds,
    sequence: u64,
    accepted: Instant,
}

impl Pipeline {
    /// Answers one post with an event, or says why not. Dropping the future
    /// takes the post out of the queue.
    pub(crate) async fn answer(
        &self,
        lane: &Lane,
        terms: &CallOptions,
        wire: &proto::Post,
        sequence: u64,
    ) -> Result<ScoredEvent, Refusal> {
        self.score_post(lane, terms, wire, sequence)
            .await
            .map(|scored_post| self.commit(&scored_post))
    }

    /// The first half of [`Pipeline::answer`]: what takes time and may go on beside
    /// others. Dropping the future takes the post out of the queue.
    pub(crate) async fn score_post(
        &self,
        lane: &Lane,
        terms: &CallOptions,
        wire: &proto::Post,
        sequence: u64,
    ) -> Result<ScoredPost, Refusal> {
        let accepted = Instant::now();
        let received_at = now();
        let span = traces::post(terms.span.as_ref(), sequence);
        let span_context = span.as_ref().map(PostSpan::span_context);
        let answered = self.scored(lane, terms, wire, span_context).await;
        match answered {
            Ok((post, scored)) => {
                if let Some(span) = span {
                    let (tokens, timings) = (scored.tokens_used, &scored.timings);
                    span.scored(post.id.as_str(), tokens, timings, scored.batch.clone());
                }
                let at = post.posted_at.unwrap_or(received_at);
                let thresholds = terms.thresholds;
                Ok(ScoredPost { post, scored, at, thresholds, sequence, accepted })
            }
            Err(refusal) => {
                if let Some(span) = span {
                    span.rejected(refusal.code());
                }
                metrics::post_rejected(refusal.code());
                if let Some(recent) = &self.recent {
                    recent.rejected();
                }
                Err(refusal)
            }
        }
    }

    async fn scored(
        &self,
        lane: &Lane,
        terms: &CallOptions,
        wire: &proto::Post,
        span: Option<SpanContext>,
    ) -> Result<(Post, Scored), Refusal> {
        let post = wire::post(wire, self.text_bytes_max)?;
        let wish = Wish {
            language: post.language.as_ref(),
            deadline: terms.deadline,
            when_full: terms.when_full,
            span,
        };
        let scored = lane.score(&post.text, &wish).await?;
        Ok((post, scored))
    }

    /// The second half: flags the post, counts it, and makes the event. Called
    /// in the order of the replies, so that a stream in event time is counted in
    /// event time, however its batches finish.
    pub(crate) fn commit(&self, scored_post: &ScoredPost) -> ScoredEvent {
        let &ScoredPost { ref post, ref scored, at, thresholds, sequence, accepted } = scored_post;
        let flags = thresholds.flags(&scored.probabilities, post.followers());
        let respond_by = flags.discontent.map(|_| at.after(RESPOND_WITHIN));
        let observed = self.count(post, scored, &flags, at);
        if flags.advocate && !observed.duplicate {
            self.advocates.tell(Advocate {
                topic: post.topic.clone(),
                place: post.place.clone(),
                post_id: post.id.clone(),
                followers: post.followers(),
                probability: scored.probabilities.positive,
                at,
            });
        }
        let total = accepted.elapsed();
        self.record(post, scored, &flags, &observed, total);
        if let Some(recent) = &self.recent {
            recent.scored(post, &scored.probabilities, &flags, (at, respond_by), total);
        }
        ScoredEvent {
            post_id: post.id.to_string(),
            sequence,
            probabilities: Some(wire::show_probabilities(&scored.probabilities)),
            sentiment: wire::show_sentiment(scored.sentiment).into(),
            discontent: scored.probabilities.discontent.into(),
            severity: show_severity(flags.discontent).into(),
            flags: shown(&flags, scored, &observed).map(i32::from).collect(),
            respond_by: respond_by.map(show_timestamp),
            tokens: Some(proto::TokenCounts {
                used: u32::try_from(scored.tokens_used).unwrap_or(u32::MAX),
                total: u32::try_from(scored.tokens_total).unwrap_or(u32::MAX),
            }),
            model_revision: self.scorer.model().revision.clone(),
            timings: Some(proto::StageTimings {
                tokenize: Some(show_duration(scored.timings.tokenize)),
                queue: Some(show_duration(scored.timings.queue)),
                infer: Some(show_duration(scored.timings.infer)),
                total: Some(show_duration(total)),
            }),
            alert_ids: observed.alert_ids.iter().map(ToString::to_string).collect(),
        }
    }

    /// Counts the post for its topic; a post without one counts for nothing.
    fn count(&self, post: &Post, scored: &Scored, flags: &PostFlags, at: Timestamp) -> Observed {
        let Some(topic) = &post.topic else { return Observed::default() };
        self.monitor.observe(&Observation {
            topic: topic.clone(),
            place: post.place.clone(),
            post_id: post.id.clone(),
            author_id: post.author.as_ref().and_then(|author| author.id.clone()),
            followers: post.followers(),
            at,
            negative: scored.sentiment == Sentiment::Negative,
            severity: flags.discontent,
        })
    }

    fn record(
        &self,
        post: &Post,
        scored: &Scored,
        flags: &PostFlags,
        observed: &Observed,
        total: Duration,
    ) {
        metrics::post_scored(scored, &self.scorer.model().name, total);
        if let Some(severity) = flags.discontent {
            metrics::post_discontent(severity);
        }
        for flag in shown(flags, scored, observed).filter(|flag| *flag != Flag::Discontent) {
            metrics::post_flagged(flag);
        }
        if let Some(topic) = &post.topic {
            let known = self.topic_labels.iter().find(|known| *known == topic.as_str());
            let label = known.map_or(metrics::TOPIC_OTHER, String::as_str);
            metrics::topic_post(label, scored.sentiment);
        }
    }
}

/// The flags that are set, in the order of the wire's numbers.
fn shown(
    flags: &PostFlags,
    scored: &Scored,
    observed: &Observed,
) -> impl Iterator<Item = Flag> + use<> {
    [
        (flags.discontent.is_some(), Flag::Discontent),
        (flags.influential_author, Flag::InfluentialAuthor),
        (flags.advocate, Flag::Advocate),
        (scored.tokens_total > scored.tokens_used, Flag::Truncated),
        (scored.duplicate_text, Flag::DuplicateText),
        (scored.foreign_language, Flag::LanguageUnknownToModel),
        (!observed.alert_ids.is_empty(), Flag::TopicAlert),
        (observed.late, Flag::Late),
        (observed.duplicate, Flag::Duplicate),
    ]
    .into_iter()
    .filter_map(|(set, flag)| set.then_some(flag))
}
