//! Calls that are repeated until their outcome is known.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use sworm::BoxError;
use sworm::prelude::*;
use tokio::time::{Instant, sleep};

use crate::aircraft::{Aircraft, Counted, Flight, Report};
use crate::tally::Totals;

/// How long a call is tried.
const LIMIT: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A row that its worker has acknowledged.
pub(crate) struct Delivered {
    pub(crate) aircraft: Ref<Aircraft>,
    /// How often it was sent again.
    pub(crate) again: u64,
    pub(crate) counted: Counted,
}

/// Sends a row to its aircraft's worker, which is registered if it has not acknowledged any row yet.
pub(crate) async fn deliver(
    sworm: Sworm,
    tail: Arc<str>,
    known: Option<Ref<Aircraft>>,
    flight: Flight,
) -> Result<Delivered, BoxError> {
    let mut patience = Patience::new(format!("row {}, {tail}", flight.row));
    loop {
        // A worker with an acknowledged row has its state on disk and comes back, so its name is never given anew.
        let aircraft = match &known {
            Some(aircraft) => aircraft.clone(),
            None => match sworm.whereis_or_register_name(&tail, Aircraft::default).await {
                Ok(aircraft) => aircraft,
                Err(error) => {
                    patience.after(&error, register_again(&error)).await?;
                    continue;
                }
            },
        };
        match aircraft.call(flight.clone()).await {
            Ok(counted) => return Ok(Delivered { aircraft, again: patience.times, counted }),
            Err(error) => patience.after(&error, call_again(&error)).await?,
        }
    }
}

/// Asks an aircraft's worker for its totals.
pub(crate) async fn totals(sworm: &Sworm, tail: &str) -> Result<Totals, BoxError> {
    let mut patience = Patience::new(format!("the report of {tail}"));
    loop {
        let Some(aircraft) = sworm.whereis_name::<Aircraft>(tail) else {
            patience.after(&"it is not registered", true).await?;
            continue;
        };
        match aircraft.call(Report).await {
            Ok(totals) => return Ok(totals),
            Err(error) => patience.after(&error, call_again(&error)).await?,
        }
    }
}

fn register_again(error: &RegisterError) -> bool {
    // With an unknown outcome the next look finds the name or registers it. While every node is down there is nobody
    // to run the worker.
    matches!(error, RegisterError::Timeout { .. } | RegisterError::NoCandidate { .. } | RegisterError::StartTimedOut)
}

fn call_again(error: &CallError) -> bool {
    match error {
        // The feeder's own node: nothing will come of it.
        CallError::Stopped => false,
        // It was not handled. A name can be unknown for a moment after all nodes were started again.
        CallError::NotSent { .. } | CallError::Overloaded | CallError::NotRegistered { .. } => true,
        // It may have been handled: the worker knows the row number.
        error => error.is_unknown_outcome(),
    }
}

/// Pauses between two attempts, within a limit.
struct Patience {
    what: String,
    until: Instant,
    pause: Duration,
    times: u64,
}

impl Patience {
    fn new(what: String) -> Self {
        Self { what, until: Instant::now() + LIMIT, pause: FIRST_PAUSE, times: 0 }
    }

    async fn after(&mut self, error: &impl Display, worth_it: bool) -> Result<(), BoxError> {
        let what = &self.what;
        if !worth_it {
            return Err(format!("{what}: {error}").into());
        }
        if Instant::now() >= self.until {
            return Err(format!("{what}: no answer within {LIMIT:?}; the last error: {error}").into());
        }
        tracing::debug!(%error, "{what} is sent again");
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.times += 1;
        Ok(())
    }
}
