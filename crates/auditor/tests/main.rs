//! The program `lethe-audit`: what its exit status says.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use transparency::{Edge, Hash, InclusionProof, LogKey, record_hash, sign_checkpoint};

fn lethe_audit(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lethe-audit"));
    command.args(args).stdin(Stdio::null()).output().expect("it runs")
}

#[test]
fn the_exit_code_tells_a_finding_from_what_cannot_be_read_and_from_a_wrong_command_line() {
    let help = lethe_audit(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let said = String::from_utf8_lossy(&help.stdout).into_owned();
    for command in ["replay", "verify", "mirror", "proof", "witness", "completions"] {
        assert!(said.contains(&format!("\n  {command} ")), "{command}");
    }
    for code in 0..=3 {
        assert!(said.contains(&format!("\n{code:>4}  ")), "{code}: {said}");
    }
    assert_eq!(lethe_audit(&["verify", "--log", "."]).status.code(), Some(2), "it names no checkpoint and no key");

    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| Path::join(folder.path(), name).to_str().expect("UTF-8").to_owned();
    let unread = lethe_audit(&["proof", "--proof", &file("proof"), "--key", &file("log.vkey")]);
    let told = String::from_utf8_lossy(&unread.stderr).into_owned();
    assert!(unread.status.code() == Some(1) && told.starts_with("lethe-audit: "), "{:?} {told}", unread.status);

    let (proof, key, leaf) = proof();
    std::fs::write(file("proof"), proof).expect("written");
    let checked = |leaf: &Hash| {
        let leaf = leaf.to_string();
        lethe_audit(&["proof", "--proof", &file("proof"), "--key", &key, "--leaf-hash", &leaf, "--json"])
    };
    let (right, wrong) = (checked(&leaf), checked(&record_hash(b"another event")));
    assert_eq!((right.status.code(), wrong.status.code()), (Some(0), Some(3)));
    for (output, holds) in [(right, true), (wrong, false)] {
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!((&object["holds"], &object["size"]), (&holds.into(), &1.into()));
    }
}

/// The proof of the only event of a log, the log's key, and the hash of the event.
fn proof() -> (String, String, Hash) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let key = LogKey::new("lethe.example/log", pair.public_key().as_ref().try_into().expect("32 bytes"));
    let (key, leaf) = (key.expect("a sound name"), record_hash(b"an event"));
    let mut edge = Edge::default();
    edge.grow([leaf]);
    let sign = |body: &[u8]| Ok::<_, ()>(pair.sign(body).as_ref().try_into().expect("64 bytes"));
    let checkpoint = sign_checkpoint(&key, 1, edge.root(), sign).expect("signed").note;
    let proof = InclusionProof { leaf: None, index: 0, hashes: Vec::new(), checkpoint };
    (proof.to_text(), key.vkey(), leaf)
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    for args in [&["--help"][..], &["--version"], &["completions", "zsh"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output =
            Command::new(env!("CARGO_BIN_EXE_lethe-audit")).args(args).stdout(writer).output().expect("it runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
