//! A drawing in SVG, and scales for its axes.

use std::fmt::{self, Write};

/// A drawing, its origin at the top left.
pub(crate) struct Svg {
    pub(crate) width: f64,
    pub(crate) height: f64,
    body: String,
}

/// Where a text is, relative to its point.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// What points of one shape look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Pentagon,
}

impl Marker {
    const ALL: [Self; 5] = [Self::Circle, Self::Square, Self::Triangle, Self::Diamond, Self::Pentagon];

    /// The marker of so manieth shape; they come again after the last.
    pub(crate) fn nth(index: usize) -> Self {
        Self::ALL[index % Self::ALL.len()]
    }
}

/// Text as content or attribute of XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no other control characters.
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// About as wide is a text of 12 pixels, in a wide font.
pub(crate) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.2
}

impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    fn add(&mut self, element: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(element);
    }

    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    /// An area with these corners.
    pub(crate) fn polygon(&mut self, class: &str, corners: &[(f64, f64)]) {
        let corners: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!(r#"<polygon class="{class}" points="{}"/>"#, corners.join(" ")));
    }

    /// A rectangle; whoever points at it reads the title.
    pub(crate) fn rect(&mut self, class: &str, corner: (f64, f64), size: (f64, f64), title: &str) {
        let ((x, y), (width, height)) = (corner, size);
        self.add(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}">{}</rect>"#,
            titled(title)
        ));
    }

    pub(crate) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        self.turned_text(class, at, anchor, 0.0, text);
    }

    /// Text, turned clockwise by so many degrees round its point.
    pub(crate) fn turned_text(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        anchor: Anchor,
        degrees: f64,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let place = if degrees == 0.0 {
            format!(r#"x="{x:.1}" y="{y:.1}""#)
        } else {
            format!(r#"transform="translate({x:.1} {y:.1}) rotate({degrees:.1})""#)
        };
        self.add(format_args!(
            r#"<text class="{class}" {place} text-anchor="{anchor}">{}</text>"#,
            escape(text)
        ));
    }

    pub(crate) fn marker(&mut self, marker: Marker, class: &str, (x, y): (f64, f64), title: &str) {
        let title = titled(title);
        let corners = |count: usize, radius: f64, turn: f64| -> String {
            let corner = |i: usize| {
                let angle = (turn + i as f64 / count as f64) * std::f64::consts::TAU;
                format!("{:.1},{:.1}", x + radius * angle.sin(), y - radius * angle.cos())
            };
            (0..count).map(corner).collect::<Vec<_>>().join(" ")
        };
        let points = match marker {
            Marker::Circle => {
                self.add(format_args!(
                    r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="5">{title}</circle>"#
                ));
                return;
            }
            Marker::Square => corners(4, 6.4, 0.125),
            Marker::Triangle => corners(3, 6.6, 0.0),
            Marker::Diamond => corners(4, 6.8, 0.0),
            Marker::Pentagon => corners(5, 6.0, 0.0),
        };
        self.add(format_args!(r#"<polygon class="{class}" points="{points}">{title}</polygon>"#));
    }

    /// Another drawing, its origin at a point of this one.
    pub(crate) fn nest(&mut self, (x, y): (f64, f64), other: &Self) {
        self.add(format_args!(r#"<g transform="translate({x:.1} {y:.1})">{}</g>"#, other.body));
    }

    /// The element, for a page that has the styles.
    pub(crate) fn element(&self, class: &str, label: &str) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            r#"<svg class="{class}" viewBox="0 0 {width:.0} {height:.0}" role="img" aria-label="{}">{}</svg>"#,
            escape(label),
            self.body
        )
    }

    /// A file by itself, with its styles and its own background.
    pub(crate) fn file(&self, styles: &str, label: &str) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} \
             {height:.0}\" role=\"img\" aria-label=\"{}\"><style>{styles}</style><rect class=\"ground\" width=\"100%\" \
             height=\"100%\"/>{}</svg>\n",
            escape(label),
            self.body
        )
    }
}

fn titled(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) }
}

/// A logarithmic scale.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    pub(crate) values: (f64, f64),
    pub(crate) pixels: (f64, f64),
}

