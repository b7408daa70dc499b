//! The verifiable log: its key, checkpoints, tiles and proofs (C2SP `tlog-tiles`, `tlog-proof`). Hashes are about
//! nobody, so everybody may read them, as cacheable files. Entries are only for auditors and the compliance desk.

use std::sync::Arc;

use poem::{
    IntoResponse, Request, Response, Result, handler,
    http::header,
    web::{Data, Path as Segments},
};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::{Json, PlainText},
};
use transparency::{TILE_HASHES, tile_path};

use crate::{
    app::{
        App, AppError,
        log::{access, published, tree},
    },
    http::{
        problem::Refusal,
        request::{caller, number::Natural},
        tag::Tag,
    },
};

/// A file that never changes may be cached for ever.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// After a restore, the paths without a tree's number lead to another tree.
const A_WHILE: &str = "public, max-age=600";
/// The newest checkpoint changes every second.
const FRESH: &str = "public, max-age=1";

/// One tree over the log.
#[derive(Object)]
pub struct TreeAnswer {
    /// The tree's number, from 1; the tree with the highest number grows. A restore of an old backup opens a new tree.
    tree: i64,
    /// The first line of the tree's checkpoints.
    origin: String,
    /// How many events of the log come before the tree's first leaf.
    begins: i64,
    /// How many leaves the tree has, whether or not a checkpoint covers them.
    size: u64,
}

/// The trees, newest first.
#[derive(Object)]
pub struct TreesAnswer {
    /// The key that verifies the newest tree's checkpoints, as a verifier key (C2SP signed-note).
    vkey: String,
    /// One entry for each tree, newest first.
    trees: Vec<TreeAnswer>,
}

/// A proof that the tree only grew.
#[derive(Object)]
pub struct ConsistencyAnswer {
    /// The smaller size, in leaves.
    from: u64,
    /// The greater size, in leaves.
    to: u64,
    /// The hashes of the proof (RFC 6962, section 2.1.2), in base64.
    hashes: Vec<String>,
}

/// A text that may be cached.
#[derive(ApiResponse)]
pub enum TextAnswer {
    /// The text.
    #[oai(status = 200)]
    Ok(
        PlainText<String>,
        /// For how long the text may be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl TextAnswer {
    fn new(text: String, kept: &str) -> Self {
        Self::Ok(PlainText(text), kept.to_owned())
    }
}

pub struct LogApi;

#[OpenApi(prefix_path = "/v1/log", tag = "Tag::Log")]
impl LogApi {
    /// The newest checkpoint
    ///
    /// A signed note (C2SP tlog-checkpoint): origin, number of leaves, root. It covers every event that was
    /// acknowledged a few seconds ago or earlier. Tiles are files beneath `/v1/log/tile/` (C2SP tlog-tiles).
    #[oai(path = "/checkpoint", method = "get", operation_id = "log_checkpoint")]
    async fn checkpoint(&self, app: Data<&Arc<App>>) -> Result<TextAnswer, Refusal> {
        let _turn = turn(&app).await;
        let stored = published::checkpoint(&app, None).await?.ok_or(AppError::NotFound("checkpoint"))?;
        Ok(TextAnswer::new(stored.note, FRESH))
    }

    /// The log's key and trees
    ///
    /// Get the key once, from somebody you trust; after that you can verify checkpoints without trusting anybody.
    #[oai(path = "/trees", method = "get", operation_id = "log_trees")]
    async fn trees(&self, app: Data<&Arc<App>>) -> Result<Json<TreesAnswer>, Refusal> {
        let _turn = turn(&app).await;
        let trees = tree::trees(&app).await?.into_iter();
        let trees = trees.map(|it| TreeAnswer { tree: it.tree, origin: it.origin, begins: it.begins, size: it.size });
        Ok(Json(TreesAnswer { vkey: published::vkey(&app).await?.vkey(), trees: trees.collect() }))
    }

    /// The proof that a leaf is in the tree
    ///
    /// Under the newest checkpoint (C2SP tlog-proof). The extra line is the hash of the leaf; the proof does not show
    /// the leaf itself.
    #[oai(path = "/proofs/:index", method = "get", operation_id = "log_inclusion")]
    async fn inclusion(
        &self,
        app: Data<&Arc<App>>,
        /// The leaf's index, from 0.
        index: Path<Natural>,
    ) -> Result<TextAnswer, Refusal> {
        let _turn = turn(&app).await;
        Ok(TextAnswer::new(published::inclusion(&app, None, index.0.0).await?.to_text(), FRESH))
    }

