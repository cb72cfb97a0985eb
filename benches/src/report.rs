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
    /// `value / baseline_value`; nothing can be compared with 0.
    pub ratio: Option<f64>,
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
        let ratio = Some(value / baseline_value).filter(|ratio| ratio.is_finite());
        Self { bench, size, metric, value, unit, baseline, baseline_value, ratio }
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
            row.ratio.map_or_else(String::new, short),
        ]);
    }
    for column in [1, 3, 6, 7] {
        table.column_mut(column).expect("it has eight").set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes the rows of this run into cargo's target directory, and says where.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write(rows: &[Row], file: &str) -> Result<PathBuf, BoxError> {
    let target = target(&std::env::current_exe()?);
    std::fs::create_dir_all(&target)?;
    let path = target.join(file);
    std::fs::write(&path, serde_json::to_string_pretty(rows)?)?;
    Ok(path)
}

/// The directory that cargo built this program in, which it marks so: it may be anywhere.
fn target(program: &Path) -> PathBuf {
    let marked = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"), Path::to_path_buf)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_ratio_unless_there_is_nothing_to_compare_with() {
        let row = |value, baseline| Row::new("bench", 1, "metric", (value, "ms"), ("baseline", baseline));
        let json = |row: Row| serde_json::to_value(row).expect("numbers and texts");
        assert_eq!(json(row(3.0, 2.0))["ratio"], 1.5);
        for nothing in [row(3.0, 0.0), row(0.0, 0.0), row(f64::NAN, 1.0)] {
            assert_eq!(json(nothing).get("ratio"), Some(&serde_json::Value::Null), "each row has the same keys");
        }
        assert!(table(&[row(3.0, 0.0), row(3.0, 2.0)]).to_string().contains("1.50"));
    }

    #[test]
    fn what_is_measured_is_written_where_cargo_builds() {
        let target = tempfile::tempdir().expect("a directory");
        std::fs::write(target.path().join("CACHEDIR.TAG"), "").expect("a file");
        let program = target.path().join("release/deps/sworm-1234");
        assert_eq!(super::target(&program), target.path());
        assert!(super::target(Path::new("/nowhere/sworm")).ends_with("target"));
    }
}
