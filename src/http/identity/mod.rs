//! Sign-in, and the caller's own account.

pub mod account;
pub mod sign_in;

use poem_openapi::OpenApi;

/// The area's operations.
pub(crate) fn apis() -> impl OpenApi + 'static {
    (sign_in::AuthApi, account::AccountApi)
}
