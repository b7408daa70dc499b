//! Who asks for a code or shows one: a device on which the person signed in before, or an unknown client.

use context::{Ctx, SubjectId};
use db::Gate;

use crate::{
    app::{App, AppError, frame, identity::known::Known},
    auth::{
        devices::{Asker, Device, device_get, is_ours},
        limits::client_key,
    },
};

/// Returns the device of the person `known` if its secret was shown, otherwise the client. An address without an
/// account takes the same statement, so that both look alike from outside.
pub async fn find(app: &App, ctx: &Ctx, known: Option<&Known>, secret: Option<&str>) -> Result<Asker, AppError> {
    let stranger = || Asker::Client(client_key(ctx));
    let Some(secret) = secret else { return Ok(stranger()) };
    let ring = app.vault.ring();
    let device = Device::shown(ring, secret);
    let ctx = &ctx.for_subject(known.map_or(SubjectId::NIL, |known| known.subject), None);
    let lookup = device.lookup;
    let queries = || [device_get(ctx, lookup)];
    let [rows] = frame::ticket_query(app, "device_get", ctx, Gate::read(ctx), queries).await?;
    let is_known = rows.first().is_some_and(|row| is_ours(ring, ctx, lookup, row));
    Ok(if is_known { Asker::Device(device) } else { stranger() })
}
