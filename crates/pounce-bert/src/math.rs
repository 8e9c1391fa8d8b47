//! Functions that loops are compiled with for every kernel, without a branch.
//!
//! `mul_add` is rounded once on every processor, and nothing else is ever fused, so that all kernels
//! give the same bits. The standard library's `exp` and its like would be calls, and the platform's.

#![expect(clippy::excessive_precision, reason = "constants as their sources print them")]

/// Adding this rounds to the nearest whole number, ties to the even one: 1.5 * 2^23, where the last
/// bit of a float stands for 1. For numbers within 2^22 of zero.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// The smaller number, without the cases for what is not a number.
#[inline(always)]
fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger number, without the cases for what is not a number.
#[inline(always)]
pub(crate) fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// c0 + c1 x + c2 x^2 + ..., by Horner's rule.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for coefficient in coefficients.into_iter().rev().skip(1) {
        sum = sum.mul_add(x, coefficient);
    }
    sum
}

/// e^x within 2 units of the last place; below -87 e^-87, above 88 e^88.
///
/// Range reduction and polynomial are those of Cephes' `expf` (Moshier, 1989).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_375;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = min(max(x, -87.0), 88.0);
    // x = n ln 2 + r
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let p = polynomial(
        r,
        [
            5.000_000_120_1e-1,
            1.666_666_545_9e-1,
            4.166_579_589_4e-2,
            8.333_451_907_3e-3,
            1.398_199_950_7e-3,
            1.987_569_15e-4,
        ],
    );
    let power = (p * r).mul_add(r, r) + 1.0;
    // n stands in the low bits of `shifted`; 2^n is made of n + 127 in the place of the exponent.
    power * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// The hyperbolic tangent within 3e-7.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// x * Phi(x), Phi the standard normal distribution (Hendrycks and Gimpel, "Gaussian Error Linear
/// Units", 2016), within 2.1e-7 times the larger of |x| and 1.
///
/// Phi(x) - 1/2 = x P(x^2) / Q(x^2) within +-5.2, beyond which Phi is 0 or 1 to 7 places. P and Q are
/// a least-squares fit to erf, reweighted towards the smallest largest error of x * Phi(x).
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let c = min(max(x, -5.2), 5.2);
    let t = c * c;
    let p = polynomial(
        t,
        [
            3.989_421_5e-1,
            3.335_648_2e-2,
            4.657_503e-3,
            1.651_430_9e-4,
            6.462_380_9e-6,
            2.403_895_3e-8,
        ],
    );
    let q = polynomial(
        t,
        [1.0, 2.502_776_2e-1, 2.838_954_5e-2, 1.863_350_2e-3, 7.316_279_4e-5, 1.242_967_9e-6],
    );
    x * (0.5 + c * p / q)
}

/// GELU's approximation in transformers' `gelu_new`: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
#[inline(always)]
pub(crate) fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_56;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
}

/// max(x, 0).
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    max(x, 0.0)
}

#[cfg(test)]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "numbers of the grid are floats of 32 bits"
)]
mod tests {
    use super::*;

    /// 200,001 evenly spaced numbers.
    fn grid(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=200_000_u32).map(move |i| from + (to - from) * (i as f32 / 200_000.0))
    }

    fn phi(x: f64) -> f64 {
        // Midpoint rule from -12: its error is far below that of f32.
        let (steps, from) = (4_000, -12.0);
        let width = (x - from) / f64::from(steps);
        let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        (0..steps).map(|i| density(from + width * (f64::from(i) + 0.5)) * width).sum()
    }

    #[test]
    fn exp_is_right_to_the_last_places() {
        for x in grid(-87.0, 88.0) {
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 2.4e-7 * exact, "exp({x})");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
    }

    #[test]
    fn tanh_is_right_to_seven_places() {
        for x in grid(-20.0, 20.0) {
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() <= 3e-7, "tanh({x})");
        }
    }

    #[test]
    fn gelu_is_right_to_the_last_places() {
        for x in grid(-8.0, 8.0).step_by(50) {
            let exact = f64::from(x) * phi(f64::from(x));
            let bound = 2.2e-7 * f64::from(x).abs().max(1.0);
            assert!((f64::from(gelu(x)) - exact).abs() <= bound, "gelu({x}) = {}", gelu(x));
        }
    }

    #[test]
    fn the_approximation_by_tanh_is_near_gelu() {
        for x in grid(-8.0, 8.0) {
            assert!((gelu_tanh(x) - gelu(x)).abs() < 1e-3, "{x}");
            let x = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            let exact = 0.5 * x * (1.0 + inner.tanh());
            assert!((f64::from(gelu_tanh(x as f32)) - exact).abs() < 1e-6, "{x}");
        }
    }
}
