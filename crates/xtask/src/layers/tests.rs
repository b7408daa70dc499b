//! A small repository without faults, and each way to break it.

use std::fs;

use tempfile::TempDir;

use crate::layers::{
    faults, graph, imports,
    order::{Layer, Order},
    tree::Tree,
};

const ORDER: Order = Order {
    layers: &[
        Layer("cli", &["src/main.rs", "src/cli.rs"]),
        Layer("http", &["src/http/"]),
        Layer("jobs", &["src/jobs/"]),
        Layer("app", &["src/app/"]),
        Layer("domain", &["domain/"]),
        Layer("context", &["crates/context/"]),
    ],
    apart: &[("http", "jobs")],
    outside: &[Layer("lethe", &["src/lib.rs"])],
    areas: &["rights"],
    without_statements: &["http", "app"],
};

/// A repository without faults, although its comments, texts and tests name files that they must not import.
const SOUND: &[(&str, &str)] = &[
    ("src/main.rs", "mod cli;\nfn main() { lethe::http::serve(); cli::run(); }"),
    ("src/cli.rs", "use lethe::app::{self, App};\npub fn run() { app::rights::erasure::run(&App) }"),
    ("src/lib.rs", "pub mod app;\npub mod http;\npub mod jobs;"),
    ("src/http/mod.rs", "use crate::app::App;\npub fn serve() { App; }"),
    ("src/jobs/mod.rs", "use crate::app::rights::erasure;\npub fn run() { erasure::run(&crate::app::App) }"),
    ("src/app/mod.rs", "mod state;\npub mod rights;\npub use state::App;"),
    (
        "src/app/state.rs",
        "/// Not [`crate::http::serve`].\npub struct App;\nconst TEXT: &str = \"crate::http::serve()\";\n// use crate::http;",
    ),
    ("src/app/rights/mod.rs", "#[cfg(test)]\nmod cases;\npub mod erasure;\npub mod hold;\n#[cfg(test)]\nfn case() {}"),
    (
        "src/app/rights/erasure.rs",
        "use super::{super::App, hold::Hold};\npub fn run(_: &App) { Hold; }\n\
         #[cfg(test)]\nuse crate::jobs;\nimpl Run { #[cfg(test)] fn case() { crate::http::serve() } }\n\
         fn outer() { #[cfg(all(test, unix))] fn inner() { crate::http::serve() } }\n\
         #[cfg(test)]\nmod tests { use crate::http; #[test] fn it() { crate::jobs::run() } }",
    ),
    ("src/app/rights/hold.rs", "pub struct Hold(pub domain::Id);"),
    ("src/app/rights/cases.rs", "use crate::http::serve;"),
    ("domain/lib.rs", "mod id;\nmod kinds;\npub use id::*;\npub use kinds::KINDS;\npub use context::Ctx;"),
    ("domain/id.rs", "use context::Ctx;\npub struct Id(Ctx);"),
    ("domain/kinds.rs", "use crate::Id;\npub const KINDS: &[Id] = &[];"),
    ("domain/tests/main.rs", "use lethe::http;"),
    ("crates/context/src/lib.rs", "pub struct Ctx;"),
    ("crates/context/tests/main.rs", "use lethe::http;"),
];

struct Repository(TempDir);

impl Repository {
    fn sound() -> Self {
        let repository = Self(tempfile::tempdir().expect("a folder"));
        SOUND.iter().for_each(|(path, text)| repository.put(path, text));
        repository
    }

    fn with(path: &str, text: &str) -> Self {
        let repository = Self::sound();
        repository.put(path, text);
        repository
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn read(&self) -> Tree {
        Tree::read(self.0.path()).expect("read")
    }

    fn check(&self) -> Result<String, String> {
        let tree = self.read();
        faults::check(&ORDER, &tree, &imports::of(&tree))
    }

    /// The faults alone, without the line of numbers.
    fn faults(&self) -> Vec<String> {
        let text = self.check().expect_err("it is refused");
        text.split("\n  ").skip(1).map(str::to_owned).collect()
    }

    /// Each import from a file: its line, its path and the file that it leads to.
    fn imports_of(&self, file: &str) -> Vec<String> {
        let tree = self.read();
        let from_it = imports::of(&tree).into_iter().filter(|import| tree.files[import.from].path == file);
        from_it.map(|import| format!("{} {} {}", import.line, import.path, tree.files[import.to].path)).collect()
    }
}

fn must_not(place: &str, from: &str, to: &str, path: &str) -> String {
    format!("{place}: {from} must not import {to} ({path}): the order of layers is in crates/xtask/src/layers.rs")
}

#[test]
fn a_sound_tree_passes_with_its_numbers() {
    let numbers = Repository::sound().check().expect("it is sound");
    assert_eq!(numbers, "layers: 14 files, 17 imports, 0 circles");
}

#[test]
fn an_import_that_climbs_is_refused() {
    let text = "use std::fmt;\nuse crate::{\n    app::App,\n    http::{self as server, serve as start},\n};";
    let faults = Repository::with("src/app/rights/hold.rs", text).faults();
    let expected =
        ["crate::http", "crate::http::serve"].map(|path| must_not("src/app/rights/hold.rs:4", "app", "http", path));
    assert_eq!(faults, expected);
}

#[test]
fn a_path_in_the_code_that_climbs_is_refused_wherever_it_stands() {
    for text in [
        "\npub fn run() { crate::http::serve() }",
        "\npub fn run() { println!(\"{}\", super::super::super::http::serve()) }",
        "\npub fn run(_: Option<crate::http::Server>) {}",
        "\n#[arg(value_parser = crate::http::parse)] pub struct Hold;",
        "\npub fn run() { use crate::http::serve; serve() }",
        "\nimpl crate::http::Serve for Hold {}",
    ] {
        let faults = Repository::with("src/app/rights/hold.rs", text).faults();
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(faults[0].starts_with("src/app/rights/hold.rs:2: app must not import http ("), "{text}: {faults:?}");
    }
}

#[test]
fn a_crate_below_must_not_import_a_crate_above() {
    let faults = Repository::with("crates/context/src/lib.rs", "pub struct Ctx;\npub use ::domain::Id;").faults();
    // Refused for its layer. It does not count as a circle, because a re-export uses nothing.
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0], must_not("crates/context/src/lib.rs:2", "context", "domain", "::domain::Id"));
    let faults = Repository::with("crates/context/src/lib.rs", "pub struct Ctx;\nuse ::domain::Id;").faults();
    assert!(faults[1].starts_with("domain/id.rs, crates/context/src/lib.rs: 2 files import one another"), "{faults:?}");
}

