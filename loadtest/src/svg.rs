//! Bar charts as SVG. Charts of plain bars need no crate: every line of text and every rectangle
//! is written here, and no font is measured.
//!
//! Pure; keeps nothing.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const LABEL_WIDTH: f64 = 330.0;
const NUMBER_WIDTH: f64 = 150.0;
const BAR_HEIGHT: f64 = 18.0;
const GAP: f64 = 6.0;
const TOP: f64 = 56.0;

/// A bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// What stands before it.
    pub(crate) label: String,
    /// How long it is; nothing below zero.
    pub(crate) value: f64,
    /// What stands behind it.
    pub(crate) text: String,
    /// Bars of one kind have one colour.
    pub(crate) kind: usize,
}

const COLOURS: [&str; 4] = ["#2a6f97", "#b5651d", "#6a994e", "#7b2d8b"];

/// A chart of horizontal bars, whose length is the logarithm of their value, from the power of ten
/// below the smallest.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = TOP + bars.len() as f64 * (BAR_HEIGHT + GAP) + GAP;
    let values = || bars.iter().map(|bar| bar.value).filter(|value| *value > 0.0);
    let longest = values().fold(0.0, f64::max);
    let floor = 10f64.powf(values().fold(f64::INFINITY, f64::min).log10().floor());
    let share = |value: f64| {
        if value <= 0.0 {
            return 0.0;
        }
        // The smallest keeps a bar that can be seen.
        let span = (longest / floor).log10().max(1.0);
        ((value / floor).log10() / span).clamp(0.01, 1.0)
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"16\">{}</text>\n\
         <text x=\"10\" y=\"42\" fill=\"#555\">{}</text>\n",
        escaped(title),
        escaped(unit),
    );
    for (place, bar) in bars.iter().enumerate() {
        let y = TOP + place as f64 * (BAR_HEIGHT + GAP);
        let width = share(bar.value) * (WIDTH - LABEL_WIDTH - NUMBER_WIDTH);
        let base = y + BAR_HEIGHT - 5.0;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABEL_WIDTH}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
             fill=\"{}\"/><text x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            LABEL_WIDTH - 8.0,
            escaped(&bar.label),
            COLOURS[bar.kind % COLOURS.len()],
            LABEL_WIDTH + width + 6.0,
            escaped(&bar.text),
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(svg: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.contains("text-anchor"));
        let width = |line: &str| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok();
        bars.filter_map(width).collect()
    }

    fn bar(label: &str, value: f64) -> Bar {
        Bar { label: label.to_owned(), value, text: String::new(), kind: 0 }
    }

    #[test]
    fn bars_are_as_long_as_the_logarithms_of_their_values() {
        let svg = bars("A <title>", "", &[bar("a&b", 10.0), bar("c", 100.0), bar("", 1000.0)]);
        assert_eq!(widths(&svg), [4.2, 210.0, 420.0]);
        assert!(svg.contains("A &lt;title&gt;") && svg.contains("a&amp;b"), "{svg}");
        // Nothing to show is shown as nothing.
        assert_eq!(widths(&bars("", "", &[bar("", 0.0)])), [0.0]);
        assert!(bars("", "", &[]).ends_with("</svg>\n"));
    }
}
