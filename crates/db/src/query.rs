//! Statements and the values bound to them.

use std::any::Any;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// One statement and the values bound to it.
pub struct Query {
    pub(crate) sql: &'static str,
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
    /// Whether all entries are this id.
    fn is_all(&self, id: Uuid) -> bool;
}

impl<T: Send + Sync + 'static> List for Vec<T>
where
    Self: ToSql,
{
    fn append(&mut self, more: Box<dyn Any>) {
        self.extend(*more.downcast::<Self>().expect("the same statement binds the same types"));
    }

    fn length(&self) -> usize {
        self.len()
    }

    fn is_all(&self, id: Uuid) -> bool {
        let ids = (self as &dyn Any).downcast_ref::<Vec<Uuid>>();
        ids.is_some_and(|ids| ids.iter().all(|entry| *entry == id))
    }
}

impl Value {
    pub(crate) fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::One(value) => &**value,
            Self::List(list) => &**list,
        }
    }
}

impl Query {
    /// A statement; its first line is a comment with the operation's name.
    pub fn new(sql: &'static str) -> Self {
        Self { sql, values: Vec::new(), exactly: None }
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
    pub fn list<T: Send + Sync + 'static>(mut self, values: Vec<T>) -> Self
    where
        Vec<T>: ToSql,
    {
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
