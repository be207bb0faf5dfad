//! All figures, for the terminal and for the page.

use super::{Results, style::figure};
use crate::{report::empty_table, size::right};
use comfy_table::Cell;
use warpdot_measure::Line;

/// A column of the tables.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) is_number: bool,
    pub(crate) text: fn(&Line) -> String,
}

const fn word(name: &'static str, text: fn(&Line) -> String) -> Column {
    Column { name, is_number: false, text }
}

const fn number(name: &'static str, text: fn(&Line) -> String) -> Column {
    Column { name, is_number: true, text }
}

/// The columns, from left to right.
pub(crate) const COLUMNS: &[Column] = &[
    word("kernel", |line| match line.library.as_str() {
        "warpdot" => line.kernel.clone(),
        library if library == line.kernel => line.kernel.clone(),
        library => format!("{library} {}", line.kernel),
    }),
    word("device", |line| line.device.clone()),
    word("numerics", |line| line.numerics.clone()),
    word("type", |line| line.ty.clone()),
    number("m x n x k", |line| format!("{} x {} x {}", line.m, line.n, line.k)),
    number("threads", |line| line.threads.map_or("-".into(), |threads| threads.to_string())),
    word("cache", |line| if line.cold { "cold" } else { "warm" }.into()),
    number("ms", |line| line.ms.map_or("-".into(), |ms| format!("{ms:.3}"))),
    number("GB/s", |line| or_dash(line.gbps)),
    number("of", |line| or_dash(line.ceiling_gbps)),
    number("GOP/s", |line| or_dash(line.gops)),
    number("of", |line| or_dash(line.ceiling_gops)),
    number("of roof", |line| {
        line.share_of_roof().map_or("-".into(), |share| format!("{:.0} %", share * 100.0))
    }),
    number("error/bound", |line| line.error_over_bound.map_or("-".into(), |ratio| format!("{ratio:.4}"))),
];

fn or_dash(value: Option<f64>) -> String {
    value.map_or("-".into(), figure)
}

/// The table of this run's figures, and what they mean.
pub(crate) fn text(results: &Results) -> String {
    let mut table = empty_table(COLUMNS.iter().map(|column| column.name));
    for line in &results.ours {
        let cell = |column: &Column| {
            let text = (column.text)(line);
            if column.is_number { right(text) } else { Cell::new(text) }
        };
        table.add_row(COLUMNS.iter().map(cell));
    }
    let instruction = results.instruction.map_or(String::new(), |name| format!(" ({name})"));
    format!(
        "{table}\nms: the median of {} samples, alternating; GB/s: of weights, of what reading memory alone reaches; \
         GOP/s: of what int8 products in registers{instruction} reach; other processes used at most {:.0} % of the \
         machine",
        results.samples,
        results.others() * 100.0
    )
}
