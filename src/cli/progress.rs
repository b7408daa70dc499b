//! The progress of a long command on the standard error: a bar on a terminal; otherwise a line when a step begins and
//! after each tenth of it.

use std::{io::IsTerminal, sync::Mutex};

use indicatif::{ProgressBar, ProgressStyle};
use lethe::backup::Progress;
use terminal::note;

/// The progress shown so far.
struct Shown {
    step: &'static str,
    tenths: u64,
    bar: Option<ProgressBar>,
}

pub(super) fn watch() -> impl Fn(Progress) + Send + Sync {
    let shown = Mutex::new(Shown { step: "", tenths: 0, bar: None });
    let terminal = std::io::stderr().is_terminal();
    move |progress| {
        let Progress { step, done, total } = progress;
        let mut shown = shown.lock().expect("no one panics while showing progress");
        let begins = shown.step != step;
        if begins {
            let bar = terminal.then(|| bar(step, total));
            *shown = Shown { step, tenths: 0, bar };
        }
        if let Some(bar) = &shown.bar {
            bar.set_position(done);
            if done >= total {
                bar.finish();
            }
            return;
        }
        let tenths = done.saturating_mul(10).checked_div(total).unwrap_or(10);
        if begins || tenths > shown.tenths {
            shown.tenths = tenths;
            note(format_args!("{step}: {done} of {total}"));
        }
    }
}

fn bar(step: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} ({eta} left)");
    let bar = ProgressBar::new(total).with_message(step);
    bar.set_style(style.expect("the template is well-formed"));
    bar
}
