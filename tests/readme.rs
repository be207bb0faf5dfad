//! The README's table of formats is the list of formats.

use warpdot::GgmlType;
use warpdot_formats::{Format, FormatVisitor};

struct Row;

impl FormatVisitor for Row {
    type Output = String;

    fn visit<F: Format>(self) -> String {
        let (name, weights, bytes) = (F::NAME, F::WEIGHTS, size_of::<F>());
        let bits = bytes as f64 * 8.0 / weights as f64;
        let offset = if F::HAS_OFFSET { "scale and offset" } else { "scale" };
        format!("| {name} | {weights} | {bytes} | {bits} | {offset} per {} |\n", F::GROUP)
    }
}

#[test]
fn every_format_has_its_row() {
    let rows: String = GgmlType::ALL.iter().map(|ty| ty.visit(Row)).collect();
    assert!(include_str!("../README.md").contains(&rows), "the table's rows are\n{rows}");
}
