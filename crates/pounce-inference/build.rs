//! With the feature `torch`, tells this crate's tests where the libtorch is that they were linked
//! to.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(libtorch) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.display());
    }
}
