//! What was measured, as rows: for people a table, for programs a file.

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use sworm::BoxError;

/// One number, with another one that was measured in the same run to compare it with.
#[derive(Serialize, Clone, Debug)]
pub struct Row {
    /// The bench that measured it.
    pub bench: &'static str,
    /// How much of it there was: names, mostly; callers in the benches of calls.
    pub size: usize,
    /// What was measured.
    pub metric: String,
    /// How much it was.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it is compared with.
    pub baseline: String,
    /// How much that was, in the same unit.
    pub baseline_value: f64,
    /// `value / baseline_value`.
    pub ratio: f64,
}

impl Row {
    /// A number and what it is compared with.
    pub fn new(
        bench: &'static str,
        size: usize,
        metric: impl Into<String>,
        (value, unit): (f64, &'static str),
        (baseline, baseline_value): (impl Into<String>, f64),
    ) -> Self {
        let (metric, baseline) = (metric.into(), baseline.into());
        Self { bench, size, metric, value, unit, baseline, baseline_value, ratio: value / baseline_value }
    }
}

/// The rows as a table.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["bench", "size", "metric", "value", "unit", "baseline", "its value", "ratio"]);
    for row in rows {
        table.add_row([
            row.bench.to_owned(),
            row.size.to_string(),
            row.metric.clone(),
            short(row.value),
            row.unit.to_owned(),
            row.baseline.clone(),
            short(row.baseline_value),
            short(row.ratio),
        ]);
    }
    for column in [1, 3, 6, 7] {
        table.column_mut(column).expect("it has eight").set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes the rows of this run, and says where.
pub fn write(rows: &[Row]) -> Result<PathBuf, BoxError> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    std::fs::create_dir_all(&target)?;
    let path = target.join("sworm-bench.json");
    std::fs::write(&path, serde_json::to_string_pretty(rows)?)?;
    Ok(path)
}

/// Three digits, or all before the point.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
