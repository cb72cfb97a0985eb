//! What the person in front of the screen sees while the rows go out.

use std::fmt::{Display, Write};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

const TEMPLATE: &str = "{elapsed_precise} [{bar:40}] {human_pos}/{human_len} rows, {rate}";

/// A progress bar, which is not drawn unless stderr is a terminal, and lines on stdout.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(rows: u64) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is a constant");
        let rate = |state: &ProgressState, to: &mut dyn Write| {
            // It goes into a text in memory, which takes everything.
            let _ = write!(to, "{:.0}/s", state.per_sec());
        };
        let style = style.with_key("rate", rate);
        let bar = ProgressBar::new(rows).with_style(style.progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// A row is done with.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Says something.
    pub(crate) fn say(&self, text: impl Display) {
        self.bar.suspend(|| println!("{text}"));
    }

    /// Says what happened when a row was sent.
    pub(crate) fn event(&self, row: u64, text: impl Display) {
        self.say(format_args!("row {}: {text}", HumanCount(row)));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
