//! Everything that is known of a person, as JSON values, page by page. Each page is read under the ticket of a job with
//! the person's current keys. A record that is removed meanwhile is left out; a record that is amended meanwhile is
//! exported as amended.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use context::{Ctx, ExportId, RecordId, UserId};
use db::{FromRow, Query, Row};
use domain::{
    Choice,
    filter::Filter,
    kinds::{KINDS, WORDBOOK_ENTRY, WORDBOOK_SETTINGS, kind},
    rights::{deletion::Scope, export::ExportFormat},
};
use event_log::Event;
use projections::{
    page::Page,
    records::record::RecordRow,
    rights::{
        export::{After, ExportedEvent, export_consents, export_events, export_progress, export_records},
        retention::{RetentionRow, days_of, retention_list},
    },
};
use serde_json::{Value, json};
use vault::SubjectKeys;

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        records::opened::{OpenRecord, open},
        rights::{
            deletion, export,
            export_item::{self, seconds, time},
            restriction,
        },
    },
    export::{Contents, Part, StoreError},
};

/// How many records or events are read at once.
const PAGE: usize = 1000;

/// Why no further page comes.
#[derive(Debug)]
pub enum Stop {
    /// Nobody waits for the file any more, or another attempt has taken over.
    Superseded,
    /// Reading or writing failed.
    Failed(AppError),
}

impl From<AppError> for Stop {
    fn from(error: AppError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        StoreError::from(error).into()
    }
}

/// The data of a person that a request to export asks for.
pub struct Source<'a> {
    pub app: &'a App,
    /// The context of the job.
    pub ctx: &'a Ctx,
    /// The person's public id.
    pub user: UserId,
    pub email: String,
    /// When the account was made.
    pub registered_at: DateTime<Utc>,
    pub export: ExportId,
    /// How much of the person's data the request asks for.
    pub scope: Scope,
    pub format: ExportFormat,
    /// When the request was made.
    pub requested_at: DateTime<Utc>,
    /// Which records the request asks for.
    pub filter: Filter,
    /// The tag of this attempt, which tells its file from those of other attempts.
    pub etag: String,
    /// The ids of the records that were living when the attempt began, by kind, oldest first.
    pub ids: BTreeMap<String, Vec<RecordId>>,
    /// How many records and events have been read.
    pub done: i64,
}

/// How far a part has been read.
pub enum Cursor {
    /// A part that is read in one page, which was not read yet.
    Once(Part),
    /// Records of a kind, from this index of `ids` on.
    Records(Part, String, usize),
    /// Events behind this one.
    Events(After),
    /// Nothing more comes.
    End,
}

