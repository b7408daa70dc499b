//! The rounds: clients work, a fault happens, the server has to serve again, and everything is checked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::ValueEnum;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    check::{erasures::Erasures, log::Held, models, postponed, records},
    client::Client,
    export::Exports,
    fault::{Fault, Lack, Scene, plan, strike},
    http::{Call, Http},
    leaver::Leaver,
    machine::{Machine, Start},
    outcome::{Finding, Outcome, Wrong},
    post::Post,
    report::Round,
    town::Town,
};

const PEOPLE: usize = 10;
const CLIENTS: usize = 8;
/// How many people leave in each round.
const LEAVERS: usize = 2;
/// The server's own exit code for a PostgreSQL that can't be brought up, after which it is to be started again.
const TRY_AGAIN: i32 = 75;
const SERVE_AGAIN: Duration = Duration::from_secs(120);
const KNOWN: Duration = Duration::from_secs(60);
/// How long a round waits for exports and erasures that a killed server has begun; they go on when their lease of 30
/// seconds ends.
const PATIENCE: Duration = Duration::from_secs(2);
const LAST_PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// Everything that lasts for all rounds.
pub struct Run {
    pub machine: Machine,
    town: Arc<Town>,
    /// Empty while they work.
    clients: Vec<Client>,
    /// Writes as soon as the server serves again.
    probe: Client,
    exports: Arc<Exports>,
    erasures: Erasures,
    held: Held,
    dice: StdRng,
    hold: Duration,
    faults: Vec<Fault>,
    /// How many people there are, and have been.
    people: usize,
}

impl Run {
    /// Starts a server, and makes accounts on it. Without `only`, all kinds of faults are made that can be made here.
    pub async fn new(rounds: usize, seed: u64, hold: Duration, only: &[Fault]) -> Outcome<Self> {
        let machine = Machine::start().await?;
        let mut dice = StdRng::seed_from_u64(seed);
        let mut kinds = if only.is_empty() { Fault::value_variants().to_vec() } else { only.to_vec() };
        for kind in kinds.clone() {
            if let Some(lack) = kind.lacking(&machine) {
                // As in the tests, leaving out what could be installed is a failure then.
                if lack == Lack::Program && std::env::var_os("LETHE_TEST_ALL").is_some() {
                    return Err(format!("`{}` would be left out: {}", kind.name(), lack.said()).into());
                }
                eprintln!("LEFT OUT {}: {}", kind.name(), lack.said());
                kinds.retain(|it| *it != kind);
            }
        }
        let faults = plan(&kinds, rounds, &mut dice);
        let post = Post::new(machine.data().join("mail"));
        let town = Town::found(Http::new(machine.address)?, post, PEOPLE).await?;
        // The probe is one more client, so that its days are its own.
        let exports = Arc::<Exports>::default();
        let client = |number| Client::new(number, CLIENTS + 1, seed, exports.clone());
        Ok(Self {
            machine,
            town: Arc::new(town),
            clients: (0..CLIENTS).map(client).collect(),
            probe: client(CLIENTS),
            exports: exports.clone(),
            erasures: Erasures::default(),
            held: Held::default(),
            dice,
            hold,
            faults,
            people: PEOPLE,
        })
    }

