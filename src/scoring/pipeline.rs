//! The path of one post through the service: accept, score, count, answer.
//!
//! Parts by the unary, batch and stream calls; the only place where a scored
//! post becomes an event.

use std::time::Duration;

use tokio::time::Instant;

use super::metrics;
use crate::alerting::advocates::Advocate;
use crate::alerting::counter::{Counted, Counter, Counting, PostAdmission};
use crate::alerting::metrics as alerting_metrics;
use crate::alerting::monitor::AlertMonitor;
use crate::recent::posts::{Flagged, RecentPosts};
use crate::scoring::textless::TextlessPost;
use crate::scoring::wire::{self, Refusal};
use crate::traces::{self, PostSpan};
use crate::wire::{show_duration, show_severity, show_timestamp};
use opentelemetry::trace::SpanContext;
use pounce_alerts::flags::{PostFlags, RESPOND_WITHIN, Thresholds};
use pounce_alerts::{HashKey, Observation, SignalId};
use pounce_inference::scorer::{Flow, ScoreError, ScoreOptions, Scored, Scorer, WhenFull};
use pounce_proto::{self as proto, Flag, ScoredEvent};
use pounce_types::clock::now;
use pounce_types::post::{Post, PostError, Timestamp, Topic};
use pounce_types::score::{Probabilities, Severity};

/// What is needed to answer a post.
pub(crate) struct Pipeline {
    pub(crate) scorer: Scorer,
    pub(crate) monitor: AlertMonitor,
    /// What the page shows of posts, if there is a page.
    pub(crate) recent: Option<RecentPosts>,
    pub(crate) counter: Counter,
    /// Those of the service: what topics count by, whatever a call chose for its flags.
    pub(crate) thresholds: Thresholds,
    /// What a decision by them rests on.
    pub(crate) signal: SignalId,
    pub(crate) hash_key: HashKey,
    pub(crate) text_bytes_max: usize,
    /// Topics that metrics may name.
    pub(crate) topic_labels: Vec<Topic>,
}

/// How a call wants its posts answered.
#[derive(Clone)]
pub(crate) struct CallOptions {
    pub(crate) thresholds: Thresholds,
    pub(crate) deadline: Option<Instant>,
    pub(crate) when_full: WhenFull,
    /// Its posts are recorded ones: they count for no topic, and nobody is told of them.
    pub(crate) history: bool,
    /// The call's span, if it is sampled.
    pub(crate) span: Option<SpanContext>,
}

/// A post that was read, and is registered with its topic.
pub(crate) struct AcceptedPost {
    post: Post,
    /// Event time.
    at: Timestamp,
    /// None without a topic, and of a recorded post.
    admission: Option<PostAdmission>,
    sequence: u64,
    accepted: Instant,
    span: Option<PostSpan>,
}

impl AcceptedPost {
    /// Bytes of its text.
    pub(crate) fn text_bytes(&self) -> usize {
        self.post.text.as_str().len()
    }

    /// Its number within its call.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// A post that was scored, and has not been counted.
pub(crate) struct ScoredPost {
    post: TextlessPost,
    at: Timestamp,
    admission: Option<PostAdmission>,
    scored: Scored,
    flags: PostFlags,
    history: bool,
    sequence: u64,
    accepted: Instant,
}

/// A post that was scored and is being counted.
pub(crate) struct CountingPost {
    post: TextlessPost,
    scored: Scored,
    flags: PostFlags,
    /// Discontent by the service's own thresholds.
    decided: Option<Severity>,
    at: Timestamp,
    counting: Counting,
    history: bool,
    sequence: u64,
    accepted: Instant,
}

impl CountingPost {
    /// Whether [`Pipeline::counted`] has to wait.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.counting, Counting::Pending(_))
    }
}

/// A post that was scored and counted, and has not been answered.
pub(crate) struct CountedPost {
    post: TextlessPost,
    scored: Scored,
    flags: PostFlags,
    respond_by: Option<Timestamp>,
    counted: Counted,
    history: bool,
    sequence: u64,
    accepted: Instant,
}

