//! Whatever statement or request a caller sends, it sees and changes only the caller's own rows.

use context::Role;
use db::Login;
use poem::http::{Method, StatusCode};
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use crate::{
    support::expect,
    town::{Somebody, Table, Town},
};

/// Tables that `lethe_api` may use without being the person that they are about, because they are about nobody:
/// counters of requests, and letters, which it may insert but not read. This list may only shrink.
const ABOUT_NOBODY: &[(&str, Verb)] = &[
    ("auth.limits", Verb::Select),
    ("auth.limits", Verb::Insert),
    ("auth.limits", Verb::Update),
    ("auth.letters", Verb::Insert),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Select,
    Insert,
    Update,
    Delete,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Select, Self::Insert, Self::Update, Self::Delete];
}

/// The shape of a statement.
#[derive(Clone, Copy, Debug)]
struct Form {
    table: usize,
    verb: Verb,
    /// Whether the statement names another person.
    names: bool,
    /// Whether an update tries to give rows to another person, instead of changing another column.
    gives: bool,
    returning: bool,
}

/// All shapes of statements on this number of tables.
fn forms(tables: usize) -> Vec<Form> {
    let mut forms = Vec::new();
    for (table, verb, bits) in (0..tables)
        .flat_map(|table| Verb::ALL.map(|verb| (table, verb)))
        .flat_map(|(table, verb)| (0..8_u8).map(move |bits| (table, verb, bits)))
    {
        forms.push(Form { table, verb, names: bits & 1 > 0, gives: bits & 2 > 0, returning: bits & 4 > 0 });
    }
    forms
}

/// A statement under a person's ticket.
#[derive(Clone, Copy, Debug)]
struct Statement {
    who: usize,
    other: usize,
    role: Role,
    /// Whether the ticket also holds the hash of the person's own address.
    shows: bool,
    form: Form,
}

fn statement(forms: Vec<Form>) -> impl Strategy<Value = Statement> {
    let roles =
        prop::sample::select(vec![Role::Subject, Role::Compliance, Role::Auditor, Role::Anonymous, Role::System]);
    let parts = (0..3_usize, 1..3_usize, roles, any::<bool>(), prop::sample::select(forms));
    parts.prop_map(|(who, other, role, shows, form)| Statement { who, other, role, shows, form })
}

/// A person, and another person.
fn two(people: &[Somebody], who: usize, other: usize) -> (&Somebody, &Somebody) {
    (&people[who], &people[(who + other) % people.len()])
}

impl Statement {
    async fn sql(&self, town: &Town, table: &Table, me: &Somebody, other: &Somebody) -> String {
        let (name, owner) = (&table.name, table.owner());
        let filter = if self.form.names { format!("WHERE {owner} = '{}'", table.mark(other)) } else { String::new() };
        let returning = if self.form.returning { format!("RETURNING {owner}::text") } else { String::new() };
        match self.form.verb {
            Verb::Select => format!("SELECT {owner}::text FROM {name} {filter}"),
            Verb::Delete => format!("DELETE FROM {name} {filter} {returning}"),
            Verb::Insert => {
                let row = town.row(table, if self.form.names { other } else { me }).await;
                format!(
                    "INSERT INTO {name} ({0}) OVERRIDING SYSTEM VALUE SELECT {0} FROM {row} {returning}",
                    table.insertable
                )
            }
            // Without a filter and without RETURNING, the policy for reading does not apply; the policy for updates
            // stands alone.
            Verb::Update => {
                let column = if self.form.gives && table.owner.is_some() { owner } else { &table.updatable };
                format!("UPDATE {name} SET {column} = ({}).{column} {filter} {returning}", town.row(table, other).await)
            }
        }
    }

    async fn check(&self, town: &Town, client: &Client) -> Result<(), TestCaseError> {
        let (me, other) = two(&town.people, self.who, self.other);
        let table = &town.tables[self.form.table];
        let allowed = ABOUT_NOBODY.contains(&(table.name.as_str(), self.form.verb));
        let sql = self.sql(town, table, me, other).await;
        let ticket = town.ticket(client, me, self.role, self.shows.then_some(me.lookup)).await;
        client.query("SELECT lethe.show($1, false)", &[&ticket]).await.expect("a variable is set");
        client.batch_execute("BEGIN").await.expect("a transaction begins");
        let outcome = client.simple_query(&sql).await;
        client.batch_execute("ROLLBACK").await.expect("a transaction ends");
        let messages = match outcome {
            Ok(messages) => messages,
            Err(error) => {
                let refused = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
                // The person's own row exists already. An insert of another person's row must be refused before that
                // matters.
                let present = error.code() == Some(&SqlState::UNIQUE_VIOLATION);
                let harmless = self.form.verb == Verb::Insert && !self.form.names && present;
                prop_assert!(refused || harmless || allowed, "{sql}: {error:?}");
                return Ok(());
            }
        };
        let (mut count, mut owners) = (0, Vec::new());
        for message in &messages {
            match message {
                SimpleQueryMessage::Row(row) => owners.push(row.get(0).unwrap_or_default().to_owned()),
                SimpleQueryMessage::CommandComplete(rows) => count = *rows,
                _ => {}
            }
        }
        if table.owner.is_none() {
            prop_assert!(allowed || count == 0, "{count} rows of nobody in particular: {sql}");
            return Ok(());
        }
        let mark = table.mark(me);
        prop_assert!(owners.iter().all(|owner| *owner == mark), "rows of somebody else: {sql}");
        let most = if self.form.names { 0 } else { town.count(table, me).await };
        prop_assert!(count <= most, "{count} rows where {most} are the person's own: {sql}");
        Ok(())
    }
}

