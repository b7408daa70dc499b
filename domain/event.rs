//! Types of events. Each aggregate lists its types once, beside the enum of its events. A type is never renamed,
//! because the log holds events of this type for ever.

/// The types of an aggregate's events.
pub trait EventTypes {
    /// All types, in the order of the enum's variants.
    const ALL: &'static [&'static str];
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
