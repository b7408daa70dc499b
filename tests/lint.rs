//! Two linters find nothing in the OpenAPI document by the rules that they recommend: no error and no warning.
//!
//! Their versions are listed in `lint/package.json`; see `node.rs`. They run in the root of the repository, where
//! `.spectral.yaml` names the rules and `.redocly.lint-ignore.yaml` the one finding that is no fault.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{left_out::left_out, node::programs};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Another test compares it with the document that the server serves.
const FILE: &str = "openapi/openapi.json";
/// How many findings are ignored.
const IGNORED: u64 = 1;

#[test]
fn linters_find_nothing_in_the_document() {
    let programs = match programs("lint") {
        Ok(programs) => programs,
        Err(why) => return left_out(&why),
    };
    let faults = [redocly(&programs), spectral(&programs)].concat();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn redocly(programs: &Path) -> Vec<String> {
    let mut command = Command::new(programs.join("redocly"));
    command.args(["lint", FILE, "--extends", "recommended", "--format", "json", "--max-problems", "1000"]);
    let found = found(command.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true"));
    assert_eq!(found["totals"]["ignored"], IGNORED, "{}", found["totals"]);
    let problems = found["problems"].as_array().expect("a list of problems");
    let pointer = |problem: &Value| problem["location"][0]["pointer"].clone();
    problems.iter().map(|it| format!("redocly {} {} {}", it["ruleId"], pointer(it), it["message"])).collect()
}

fn spectral(programs: &Path) -> Vec<String> {
    let mut command = Command::new(programs.join("spectral"));
    let found = found(command.args(["lint", FILE, "--quiet", "--format", "json"]));
    let problems = found.as_array().expect("a list of problems");
    problems.iter().map(|it| format!("spectral {} {} {}", it["code"], it["path"], it["message"])).collect()
}

/// What a linter writes. Its status tells only that it found something.
fn found(command: &mut Command) -> Value {
    let output = command.current_dir(ROOT).output().expect("the linter runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let [said, told] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        panic!("{error}: {said}\n{told}")
    })
}
