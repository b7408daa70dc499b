//! The witness: cosigns a checkpoint only if it goes on from the checkpoint that the witness saw last (C2SP
//! `tlog-witness`), so that a log cannot show different histories to different people.
//!
//! Promises: a cosigned checkpoint is durable before the answer is sent; one process looks at one checkpoint at a time;
//! answers have the codes of `tlog-witness` v1.0.0. Refuses logs that it was not told of, and everything that
//! contradicts what it has cosigned.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::UNIX_EPOCH,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use poem::{
    Endpoint, EndpointExt, Request, Response, Route, get, handler,
    http::{StatusCode, header},
    post,
    web::{Data, Path as Segment},
};
use transparency::{Checkpoint, Cosigner, EMPTY_HASH, Hash, LogKey, check_consistency};

use crate::{
    error::AuditError,
    state::{State, hash_of},
};

/// The most bytes of a request that are read.
const LONGEST: usize = 64 * 1024;
/// A proof never has more hashes than this.
const MOST_HASHES: usize = 63;

type Signer = Box<dyn Fn(&[u8]) -> [u8; 64] + Send + Sync>;

pub struct Witness {
    logs: Vec<LogKey>,
    cosigner: Cosigner<Signer>,
    state: State,
    /// Held from the look at the checkpoint that was seen last until the next one is durable.
    one_at_a_time: Mutex<()>,
}

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// A signature line, a size, or the reason of a refusal.
    pub text: String,
}

fn answer(status: u16, text: impl Into<String>) -> Answer {
    Answer { status, text: text.into() }
}

impl Witness {
    /// Opens a witness's folder, which no other process may have. A key is made if there is none.
    pub fn open(folder: &Path, name: &str, logs: Vec<LogKey>) -> Result<Self, AuditError> {
        let state = State::open(folder)?;
        let malformed = || io::Error::other("the key of the witness can't be used");
        let pair = Ed25519KeyPair::from_seed_unchecked(&state.seed()?).map_err(|_| malformed())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| malformed())?;
        let sign: Signer =
            Box::new(move |message| pair.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes"));
        let cosigner = Cosigner::new(name, public, sign)?;
        state.show_vkey(&cosigner.vkey())?;
        Ok(Self { logs, cosigner, state, one_at_a_time: Mutex::default() })
    }

    /// The key that verifies the witness's cosignatures.
    pub fn vkey(&self) -> String {
        self.cosigner.vkey()
    }

    /// Answers a request to cosign. `now` is in seconds since 1970.
    pub fn add_checkpoint(&self, body: &[u8], now: u64) -> Answer {
        let Some((old, proof, note)) = parse(body) else { return answer(400, "not an add-checkpoint request\n") };
        let Ok(checkpoint) = Checkpoint::unverified(note) else { return answer(400, "not a checkpoint\n") };
        let keys: Vec<&LogKey> = self.logs.iter().filter(|key| key.origin() == checkpoint.origin).collect();
        if keys.is_empty() {
            return answer(404, "this log is not known here\n");
        }
        let Ok(checkpoint) = Checkpoint::verify_by_any(note, &keys) else {
            return answer(403, "not signed by the log's key\n");
        };
        if old > checkpoint.size {
            return answer(400, "the old size is greater than the new\n");
        }
        let _held = self.one_at_a_time.lock().expect("no one panics while cosigning");
        let origin = hash_of(&checkpoint.origin);
        let seen = match self.state.newest(&origin) {
            Ok(seen) => seen,
            Err(error) => return failed(&error),
        };
        let (size, root) = match seen.as_deref().map(Checkpoint::unverified) {
            None => (0, EMPTY_HASH),
            Some(Ok(seen)) => (seen.size, seen.root),
            Some(Err(_)) => return failed(&io::Error::other("what was seen last is damaged")),
        };
        if old != size {
            return answer(409, format!("{size}\n"));
        }
        if let Some(refusal) = contradiction(&checkpoint, &proof, (size, root)) {
            tracing::warn!(origin = checkpoint.origin, size = checkpoint.size, seen = size, "a log contradicts itself");
            return refusal;
        }
        let line = self.cosigner.cosign(&checkpoint, now);
        match self.state.replace(&origin, seen.as_deref(), &format!("{}{line}", checkpoint.note)) {
            Ok(()) => answer(200, line),
            Err(error) => failed(&error),
        }
    }

