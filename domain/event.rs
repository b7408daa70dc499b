//! Types of events, and what follows from an aggregate. Each aggregate lists its types once, beside the enum of its
//! events. A type is never renamed, because the log holds events of this type for ever.

use cqrs_es::Aggregate;

use crate::{ProblemType, Rule};

/// The types of an aggregate's events.
pub trait EventTypes {
    /// All types, in the order of the enum's variants.
    const ALL: &'static [&'static str];
}

/// Whom the streams of an aggregate are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Person,
    Nobody,
    /// A person, or nobody if the address that somebody tried belongs to nobody.
    Either,
}

/// What follows from an aggregate. The aggregate's own file says it, once.
pub trait Described: Aggregate<Event: EventTypes, Error: Rule> {
    const ABOUT: About;
    /// Whether payloads are sealed with the record's key. Otherwise they hold states, times and sealed texts only, and
    /// `tests/columns.allow` names each of their fields.
    const IS_SEALED: bool;
    /// The entries of the ledger by which a restore repeats events of this aggregate.
    const LEDGER: &'static [&'static str];
    /// The read models that are rebuilt from its events.
    const REBUILT_IN: &'static [&'static str];
    /// The types of problem with which its rules refuse a command because of the present state.
    const CONFLICTS: &'static [ProblemType] = &[];
}

/// Gives every variant of an enum of events its type, and gives all variants the same version. The compiler refuses a
/// variant without a type.
macro_rules! event_types {
    ($event:ident $version:literal { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $crate::event::EventTypes for $event {
            const ALL: &'static [&'static str] = &[$($name),+];
        }

        impl ::cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                match self { $(Self::$variant { .. } => $name),+ }.to_owned()
            }
            fn event_version(&self) -> String {
                $version.to_owned()
            }
        }
    };
}

pub(crate) use event_types;
