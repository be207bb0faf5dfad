//! Bars: how fast each format's product is, beside the ceiling and other libraries.

use super::{
    panel::{Group, Panel},
    plot::{Anchor, Legend, Marker, Svg, text_width},
    roofline::describe,
    style::{Series, figure},
};
use warpdot_measure::Line;

const TOP: f64 = 64.0;
const BAR: f64 = 15.0;
const GAP: f64 = 9.0;

/// What bounds a product at best, and so what its bars show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Memory,
    Arithmetic,
}

impl Bound {
    /// What bounds most lines of the group; without ceilings, memory where there are few rows of X.
    fn of(group: &Group<'_>) -> Self {
        let lines = group.formats.iter().flat_map(|(_, lines)| lines).filter(|line| Series::of(line).ours);
        let (mut memory, mut arithmetic) = (0, 0);
        for line in lines {
            let ridge = line.ceiling_gops.zip(line.ceiling_gbps).map(|(gops, gbps)| gops / gbps);
            match line.intensity().zip(ridge) {
                Some((intensity, ridge)) if intensity < ridge => memory += 1,
                Some(_) => arithmetic += 1,
                None if line.m <= 8 => memory += 1,
                None => arithmetic += 1,
            }
        }
        if memory >= arithmetic { Self::Memory } else { Self::Arithmetic }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Memory => "GB/s",
            Self::Arithmetic => "GOP/s",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Memory => "weights read, GB/s",
            Self::Arithmetic => "operations, GOP/s",
        }
    }

    fn ceiling_name(self) -> &'static str {
        match self {
            Self::Memory => "reading memory, nothing else",
            Self::Arithmetic => "int8 in registers, nothing else",
        }
    }

    fn speed(self, line: &Line) -> Option<f64> {
        match self {
            Self::Memory => line.gbps,
            Self::Arithmetic => line.gops,
        }
    }

    fn ceiling(self, line: &Line) -> Option<f64> {
        match self {
            Self::Memory => line.ceiling_gbps,
            Self::Arithmetic => line.ceiling_gops,
        }
    }
}

/// Plots a shape of a panel.
pub(crate) fn bars(panel: &Panel<'_>, group: &Group<'_>, width: f64) -> Svg {
    let bound = Bound::of(group);
    let lines = || group.formats.iter().flat_map(|(_, lines)| lines).copied();
    let longest_name = group.formats.iter().map(|(ty, _)| text_width(ty)).fold(0.0, f64::max);
    let left = longest_name + 12.0;
    let speeds = lines().flat_map(|line| [bound.speed(line), bound.ceiling(line)]).flatten();
    let longest = speeds.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let room = 92.0; // for the figures behind the bars
    let length = |speed: f64| (width - left - room) * speed / longest;

    let mut svg = Svg::new(width, 0.0);
    let shape = group.shape;
    svg.text(
        "title",
        (0.0, 16.0),
        Anchor::Start,
        &format!("m = {}, n = {}, k = {}", shape.m, shape.n, shape.k),
    );
    svg.text("soft", (0.0, 36.0), Anchor::Start, &format!("{}; {}", bound.what(), panel.place()));
    let mut y = TOP - 8.0;
    for (ty, lines) in &group.formats {
        let height = BAR * lines.len() as f64;
        svg.text("", (left - 8.0, y + height / 2.0 + 4.0), Anchor::End, ty);
        for (row, line) in lines.iter().enumerate() {
            let (series, top) = (Series::of(line), y + BAR * row as f64);
            let Some(speed) = bound.speed(line) else { continue };
            svg.rect(
                &format!("{} full", series.colour),
                (left, top + 1.0),
                (length(speed), BAR - 2.0),
                &describe(line),
            );
            let share = bound.ceiling(line).filter(|_| series.ours);
            let share = share.map_or(String::new(), |ceiling| format!(" · {:.0} %", speed / ceiling * 100.0));
            // Behind the ceiling's line, where the bar almost gets there.
            let ceiling = lines.iter().find_map(|line| bound.ceiling(line)).map_or(0.0, length);
            let text_end = length(speed) + 12.0 + text_width(&format!("{}{share}", figure(speed)));
            let start = if text_end > ceiling { length(speed).max(ceiling) } else { length(speed) };
            let at = (left + start + 6.0, top + BAR - 4.0);
            svg.text("small", at, Anchor::Start, &format!("{}{share}", figure(speed)));
        }
        if let Some(ceiling) = lines.iter().find_map(|line| bound.ceiling(line)) {
            let x = left + length(ceiling);
            svg.line("limit", (x, y - 2.0), (x, y + height + 2.0));
        }
        y += height + GAP;
    }
    svg.line("axis", (left, TOP - 12.0), (left, y - GAP + 4.0));

    let mut legend = Legend::new(8.0, width, y + 14.0);
    let mut series: Vec<Series> = Vec::new();
    for line in lines() {
        let of = Series::of(line);
        if !series.contains(&of) {
            series.push(of);
        }
    }
    for series in series {
        let class = format!("{} full", series.colour);
        legend.entry(&mut svg, &series.name, |svg, at| svg.marker(Marker::Square, &class, at, ""));
    }
    let (gbps, gops) = panel.roofs();
    if let Some(median) = if bound == Bound::Memory { gbps } else { gops } {
        let label = format!("{}: {} {}", bound.ceiling_name(), figure(median), bound.unit());
        legend.entry(&mut svg, &label, |svg, (x, y)| svg.line("limit", (x, y - 7.0), (x, y + 7.0)));
    }
    svg.height = legend.y + 14.0;
    svg
}
