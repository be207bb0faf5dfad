//! What belongs into one plot: the lines of one device with one number of threads, and other libraries' beside them.

use super::{Results, style::Series};
use crate::args::Shape;
use warpdot_measure::{Line, timing::median};

/// Kernels under the same ceilings.
pub(crate) struct Panel<'a> {
    pub(crate) device: &'a str,
    pub(crate) threads: Option<usize>,
    pub(crate) cold: bool,
    /// Ours, all of them with a time.
    pub(crate) ours: Vec<&'a Line>,
    /// The best kernel of each other library for each of our products, where there is one.
    pub(crate) rivals: Vec<&'a Line>,
}

/// A shape's lines in a panel, format by format.
pub(crate) struct Group<'a> {
    pub(crate) shape: Shape,
    /// Each format's lines, ours first.
    pub(crate) formats: Vec<(&'a str, Vec<&'a Line>)>,
}

/// The panels: each device's in its turn, most threads first.
pub(crate) fn panels(results: &Results) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    for line in results.ours.iter().filter(|line| line.ms.is_some()) {
        let fits = |panel: &Panel<'_>| panel.holds(line);
        if !panels.iter().any(fits) {
            let (device, threads, cold) = (line.device.as_str(), line.threads, line.cold);
            panels.push(Panel { device, threads, cold, ours: Vec::new(), rivals: Vec::new() });
        }
        panels.iter_mut().filter(|panel| panel.holds(line)).for_each(|panel| panel.ours.push(line));
    }
    for panel in &mut panels {
        panel.rivals = rivals(panel, results);
    }
    panels.sort_by_key(|panel| (panel.device != "cpu", !panel.cold, std::cmp::Reverse(panel.threads)));
    panels
}

/// The best kernel of each other library for each product of a panel.
fn rivals<'a>(panel: &Panel<'a>, results: &'a Results) -> Vec<&'a Line> {
    let mut best: Vec<&Line> = Vec::new();
    let is_measured = |line: &&Line| panel.ours.iter().any(|ours| product(ours) == product(line));
    for rival in results.rivals().filter(|rival| rival.ms.is_some() && panel.holds(rival)).filter(is_measured)
    {
        let same = |known: &&mut &Line| known.library == rival.library && product(known) == product(rival);
        match best.iter_mut().find(same) {
            Some(known) if known.ms <= rival.ms => {}
            Some(known) => *known = rival,
            None => best.push(rival),
        }
    }
    best
}

fn product(line: &Line) -> (&str, Shape) {
    (&line.ty, shape(line))
}

pub(crate) fn shape(line: &Line) -> Shape {
    Shape { m: line.m, n: line.n, k: line.k }
}

impl<'a> Panel<'a> {
    fn holds(&self, line: &Line) -> bool {
        (self.device, self.threads, self.cold) == (&line.device, line.threads, line.cold)
    }

    /// Where it was measured, for a title.
    pub(crate) fn place(&self) -> String {
        let device = if self.device == "cpu" { "CPU" } else { self.device };
        let threads = match self.threads {
            Some(1) => ", 1 thread".to_owned(),
            Some(threads) => format!(", {threads} threads"),
            None => String::new(),
        };
        let source = if self.cold { "weights from memory" } else { "weights from the caches" };
        format!("{device}{threads}, {source}")
    }

    /// The medians of the ceilings: GB/s and GOP/s.
    pub(crate) fn roofs(&self) -> (Option<f64>, Option<f64>) {
        let middle = |of: fn(&Line) -> Option<f64>| {
            let values: Vec<f64> = self.ours.iter().filter_map(|line| of(line)).collect();
            (!values.is_empty()).then(|| median(&values))
        };
        (middle(|line| line.ceiling_gbps), middle(|line| line.ceiling_gops))
    }

    /// Ours and theirs.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'a Line> {
        self.ours.iter().chain(&self.rivals).copied()
    }

    /// The kinds of kernels, ours first.
    pub(crate) fn series(&self) -> Vec<Series> {
        each_once(self.lines().map(Series::of))
    }

    /// The shapes, in the order in which they were measured.
    pub(crate) fn shapes(&self) -> Vec<Shape> {
        each_once(self.ours.iter().map(|line| shape(line)))
    }

    /// The lines, by shape and format.
    pub(crate) fn groups(&self) -> Vec<Group<'a>> {
        let group = |shape: Shape| {
            let lines = || self.lines().filter(move |line| self::shape(line) == shape);
            let formats = each_once(lines().map(|line| line.ty.as_str()));
            let of = |ty| (ty, lines().filter(|line| line.ty == ty).collect());
            Group { shape, formats: formats.into_iter().map(of).collect() }
        };
        self.shapes().into_iter().map(group).collect()
    }
}

fn each_once<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut each = Vec::new();
    for item in items {
        if !each.contains(&item) {
            each.push(item);
        }
    }
    each
}
