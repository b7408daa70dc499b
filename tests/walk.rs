//! The commands of the documents, run as they are written and in their order, print what the documents say.
//!
//! A block of `bash` is what a reader types. The block of `text` after it is the whole output: `…` stands for a part of
//! a line, a line with only `…` for any number of lines, and blank lines don't count. A block of `bash` without a block
//! of `text` prints nothing. All blocks run in one shell that ends at the first failure, beside a demonstration with
//! few people. Its address is in `URL`, its data folder is `.lethe`, and its graces last three seconds. `cargo` starts
//! the `lethe-audit` that is built already.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use crate::{
    left_out::{lacking_walk, left_out},
    program::{DataFolder, Program},
};

const DOCUMENTS: [&str; 2] = ["README.md", "docs/walk.md"];
/// The time limit for both documents; even a slow machine needs only a small part of it.
const PATIENCE: Duration = Duration::from_secs(300);
/// The character "record separator", printed after each block.
const END: char = '\u{1e}';
const BEGIN: &str = r#"set -euo pipefail
cargo() {
    [[ "$*" == 'run -q --release -p auditor -- '* ]] || { echo "no stand-in for cargo $*"; exit 1; }
    shift 6
    "$LETHE_AUDIT" "$@"
}
"#;

/// The text that a reader types, and the expected output.
struct Step {
    /// File and line, for messages.
    place: String,
    typed: String,
    printed: Vec<String>,
}

/// The steps of a document: its blocks of `bash`, each with the block of `text` that follows directly.
fn steps(document: &str) -> Vec<Step> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).expect("the document is there");
    let (mut steps, mut fence): (Vec<Step>, Option<&str>) = (Vec::new(), None);
    let mut may_print = false;
    for (number, line) in text.lines().enumerate() {
        match (fence, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let place = format!("{document}:{}", number + 1);
                match language {
                    "bash" => steps.push(Step { place, typed: String::new(), printed: Vec::new() }),
                    "text" => assert!(may_print, "{place}: no block of `bash` stands before this one"),
                    _ => {}
                }
                (fence, may_print) = (Some(language), language == "bash");
            }
            (Some(_), Some(_)) => fence = None,
            (Some("bash"), None) => steps.last_mut().expect("it began").typed += &format!("{line}\n"),
            (Some("text"), None) => steps.last_mut().expect("it began").printed.push(line.to_owned()),
            _ => {}
        }
    }
    assert!(fence.is_none() && !steps.is_empty(), "{document}: no steps, or a block without an end");
    steps
}

/// Whether a line matches a pattern.
fn fits(pattern: &str, line: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('…') else { return pattern == line };
    let Some(mut left) = line.strip_prefix(first) else { return false };
    let Some((middle, last)) = rest.rsplit_once('…') else { return left.ends_with(rest) };
    for part in middle.split('…') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

/// Whether all lines match the patterns, blank lines aside.
fn all_fit(patterns: &[&str], lines: &[&str]) -> bool {
    match (patterns, lines) {
        ([], lines) => lines.is_empty(),
        (["…", rest @ ..], lines) => (0..=lines.len()).any(|skipped| all_fit(rest, &lines[skipped..])),
        ([pattern, patterns @ ..], [line, lines @ ..]) => fits(pattern, line) && all_fit(patterns, lines),
        (_, []) => false,
    }
}

fn without_blanks<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines.map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The auditor's program, which cargo puts beside the server's when it builds the tests of the whole workspace.
fn auditor() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_lethe")).with_file_name("lethe-audit")
}

/// Runs a script in the reader's folder until it ends or the time limit is over; returns its output, and whether it
/// succeeded.
async fn run(script: &str, folder: &Path, url: &str) -> (String, bool) {
    let (file, output) = (folder.join("script"), folder.join("output"));
    fs::write(&file, script).expect("written");
    let (stdout, mut command) = (fs::File::create(&output).expect("made"), tokio::process::Command::new("bash"));
    let stderr = stdout.try_clone().expect("a second handle");
    command
        .arg(&file)
        .current_dir(folder)
        .env("URL", url)
        .env("TMPDIR", folder)
        .env("LETHE_AUDIT", auditor())
        .kill_on_drop(true);
    let mut bash = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().expect("bash starts");
    let ended = tokio::time::timeout(PATIENCE, bash.wait()).await;
    let ended_well = ended.is_ok_and(|status| status.expect("it is our child").success());
    (String::from_utf8_lossy(&fs::read(&output).expect("we may read it")).into_owned(), ended_well)
}

#[tokio::test]
async fn the_documents_print_what_they_say() {
    if let Some(lacking) = lacking_walk() {
        return left_out(&lacking);
    }
    if !auditor().exists() {
        return left_out("`lethe-audit` is not built: `cargo test --workspace` builds it");
    }
    let steps: Vec<Step> = DOCUMENTS.into_iter().flat_map(steps).collect();
    let (data, reader) = (DataFolder::new(""), tempfile::tempdir().expect("a folder"));
    let args = ["demo", "--data", data.text(), "--port", "0", "--people", "20", "--grace", "3"];
    let mut demo = Program::start(&args, "info");
    demo.wait_for("Lethe serves on ");
    symlink(data.path(), reader.path().join(".lethe")).expect("linked");
    let sheet: Value = serde_json::from_slice(&fs::read(data.path().join("demo.json")).expect("read")).expect("JSON");
    let url = sheet["base_url"].as_str().expect("a URL");

    let blocks: Vec<String> = steps.iter().map(|step| format!("{}printf '\\n{END}'\n", step.typed)).collect();
    let (output, ended_well) = run(&(BEGIN.to_owned() + &blocks.concat()), reader.path(), url).await;
    let mut parts = output.split(END).peekable();
    for step in &steps {
        let printed = parts.next().unwrap_or_default();
        let (expected, lines) = (step.printed.iter().map(String::as_str), printed.lines());
        let as_said = all_fit(&without_blanks(expected), &without_blanks(lines));
        let (place, typed, expected) = (&step.place, &step.typed, step.printed.join("\n"));
        assert!(as_said, "{place}: says\n{expected}\nand prints\n{printed}\n{typed}");
        assert!(parts.peek().is_some(), "{place}: the shell ended here, or waited for too long\n{typed}");
    }
    assert!(ended_well, "the shell failed after the last step:\n{output}");
    assert!(demo.stop().0.success(), "the demonstration goes on, whatever was typed");
}

#[test]
fn a_pattern_says_the_whole_line_and_all_lines() {
    assert!(fits("a…b…c", "a1b2c") && fits("a…", "a") && fits("…", "") && fits("{…}", "{}"));
    assert!(!fits("a…b", "a1b2") && !fits("a…b…c", "a1c") && !fits("a", "ab") && !fits("a…a", "a"));
    assert!(all_fit(&["a", "…", "d"], &["a", "b", "c", "d"]) && all_fit(&["…"], &[]));
    assert!(!all_fit(&["a"], &["a", "b"]) && !all_fit(&["a", "…", "d"], &["a", "b"]) && !all_fit(&["a"], &[]));
    assert!(!all_fit(&[], &["a"]));
}
