//! Charts as SVG, drawn here: no script, no style attribute, so that the strictest policy fits.
//! What a chart shows is said in its label, and each bar says its numbers when pointed at.
//!
//! Pure; a crash has nothing to lose.

use super::figures::grouped;

const WIDTH: i64 = 720;
const HEIGHT: i64 = 180;
const LEFT: i64 = 52;
const BOTTOM: i64 = 22;
const TOP: i64 = 8;

/// Which colour a series has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Good,
    Warn,
    Bad,
}

impl Colour {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "c-good",
            Self::Warn => "c-warn",
            Self::Bad => "c-bad",
        }
    }
}

/// A bar of a chart: what stands under it, and a value for each series.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) values: Vec<i64>,
}

/// Stacked bars.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) series: Vec<(String, Colour)>,
    pub(super) bars: Vec<Bar>,
}

/// A rectangle of a chart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) width: i64,
    pub(super) height: i64,
    pub(super) class: &'static str,
}

/// One bar with what it says.
pub(super) struct Column {
    pub(super) x: i64,
    pub(super) width: i64,
    pub(super) tip: String,
    pub(super) rects: Vec<Rect>,
}

/// A text beside the axes.
pub(super) struct Mark {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) text: String,
}

impl Chart {
    pub(super) fn width(&self) -> i64 {
        WIDTH
    }

    pub(super) fn height(&self) -> i64 {
        HEIGHT
    }

    pub(super) fn left(&self) -> i64 {
        LEFT
    }

    /// The largest bar, rounded up to a number that divides well.
    fn top(&self) -> i64 {
        let largest = self.bars.iter().map(|bar| bar.values.iter().sum()).max().unwrap_or(0);
        let largest: i64 = largest;
        let mut step = 1;
        loop {
            for factor in [1, 2, 5] {
                if step * factor * 4 >= largest {
                    return step * factor * 4;
                }
            }
            step *= 10;
        }
    }

    /// What the chart shows, for who cannot see it.
    pub(super) fn summary(&self) -> String {
        let sum = |n: usize| self.bars.iter().filter_map(|bar| bar.values.get(n)).sum::<i64>();
        let series = self.series.iter().enumerate();
        let sums: Vec<_> =
            series.map(|(n, (name, _))| format!("{name} {}", grouped(sum(n)))).collect();
        format!("{}: {}", self.title, sums.join(", "))
    }

    /// The bars, drawn.
    pub(super) fn columns(&self) -> Vec<Column> {
        let (count, top) = (self.bars.len().max(1) as i64, self.top());
        let plot = HEIGHT - BOTTOM - TOP;
        let mut columns = Vec::new();
        for (n, bar) in self.bars.iter().enumerate() {
            let x = LEFT + (WIDTH - LEFT) * n as i64 / count;
            let next = LEFT + (WIDTH - LEFT) * (n as i64 + 1) / count;
            let width = (next - x - 1).max(1);
            let (mut rects, mut below) = (Vec::new(), 0);
            for (value, (_, colour)) in bar.values.iter().zip(&self.series) {
                // From the sums, so that rounding leaves no gaps; what is there is seen.
                let (from, to) = (plot * below / top, plot * (below + value) / top);
                below += value;
                let height = if *value > 0 { (to - from).max(1) } else { 0 };
                if height > 0 {
                    let y = HEIGHT - BOTTOM - from - height;
                    rects.push(Rect { x, y, width, height, class: colour.class() });
                }
            }
            let series = self.series.iter().zip(&bar.values);
            let tip: Vec<_> =
                series.map(|((name, _), value)| format!("{name} {}", grouped(*value))).collect();
            let tip = format!("{}: {}", bar.label, tip.join(", "));
            columns.push(Column { x, width: next - x, tip, rects });
        }
        columns
    }

    /// Lines across, with what they stand for.
    pub(super) fn lines(&self) -> Vec<Mark> {
        let (top, plot) = (self.top(), HEIGHT - BOTTOM - TOP);
        let line = |n: i64| Mark {
            x: LEFT - 6,
            y: HEIGHT - BOTTOM - plot * n / 4,
            text: grouped(top * n / 4),
        };
        (0..=4).map(line).collect()
    }

    /// What stands under some of the bars.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let count = self.bars.len().max(1);
        let every = count.div_ceil(8);
        let bars = self.bars.iter().enumerate().filter(|(n, _)| n % every == 0);
        let mark = |(n, bar): (usize, &Bar)| Mark {
            x: LEFT + (WIDTH - LEFT) * n as i64 / count as i64,
            y: HEIGHT - 6,
            text: bar.label.clone(),
        };
        bars.map(mark).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[[i64; 2]]) -> Chart {
        let bar =
            |(n, values): (usize, &[i64; 2])| Bar { label: n.to_string(), values: values.to_vec() };
        Chart {
            title: "Mail".to_owned(),
            series: vec![("good".to_owned(), Colour::Good), ("bad".to_owned(), Colour::Bad)],
            bars: values.iter().enumerate().map(bar).collect(),
        }
    }

    #[test]
    fn bars_stand_on_the_line_and_on_each_other() {
        let chart = chart(&[[30, 10], [0, 0], [0, 1]]);
        assert_eq!(chart.top(), 40);
        let columns = chart.columns();
        let [good, bad] = columns[0].rects.as_slice() else { panic!("two series") };
        assert_eq!(good.y + good.height, HEIGHT - BOTTOM);
        assert_eq!(bad.y + bad.height, good.y);
        assert_eq!(bad.y, TOP);
        assert!(columns[1].rects.is_empty());
        // One in a thousand would be seen as well.
        assert!(columns[2].rects[0].height >= 1);
        assert_eq!(columns[0].tip, "0: good 30, bad 10");
        assert_eq!(chart.summary(), "Mail: good 30, bad 11");
    }

    #[test]
    fn nothing_at_all_can_be_drawn() {
        let empty = chart(&[]);
        assert!(empty.columns().is_empty() && empty.top() > 0);
        assert_eq!(empty.lines().len(), 5);
    }
}
