//! Statements and the values bound to them.

use std::any::Any;

use tokio_postgres::types::ToSql;

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
}

impl<T: Send + Sync + 'static> List for Vec<T>
where
    Self: ToSql,
{
    fn append(&mut self, more: Box<dyn Any>) {
        self.extend(*more.downcast::<Self>().expect("the same statement binds the same types"));
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
    /// statement whose parameters are all lists can be sent for several persons at once; then each of its rows says by
    /// `subject_id` whom it is about.
    pub fn list<T: Send + Sync + 'static>(mut self, values: Vec<T>) -> Self
    where
        Vec<T>: ToSql,
    {
        self.values.push(Value::List(Box::new(values)));
        self
    }

    /// Whether all parameters are lists.
    pub(crate) fn is_list(&self) -> bool {
        !self.values.is_empty() && self.values.iter().all(|value| matches!(value, Value::List(_)))
    }

    /// Appends the entries of the same statement.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        for (value, more) in self.values.iter_mut().zip(other.values) {
            if let (Value::List(list), Value::List(more)) = (value, more) {
                list.append(more);
            }
        }
        self.exactly = self.exactly.zip(other.exactly).map(|(one, other)| one + other);
        self
    }

    /// Requires the statement to change or find exactly so many rows. Otherwise the transaction fails before its COMMIT
    /// is sent. For statements where fewer rows would mean that something stays that must be removed. Such a statement
    /// returns no rows.
    pub fn exactly(self, rows: usize) -> Self {
        Self { exactly: Some(rows as u64), ..self }
    }
}
