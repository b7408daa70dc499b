//! Verifying: the events of a log are compared with checkpoints that its operator signed, without a key of any person.
//!
//! Two trees are grown side by side: one of the events as they stand, one of the hashes that the tiles claim. If the
//! tiles have the root of a checkpoint, they can be trusted, and an event that differs from its tile is named by its
//! index. If neither tree has the root, checkpoints that were signed earlier say between which sizes the change lies.
//! `against`, a copy that was taken while the log was sound, is used instead of the tiles: it names the index again,
//! and the columns too.

use std::collections::BTreeMap;

use serde::Serialize;
use transparency::{Checkpoint, Edge, Hash, Leaf, LogKey, Policy, TILE_HASHES, tile_width};

use crate::{
    error::AuditError,
    finding::Finding,
    source::{Described, Source},
};

/// An event is back-dated if its time lies more than this before the time of the event before it.
const OUT_OF_TIME_US: i64 = 5 * 60 * 1_000_000;

/// The result of a verification.
#[derive(Debug, Serialize)]
pub struct Verified {
    pub origin: String,
    /// How many leaves the newest checkpoint covers.
    pub size: u64,
    /// How many checkpoints the events were compared with.
    pub checkpoints: usize,
    /// What the first leaf of the tree says about an earlier tree; `None` if there was none.
    pub goes_on_from: Option<serde_json::Value>,
    /// What is wrong; empty if nothing is.
    pub findings: Vec<Finding>,
}

/// What an auditor trusts.
pub struct Trust<'t> {
    /// The logs whose checkpoints are believed, and the witnesses that must have cosigned.
    pub policy: &'t Policy,
    /// Checkpoints from outside.
    pub checkpoints: &'t [String],
    /// A copy that was taken while the log was sound.
    pub against: Option<&'t Source>,
}

pub async fn verify(source: &Source, trust: &Trust<'_>) -> Result<Verified, AuditError> {
    let newest = trust.newest()?;
    let key = trust.key(&newest)?;
    let described = source.describe(&newest.origin).await?;
    let mut findings = Vec::new();
    if !trust.policy.is_witnessed(&newest) {
        findings.push(Finding::NotWitnessed);
    }
    let claims = trust.against.unwrap_or(source);
    let claimed = claims.describe(&newest.origin).await?;
    let (known, forked) = trust.known(key, [&described, &claimed], &newest);
    findings.extend(forked);
    // The copy holds only the events up to the time at which it was taken.
    let copied = trust
        .against
        .and(claimed.notes.iter().filter_map(|note| Checkpoint::verify(note, key).ok()).map(|it| it.size).max());
    let mut walk = Walk::new(known, copied.unwrap_or(newest.size));
    let (mut leaves, mut first_leaf) =
        (source.leaves(described.begins, described.ends.unwrap_or(newest.size).min(newest.size)).await?, None);
    let mut number = 0;
    while number * TILE_HASHES < newest.size {
        let part = leaves.next().await?;
        let width = tile_width(copied.unwrap_or(newest.size).min(newest.size), 0, number);
        let tile = claims.tile(claimed.tree, 0, number, width).await?;
        let (bytes, hashes) = part.map(|part| (part.leaves, part.hashes)).unwrap_or_default();
        if number == 0 {
            first_leaf = bytes.first().cloned();
        }
        let finished = walk.take(bytes, hashes, tile.as_deref());
        number += 1;
        if finished {
            break;
        }
    }
    let wrong = walk.finding(newest.size);
    let sound = wrong.is_none();
    findings.extend(wrong);
    if sound && trust.against.is_none() {
        walk.inner.extend(walk.events.partial().filter(|tile| tile.level > 0));
        findings.extend(inner_tiles(source, &described, walk.inner).await?);
    }
    if let (Some(Finding::Edited { index, columns }), Some(copy)) = (findings.last_mut(), trust.against) {
        *columns = differing(source, copy, &described, *index, newest.size).await?;
    }
    let goes_on_from = first_leaf.as_deref().and_then(opening);
    findings.extend(before_first(source, described.begins, goes_on_from.clone()).await?);
    Ok(Verified {
        origin: newest.origin.clone(),
        size: newest.size,
        checkpoints: walk.known.len(),
        goes_on_from,
        findings,
    })
}

