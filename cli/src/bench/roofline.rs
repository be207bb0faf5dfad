//! The roofline: how fast kernels are, beside what memory and arithmetic allow at their intensity.

use super::{
    panel::{Panel, shape},
    plot::{Anchor, Legend, Log, Marker, Svg, Taken, text_width},
    style::{Series, figure},
};
use warpdot_measure::Line;

const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 36.0;

/// Plots a panel with at least one kernel.
pub(crate) fn roofline(panel: &Panel<'_>, title: &str, instruction: Option<&str>, width: f64) -> Svg {
    let plot_height = if width < 600.0 { 320.0 } else { 390.0 };
    let (bottom, right) = (TOP + plot_height, width - RIGHT);
    let (gbps, gops) = panel.roofs();
    let points: Vec<(&Line, f64, f64)> =
        panel.lines().filter_map(|line| Some((line, line.intensity()?, line.gops?))).collect();
    let (x, y) = scales(&points, gbps, gops, (LEFT, right), (bottom, TOP));

    let mut svg = Svg::new(width, 0.0);
    let mut taken = Taken::default();
    svg.text("title", (0.0, 16.0), Anchor::Start, title);
    under_the_roofs(&mut svg, (x, y), (gbps, gops));
    axes(&mut svg, x, y);
    roofs(&mut svg, &mut taken, (x, y), (gbps, gops), instruction);

    let shapes = panel.shapes();
    let marker =
        |line: &Line| Marker::nth(shapes.iter().position(|known| *known == shape(line)).unwrap_or_default());
    for (_, intensity, gops) in &points {
        let (x, y) = (x.at(*intensity), y.at(*gops));
        taken.take([x - 5.0, y - 5.0, x + 5.0, y + 5.0]);
    }
    // Ours are drawn last, on top.
    for (line, intensity, gops) in points.iter().rev() {
        let series = Series::of(line);
        let class = format!("{} {}", series.colour, if series.ours { "full" } else { "hollow" });
        svg.marker(marker(line), &class, (x.at(*intensity), y.at(*gops)), &describe(line));
    }
    // One series' labels tell of the others, too, which stand above or below.
    let first = points.first().map(|(line, ..)| Series::of(line));
    for (line, intensity, gops) in points.iter().filter(|(line, ..)| Some(Series::of(line)) == first) {
        label(&mut svg, &mut taken, (x.at(*intensity), y.at(*gops)), &line.ty, right);
    }

    let mut legend = Legend::new(8.0, width, bottom + 64.0);
    for series in panel.series() {
        let class = format!("{} {}", series.colour, if series.ours { "full" } else { "hollow" });
        legend.entry(&mut svg, &series.name, |svg, at| svg.marker(Marker::Circle, &class, at, ""));
    }
    legend.next_row();
    for (index, shape) in shapes.iter().enumerate() {
        legend.entry(&mut svg, &format!("m x n x k = {shape}"), |svg, at| {
            svg.marker(Marker::nth(index), "ink full", at, "");
        });
    }
    svg.height = legend.y + 12.0;
    svg
}

/// Room for all points and the roofs' bend.
fn scales(
    points: &[(&Line, f64, f64)],
    gbps: Option<f64>,
    gops: Option<f64>,
    across: (f64, f64),
    up: (f64, f64),
) -> (Log, Log) {
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ridge = gbps.zip(gops).map(|(gbps, gops)| gops / gbps);
    let (x_low, x_high) = range(&mut points.iter().map(|(_, x, _)| *x).chain(ridge));
    let (y_low, y_high) = range(&mut points.iter().map(|(_, _, y)| *y).chain(gops));
    let x = Log { values: (x_low / 2.0, x_high * 2.5), pixels: across };
    (x, Log { values: (y_low / 2.5, y_high * 1.9), pixels: up })
}

fn axes(svg: &mut Svg, x: Log, y: Log) {
    let ((left, right), (bottom, top)) = (x.pixels, y.pixels);
    for (value, label) in x.ticks(|label| text_width(label) + 8.0) {
        svg.line("grid", (x.at(value), bottom), (x.at(value), top));
        if let Some(label) = label {
            svg.text("soft", (x.at(value), bottom + 17.0), Anchor::Middle, &label);
        }
    }
    for (value, label) in y.ticks(|_| 18.0) {
        svg.line("grid", (left, y.at(value)), (right, y.at(value)));
        if let Some(label) = label {
            svg.text("soft", (left - 6.0, y.at(value) + 4.0), Anchor::End, &label);
        }
    }
    svg.line("axis", (left, top), (left, bottom));
    svg.line("axis", (left, bottom), (right, bottom));
    let middle = ((left + right) / 2.0, bottom + 37.0);
    svg.text("", middle, Anchor::Middle, "arithmetic intensity, operations per byte of weights");
    svg.turned_text("", (12.0, (bottom + top) / 2.0), Anchor::Middle, -90.0, "speed, GOP/s");
}

