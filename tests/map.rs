//! The map in `docs/architecture.md` is true: what it names is there, and the files that it names for the smallest
//! capability are those that know of it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const MAP: &str = include_str!("../docs/architecture.md");
const FOLDERS: [&str; 7] = ["src", "domain", "projections", "sql", "policies", "crates", "tests"];
/// What a file says that knows of the extension of a request.
const WORDS: [&str; 9] = [
    "desk::extension",
    "mod extension;",
    "extension::Extension",
    "extension::{Extend",
    "extension::extend(",
    "request_extend",
    "request.extended",
    "'extension'",
    "    \"extension\",",
];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().expect("the sources are there") {
        let path = entry.expect("the sources can be listed").path();
        match path.is_dir() {
            true if path.ends_with("target") => {}
            true => files(&path, into),
            false => into.push(path),
        }
    }
}

#[test]
fn the_map_names_every_file_of_the_smallest_capability() {
    let (_, table) = MAP.split_once("The smallest capability shows it").expect("the map has the list");
    let (table, _) = table.split_once("\n## ").expect("the list ends");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<&str> =
        rows.flat_map(|row| row.rsplit_once(" | ").expect("two columns").0.split('`').skip(1).step_by(2)).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![root.join("openapi/openapi.json")];
    FOLDERS.iter().for_each(|folder| files(&root.join(folder), &mut sources));
    let knows = |path: &&PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        WORDS.iter().any(|word| text.contains(word)) && !path.ends_with("tests/map.rs")
    };
    let known = sources.iter().filter(knows).map(|path| path.strip_prefix(root).expect("inside").to_string_lossy());
    let known: BTreeSet<String> = known.map(std::borrow::Cow::into_owned).collect();
    assert_eq!(known.iter().map(String::as_str).collect::<BTreeSet<_>>(), named, "left: the sources; right: the map");
}

#[test]
fn the_files_that_the_map_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A path begins with a folder, and names in capitals stand for any.
    let is_path = |text: &&str| {
        let known = FOLDERS.iter().chain(&["docs", "openapi"]).any(|folder| text.starts_with(&format!("{folder}/")));
        known
            && !text.contains(char::is_whitespace)
            && !text.contains(['{', '<'])
            && !["AREA", "NAME"].iter().any(|name| text.contains(name))
    };
    let named: BTreeSet<&str> = MAP.split('`').skip(1).step_by(2).filter(is_path).collect();
    let missing: Vec<&&str> = named.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "the map leads nowhere: {missing:?}");
    assert!(named.len() >= 40, "{named:?}");
}