    /// The faults in their order.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.clone()
    }

    /// Makes a fault while everybody works, and checks everything afterwards. Returns also what the fault was exactly.
    pub async fn round(&mut self, fault: Fault, is_last: bool) -> Outcome<(Round, String)> {
        self.town.http.tally.take();
        let leavers = self.register_leavers().await?;
        let (stop, mut working, mut leaving) = (Arc::new(AtomicBool::new(false)), JoinSet::new(), JoinSet::new());
        for client in self.clients.drain(..) {
            working.spawn(client.work(self.town.clone(), stop.clone()));
        }
        for leaver in leavers {
            let (town, seed) = (self.town.clone(), self.dice.random());
            leaving.spawn(async move { leaver.leave(&town, seed).await });
        }
        tokio::time::sleep(Duration::from_millis(self.dice.random_range(300..1500))).await;

        let mut scene = Scene { machine: &mut self.machine, town: &self.town, dice: &mut self.dice, hold: self.hold };
        let (detail, findings) = strike(fault, &mut scene).await?;
        findings.into_iter().for_each(|finding| self.town.note(finding));

        let (to_serve, restarts) = self.serve_again().await?;
        tokio::time::sleep(Duration::from_millis(self.dice.random_range(300..1000))).await;
        stop.store(true, Ordering::Relaxed);
        while let Some(client) = working.join_next().await {
            self.clients.push(client?);
        }
        while let Some(leaver) = leaving.join_next().await {
            self.erasures.leaving.push(leaver?);
        }
        if to_serve.is_some() {
            self.check(is_last).await?;
        }
        let (counts, findings) = (self.town.http.tally.take(), self.town.take_findings());
        Ok((Round { fault, counts, to_serve, restarts, findings }, detail))
    }

    async fn register_leavers(&mut self) -> Outcome<Vec<Leaver>> {
        let (mut leavers, database) = (Vec::new(), self.machine.database().await?);
        for _ in 0..LEAVERS {
            leavers.push(Leaver::register(&self.town, &database, self.people).await?);
            self.people += 1;
        }
        Ok(leavers)
    }

    /// Waits until a write is acknowledged and `/ready` says 200. A server that ended by itself is started again, as
    /// systemd would; only the exit code for a PostgreSQL that can't be brought up is no finding.
    async fn serve_again(&mut self) -> Outcome<(Option<Duration>, u64)> {
        let (began, mut first, mut restarts) = (Instant::now(), None, 0);
        while began.elapsed() < SERVE_AGAIN {
            if let Some(status) = self.machine.ended()? {
                if status.code() != Some(TRY_AGAIN) {
                    let what = format!("the server ended by itself: {status}\n{}", self.machine.log_tail(3));
                    self.town.note(Finding::new(Wrong::Stuck, what));
                }
                restarts += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.machine.again(&Start::default())?;
            }
            // Sessions of a killed PostgreSQL may still end what they have begun.
            let runs = self.machine.postmaster().is_some();
            if first.is_none() && runs && self.probe.submit(&self.town, 1).await {
                first = Some(began.elapsed());
            }
            let is_ready = self.town.http.send(0, &Call::get("/ready"), None).await.success();
            if first.is_some() && is_ready.is_ok() {
                return Ok((first, restarts));
            }
            tokio::time::sleep(POLL).await;
        }
        let why = self.town.http.send(0, &Call::get("/ready"), None).await;
        self.town.note(Finding::new(Wrong::Stuck, format!("the server does not serve again: {why:?}")));
        Ok((None, restarts))
    }

    async fn check(&mut self, is_last: bool) -> Outcome<()> {
        let until = Instant::now() + KNOWN;
        for client in self.clients.iter_mut().chain([&mut self.probe]) {
            client.resolve(&self.town, until).await;
        }
        let database = self.machine.database().await?;
        let patience = if is_last { LAST_PATIENCE } else { PATIENCE };
        let postponed = postponed(&database).await?;
        self.exports.settle(&self.town, patience, is_last, &postponed).await;
        self.erasures.check(&self.town, &database, patience, is_last).await?;
        let ledgers: Vec<_> = self.clients.iter().chain([&self.probe]).map(|client| &client.ledger).collect();
        records::check(&self.town, &ledgers, &database).await?;
        models::check(&self.machine, &self.town).await?;
        self.held.check(&self.machine, &self.town).await?;
        if is_last {
            self.held.replay(&self.machine, &self.town).await?;
        }
        if let Some(line) = self.machine.panicked() {
            self.town.note(Finding::new(Wrong::Unequal, line));
        }
        self.town.post.clear();
        Ok(())
    }

    /// Stops the server, whose PostgreSQL has to stop too.
    pub async fn end(&mut self) -> Outcome<Vec<Finding>> {
        let status = self.machine.stop().await?;
        if !status.success() || self.machine.postmaster().is_some() {
            self.town.note(Finding::new(Wrong::Stuck, format!("the server does not stop in order: {status}")));
        }
        Ok(self.town.take_findings())
    }

    /// How many people were erased.
    pub fn people_left(&self) -> usize {
        self.erasures.left
    }
}
