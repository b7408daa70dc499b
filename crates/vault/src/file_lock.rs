//! Locks on files that several servers share. A caller waits for a lock as long as it says, and never for good. Waiting
//! blocks the thread.

use std::{
    fs::{File, TryLockError},
    io, thread,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock of a file; closing the file gives the lock back. Fails with [`io::ErrorKind::TimedOut`] if another
/// process holds the lock for all of `timeout`.
pub fn lock_within(file: &File, timeout: Duration) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if started.elapsed() < timeout => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let text = format!("another process has held its lock for {} s (`fuser` names it)", timeout.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_never_given_back_is_not_waited_for_for_good() {
        let folder = crate::ring::tests::Folder::new();
        let path = folder.ring().with_extension("lock");
        let open = || File::options().write(true).create(true).truncate(false).open(&path).expect("opens");
        let (ours, theirs) = (open(), open());
        theirs.lock().expect("locked");
        let refused = lock_within(&ours, Duration::ZERO).expect_err("another holds it");
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
        lock_within(&ours, Duration::ZERO).expect("given back");
    }
}
