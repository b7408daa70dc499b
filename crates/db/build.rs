//! Migrations and policies are compiled in; a change of either builds this crate anew.
fn main() {
    println!("cargo:rerun-if-changed=../../sql");
    println!("cargo:rerun-if-changed=../../policies");
}
