//! Colours and sizes, for light and dark screens, and what tells one series from another.

use warpdot_measure::Line;

/// For a page's plots and for a picture by itself. The colours of series are Okabe and Ito's, which people with any
/// colour vision tell apart, lightened on dark screens.
pub(crate) const PLOTS: &str = "\
:root{color-scheme:light dark;--bg:#ffffff;--ink:#1c2228;--soft:#56616b;--grid:#e4e8ec;--shade:#f1f4f7;\
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b4578f;--c4:#d08a00}\
@media(prefers-color-scheme:dark){:root{--bg:#14181c;--ink:#e8ecef;--soft:#a3adb6;--grid:#2b3238;--shade:#1d2328;\
--c0:#56b4e9;--c1:#f5894a;--c2:#2fc79c;--c3:#e59cc6;--c4:#f0b840}}\
svg text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:var(--ink)}\
svg .title{font-size:15px;font-weight:600}svg .head{font-size:18px;font-weight:600}\
svg .soft{fill:var(--soft)}svg .small{font-size:11px}svg .code{font-family:ui-monospace,'DejaVu Sans Mono',monospace;\
font-size:10.5px}\
svg .halo{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}\
svg .ground{fill:var(--bg)}svg .shade{fill:var(--shade)}svg .grid{stroke:var(--grid);stroke-width:1}\
svg .axis{stroke:var(--soft);stroke-width:1}svg .roof{stroke:var(--ink);stroke-width:2;fill:none}\
svg .limit{stroke:var(--ink);stroke-width:2}\
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.ink{--c:var(--soft)}\
svg .full{fill:var(--c);stroke:var(--bg);stroke-width:1}svg .hollow{fill:var(--bg);stroke:var(--c);stroke-width:1.6}";

/// For the page around the plots.
pub(crate) const PAGE: &str = "\
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,\
'DejaVu Sans',sans-serif}\
main{max-width:1120px;margin:0 auto;padding:24px 16px 64px}\
h1{font-size:1.75rem;line-height:1.2;margin:0 0 4px}h2{font-size:1.25rem;margin:40px 0 8px}\
p,li,dd{max-width:75ch}.soft,figcaption{color:var(--soft)}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:16px 0;font-size:.95rem}\
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\
code{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:.88em}\
figure{margin:16px 0}figure svg{display:block;width:100%;height:auto}\
.narrow{display:none!important}\
.bars{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:8px 32px}\
.bars figure{max-width:540px}\
.scroll{overflow-x:auto;border:1px solid var(--grid);border-radius:6px}\
table{border-collapse:collapse;font-size:.85rem;white-space:nowrap;width:100%}\
th,td{padding:4px 10px;text-align:left;border-bottom:1px solid var(--grid)}\
th{background:var(--shade);font-weight:600}tr:last-child td{border-bottom:0}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
.warn{border-left:4px solid var(--c1);padding:4px 12px;background:var(--shade)}\
@media(max-width:700px){.wide{display:none!important}.narrow{display:block!important}\
dl{grid-template-columns:1fr}dd{margin-bottom:6px}}";

/// Kernels of one kind, in one colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// The class of its colour.
    pub(crate) colour: &'static str,
    /// Whether it is warpdot's.
    pub(crate) ours: bool,
}

impl Series {
    /// The series that a line belongs to.
    pub(crate) fn of(line: &Line) -> Self {
        let (library, numerics) = (line.library.as_str(), line.numerics.as_str());
        let ours = library == "warpdot";
        let colour = match (library, numerics) {
            ("warpdot", "reproducible") => "c2",
            ("warpdot", _) => "c0",
            ("ggml", _) => "c1",
            ("candle", _) => "c4",
            _ => "c3",
        };
        let name = if ours { format!("{library}, {numerics}") } else { library.to_owned() };
        Self { name, colour, ours }
    }
}

/// Three significant digits, and a whole number from 100 on.
pub(crate) fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_three_digits() {
        for (value, text) in [(1234.6, "1235"), (99.96, "100"), (42.25, "42.2"), (1.0, "1.00"), (0.0, "0.00")]
        {
            assert_eq!(figure(value), text);
        }
    }
}
