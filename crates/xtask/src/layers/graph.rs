//! The imports between layers and areas, for the documentation.

use std::collections::BTreeMap;

use crate::layers::{imports::Import, order::Order, tree::Tree};

/// A line for each pair of layers or areas with imports between them, with their number, from the top layer down.
pub fn text(order: &Order, tree: &Tree, imports: &[Import]) -> String {
    let mut edges: BTreeMap<_, usize> = BTreeMap::new();
    for Import { from, to, .. } in imports {
        let (from, to) = (room(order, &tree.files[*from].path), room(order, &tree.files[*to].path));
        if from != to {
            *edges.entry((from, to)).or_default() += 1;
        }
    }
    let line = |((from, to), number): ((Room, Room), usize)| format!("{} -> {}: {number}\n", name(from), name(to));
    edges.into_iter().map(line).collect()
}

/// The row of a file's layer in the table, the layer, and the area.
type Room<'f> = (usize, &'f str, &'f str);

fn room<'f>(order: &Order, file: &'f str) -> Room<'f> {
    let layer = order.layers_of(file).first().copied().unwrap_or("no layer");
    let area = file.split('/').find(|folder| order.areas.contains(folder)).unwrap_or_default();
    (order.row(layer).unwrap_or(usize::MAX), layer, area)
}

fn name((_, layer, area): Room) -> String {
    if area.is_empty() { layer.to_owned() } else { format!("{layer}/{area}") }
}
