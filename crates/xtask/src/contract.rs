//! Compares two versions of the OpenAPI document, so that nothing breaks a client unseen.
//!
//! Lists every change that a program could notice, and says of each what it does to a client that was written against
//! the old document. Refuses a breaking change that no bullet of the newest section of `CHANGELOG.md` names. Texts and
//! examples are not compared: nobody's program goes by them.
//!
//! `openapi/released.json` holds the document of the last release, so that a clone without history can tell.

mod change;
pub mod changelog;
mod comparison;
mod document;
mod operation;
mod schema;
#[cfg(test)]
mod tests;

use std::{fs, path::Path};

use change::{Change, Weight};
use changelog::Section;
use comparison::Comparison;
use document::Document;

use crate::command::{git, output};

const RELEASED: &str = "openapi/released.json";
const PRESENT: &str = "openapi/openapi.json";

/// Compares the released document with the present one, and prints how much has changed.
pub fn check(root: &Path) -> Result<(), String> {
    let changes = changes(&read(&root.join(RELEASED))?, &read(&root.join(PRESENT))?);
    let breaking = changes.iter().filter(|change| change.weight == Weight::Breaking).count();
    refuse_unnamed(root, &changes)?;
    println!("contract: {} changes since {RELEASED}, {breaking} of them breaking and named", changes.len());
    Ok(())
}

/// Prints all changes between two documents, and refuses those that break and are not named.
pub fn run(root: &Path, old: Option<&Path>, new: Option<&Path>, since: Option<&str>) -> Result<(), String> {
    let old = match since {
        Some(commit) => parse(commit, &output(git(root, &["show", &format!("{commit}:{PRESENT}")]))?)?,
        None => read(old.unwrap_or(&root.join(RELEASED)))?,
    };
    let changes = changes(&old, &read(new.unwrap_or(&root.join(PRESENT)))?);
    changes.iter().for_each(|change| println!("{change}"));
    refuse_unnamed(root, &changes)
}

/// Makes the present document the released one, once the newest section of the changelog is that of a release.
pub fn seal(root: &Path) -> Result<(), String> {
    check(root)?;
    let text = changelog(root)?;
    let title = Section::newest(&text).title;
    if title == "Unreleased" {
        return Err("CHANGELOG.md: give `Unreleased` the name of the release, then seal".to_owned());
    }
    fs::copy(root.join(PRESENT), root.join(RELEASED)).map_err(|error| format!("{RELEASED}: {error}"))?;
    Ok(())
}

fn refuse_unnamed(root: &Path, changes: &[Change]) -> Result<(), String> {
    let text = changelog(root)?;
    let newest = Section::newest(&text);
    let breaking = changes.iter().filter(|change| change.weight == Weight::Breaking);
    let unnamed: Vec<String> = breaking.filter(|change| !newest.names(&change.place)).map(Change::to_string).collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    Err(format!("CHANGELOG.md: no bullet under `{}` names\n  {}", newest.title, unnamed.join("\n  ")))
}

fn changelog(root: &Path) -> Result<String, String> {
    let path = root.join("CHANGELOG.md");
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// All changes, those that break first.
fn changes(old: &Document, new: &Document) -> Vec<Change> {
    let mut comparison = Comparison::new(old, new);
    comparison.documents();
    comparison.changes.into_iter().collect()
}

fn read(path: &Path) -> Result<Document, String> {
    let name = path.display().to_string();
    parse(&name, &fs::read(path).map_err(|error| format!("{name}: {error}"))?)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Document, String> {
    serde_json::from_slice(bytes).map(Document).map_err(|error| format!("{name}: {error}"))
}