/// Runs an asynchronous check on many cases, on one runtime.
pub fn property<S: Strategy>(
    cases: u32,
    runtime: &Runtime,
    strategy: S,
    check: impl AsyncFn(S::Value) -> Result<(), TestCaseError>,
) {
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&strategy, |case| runtime.block_on(check(case)));
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// **Feature: privacy-controls, Property 1: RLS data isolation**
#[test]
fn any_statement_reaches_only_rows_of_the_tickets_subject() {
    let runtime = Runtime::new().expect("a runtime");
    let town = runtime.block_on(Town::new());
    let client = runtime.block_on(town.world.login(Login::Api));
    let forms = forms(town.tables.len());
    for form in &forms {
        let statement = Statement { who: 0, other: 1, role: Role::Subject, shows: false, form: *form };
        runtime.block_on(statement.check(&town, &client)).unwrap_or_else(|error| panic!("{error}"));
    }
    property(256, &runtime, statement(forms), async |statement| statement.check(&town, &client).await);
}

/// A request of a caller who knows another person's secrets.
#[derive(Clone, Debug)]
struct Inquiry {
    who: usize,
    other: usize,
    operation: Index,
    secret: Index,
    /// Whether the fields of the body also name another person's things.
    in_body: bool,
}

/// A method, a path with parameters, the names of query parameters, and an example of a body.
struct Operation {
    method: Method,
    path: String,
    query: Vec<String>,
    body: Option<Value>,
}

/// Every operation of the OpenAPI document.
fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&lethe::http::document()).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .flat_map(|(path, item)| item.as_object().expect("operations").iter().map(move |entry| (path, entry)))
        .map(|(path, (method, operation))| {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let names = parameters.filter(|it| it["in"] == "query").filter_map(|it| it["name"].as_str());
            let schema = operation.pointer("/requestBody/content").and_then(Value::as_object);
            let schema = schema.and_then(|content| content.values().next()?["schema"]["$ref"].as_str());
            let example = |name: &str| document.pointer(&format!("{}/example", name.trim_start_matches('#'))).cloned();
            Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                query: names.map(str::to_owned).collect(),
                body: schema.map(|name| example(name).unwrap_or_else(|| panic!("{name} has no example"))),
            }
        })
        .collect()
}

impl Operation {
    async fn check(&self, town: &Town, inquiry: &Inquiry) -> Result<(), TestCaseError> {
        let (me, other) = two(&town.people, inquiry.who, inquiry.other);
        let secret = inquiry.secret.get(&other.secrets);
        let path = self.path.replace("{purpose}", if inquiry.in_body { "work_hours" } else { secret });
        let path = path.replace("{kind}", if inquiry.in_body { "work_day" } else { secret });
        let path = path.split('/').map(|part| if part.starts_with('{') { secret } else { part }).collect::<Vec<_>>();
        let mut body = self.body.clone();
        if let Some(fields) = body.as_mut().and_then(Value::as_object_mut).filter(|_| inquiry.in_body) {
            fields.values_mut().filter(|value| value.is_string()).for_each(|value| *value = json!(secret));
        }
        let client = town.world.client();
        let mut request = client.request(self.method.clone(), path.join("/"));
        if let Some(body) = &body {
            request = request.body_json(body);
        }
        for name in self.query.iter().filter(|_| !inquiry.in_body) {
            request = request.query(name, secret);
        }
        let answer = me.person.sign(request).send().await.0;
        let mut text = format!("{} {:?}", answer.status(), answer.headers());
        text.push_str(&answer.into_body().into_string().await.expect("a text"));
        for somebody in town.people.iter().filter(|somebody| somebody.subject != me.subject) {
            let found = somebody.secrets.iter().find(|secret| text.contains(*secret));
            prop_assert!(found.is_none(), "{} {}: {found:?} in {text}", self.method, self.path);
        }
        Ok(())
    }
}

/// **Feature: privacy-controls, Property 1: RLS data isolation**
#[test]
fn any_request_is_answered_without_a_word_about_anybody_else() {
    let runtime = Runtime::new().expect("a runtime");
    let town = runtime.block_on(Town::new());
    let mut operations = operations();
    assert!(operations.len() >= 14, "the document names all operations");
    runtime.block_on(async {
        for somebody in &town.people {
            let answer = somebody.person.sign(town.world.client().get("/v1/work-events/me")).send().await;
            let own = expect(answer, StatusCode::OK).await.to_string();
            assert_eq!(
                somebody.secrets.iter().filter(|secret| own.contains(*secret)).count(),
                2,
                "one's own are shown"
            );
        }
    });
    // After signing out, a caller gets no more answers, so signing out is tried last.
    let logout =
        operations.iter().position(|operation| operation.path.ends_with("/logout")).expect("there is a logout");
    let logout = operations.swap_remove(logout);
    let inquiry = || {
        (0..3_usize, 1..3_usize, any::<Index>(), any::<Index>(), any::<bool>())
            .prop_map(|(who, other, operation, secret, in_body)| Inquiry { who, other, operation, secret, in_body })
    };
    property(256, &runtime, inquiry(), async |inquiry| inquiry.operation.get(&operations).check(&town, &inquiry).await);
    property(1, &runtime, inquiry(), async |inquiry| logout.check(&town, &inquiry).await);
}
