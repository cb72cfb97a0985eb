//! The worker of one aircraft, and what it can be asked.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;

use crate::tally::Totals;

/// The sworm that the workers live in; they are named by tail number.
pub(crate) const SWORM: &str = "aircraft";

/// On how many nodes a state is: on the worker's and on as many replicas as the worker asks for.
pub(crate) const COPIES: usize = 3;

/// What is known of one aircraft. With `replicas = 2` every state is on three disks, so that it survives two kills.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "aircraft", handles(Flight, Report), handoff, replicas = 2)]
pub(crate) struct Aircraft {
    last_row: u64,
    flights: u64,
    cancelled: u64,
    distance: u64,
    dep_delay: i64,
}

/// One row of the file; its reply says whether the row was new.
#[derive(Message, Serialize, Deserialize, Clone)]
#[message(reply = Counted)]
pub(crate) struct Flight {
    pub(crate) row: u64,
    pub(crate) distance: u32,
    /// `None` if it was cancelled.
    pub(crate) dep_delay: Option<i32>,
}

/// What became of a row.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Now,
    /// It had been counted already: it was sent again because the first reply was lost.
    Before,
}

/// Asks an aircraft for its totals.
#[derive(Message, Serialize, Deserialize, Clone)]
#[message(reply = Totals)]
pub(crate) struct Report;

impl Handler<Flight> for Aircraft {
    async fn handle(&mut self, flight: Flight, ctx: &mut Context<Self>) -> Counted {
        let counted = self.count(&flight);
        // The reply leaves when the state is on the disks: what was acknowledged cannot be lost, and what was not is
        // sent again.
        ctx.checkpoint().await.expect("handoff is on, and this is a handler");
        counted
    }
}

impl Aircraft {
    /// Counts a row exactly once: the rows of one aircraft come in order, so its number tells a repeat from a new one.
    fn count(&mut self, flight: &Flight) -> Counted {
        if flight.row <= self.last_row {
            return Counted::Before;
        }
        self.last_row = flight.row;
        self.flights += 1;
        match flight.dep_delay {
            None => self.cancelled += 1,
            Some(delay) => {
                self.distance += u64::from(flight.distance);
                self.dep_delay += i64::from(delay);
            }
        }
        Counted::Now
    }
}

impl Handler<Report> for Aircraft {
    async fn handle(&mut self, _: Report, _ctx: &mut Context<Self>) -> Totals {
        let Self { flights, cancelled, distance, dep_delay, .. } = *self;
        Totals { flights, cancelled, distance, dep_delay }
    }
}
