//! Verification: how fast a log is verified, compared with only reading and hashing the same leaves with SHA-256, from
//! the same files and with as many threads as `lethe-audit` has, which is one for each core. The events are made up, as
//! long as a sealed work day.

use std::{fs, path::Path, time::Instant};

use auditor::{
    source::Source,
    verify::{Trust, verify},
};
use aws_lc_rs::digest;
use transparency::{Edge, LogKey, Policy, TILE_HASHES, bundle, entries, record_hash, sign_checkpoint, tile_path};

use crate::outcome::BenchResult;

pub async fn run(events: u64, rounds: usize) -> BenchResult<()> {
    let folder = tempfile::tempdir()?;
    let (note, key) = make(folder.path(), events)?;
    let (policy, notes) = (Policy::of(key), [note]);
    let trust = Trust { policy: &policy, checkpoints: &notes, against: None };
    let source = Source::Folder(folder.path().into());
    let threads = std::thread::available_parallelism()?.get() as u64;
    let (mut verified, mut hashed, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let started = Instant::now();
        let found = verify(&source, &trust).await?;
        verified.push(started.elapsed().as_secs_f64());
        if !found.findings.is_empty() {
            return Err(format!("the log does not verify: {:?}", found.findings).into());
        }
        let started = Instant::now();
        bytes = hash(folder.path(), events, threads)?;
        hashed.push(started.elapsed().as_secs_f64());
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (verified, hashed) = (median(&mut verified), median(&mut hashed));
    #[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
    let (count, mib) = (events as f64, bytes as f64 / 1_048_576.0);
    println!(
        "A folder of {events} events ({mib:.0} MiB of leaves), {threads} core(s) for both; `taskset -c 0` compares on one\n"
    );
    println!("| | s | events/s | ratio to hashing |\n|---|---:|---:|---:|");
    println!("| SHA-256 of the same leaves | {hashed:.2} | {:.0} | 1.00 |", count / hashed);
    println!("| lethe-audit verify | {verified:.2} | {:.0} | {:.2} |", count / verified, hashed / verified);
    Ok(())
}

/// Writes a log as a folder. Returns its checkpoint and key.
fn make(folder: &Path, events: u64) -> BenchResult<(String, LogKey)> {
    let mut edge = Edge::default();
    let write = |path: String, bytes: &[u8]| -> BenchResult<()> {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().ok_or("a path has a folder")?)?;
        Ok(fs::write(path, bytes)?)
    };
    for number in 0..events.div_ceil(TILE_HASHES) {
        let range = number * TILE_HASHES..((number + 1) * TILE_HASHES).min(events);
        let width = range.end - range.start;
        let leaves: Vec<Vec<u8>> = range.map(leaf).collect();
        let bytes = bundle(leaves.iter().map(Vec::as_slice)).ok_or("a leaf is too long")?;
        write(tile_path("entries", number, width), &bytes)?;
        let mut full = Vec::new();
        leaves.iter().for_each(|leaf| edge.push(record_hash(leaf), &mut |tile| full.push(tile)));
        for tile in full {
            write(tile_path(&tile.level.to_string(), tile.tile, TILE_HASHES), &tile.hashes)?;
        }
    }
    for tile in edge.partial().collect::<Vec<_>>() {
        let width = (tile.hashes.len() / 32) as u64;
        write(tile_path(&tile.level.to_string(), tile.tile, width), &tile.hashes)?;
    }
    let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32])?;
    let public = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref().try_into()?;
    let key = LogKey::new("bench.example/log", public)?;
    let sign = |body: &[u8]| pair.sign(body).as_ref().try_into();
    Ok((sign_checkpoint(&key, events, edge.root(), sign)?.note, key))
}

fn leaf(number: u64) -> Vec<u8> {
    let (id, sealed) = (number.to_be_bytes().repeat(2), "q".repeat(200));
    transparency::Leaf {
        aggregate_type: "record",
        aggregate_id: "2f1d6a53-6c1f-4b7e-9a44-0d2f3f1f7a10",
        sequence: 1,
        event_type: "record.submitted",
        event_version: "1.0",
        payload: &format!("{{\"sealed\":\"{sealed}\"}}"),
        metadata: &format!(
            "{{\"request\":\"5f4c6e5b-91c1-4a0b-8f57-6a4e2d6f0a11\",\"role\":\"subject\",\"trail\":\"{sealed}\"}}"
        ),
        event_id: id.as_slice().try_into().expect("sixteen bytes"),
        subject_id: [1; 16],
        kind: "work_day",
        recorded_at_us: i64::try_from(number).expect("few"),
    }
    .to_bytes()
}

/// Reads and hashes all leaves; each thread takes its share of the bundles. Returns the number of bytes.
fn hash(folder: &Path, events: u64, threads: u64) -> BenchResult<u64> {
    std::thread::scope(|scope| {
        let shares: Vec<_> =
            (0..threads).map(|share| scope.spawn(move || hash_share(folder, events, share, threads))).collect();
        shares.into_iter().map(|share| share.join().map_err(|_| "a thread has panicked")?).sum()
    })
}

fn hash_share(folder: &Path, events: u64, share: u64, threads: u64) -> BenchResult<u64> {
    let mut bytes = 0;
    for number in (share..events.div_ceil(TILE_HASHES)).step_by(usize::try_from(threads)?) {
        let width = (events - number * TILE_HASHES).min(TILE_HASHES);
        let file = fs::read(folder.join(tile_path("entries", number, width)))?;
        for leaf in entries(&file).ok_or("a bundle is damaged")? {
            std::hint::black_box(digest::digest(&digest::SHA256, leaf));
            bytes += leaf.len() as u64;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_is_hashed_once_however_many_threads_there_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let events = 3 * TILE_HASHES + 7;
        make(folder.path(), events).expect("made");
        let length: u64 = (0..events).map(|number| leaf(number).len() as u64).sum();
        for threads in [1, 2, 3, 8] {
            assert_eq!(hash(folder.path(), events, threads).expect("hashed"), length, "{threads} threads");
        }
    }
}
