//! The choice of a kernel, and the calls into code compiled for it.
//!
//! The `unsafe` of the workspace is here, but for one instruction in `product/i8mm.rs`. Each block
//! calls a function marked with `#[target_feature]`, which is sound if the processor has these
//! features; a [`Kernel`] exists only if it was asked and has them.

#![allow(unsafe_code, reason = "the one place where code for certain processors is entered")]

use crate::packed::Packed;
use crate::product;

/// A set of instructions that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernel(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "of other processors"))]
enum Set {
    Avx512Vnni,
    AvxVnni,
    Avx2,
    I8mm,
    DotProd,
    Portable,
}

/// Why a kernel can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// No kernel has this name.
    #[error("there is no kernel `{0}`; known are {known}", known = Kernel::NAMES.join(", "))]
    Unknown(String),
    /// The processor lacks its instructions.
    #[error("this processor can't run the kernel `{0}`; it can run {available}", available = available())]
    Missing(&'static str),
}

fn available() -> String {
    Kernel::available().map(Kernel::name).collect::<Vec<_>>().join(", ")
}

impl Set {
    /// From the fastest to the slowest, over all processors.
    const ALL: [Self; 6] =
        [Self::Avx512Vnni, Self::AvxVnni, Self::Avx2, Self::I8mm, Self::DotProd, Self::Portable];

    const fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::AvxVnni => "avx-vnni",
            Self::Avx2 => "avx2",
            Self::I8mm => "i8mm",
            Self::DotProd => "dotprod",
            Self::Portable => "portable",
        }
    }

    /// Whether the processor and the operating system have all features that
    /// [`Kernel::run`] and [`Kernel::multiply`] enable for it.
    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::I8mm => std::arch::is_aarch64_feature_detected!("i8mm"),
            #[cfg(target_arch = "aarch64")]
            Self::DotProd => std::arch::is_aarch64_feature_detected!("dotprod"),
            Self::Portable => true,
            #[allow(unreachable_patterns, reason = "on some processors all are listed above")]
            _ => false,
        }
    }
}

impl Kernel {
    /// Names of all kernels, whatever this processor has.
    pub const NAMES: [&'static str; Set::ALL.len()] = {
        let mut names = [""; Set::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Set::ALL[at].name();
            at += 1;
        }
        names
    };

    /// Those that this processor can run, the fastest first; the portable one is always there.
    pub fn available() -> impl Iterator<Item = Self> {
        Set::ALL.into_iter().filter(|set| set.is_available()).map(Self)
    }

    /// The fastest that this processor can run.
    #[must_use]
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self(Set::Portable))
    }

    /// The one of this name, one of [`Kernel::NAMES`].
    /// # Errors
    /// [`KernelError`] if there is none or the processor can't run it.
    pub fn named(name: &str) -> Result<Self, KernelError> {
        let set = Set::ALL.into_iter().find(|set| set.name() == name);
        let set = set.ok_or_else(|| KernelError::Unknown(name.to_owned()))?;
        if set.is_available() { Ok(Self(set)) } else { Err(KernelError::Missing(set.name())) }
    }

    /// Whether it computes with vectors; the portable one leaves that to the compiler's target.
    #[must_use]
    pub fn is_vectorised(self) -> bool {
        self.0 != Set::Portable
    }

    /// Name for people, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// How its product wants a matrix laid out.
    pub(crate) fn layout(self) -> product::Layout {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => product::avx512_vnni::LAYOUT,
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => product::avx_vnni::LAYOUT,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => product::avx2::LAYOUT,
            #[cfg(target_arch = "aarch64")]
            Set::I8mm => product::i8mm::LAYOUT,
            _ => product::portable::LAYOUT,
        }
    }

    /// Runs `work` compiled for this kernel.
    ///
    /// Mark the closure, and what it calls, `#[inline(always)]`: what is not inlined is compiled for
    /// any processor, and slow.
    #[inline]
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn avx512<T>(work: impl FnOnce() -> T) -> T {
            work()
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2<T>(work: impl FnOnce() -> T) -> T {
            work()
        }
        match self.0 {
            // SAFETY: this kernel exists only where the processor has all these features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { avx512(work) },
            // SAFETY: both kernels exist only where the processor has AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni | Set::Avx2 => unsafe { avx2(work) },
            _ => work(),
        }
    }

    /// `out` (`rows x columns`) = (`a` - 128) (`rows x inputs`) * `b` (`inputs x columns`), packed
    /// in this kernel's layout.
    pub(crate) fn multiply(self, a: &[u8], b: &Packed, out: &mut [i32]) {
        match self.0 {
            // SAFETY: this kernel exists only where the processor has AVX512-VNNI.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { product::avx512_vnni::multiply(a, b, out) },
            // SAFETY: this kernel exists only where the processor has AVX2 and AVX-VNNI.
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => unsafe { product::avx_vnni::multiply(a, b, out) },
            // SAFETY: this kernel exists only where the processor has AVX2.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { product::avx2::multiply(a, b, out) },
            // SAFETY: this kernel exists only where the processor has the 8-bit matrix multiply.
            #[cfg(target_arch = "aarch64")]
            Set::I8mm => unsafe { product::i8mm::multiply(a, b, out) },
            // SAFETY: this kernel exists only where the processor has the dot product.
            #[cfg(target_arch = "aarch64")]
            Set::DotProd => unsafe { product::portable::multiply_dotprod(a, b, out) },
            _ => product::portable::multiply(a, b, out),
        }
    }
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Kernel {
    type Err = KernelError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::named(name)
    }
}
