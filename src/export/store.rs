//! The store of export files: a folder, or a bucket that speaks S3. A name is never used twice; a file appears whole or
//! not at all, and never changes. All files of a person have the person's id as prefix.

use std::{
    collections::HashMap,
    fs, io,
    ops::Range,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use context::{ExportId, SubjectId};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt, aws::AmazonS3Builder, buffered::BufWriter, path::Path as Key,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::data::home::{HomeError, read_secret};

/// The most bytes that are read from a file at once.
const PIECE: usize = 64 * 1024;
/// The smallest part that S3 accepts in an upload of several parts.
const UPLOAD_PART: usize = 5 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("the files of exports and imports: {0}")]
pub struct StoreError(#[from] io::Error);

impl StoreError {
    /// The error of the operating system or of the bucket.
    pub fn io(&self) -> &io::Error {
        &self.0
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        Self(error.into())
    }
}

/// The name of a file. Each attempt to write an export has its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileName {
    pub subject: SubjectId,
    pub export: ExportId,
    /// The entity tag; random for each attempt.
    pub etag: String,
}

impl FileName {
    fn text(&self) -> String {
        format!("{}.{}", self.export, self.etag)
    }

    /// Reads the name of a file in a person's folder. The name of a half-written file is read as its final name.
    fn parse(subject: &str, name: &str) -> Option<Self> {
        let name = name.strip_suffix(HALF).unwrap_or(name);
        let (export, etag) = name.split_once('.')?;
        Some(Self {
            subject: SubjectId(subject.parse().ok()?),
            export: ExportId(export.parse().ok()?),
            etag: etag.to_owned(),
        })
    }
}

/// The suffix of a file that is being written.
const HALF: &str = ".half";

/// A bucket and the credentials for it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Must look like `s3://bucket/prefix`.
    pub url: String,
    /// The address of the bucket's server; `None` means AWS. Must be `https`, except on loopback.
    pub endpoint: Option<String>,
    /// The region; providers without regions take `us-east-1`.
    pub region: String,
    /// A file of mode 0600 with the lines `access_key_id=…` and `secret_access_key=…`.
    pub credentials: PathBuf,
}

/// The folder or the bucket of export files.
#[derive(Clone)]
pub struct Store(Kind);

#[derive(Clone)]
enum Kind {
    Folder(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, prefix: String },
}

impl Store {
    /// A folder; it is made with the first file.
    pub fn folder(path: PathBuf) -> Self {
        Self(Kind::Folder(path))
    }

