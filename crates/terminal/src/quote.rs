//! Words that a shell takes as they are.

use std::fmt::Display;

/// A word for a command that people copy into a POSIX shell: in quotes, unless no shell gives any of its characters a
/// meaning.
pub fn quoted(word: impl Display) -> String {
    let word = word.to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,=".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_gives_back_the_word() {
        for word in ["", "plain/path-1.0", "a b", "it's", "\"x\" $HOME `id` \\", "a\nb", "*", "~", "ä", "-n"] {
            let script = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "{script}");
        }
        assert_eq!(quoted("plain/path-1.0"), "plain/path-1.0");
    }
}
