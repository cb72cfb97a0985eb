//! Sends the rows in file order, several aircraft at a time, never two rows of one aircraft.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sworm::BoxError;
use sworm::prelude::*;
use tokio::task::JoinSet;

use crate::aircraft::{Aircraft, Counted, Flight};
use crate::args::Fault;
use crate::data::Row;
use crate::delivery::{Delivered, deliver};
use crate::faults::Faults;
use crate::progress::Progress;

/// How many rows are in flight at most.
const IN_FLIGHT: u64 = 64;

/// What was sent.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) rows: u64,
    pub(crate) without_tail: u64,
    /// Calls that were made again, since they failed or their outcome was unknown.
    pub(crate) again: u64,
    /// Rows that the worker had counted when they were sent again.
    pub(crate) counted_before: u64,
    pub(crate) took: Duration,
}

/// Sends rows and keeps account.
pub(crate) struct Feeder<'a> {
    sworm: Sworm,
    faults: &'a mut Faults,
    progress: Progress,
    /// The row that is sent with a mile too many.
    falsify: Option<u64>,
    /// The aircraft that have acknowledged a row.
    known: HashMap<Arc<str>, Ref<Aircraft>>,
    /// The aircraft with a row in flight.
    busy: HashSet<Arc<str>>,
    calls: JoinSet<Result<Delivered, BoxError>>,
    sent: Sent,
}

impl<'a> Feeder<'a> {
    pub(crate) fn new(sworm: Sworm, faults: &'a mut Faults, progress: Progress, falsify: Option<u64>) -> Self {
        let (known, busy, calls, sent) = Default::default();
        Self { sworm, faults, progress, falsify, known, busy, calls, sent }
    }

    /// Sends all rows, and lets the faults strike when their rows are sent.
    pub(crate) async fn feed(mut self, rows: &[Row], mut schedule: VecDeque<(u64, Fault)>) -> Result<Sent, BoxError> {
        let began = Instant::now();
        for row in rows {
            // Early enough for the rows in flight to be as many as usual when the next fault strikes.
            if schedule.front().is_some_and(|(at, _)| row.number + IN_FLIGHT >= *at) && self.faults.active() {
                self.progress.event(row.number, "waiting until all is well again, before the next fault");
                self.faults.healed().await?;
            }
            self.send(row).await?;
            while let Some((at, fault)) = schedule.pop_front_if(|(at, _)| *at == row.number) {
                self.faults.strike(at, fault).await?;
            }
        }
        while !self.calls.is_empty() {
            self.settle_one().await?;
        }
        self.sent.took = began.elapsed();
        Ok(self.sent)
    }

    async fn send(&mut self, row: &Row) -> Result<(), BoxError> {
        let Some(tail) = &row.tail else {
            self.sent.without_tail += 1;
            self.progress.advance();
            return Ok(());
        };
        while self.calls.len() as u64 >= IN_FLIGHT || self.busy.contains(tail) {
            self.settle_one().await?;
        }
        self.busy.insert(tail.clone());
        self.sent.rows += 1;
        let distance = row.distance + u32::from(self.falsify == Some(row.number));
        let flight = Flight { row: row.number, distance, dep_delay: row.dep_delay };
        let known = self.known.get(tail).cloned();
        self.calls.spawn(deliver(self.sworm.clone(), tail.clone(), known, flight));
        Ok(())
    }

    /// Waits until a row in flight is acknowledged.
    async fn settle_one(&mut self) -> Result<(), BoxError> {
        loop {
            tokio::select! {
                done = self.calls.join_next() => {
                    let Some(done) = done else { return Ok(()) };
                    let Delivered { aircraft, again, counted } = done??;
                    self.sent.again += again;
                    self.sent.counted_before += u64::from(counted == Counted::Before);
                    self.busy.remove(aircraft.name());
                    self.known.entry(aircraft.name().into()).or_insert(aircraft);
                    self.progress.advance();
                    return Ok(());
                }
                // A node that cannot leave or start ends the run at once, not after a row's limit.
                healed = self.faults.healed(), if self.faults.active() => healed?,
            }
        }
    }
}
