//! A release is named once: its tag, the version in `Cargo.toml` and the newest heading of `CHANGELOG.md` agree.
//!
//! Looks at the tags of the commit that is checked out. A commit without such a tag is no release, and passes.

use std::{fs, path::Path};

use crate::{
    command::{git, output},
    contract::changelog::Section,
};

/// Refuses a tag `v…` of this commit that names another version than `Cargo.toml` or `CHANGELOG.md`.
pub fn run(root: &Path) -> Result<(), String> {
    // Outside a repository there are no tags.
    if !root.join(".git").exists() {
        return Ok(());
    }
    let tags = output(git(root, &["tag", "--points-at", "HEAD"]))?;
    let read = |name: &str| fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"));
    let (manifest, changes) = (read("Cargo.toml")?, read("CHANGELOG.md")?);
    String::from_utf8_lossy(&tags).lines().try_for_each(|tag| check(tag, &manifest, &changes))
}

fn check(tag: &str, manifest: &str, changes: &str) -> Result<(), String> {
    let released = tag.strip_prefix('v').filter(|version| version.starts_with(|letter: char| letter.is_ascii_digit()));
    let Some(released) = released else { return Ok(()) };
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    let newest = Section::newest(changes).title.split(' ').next();
    for (file, named) in [("Cargo.toml", version), ("CHANGELOG.md", newest)] {
        if named != Some(released) {
            return Err(format!("the tag {tag} is not the version that {file} names: {}", named.unwrap_or("none")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_manifest_and_changes_name_one_version() {
        let manifest = "[workspace.package]\nversion = \"0.2.0\"\n";
        let check = |tag: &str, changes: &str| check(tag, manifest, changes);
        assert_eq!(check("v0.2.0", "# Changes\n\n## 0.2.0 (2026-12-01)\n\n## 0.1.0\n"), Ok(()));
        assert_eq!(check("vendor", "# Changes\n\n## Unreleased\n"), Ok(()));
        assert_eq!(check("nightly", "# Changes\n\n## Unreleased\n"), Ok(()));
        for (tag, changes, file) in [
            ("v0.2.0", "# Changes\n\n## Unreleased\n\n## 0.2.0\n", "CHANGELOG.md"),
            ("v0.2.0", "# Changes\n", "CHANGELOG.md"),
            ("v0.3.0", "## 0.3.0\n", "Cargo.toml"),
        ] {
            assert!(check(tag, changes).expect_err(tag).contains(file), "{tag}");
        }
    }
}
