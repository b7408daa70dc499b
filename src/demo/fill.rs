//! Filling: each invented person registers, consents and submits a quarter, by the commands behind the API.

use std::sync::Arc;

use context::{Client, Ctx, Personal, RequestId, Role};
use domain::{
    Choice, RoleLevel, Specialty, StateCode,
    kinds::{Shape, WORK_DAY, WORK_PROFILE, WorkProfile},
    quarter::Quarter,
    rights::consent::Purpose,
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    app::{
        App, AppError,
        identity::{
            account::{self, Registration, today},
            known, sign_in,
        },
        records::record::{self, Batch, Submission},
    },
    auth::{Grant, codes::Proof},
    backup::{Progress as Step, Watch},
    data::home::{Folder, write_secret},
    demo::{
        hospitals::Hospital,
        options::{Demo, Progress, progress_of},
        people::{Choices, Person, people},
    },
    server::ServerError,
};

const AT_ONCE: usize = 8;
const BATCH_DAYS: usize = 31;
/// The most frequent first, as the simulator expects.
pub(crate) const SPECIALTIES: &[&str] = &[
    "internal_medicine",
    "surgery",
    "anaesthesiology",
    "paediatrics",
    "gynaecology",
    "orthopaedics",
    "psychiatry",
    "neurology",
    "radiology",
    "cardiology",
    "emergency_medicine",
    "intensive_care",
    "urology",
    "oncology",
    "geriatrics",
    "dermatology",
];
pub(crate) const ROLES: &[&str] = &["nurse", "assistant", "specialist", "senior"];

/// The people of a demonstration, in order. Their days are of an arbitrary quarter.
pub(super) fn cast<'a>(demo: &Demo, hospitals: &'a [Hospital]) -> impl Iterator<Item = Person> + use<'a> {
    people(demo.seed, demo.people, Quarter::of(chrono::NaiveDate::default()), &choices(hospitals))
        .collect::<Vec<_>>()
        .into_iter()
}

fn choices(hospitals: &[Hospital]) -> Choices<'_> {
    Choices { hospitals, specialties: SPECIALTIES, role_levels: ROLES }
}

fn ctx(app: &App) -> Ctx {
    let client =
        Client { address: Personal::new("127.0.0.1".to_owned()), agent: Personal::new("lethe demo".to_owned()) };
    Ctx::anonymous(app.clock.clone(), client, RequestId::random())
}

/// Signs in a known person; `None` if the address has no account.
pub(super) async fn sign_in(app: &App, email: &str) -> Result<Option<Grant>, AppError> {
    let ctx = ctx(app);
    let Some(known) = known::account_of(app, &ctx, email).await? else { return Ok(None) };
    sign_in::begin(app, &ctx, email, &known, &Proof::Operator).await.map(Some)
}

/// Fills the database unless an earlier run has, and returns the quarter that people submitted.
pub(super) async fn fill(
    app: &Arc<App>,
    demo: &Demo,
    folder: &Folder,
    hospitals: &[Hospital],
    watch: Watch<'_>,
) -> Result<Quarter, ServerError> {
    let earlier = progress_of(folder)?.filter(|earlier| earlier.seed == demo.seed);
    let quarter = earlier.as_ref().map_or_else(
        || Quarter::last_closed_before(app.clock.now().date_naive()),
        |earlier| Quarter::of(earlier.first_day),
    );
    let done = earlier.map_or(0, |earlier| earlier.people);
    let note = |people| -> Result<(), ServerError> {
        let progress = Progress { seed: demo.seed, first_day: quarter.first_day(), people };
        let text = serde_json::to_vec(&progress).expect("progress can be written as JSON");
        Ok(write_secret(&folder.join("progress.json"), &text)?)
    };
    if done >= demo.people {
        return Ok(quarter);
    }
    note(done)?;
    let total = (demo.people - done) as u64;
    let mut filled = 0;
    let mut tell = |more: u64| {
        filled += more;
        watch(Step { step: "people filled in", done: filled, total });
    };
    tell(0);
    let (gate, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for person in people(demo.seed, demo.people, quarter, &choices(hospitals)).skip(done) {
        let permit = gate.clone().acquire_owned().await.expect("the gate stays open");
        let app = app.clone();
        tasks.spawn(async move {
            let outcome = submit_quarter(&app, &person).await;
            drop(permit);
            outcome
        });
        while let Some(finished) = tasks.try_join_next() {
            finished.map_err(|_| ServerError::Lost)??;
            tell(1);
        }
    }
    while let Some(finished) = tasks.join_next().await {
        finished.map_err(|_| ServerError::Lost)??;
        tell(1);
    }
    note(demo.people)?;
    Ok(quarter)
}

/// Registers a person, or goes on with one whom an earlier run registered, and submits the quarter. A person who moved
/// also submits a new profile.
async fn submit_quarter(app: &App, person: &Person) -> Result<(), AppError> {
    let grant = match sign_in(app, &person.email).await? {
        Some(grant) => grant,
        None => account::register(app, &ctx(app), &registration(person)?, &Proof::Operator).await?,
    };
    let claims = grant.claims;
    let ctx = ctx(app).for_subject(claims.subject, Some(claims.session)).acting_as(Role::Subject);
    let today = today(ctx.now(), &claims.time_zone);
    for days in person.days.chunks(BATCH_DAYS) {
        let submissions: Vec<Submission> =
            days.iter().map(|day| Submission { body: day.to_body(), expected: None, within: None }).collect();
        let batch =
            Batch { operation: "record_submit", kind: WORK_DAY, submissions: &submissions, today, faults: Vec::new() };
        record::submit(app, &ctx, &batch, None).await?;
    }
    if let Some(to) = &person.moved {
        let work = WorkProfile {
            hospital_id: to.hospital_id.clone(),
            state_code: StateCode::parse(to.state_code),
            ..profile(person)?
        };
        let submissions = [Submission { body: work.to_body(), expected: None, within: None }];
        let batch = Batch {
            operation: "record_submit",
            kind: WORK_PROFILE,
            submissions: &submissions,
            today,
            faults: Vec::new(),
        };
        record::submit(app, &ctx, &batch, None).await?;
    }
    sign_in::end(app, &ctx).await
}

fn profile(person: &Person) -> Result<WorkProfile, AppError> {
    let unknown = || AppError::Corrupt("the simulator made a choice that the domain does not know".to_owned());
    Ok(WorkProfile {
        hospital_id: person.hospital_id.clone(),
        specialty: Specialty::parse(person.specialty).ok_or_else(unknown)?,
        role_level: RoleLevel::parse(person.role_level).ok_or_else(unknown)?,
        state_code: Some(StateCode::parse(person.state_code).ok_or_else(unknown)?),
        country_code: WorkProfile::DEFAULT_COUNTRY.to_owned(),
        time_zone: WorkProfile::DEFAULT_TIME_ZONE.to_owned(),
    })
}

fn registration(person: &Person) -> Result<Registration, AppError> {
    let statistics = person.consents_to_statistics.then_some(Purpose::Statistics);
    let consents = [Purpose::WorkHours].into_iter().chain(statistics).collect();
    Ok(Registration { email: person.email.clone(), work: Some(profile(person)?), consents })
}
