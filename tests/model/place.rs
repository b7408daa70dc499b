//! The world in which sequences are taken. Several sequences share one, each with new people, because a new database
//! costs as much as ten steps; and a world is left after some, so that what earlier people left does not slow it down.

use std::{
    fs,
    sync::{Arc, LazyLock},
};

use chrono::TimeDelta;
use context::Role;
use lethe::{
    http::{self, TrustedProxies},
    jobs::{plan, run_due},
    server,
};
use poem::{EndpointExt, Response, endpoint::BoxEndpoint, test::TestClient};
use tokio::{runtime::Runtime, sync::Mutex};
use tokio_postgres::Client;

use crate::{
    answers,
    steps::{let_pass, staff},
    support::{Person, World},
};

/// How many sequences share a world.
const SHARED: u32 = 20;
/// Nobody of an earlier sequence has a hold, a grace or a retention that is not over after so many days.
const APART: TimeDelta = TimeDelta::days(10);

pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static PLACE: Mutex<Option<(Arc<Place>, u32)>> = Mutex::const_new(None);

pub struct Place {
    pub world: World,
    pub superuser: Client,
    /// The routes, made once, because making them costs more than a request.
    pub client: TestClient<BoxEndpoint<'static, Response>>,
    /// A member of the compliance desk.
    pub carla: Person,
}

impl Place {
    /// A place where all earlier work is done, and a number that no other sequence has.
    pub async fn next() -> (Arc<Self>, u32) {
        let mut shared = PLACE.lock().await;
        let (place, number) = match shared.take() {
            Some((place, number)) if number % SHARED != 0 => (place, number),
            earlier => (Arc::new(Self::new().await), earlier.map_or(1, |(_, number)| number)),
        };
        *shared = Some((place.clone(), number + 1));
        drop(shared);
        place.settle().await;
        (place, number)
    }

    async fn new() -> Self {
        let world = World::new().await;
        let_pass(&world, TimeDelta::zero()).await;
        let carla = staff(&world, "carla", Role::Compliance).await;
        let superuser = world.superuser().await;
        let routes = http::routes(world.app.clone(), TrustedProxies::default()).around(answers::compare);
        let client = TestClient::new(routes.boxed());
        Self { world, superuser, client, carla }
    }

    async fn settle(&self) {
        let letters = server::mail_folder(&self.world.folder);
        self.world.clock.advance(APART);
        self.run_jobs().await;
        self.world.deliver_letters().await;
        for letter in fs::read_dir(letters).expect("a mail folder") {
            fs::remove_file(letter.expect("an entry").path()).expect("the letter is thrown away");
        }
    }

    /// Plans the daily work and does all that is due.
    pub async fn run_jobs(&self) {
        plan(&self.world.app).await.expect("planned");
        run_due(&self.world.app).await.expect("jobs run");
    }
}