impl Log {
    /// The pixel of a value.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let ((low, high), (from, to)) = (self.values, self.pixels);
        from + (value / low).ln() / (high / low).ln() * (to - from)
    }

    /// Values 1, 2 and 5 of each power of ten, with text where there is room for so many pixels.
    pub(crate) fn ticks(&self, room: impl Fn(&str) -> f64) -> Vec<(f64, Option<String>)> {
        let (low, high) = self.values;
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let values = |power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power));
        let values: Vec<f64> = powers.flat_map(values).filter(|value| (low..=high).contains(value)).collect();
        let is_power = |value: f64| (value.log10() - value.log10().round()).abs() < 1e-9;
        let mut taken: Vec<(f64, f64)> = Vec::new();
        let mut ticks: Vec<(f64, Option<String>)> = values.iter().map(|&value| (value, None)).collect();
        // Powers of ten go first.
        for powers_only in [true, false] {
            for (value, text) in ticks.iter_mut().filter(|(value, _)| is_power(*value) == powers_only) {
                let label = number(*value);
                let (center, half) = (self.at(*value), room(&label) / 2.0);
                if taken.iter().all(|(from, to)| center + half < *from || center - half > *to) {
                    taken.push((center - half, center + half));
                    *text = Some(label);
                }
            }
        }
        ticks
    }
}

/// As short as can be, for ticks.
fn number(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{}", (value * 1e6).round() / 1e6) }
}

/// Rectangles that labels must not cover.
#[derive(Default)]
pub(crate) struct Taken(Vec<[f64; 4]>);

impl Taken {
    /// Takes a rectangle (left, top, right, bottom).
    pub(crate) fn take(&mut self, area: [f64; 4]) {
        self.0.push(area);
    }

    /// Whether the rectangle is free.
    pub(crate) fn is_free(&self, [left, top, right, bottom]: [f64; 4]) -> bool {
        self.0.iter().all(|[l, t, r, b]| right < *l || left > *r || bottom < *t || top > *b)
    }
}

/// A row, or some, of labelled markers.
pub(crate) struct Legend {
    left: f64,
    right: f64,
    x: f64,
    /// The base line of the last row.
    pub(crate) y: f64,
}

impl Legend {
    const ROW: f64 = 20.0;

    /// Between two edges, the first row's base line at `y`.
    pub(crate) fn new(left: f64, right: f64, y: f64) -> Self {
        Self { left, right, x: left, y }
    }

    /// A label, and what `draw` draws before it, at the point that it gets.
    pub(crate) fn entry(&mut self, svg: &mut Svg, label: &str, draw: impl FnOnce(&mut Svg, (f64, f64))) {
        let width = 18.0 + text_width(label) + 14.0;
        if self.x > self.left && self.x + width > self.right {
            (self.x, self.y) = (self.left, self.y + Self::ROW);
        }
        draw(svg, (self.x + 6.0, self.y - 4.0));
        svg.text("soft", (self.x + 18.0, self.y), Anchor::Start, label);
        self.x += width;
    }

    /// Ends the row.
    pub(crate) fn next_row(&mut self) {
        if self.x > self.left {
            (self.x, self.y) = (self.left, self.y + Self::ROW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_element() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text("soft", (0.0, 0.0), Anchor::Start, "</svg><script>'\"&\u{1b}");
        svg.rect("c0", (0.0, 0.0), (1.0, 1.0), "<b>");
        let element = svg.element("wide", "a\"b");
        assert!(element.contains("&lt;/svg&gt;&lt;script&gt;&#39;&quot;&amp; <"), "{element}");
        assert!(element.contains("<title>&lt;b&gt;</title>") && element.contains("a&quot;b"), "{element}");
    }

    #[test]
    fn a_scale_is_logarithmic_and_its_labels_keep_apart() {
        let scale = Log { values: (1.0, 1000.0), pixels: (0.0, 300.0) };
        for (value, pixel) in [(1.0, 0.0), (10.0, 100.0), (1000.0, 300.0)] {
            assert!((scale.at(value) - pixel).abs() < 1e-9);
        }
        let ticks = scale.ticks(|_| 40.0);
        let values: Vec<f64> = ticks.iter().map(|(value, _)| value.round()).collect();
        assert_eq!(values, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);
        let labels: Vec<&str> = ticks.iter().filter_map(|(_, label)| label.as_deref()).collect();
        assert_eq!(labels, ["1", "10", "100", "1000"]);
        assert_eq!(scale.ticks(|_| 10.0).iter().filter(|(_, label)| label.is_some()).count(), 10);
    }

    #[test]
    fn areas_are_taken_once() {
        let mut taken = Taken::default();
        taken.take([0.0, 0.0, 10.0, 10.0]);
        assert!(!taken.is_free([5.0, 5.0, 15.0, 15.0]));
        assert!(taken.is_free([11.0, 0.0, 15.0, 10.0]));
    }
}
