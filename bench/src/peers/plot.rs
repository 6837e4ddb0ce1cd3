//! Plots as SVG, drawn by hand: bars with whiskers, and lines on a logarithmic axis.

use std::fmt::Write as _;

use super::statistics::Summary;

const WIDTH: f64 = 860.0;

/// Where the plot itself begins, right of the names and below the title, and where it ends.
const LEFT: f64 = 190.0;
const TOP: f64 = 56.0;
const RIGHT: f64 = WIDTH - 40.0;

const BAR_HEIGHT: f64 = 20.0;
const BAR_STEP: f64 = 30.0;
const LINES_HEIGHT: f64 = 380.0;

/// Told apart by most eyes (Okabe and Ito, 2008), and used again from the first one.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999",
];

/// A median with its extremes.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: Summary,
    /// Whether it is one of ours.
    pub(super) is_ours: bool,
}

/// Points joined by lines, by their x.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Horizontal bars of medians, with a whisker from the least to the greatest.
pub(super) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let largest = bars.iter().map(|bar| bar.value.max).fold(0.0, f64::max);
    let step = nice_step(largest / 6.0);
    let end = (largest / step).ceil().max(1.0) * step;
    let x = |value: f64| LEFT + value / end * (RIGHT - LEFT);
    let mut rows = 0.0;
    let mut body = String::new();
    for bar in bars {
        let top = TOP + rows * BAR_STEP + (BAR_STEP - BAR_HEIGHT) / 2.0;
        let middle = top + BAR_HEIGHT / 2.0;
        let colour = COLOURS[usize::from(bar.is_ours)];
        let Summary { median, min, max } = bar.value;
        text(&mut body, (LEFT - 8.0, middle + 4.0), "end", &bar.name);
        let width = x(median) - LEFT;
        let _ = writeln!(
            body,
            r#"<rect x="{LEFT}" y="{top:.1}" width="{width:.1}" height="{BAR_HEIGHT}" fill="{colour}" fill-opacity="0.75"/>"#
        );
        line(&mut body, (x(min), middle), (x(max), middle), "#333");
        for whisker in [x(min), x(max)] {
            line(
                &mut body,
                (whisker, middle - 5.0),
                (whisker, middle + 5.0),
                "#333",
            );
        }
        text(
            &mut body,
            (x(max) + 5.0, middle + 4.0),
            "start",
            &format!("{median:.1}"),
        );
        rows += 1.0;
    }
    let bottom = TOP + rows * BAR_STEP;
    let mut axes = String::new();
    let mut value = 0.0;
    while value <= end + step / 2.0 {
        line(&mut axes, (x(value), TOP), (x(value), bottom), "#ddd");
        text(&mut axes, (x(value), bottom + 16.0), "middle", &tick(value));
        value += step;
    }
    document(title, unit, bottom + 28.0, &(axes + &body))
}

/// Lines over `x_unit`, with a logarithmic axis upwards, since latencies are apart by powers.
pub(super) fn lines(title: &str, x_unit: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let x_most = all().map(|point| point.0).fold(1.0, f64::max);
    let y_most = all().map(|point| point.1).fold(1.0, f64::max);
    let y_least = all().map(|point| point.1).fold(y_most, f64::min);
    let low = y_least.max(1e-3).log10().floor();
    let high = y_most.log10().ceil().max(low + 1.0);
    let bottom = TOP + LINES_HEIGHT;
    let right = RIGHT - 150.0;
    let left = 70.0;
    let x = |value: f64| left + value / x_most * (right - left);
    let y = |value: f64| {
        let part = (value.max(1e-3).log10() - low) / (high - low);
        bottom - part * LINES_HEIGHT
    };
    let mut body = String::new();
    let mut power = low;
    while power <= high {
        let value = 10_f64.powf(power);
        line(&mut body, (left, y(value)), (right, y(value)), "#ddd");
        text(&mut body, (left - 8.0, y(value) + 4.0), "end", &tick(value));
        power += 1.0;
    }
    let mut rates: Vec<f64> = all().map(|point| point.0).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    for rate in rates {
        line(&mut body, (x(rate), TOP), (x(rate), bottom), "#eee");
        text(&mut body, (x(rate), bottom + 16.0), "middle", &tick(rate));
    }
    text(&mut body, (right, bottom + 34.0), "end", x_unit);
    let mut legend = TOP + 6.0;
    for (drawn, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points = drawn.points.iter();
        let points: Vec<String> = points
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            body,
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>"#
        );
        for point in &drawn.points {
            let (x, y) = (x(point.0), y(point.1));
            let _ = writeln!(
                body,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#
            );
        }
        line(
            &mut body,
            (right + 14.0, legend),
            (right + 34.0, legend),
            colour,
        );
        text(
            &mut body,
            (right + 40.0, legend + 4.0),
            "start",
            &drawn.name,
        );
        legend += 18.0;
    }
    document(title, "", (bottom + 46.0).max(legend), &body)
}

fn document(title: &str, unit: &str, height: f64, body: &str) -> String {
    let mut head = String::new();
    text(&mut head, (16.0, 22.0), "start", title);
    text(&mut head, (LEFT, 44.0), "start", unit);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{head}{body}</svg>\n"
    )
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    let content = escape(content);
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{content}</text>"#
    );
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(1e-3).log10().floor());
    let nice = [1.0, 2.0, 5.0].into_iter().map(|times| times * power);
    nice.into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power)
}

fn tick(value: f64) -> String {
    if value >= 1_000.0 {
        format!("{}k", value / 1e3)
    } else {
        // What ten powers leave behind of rounding is cut off.
        format!("{}", (value * 1e4).round() / 1e4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, median: f64, min: f64, max: f64) -> Bar {
        Bar {
            name: name.to_owned(),
            value: Summary { median, min, max },
            is_ours: false,
        }
    }

    #[test]
    fn bar_ends_at_its_median_and_whiskers_at_the_extremes() {
        let svg = bars("t", "µs", &[bar("a<b", 50.0, 25.0, 100.0)]);
        // From 190 to 820 are 0 to 100.
        for expected in [
            r#"width="315.0""#,
            r##"<line x1="347.5" y1="71.0" x2="820.0" y2="71.0" stroke="#333"/>"##,
            ">a&lt;b</text>",
            ">100</text>",
        ] {
            assert!(svg.contains(expected), "{expected} is missing in:\n{svg}");
        }
        assert_eq!(svg.matches("<rect").count(), 2);
    }

    #[test]
    fn a_power_of_ten_is_as_far_from_the_next_everywhere() {
        let line = Line {
            name: "a".to_owned(),
            points: vec![(1_000.0, 1.0), (2_000.0, 10.0), (4_000.0, 100.0)],
        };
        let svg = lines("t", "requests/s", &[line]);
        let expected = r#"points="220.0,436.0 370.0,246.0 670.0,56.0""#;
        assert!(svg.contains(expected), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_an_empty_plot() {
        assert!(bars("t", "u", &[]).ends_with("</svg>\n"));
        assert!(lines("t", "u", &[]).ends_with("</svg>\n"));
    }

    #[test]
    fn steps_are_round() {
        for (rough, expected) in [(0.9, 1.0), (1.1, 2.0), (3.0, 5.0), (60.0, 100.0)] {
            assert!((nice_step(rough) - expected).abs() < 1e-9, "{rough}");
        }
    }
}
