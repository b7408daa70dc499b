//! Three people with rows in every table about people. The list of tables is read from the catalogue, so that new
//! tables are included.

use context::{Clock, Role, SubjectId};
use db::Lookup;
use lethe::app::identity::staff;
use poem::http::StatusCode;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Person, World, day, expect};

/// Three people in one database, each with rows in every table about people.
pub struct Town {
    pub world: World,
    pub people: Vec<Somebody>,
    pub tables: Vec<Table>,
    superuser: Client,
}

/// A person of the town.
pub struct Somebody {
    pub person: Person,
    pub subject: SubjectId,
    pub lookup: Lookup,
    /// The values that nobody else may see: address, ids, records.
    pub secrets: Vec<String>,
}

/// A table or a view, as the catalogue describes it.
pub struct Table {
    pub name: String,
    /// The column that says whose a row is; `None` if rows have no owner.
    pub owner: Option<String>,
    /// The columns that `lethe_api` may give when inserting; every column if it may not insert.
    pub insertable: String,
    /// A column that `lethe_api` may change, or any column if it may change none.
    pub updatable: String,
}

impl Table {
    /// The value of [`Table::owner`] in a person's rows.
    pub fn mark(&self, somebody: &Somebody) -> String {
        match self.owner.as_deref() {
            Some("subject_id") => somebody.subject.to_string(),
            _ => format!("\\x{}", hex::encode(somebody.lookup.0)),
        }
    }

    /// The owner's column, or a constant if rows have no owner.
    pub fn owner(&self) -> &str {
        self.owner.as_deref().unwrap_or("'nobody'")
    }
}

const TABLES: &str = "
    SELECT c.oid::regclass::text,
           (SELECT a.attname::text FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attname IN ('subject_id', 'address_hash') ORDER BY a.attname DESC LIMIT 1),
           coalesce(string_agg(quote_ident(attname), ', ') FILTER (WHERE has_column_privilege('lethe_api', c.oid, attnum, 'INSERT')),
                    string_agg(quote_ident(attname), ', ')),
           quote_ident(coalesce((array_agg(attname::text ORDER BY attnum DESC)
                                 FILTER (WHERE has_column_privilege('lethe_api', c.oid, attnum, 'UPDATE')))[1], min(attname::text)))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute t ON t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    GROUP BY c.oid ORDER BY 1";

impl Town {
    pub async fn new() -> Self {
        let world = World::new().await;
        let superuser = world.superuser().await;
        let mut people = Vec::new();
        for name in ["anna", "ben", "carla"] {
            people.push(Somebody::new(&world, &superuser, name).await);
        }
        let rows = superuser.query(TABLES, &[]).await.expect("the catalogue is read");
        let table = |row: &tokio_postgres::Row| Table {
            name: row.get(0),
            owner: row.get(1),
            insertable: row.get(2),
            updatable: row.get(3),
        };
        let town = Self { tables: rows.iter().map(table).collect(), world, people, superuser };
        for table in town.tables.iter().filter(|table| table.owner.is_some()) {
            for somebody in &town.people {
                let found = town.count(table, somebody).await;
                assert!(
                    found > 0,
                    "{} has no row of {}: make one in `Somebody::new`",
                    table.name,
                    somebody.person.email
                );
            }
        }
        town
    }

    /// How many rows of a table belong to a person.
    pub async fn count(&self, table: &Table, somebody: &Somebody) -> u64 {
        let sql = format!("SELECT FROM {} WHERE {} = '{}'", table.name, table.owner(), table.mark(somebody));
        self.superuser.execute(&sql, &[]).await.expect("a superuser reads everything")
    }

    /// One row as a literal of the table's type: a row of the person if rows have owners.
    pub async fn row(&self, table: &Table, somebody: &Somebody) -> String {
        let mine = table.owner.as_ref().map(|owner| format!("WHERE {owner} = '{}'", table.mark(somebody)));
        let sql =
            format!("SELECT quote_literal(to_jsonb(t)) FROM {} t {} LIMIT 1", table.name, mine.unwrap_or_default());
        let row = self.superuser.query_opt(&sql, &[]).await.expect("a superuser reads everything");
        let json = row.map_or_else(|| "'{}'".to_owned(), |row| row.get(0));
        format!("jsonb_populate_record(NULL::{}, {json})", table.name)
    }

    /// Mints a ticket for a connection's session. The session of a login that can show no ticket has no number either.
    pub async fn ticket(&self, client: &Client, somebody: &Somebody, role: Role, lookup: Option<Lookup>) -> String {
        let (session, now) = match db::Session::begin(client).await {
            Err(db::DbError::Refused) => (db::Session { number: "none".to_owned() }, Clock::system().now()),
            begun => begun.expect("a session"),
        };
        self.world.app.vault.ring().ticket_key().mint(somebody.subject, lookup, role, now, &session)
    }
}

impl Somebody {
    async fn new(world: &World, superuser: &Client, name: &str) -> Self {
        let person = world.person(name).await;
        let client = world.client();
        let mut secrets = vec![person.email.clone(), person.user_id.clone()];
        for date in ["2025-12-08", "2025-12-09"] {
            let request = client.post("/v1/work-events/daily").header("idempotency-key", date);
            let answer = person.sign(request.body_json(&day(date, 8.0, 9.0))).send().await;
            let created = expect(answer, StatusCode::CREATED).await;
            secrets.push(created["event_id"].as_str().expect("an id").to_owned());
        }
        expect(person.sign(client.get("/v1/work-events/me")).send().await, StatusCode::OK).await;
        let user: Uuid = person.user_id.parse().expect("an id");
        let row = superuser.query_one("SELECT subject_id FROM auth.users WHERE user_id = $1", &[&user]).await;
        let subject = SubjectId(row.expect("the account is there").get(0));
        secrets.push(subject.to_string());
        let full = json!({ "deletion_type": "full" });
        expect(world.post(&person, "/v1/privacy/delete-data", &full).await, StatusCode::ACCEPTED).await;
        let rule = json!({ "data_retention_days": 3650 });
        expect(world.put(&person, "/v1/privacy/retention/work_day", &rule).await, StatusCode::OK).await;
        let export = json!({ "request_type": "full", "format": "json" });
        expect(world.post(&person, "/v1/privacy/export-data", &export).await, StatusCode::ACCEPTED).await;
        // Only here does a person have both keys and a row in the fence, because every table must have a row of
        // everybody.
        let fence = "INSERT INTO vault.erased VALUES ($1, now())";
        superuser.execute(fence, &[&subject.0]).await.expect("fenced");
        // Only here is everybody suspended, and opened by staff, for the same reason.
        let more = "WITH s AS (INSERT INTO auth.suspensions VALUES ($1, now() - interval '1 hour'))
            INSERT INTO auth.openings (subject_id, opening_id, staff_id, session_id, expires_at, mac)
            VALUES ($1, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now(), '')";
        superuser.execute(more, &[&subject.0]).await.expect("suspended and opened");
        staff::add(&world.app, &person.email, Role::Auditor).await.expect("a role is given");
        let (lookup, _) = world.app.vault.ring().address_hash(&person.email);
        Self { person, subject, lookup, secrets }
    }
}