/// Shades what the roofs allow, where there are both.
fn under_the_roofs(svg: &mut Svg, (x, y): (Log, Log), (gbps, gops): (Option<f64>, Option<f64>)) {
    let Some((gbps, gops)) = gbps.zip(gops) else { return };
    let ((_, right), (bottom, _)) = (x.pixels, y.pixels);
    let start = x.values.0.max(y.values.0 / gbps);
    let eaves = (x.at(start), y.at(start * gbps));
    let ridge = (x.at(gops / gbps), y.at(gops));
    svg.polygon("shade", &[(eaves.0, bottom), eaves, ridge, (right, ridge.1), (right, bottom)]);
}

/// The slanted roof of memory, up to the flat one of arithmetic, each with its figure.
fn roofs(
    svg: &mut Svg,
    taken: &mut Taken,
    (x, y): (Log, Log),
    (gbps, gops): (Option<f64>, Option<f64>),
    instruction: Option<&str>,
) {
    let ((low, high), (bottom_value, _)) = (x.values, y.values);
    if let Some(gbps) = gbps {
        let start = low.max(bottom_value / gbps);
        let end = gops.map_or(high, |gops| gops / gbps).min(high).min(y.values.1 / gbps);
        let at = |intensity: f64| (x.at(intensity), y.at(intensity * gbps));
        let (from, to) = (at(start), at(end));
        svg.line("roof", from, to);
        for i in 0..=100 {
            let t = f64::from(i) / 100.0;
            let (cx, cy) = (from.0 + (to.0 - from.0) * t, from.1 + (to.1 - from.1) * t);
            taken.take([cx - 1.0, cy - 1.0, cx + 1.0, cy + 1.0]);
        }
        let degrees = (to.1 - from.1).atan2(to.0 - from.0).to_degrees();
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy);
        let short = format!("{} GB/s", figure(gbps));
        let long = format!("reading memory: {short}");
        let text = if text_width(&long) < length { long } else { short };
        // In the middle, above the line; taken piece by piece, since it slants.
        let (middle, half) = (0.5, text_width(&text) / 2.0 / length);
        let (nx, ny) = (dy / length * 9.0, -dx / length * 9.0);
        svg.turned_text(
            "halo",
            (from.0 + dx * middle + nx, from.1 + dy * middle + ny),
            Anchor::Middle,
            degrees,
            &text,
        );
        for i in 0..=16 {
            let t = middle - half + 2.0 * half * f64::from(i) / 16.0;
            let (cx, cy) = (from.0 + dx * t + 1.5 * nx, from.1 + dy * t + 1.5 * ny);
            taken.take([cx - 7.0, cy - 7.0, cx + 7.0, cy + 7.0]);
        }
    }
    if let Some(gops) = gops {
        let start = gbps.map_or(low, |gbps| gops / gbps).max(low);
        let (from, to) = ((x.at(start), y.at(gops)), (x.at(high), y.at(gops)));
        svg.line("roof", from, to);
        taken.take([from.0, from.1 - 1.0, to.0, to.1 + 1.0]);
        let text = format!("int8 in registers ({}): {} GOP/s", instruction.unwrap_or("peak"), figure(gops));
        // Close to the ridge, where points are few, if there is room.
        let left = (from.0 + 10.0).min(to.0 - text_width(&text)).max(LEFT);
        svg.text("halo", (left, to.1 - 8.0), Anchor::Start, &text);
        taken.take([left, to.1 - 22.0, left + text_width(&text), to.1]);
    }
}

/// Writes a point's format where there is room, or nowhere: whoever points at the point reads all about it.
fn label(svg: &mut Svg, taken: &mut Taken, (x, y): (f64, f64), text: &str, right: f64) {
    let width = text_width(text) * 11.0 / 12.0 + 2.0;
    let places = [
        (Anchor::Start, x + 9.0, y + 4.0),
        (Anchor::End, x - 9.0, y + 4.0),
        (Anchor::Middle, x, y + 18.0),
        (Anchor::Middle, x, y - 10.0),
        (Anchor::Start, x + 7.0, y + 16.0),
        (Anchor::End, x - 7.0, y - 8.0),
    ];
    for (anchor, tx, ty) in places {
        let start = match anchor {
            Anchor::Start => tx,
            Anchor::Middle => tx - width / 2.0,
            Anchor::End => tx - width,
        };
        let area = [start, ty - 10.0, start + width, ty + 2.0];
        if start > LEFT && start + width < right && taken.is_free(area) {
            taken.take(area);
            svg.text("small halo", (tx, ty), anchor, text);
            return;
        }
    }
}

/// All about a point.
pub(crate) fn describe(line: &Line) -> String {
    let or_none = |value: Option<f64>| value.map_or("-".into(), figure);
    let share =
        line.share_of_roof().map_or(String::new(), |share| format!(", {:.0} % of the roof", share * 100.0));
    format!(
        "{} {}, {}, {} x {} x {}: {} ms, {} GB/s, {} GOP/s{share}",
        line.library,
        line.kernel,
        line.ty,
        line.m,
        line.n,
        line.k,
        line.ms.map_or("-".into(), |ms| format!("{ms:.3}")),
        or_none(line.gbps),
        or_none(line.gops)
    )
}
