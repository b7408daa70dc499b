//! Fills the server's database through the same commands as the API, in this process, without HTTP.

use std::sync::Arc;

use chrono::{Days, NaiveDate, TimeDelta};
use context::{Client, Clock, Ctx, Personal, RequestId, Role};
use domain::{
    Body, Kind, Source,
    kinds::{Shape, WORDBOOK_ENTRY, WORK_DAY, WorkDay},
    rights::consent::Purpose,
};
use lethe::{
    app::{
        App,
        identity::{known, sign_in, staff},
        records::record::{self, Batch, Submission},
        rights::consent,
    },
    auth::{Tokens, codes::Proof},
    data::home::Folder,
    server::{self, Settings},
};
use vault::Vault;

use crate::{outcome::BenchResult, stage::Stage};

/// How many records are submitted in one transaction.
const BATCH: usize = 1000;

/// A second server on the stage's database, in this process.
pub struct Filler {
    app: Arc<App>,
    tokens: Tokens,
}

impl Filler {
    pub async fn open(stage: &Stage) -> BenchResult<Self> {
        let folder = Folder::open(stage.scratch())?;
        let vault = Arc::new(Vault::new(folder.present_ring(None)?));
        let settings = Settings::new(folder, Clock::system());
        let app = server::open(&settings, &stage.database, vault.clone(), &stage.passwords).await?;
        Ok(Self { app, tokens: Tokens::new(vault, Some(TimeDelta::hours(12))) })
    }

    /// Submits so many words for the holder of a token. The same words with another number of `reviews` amend them.
    pub async fn words(&self, token: &str, count: usize, reviews: u32) -> BenchResult<()> {
        let ctx = self.ctx_of(token)?;
        consent::decide(&self.app, &ctx, Purpose::Wordbook, true, None).await?;
        let word = |number: usize| {
            let mut body = WORDBOOK_ENTRY.example().into_inner();
            body["word_id"] = format!("word-{number}").into();
            body["passive_review_count"] = reviews.into();
            Personal::new(body)
        };
        self.submit(&ctx, WORDBOOK_ENTRY, (0..count).map(word)).await
    }

    /// Submits the so many days before `today` for the holder of a token. The same days with other `minutes` amend
    /// them.
    pub async fn days(&self, token: &str, today: NaiveDate, count: u64, minutes: u16) -> BenchResult<()> {
        let day = |back: u64| {
            let date = today.checked_sub_days(Days::new(back)).unwrap_or(today);
            WorkDay { date, planned_minutes: 480, actual_minutes: minutes, source: Source::Manual }.to_body()
        };
        self.submit(&self.ctx_of(token)?, WORK_DAY, (1..=count).map(day)).await
    }

    /// The access token of a member of staff, who is made for it.
    pub async fn staff(&self, role: Role) -> BenchResult<String> {
        let email = format!("{}@klinik.example", role.as_str());
        let ctx = Ctx::anonymous(self.app.clock.clone(), Client::default(), RequestId::random());
        staff::add(&self.app, &email, role).await?;
        let known = known::account_of(&self.app, &ctx, &email).await?.ok_or("an account of ours")?;
        let grant = sign_in::begin(&self.app, &ctx, &email, &known, &Proof::Operator).await?;
        Ok(self.tokens.issue(&grant.claims, self.app.clock.now()).0)
    }

    fn ctx_of(&self, token: &str) -> BenchResult<Ctx> {
        let claims = self.tokens.verify(token, self.app.clock.now()).ok_or("a token of ours")?;
        Ok(Ctx::system(self.app.clock.clone()).for_subject(claims.subject, Some(claims.session)))
    }

    async fn submit(&self, ctx: &Ctx, kind: &'static Kind, bodies: impl Iterator<Item = Body>) -> BenchResult<()> {
        let submissions: Vec<Submission> =
            bodies.map(|body| Submission { body, expected: None, within: None }).collect();
        for submissions in submissions.chunks(BATCH) {
            let today = ctx.now().date_naive();
            let batch = Batch { operation: "record_submit", kind, submissions, today, faults: Vec::new() };
            record::submit(&self.app, ctx, &batch, None).await?;
        }
        Ok(())
    }
}