    /// The newest checkpoint of the log whose origin has this hash, if one was cosigned.
    pub fn newest(&self, origin_hash: &str) -> io::Result<Option<String>> {
        self.state.newest(origin_hash)
    }
}

/// Why a checkpoint is not cosigned after a checkpoint of that size and root, if it is not. Another root of the same
/// size is a conflict and, as every conflict, is answered with the size (`tlog-witness` v1.0.0). In all other cases the
/// proof does not hold.
fn contradiction(checkpoint: &Checkpoint, proof: &[Hash], (size, root): (u64, Hash)) -> Option<Answer> {
    if checkpoint.size == 0 && checkpoint.root != EMPTY_HASH {
        return Some(answer(422, "a tree without leaves has another root\n"));
    }
    if checkpoint.size == size && proof.is_empty() && checkpoint.root != root {
        return Some(answer(409, format!("{size}\n")));
    }
    let holds = check_consistency(proof, (size, root), (checkpoint.size, checkpoint.root));
    (!holds).then(|| answer(422, "not consistent with what was cosigned\n"))
}

fn failed(error: &io::Error) -> Answer {
    tracing::error!(%error, "a checkpoint can't be kept");
    answer(500, "a fault of the witness\n")
}

/// Reads `old <size>`, the proof, an empty line and the checkpoint.
fn parse(body: &[u8]) -> Option<(u64, Vec<Hash>, &str)> {
    let text = std::str::from_utf8(body).ok()?;
    let (head, note) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    let digits = lines.next()?.strip_prefix("old ")?;
    let old: u64 = digits.parse().ok().filter(|size: &u64| size.to_string() == digits)?;
    let proof: Vec<Hash> = lines.map(|line| Hash::parse_hash(line).ok()).collect::<Option<_>>()?;
    (proof.len() <= MOST_HASHES).then_some((old, proof, note))
}

/// The endpoints of a witness.
pub fn routes(witness: Arc<Witness>) -> impl Endpoint<Output = Response> {
    Route::new()
        .at("/add-checkpoint", post(post_checkpoint))
        .at("/:origin/checkpoint", get(get_checkpoint))
        .data(witness)
        .map_to_response()
}

#[handler]
async fn post_checkpoint(witness: Data<&Arc<Witness>>, request: &Request, body: poem::Body) -> Response {
    // A request that declares a body that is too large is refused before its body is read.
    let declared = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > LONGEST) {
        return StatusCode::PAYLOAD_TOO_LARGE.into();
    }
    let Ok(body) = body.into_bytes_limit(LONGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into();
    };
    #[expect(clippy::disallowed_methods, reason = "a witness says when it saw a checkpoint, by its own clock")]
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    // A cosignature without a time would say that the tree never grew.
    let Ok(now) = now.map(|since| since.as_secs()) else { return StatusCode::INTERNAL_SERVER_ERROR.into() };
    let witness = witness.0.clone();
    // Cosigning waits for the disk, so it must not block the runtime.
    let answer = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, now)).await;
    let Ok(Answer { status, text }) = answer else { return StatusCode::INTERNAL_SERVER_ERROR.into() };
    let kind = if status == 409 { "text/x.tlog.size" } else { "text/plain; charset=utf-8" };
    let status = StatusCode::from_u16(status).expect("statuses of ours");
    Response::builder().status(status).content_type(kind).body(text)
}

