//! Alerts: what rules find in the log, the alerts on record, and their deliveries to endpoints. No personal data; an
//! erasure does not touch them. A lost delivery is made again, because deliveries follow from the log and the name of
//! an endpoint.

use chrono::{DateTime, TimeDelta, Utc};
use context::SubjectId;
use db::{FromRow, Query, Row, sql};
use domain::Choice;
use event_log::Event;
use uuid::Uuid;

use crate::{
    choice::choice,
    page::{Moment, Page, TimedPlace},
};

#[derive(Clone, Debug)]
pub struct PatternQuery {
    /// The type of the events that are counted.
    pub event_type: String,
    /// Only events of this kind; `None` counts all kinds.
    pub kind: Option<String>,
    /// Only events by somebody in one of these roles; an empty list counts all roles.
    pub roles: Vec<String>,
    /// Groups events by session if true, and by the person whom they are about if false.
    pub by_session: bool,
    /// Counts the people whom the events are about, instead of the events.
    pub people: bool,
    /// A count from which on the pattern is found.
    pub at_least: i64,
    /// Only events after this time.
    pub since: DateTime<Utc>,
}

/// A pattern that a rule found.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Found {
    /// The id of the session, or of the person inside the log.
    pub actor: String,
    /// The number of events, or of people if the rule counts people.
    #[row(sql = "count(*)", with = i64::unsigned_abs)]
    pub count: u64,
    /// The time of the first counted event.
    #[row(sql = "min(recorded_at)")]
    pub since: DateTime<Utc>,
}

/// Finds who did too much of something lately. Events about nobody in particular count together, under the nil id.
pub fn pattern_find(wanted: PatternQuery) -> Query {
    Query::new(
        sql!("-- pattern_find
        SELECT ", Found::COLUMNS, " FROM (
            SELECT CASE WHEN $3 THEN metadata->>'session' ELSE subject_id::text END AS actor, min(recorded_at) AS recorded_at
            FROM log.events
            WHERE recorded_at > $6 AND event_type = $1 AND (cardinality($2::text[]) = 0 OR metadata->>'role' = ANY ($2))
              AND ($7::text IS NULL OR kind = $7)
            GROUP BY 1, CASE WHEN $4 THEN subject_id::text ELSE event_id::text END) e
        WHERE actor IS NOT NULL GROUP BY actor HAVING count(*) >= $5 ORDER BY 2 DESC LIMIT 10000"),
    )
    .bind(wanted.event_type)
    .bind(wanted.roles)
    .bind(wanted.by_session)
    .bind(wanted.people)
    .bind(wanted.at_least)
    .bind(wanted.since)
    .bind(wanted.kind)
}

/// The person to whom a session belongs.
pub fn session_subject(session: Uuid) -> Query {
    Query::new("-- session_subject\nSELECT subject_id FROM auth.sessions WHERE session_id = $1").bind(session)
}

/// Suspends an account. An earlier suspension that ends later is kept.
pub fn suspension_put(subject: SubjectId, until: DateTime<Utc>) -> Query {
    Query::new(
        "-- suspension_put
        INSERT INTO auth.suspensions AS s (subject_id, until) VALUES ($1, $2)
        ON CONFLICT (subject_id) DO UPDATE SET until = greatest(s.until, excluded.until)",
    )
    .bind(subject.0)
    .bind(until)
}

/// The type of an alert's newest event as long as nobody looks after the alert.
pub const RAISED: &str = "alert.raised";

/// A page of the newest events of all streams of a type that are about no person, newest first; with a type of event,
/// only those of this type.
pub fn newest_of_type(
    aggregate_type: &'static str,
    event_type: Option<&'static str>,
    page: &Page<TimedPlace>,
) -> Query {
    let (at, id) = page.before();
    Query::new(sql!(
        "-- newest_of_type
        SELECT ",
        Event::COLUMNS,
        " FROM log.events e
        WHERE subject_id = '00000000-0000-0000-0000-000000000000' AND aggregate_type = $1
          AND ($2::text IS NULL OR event_type = $2) AND (recorded_at, event_id) < ($3, $4)
          AND NOT EXISTS (SELECT FROM log.events later
                          WHERE later.subject_id = '00000000-0000-0000-0000-000000000000' AND later.aggregate_type = $1
                            AND later.aggregate_id = e.aggregate_id AND later.sequence > e.sequence)
        ORDER BY recorded_at DESC, event_id DESC LIMIT $5"
    ))
    .bind(aggregate_type)
    .bind(event_type)
    .bind(at)
    .bind(id)
    .bind(page.rows())
}

/// How many alerts nobody looks after.
pub fn alerts_open() -> Query {
    Query::new(
        "-- alerts_open
        SELECT count(*) AS open FROM (
            SELECT DISTINCT ON (aggregate_id) event_type FROM log.events
            WHERE subject_id = '00000000-0000-0000-0000-000000000000' AND aggregate_type = 'alert'
            ORDER BY aggregate_id, sequence DESC) newest
        WHERE event_type = $1",
    )
    .bind(RAISED)
}

/// Where an event stands in [`newest_of_type`].
pub fn newest_place(event: &Event) -> TimedPlace {
    (Moment(event.recorded_at), event.event_id.0)
}

/// Adds a delivery for each endpoint and each alert of the last day, unless the delivery exists.
pub fn deliveries_plan(endpoints: Vec<String>, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- deliveries_plan
        INSERT INTO jobs.deliveries (endpoint, event_id, state, next_at, created_at)
        SELECT endpoint, e.event_id, 'waiting', $2, $2
        FROM unnest($1::text[]) AS endpoint, log.events e
        WHERE e.subject_id = '00000000-0000-0000-0000-000000000000' AND e.aggregate_type = 'alert'
          AND e.event_type = 'alert.raised' AND e.recorded_at > $2::timestamptz - interval '1 day'
        ON CONFLICT DO NOTHING",
    )
    .bind(endpoints)
    .bind(now)
}

