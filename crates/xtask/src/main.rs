//! Chores of the repository, as `cargo xtask …`. Each says what it runs, stops at the first failure, and then ends with
//! status 1.

mod chore;
mod command;
mod contract;
mod landed;
mod layers;
mod release;
mod sdk;
mod setup;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Chores of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Write openapi/openapi.json and openapi/openapi-3.0.json from the server's code
    Openapi,
    /// Make the packages of clients, in target/sdk/, of the documents in openapi/
    Sdk {
        /// Only these languages
        languages: Vec<sdk::Language>,
        /// Only install the generators
        #[arg(long)]
        install: bool,
    },
    /// Write policies/matrix.snap from a live database
    Matrix,
    /// Refuse edits of landed migrations (sql/landed.sha256)
    Landed {
        /// Add the migrations that are not listed yet
        #[arg(long)]
        seal: bool,
    },
    /// Refuse imports that climb between layers, and circles of files
    Layers {
        /// Print the imports between layers and areas instead
        #[arg(long)]
        graph: bool,
    },
    /// List what changed between two OpenAPI documents; refuse what breaks a client and CHANGELOG.md does not name
    Contract {
        /// The old document [default: openapi/released.json]
        old: Option<PathBuf>,
        /// The new document [default: openapi/openapi.json]
        new: Option<PathBuf>,
        /// Take the old document from a commit
        #[arg(long, value_name = "COMMIT", conflicts_with = "old")]
        since: Option<String>,
        /// Make the present document the released one
        #[arg(long, conflicts_with_all = ["old", "new", "since"])]
        seal: bool,
    },
    /// Refuse a tag of this commit that is not the version of Cargo.toml and CHANGELOG.md
    Release,
    /// Run all checks except the tests: format, lints, documentation, landed migrations, layers, the contract,
    /// release, dependencies
    Check,
    /// Run all tests; installs first what they lack, on Debian and Ubuntu
    Test {
        /// More arguments for `cargo test`, such as a test's name or `-- --nocapture`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<String>,
    },
    /// Call every operation of the API with random values, by Schemathesis; `test` does so with a few
    Fuzz {
        /// How many random calls to each operation
        #[arg(long, default_value_t = 200)]
        examples: u32,
        /// Which random calls
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Make faults while the server works, and check after each that nothing is lost, done twice or unequal; `test` does so
    /// with each kind once
    Faults {
        /// How many faults, one after another
        #[arg(long, default_value_t = 200)]
        rounds: u32,
        /// Decides their order, and what clients do
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// More arguments for the program; `-- --help` shows them
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Compare the server with a model of its documentation, in random sequences of steps, and let persons act at the same
    /// moments; `test` does so in a few
    Model {
        /// How many sequences, of about forty steps each
        #[arg(long, default_value_t = 100)]
        cases: u32,
        /// Which sequences; if absent, others each time
        #[arg(long)]
        seed: Option<u64>,
    },
}

fn main() -> ExitCode {
    let root = root();
    let outcome = match Cli::parse().chore {
        Chore::Openapi => chore::openapi(&root),
        Chore::Sdk { languages, install } => sdk::make(&root, &languages, install),
        Chore::Matrix => chore::matrix(&root),
        Chore::Landed { seal } => landed::run(&root.join("sql"), seal),
        Chore::Layers { graph } => layers::run(&root, graph),
        Chore::Contract { seal: true, .. } => contract::seal(&root),
        Chore::Contract { old, new, since, .. } => {
            contract::run(&root, old.as_deref(), new.as_deref(), since.as_deref())
        }
        Chore::Release => release::run(&root),
        Chore::Check => chore::check(&root),
        Chore::Test { more } => chore::test(&root, &more),
        Chore::Fuzz { examples, seed } => chore::fuzz(&root, examples, seed),
        Chore::Faults { rounds, seed, more } => chore::faults(&root, rounds, seed, &more),
        Chore::Model { cases, seed } => chore::model(&root, cases, seed),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("xtask: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// The repository: two folders above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies in crates/ of the repository").to_owned()
}