#[handler]
fn get_checkpoint(witness: Data<&Arc<Witness>>, Segment(origin): Segment<String>) -> Response {
    match witness.newest(&origin) {
        Ok(Some(note)) => Response::builder().content_type("text/plain; charset=utf-8").body(note),
        Ok(None) => StatusCode::NOT_FOUND.into(),
        Err(error) => {
            tracing::error!(%error, "a checkpoint can't be read");
            StatusCode::INTERNAL_SERVER_ERROR.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use transparency::{Edge, StoredTiles, record_hash, sign_checkpoint};

    use super::*;

    struct Log {
        pair: Ed25519KeyPair,
        key: LogKey,
    }

    impl Log {
        fn new(seed: u8) -> Self {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
            let public = pair.public_key().as_ref().try_into().expect("32 bytes");
            Self { pair, key: LogKey::new("lethe.example/log", public).expect("a name") }
        }

        /// The checkpoint of `size` leaves of a history, and the proof from `old`.
        fn at(&self, history: &str, old: u64, size: u64) -> (Vec<Hash>, Checkpoint) {
            let (mut edge, mut tiles) = (Edge::default(), StoredTiles::default());
            let leaves =
                (0..size).map(|n| record_hash(format!("{} {n}", if n < 3 { "both" } else { history }).as_bytes()));
            edge.grow(leaves).into_iter().for_each(|tile| tiles.insert(tile.level, tile.tile, tile.hashes));
            let sign = |body: &[u8]| Ok::<_, ()>(self.pair.sign(body).as_ref().try_into().expect("64 bytes"));
            let checkpoint = sign_checkpoint(&self.key, size, edge.root(), sign).expect("signed");
            (tiles.consistency(size, old.min(size)).expect("proved"), checkpoint)
        }
    }

    fn request(old: u64, proof: &[Hash], checkpoint: &Checkpoint) -> Vec<u8> {
        let proof: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
        format!("old {old}\n{proof}\n{}", checkpoint.note).into_bytes()
    }

    #[test]
    fn a_witness_answers_as_the_protocol_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::new(1);
        let open = || Witness::open(folder.path(), "witness.example", vec![log.key.clone()]).expect("opens");
        let witness = open();
        let key = transparency::Witness::parse(&witness.vkey()).expect("a key");
        let ask = |witness: &Witness, old: u64, (proof, checkpoint): &(Vec<Hash>, Checkpoint)| {
            witness.add_checkpoint(&request(old, proof, checkpoint), 1_700_000_000)
        };
        let hash = hash_of(log.key.origin());
        assert_eq!(witness.newest(&hash).expect("read"), None);
        let first = log.at("one", 0, 5);
        let cosigned = ask(&witness, 0, &first);
        assert_eq!(cosigned.status, 200);
        let kept = first.1.with_cosignature(&cosigned.text, &key).expect("a cosignature");
        assert_eq!(key.cosigned_at(&kept), Some(1_700_000_000));
        assert_eq!(witness.newest(&hash).expect("read").as_deref(), Some(kept.note.as_str()));
        assert_eq!(witness.newest("../witness.key").expect("refused"), None);

        // The witness remembers what it has seen after a restart.
        drop(witness);
        let witness = open();
        assert_eq!(ask(&witness, 0, &log.at("one", 0, 9)), answer(409, "5\n"));
        assert_eq!(ask(&witness, 5, &log.at("one", 5, 9)).status, 200);
        assert_eq!(ask(&witness, 9, &log.at("one", 9, 9)).status, 200, "the same again");
        assert_eq!(ask(&witness, 9, &log.at("two", 9, 9)), answer(409, "9\n"), "a fork of the same size");
        let (proof, fork) = (log.at("one", 5, 9).0, log.at("two", 9, 9).1);
        assert_eq!(ask(&witness, 9, &(proof.clone(), fork)).status, 422, "a proof between equal sizes has no hashes");
        assert_eq!(ask(&witness, 9, &(proof, log.at("one", 9, 9).1)).status, 422, "nor has one to the same tree");
        assert_eq!(ask(&witness, 9, &log.at("two", 9, 12)).status, 422, "a fork");
        assert_eq!(ask(&witness, 9, &(log.at("one", 5, 12).0, log.at("one", 5, 12).1)).status, 422, "another proof");
        assert_eq!(ask(&witness, 9, &log.at("one", 7, 7)).status, 400, "it shrank");
        assert_eq!(ask(&witness, 5, &log.at("one", 5, 7)), answer(409, "9\n"));
        let foreign = Log::new(2);
        assert_eq!(ask(&witness, 9, &foreign.at("one", 9, 12)).status, 403, "another key");
        let (proof, unknown) = log.at("one", 9, 12);
        let renamed = Checkpoint { note: unknown.note.replace("lethe.example/log", "lethe.example/x"), ..unknown };
        assert_eq!(ask(&witness, 9, &(proof, renamed)).status, 404, "another log");
        for wrong in ["", "old 9\n", "old 09\n\nx", "old 9\nnonsense\n\nx", "old 9\n\nx"] {
            assert_eq!(witness.add_checkpoint(wrong.as_bytes(), 1).status, 400, "{wrong}");
        }
        let hashes = vec![Hash([7; 32]); 64];
        assert_eq!(ask(&witness, 9, &(hashes, log.at("one", 9, 12).1)).status, 400, "longer than a proof can be");
        assert_eq!(ask(&witness, 9, &log.at("one", 9, 700)).status, 200, "it goes on");
    }

    #[test]
    fn a_log_that_begins_is_held_to_what_an_empty_tree_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::new(1);
        let witness = Witness::open(folder.path(), "witness.example", vec![log.key.clone()]).expect("opens");
        let ask = |proof: &[Hash], checkpoint: &Checkpoint| {
            witness.add_checkpoint(&request(0, proof, checkpoint), 1_700_000_000).status
        };
        let sign = |body: &[u8]| Ok::<_, ()>(log.pair.sign(body).as_ref().try_into().expect("64 bytes"));
        let wrong = sign_checkpoint(&log.key, 0, Hash([3; 32]), sign).expect("signed");
        assert_eq!(ask(&[], &wrong), 422, "an empty tree with another root");
        assert_eq!(ask(&[Hash([7; 32])], &log.at("one", 0, 5).1), 422, "from nothing there is nothing to prove");
        assert_eq!(ask(&[], &log.at("one", 0, 0).1), 200);
        assert_eq!(ask(&[], &log.at("one", 0, 5).1), 200);
    }

    #[test]
    fn a_log_may_have_several_keys_and_every_signature_of_one_must_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (Log::new(1), Log::new(2));
        let keys = vec![old.key.clone(), new.key.clone()];
        let witness = Witness::open(folder.path(), "witness.example", keys).expect("opens");
        let ask = |old: u64, (proof, checkpoint): &(Vec<Hash>, Checkpoint)| {
            witness.add_checkpoint(&request(old, proof, checkpoint), 1_700_000_000).status
        };
        assert_eq!(ask(0, &old.at("one", 0, 5)), 200);
        assert_eq!(ask(5, &new.at("one", 5, 9)), 200, "by the second key");
        // A signature line of a known key that does not hold makes the note malformed, whatever stands beside it.
        let (proof, next) = new.at("one", 9, 12);
        let foreign = old.at("two", 0, 12).1.note;
        let line = foreign.lines().last().expect("a signature line");
        let damaged = Checkpoint { note: format!("{}{line}\n", next.note), ..next.clone() };
        assert_eq!(ask(9, &(proof.clone(), damaged)), 403);
        assert_eq!(ask(9, &(proof, next)), 200);
    }

    #[test]
    fn two_witnesses_of_one_folder_cosign_one_history() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::new(1);
        let open = || Witness::open(folder.path(), "witness.example", vec![log.key.clone()]);
        let ask = |witness: &Witness, old: u64, (proof, checkpoint): &(Vec<Hash>, Checkpoint)| {
            witness.add_checkpoint(&request(old, proof, checkpoint), 1_700_000_000).status
        };
        let one = open().expect("opens");
        assert!(matches!(open(), Err(AuditError::FolderInUse(_))), "the folder is taken");
        assert_eq!(ask(&one, 0, &log.at("one", 0, 5)), 200);
        // Somebody forces a second witness in. What the first witness would cosign now could contradict the second.
        std::fs::remove_file(folder.path().join("witness.lock")).expect("taken away");
        let two = open().expect("opens");
        assert_eq!(ask(&two, 5, &log.at("one", 5, 9)), 200);
        assert_eq!(ask(&one, 5, &log.at("two", 5, 12)), 409, "it sees what the other cosigned");
        assert_eq!(ask(&one, 9, &log.at("one", 9, 12)), 500, "and cosigns nothing any more");
        assert_eq!(ask(&two, 9, &log.at("one", 9, 12)), 200);
    }
}
