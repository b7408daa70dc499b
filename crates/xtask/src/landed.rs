//! Landed migrations are never edited, because databases that ran one would refuse the next start, or differ from new
//! ones.
//!
//! `sql/landed.sha256` lists each landed migration with its SHA-256, in the form that `sha256sum -c` takes, so that a
//! fresh clone without history can tell. Refuses a listed file that changed or is gone, a file that is not listed, a
//! file whose name is no migration's name, and a number that is taken or lies below a landed number.

use std::{collections::BTreeMap, fs, path::Path};

use aws_lc_rs::digest;

const LIST: &str = "landed.sha256";

/// Checks the migrations of a folder against its list; with `seal`, adds the migrations that are not listed yet.
pub fn run(folder: &Path, seal: bool) -> Result<(), String> {
    let listed = read_list(folder)?;
    let found = read_migrations(folder)?;
    let faults = faults(&listed, &found, seal);
    if !faults.is_empty() {
        return Err(format!("landed migrations:\n  {}", faults.join("\n  ")));
    }
    let fresh: Vec<&Migration> = found.iter().filter(|migration| !listed.contains_key(&migration.name)).collect();
    if !fresh.is_empty() {
        let lines: String =
            found.iter().map(|migration| format!("{}  {}\n", migration.digest, migration.name)).collect();
        write(folder, &lines)?;
        fresh.iter().for_each(|migration| eprintln!("xtask: landed: {}", migration.name));
    }
    Ok(())
}

/// One migration file of `sql/`.
#[derive(Debug, PartialEq, Eq)]
struct Migration {
    number: u32,
    name: String,
    digest: String,
}

/// Everything that is wrong, in words.
fn faults(listed: &BTreeMap<String, String>, found: &[Migration], seal: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, digest) in listed {
        match found.iter().find(|migration| migration.name == *name) {
            None => faults.push(format!("{name} has landed and is gone")),
            Some(migration) if migration.digest != *digest => {
                faults.push(format!("{name} has landed and was edited: add a migration instead"));
            }
            Some(_) => {}
        }
    }
    let newest_landed = found.iter().filter(|migration| listed.contains_key(&migration.name)).map(|it| it.number).max();
    for migration in found.iter().filter(|migration| !listed.contains_key(&migration.name)) {
        let Migration { number, name, .. } = migration;
        if newest_landed.is_some_and(|newest| *number < newest) {
            faults.push(format!("{name} comes before one that has landed: take a higher number"));
        } else if !seal {
            faults.push(format!("{name} is not listed: `cargo xtask landed --seal` lists it when it lands"));
        }
    }
    for pair in found.windows(2).filter(|pair| pair[0].number == pair[1].number) {
        faults.push(format!("{} and {} have the same number", pair[0].name, pair[1].name));
    }
    faults
}

fn read_list(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let path = folder.join(LIST);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let entry = |line: &str| {
        let (digest, name) = line.split_once("  ").filter(|(digest, _)| digest.len() == 64)?;
        Some((name.to_owned(), digest.to_owned()))
    };
    text.lines()
        .map(|line| entry(line).ok_or_else(|| format!("{}: no digest and name: {line}", path.display())))
        .collect()
}

fn read_migrations(folder: &Path) -> Result<Vec<Migration>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut migrations = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".sql") {
            continue;
        }
        let number = number(&name).ok_or_else(|| format!("{name} is no name of a migration: V<number>__<name>.sql"))?;
        let text = fs::read(folder.join(&name)).map_err(fault)?;
        migrations.push(Migration { number, digest: sha256(&text), name });
    }
    migrations.sort_by(|one, other| (one.number, &one.name).cmp(&(other.number, &other.name)));
    Ok(migrations)
}

/// The number in `V12__name.sql`.
fn number(name: &str) -> Option<u32> {
    let (number, rest) = name.strip_prefix('V')?.strip_suffix(".sql")?.split_once("__")?;
    let number = number.parse().ok().filter(|parsed: &u32| parsed.to_string() == number)?;
    (!rest.is_empty()).then_some(number)
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(folder: &Path, text: &str) -> Result<(), String> {
    let path = folder.join(LIST);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sql(tempfile::TempDir);

    impl Sql {
        fn with(files: &[(&str, &str)]) -> Self {
            let sql = Self(tempfile::tempdir().expect("a folder"));
            files.iter().for_each(|(name, text)| sql.put(name, text));
            sql
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).expect("written");
        }

        fn remove(&self, name: &str) {
            fs::remove_file(self.0.path().join(name)).expect("removed");
        }

        fn check(&self) -> Result<(), String> {
            run(self.0.path(), false)
        }

        fn seal(&self) -> Result<(), String> {
            run(self.0.path(), true)
        }

        fn list(&self) -> String {
            fs::read_to_string(self.0.path().join(LIST)).unwrap_or_default()
        }
    }

    fn two() -> Sql {
        let sql = Sql::with(&[("V1__log.sql", "abc"), ("V2__vault.sql", ""), ("notes.txt", "not ours")]);
        sql.seal().expect("sealed");
        sql
    }

    #[test]
    fn sealed_migrations_pass_and_the_list_is_what_sha256sum_takes() {
        let sql = two();
        sql.check().expect("nothing changed");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  V1__log.sql\n\
                        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  V2__vault.sql\n";
        assert_eq!(sql.list(), expected);
    }

    #[test]
    fn an_edited_or_lost_migration_is_refused_and_sealing_does_not_help() {
        let sql = two();
        sql.put("V1__log.sql", "abd");
        for outcome in [sql.check(), sql.seal()] {
            assert!(outcome.expect_err("edited").contains("V1__log.sql has landed and was edited"));
        }
        sql.put("V1__log.sql", "abc");
        sql.remove("V2__vault.sql");
        for outcome in [sql.check(), sql.seal()] {
            assert!(outcome.expect_err("gone").contains("V2__vault.sql has landed and is gone"));
        }
    }

    #[test]
    fn a_new_migration_is_refused_until_it_is_sealed() {
        let sql = two();
        sql.put("V10__tree.sql", "SELECT 1");
        assert!(sql.check().expect_err("new").contains("V10__tree.sql is not listed"));
        let before = sql.list();
        sql.seal().expect("sealed");
        assert!(sql.list().starts_with(&before), "what was listed stays");
        sql.check().expect("listed now");
    }

    #[test]
    fn numbers_only_grow() {
        let sql = two();
        sql.put("V2__other.sql", "SELECT 1");
        assert!(sql.seal().expect_err("taken").contains("the same number"));
        sql.remove("V2__other.sql");
        sql.put("V0__early.sql", "SELECT 1");
        assert!(sql.seal().expect_err("too low").contains("V0__early.sql comes before one that has landed"));
    }

    #[test]
    fn names_are_those_of_migrations() {
        assert_eq!(number("V12__read.sql"), Some(12));
        for wrong in ["V012__read.sql", "V+1__read.sql", "V1_read.sql", "V1__.sql", "U1__read.sql", "read.sql"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        let sql = Sql::with(&[("read.sql", "SELECT 1")]);
        assert!(sql.check().expect_err("no name").contains("read.sql is no name of a migration"));
    }

    #[test]
    fn a_damaged_list_is_refused() {
        let sql = two();
        sql.put(LIST, "V1__log.sql\n");
        assert!(sql.check().expect_err("damaged").contains("no digest and name"));
    }
}
