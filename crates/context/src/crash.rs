//! Points at which tests kill the server, between two steps of work that must survive a crash. Not in release builds.

/// Ends the process at once, as a kill does, if `LETHE_CRASH_AT` names this point.
#[cfg(debug_assertions)]
pub fn crash_point(name: &str) {
    if std::env::var("LETHE_CRASH_AT").is_ok_and(|wanted| wanted == name) {
        eprintln!("lethe: killed at {name:?}, as asked");
        std::process::abort();
    }
}

/// Does nothing, because tests run unoptimised builds.
#[cfg(not(debug_assertions))]
pub fn crash_point(_: &str) {}
