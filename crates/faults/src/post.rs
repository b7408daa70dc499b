//! The letters that the server writes as files.

use std::{fs, path::PathBuf, time::Duration};

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(20);

/// The folder of letters.
pub struct Post(PathBuf);

impl Post {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Waits for the newest letter to an address that holds a text, takes it out of the folder, and returns it.
    pub async fn take(&self, email: &str, saying: &str, limit: Duration) -> Option<String> {
        let until = Instant::now() + limit;
        loop {
            if let Some(letter) = self.find(email, saying) {
                return Some(letter);
            }
            if Instant::now() > until {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn find(&self, email: &str, saying: &str) -> Option<String> {
        let paths = fs::read_dir(&self.0).ok()?.flatten().map(|entry| entry.path());
        let mut letters: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .filter_map(|(time, path)| Some((time, path.clone(), fs::read_to_string(path).ok()?)))
            .filter(|(_, _, text)| text.contains(&format!("To: {email}")) && text.contains(saying))
            .collect();
        letters.sort();
        let (_, path, letter) = letters.pop()?;
        fs::remove_file(path).ok()?;
        Some(letter)
    }

    /// Throws away all letters. Nobody may be waiting for one.
    pub fn clear(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let is_letter = entry.path().extension().is_some_and(|extension| extension == "eml");
            if is_letter {
                // The next clearing tries again.
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

/// The six digits of a letter with a code.
pub fn code_of(letter: &str) -> Option<&str> {
    letter.split_once("Your code: ")?.1.get(..6)
}

/// The token of a letter: 43 characters on a line of their own.
pub fn token_of(letter: &str) -> Option<&str> {
    let is_token = |line: &&str| {
        line.len() == 43 && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    letter.lines().map(str::trim).find(is_token)
}
