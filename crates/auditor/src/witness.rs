//! The witness: cosigns a checkpoint where it goes on from the one it saw last (C2SP `tlog-witness`), so that a log can't show
//! different histories to different people.
//!
//! Promises: what it has cosigned is durable before the answer leaves; one checkpoint at a time is looked at. Refuses: logs that it
//! was not told of, and whatever contradicts what it has cosigned.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::UNIX_EPOCH,
};

use aws_lc_rs::{
    digest,
    rand::{SecureRandom, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use poem::{
    Endpoint, EndpointExt, Request, Response, Route, get, handler,
    http::{StatusCode, header},
    post,
    web::{Data, Path as Segment},
};
use transparency::{Checkpoint, Cosigner, EMPTY_HASH, Hash, LogKey, check_consistency};

use crate::{place::read_secret, replay::AuditError};

/// The longest request that is read.
const LONGEST: usize = 64 * 1024;
/// More hashes than a proof can have.
const MOST_HASHES: usize = 63;

type Signer = Box<dyn Fn(&[u8]) -> [u8; 64] + Send + Sync>;

/// A witness of some logs.
pub struct Witness {
    logs: Vec<LogKey>,
    cosigner: Cosigner<Signer>,
    folder: PathBuf,
    /// Held from the look at what was seen last until the next is durable.
    one_at_a_time: Mutex<()>,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// A signature line, a size, or why not.
    pub text: String,
}

fn answer(status: u16, text: impl Into<String>) -> Answer {
    Answer { status, text: text.into() }
}

impl Witness {
    /// Opens a witness's folder; makes its key where there is none.
    pub fn open(folder: &Path, name: &str, logs: Vec<LogKey>) -> Result<Self, AuditError> {
        fs::create_dir_all(folder)?;
        let path = folder.join("witness.key");
        if !path.try_exists()? {
            let mut seed = [0; 32];
            SystemRandom::new().fill(&mut seed).map_err(|_| io::Error::other("no random bytes"))?;
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            writeln!(file, "{}", STANDARD.encode(seed))?;
            file.sync_all()?;
        }
        let seed = STANDARD.decode(read_secret(&path)?).unwrap_or_default();
        let malformed = || io::Error::other(format!("{}: not the key of a witness", path.display()));
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| malformed())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| malformed())?;
        let sign: Signer =
            Box::new(move |message| pair.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes"));
        let cosigner = Cosigner::new(name, public, sign)?;
        fs::write(folder.join("witness.vkey"), format!("{}\n", cosigner.vkey()))?;
        Ok(Self { logs, cosigner, folder: folder.into(), one_at_a_time: Mutex::default() })
    }

    /// The key that its cosignatures are verified with.
    pub fn vkey(&self) -> String {
        self.cosigner.vkey()
    }

    /// Answers a request to cosign at a time, in seconds since 1970.
    pub fn add_checkpoint(&self, body: &[u8], now: u64) -> Answer {
        let Some((old, proof, note)) = parse(body) else { return answer(400, "not an add-checkpoint request\n") };
        let Ok(checkpoint) = Checkpoint::unverified(note) else { return answer(400, "not a checkpoint\n") };
        let Some(key) = self.logs.iter().find(|key| key.origin() == checkpoint.origin) else {
            return answer(404, "this log is not known here\n");
        };
        let Ok(checkpoint) = Checkpoint::verify(note, key) else { return answer(403, "not signed by the log's key\n") };
        if old > checkpoint.size {
            return answer(400, "the old size is greater than the new\n");
        }
        let _held = self.one_at_a_time.lock().expect("no one panics while cosigning");
        let seen = match self.newest(&hash_of(&checkpoint.origin)) {
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
        if (checkpoint.size == 0 && checkpoint.root != EMPTY_HASH)
            || !check_consistency(&proof, (size, root), (checkpoint.size, checkpoint.root))
        {
            tracing::warn!(origin = checkpoint.origin, size = checkpoint.size, seen = size, "a log contradicts itself");
            return answer(422, "not consistent with what was cosigned\n");
        }
        let line = self.cosigner.cosign(&checkpoint, now);
        match self.persist(&checkpoint, &line) {
            Ok(()) => answer(200, line),
            Err(error) => failed(&error),
        }
    }

    /// The newest checkpoint of the log whose origin has this hash, if one was cosigned.
    pub fn newest(&self, origin_hash: &str) -> io::Result<Option<String>> {
        if origin_hash.len() != 64 || !origin_hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        match fs::read_to_string(self.folder.join(format!("{origin_hash}.checkpoint"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn persist(&self, checkpoint: &Checkpoint, line: &str) -> io::Result<()> {
        let path = self.folder.join(format!("{}.checkpoint", hash_of(&checkpoint.origin)));
        let sibling = path.with_extension("new");
        let mut file = fs::File::create(&sibling)?;
        file.write_all(format!("{}{line}", checkpoint.note).as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&sibling, &path)?;
        fs::File::open(&self.folder)?.sync_all()
    }
}

fn failed(error: &io::Error) -> Answer {
    tracing::error!(%error, "a checkpoint can't be kept");
    answer(500, "a fault of the witness\n")
}

/// The name under which a log's newest checkpoint is found: the SHA-256 of its origin, in hex.
pub fn hash_of(origin: &str) -> String {
    let hash = digest::digest(&digest::SHA256, origin.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
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

/// What a witness serves.
pub fn routes(witness: Arc<Witness>) -> impl Endpoint<Output = Response> {
    Route::new()
        .at("/add-checkpoint", post(post_checkpoint))
        .at("/:origin/checkpoint", get(get_checkpoint))
        .data(witness)
        .map_to_response()
}

#[handler]
async fn post_checkpoint(witness: Data<&Arc<Witness>>, request: &Request, body: poem::Body) -> Response {
    // What says that it is too large is not waited for.
    let declared = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > LONGEST) {
        return StatusCode::PAYLOAD_TOO_LARGE.into();
    }
    let Ok(body) = body.into_bytes_limit(LONGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into();
    };
    #[expect(clippy::disallowed_methods, reason = "a witness says when it saw a checkpoint, by its own clock")]
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let witness = witness.0.clone();
    // It waits for the disk.
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

        // What was seen is known after a restart.
        let witness = open();
        assert_eq!(ask(&witness, 0, &log.at("one", 0, 9)), answer(409, "5\n"));
        assert_eq!(ask(&witness, 5, &log.at("one", 5, 9)).status, 200);
        assert_eq!(ask(&witness, 9, &log.at("one", 9, 9)).status, 200, "the same again");
        assert_eq!(ask(&witness, 9, &log.at("two", 9, 9)).status, 422, "a fork of the same size");
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
        assert_eq!(ask(&witness, 9, &log.at("one", 9, 700)).status, 200, "it goes on");
    }
}
