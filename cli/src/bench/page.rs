//! The page, and the picture: everything in one file each, which fetches nothing.

use super::{
    Results,
    bars::bars,
    panel::{Panel, panels},
    plot::{Anchor, Svg, escape},
    roofline::roofline,
    style::{PAGE, PLOTS, figure},
    table,
};
use std::fmt::Write;
use warpdot_measure::{Line, machine};

/// A share of the machine for others above which times are to be doubted.
const NOISY: f64 = 0.05;
const PLOT: f64 = 1088.0;
const NARROW: f64 = 400.0;
const BARS: f64 = 440.0;

/// The page as HTML.
pub(crate) fn html(results: &Results) -> String {
    let panels = panels(results);
    let mut body = String::new();
    let mut add = |part: &str| body.push_str(part);
    add("<h1>Quantized matrix products, measured</h1>");
    add(
        "<p class=\"soft\">Y[m, n] = X[m, k] · W[n, k]ᵀ, with X and Y in f32 and W in GGUF’s block formats.</p>",
    );
    add(&facts(results));
    add(&warnings(results));
    if panels.is_empty() {
        add(
            "<p>Nothing was timed: emulated devices are executed on the CPU, and their times would mean nothing.</p>",
        );
    }
    for panel in &panels {
        add(&section(panel, results.instruction));
    }
    add("<h2>All figures</h2>");
    add(&html_table(&results.ours));
    if !results.peers.is_empty() {
        add("<h2>Figures of the run with other libraries</h2>");
        add("<p>Measured by <code>cargo xtask peers</code> in a run of their own, warpdot among them.</p>");
        add(&html_table(&results.peers));
    }
    add(NOTES);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta name=\"generator\" content=\"warpdot {}\">\
         <title>warpdot: quantized matrix products, measured</title><style>{PLOTS}{PAGE}</style></head>\
         <body><main>{body}</main></body></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn facts(results: &Results) -> String {
    let cache = machine::last_level_cache().map_or("unknown".into(), |bytes| format!("{} MiB", bytes >> 20));
    let facts = [
        ("Machine", format!("{}; last cache {cache}", machine::cpu())),
        ("Date", machine::date()),
        ("Version", format!("warpdot {}", env!("CARGO_PKG_VERSION"))),
        ("Samples", format!("medians of {}, alternating", results.samples)),
        ("Other processes", format!("at most {:.0} % of the machine meanwhile", results.others() * 100.0)),
    ];
    let mut list = String::from("<dl>");
    for (name, value) in facts {
        let _ = write!(list, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    let _ = write!(list, "<dt>Command</dt><dd><code>{}</code></dd></dl>", escape(&results.command));
    list
}

fn warnings(results: &Results) -> String {
    let mut warnings = Vec::new();
    if results.others() > NOISY {
        warnings.push(format!(
            "Other processes used up to {:.0} % of the machine while it was measured: take the times with care.",
            results.others() * 100.0
        ));
    }
    let elsewhere = |line: &&Line| results.ours.first().is_some_and(|ours| ours.cpu != line.cpu);
    if let Some(line) = results.rivals().find(elsewhere) {
        warnings.push(format!(
            "The other libraries were measured on another machine ({}, {}): do not compare.",
            line.cpu, line.date
        ));
    }
    warnings.iter().map(|warning| format!("<p class=\"warn\">{}</p>", escape(warning))).collect()
}

/// A panel's plots; the roofline twice, for wide windows and for narrow ones.
fn section(panel: &Panel<'_>, instruction: Option<&str>) -> String {
    let place = panel.place();
    let mut section = format!("<h2>{}</h2><figure>", escape(&place));
    for (class, width) in [("wide", PLOT), ("narrow", NARROW)] {
        section +=
            &roofline(panel, "Roofline", instruction, width).element(class, &format!("Roofline: {place}"));
    }
    section += "<figcaption>Each mark is a kernel, its shape the product’s, its colour the library. A perfect one \
                lies on the roof. Point at a mark to read all about it.</figcaption></figure><div class=\"bars\">";
    for group in panel.groups() {
        let label = format!("Speeds of {}, {place}", group.shape);
        let _ = write!(section, "<figure>{}</figure>", bars(panel, &group, BARS).element("", &label));
    }
    section + "</div>"
}

fn html_table(lines: &[Line]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table><thead><tr>");
    let class = |column: &table::Column| if column.is_number { " class=\"n\"" } else { "" };
    for column in table::COLUMNS {
        let _ = write!(html, "<th{}>{}</th>", class(column), column.name);
    }
    html += "</tr></thead><tbody>";
    for line in lines {
        html += "<tr>";
        for column in table::COLUMNS {
            let _ = write!(html, "<td{}>{}</td>", class(column), escape(&(column.text)(line)));
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>"
}

const NOTES: &str = "<h2>How to read this</h2><ul>\
<li><b>GB/s</b> counts the bytes of the weights in their blocks, 10⁹ a second; <b>GOP/s</b> counts two operations for each \
product, 10⁹ a second. <b>Arithmetic intensity</b> is one by the other: it grows with m, and with fewer bits a weight.</li>\
<li>The <b>roofs</b> were measured in this run, by as many threads, their samples alternating with those of the kernels: \
reading memory that exceeds the caches and doing nothing else, and multiplying int8 in registers and doing nothing else. \
Kernels also round activations, unpack weights and scale sums, which the roofs leave out.</li>\
<li><b>Cold</b> products go round copies of the weights that together exceed the last cache twice, as the layers of a \
model do; <b>warm</b> ones use one copy again and again.</li>\
<li><b>error/bound</b>: each product’s outputs, or a sample of them, were compared with an f64 product of the \
dequantized weights; this is the largest error by what rounding can explain, and at most 1. Other libraries’ files may \
lack it.</li></ul>";

/// The first panel's roofline, and bars of its first and last shape, as a file of SVG.
pub(crate) fn picture(results: &Results) -> String {
    const WIDTH: f64 = 880.0;
    const EDGE: f64 = 20.0;
    let inner = WIDTH - 2.0 * EDGE;
    let mut svg = Svg::new(WIDTH, 0.0);
    svg.text("head", (EDGE, 34.0), Anchor::Start, "Quantized matrix products beside the machine’s ceilings");
    svg.text("soft", (EDGE, 56.0), Anchor::Start, &results.whence());
    let mut y = 80.0;
    let panels = panels(results);
    if let Some(panel) = panels.first() {
        let title = format!("Roofline: {}", panel.place());
        let plot = roofline(panel, &title, results.instruction, inner);
        svg.nest((EDGE, y), &plot);
        y += plot.height + 18.0;
        let groups = panel.groups();
        let ends = [groups.first(), groups.last().filter(|_| groups.len() > 1)];
        let mut tallest = 0.0f64;
        for (column, group) in ends.into_iter().flatten().enumerate() {
            let plot = bars(panel, group, (inner - 2.0 * EDGE) / 2.0);
            svg.nest((EDGE + column as f64 * (inner / 2.0 + EDGE), y), &plot);
            tallest = tallest.max(plot.height);
        }
        y += tallest + 14.0;
    } else {
        svg.text("", (EDGE, y + 10.0), Anchor::Start, "Nothing was timed.");
        y += 30.0;
    }
    let noise = format!(
        "Medians of {} alternating samples; other processes used at most {} % of the machine meanwhile.",
        results.samples,
        figure(results.others() * 100.0)
    );
    let rivals = results.rivals().next().map(|line| format!(" Other libraries: a run of {}.", line.date));
    svg.text("soft small", (EDGE, y), Anchor::Start, &(noise + &rivals.unwrap_or_default()));
    for row in wrapped(&results.command, 128) {
        y += 17.0;
        svg.text("soft code", (EDGE, y), Anchor::Start, &row);
    }
    svg.height = y + 18.0;
    svg.file(PLOTS, "Roofline and bars of quantized matrix products")
}

/// Words in rows of at most so many letters, but for longer words.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in text.split(' ') {
        match rows.last_mut() {
            Some(row) if row.is_empty() => row.push_str(word),
            Some(row) if row.chars().count() + 1 + word.chars().count() <= letters => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn rows_are_whole_words() {
        assert_eq!(wrapped("ab cd efghij k", 5), ["ab cd", "efghij", "k"]);
    }
}