/// A delivery that is ours until its lease ends.
pub struct Delivery {
    pub endpoint: String,
    /// How often it was tried, this time included.
    pub attempts: i32,
    /// The alert; `None` if the log does not hold it.
    pub event: Option<Event>,
}

impl FromRow for Delivery {
    const COLUMNS: &'static str = sql!("endpoint, attempts, ", Event::COLUMNS);

    fn from_row(row: &Row) -> Self {
        let is_there = row.get::<_, Option<&str>>("aggregate_type").is_some();
        let event = is_there.then(|| Event::from_row(row));
        Self { endpoint: row.get("endpoint"), attempts: row.get("attempts"), event }
    }
}

/// Takes a delivery of an endpoint that is due, and moves its next attempt behind the time that this attempt may take.
pub fn delivery_take(endpoint: &str, now: DateTime<Utc>, lease: TimeDelta) -> Query {
    Query::new(sql!(
        "-- delivery_take
        WITH due AS MATERIALIZED (
            SELECT event_id FROM jobs.deliveries WHERE state = 'waiting' AND next_at <= $1 AND endpoint = $3
            ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED),
        taken AS (
            UPDATE jobs.deliveries d SET attempts = attempts + 1, next_at = $2 FROM due
            WHERE d.endpoint = $3 AND d.event_id = due.event_id
            RETURNING d.endpoint, d.attempts, d.event_id AS taken_id)
        SELECT ",
        Delivery::COLUMNS,
        "
        FROM taken t LEFT JOIN log.events e ON e.subject_id = '00000000-0000-0000-0000-000000000000'
                                           AND e.aggregate_type = 'alert' AND e.event_id = t.taken_id"
    ))
    .bind(now)
    .bind(now + lease)
    .bind(endpoint.to_owned())
}

/// Stores the result of an attempt. After a failure, the time is that of the next attempt; `None` gives the delivery
/// up.
pub fn delivery_settle(
    endpoint: &str,
    event: Uuid,
    outcome: Result<(), (Option<DateTime<Utc>>, String)>,
    now: DateTime<Utc>,
) -> Query {
    let (state, next_at, failure, ended) = match outcome {
        Ok(()) => ("delivered", now, None, Some(now)),
        Err((Some(next), failure)) => ("waiting", next, Some(failure), None),
        Err((None, failure)) => ("dead", now, Some(failure), Some(now)),
    };
    Query::new(
        "-- delivery_settle
        UPDATE jobs.deliveries SET state = $3, next_at = $4, failure = $5, ended_at = $6 WHERE endpoint = $1 AND event_id = $2",
    )
    .bind(endpoint.to_owned())
    .bind(event)
    .bind(state)
    .bind(next_at)
    .bind(failure)
    .bind(ended)
}

/// Sends deliveries again. With an alert's event, all deliveries of this alert; otherwise those that were given up.
/// With an endpoint, only those to this endpoint.
pub fn deliveries_replay(endpoint: Option<String>, event: Option<Uuid>, now: DateTime<Utc>) -> Query {
    Query::new(
        "-- deliveries_replay
        UPDATE jobs.deliveries SET state = 'waiting', attempts = 0, next_at = $3, ended_at = NULL
        WHERE ($1::text IS NULL OR endpoint = $1) AND ($2::uuid IS NULL AND state = 'dead' OR event_id = $2) RETURNING event_id",
    )
    .bind(endpoint)
    .bind(event)
    .bind(now)
}

domain::choice! {
    /// The state of a delivery.
    DeliveryState { Waiting = "waiting", Delivered = "delivered", Dead = "dead" }
}

/// A delivery as the desk sees it.
#[derive(FromRow)]
pub struct DeliveryRow {
    /// The name of the endpoint.
    pub endpoint: String,
    /// The id of the alert's event.
    #[row(sql = "event_id")]
    pub event: Uuid,
    #[row(with = choice)]
    pub state: DeliveryState,
    pub attempts: i32,
    /// When the delivery is tried next, if it waits.
    pub next_at: DateTime<Utc>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// When the delivery was added.
    pub created_at: DateTime<Utc>,
}

/// Where a delivery stands in [`delivery_list`]: when it was added, its event and its endpoint.
pub type DeliveryPlace = (Moment, Uuid, String);

impl DeliveryRow {
    pub fn place(&self) -> DeliveryPlace {
        (Moment(self.created_at), self.event, self.endpoint.clone())
    }
}

/// A page of the deliveries, newest first; with a state, only those in this state.
pub fn delivery_list(state: Option<DeliveryState>, page: &Page<DeliveryPlace>) -> Query {
    let (Moment(at), event, endpoint) =
        page.after.clone().unwrap_or((Moment(DateTime::<Utc>::MAX_UTC), Uuid::max(), String::new()));
    Query::new(sql!(
        "-- delivery_list
        SELECT ",
        DeliveryRow::COLUMNS,
        " FROM jobs.deliveries
        WHERE ($1::text IS NULL OR state = $1) AND (created_at, event_id, endpoint) < ($2, $3, $4)
        ORDER BY created_at DESC, event_id DESC, endpoint DESC LIMIT $5"
    ))
    .bind(state.map(Choice::as_str))
    .bind(at)
    .bind(event)
    .bind(endpoint)
    .bind(page.rows())
}
