//! Circles of a directed graph: its strongly connected components of more than one node (Tarjan, 1972).

use std::collections::{BTreeMap, BTreeSet};

/// Each node with the nodes that it leads to.
pub type Graph = BTreeMap<usize, BTreeSet<usize>>;

/// All circles, each with its nodes in order.
pub fn of(graph: &Graph) -> Vec<BTreeSet<usize>> {
    let mut search = Search { graph, order: BTreeMap::new(), stack: Vec::new(), circles: Vec::new() };
    for node in graph.keys() {
        if !search.order.contains_key(node) {
            search.visit(*node);
        }
    }
    search.circles.sort();
    search.circles
}

struct Search<'g> {
    graph: &'g Graph,
    /// When each node was first met.
    order: BTreeMap<usize, usize>,
    stack: Vec<usize>,
    circles: Vec<BTreeSet<usize>>,
}

impl Search<'_> {
    /// Visits a node and everything that it reaches. Returns when the earliest node on the stack that it reaches was
    /// met.
    fn visit(&mut self, node: usize) -> usize {
        let met = self.order.len();
        self.order.insert(node, met);
        self.stack.push(node);
        let mut earliest = met;
        for next in self.graph.get(&node).into_iter().flatten() {
            let reached = match self.order.get(next) {
                None => self.visit(*next),
                Some(met) if self.stack.contains(next) => *met,
                Some(_) => continue,
            };
            earliest = earliest.min(reached);
        }
        if earliest == met {
            let at =
                self.stack.iter().position(|it| *it == node).expect("a node is on the stack until its circle ends");
            let circle: BTreeSet<usize> = self.stack.drain(at..).collect();
            if circle.len() > 1 {
                self.circles.push(circle);
            }
        }
        earliest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let mut graph = Graph::new();
        edges.iter().for_each(|(from, to)| {
            graph.entry(*from).or_default().insert(*to);
        });
        of(&graph).into_iter().map(|circle| circle.into_iter().collect()).collect()
    }

    #[test]
    fn a_graph_that_only_descends_has_no_circle() {
        assert!(circles(&[(1, 2), (1, 3), (2, 4), (3, 4), (4, 5)]).is_empty());
    }

    #[test]
    fn circles_are_found_apart_and_without_what_leads_to_them() {
        let edges = [(1, 2), (2, 3), (3, 2), (3, 4), (4, 5), (5, 6), (6, 4), (6, 7)];
        assert_eq!(circles(&edges), [vec![2, 3], vec![4, 5, 6]]);
    }

    #[test]
    fn circles_that_share_a_node_are_one() {
        assert_eq!(circles(&[(1, 2), (2, 1), (2, 3), (3, 2)]), [vec![1, 2, 3]]);
    }
}
