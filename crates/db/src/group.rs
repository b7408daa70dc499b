//! Group commit: transactions of different persons that wait at the same moment share one transaction of the database.
//!
//! The work of each person runs in a task of its own, as if it had a transaction to itself: it reads in one flight,
//! decides, and queues what is to be stored. A leader sends the same statement of all members as one
//! ([`Query::list`]), under a ticket that names exactly these persons, gives each row to the member whose person it is
//! about, and commits what all of them queued. It refuses a row that is about nobody in the group. A group of those who have
//! nothing to read sends one statement, which is a transaction of its own ([`Db::run_at_once`](crate::Db::run_at_once)).
//!
//! Promises: a person is in one group at a time and once in it; no request waits for company, because a request that comes
//! while a slot is free runs at once; a member that is refused, or whose person's lock is taken, leaves. If the group's
//! transaction fails, nothing of it is stored, and each member runs again alone. Members are sorted by person, so that
//! two groups take the same locks in the same order.
//!
//! A ticket of several persons protects them from all others, and not from one another. Among them the first list of
//! each statement does, which must name the member's own person, and the second lock is `split`.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    num::NonZero,
    sync::{Mutex, MutexGuard},
};

use context::{Role, SubjectId};
use tokio::sync::oneshot;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{DbError, gate::Gate, query::Query};

/// The most members of one group. Larger groups are not faster, and more members have to run again if one fails.
pub(crate) const MOST: usize = 64;

/// The groups of one pool.
pub(crate) struct Group(Mutex<State>);

pub(crate) struct State {
    /// How many transactions of groups run at once.
    pub slots: usize,
    /// Those that wait for the next group, in the order of their arrival.
    pub waiting: VecDeque<Joining>,
    /// The persons in transactions that are under way.
    pub busy: HashSet<SubjectId>,
    /// How many transactions are under way.
    pub leading: usize,
}

/// A person who waits for a group, and what for.
pub(crate) struct Joining {
    pub gate: Gate,
    pub role: Role,
    pub wish: Wish,
}

/// What a member wants of its first flight.
pub(crate) enum Wish {
    /// The rows of statements, to decide on them and then store something.
    Open(Vec<Query>, oneshot::Sender<Result<Opened, DbError>>),
    /// That a statement stores something ([`Db::run_at_once`](crate::Db::run_at_once)); whether it did.
    Store(Query, oneshot::Sender<Result<bool, DbError>>),
}

impl Wish {
    /// Whether both can be of one group.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Open(..), Self::Open(..)) => true,
            (Self::Store(one, _), Self::Store(another, _)) => one.sql == another.sql,
            _ => false,
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Open(_, answer) => answer.is_closed(),
            Self::Store(_, answer) => answer.is_closed(),
        }
    }
}

/// What a member gets of the first flight.
pub(crate) struct Opened {
    /// The rows of each of its statements.
    pub rows: Vec<Vec<Row>>,
    /// Takes what the member wants to be stored. A member that drops it leaves the group.
    pub link: oneshot::Sender<Part>,
}

/// What a member stores.
pub(crate) struct Part {
    pub queries: Vec<Query>,
    pub done: oneshot::Sender<Result<(), DbError>>,
}

