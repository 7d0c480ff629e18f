//! Charts as SVG: bars, and ranges with three marks, over a logarithmic scale. Charts as plain as these
//! need no crate: every line of text and every shape is written here, and no font is measured.
//!
//! Pure; keeps nothing.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const LABEL_WIDTH: f64 = 210.0;
const NUMBER_WIDTH: f64 = 190.0;
const ROW_HEIGHT: f64 = 18.0;
const GAP: f64 = 6.0;
/// Between groups.
const GROUP_GAP: f64 = 14.0;
const TOP: f64 = 76.0;
const COLOURS: [&str; 4] = ["#2a6f97", "#b5651d", "#6a994e", "#7b2d8b"];

/// A row of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What stands before it.
    pub(crate) label: String,
    /// Rows of one group that follow each other stand close together.
    pub(crate) group: String,
    /// One number is a bar; of several the smallest and the greatest are the ends of a range.
    pub(crate) values: Vec<f64>,
    /// What stands behind it.
    pub(crate) text: String,
    /// Rows of one kind have one colour.
    pub(crate) kind: usize,
}

/// From the power of ten below the smallest number to the one above the greatest.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(rows: &[Row]) -> Self {
        let values = || rows.iter().flat_map(|row| &row.values).filter(|value| **value > 0.0);
        let least = values().copied().fold(f64::INFINITY, f64::min);
        let most = values().copied().fold(0.0, f64::max);
        if most == 0.0 {
            return Self { low: 0.0, high: 1.0 };
        }
        let low = least.log10().floor();
        Self { low, high: most.log10().ceil().max(low + 1.0) }
    }

    fn x(&self, value: f64) -> f64 {
        let share = if value > 0.0 {
            // The smallest keeps something that can be seen.
            ((value.log10() - self.low) / (self.high - self.low)).clamp(0.01, 1.0)
        } else {
            0.0
        };
        LABEL_WIDTH + share * (WIDTH - LABEL_WIDTH - NUMBER_WIDTH)
    }
}

/// A chart; `legend` names the kinds, in their colours.
pub(crate) fn chart(title: &str, unit: &str, legend: &[&str], rows: &[Row]) -> String {
    let scale = Scale::of(rows);
    let mut shapes = String::new();
    let mut y = TOP;
    let mut group = rows.first().map(|row| &row.group);
    for row in rows {
        if group.replace(&row.group) != Some(&row.group) {
            y += GROUP_GAP - GAP;
        }
        draw(&mut shapes, row, y, &scale);
        y += ROW_HEIGHT + GAP;
    }
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"16\">{}</text>\n\
         <text x=\"10\" y=\"42\" fill=\"#555\">{}</text>\n",
        escaped(title),
        escaped(unit),
    );
    for (place, name) in legend.iter().enumerate() {
        let (x, colour) = (LABEL_WIDTH + place as f64 * 150.0, COLOURS[place % COLOURS.len()]);
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"12\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"22\">{}</text>",
            x + 18.0,
            escaped(name),
        );
    }
    for power in scale.low as i32..=scale.high as i32 {
        let x = scale.x(10f64.powi(power)).max(LABEL_WIDTH);
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {}V{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" fill=\"#555\" text-anchor=\"middle\">{}</text>",
            TOP - 8.0,
            TOP - 14.0,
            10f64.powi(power),
        );
    }
    out + &shapes + "</svg>\n"
}

fn draw(out: &mut String, row: &Row, y: f64, scale: &Scale) {
    let colour = COLOURS[row.kind % COLOURS.len()];
    let (base, middle) = (y + ROW_HEIGHT - 5.0, y + ROW_HEIGHT / 2.0);
    let ends = row.values.iter().map(|value| scale.x(*value));
    let (from, to) = ends.clone().fold((WIDTH, LABEL_WIDTH), |(a, b), x| (a.min(x), b.max(x)));
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>",
        LABEL_WIDTH - 8.0,
        escaped(&row.label),
    );
    if row.values.len() < 2 {
        let _ = write!(
            out,
            "<rect x=\"{LABEL_WIDTH}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{ROW_HEIGHT}\" \
             fill=\"{colour}\"/>",
            to - LABEL_WIDTH,
        );
    } else {
        let _ = write!(
            out,
            "<path d=\"M{from:.1} {middle:.1}H{to:.1}\" stroke=\"{colour}\" stroke-width=\"4\" \
             opacity=\"0.4\"/>",
        );
        for x in ends {
            let _ =
                write!(out, "<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"5\" fill=\"{colour}\"/>");
        }
    }
    let (x, text) = (to + 10.0, escaped(&row.text));
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{base:.1}\">{text}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(svg: &str, tag: &str, field: &str) -> Vec<f64> {
        let shapes = svg.split('<').filter(|shape| shape.starts_with(tag));
        let number = |shape: &str| shape.split(field).nth(1)?.split('"').next()?.parse().ok();
        shapes.filter_map(number).collect()
    }

    fn row(label: &str, values: &[f64]) -> Row {
        Row {
            label: label.to_owned(),
            group: String::new(),
            values: values.to_vec(),
            text: String::new(),
            kind: 0,
        }
    }

    #[test]
    fn bars_are_as_long_as_the_logarithms_of_their_values() {
        let rows = [row("a&b", &[10.0]), row("c", &[100.0]), row("", &[1000.0])];
        let svg = chart("A <title>", "", &[], &rows);
        assert_eq!(numbers(&svg, "rect x", " width=\""), [5.0, 250.0, 500.0]);
        assert!(svg.contains("A &lt;title&gt;") && svg.contains("a&amp;b"), "{svg}");
        // Nothing to show is shown as nothing.
        let nothing = chart("", "", &[], &[row("", &[0.0])]);
        assert_eq!(numbers(&nothing, "rect x", " width=\""), [0.0]);
        assert!(chart("", "", &[], &[]).ends_with("</svg>\n"));
    }

    #[test]
    fn several_values_are_marks_on_the_same_scale() {
        let svg = chart("", "", &["one"], &[row("", &[1.0, 10.0, 100.0])]);
        assert_eq!(numbers(&svg, "circle", "cx=\""), [215.0, 460.0, 710.0]);
    }

    #[test]
    fn groups_stand_apart() {
        let height = |groups: [&str; 2]| {
            let rows = groups.map(|group| Row { group: group.to_owned(), ..row("", &[1.0]) });
            numbers(&chart("", "", &[], &rows), "svg", "height=\"")[0]
        };
        assert!(height(["a", "b"]) > height(["a", "a"]));
    }
}
