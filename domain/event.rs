//! Types of events: each aggregate lists its own once, beside the enum of its events. What the log stores under a type is never
//! renamed.

/// The types of an aggregate's events.
pub trait EventTypes {
    /// All of them, in the order of the enum.
    const ALL: &'static [&'static str];
}

/// Gives every variant of an enum of events its type, and all of them one version. The compiler refuses a variant without a type.
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
