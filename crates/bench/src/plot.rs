//! A plot in SVG of costs over sizes, both on logarithmic scales.

use std::fmt::Write as _;

/// What one thing costs at each size.
pub struct Line {
    pub name: &'static str,
    /// Milliseconds.
    pub costs: Vec<f64>,
}

impl Line {
    pub fn new(name: &'static str) -> Self {
        Self { name, costs: Vec::new() }
    }
}

const COLOURS: [&str; 9] =
    ["#1b1b1b", "#1f6f54", "#2a78c4", "#b3261e", "#e08a1e", "#7a4fb3", "#0f8b8d", "#c2498a", "#6b7a1f"];
const LEFT: f64 = 64.0;
const TOP: f64 = 44.0;
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
/// Names of lines are at least so far apart.
const APART: f64 = 15.0;

/// The plot of these lines. Their names stand at their ends.
pub fn plot(sizes: &[u64], lines: &[Line]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let of_size = |size: &u64| (*size as f64).log10();
    let (first, last) = (sizes.first().map_or(0.0, of_size), sizes.last().map_or(1.0, of_size));
    let costs = || lines.iter().flat_map(|line| &line.costs).map(|cost| cost.log10());
    let (low, high) = (costs().fold(f64::MAX, f64::min).floor(), costs().fold(f64::MIN, f64::max).ceil());
    let x = |size: &u64| LEFT + WIDTH * (of_size(size) - first) / (last - first).max(f64::EPSILON);
    let y = |cost: f64| TOP + HEIGHT * (high - cost.log10()) / (high - low).max(f64::EPSILON);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 400\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Milliseconds a request while the log grows</title>\n\
         <rect width=\"760\" height=\"400\" fill=\"#ffffff\"/>\n",
    );
    let _ =
        writeln!(svg, "<text x=\"{LEFT}\" y=\"24\" font-size=\"14\">Milliseconds a request while the log grows</text>");
    let mut power = low;
    while power <= high {
        let (at, label) = (y(10_f64.powf(power)), 10_f64.powf(power));
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label} ms</text>",
            LEFT + WIDTH,
            LEFT - 8.0,
            at + 4.0
        );
        power += 1.0;
    }
    for size in sizes {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{size}</text>",
            x(size),
            TOP + HEIGHT + 20.0
        );
    }
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\">events in the log</text>", TOP + HEIGHT + 40.0);
    let mut ends: Vec<(f64, &Line, &str)> =
        lines.iter().zip(COLOURS).filter_map(|(line, colour)| Some((y(*line.costs.last()?), line, colour))).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = TOP - APART;
    for (end, line, colour) in ends {
        let points: Vec<String> =
            sizes.iter().zip(&line.costs).map(|(size, cost)| format!("{:.1},{:.1}", x(size), y(*cost))).collect();
        free = end.max(free + APART);
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            points.join(" "),
            LEFT + WIDTH + 8.0,
            free + 4.0,
            line.name
        );
    }
    svg.push_str("</svg>\n");
    svg
}
