//! Mailed codes: asking for one, which is on record, and showing one. What a code is says `auth/codes.rs`.
//!
//! Promises that known and unknown addresses take the same path and get the same answer; that an attempt is counted, and the count
//! committed, before a code is compared; and that what strangers try or have mailed keeps nobody out: a device that the person signed
//! in on before has counters and a code of its own, and once strangers have tried too often, everybody else is mailed codes that are
//! too long to guess, which no count bars.

use context::{Ctx, Role, SubjectId};
use db::{Gate, Row, Tx};
use domain::{
    identity::account::{Account, AccountCommand},
    kinds::mailbox_of,
};
use event_log::Unit;
use projections::INLINE;
use vault::SubjectKeys;

use crate::{
    app::{
        App, AppError, Standing,
        identity::{
            known::{self, Known},
            limit,
        },
        stream,
    },
    auth::{
        codes::{Shown, Waiting, code_shown, code_store, codes_get, long_code, short_code},
        devices::Asker,
        limits::{self, Left, Limit},
    },
    mail::{Letter, letter_insert},
};

/// The person whom an address belongs to that is mailed a code. A row that was tampered with counts as none: the letter goes to the
/// address all the same, and lets nobody in.
pub async fn to_mail(app: &App, ctx: &Ctx, email: &str) -> Result<Option<Known>, AppError> {
    match known::account_of(app, ctx, email).await {
        Err(error @ AppError::Corrupt(_)) => {
            tracing::error!(%error, "a code is mailed that lets nobody in");
            Ok(None)
        }
        found => found,
    }
}

/// Counts a request for a code; refuses where its mailbox or its client had too many.
pub async fn count(app: &App, ctx: &Ctx, email: &str, asker: &Asker) -> Result<Left, AppError> {
    let client = match asker {
        Asker::Device(device) => {
            let key = device.key();
            return limit::count(app, ctx, &[(Limit::CodesPerDevice, &key), (Limit::CodesPerDeviceAndDay, &key)]).await;
        }
        Asker::Client(client) => client,
    };
    let mailbox = mailbox_of(email);
    let both = format!("{client} {mailbox}");
    // The client's own limits first: who has used them up does not count against the mailbox.
    let own = [
        (Limit::CodesPerMailboxAndClient, both.as_str()),
        (Limit::CodesPerClient, client.as_str()),
        (Limit::CodesPerClientAndDay, client.as_str()),
    ];
    let left = limit::count(app, ctx, &own).await?;
    // What is refused here sends no letter, and does not count as one of the day's.
    let soon = limit::used(app, ctx, Limit::CodesPerMailbox, &mailbox).await?;
    if soon.is_over() {
        return Err(AppError::from(soon));
    }
    let day = limit::used(app, ctx, Limit::CodesPerMailboxAndDay, &mailbox).await?;
    // Beyond the day's letters one a quarter of an hour still goes. Whoever asked for it, it comes to the owner, and lets them in.
    if day.is_over() && soon.used() > 1 { Err(AppError::from(soon)) } else { Ok(left) }
}

/// Mails a fresh code to an address; it replaces the one that the same asker was mailed before. That it was asked for is on
/// record: in the person's own log where the address is known, else in the system's.
pub async fn send(app: &App, ctx: &Ctx, email: &str, known: Option<&Known>, asker: &Asker) -> Result<(), AppError> {
    match send_to(app, ctx, email, known, asker).await {
        // Erased between the two looks.
        Err(AppError::SignedOut) if known.is_some() => send_to(app, ctx, email, None, asker).await,
        outcome => outcome,
    }
}