impl Trust<'_> {
    /// The checkpoint from outside that covers the most leaves.
    fn newest(&self) -> Result<Checkpoint, AuditError> {
        let mut newest: Option<Checkpoint> = None;
        for note in self.checkpoints {
            let checkpoint = Checkpoint::unverified(note)?;
            Checkpoint::verify(note, self.key(&checkpoint)?)?;
            if newest.as_ref().is_some_and(|known| known.origin != checkpoint.origin) {
                return Err(AuditError::SeveralLogs);
            }
            if newest.as_ref().is_none_or(|known| known.size <= checkpoint.size) {
                newest = Some(checkpoint);
            }
        }
        newest.ok_or(AuditError::NoCheckpoint)
    }

    fn key(&self, checkpoint: &Checkpoint) -> Result<&LogKey, AuditError> {
        let known = self.policy.logs.iter().find(|key| key.origin() == checkpoint.origin);
        known.ok_or_else(|| AuditError::UnknownOrigin(checkpoint.origin.clone()))
    }

    /// All checkpoints that the log's key signed, by size; and the sizes for which the key signed two different roots.
    fn known(
        &self,
        key: &LogKey,
        described: [&Described; 2],
        newest: &Checkpoint,
    ) -> (BTreeMap<u64, Hash>, Vec<Finding>) {
        let (mut known, mut forked) = (BTreeMap::from([(newest.size, newest.root)]), Vec::new());
        for note in self.checkpoints.iter().chain(described.into_iter().flat_map(|it| &it.notes)) {
            // A note that does not verify is skipped, because anybody may have written it.
            let Ok(checkpoint) = Checkpoint::verify(note, key) else { continue };
            match known.get(&checkpoint.size) {
                Some(root) if *root != checkpoint.root => forked.push(Finding::Forked { size: checkpoint.size }),
                _ if checkpoint.size > newest.size => {}
                _ => drop(known.insert(checkpoint.size, checkpoint.root)),
            }
        }
        (known, forked)
    }
}

/// The part of the log from the first difference between events and claims on.
struct Window {
    index: u64,
    /// The event before the first difference, and the event at the first difference.
    around: [Option<Vec<u8>>; 2],
    /// The hashes of all events from the first difference on.
    events: Vec<Hash>,
}

/// Both trees, as far as they have grown.
struct Walk {
    known: BTreeMap<u64, Hash>,
    events: Edge,
    claims: Edge,
    /// For each checkpoint, by its size: whether the events and whether the claims had its root.
    held: BTreeMap<u64, (bool, bool)>,
    window: Option<Window>,
    previous: Option<Vec<u8>>,
    all_claims: Vec<Hash>,
    /// How many claims there can be.
    claimable: u64,
    /// Full tiles above the leaves, as they follow from the events.
    inner: Vec<transparency::Grown>,
}

impl Walk {
    fn new(known: BTreeMap<u64, Hash>, claimable: u64) -> Self {
        Self {
            known,
            events: Edge::default(),
            claims: Edge::default(),
            held: BTreeMap::new(),
            window: None,
            previous: None,
            all_claims: Vec::new(),
            claimable,
            inner: Vec::new(),
        }
    }

