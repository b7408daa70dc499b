//! The rules of the layers, and what breaks them, in words.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers::{
    circles,
    imports::Import,
    order::Order,
    statements,
    tree::{FileId, Tree},
};

/// The numbers of a tree without faults, or everything that is wrong.
pub fn check(order: &Order, tree: &Tree, imports: &[Import]) -> Result<String, String> {
    let unplaced = unplaced(order, tree);
    let climbs: Vec<String> = imports.iter().filter_map(|import| climb(order, tree, import)).collect();
    let (circles, statements) = (circles(tree, imports), statements::faults(order, tree));
    let all = [&tree.faults, &unplaced, &climbs, &circles, &statements];
    if all.iter().all(|faults| faults.is_empty()) {
        return Ok(format!("layers: {} files, {} imports, 0 circles", tree.files.len(), imports.len()));
    }
    let numbers = format!(
        "layers: {} files cannot be read or are not declared, {} have no layer of their own, {} imports climb, {} circles, {} statements out of place or without a name",
        tree.faults.len(),
        unplaced.len(),
        climbs.len(),
        circles.len(),
        statements.len()
    );
    Err(all.into_iter().flatten().fold(numbers, |text, fault| format!("{text}\n  {fault}")))
}

/// Files that belong to no layer, or to more than one.
fn unplaced(order: &Order, tree: &Tree) -> Vec<String> {
    let fault = |path: &str| match order.layers_of(path).as_slice() {
        [_] => None,
        [] => Some(format!("{path}: it belongs to no layer: place every module in crates/xtask/src/layers.rs")),
        several => Some(format!("{path}: it belongs to several layers: {}", several.join(", "))),
    };
    tree.files.iter().filter_map(|file| fault(&file.path)).collect()
}

/// The fault of an import that the order forbids. A file without a layer of its own has its own fault.
fn climb(order: &Order, tree: &Tree, import: &Import) -> Option<String> {
    let layer = |file: FileId| <[&str; 1]>::try_from(order.layers_of(&tree.files[file].path)).ok();
    let ([from], [to]) = (layer(import.from)?, layer(import.to)?);
    let (place, path) = (place(tree, import), &import.path);
    let fault = || {
        format!("{place}: {from} must not import {to} ({path}): the order of layers is in crates/xtask/src/layers.rs")
    };
    order.forbids(from, to).then(fault)
}

/// Every circle, with one import for each step in it. A facade stands for other files and is in no circle.
fn circles(tree: &Tree, imports: &[Import]) -> Vec<String> {
    let mut steps: BTreeMap<(FileId, FileId), &Import> = BTreeMap::new();
    let mut graph = circles::Graph::new();
    let is_facade = |file: FileId| tree.files[file].is_facade;
    for import in imports.iter().filter(|it| !it.is_re_export && !is_facade(it.from) && !is_facade(it.to)) {
        steps.entry((import.from, import.to)).or_insert(import);
        graph.entry(import.from).or_default().insert(import.to);
    }
    let text = |circle: &BTreeSet<FileId>| {
        let files: Vec<&str> = circle.iter().map(|file| tree.files[*file].path.as_str()).collect();
        let within = steps.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
        let step = |import: &Import| {
            format!("\n    {}: imports {} ({})", place(tree, import), tree.files[import.to].path, import.path)
        };
        let steps: String = within.map(|(_, import)| step(import)).collect();
        format!("{}: {} files import one another in a circle:{steps}", files.join(", "), files.len())
    };
    circles::of(&graph).iter().map(text).collect()
}

/// The file and line of an import.
fn place(tree: &Tree, import: &Import) -> String {
    format!("{}:{}", tree.files[import.from].path, import.line)
}
