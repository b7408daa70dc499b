//! Export files in a bucket: the same promises as in a folder, against a server that speaks S3 (`bucket/server.py`,
//! based on moto).
//!
//! The server's packages are listed in `bucket/requirements.txt`; see `python.rs`.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use context::{ExportId, SubjectId};
use futures_util::TryStreamExt;
use lethe::{
    data::home::write_secret,
    export::{Bucket, FileName, FilePlace, FileReader, FileWriter, Store},
};
use tokio::task::spawn_blocking;
use vault::{FileKey, Ring, SubjectKeys, Vault};

use crate::{left_out::left_out, python::environment};

/// Larger than one part of an upload.
const LARGE: usize = 12 * 1024 * 1024 + 345;

/// A server that runs until it is dropped, because its standard input ends then.
struct Server {
    port: u16,
    child: Child,
}

impl Server {
    fn start() -> Result<Self, String> {
        let mut child = Command::new(environment("bucket")?.join("bin/python"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bucket/server.py"))
            .envs([("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONWARNINGS", "ignore")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it says its port");
        Ok(Self { port: line.trim().parse().expect("a port"), child })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn bucket(folder: &Path, endpoint: String) -> Bucket {
    let credentials: PathBuf = folder.join("s3.credentials");
    write_secret(&credentials, b"access_key_id=key\nsecret_access_key=geheim\n").expect("written");
    Bucket {
        url: "s3://exports/lethe/files".to_owned(),
        endpoint: Some(endpoint),
        region: "us-east-1".to_owned(),
        credentials,
    }
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

async fn write(store: &Store, subject: SubjectId, keys: &SubjectKeys, size: usize) -> (FileName, FileKey) {
    let name = FileName { subject, export: ExportId::random(), etag: "0123456789abcdef".to_owned() };
    let place = FilePlace { subject, export: name.export }.key();
    let key = FileKey::generate();
    let again = FileKey::unwrap(keys, &place, &key.wrap(keys, &place)).expect("opens");
    let mut file = FileWriter::create(store, &name, key).await.expect("begun");
    for part in content(size).chunks(100_000) {
        file.write(part).await.expect("written");
    }
    assert_eq!(file.finish().await.expect("ended"), size as u64);
    (name, again)
}

#[tokio::test]
async fn files_in_a_bucket_are_whole_sealed_and_gone_when_they_are_removed() {
    let server = match spawn_blocking(Server::start).await.expect("started") {
        Ok(server) => server,
        Err(why) => return left_out(&why),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::bucket(&bucket(folder.path(), format!("http://127.0.0.1:{}", server.port))).expect("a bucket");
    let vault = Vault::new(Ring::open_or_create(&folder.path().join("ring.json"), None).expect("a ring"));
    let (anna, ben) = (SubjectId::random(), SubjectId::random());
    let ((keys, _), (his, _)) = (vault.create_subject(anna), vault.create_subject(ben));
    for size in [0, 10, LARGE] {
        let (name, key) = write(&store, anna, &keys, size).await;
        let reader = FileReader::new(store.clone(), name.clone(), key, size as u64);
        let range = (size / 3) as u64..size as u64;
        let found: Vec<u8> = reader.range(range).await.expect("opens").try_concat().await.expect("read");
        assert!(found == content(size)[size / 3..], "{size}");
        let sealed: Vec<u8> = store.read(&name, 0..20).await.expect("read").try_concat().await.expect("read");
        assert_ne!(sealed[13..], content(20)[13..], "what lies in the bucket is sealed");
    }
    let (foreign, _) = write(&store, ben, &his, 10).await;
    assert_eq!(store.list().await.expect("listed").len(), 4);
    // An upload that was given up is not listed.
    let given_up = FileName { export: ExportId::random(), ..foreign.clone() };
    let mut file = FileWriter::create(&store, &given_up, FileKey::generate()).await.expect("begun");
    file.write(&content(LARGE)).await.expect("written");
    drop(file);
    assert_eq!(store.list().await.expect("listed").len(), 4);
    store.remove(&given_up).await.expect("what is not there is removed already");
    store.remove_all(anna).await.expect("removed");
    assert_eq!(store.list().await.expect("listed"), std::slice::from_ref(&foreign));
    store.remove(&foreign).await.expect("removed");
    assert!(store.list().await.expect("listed").is_empty());
}

#[test]
fn a_bucket_needs_tls_and_credentials_that_nobody_else_reads() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    for endpoint in ["http://storage.example:9000", "ftp://storage.example", "http://127.0.0.1.example:9000"] {
        assert!(Store::bucket(&bucket(folder.path(), endpoint.to_owned())).is_err(), "{endpoint}");
    }
    let good = bucket(folder.path(), "https://storage.example".to_owned());
    assert!(Store::bucket(&good).is_ok());
    assert!(Store::bucket(&Bucket { url: "https://exports/lethe".to_owned(), ..good.clone() }).is_err());
    write_secret(&good.credentials, b"access_key_id=key\n").expect("written");
    let lacking = Store::bucket(&good).err().expect("refused").to_string();
    assert!(lacking.contains("secret_access_key") && !lacking.contains("=key"), "{lacking}");
    std::fs::set_permissions(&good.credentials, std::fs::Permissions::from_mode(0o640)).expect("set");
    assert!(Store::bucket(&good).err().expect("refused").to_string().contains("0600"));
}
