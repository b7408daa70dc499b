//! Statements and the values bound to them.

use std::any::Any;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// One statement and the values bound to it.
pub struct Query {
    pub(crate) sql: &'static str,
    /// The same statement about one row.
    one: Option<&'static str>,
    pub(crate) values: Vec<Value>,
    pub(crate) exactly: Option<u64>,
}

/// A bound value.
pub(crate) enum Value {
    /// One that stands for itself.
    One(Box<dyn ToSql + Sync + Send>),
    /// A list with an entry for each row that the statement is about.
    List(Box<dyn List>),
}

/// A list that takes the entries of another one.
pub(crate) trait List: ToSql + Sync + Send + Any {
    fn append(&mut self, more: Box<dyn Any>);
    fn length(&self) -> usize;
    /// The first entry.
    fn first(&self) -> &(dyn ToSql + Sync);
    /// Whether all entries are this id.
    fn is_all(&self, id: Uuid) -> bool;
}

impl<T: ToSql + Send + Sync + 'static> List for Vec<T> {
    fn append(&mut self, more: Box<dyn Any>) {
        self.extend(*more.downcast::<Self>().expect("the same statement binds the same types"));
    }

    fn length(&self) -> usize {
        self.len()
    }

    fn first(&self) -> &(dyn ToSql + Sync) {
        &self[0]
    }

    fn is_all(&self, id: Uuid) -> bool {
        let ids = (self as &dyn Any).downcast_ref::<Vec<Uuid>>();
        ids.is_some_and(|ids| ids.iter().all(|entry| *entry == id))
    }
}

/// A statement whose parameters are all lists, one for each of its columns, in two forms; see [`rows`](crate::rows).
#[derive(Clone, Copy)]
pub struct Rows {
    pub many: &'static str,
    pub one: &'static str,
}

/// Writes a statement about rows that are bound as lists, one for each column, between its beginning and its end. For a single
/// row there is a form of the statement with a value for each list, which costs PostgreSQL a fraction.
#[macro_export]
macro_rules! rows {
    ($begin:expr, [$first:literal $(, $column:literal)* $(,)?], $end:expr $(,)?) => {
        $crate::Rows {
            many: $crate::sql!($begin, "unnest(", $first, "[]", $(", ", $column, "[]",)* ")", $end),
            one: $crate::sql!($begin, "(VALUES (", $first, $(", ", $column,)* "))", $end),
        }
    };
}

impl Query {
    /// A statement; its first line is a comment with the operation's name.
    pub fn new(sql: &'static str) -> Self {
        Self { sql, one: None, values: Vec::new(), exactly: None }
    }

    /// A statement about rows that are bound as lists ([`Query::list`]).
    pub fn rows(rows: Rows) -> Self {
        Self { one: Some(rows.one), ..Self::new(rows.many) }
    }

    /// The form of the statement that is sent, and its values.
    pub(crate) fn sent(&self) -> (&'static str, Vec<&(dyn ToSql + Sync)>) {
        let is_one = |value: &Value| matches!(value, Value::List(list) if list.length() == 1);
        let one = self.one.filter(|_| self.values.iter().all(is_one));
        let values = self.values.iter().map(|value| match value {
            Value::One(value) => &**value as &(dyn ToSql + Sync),
            Value::List(list) if one.is_some() => list.first(),
            Value::List(list) => &**list as &(dyn ToSql + Sync),
        });
        (one.unwrap_or(self.sql), values.collect())
    }

    /// The statement itself, for plans.
    pub fn sql(&self) -> &'static str {
        self.sql
    }

    /// Binds the next parameter.
    pub fn bind(mut self, value: impl ToSql + Sync + Send + 'static) -> Self {
        self.values.push(Value::One(Box::new(value)));
        self
    }

    /// Binds the next parameter, which is a list with an entry for each row that the statement is about, for `unnest`. A
    /// statement whose parameters are all lists, of which the first holds the persons' ids, can be sent for several
    /// persons at once; then each of its rows says by `subject_id` whom it is about.
    pub fn list<T: ToSql + Send + Sync + 'static>(mut self, values: Vec<T>) -> Self {
        self.values.push(Value::List(Box::new(values)));
        self
    }

    /// Whether the statement can be sent together with the same one of other persons: all parameters are lists of one
    /// length, the first of which names this person alone. Rows that are counted could not be told apart.
    pub(crate) fn is_about(&self, subject: Uuid) -> bool {
        let lists = self.values.iter().map(|value| match value {
            Value::One(_) => None,
            Value::List(list) => Some(list),
        });
        let Some(lists) = lists.collect::<Option<Vec<_>>>() else { return false };
        let Some(first) = lists.first() else { return false };
        self.exactly.is_none() && first.is_all(subject) && lists.iter().all(|list| list.length() == first.length())
    }

    /// Appends the entries of the same statement, of another person.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        for (value, more) in self.values.iter_mut().zip(other.values) {
            if let (Value::List(list), Value::List(more)) = (value, more) {
                list.append(more);
            }
        }
        self
    }

    /// Requires the statement to change or find exactly so many rows. Otherwise the transaction fails before its COMMIT
    /// is sent. For statements where fewer rows would mean that something stays that must be removed. Such a statement
    /// returns no rows.
    pub fn exactly(self, rows: usize) -> Self {
        Self { exactly: Some(rows as u64), ..self }
    }
}
