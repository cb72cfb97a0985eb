//! The totals of an aircraft, and the plain sequential count that the workers' totals are compared with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::Row;

/// What is counted per aircraft.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) flights: u64,
    pub(crate) cancelled: u64,
    /// In miles, without the cancelled flights.
    pub(crate) distance: u64,
    /// In minutes, without the cancelled flights.
    pub(crate) dep_delay: i64,
}

/// The totals by tail number.
pub(crate) type Tally = BTreeMap<Arc<str>, Totals>;

/// Counts without workers: on purpose not the workers' code, so that a mistake in it shows.
pub(crate) fn sequential(rows: &[Row]) -> Tally {
    let mut tally = Tally::new();
    for row in rows {
        let Some(tail) = &row.tail else { continue };
        let totals = tally.entry(tail.clone()).or_default();
        totals.flights += 1;
        if let Some(delay) = row.dep_delay {
            totals.distance += u64::from(row.distance);
            totals.dep_delay += i64::from(delay);
        } else {
            totals.cancelled += 1;
        }
    }
    tally
}

/// In what two tallies differ, one line per aircraft.
pub(crate) fn differences(workers: &Tally, expected: &Tally) -> Vec<String> {
    let mut found = Vec::new();
    for (tail, should) in expected {
        match workers.get(tail) {
            Some(is) if is == should => {}
            Some(is) => found.push(format!("{tail}: its worker has {is}; the file has {should}")),
            None => found.push(format!("{tail}: it has no worker; the file has {should}")),
        }
    }
    let surplus = workers.iter().filter(|(tail, _)| !expected.contains_key(*tail));
    found.extend(surplus.map(|(tail, is)| format!("{tail}: its worker has {is}; the file does not have it")));
    found
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flights, cancelled, distance, dep_delay } = self;
        write!(f, "{flights} flights, {cancelled} cancelled, distance {distance}, dep_delay {dep_delay}")
    }
}