    /// Takes the next bundle of events and of claims. Returns true at the end of both.
    fn take(&mut self, leaves: Vec<Vec<u8>>, events: Vec<Hash>, tile: Option<&[u8]>) -> bool {
        let claims: Vec<Hash> = tile
            .into_iter()
            .flat_map(|tile| tile.chunks_exact(32))
            .map(|hash| Hash(hash.try_into().expect("32 bytes")))
            .collect();
        let first = self.events.size().max(self.claims.size());
        let before = std::mem::replace(&mut self.previous, leaves.last().cloned());
        // After the end of a copy there is nothing to compare with.
        let comparable = usize::try_from(self.claimable.saturating_sub(first)).unwrap_or(usize::MAX);
        let compared = |hashes: &[Hash]| hashes.len().min(comparable);
        if self.window.is_none() && events[..compared(&events)] != claims[..compared(&claims)] {
            let at = events.iter().zip(&claims).position(|(event, claim)| event != claim);
            let at = at.unwrap_or(events.len().min(claims.len()));
            let before = if at > 0 { leaves.get(at - 1).cloned() } else { before };
            let around = [before, leaves.get(at).cloned()];
            let index = first + u64::try_from(at).unwrap_or_default();
            self.window = Some(Window { index, around, events: events.get(at..).unwrap_or_default().to_vec() });
        } else if let Some(window) = &mut self.window {
            window.events.extend_from_slice(&events);
        }
        for place in 0..events.len().max(claims.len()) {
            if let Some(event) = events.get(place) {
                let inner = &mut self.inner;
                self.events.push(*event, &mut |tile| {
                    if tile.level > 0 {
                        inner.push(tile);
                    }
                });
            }
            if let Some(claim) = claims.get(place) {
                self.claims.push(*claim, &mut |_| {});
                self.all_claims.push(*claim);
            }
            let size = first + u64::try_from(place).unwrap_or_default() + 1;
            if let Some(root) = self.known.get(&size) {
                let held = |edge: &Edge| edge.size() == size && edge.root() == *root;
                self.held.insert(size, (held(&self.events), held(&self.claims)));
            }
        }
        events.is_empty() && claims.is_empty()
    }

    /// What is wrong with the events, if anything is.
    fn finding(&self, size: u64) -> Option<Finding> {
        let (events, claims) = self.held.get(&size).copied().unwrap_or((false, false));
        match (&self.window, events, claims) {
            (_, true, _) if self.held.values().any(|held| !held.0) => {
                self.held.iter().find(|(_, held)| !held.0).map(|(size, _)| Finding::Forked { size: *size })
            }
            (None, true, _) => None,
            (Some(window), true, _) => Some(Finding::TileAltered { level: 0, tile: window.index / TILE_HASHES }),
            (Some(window), false, true) => Some(self.told(window, size)),
            _ => {
                let sound = self.held.iter().take_while(|(_, held)| held.0).last().map_or(0, |(size, _)| *size);
                let end = self.events.size();
                if end < size && self.held.range(..=end).all(|(_, held)| held.0) {
                    return Some(Finding::CutOff { index: end, size });
                }
                let to = self.held.iter().find(|(_, held)| !held.0).map_or(size, |(size, _)| *size);
                match &self.window {
                    // The tiles held at a later checkpoint than the events did, so the tiles can be trusted up to
                    // there.
                    Some(window) if self.held.iter().any(|(at, held)| held.1 && window.index < *at) => {
                        Some(self.told(window, size))
                    }
                    _ => Some(Finding::Rebuilt { from: sound, to }),
                }
            }
        }
    }

    /// Tells what was done, from the events after the first difference.
    fn told(&self, window: &Window, size: u64) -> Finding {
        let index = window.index;
        let at = |offset: usize| index + u64::try_from(offset).unwrap_or_default();
        let claims = self.all_claims.get(usize::try_from(index).unwrap_or(usize::MAX)..).unwrap_or_default();
        let Some(first) = window.events.first() else { return Finding::CutOff { index, size } };
        let Some(claim) = claims.first() else {
            return Finding::Inserted { index, count: at(window.events.len()) - index, repeats: self.repeated(*first) };
        };
        let logged_at = claims.iter().position(|claim| claim == first);
        let stands_at = window.events.iter().position(|event| event == claim);
        match (logged_at, stands_at) {
            (Some(_), Some(found)) => Finding::Reordered { index, found_at: at(found) },
            (Some(count), None) => Finding::Removed { index, count: at(count) - index },
            (None, Some(count)) => {
                Finding::Inserted { index, count: at(count) - index, repeats: self.repeated(*first) }
            }
            (None, None) if is_back_dated(&window.around) => Finding::BackDated { index },
            (None, None) => Finding::Edited { index, columns: Vec::new() },
        }
    }

    fn repeated(&self, event: Hash) -> Option<u64> {
        self.all_claims.iter().position(|claim| *claim == event).and_then(|at| u64::try_from(at).ok())
    }
}