impl Pipeline {
    /// Registers a post with its topic. Call it in the order of arrival: posts
    /// are counted in that order, however long each takes to score. Boxed, since a future keeps room for
    /// each place that a value passes through, and thousands of these wait at a time.
    pub(crate) fn accept(
        &self,
        terms: &CallOptions,
        post: Result<Post, PostError>,
        sequence: u64,
    ) -> Result<Box<AcceptedPost>, Refusal> {
        let accepted = Instant::now();
        let span = traces::post(terms.span.as_ref(), sequence);
        match post {
            Ok(post) => {
                let at = post.posted_at.unwrap_or_else(now);
                let topic = post.topic.as_ref().filter(|_| !terms.history);
                let admission = topic.map(|topic| self.counter.admit(topic, at));
                let accepted = AcceptedPost { post, at, admission, sequence, accepted, span };
                Ok(Box::new(accepted))
            }
            Err(error) => Err(self.refused(error.into(), span)),
        }
    }

    /// Scores a post, unless `turned_away` completes first. Dropping the future takes the post out
    /// of the queue and withdraws its registration.
    pub(crate) async fn score(
        &self,
        flow: &Flow,
        terms: &CallOptions,
        mut accepted: Box<AcceptedPost>,
        turned_away: impl Future<Output = ()>,
    ) -> Result<ScoredPost, Refusal> {
        let options = ScoreOptions {
            language: accepted.post.language.as_ref(),
            deadline: terms.deadline,
            when_full: terms.when_full,
            span: accepted.span.as_ref().map(PostSpan::span_context),
        };
        let scored = tokio::select! {
            biased;
            scored = flow.score(&accepted.post.text, &options) => scored,
            () = turned_away => Err(ScoreError::Closed),
        };
        let span = accepted.span.take();
        let scored = match scored {
            Ok(scored) => scored,
            Err(error) => return Err(self.refused(error.into(), span)),
        };
        let AcceptedPost { post, at, admission, sequence, accepted, .. } = *accepted;
        if let Some(span) = span {
            let (tokens, timings) = (scored.tokens_used, &scored.timings);
            span.scored(post.id.as_str(), tokens, timings, scored.batch.clone());
        }
        let history = terms.history;
        let flags = terms.thresholds.flags(&scored.probabilities, post.followers());
        let to_show = self.recent.as_ref().filter(|_| !history && is_shown(&flags));
        let beginning = to_show.and_then(|recent| recent.beginning(post.text.as_str()));
        let near_text =
            admission.as_ref().and_then(|_| self.hash_key.near_text(post.text.as_str()));
        let post = TextlessPost::of(post, near_text, beginning);
        Ok(ScoredPost { post, at, admission, scored, flags, history, sequence, accepted })
    }

    /// Begins to count a post for its topic. Call it in the order in which posts are to count.
    pub(crate) fn count(&self, scored_post: ScoredPost) -> CountingPost {
        let ScoredPost { post, at, admission, scored, flags, history, sequence, accepted } =
            scored_post;
        let advocate = (flags.advocate && !history).then(|| Advocate {
            topic: post.topic.clone(),
            place: post.place.clone(),
            post_id: post.id.clone(),
            followers: post.followers(),
            probability: scored.probabilities.positive,
            at,
        });
        let decided = self.thresholds.flags(&scored.probabilities, post.followers()).discontent;
        let observed = admission.and_then(|admission| {
            Some((admission, self.observation(&post, &scored, decided, at)?))
        });
        let counting = self.counter.count(observed, advocate);
        CountingPost { post, scored, flags, decided, at, counting, history, sequence, accepted }
    }

    /// Waits until it is known what came of counting a post. Dropping the future changes nothing.
    pub(crate) async fn counted(&self, counting_post: CountingPost) -> CountedPost {
        let CountingPost {
            mut post,
            scored,
            flags,
            decided,
            at,
            counting,
            history,
            sequence,
            accepted,
        } = counting_post;
        let counted = counting.counted().await;
        let took = accepted.elapsed();
        self.record(&scored, &flags, counted, took);
        let live = !history;
        let respond_by = flags.discontent.filter(|_| live).map(|_| at.after(RESPOND_WITHIN));
        if live {
            self.record_topic(&post, &scored, decided);
        }
        if let Some(recent) = &self.recent {
            recent.scored(took);
            if live && is_shown(&flags) {
                let Probabilities { discontent, positive, .. } = scored.probabilities;
                recent.keep_flagged(Flagged {
                    id: post.id.clone(),
                    topic: post.topic.clone(),
                    place: post.place.clone(),
                    followers: post.followers(),
                    severity: flags.discontent,
                    probability: if flags.discontent.is_some() { discontent } else { positive },
                    at,
                    respond_by,
                    text: post.beginning.take(),
                });
            }
        }
        CountedPost { post, scored, flags, respond_by, counted, history, sequence, accepted }
    }

