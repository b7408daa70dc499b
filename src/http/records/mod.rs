//! Records of every kind, work days, and what guests have evaluated.

pub mod guest;
pub mod record;
pub mod work_day;

use poem_openapi::OpenApi;

/// The area's operations.
pub(crate) fn apis() -> impl OpenApi + 'static {
    (work_day::WorkDayApi, record::RecordApi, guest::GuestApi)
}
