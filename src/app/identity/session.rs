//! Makes a session at sign-in: its rows, its refresh token and its access token.

use context::{Ctx, Role, SessionId, UserId};
use db::{Lookup, Tx};
use domain::identity::account::SignInDevice;

use crate::{
    app::{App, AppError, frame::Work},
    auth::{
        Claims, Grant,
        codes::{Proof, Shown, code_use},
        devices, sessions,
    },
};

/// Queues a session with its first refresh token, and makes the access token. If a code was shown, the device is known
/// from then on.
pub(crate) fn grant(
    work: &Work<'_>,
    (session, proof): (SessionId, &Proof),
    user: UserId,
    role: Role,
    time_zone: &str,
) -> Result<Grant, AppError> {
    let (app, ctx, ring) = (work.app, work.ctx, work.app.vault.ring());
    let refresh = sessions::RefreshToken::generate(ring);
    work.queue(sessions::session_insert(ring, ctx, session, role));
    work.queue(sessions::refresh_insert(ring, ctx, session, role, &refresh));
    let device_secret = match proof {
        Proof::Code(Shown { device: Some(device), .. }) => Some(device.secret.clone()),
        Proof::Code(_) => Some(devices::add(ring, ctx, &work.tx)),
        Proof::Operator => None,
    };
    Ok(Grant { device_secret, ..claims(app, ctx, session, user, role, time_zone, refresh.text)? })
}

/// The access token of a session, together with its refresh token.
pub(crate) fn claims(
    app: &App,
    ctx: &Ctx,
    session: SessionId,
    user: UserId,
    role: Role,
    time_zone: &str,
    refresh_token: String,
) -> Result<Grant, AppError> {
    let claims = Claims { subject: ctx.subject, session, user, role, time_zone: time_zone.to_owned() };
    let (token, expires_at) = app.tokens.issue(&claims, ctx.now());
    Ok(Grant { claims, token, refresh_token, expires_at, device_secret: None })
}

/// The device on which a person signs in, as the log names it; `None` if the command line makes the account.
pub(crate) fn signs_in_on(proof: &Proof) -> Option<SignInDevice> {
    match proof {
        Proof::Code(shown) if shown.device.is_some() => Some(SignInDevice::Known),
        Proof::Code(_) => Some(SignInDevice::New),
        Proof::Operator => None,
    }
}

/// Uses up a code. If several requests show the same code at once, one of them succeeds.
pub async fn use_up(tx: &Tx, ctx: &Ctx, address: Lookup, proof: &Proof) -> Result<(), AppError> {
    let Proof::Code(shown) = proof else { return Ok(()) };
    let [used] = tx.flight([code_use(ctx, address, shown)]).await?;
    if used.is_empty() { Err(AppError::CodeRefused) } else { Ok(()) }
}
