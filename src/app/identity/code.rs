//! Mailed codes: asking for one, which is recorded in the log, and showing one. `auth/codes.rs` says what a code is.
//!
//! Promises: known and unknown addresses take the same path and get the same answer. A try is counted, and the count
//! committed, before a code is compared. Strangers who try codes or have codes mailed keep nobody out, for two reasons.
//! A device on which the person signed in before has its own counters and its own code. And once strangers have tried
//! an address too often, everybody else is mailed codes that are too long to guess and that the counter of the address
//! does not bar.

use context::{Ctx, Role, SubjectId};
use db::{FromRow, Gate, Tx};
use domain::{
    identity::account::{Account, AccountCommand},
    kinds::mailbox_of,
};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, Work},
        identity::{
            known::{self, Known},
            limit,
        },
    },
    auth::{
        codes::{Shown, Waiting, code_shown, code_store, codes_get, long_code, short_code},
        devices::Asker,
        limits::{self, Allowance, Limit},
    },
    mail::{Letter, letter_insert},
};

/// Finds the person to whom a code is mailed. A row that was tampered with counts as nobody: the letter still goes to
/// the address, but its code signs nobody in.
pub async fn to_mail(app: &App, ctx: &Ctx, email: &str) -> Result<Option<Known>, AppError> {
    match known::account_of(app, ctx, email).await {
        Err(error @ AppError::Corrupt(_)) => {
            tracing::error!(%error, "a code is mailed that lets nobody in");
            Ok(None)
        }
        found => found,
    }
}

/// Counts a request for a code; refuses if its mailbox or its client had too many.
pub async fn count(app: &App, ctx: &Ctx, email: &str, asker: &Asker) -> Result<Allowance, AppError> {
    let client = match asker {
        Asker::Device(device) => {
            let key = device.key();
            return limit::count(app, ctx, &[(Limit::CodesPerDevice, &key), (Limit::CodesPerDeviceAndDay, &key)]).await;
        }
        Asker::Client(client) => client,
    };
    let mailbox = mailbox_of(email);
    let both = format!("{client} {mailbox}");
    // The client's own limits come first, so that a client that has used them up does not count against the mailbox.
    let own = [
        (Limit::CodesPerMailboxAndClient, both.as_str()),
        (Limit::CodesPerClient, client.as_str()),
        (Limit::CodesPerClientAndDay, client.as_str()),
    ];
    let left = limit::count(app, ctx, &own).await?;
    // A request that is refused here sends no letter, so it does not count as one of the day's letters.
    let soon = limit::used(app, ctx, Limit::CodesPerMailbox, &mailbox).await?;
    if soon.is_over() {
        return Err(AppError::from(soon));
    }
    let day = limit::used(app, ctx, Limit::CodesPerMailboxAndDay, &mailbox).await?;
    // After the day's letters are used up, one letter a quarter of an hour still goes. Whoever asked for it, it reaches
    // the owner of the mailbox, and lets the owner sign in.
    if day.is_over() && soon.used() > 1 { Err(AppError::from(soon)) } else { Ok(left) }
}

/// Mails a fresh code to an address; it replaces the code that was mailed to the same asker before. The request is
/// recorded in the person's own log if the address is known, otherwise in the system's.
pub async fn send(app: &App, ctx: &Ctx, email: &str, known: Option<&Known>, asker: &Asker) -> Result<(), AppError> {
    match send_to(app, ctx, email, known, asker).await {
        // The person was erased after the address was looked up.
        Err(AppError::SignedOut) if known.is_some() => send_to(app, ctx, email, None, asker).await,
        outcome => outcome,
    }
}

