//! Every kernel of this processor against the plain sum, over shapes and values of all kinds.

use pounce_kernels::{Kernel, Matrix};
use proptest::prelude::*;

/// `sum over inputs of (a - 128) * weight`, in 64 bits.
fn plain(a: &[u8], weights: &[i8], inputs: usize) -> Vec<i64> {
    let dot = |a: &[u8], weights: &[i8]| {
        a.iter().zip(weights).map(|(&a, &w)| (i64::from(a) - 128) * i64::from(w)).sum()
    };
    let rows = a.chunks_exact(inputs);
    rows.flat_map(|a| weights.chunks_exact(inputs).map(move |w| dot(a, w))).collect()
}

fn product(kernel: Kernel, a: &[u8], weights: &[i8], inputs: usize) -> Vec<i64> {
    let matrix = Matrix::pack(kernel, weights, inputs);
    let mut out = vec![i32::MIN; a.len() / inputs * matrix.columns()];
    matrix.multiply(a, &mut out);
    out.into_iter().map(i64::from).collect()
}

/// Values at the ends of the range as often as any others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), Just(0), Just(127), Just(128), Just(255)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_kernel_multiplies_exactly(
        (inputs, a, weights) in (1_usize..90, 0_usize..20, 1_usize..60).prop_flat_map(
            |(inputs, rows, columns)| {
                let inputs = 4 * inputs;
                let weights = prop::collection::vec(byte().prop_map(u8::cast_signed), inputs * columns);
                (Just(inputs), prop::collection::vec(byte(), inputs * rows), weights)
            },
        ),
    ) {
        let expected = plain(&a, &weights, inputs);
        for kernel in Kernel::available() {
            prop_assert_eq!(&product(kernel, &a, &weights, inputs), &expected, "{}", kernel);
        }
    }
}

#[test]
fn nothing_saturates_at_the_ends_of_the_range() {
    for inputs in [4, 384, 1536, 4096] {
        for (a, weight) in [(255, 127), (255, -128), (0, 127), (0, -128)] {
            let (a, weights) = (vec![a; 3 * inputs], vec![weight; 50 * inputs]);
            let expected = plain(&a, &weights, inputs);
            for kernel in Kernel::available() {
                assert_eq!(product(kernel, &a, &weights, inputs), expected, "{kernel}");
            }
        }
    }
}

#[test]
fn a_kernel_is_known_by_its_name_alone_and_only_where_it_runs() {
    for kernel in Kernel::available() {
        assert_eq!(Kernel::named(kernel.name()), Ok(kernel));
    }
    assert_eq!(Kernel::available().next(), Some(Kernel::best()));
    assert!(Kernel::named("portable").is_ok());
    let unknown = Kernel::named("mmx").expect_err("no such kernel").to_string();
    assert!(unknown.contains("portable"), "{unknown}");
    for name in Kernel::NAMES {
        let here = Kernel::available().any(|kernel| kernel.name() == name);
        assert_eq!(Kernel::named(name).is_ok(), here);
    }
}