#[test]
fn a_statement_outside_its_layer_is_refused() {
    for text in [
        "fn hold_get() -> Query {\n    Query::new(\"-- hold_get\\nSELECT 1\")\n}",
        "fn hold_get() -> Query {\n    db::Query::new(sql!(\"-- hold_get\\nSELECT \", COLUMNS))\n}",
        "\nconst SQL: &str = \"SELECT 1\";",
        "\nfn hold_get(text: &'static str) -> Query { Query::new(match text { text => text }) }",
        "fn run() {\n    client.execute(\"  DELETE FROM holds\", &[]) }",
        "fn run() {\n    format!(\"UPDATE {table} SET a = 1\") }",
    ] {
        let faults = Repository::with("src/app/rights/hold.rs", &format!("pub struct Hold;{text}")).faults();
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(faults[0].starts_with("src/app/rights/hold.rs:2: app must not hold SQL"), "{text}: {faults:?}");
    }
    for text in
        ["const TEXT: &str = \"Select a file\";", "#[cfg(test)]\nconst SQL: &str = \"SELECT 1\";", "// SELECT 1"]
    {
        let repository = Repository::with("src/app/rights/hold.rs", &format!("pub struct Hold;{text}"));
        repository.check().expect("no statement stands there");
    }
}

#[test]
fn a_statement_has_a_name_of_its_own() {
    let named = |name: &str| format!("pub struct Id;\nfn id_get() {{ Query::new(\"{name}SELECT 1\"); }}");
    Repository::with("domain/id.rs", &named("-- id_get\\n")).check().expect("it has");
    for without in ["", "-- Id get\\n", "-- id_get "] {
        let faults = Repository::with("domain/id.rs", &named(without)).faults();
        assert!(faults[0].starts_with("domain/id.rs:2: the statement's first line must be its name"), "{faults:?}");
    }
    let repository = Repository::with("domain/id.rs", &named("-- id_get\\n"));
    repository.put("domain/kinds.rs", "pub const KINDS: () = ();\nfn get() { Query::new(\"-- id_get\\nSELECT 2\"); }");
    let faults = repository.faults();
    let [named_otherwise, twice] = faults.as_slice() else { panic!("{faults:?}") };
    assert!(
        named_otherwise.starts_with("domain/kinds.rs:2: the function `get` makes the statement `id_get`"),
        "{faults:?}"
    );
    assert_eq!(twice, "domain/kinds.rs:2: the statement at domain/id.rs:2 is named `id_get` too");
}

#[test]
fn layers_that_are_apart_import_one_another_in_neither_direction() {
    let down = Repository::with("src/http/mod.rs", "use crate::jobs;\npub fn serve() { jobs::run() }").faults();
    assert_eq!(down, [must_not("src/http/mod.rs:1", "http", "jobs", "crate::jobs")]);
    let up = Repository::with("src/jobs/mod.rs", "pub fn run() { crate::http::serve() }").faults();
    assert_eq!(up, [must_not("src/jobs/mod.rs:1", "jobs", "http", "crate::http::serve")]);
}

#[test]
fn a_circle_of_two_is_refused_with_an_import_for_each_step() {
    let text = "pub struct Hold;\nfn run() { super::erasure::run(); super::erasure::run() }";
    let faults = Repository::with("src/app/rights/hold.rs", text).faults();
    let expected = "src/app/rights/erasure.rs, src/app/rights/hold.rs: 2 files import one another in a circle:\
                    \n    src/app/rights/erasure.rs:1: imports src/app/rights/hold.rs (super::hold::Hold)\
                    \n    src/app/rights/hold.rs:2: imports src/app/rights/erasure.rs (super::erasure::run)";
    assert_eq!(faults.join("\n  "), expected);
}

