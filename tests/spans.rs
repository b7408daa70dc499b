//! One name: the operationId in the document is the operation of a request's span, and the name of one of its
//! transactions. A span says how the request ended, and holds no value of a person.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use context::SubjectId;
use lethe::jobs::run_due;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    instrument::WithSubscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Registry,
    layer::{Context, Layer, SubscriberExt},
    registry::LookupSpan,
};
use uuid::Uuid;

use crate::{
    job,
    operations::{self, Stage},
    steps::subject_of,
    support::World,
};

/// Operations that are answered from the lists of kinds and purposes. Their only transaction reads the caller's
/// standing.
const WITHOUT_TRANSACTION: [&str; 2] = ["impact_assessment", "processing_record"];

/// The fields of one span or event, by name.
#[derive(Debug, Default)]
struct Fields(BTreeMap<String, String>);

/// The fields of all spans and events in order, each with the name of the span or of the event's span.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<(String, Fields)>>>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Said {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        self.note(format!("span {}", attributes.metadata().name()), fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        let name = context.span(id).map_or("", |span| span.name());
        self.note(format!("end {name}"), fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let names = context.event_scope(event).into_iter().flatten().map(|span| span.name()).collect::<Vec<_>>();
        self.note(format!("in {}", names.join(" ")), fields);
    }
}

impl Said {
    fn note(&self, what: String, fields: Fields) {
        self.0.lock().expect("no one panics while noting").push((what, fields));
    }

    /// The values of a field in spans, ends of spans or events with this name.
    fn of(&self, what: &str, field: &str) -> Vec<String> {
        let said = self.0.lock().expect("no one panics while noting");
        said.iter().filter(|(name, _)| name == what).filter_map(|(_, fields)| fields.0.get(field).cloned()).collect()
    }
}

#[tokio::test]
async fn an_operation_has_one_name_in_the_document_its_span_and_its_transaction() {
    let stage = Stage::new().await;
    let (mut seen, mut faults) = (0, Vec::new());
    for id in operations::ids() {
        let person = stage.newcomer().await;
        let Some(call) = stage.prepare(&person, &id).await else { continue };
        let said = Said::default();
        let subscriber = Registry::default().with(said.clone());
        stage.send(&person, &call).with_subscriber(subscriber).await;
        let named = said.of("span request", "operation");
        if named != [id.clone()] {
            faults.push(format!("{id}: its spans are of {named:?}"));
        }
        if said.of("end request", "outcome").len() != 1 || said.of("end request", "elapsed_us").len() != 1 {
            faults.push(format!("{id}: its span does not say how it ended"));
        }
        let transactions = said.of("in request", "tx");
        // An operation with several transactions prefixes their names with its own, such as `import_submit`.
        let is_named = |tx: &String| *tx == id || tx.starts_with(&format!("{id}_"));
        if !transactions.iter().any(is_named) && !WITHOUT_TRANSACTION.contains(&id.as_str()) {
            faults.push(format!("{id}: its transactions are {transactions:?}"));
        }
        let all = format!("{:?}", said.0.lock().expect("no one panics while noting"));
        if all.contains(&person.email) || all.contains(&person.user_id) || all.contains("2025-12-08") {
            faults.push(format!("{id}: a value of the person is traced"));
        }
        seen += 1;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen >= 60, "{seen} operations were called");
}

#[tokio::test]
async fn a_job_has_a_span_that_says_how_it_ended_and_not_whose_it_is() {
    let world = World::new().await;
    let subject = subject_of(&world, &world.person("anna").await).await;
    for kind in ["retention", "unheard_of"] {
        job::add(&world, SubjectId(subject), kind, Uuid::nil()).await;
    }
    let said = Said::default();
    let subscriber = Registry::default().with(said.clone());
    assert_eq!(run_due(&world.app).with_subscriber(subscriber).await.expect("run"), 2);
    let jobs = said.of("span job", "operation").into_iter().zip(said.of("end job", "outcome"));
    let jobs: BTreeMap<String, String> = jobs.collect();
    let expected = [("retention", "done"), ("unheard_of", "unknown_kind")];
    assert_eq!(jobs, BTreeMap::from(expected.map(|(kind, outcome)| (kind.to_owned(), outcome.to_owned()))));
    assert_eq!(said.of("end job", "elapsed_us").len(), 2);
    let all = format!("{:?}", said.0.lock().expect("no one panics while noting"));
    assert!(!all.contains(&subject.to_string()), "{all}");
}