/// Whether an event's time lies far before the time of the event before it.
fn is_back_dated([before, leaf]: &[Option<Vec<u8>>; 2]) -> bool {
    let time = |leaf: &Vec<u8>| Leaf::parse(leaf).map(|leaf| leaf.recorded_at_us);
    let (before, own) = (before.as_ref().and_then(time), leaf.as_ref().and_then(time));
    before.zip(own).is_some_and(|(before, own)| own < before - OUT_OF_TIME_US)
}

/// Whether the stored tiles above the leaves follow from the events. Proofs are made of these tiles.
async fn inner_tiles(
    source: &Source,
    described: &Described,
    inner: Vec<transparency::Grown>,
) -> Result<Option<Finding>, AuditError> {
    for tile in inner {
        let width = u64::try_from(tile.hashes.len() / 32).unwrap_or_default();
        if source.tile(described.tree, tile.level, tile.tile, width).await?.as_ref() != Some(&tile.hashes) {
            return Ok(Some(Finding::TileAltered { level: tile.level, tile: tile.tile }));
        }
    }
    Ok(None)
}

/// The columns in which an event differs from a copy of it.
async fn differing(
    source: &Source,
    copy: &Source,
    described: &Described,
    index: u64,
    size: u64,
) -> Result<Vec<String>, AuditError> {
    let copied = copy.describe("").await;
    let copied = copied.unwrap_or(Described { notes: Vec::new(), ..*described });
    let ours = leaf_at(source, described, index, size).await?;
    let theirs = leaf_at(copy, &copied, index, size).await?;
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(Vec::new()) };
    let (Some(ours), Some(theirs)) = (Leaf::parse(&ours), Leaf::parse(&theirs)) else { return Ok(Vec::new()) };
    Ok(theirs.differences(&ours).into_iter().map(str::to_owned).collect())
}

async fn leaf_at(source: &Source, described: &Described, index: u64, size: u64) -> Result<Option<Vec<u8>>, AuditError> {
    let mut leaves = source.leaves(described.begins, size).await?;
    let mut first = 0;
    while let Some(part) = leaves.next().await? {
        let count = u64::try_from(part.leaves.len()).unwrap_or_default();
        if index < first + count {
            return Ok(part.leaves.into_iter().nth(usize::try_from(index - first).unwrap_or_default()));
        }
        first += count;
    }
    Ok(None)
}

/// What the first leaf says about an earlier tree; `None` if the leaf opens no new tree.
fn opening(leaf: &[u8]) -> Option<serde_json::Value> {
    let leaf = Leaf::parse(leaf)?;
    let payload: serde_json::Value = serde_json::from_str(leaf.payload).ok()?;
    (leaf.event_type == "log.origin_opened").then(|| payload.get("OriginOpened").cloned()).flatten()
}

/// Whether the events before the first leaf of a tree are those that the leaf commits to. The same is checked for each
/// earlier tree.
async fn before_first(
    source: &Source,
    begins: u64,
    opening_leaf: Option<serde_json::Value>,
) -> Result<Option<Finding>, AuditError> {
    let (mut begins, mut opened) = (begins, opening_leaf);
    if !matches!(source, Source::Database { .. }) {
        return Ok(None);
    }
    loop {
        let Some(left) = opened else { return Ok((begins > 0).then_some(Finding::Uncovered { count: begins })) };
        let (Some(size), Some(first)) = (left["kept_size"].as_u64(), left["previous_begins"].as_u64()) else {
            return Ok(Some(Finding::Uncovered { count: begins }));
        };
        if first.saturating_add(size) != begins {
            return Ok(Some(Finding::Uncovered { count: begins.abs_diff(first.saturating_add(size)) }));
        }
        let (mut leaves, mut edge, mut first_leaf) = (source.leaves(first, size).await?, Edge::default(), None);
        while let Some(part) = leaves.next().await? {
            first_leaf = first_leaf.or_else(|| part.leaves.first().cloned());
            part.hashes.into_iter().for_each(|hash| edge.push(hash, &mut |_| {}));
        }
        if edge.size() != size || left["kept_root"].as_str() != Some(edge.root().to_string().as_str()) {
            return Ok(Some(Finding::KeptAltered { size }));
        }
        (begins, opened) = (first, first_leaf.as_deref().and_then(opening));
    }
}
