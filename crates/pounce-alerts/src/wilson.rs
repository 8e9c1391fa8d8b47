//! Wilson's score interval (E. B. Wilson, "Probable inference, the law of
//! succession, and statistical inference", JASA 22, 1927). Numbers only.

use super::window::{Counts, ratio};

/// Lower bound of the share that stands behind `counts`, at the normal
/// quantile `z`: 2.576 leaves 0.5 % above it. 0 without posts.
#[must_use]
pub fn lower_bound(counts: Counts, z: f64) -> f64 {
    if counts.posts == 0 {
        return 0.0;
    }
    bound(counts.share().min(1.0), ratio(counts.posts), -z)
}

/// Upper bound of a `share` that was seen in `posts` posts, more than 0.
pub(super) fn upper_bound(share: f64, posts: f64, z: f64) -> f64 {
    bound(share, posts, z)
}

fn bound(p: f64, n: f64, z: f64) -> f64 {
    let zz = z * z;
    let centre = p + zz / (2.0 * n);
    let spread = z * (p * (1.0 - p) / n + zz / (4.0 * n * n)).sqrt();
    ((centre + spread) / (1.0 + zz / n)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_bounds_at_z_2_576() {
        for (negatives, posts, bound) in [
            (8, 10, 0.4008),
            (12, 60, 0.1002),
            (60, 300, 0.1473),
            (0, 50, 0.0),
            (20, 20, 0.7509),
            (0, 0, 0.0),
        ] {
            let found = lower_bound(Counts { posts, negatives }, 2.576);
            assert!((found - bound).abs() < 5e-5, "({negatives}, {posts}): {found}");
        }
    }

    proptest! {
        #[test]
        fn the_bound_is_a_share_below_the_observed_one(
            posts in 1_u64..=u64::from(u32::MAX),
            of in 0.0_f64..=1.0,
        ) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss,
                reason = "between 0 and posts")]
            let negatives = (ratio(posts) * of) as u64;
            let counts = Counts { posts, negatives: negatives.min(posts) };
            let bound = lower_bound(counts, 2.576);
            prop_assert!((0.0..=1.0).contains(&bound));
            prop_assert!(bound <= counts.share() + 1e-12);
        }
    }
}