impl Group {
    /// One slot for every two cores, because the database needs the others; but only for a part of the pool's connections,
    /// because others need them. With more slots, groups would have fewer members each.
    pub(crate) fn new(connections: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let slots = (cores / 2).min(connections / 4).max(1);
        Self(Mutex::new(State { slots, waiting: VecDeque::new(), busy: HashSet::new(), leading: 0 }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no one panics while joining")
    }
}

impl State {
    /// Takes the next group, if one more may run: of one role and one kind of wish, each person once, and nobody who is in
    /// a transaction already.
    pub(crate) fn next(&mut self) -> Vec<Joining> {
        let (mut members, mut later) = (Vec::<Joining>::new(), VecDeque::new());
        if self.leading >= self.slots {
            return members;
        }
        for joining in mem::take(&mut self.waiting) {
            // The request of this one has ended.
            if joining.wish.is_closed() {
                continue;
            }
            let alike = |first: &Joining| first.role == joining.role && first.wish.is_like(&joining.wish);
            let fits = members.first().is_none_or(alike) && members.len() < MOST;
            if fits && self.busy.insert(joining.gate.subject) {
                members.push(joining);
            } else {
                later.push_back(joining);
            }
        }
        self.waiting = later;
        members.sort_by_key(|member| member.gate.subject.0);
        self.leading += usize::from(!members.is_empty());
        members
    }
}

/// Why a member has to run again alone.
pub(crate) fn again() -> DbError {
    DbError::Conflict("group".to_owned())
}

/// The statements of several members, each of which is sent once.
pub(crate) struct Merged {
    pub queries: Vec<Query>,
    /// For each member, where its statements stand in `queries`; `None` if they do not fit in.
    pub places: Vec<Option<Vec<usize>>>,
}

impl Merged {
    /// Merges the statements of members, each given with its person. Those of a member keep their order. They do not fit
    /// in if one of them is not about this person alone, or if others need another order.
    pub(crate) fn of(members: Vec<(SubjectId, Vec<Query>)>) -> Self {
        let mut sql: Vec<&'static str> = Vec::new();
        let mut fitting = Vec::with_capacity(members.len());
        for (subject, member) in &members {
            let fits = member.iter().all(|query| query.is_about(subject.0)) && place(&mut sql, member);
            fitting.push(fits);
        }
        let mut queries: Vec<Option<Query>> = sql.iter().map(|_| None).collect();
        let mut add = |query: Query| {
            let at = sql.iter().position(|sql| *sql == query.sql()).expect("each statement has a place");
            queries[at] = Some(match queries[at].take() {
                Some(others) => others.merge(query),
                None => query,
            });
            at
        };
        let places = members.into_iter().zip(fitting);
        let places = places.map(|((_, member), fits)| fits.then(|| member.into_iter().map(&mut add).collect()));
        let places = places.collect();
        let queries = queries.into_iter().map(|query| query.expect("each place has a statement")).collect();
        Self { queries, places }
    }
}

/// Adds a member's statements to the list, each behind the one before it and each only once. Adds nothing if that can't
/// be done.
fn place(sql: &mut Vec<&'static str>, member: &[Query]) -> bool {
    let (mut longer, mut next) = (sql.clone(), 0);
    for query in member {
        match longer.iter().position(|sql| *sql == query.sql()) {
            Some(at) if at >= next => next = at + 1,
            Some(_) => return false,
            None => {
                longer.insert(next, query.sql());
                next += 1;
            }
        }
    }
    *sql = longer;
    true
}

/// Gives each member the rows that are about its person. Refuses a row about anybody else, because then a statement is
/// wrong, and one person's rows could reach another.
pub(crate) fn split(
    gates: &[Gate],
    places: &[Option<Vec<usize>>],
    rows: Vec<Vec<Row>>,
) -> Result<Vec<Option<Vec<Vec<Row>>>>, DbError> {
    let members: HashMap<SubjectId, usize> = gates.iter().enumerate().map(|(at, gate)| (gate.subject, at)).collect();
    let mut parts: Vec<Option<Vec<Vec<Row>>>> =
        places.iter().map(|places| places.as_ref().map(|places| places.iter().map(|_| Vec::new()).collect())).collect();
    for (statement, rows) in rows.into_iter().enumerate() {
        for row in rows {
            let subject: Uuid = row.try_get("subject_id")?;
            let member = members.get(&SubjectId(subject)).copied();
            let part = member.and_then(|member| {
                let at = places[member].as_ref()?.iter().position(|place| *place == statement)?;
                parts[member].as_mut()?.get_mut(at)
            });
            part.ok_or_else(stranger)?.push(row);
        }
    }
    Ok(parts)
}

fn stranger() -> DbError {
    DbError::Fault { code: "LT003".to_owned(), message: "a row is about nobody in the group".to_owned() }
}