    /// A bucket. Reads the credentials; does not connect.
    pub fn bucket(bucket: &Bucket) -> Result<Self, HomeError> {
        let wrong = |text: &str| HomeError::Malformed(PathBuf::from(&bucket.url), text.to_owned());
        let rest = bucket.url.strip_prefix("s3://").ok_or_else(|| wrong("must look like s3://bucket/prefix"))?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let missing = || HomeError::Malformed(bucket.credentials.clone(), "there is no such file".to_owned());
        let text = read_secret(&bucket.credentials)?.ok_or_else(missing)?;
        let secrets: HashMap<&str, &str> = text.lines().filter_map(|line| line.trim().split_once('=')).collect();
        let secret = |name: &str| {
            let lacks = || HomeError::Malformed(bucket.credentials.clone(), format!("lacks the line {name}=…"));
            secrets.get(name).copied().ok_or_else(lacks)
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&bucket.region)
            .with_access_key_id(secret("access_key_id")?)
            .with_secret_access_key(secret("secret_access_key")?);
        if let Some(endpoint) = &bucket.endpoint {
            let loopback = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
            if !endpoint.starts_with("https://") && !loopback.iter().any(|known| endpoint.starts_with(known)) {
                return Err(wrong("the endpoint must be https"));
            }
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        // The builder's error is not passed on, because its text may hold the credentials.
        let store = builder.build().map_err(|_| wrong("is not a bucket that can be used"))?;
        Ok(Self(Kind::Bucket { store: Arc::new(store), prefix: prefix.trim_matches('/').to_owned() }))
    }

    /// Begins a file. It appears under its name once `Upload::finish` has returned.
    pub async fn create(&self, name: &FileName) -> Result<Upload, StoreError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let path = path(folder, name);
                let half = path.with_file_name(format!("{}{HALF}", name.text()));
                let made = half.clone();
                let file = blocking(move || {
                    fs::DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(made.parent().unwrap_or(Path::new(".")))?;
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&made)
                });
                Ok(Upload::Folder { file: tokio::fs::File::from_std(file.await?), half, path })
            }
            Kind::Bucket { store, prefix } => {
                let writer = BufWriter::with_capacity(store.clone(), key(prefix, name), UPLOAD_PART);
                Ok(Upload::Bucket(Box::new(writer.with_max_concurrency(2))))
            }
        }
    }

    /// Reads a range of a file, piece by piece.
    pub async fn read(
        &self,
        name: &FileName,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Vec<u8>>>, StoreError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let mut file = tokio::fs::File::open(path(folder, name)).await?;
                file.seek(io::SeekFrom::Start(range.start)).await?;
                Ok(pieces(file.take(range.end - range.start)))
            }
            Kind::Bucket { store, prefix } => {
                let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
                let found = store.get_opts(&key(prefix, name), options).await?;
                Ok(found.into_stream().map(|piece| Ok(piece.map_err(io::Error::from)?.to_vec())).boxed())
            }
        }
    }

    /// Removes a file, whether it is whole or half-written. A missing file is no error.
    pub async fn remove(&self, name: &FileName) -> Result<(), StoreError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let path = path(folder, name);
                let half = path.with_file_name(format!("{}{HALF}", name.text()));
                Ok(blocking(move || [half, path].iter().try_for_each(|path| gone(fs::remove_file(path)))).await?)
            }
            Kind::Bucket { store, prefix } => absent(store.delete(&key(prefix, name)).await),
        }
    }

    /// Removes all files of a person.
    pub async fn remove_all(&self, subject: SubjectId) -> Result<(), StoreError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let path = folder.join(subject.to_string());
                Ok(blocking(move || gone(fs::remove_dir_all(path))).await?)
            }
            Kind::Bucket { store, prefix } => {
                let under = Key::from(format!("{prefix}/{subject}"));
                let found: Vec<_> = store.list(Some(&under)).try_collect().await?;
                for object in found {
                    absent(store.delete(&object.location).await)?;
                }
                Ok(())
            }
        }
    }

    /// All files, whole or half-written. Parts of an upload that a killed server left in a bucket are not listed; the
    /// bucket's own rules must remove them.
    pub async fn list(&self) -> Result<Vec<FileName>, StoreError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let folder = folder.clone();
                Ok(blocking(move || list_folder(&folder)).await?)
            }
            Kind::Bucket { store, prefix } => {
                let under = Key::from(prefix.as_str());
                let found: Vec<_> = store.list(Some(&under)).try_collect().await?;
                let name = |key: &Key| {
                    let mut parts = key.as_ref().rsplit('/');
                    let (name, subject) = (parts.next()?, parts.next()?);
                    FileName::parse(subject, name)
                };
                Ok(found.iter().filter_map(|object| name(&object.location)).collect())
            }
        }
    }
}

fn path(folder: &Path, name: &FileName) -> PathBuf {
    folder.join(name.subject.to_string()).join(name.text())
}

fn key(prefix: &str, name: &FileName) -> Key {
    Key::from(format!("{prefix}/{}/{}", name.subject, name.text()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn absent(outcome: object_store::Result<()>) -> Result<(), StoreError> {
    match outcome {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn list_folder(folder: &Path) -> io::Result<Vec<FileName>> {
    let mut found = Vec::new();
    let people = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        people => people?,
    };
    for person in people {
        let person = person?;
        let files = match fs::read_dir(person.path()) {
            // The folder is gone because the person is being erased.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            files => files?,
        };
        for file in files {
            let (person, file) = (person.file_name(), file?.file_name());
            found.extend(person.to_str().zip(file.to_str()).and_then(|(person, file)| FileName::parse(person, file)));
        }
    }
    Ok(found)
}

/// The rest of a file, piece by piece.
fn pieces(file: tokio::io::Take<tokio::fs::File>) -> BoxStream<'static, io::Result<Vec<u8>>> {
    let next = |mut file: tokio::io::Take<tokio::fs::File>| async move {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut file).take(PIECE as u64).read_to_end(&mut piece).await?;
        Ok((!piece.is_empty()).then_some((piece, file)))
    };
    stream::try_unfold(file, next).boxed()
}

/// A file that is being written.
pub enum Upload {
    /// A file in a folder, under another name until it is whole.
    Folder {
        file: tokio::fs::File,
        /// The name while it is being written.
        half: PathBuf,
        /// The final name.
        path: PathBuf,
    },
    /// An object in a bucket, which shows nothing of it until it is whole.
    Bucket(Box<BufWriter>),
}

impl Upload {
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Folder { file, .. } => Ok(file.write_all(bytes).await?),
            Self::Bucket(writer) => Ok(writer.write_all(bytes).await?),
        }
    }

    /// Gives the file its final name, durably.
    pub async fn finish(self) -> Result<(), StoreError> {
        match self {
            Self::Folder { mut file, half, path } => {
                file.flush().await?;
                file.sync_all().await?;
                tokio::fs::rename(&half, &path).await?;
                Ok(blocking(move || fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()).await?)
            }
            Self::Bucket(mut writer) => Ok(writer.shutdown().await?),
        }
    }
}
