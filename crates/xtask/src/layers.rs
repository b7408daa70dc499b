//! The order of layers: an import goes to its own layer or to a lower one, and files do not import one another in a
//! circle.
//!
//! Reads the server, `domain`, `projections` and every crate, without their tests, and resolves each `use` and each
//! path in the code to the file that defines the item: a `mod.rs` or `lib.rs` that only declares modules and re-exports
//! stands for the files behind it. Refuses, with file and line: an import that climbs to a higher layer, an import
//! between two layers that must not know one another, a circle of files, a file that has no layer, and a file that no
//! module declares. A `pub use` must not climb either, but it is no part of a circle, because it gives a name and uses
//! nothing.
//!
//! Types are not inferred. A method call names no file, so it is no import; the type on which it is called is one.

mod circles;
mod faults;
mod graph;
mod imports;
mod order;
mod resolve;
mod statements;
#[cfg(test)]
mod tests;
mod tree;
mod use_tree;

use std::path::Path;

use order::{Layer, Order};
use tree::Tree;

/// The order of the layers. A layer imports from itself and from the layers below it.
const ORDER: Order = Order {
    // From the top layer down.
    layers: &[
        Layer("cli", &["src/main.rs", "src/cli.rs", "src/cli/"]),
        Layer("demo", &["src/demo/"]),
        Layer("backup", &["src/backup/"]),
        Layer("server", &["src/server.rs", "src/server/"]),
        Layer("http", &["src/http/"]),
        Layer("jobs", &["src/jobs/"]),
        Layer("app", &["src/app/"]),
        Layer("auth", &["src/auth/"]),
        Layer("export", &["src/export/"]),
        Layer("mail", &["src/mail/"]),
        Layer("data", &["src/data/"]),
        Layer("supervisor", &["src/supervisor.rs", "src/supervisor/"]),
        Layer("projections", &["projections/"]),
        Layer("event_log", &["crates/event_log/"]),
        Layer("vault", &["crates/vault/"]),
        Layer("db", &["crates/db/"]),
        Layer("domain", &["domain/"]),
        Layer("listen", &["crates/listen/"]),
        Layer("terminal", &["crates/terminal/"]),
        Layer("transparency", &["crates/transparency/"]),
        Layer("noise", &["crates/noise/"]),
        Layer("context", &["crates/context/"]),
    ],
    // Neither imports the other.
    apart: &[("http", "jobs")],
    // Programs of their own, and the root, which declares the modules of every layer.
    outside: &[
        Layer("lethe", &["src/lib.rs"]),
        Layer("bench", &["crates/bench/"]),
        Layer("faults", &["crates/faults/"]),
        Layer("auditor", &["crates/auditor/"]),
        Layer("xtask", &["crates/xtask/"]),
        // A derive: `db` brings it, and the code that it writes names `db`.
        Layer("from_row", &["crates/from_row/"]),
    ],
    // Folders below a layer that `--graph` shows on their own; they have no order among themselves.
    areas: &["identity", "records", "rights", "statistics", "log", "desk", "operation"],
    // A statement stands in the layer that owns its tables. `backup`, `server` and `demo` hold what a superuser's session does.
    without_statements: &["cli", "http", "jobs", "app", "export", "data", "domain", "context"],
};

/// Checks the repository and prints its numbers; with `graph`, prints the imports between layers and areas instead.
pub fn run(root: &Path, graph: bool) -> Result<(), String> {
    let tree = Tree::read(root)?;
    let imports = imports::of(&tree);
    if graph {
        print!("{}", graph::text(&ORDER, &tree, &imports));
        return Ok(());
    }
    println!("{}", faults::check(&ORDER, &tree, &imports)?);
    Ok(())
}