    /// The proof that the tree only grew
    ///
    /// Between two sizes; if `to` is absent, the greater one is that of the newest checkpoint.
    #[oai(path = "/consistency", method = "get", operation_id = "log_consistency")]
    async fn consistency(
        &self,
        app: Data<&Arc<App>>,
        /// The smaller size, in leaves.
        from: Query<Natural>,
        /// The greater size, in leaves; if absent, that of the newest checkpoint.
        to: Query<Option<Natural>>,
    ) -> Result<Json<ConsistencyAnswer>, Refusal> {
        let _turn = turn(&app).await;
        let from = from.0.0;
        let (to, hashes) = published::consistency(&app, from, to.0.map(|to| to.0)).await?;
        let hashes = hashes.iter().map(ToString::to_string).collect();
        Ok(Json(ConsistencyAnswer { from, to, hashes }))
    }
}

/// Sends a tile or a bundle of entries of the newest tree.
#[handler]
pub async fn get_tile(app: Data<&Arc<App>>, request: &Request, Segments(path): Segments<String>) -> Result<Response> {
    send_tile(&app, request, None, &path).await
}

/// Sends the published checkpoint of the tree whose number is in the path; for an older tree that is its last one.
#[handler]
pub async fn get_checkpoint_of(app: Data<&Arc<App>>, Segments(tree): Segments<i64>) -> Result<Response> {
    let _turn = turn(&app).await;
    let stored = published::checkpoint(&app, Some(tree)).await.map_err(Refusal::from)?;
    let stored = stored.ok_or_else(|| Refusal::from(AppError::NotFound("checkpoint")))?;
    let response = Response::builder().content_type("text/plain; charset=utf-8").header(header::CACHE_CONTROL, FRESH);
    Ok(response.body(stored.note))
}

/// Sends a tile or a bundle of entries of the tree whose number is in the path.
#[handler]
pub async fn get_tile_of(
    app: Data<&Arc<App>>,
    request: &Request,
    Segments((tree, path)): Segments<(i64, String)>,
) -> Result<Response> {
    send_tile(&app, request, Some(tree), &path).await
}

async fn send_tile(app: &Arc<App>, request: &Request, tree: Option<i64>, path: &str) -> Result<Response> {
    let wanted = TileRequest::parse(path).ok_or_else(|| Refusal::from(AppError::NotFound("tile")))?;
    let _turn = turn(app).await;
    let (bytes, kept) = match wanted.level {
        Some(level) => {
            let bytes = published::tile_of(app, tree, level, wanted.tile, wanted.width).await.map_err(Refusal::from)?;
            (bytes, if tree.is_some() { IMMUTABLE } else { A_WHILE })
        }
        None => {
            let caller = caller::staff(request).await?;
            let bytes = published::bundle_of(app, tree, wanted.tile, wanted.width).await.map_err(Refusal::from)?;
            let first = wanted.tile * TILE_HASHES;
            let asked = format!("leaves {first} to {}", first + wanted.width - 1);
            let count = usize::try_from(wanted.width).unwrap_or_default();
            access::note_session_read(app, caller.ctx(), "log", count, asked).await.map_err(Refusal::from)?;
            (bytes, "no-store")
        }
    };
    let response = Response::builder().content_type("application/octet-stream").header(header::CACHE_CONTROL, kept);
    Ok(response.body(bytes).into_response())
}

/// Waits for a turn, because public reads share connections with jobs, and only a few may go on at once.
async fn turn(app: &App) -> Option<tokio::sync::SemaphorePermit<'_>> {
    app.log.readers.acquire().await.ok()
}

/// The tile or bundle that a path asks for.
#[derive(Debug, PartialEq, Eq)]
struct TileRequest {
    /// The level of a tile; `None` for a bundle of entries.
    level: Option<u8>,
    tile: u64,
    /// How many hashes or entries are wanted, 1 to 256.
    width: u64,
}

impl TileRequest {
    /// Reads `<level>/<number>[.p/<width>]`, in the one form in which it can be written.
    fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok()?),
            None => (rest, TILE_HASHES),
        };
        let mut tile: u64 = 0;
        for part in number.split('/') {
            tile = tile.checked_mul(1000)?.checked_add(part.trim_start_matches('x').parse().ok()?)?;
        }
        let numbered: Option<u8> = if level == "entries" { None } else { Some(level.parse().ok()?) };
        let name = numbered.map_or_else(|| "entries".to_owned(), |level| level.to_string());
        let canonical = tile_path(&name, tile, width) == format!("tile/{path}");
        let sound = (1..=TILE_HASHES).contains(&width) && numbered.is_none_or(|level| level < 8);
        (canonical && sound).then_some(Self { level: numbered, tile, width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_in_its_one_form() {
        let wanted = |level, tile, width| Some(TileRequest { level, tile, width });
        assert_eq!(TileRequest::parse("0/000"), wanted(Some(0), 0, 256));
        assert_eq!(TileRequest::parse("1/x001/x234/067.p/8"), wanted(Some(1), 1_234_067, 8));
        assert_eq!(TileRequest::parse("entries/005.p/17"), wanted(None, 5, 17));
        for wrong in [
            "",
            "0",
            "0/",
            "0/0",
            "0/0000",
            "00/000",
            "8/000",
            "-1/000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "data/000",
            "0/001/002",
            "0/x001/x002",
            "0/000/",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TileRequest::parse(wrong), None, "{wrong}");
        }
    }
}
