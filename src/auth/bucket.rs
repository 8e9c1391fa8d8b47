//! A token bucket: so many posts a second, saved up for one second. Pure.
//!
//! Kept as the moment at which the bucket will be full again (the theoretical
//! arrival time of the generic cell rate algorithm, ITU-T I.371). Our own, not `governor`'s, which
//! can't take more than a burst, as a batch larger than the bucket does, nor reserve ahead.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// What an idle caller saves up, as time.
const BURST: Duration = Duration::from_secs(1);

/// A bucket of posts.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// What a post costs.
    post: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(posts_per_second: NonZeroU32, at: Instant) -> Self {
        Self { post: Duration::from_secs(1) / posts_per_second.get(), full_at: at }
    }

    /// Takes posts, or tells when to come back. More posts than the bucket
    /// holds are given from a full one, and paid for by the wait that follows.
    pub(crate) fn take(&mut self, posts: u32, at: Instant) -> Result<(), Duration> {
        let cost = self.post.saturating_mul(posts);
        let missing = self.full_at.saturating_duration_since(at);
        let room = BURST.saturating_sub(cost);
        if missing > room {
            return Err(missing - room);
        }
        self.full_at = self.full_at.max(at) + cost;
        Ok(())
    }

    /// Takes one post in any case; the caller waits for as long as this says.
    pub(crate) fn reserve(&mut self, at: Instant) -> Duration {
        self.full_at = self.full_at.max(at) + self.post;
        self.full_at.duration_since(at).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(posts_per_second: u32, at: Instant) -> Bucket {
        Bucket::new(NonZeroU32::new(posts_per_second).expect("not 0"), at)
    }

    #[test]
    fn a_second_is_saved_up_and_refills_post_by_post() {
        let start = Instant::now();
        let mut bucket = bucket(10, start);
        assert!((0..10).all(|_| bucket.take(1, start).is_ok()));
        assert_eq!(bucket.take(1, start), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(4, start), Err(Duration::from_millis(400)));
        let later = start + Duration::from_millis(100);
        assert_eq!(bucket.take(1, later), Ok(()));
        assert_eq!(bucket.take(1, later), Err(Duration::from_millis(100)));
        let much_later = start + Duration::from_secs(60);
        assert_eq!(bucket.take(10, much_later), Ok(()), "no more than a second is saved up");
        assert!(bucket.take(1, much_later).is_err());
    }

    #[test]
    fn a_batch_larger_than_the_bucket_waits_for_a_full_one_and_is_paid_for_later() {
        let start = Instant::now();
        let mut bucket = bucket(10, start);
        assert_eq!(bucket.take(50, start), Ok(()));
        assert_eq!(bucket.take(1, start), Err(Duration::from_millis(4100)));
        let later = start + Duration::from_secs(4);
        assert_eq!(bucket.take(50, later), Err(Duration::from_secs(1)));
    }

    proptest! {
        /// Whatever is tried, `seconds` let through at most a burst and `seconds` of posts.
        #[test]
        fn no_more_than_the_rate_gets_through(
            rate in 1_u32..500,
            tries in prop::collection::vec((0_u64..300, 1_u32..20, any::<bool>()), 1..200),
        ) {
            let start = Instant::now();
            let (mut bucket, mut at, mut taken) = (bucket(rate, start), start, 0_u32);
            for (pause, posts, waits) in tries {
                at += Duration::from_millis(pause);
                if waits {
                    at += bucket.reserve(at);
                    taken += 1;
                } else if posts <= rate && bucket.take(posts, at).is_ok() {
                    taken += posts;
                }
                let allowed = f64::from(rate) * (1.0 + (at - start).as_secs_f64());
                prop_assert!(f64::from(taken) <= allowed + 1e-3, "{taken} of {allowed}");
            }
        }
    }
}