#[test]
fn a_circle_of_three_is_found_through_a_facade_and_its_globs() {
    let repository = Repository::sound();
    repository.put(
        "domain/lib.rs",
        "mod id;\nmod kinds;\nmod text;\npub use id::*;\npub use kinds::KINDS;\npub use text::Text;",
    );
    repository.put("domain/id.rs", "use crate::Text;\npub struct Id(Text);");
    repository.put(
        "domain/text.rs",
        "\nuse crate::*;\npub struct Text;\nconst N: usize = KINDS.len();\nconst OK: () = assert!(it.Id);",
    );
    let expected = "domain/id.rs, domain/kinds.rs, domain/text.rs: 3 files import one another in a circle:\
                    \n    domain/id.rs:1: imports domain/text.rs (crate::Text)\
                    \n    domain/kinds.rs:1: imports domain/id.rs (crate::Id)\
                    \n    domain/text.rs:4: imports domain/kinds.rs (KINDS)";
    assert_eq!(repository.faults().join("\n  "), expected);
}

#[test]
fn a_root_that_defines_something_is_part_of_circles() {
    for (defined, path) in
        [("pub struct Unit;", "super::Unit"), ("pub mod unit { pub struct Unit; }", "super::unit::Unit")]
    {
        let root = format!("mod state;\npub mod rights;\nuse state::App;\n{defined}");
        let repository = Repository::with("src/app/mod.rs", &root);
        repository.check().expect("nothing imports the unit");
        repository.put("src/app/state.rs", &format!("pub struct App({path});"));
        let faults = repository.faults();
        assert!(faults[0].starts_with("src/app/mod.rs, src/app/state.rs: 2 files import one another"), "{faults:?}");
    }
}

#[test]
fn every_file_has_a_layer_and_a_module_that_declares_it() {
    let repository =
        Repository::with("src/lib.rs", "pub mod app;\npub mod http;\npub mod jobs;\nmod place;\nmod gone;");
    repository.put("src/place.rs", "");
    repository.put("src/app/lost.rs", "");
    repository.put("src/http/mod.rs", "fn serve( {}");
    let faults = repository.faults();
    assert_eq!(
        faults[..3],
        [
            "src/http/mod.rs:1: cannot parse string into token stream",
            "src/lib.rs:5: there is no file for `mod gone`",
            "src/app/lost.rs: no module declares this file",
        ]
    );
    assert_eq!(faults[3], "src/place.rs: it belongs to no layer: place every module in crates/xtask/src/layers.rs");
}

#[test]
fn a_path_that_begins_with_an_imported_name_counts_where_it_leads_further() {
    let imports = Repository::sound().imports_of("src/cli.rs");
    assert_eq!(
        imports,
        [
            "1 lethe::app src/app/mod.rs",
            "1 lethe::app::App src/app/state.rs",
            "2 app::rights::erasure::run src/app/rights/erasure.rs",
        ]
    );
}

#[test]
fn names_are_found_behind_other_names() {
    let repository = Repository::with(
        "src/app/rights/hold.rs",
        "use domain as d;\nuse crate::app::rights as r;\npub use r::erasure::run as go;\npub struct Hold(d::Ctx, made::Up);\n\
         mod made { pub struct Up(super::super::super::App, super::d::KINDS, crate::app::state::by_macro); }",
    );
    assert_eq!(
        repository.imports_of("src/app/rights/hold.rs"),
        [
            "1 domain domain/lib.rs",
            "2 crate::app::rights src/app/rights/mod.rs",
            "3 r::erasure::run src/app/rights/erasure.rs",
            "4 d::Ctx crates/context/src/lib.rs",
            "5 crate::app::state::by_macro src/app/state.rs",
            "5 super::d::KINDS domain/kinds.rs",
            "5 super::super::super::App src/app/state.rs",
        ]
    );
}

#[test]
fn a_function_may_have_the_name_of_its_module() {
    let repository = Repository::with("src/jobs/mod.rs", "mod run;\npub use run::run;");
    repository.put("src/jobs/run.rs", "pub fn run() {}");
    repository.put("src/cli.rs", "use lethe::jobs::run;\npub fn start() { run(); lethe::jobs::run::run() }");
    assert_eq!(
        repository.imports_of("src/cli.rs"),
        ["1 lethe::jobs::run src/jobs/run.rs", "2 lethe::jobs::run::run src/jobs/run.rs",]
    );
}

#[test]
fn the_graph_names_layers_and_areas_from_the_top() {
    let repository = Repository::sound();
    let tree = repository.read();
    let graph = graph::text(&ORDER, &tree, &imports::of(&tree));
    let lines: Vec<&str> = graph.lines().collect();
    assert_eq!(
        lines,
        [
            "cli -> http: 1",
            "cli -> app: 2",
            "cli -> app/rights: 1",
            "http -> app: 1",
            "jobs -> app: 1",
            "jobs -> app/rights: 1",
            "app/rights -> app: 1",
            "app/rights -> domain: 1",
            "domain -> context: 2",
        ]
    );
}
