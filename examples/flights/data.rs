//! The rows of the file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};
use flate2::bufread::MultiGzDecoder;
use sworm::BoxError;

/// US DOT data, January 2013, flights from New York; see `data/README.md`.
const JANUARY_2013: &[u8] = include_bytes!("../data/flights-2013-01.csv.gz");
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// What stands for a missing value.
const MISSING: &str = "NA";
const COLUMNS: [&str; 3] = ["tailnum", "dep_delay", "distance"];

/// One row.
pub(crate) struct Row {
    /// Its place in the file, from 1; the line with the columns' names does not count.
    pub(crate) number: u64,
    pub(crate) tail: Option<Arc<str>>,
    /// In miles; not looked at when the flight was cancelled.
    pub(crate) distance: u32,
    /// In minutes; `None` when the flight was cancelled.
    pub(crate) dep_delay: Option<i32>,
}

/// Reads a file, or the one that comes with the example.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<Row>, BoxError> {
    let Some(path) = path else { return parse(JANUARY_2013) };
    let in_file = |error: BoxError| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| in_file(error.into()))?;
    Ok(parse(BufReader::new(file)).map_err(in_file)?)
}

fn parse(mut source: impl BufRead) -> Result<Vec<Row>, BoxError> {
    // The content tells, not the file's name.
    let packed = source.fill_buf()?.starts_with(&GZIP_MAGIC);
    let plain: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(&mut source)) } else { Box::new(&mut source) };
    let mut reader = ReaderBuilder::new().from_reader(plain);
    let header = reader.headers()?.clone();
    let [tail, dep_delay, distance] = columns(&header)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| match error.position() {
            Some(_) => BoxError::from(error),
            // The file cannot be read on: the error itself does not say where.
            None => format!("after {} rows: {error}", rows.len()).into(),
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let dep_delay = match &record[dep_delay] {
            MISSING => None,
            text => Some(number(text, "dep_delay", line)?),
        };
        let distance = if dep_delay.is_some() { number(&record[distance], "distance", line)? } else { 0 };
        let tail = Some(&record[tail]).filter(|tail| !tail.is_empty() && *tail != MISSING).map(Arc::from);
        rows.push(Row { number: rows.len() as u64 + 1, tail, distance, dep_delay });
    }
    Ok(rows)
}

/// Where the columns are that are needed.
fn columns(header: &StringRecord) -> Result<[usize; 3], BoxError> {
    let mut places = [0; 3];
    for (place, wanted) in places.iter_mut().zip(COLUMNS) {
        let found = header.iter().position(|column| column == wanted);
        *place = found.ok_or_else(|| {
            let given: Vec<&str> = header.iter().collect();
            format!("line 1: there is no column {wanted:?}; the columns are {}", given.join(", "))
        })?;
    }
    Ok(places)
}

fn number<N: std::str::FromStr>(text: &str, column: &str, line: u64) -> Result<N, BoxError> {
    text.parse().map_err(|_| format!("line {line}: {column} is {text:?}, which is no whole number in range").into())
}
