//! Gives the module a larger stack than the workspace's other guests have: TeX is parsed by
//! recursion.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo:rustc-link-arg-cdylib=-zstack-size=1048576");
    }
}