async fn send_to(app: &App, ctx: &Ctx, email: &str, known: Option<&Known>, asker: &Asker) -> Result<(), AppError> {
    let ring = app.vault.ring();
    let (address, _) = ring.address_hash(email);
    let (key, sealer) = ring.transit(ctx.now())?;
    let (sealer, ctx) = (&sealer, &about(ctx, known));
    let work = move |tx: Tx| async move {
        let tried_often = limits::is_used_up(app.vault.ring(), ctx, key, Limit::TriesPerAddress, email);
        let [standing, tried_often] = tx.flight([Standing::query(ctx, None), tried_often]).await?;
        let keys = keys_of_known(app, ctx, known, &standing)?;
        let guessable = asker.device().is_some() || tried_often.is_empty();
        let code = if guessable { short_code() } else { long_code() };
        tx.queue(code_store(ring, ctx, key, address, asker, code.reveal()));
        tx.queue(letter_insert(ctx, &Letter::code(email, &code_shown(code.reveal())), key, sealer));
        attempt(ctx, &tx, keys.as_ref(), AccountCommand::RequestCode).await
    };
    app.db.api.run_tx("auth_code", ctx, Gate::shared(ctx).and_lookup(address), work).await
}

/// Compares a code with those that were mailed to the address.
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
        let waiting: Vec<Waiting> = rows.iter().map(Waiting::from_row).collect();
        let of_one = |code: &Waiting| {
            let who = format!("{email} {} {}", code.key(), asker.key());
            limits::query(app.vault.ring(), ctx, key, Limit::TriesPerCode, &who)
        };
        let mut counts = vec![limits::query(app.vault.ring(), ctx, key, of_all, who)];
        counts.extend(waiting.iter().map(of_one));
        Ok::<_, AppError>((waiting, tx.flight_all(counts).await?))
    };
    let (waiting, counts) = app.db.api.run_tx("code_show", ctx, Gate::lookup(address), work).await?;
    let tried_often = Left::of(ctx, of_all, &counts[0]).is_over();
    let open = (waiting.iter().zip(&counts[1..]))
        .filter(|(_, count)| !Left::of(ctx, Limit::TriesPerCode, count).is_over())
        .filter(|(code, _)| code.is_long || !tried_often);
    let mut shown = open.filter_map(|(waiting, _)| waiting.compare(ring, address, code, asker));
    shown.next().ok_or(AppError::CodeRefused)
}

/// Records that somebody showed a wrong code: in the person's own log where the address is known, else in the system's.
pub async fn fail_sign_in(app: &App, ctx: &Ctx, known: Option<&Known>) -> Result<(), AppError> {
    match fail(app, ctx, known).await {
        // Erased between the two looks.
        Err(AppError::SignedOut) if known.is_some() => fail(app, ctx, None).await,
        outcome => outcome,
    }
}

async fn fail(app: &App, ctx: &Ctx, known: Option<&Known>) -> Result<(), AppError> {
    let ctx = &about(ctx, known);
    let work = move |tx: Tx| async move {
        let [standing] = tx.flight([Standing::query(ctx, None)]).await?;
        let keys = keys_of_known(app, ctx, known, &standing)?;
        attempt(ctx, &tx, keys.as_ref(), AccountCommand::FailSignIn).await
    };
    app.db.api.run_tx("account_fail_sign_in", ctx, Gate::shared(ctx), work).await
}

/// Queues the event of what anybody may try with an address. Each is a stream of its own, so that many at once wait for nothing:
/// a queue before one address would tell that it is known.
async fn attempt(ctx: &Ctx, tx: &Tx, keys: Option<&SubjectKeys>, command: AccountCommand) -> Result<(), AppError> {
    let unit = Unit::new(ctx, keys);
    stream::command::<Account>(ctx, &unit, &stream::own_id(), None, command).await?;
    unit.flush(tx, INLINE);
    Ok(())
}

/// The keys of the person who is known. For nobody as many keys are made and thrown away, so that the time of an answer does not
/// tell whether an address is known.
fn keys_of_known(
    app: &App,
    ctx: &Ctx,
    known: Option<&Known>,
    standing: &[Row],
) -> Result<Option<SubjectKeys>, AppError> {
    if known.is_some() {
        return Ok(Some(Standing::take(app, ctx, standing)?.keys));
    }
    let nobody = SubjectId::random();
    drop(app.vault.create_subject(nobody));
    app.vault.forget(nobody);
    Ok(None)
}

/// The circumstances of what anybody may try with an address: about its person, or about nobody.
fn about(ctx: &Ctx, known: Option<&Known>) -> Ctx {
    let subject = known.map_or(SubjectId::NIL, |known| known.subject);
    ctx.for_subject(subject, None).acting_as(Role::Anonymous)
}