impl Source<'_> {
    /// What the file will hold.
    pub fn contents(&self) -> Contents {
        Contents::of(&self.filter, self.ids.keys().cloned())
    }

    /// Begins to read a part.
    pub fn begin(part: &Part) -> Cursor {
        match part {
            Part::Settings => Cursor::Records(Part::Settings, WORDBOOK_SETTINGS.name().to_owned(), 0),
            Part::Wordbook => Cursor::Records(Part::Wordbook, WORDBOOK_ENTRY.name().to_owned(), 0),
            Part::Records(kind) => Cursor::Records(part.clone(), kind.clone(), 0),
            Part::Events => Cursor::Events(After::default()),
            part => Cursor::Once(part.clone()),
        }
    }

    /// The next page of a part; `None` if there are no more.
    pub async fn next(&mut self, cursor: &mut Cursor) -> Result<Option<Vec<Value>>, Stop> {
        match std::mem::replace(cursor, Cursor::End) {
            Cursor::Once(part) => self.once(&part).await.map(Some),
            Cursor::Records(part, kind, at) => {
                let ids = self.ids.get(&kind).map(Vec::as_slice).unwrap_or_default();
                let page = ids[at..].iter().take(PAGE).copied().collect::<Vec<_>>();
                if page.is_empty() {
                    return Ok(None);
                }
                *cursor = Cursor::Records(part.clone(), kind, at + page.len());
                self.records(&part, &page).await.map(Some)
            }
            Cursor::Events(after) => {
                let (events, after) = self.events(after).await?;
                *cursor = after.map_or(Cursor::End, Cursor::Events);
                Ok((!events.is_empty()).then_some(events))
            }
            Cursor::End => Ok(None),
        }
    }

    /// Runs one statement of the job. Notes how far the export has come, and stops if nobody waits for this attempt any
    /// more.
    async fn read(
        &self,
        operation: &'static str,
        query: &(dyn Fn() -> Query + Sync),
    ) -> Result<(Vec<Row>, Arc<SubjectKeys>), Stop> {
        let progress = || export_progress(self.ctx.subject, self.export, self.etag.clone(), self.done);
        let frame = Frame::act(operation, self.ctx).shared();
        let (standing, [waited_for, rows]) = frame::query(self.app, frame, || [progress(), query()]).await?;
        if waited_for.is_empty() { Err(Stop::Superseded) } else { Ok((rows, standing.keys)) }
    }

    async fn records(&mut self, part: &Part, ids: &[RecordId]) -> Result<Vec<Value>, Stop> {
        let (rows, keys) = self.read("export_records", &|| export_records(self.ctx.subject, ids)).await?;
        if matches!(part, Part::Records(_)) {
            self.done += i64::try_from(ids.len()).unwrap_or(i64::MAX);
        }
        let mut items = Vec::with_capacity(rows.len());
        for row in rows.iter().map(RecordRow::from_row) {
            let record = open(&keys, &row)?;
            if self.matches(&row.entry.kind, &record) {
                items.push(match part {
                    Part::Settings => export_item::settings(&record),
                    Part::Wordbook => export_item::word(&record),
                    _ => export_item::record(&record),
                });
            }
        }
        Ok(items)
    }

    fn matches(&self, name: &str, record: &OpenRecord) -> bool {
        match kind(name) {
            Some(kind) => self.filter.matches(kind, &record.body),
            // A record of a kind that is no longer known is exported only if the request has no filter.
            None => self.filter.is_empty(),
        }
    }

    async fn events(&mut self, after: After) -> Result<(Vec<Value>, Option<After>), Stop> {
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let (rows, keys) =
            self.read("export_events", &|| export_events(self.ctx.subject, after.clone(), limit)).await?;
        self.done += i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let mut rows = ExportedEvent::from_rows(&rows);
        let items =
            rows.iter().map(|row| export_item::event(self.user, &keys, row)).collect::<Result<_, AppError>>()?;
        let last = if rows.len() == PAGE { rows.pop() } else { None };
        let last = last.map(|ExportedEvent { event, .. }| After {
            aggregate_type: event.aggregate_type,
            aggregate_id: event.aggregate_id,
            sequence: event.sequence,
        });
        Ok((items, last))
    }

    async fn once(&self, part: &Part) -> Result<Vec<Value>, Stop> {
        Ok(match part {
            Part::Metadata => {
                let date = seconds(self.ctx.now());
                vec![json!({ "exportDate": date, "exportVersion": "1.0", "userId": self.email })]
            }
            Part::User => vec![json!({ "email": self.email, "registeredAt": seconds(self.registered_at) })],
            Part::Request => vec![json!({
                "id": self.export.to_string(), "scope": self.scope.as_str(), "format": self.format.as_str(),
                "requestedAt": time(self.requested_at), "filters": self.filter,
            })],
            Part::Consents => {
                let (rows, _) = self.read("export_consents", &|| export_consents(self.ctx.subject)).await?;
                rows.iter().map(|row| export_item::decision(&Event::from_row(row))).collect::<Result<_, _>>()?
            }
            Part::Retention => {
                let (rows, _) = self.read("retention_list", &|| retention_list(self.ctx.subject)).await?;
                let own = RetentionRow::from_rows(&rows);
                let rule = |kind: &&domain::Kind| {
                    let is_own = own.iter().any(|row| row.kind == kind.name());
                    json!({ "kind": kind.name(), "days": days_of(kind, &own, self.ctx.now()), "own": is_own })
                };
                KINDS.iter().map(rule).collect()
            }
            Part::Switches => {
                let (switches, _) = restriction::get(self.app, self.ctx).await?;
                let (held_until, reason) = switches.hold.unzip();
                vec![json!({
                    "restrictedAt": switches.restricted_at.map(time), "heldUntil": held_until.map(time), "holdReason": reason,
                })]
            }
            Part::Requests => self.requests().await?,
            Part::Settings | Part::Wordbook | Part::Records(_) | Part::Events => Vec::new(),
        })
    }

    async fn requests(&self) -> Result<Vec<Value>, Stop> {
        let (deletions, ..) = deletion::list(self.app, self.ctx, &Page::all()).await?;
        let deletions = deletions.into_iter().map(|request| {
            json!({
                "type": "deletion", "id": request.row.deletion.to_string(), "scope": request.row.scope.as_str(),
                "state": request.row.state, "requestedAt": time(request.row.requested_at),
                "confirmedUntil": request.row.grace_ends_at.map(time), "endedAt": request.row.ended_at.map(time),
                "records": request.row.removed, "filters": request.wish.filter, "reason": request.wish.reason,
            })
        });
        let (exports, ..) = export::list(self.app, self.ctx, &Page::all()).await?;
        let exports = exports.into_iter().map(|request| {
            json!({
                "type": "export", "id": request.row.export.to_string(), "scope": request.row.scope.as_str(),
                "format": request.row.format.as_str(), "state": request.row.state,
                "requestedAt": time(request.row.requested_at), "endedAt": request.row.ended_at.map(time),
                "expiresAt": request.row.expires_at.map(time), "failure": request.row.failure, "size": request.row.size,
                "filters": request.filter,
            })
        });
        Ok(deletions.chain(exports).collect())
    }
}