async fn send_to(app: &App, ctx: &Ctx, email: &str, known: Option<&Known>, asker: &Asker) -> Result<(), AppError> {
    let ring = app.vault.ring();
    let (address, _) = ring.address_hash(email);
    let (key, sealer) = ring.transit(ctx.now())?;
    let (sealer, ctx) = (&sealer, &about(ctx, known));
    let frame = Frame::act("auth_code", ctx).shared().looking_up(address);
    let reads = || [limits::limit_get(ring, ctx, key, Limit::TriesPerAddress, email)];
    frame::attempt(app, frame, reads, move |work, [tried_often]| async move {
        let guessable = asker.device().is_some() || tried_often.is_empty();
        let code = if guessable { short_code() } else { long_code() };
        work.queue(code_store(ring, ctx, key, address, asker, code.reveal()));
        work.queue(letter_insert(ctx, &Letter::code(email, &code_shown(code.reveal())), key, sealer));
        record(&work, AccountCommand::RequestCode).await
    })
    .await
}

/// Counts a try, then compares a code with the codes that were mailed to the address.
pub async fn show(app: &App, ctx: &Ctx, email: &str, code: &str, asker: &Asker) -> Result<Shown, AppError> {
    let ring = app.vault.ring();
    let (address, _) = ring.address_hash(email);
    let (key, _) = ring.transit(ctx.now())?;
    let (of_all, who) = match asker {
        Asker::Device(device) => (Limit::TriesPerDevice, device.key()),
        Asker::Client(_) => (Limit::TriesPerAddress, email.to_owned()),
    };
    let who = who.as_str();
    let work = move |tx: Tx| async move {
        let [rows] = tx.flight([codes_get(ring, ctx, key, address, asker)]).await?;
        let waiting = Waiting::from_rows(&rows);
        let of_one = |code: &Waiting| {
            let who = format!("{email} {} {}", code.key(), asker.key());
            limits::limit_count(app.vault.ring(), ctx, key, Limit::TriesPerCode, &who)
        };
        let mut counts = vec![limits::limit_count(app.vault.ring(), ctx, key, of_all, who)];
        counts.extend(waiting.iter().map(of_one));
        Ok::<_, AppError>((waiting, tx.flight_all(counts).await?))
    };
    let (waiting, counts) = app.db.api.run_tx("code_show", ctx, Gate::lookup(address), work).await?;
    let tried_often = Allowance::of(ctx, of_all, &counts[0]).is_over();
    let open = (waiting.iter().zip(&counts[1..]))
        .filter(|(_, count)| !Allowance::of(ctx, Limit::TriesPerCode, count).is_over())
        .filter(|(code, _)| code.is_long || !tried_often);
    let mut shown = open.filter_map(|(waiting, _)| waiting.compare(ring, address, code, asker));
    shown.next().ok_or(AppError::CodeRefused)
}

/// Records that somebody showed a wrong code: in the person's own log if the address is known, otherwise in the
/// system's.
pub async fn fail_sign_in(app: &App, ctx: &Ctx, known: Option<&Known>) -> Result<(), AppError> {
    match fail(app, ctx, known).await {
        // The person was erased after the address was looked up.
        Err(AppError::SignedOut) if known.is_some() => fail(app, ctx, None).await,
        outcome => outcome,
    }
}

async fn fail(app: &App, ctx: &Ctx, known: Option<&Known>) -> Result<(), AppError> {
    let ctx = &about(ctx, known);
    let frame = Frame::act("account_fail_sign_in", ctx).shared();
    frame::attempt(app, frame, || [], move |work, []| async move { record(&work, AccountCommand::FailSignIn).await })
        .await
}

/// Adds the event of what somebody tries with an address. Each event is a stream of its own, so that many tries at once
/// do not wait for each other: a wait would tell that the address is known.
async fn record(work: &Work<'_>, command: AccountCommand) -> Result<(), AppError> {
    work.command::<Account>(&frame::own_id(), &[], command).await.map(drop)
}

/// The context of what somebody tries with an address: about its person, or about nobody.
fn about(ctx: &Ctx, known: Option<&Known>) -> Ctx {
    let subject = known.map_or(SubjectId::NIL, |known| known.subject);
    ctx.for_subject(subject, None).acting_as(Role::Anonymous)
}
