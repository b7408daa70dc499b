//! Migrations and policies are compiled in; a change of either builds this crate anew.
//!
//! Policies are found by folder: every `policies/AREA/*.sql` is one, in the order of its path. Those of `policies/frame/` have a
//! place in the order that `migrate` gives them, and each must be there.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const FRAME: &str = "frame";
/// Before the areas.
const FIRST: [&str; 2] = ["reset", "ticket"];
/// After the areas.
const LAST: [&str; 1] = ["estimates"];
/// Applied by the superuser: roles before the migrations, the watch after the policies.
const BY_SUPERUSER: [(&str, &str); 2] = [("ROLES", "roles"), ("WATCH", "watch")];

fn main() {
    println!("cargo:rerun-if-changed=../../sql");
    println!("cargo:rerun-if-changed=../../policies");
    let root =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder")).join("../../policies");
    let framed = |name: &&str| format!("{FRAME}/{name}");
    let known: Vec<String> =
        FIRST.iter().chain(&LAST).chain(BY_SUPERUSER.iter().map(|(_, name)| name)).map(&framed).collect();
    let (in_frame, of_areas): (Vec<String>, Vec<String>) =
        found(&root).into_iter().partition(|name| name.starts_with(FRAME));
    if let Some(stray) = in_frame.iter().find(|name| !known.contains(name)) {
        panic!("policies/{stray}.sql has no place in the order of crates/db/build.rs");
    }
    let names = FIRST.iter().map(framed).chain(of_areas).chain(LAST.iter().map(framed));
    let one = |name: &str| format!("({name:?}, include_str!({:?}))", root.join(name).with_extension("sql"));
    let list: String = names.map(|name| format!("    {},\n", one(&name))).collect();
    let mut text =
        format!("/// In the order in which they are applied.\nconst POLICIES: &[(&str, &str)] = &[\n{list}];\n");
    for (constant, name) in BY_SUPERUSER {
        writeln!(text, "/// Applied by the superuser.\nconst {constant}: (&str, &str) = {};", one(&framed(&name)))
            .expect("a string takes it");
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo names a folder")).join("policies.rs");
    fs::write(out, text).expect("cargo's folder can be written");
}

/// The policies below the folder, as `area/name`, in order.
fn found(root: &Path) -> Vec<String> {
    let folders = fs::read_dir(root).expect("policies/ is there").map(|entry| entry.expect("an entry").path());
    let mut names = Vec::new();
    for folder in folders.filter(|path| path.is_dir()) {
        for file in fs::read_dir(&folder).expect("a folder of policies").map(|entry| entry.expect("an entry").path()) {
            let part = |path: &Path| path.file_stem().and_then(|name| name.to_str()).expect("a plain name").to_owned();
            assert!(file.extension().is_some_and(|it| it == "sql"), "{} is no policy", file.display());
            names.push(format!("{}/{}", part(&folder), part(&file)));
        }
    }
    names.sort_unstable();
    names
}