    /// A post is answered with a rejection.
    fn refused(&self, refusal: Refusal, span: Option<PostSpan>) -> Refusal {
        if let Some(span) = span {
            span.rejected(refusal.code());
        }
        metrics::post_rejected(refusal.code());
        if let Some(recent) = &self.recent {
            recent.rejected();
        }
        refusal
    }

    /// The event of a post, with the alerts that fire now. Call it when the reply is to be
    /// sent.
    pub(crate) fn event(&self, counted: &CountedPost) -> ScoredEvent {
        let &CountedPost { ref post, ref scored, ref flags, respond_by, .. } = counted;
        let topic = post.topic.as_ref().filter(|_| !counted.history);
        let alert_ids =
            topic.map_or_else(Vec::new, |topic| self.monitor.alert_ids(topic, post.place.as_ref()));
        let topic_alert = (!alert_ids.is_empty()).then_some(Flag::TopicAlert);
        if let Some(flag) = topic_alert {
            metrics::post_flagged(flag);
        }
        let mut shown: Vec<i32> =
            shown(flags, scored, counted.counted).chain(topic_alert).map(i32::from).collect();
        shown.sort_unstable();
        ScoredEvent {
            post_id: post.id.to_string(),
            sequence: counted.sequence,
            probabilities: Some(wire::show_probabilities(&scored.probabilities)),
            sentiment: wire::show_sentiment(scored.sentiment).into(),
            discontent: scored.probabilities.discontent.into(),
            severity: show_severity(flags.discontent).into(),
            flags: shown,
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
                total: Some(show_duration(counted.accepted.elapsed())),
            }),
            alert_ids: alert_ids.iter().map(ToString::to_string).collect(),
        }
    }

    /// What counts for the post's topic, if it has one. In a language that the model does not know
    /// it counts for nothing, but its id is remembered.
    fn observation(
        &self,
        post: &TextlessPost,
        scored: &Scored,
        discontent: Option<Severity>,
        at: Timestamp,
    ) -> Option<Observation> {
        let topic = post.topic.as_ref()?;
        if scored.foreign_language {
            alerting_metrics::post_foreign();
        }
        let author = post.author.as_ref().and_then(|author| author.id.as_ref());
        Some(Observation {
            topic: topic.clone(),
            place: post.place.clone(),
            post_id: post.id.clone(),
            author: author.map(|id| self.hash_key.author(id)),
            followers: post.followers(),
            at,
            foreign: scored.foreign_language,
            sentiment: scored.sentiment,
            discontent,
            signal: self.signal,
            near_text: post.near_text,
        })
    }

    fn record(&self, scored: &Scored, flags: &PostFlags, counted: Counted, total: Duration) {
        metrics::post_scored(scored, &self.scorer.model().name, total);
        if let Some(severity) = flags.discontent {
            metrics::post_discontent(severity);
        }
        for flag in shown(flags, scored, counted).filter(|flag| *flag != Flag::Discontent) {
            metrics::post_flagged(flag);
        }
    }

    /// A live post counts in the metrics of its topic.
    fn record_topic(&self, post: &TextlessPost, scored: &Scored, decided: Option<Severity>) {
        if let Some(topic) = post.topic.as_ref().filter(|_| !scored.foreign_language) {
            let known = self.topic_labels.iter().find(|known| *known == topic);
            let label = known.map_or(metrics::TOPIC_OTHER, Topic::as_str);
            metrics::topic_post(label, scored.sentiment, decided.is_some());
        }
    }
}

/// Whether the page shows a post with these flags.
fn is_shown(flags: &PostFlags) -> bool {
    flags.discontent.is_some() || flags.advocate
}

/// The flags that a post has of its own.
fn shown(
    flags: &PostFlags,
    scored: &Scored,
    counted: Counted,
) -> impl Iterator<Item = Flag> + use<> {
    [
        (flags.discontent.is_some(), Flag::Discontent),
        (flags.influential_author, Flag::InfluentialAuthor),
        (flags.advocate, Flag::Advocate),
        (scored.tokens_total > scored.tokens_used, Flag::Truncated),
        (scored.duplicate_text, Flag::DuplicateText),
        (scored.foreign_language, Flag::LanguageUnknownToModel),
        (counted.late, Flag::Late),
        (counted.duplicate, Flag::Duplicate),
        (counted.not_yet, Flag::NotCountedYet),
    ]
    .into_iter()
    .filter_map(|(set, flag)| set.then_some(flag))
}
