//! One plot over time, as SVG that stands in the page. Pure.
//!
//! `plotters` lays out axes and lines and knows colours as numbers only. Those here are names in disguise: the page's
//! style gives each its real colour, for light and for dark.
use crate::drill::evidence::render::duration;
use crate::ui::bytes;
use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What is drawn.
pub(super) struct Plot<'a> {
    /// No other plot of the page has it.
    pub id: &'a str,
    pub title: &'a str,
    /// Whose it is.
    pub subject: &'a str,
    pub unit: Unit,
    pub line: Line,
    /// What it should stay below: its name, and the value.
    pub target: Option<(&'static str, f64)>,
}

/// What the values are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unit {
    Bytes,
    Seconds,
}

/// Values over time.
pub(super) struct Line {
    /// In any order.
    pub points: Vec<(Timestamp, f64)>,
    /// Whether each value is a point of its own.
    pub dots: bool,
}

/// Width and height, in the units in which letters are [`LETTERS`] high.
const SIZE: (u32, u32) = (360, 190);
const LETTERS: f64 = 12.0;
/// plotters takes a font to be this much higher than its letters' size.
const FONT: f64 = 1.24;
const DAY: f64 = 86_400.0;
/// More points than these are a line without dots.
const DOTS: usize = 80;
/// A target this many times above all values is told, and not drawn: it would press them flat.
const FAR: f64 = 8.0;

// The names of colours; `style.css` has what they stand for.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const LINE: RGBColor = RGBColor(3, 3, 3);
const AIM: RGBColor = RGBColor(4, 4, 4);

/// The plot with its caption.
pub(super) fn svg(plot: &Plot<'_>) -> Markup {
    let mut points: Vec<(Timestamp, f64)> =
        plot.line.points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    points.sort_by_key(|(at, _)| *at);
    let drawn = if points.is_empty() { None } else { draw(plot, &points).ok() };
    let id = slug(plot.id);
    html! {
        figure {
            figcaption {
                strong { (plot.title) }
                @if let Some((_, last)) = points.last() { span { @if plot.line.dots { "last " } @else { "now " } (plot.unit.show(*last)) } }
                @if let Some((name, aim)) = plot.target {
                    span.aim { (name) " " (plot.unit.round(aim))
                        @if is_far(aim, &points) { ", far above" } }
                }
            }
            @match drawn {
                Some(inner) => {
                    svg.plot viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) role="img"
                        aria-labelledby=(format!("{id}-title {id}-desc")) {
                        title id=(format!("{id}-title")) { (plot.title) ": " (plot.subject) }
                        desc id=(format!("{id}-desc")) { (describe(plot, &points)) }
                        (PreEscaped(inner))
                    }
                }
                None => p.quiet { "Nothing is on record yet." }
            }
        }
    }
}

/// A name that an `id` may have.
fn slug(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// What the line shows, in words.
fn describe(plot: &Plot<'_>, points: &[(Timestamp, f64)]) -> String {
    let (Some((from, _)), Some((to, last))) = (points.first(), points.last()) else { return String::new() };
    let show = |value| plot.unit.show(value);
    let least = points.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let aim =
        plot.target.map_or_else(String::new, |(name, aim)| format!(" {name}: {}.", plot.unit.round(aim)));
    format!(
        "{} values from {} to {} UTC. Smallest {}, largest {}, last {}.{aim}",
        points.len(),
        super::minute(*from),
        super::minute(*to),
        show(least),
        show(most),
        show(*last)
    )
}

fn is_far(aim: f64, points: &[(Timestamp, f64)]) -> bool {
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    aim > most * FAR
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => bytes(value.max(0.0) as u64),
            Self::Seconds => duration(Some(value.max(0.0))),
        }
    }

    /// A value that somebody has set.
    fn round(self, value: f64) -> String {
        match self {
            Self::Bytes => self.show(value),
            Self::Seconds => super::seconds(value),
        }
    }

    /// The step in which values up to `most` are counted, and its name.
    fn scale(self, most: f64) -> (f64, &'static str) {
        let steps: &[(f64, &str)] = match self {
            Self::Bytes => &[(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")],
            Self::Seconds => &[(DAY, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s")],
        };
        let least = if self == Self::Bytes { 1.0 } else { 2.0 };
        let fits = steps.iter().copied().find(|(step, _)| most >= least * step);
        fits.unwrap_or(steps[steps.len() - 1])
    }
}

/// Days since 1970.
fn days(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0 / DAY
}

/// A day or an hour at the axis, as fine as the stretch of days calls for.
fn date(days: f64, stretch: f64) -> String {
    let format = match stretch {
        long if long > 700.0 => "%Y-%m",
        days if days > 3.0 => "%m-%d",
        day if day > 1.5 => "%m-%d %H:%M",
        _ => "%H:%M",
    };
    let at = Timestamp::from_second((days * DAY).round() as i64);
    at.map(|at| at.strftime(format).to_string()).unwrap_or_default()
}

/// A number without the noise of its last digits.
fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

type Drawing<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// What stands inside of the `svg` element; of at least one point.
fn draw(plot: &Plot<'_>, points: &[(Timestamp, f64)]) -> Result<String, Box<dyn std::error::Error>> {
    let aim = plot.target.map(|(_, aim)| aim).filter(|aim| !is_far(*aim, points));
    let most = points.iter().map(|(_, value)| *value).chain(aim).fold(0.0, f64::max);
    let (step, unit) = plot.unit.scale(most);
    let line: Vec<(f64, f64)> = points.iter().map(|(at, value)| (days(*at), value / step)).collect();
    let (first, last) = (line[0].0, line[line.len() - 1].0);
    // One point has days on both sides.
    let room = if last > first { (last - first) * 0.03 } else { 2.0 };
    let axes = Axes {
        x: (first - room, last + room),
        top: if most > 0.0 { most / step * 1.12 } else { 1.0 },
        unit,
        aim: aim.map(|aim| aim / step),
        dots: plot.line.dots && line.len() <= DOTS,
    };
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        fill(&area, &axes, &line).map_err(|error| error.to_string())?;
        area.present()?;
    }
    let inner = text.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>"));
    Ok(inner.map(|(inner, _)| inner.trim().to_owned()).unwrap_or_default())
}

/// What is around the line.
struct Axes {
    x: (f64, f64),
    top: f64,
    unit: &'static str,
    aim: Option<f64>,
    dots: bool,
}

fn fill(area: &Drawing<'_>, axes: &Axes, line: &[(f64, f64)]) -> Result<(), Box<dyn std::error::Error>> {
    let ((from, to), top) = (axes.x, axes.top);
    let mut chart = ChartBuilder::on(area);
    chart.margin_top(8).margin_right(14).x_label_area_size(24).y_label_area_size(58);
    let mut chart = chart.build_cartesian_2d(from..to, 0.0..top)?;
    let letters = ("sans-serif", LETTERS * FONT).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(4)
        .y_labels(4)
        .x_label_style(letters.clone().pos(Pos::new(HPos::Center, VPos::Top)))
        .y_label_style(letters)
        .x_label_formatter(&|at| date(*at, to - from))
        .y_label_formatter(&|value| format!("{} {}", plain(*value), axes.unit))
        .draw()?;
    if let Some(aim) = axes.aim {
        let ends = [(from, aim), (to, aim)];
        chart.draw_series(DashedLineSeries::new(ends, 6, 4, AIM.stroke_width(2)))?;
    }
    chart.draw_series(LineSeries::new(line.iter().copied(), LINE.stroke_width(2)))?;
    if axes.dots {
        chart.draw_series(line.iter().map(|point| Circle::new(*point, 3, LINE.filled())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_772_323_200 + day * 86_400).expect("a time")
    }

    fn drawn(points: Vec<(Timestamp, f64)>, target: Option<f64>) -> String {
        let line = Line { points, dots: true };
        let target = target.map(|aim| ("RPO target", aim));
        let (id, title, subject) = ("a \"b\"", "Age", "<i>");
        svg(&Plot { id, title, subject, unit: Unit::Seconds, line, target }).into_string()
    }

    #[test]
    fn nothing_one_point_and_many() {
        let none = drawn(vec![], Some(5.0));
        assert!(none.contains("Nothing is on record yet") && !none.contains("<svg"), "{none}");
        let one = drawn(vec![(at(0), 3.0)], None);
        assert!(one.contains("<circle") && one.contains("1 values from 2026-03-01 00:00"), "{one}");
        let many = drawn((0..200).map(|day| (at(day), 1.0)).collect(), None);
        assert!(many.contains("<polyline") && !many.contains("<circle"), "no dots where they would touch");
        let flat = drawn(vec![(at(0), 0.0), (at(1), 0.0)], None);
        assert!(flat.contains("<svg") && !flat.contains("NaN"), "{flat}");
        let odd = drawn(vec![(at(0), f64::NAN), (at(1), f64::INFINITY)], None);
        assert!(odd.contains("Nothing is on record yet"), "{odd}");
    }

    #[test]
    fn a_clock_that_was_set_back_draws_the_line_in_the_order_of_time() {
        let there = drawn(vec![(at(0), 1.0), (at(5), 2.0), (at(9), 3.0)], None);
        let back = drawn(vec![(at(5), 2.0), (at(9), 3.0), (at(0), 1.0)], None);
        assert_eq!(there, back);
    }

    #[test]
    fn what_is_drawn_is_told_in_words_and_has_no_colour_of_its_own() {
        let text = drawn(vec![(at(0), 3600.0), (at(2), 7200.0)], Some(7200.0));
        for part in [
            "role=\"img\"",
            "aria-labelledby=\"a__b_-title a__b_-desc\"",
            "<title id=\"a__b_-title\">Age: &lt;i&gt;</title>",
            "2 values from 2026-03-01 00:00 to 2026-03-03 00:00 UTC. Smallest 1 h 0 min, largest 2 h 0 min, last 2 h 0 min.",
            "RPO target: 2 h.",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        let colours: std::collections::BTreeSet<&str> =
            text.match_indices('#').map(|(at, _)| &text[at..at + 7]).collect();
        let style = include_str!("style.css");
        assert_eq!(colours.len(), 4, "{colours:?}");
        for colour in colours {
            assert!(style.contains(&format!("\"{colour}\"")), "the style does not know {colour}");
        }
    }

    #[test]
    fn a_target_far_above_is_told_and_presses_nothing_flat() {
        let near = drawn(vec![(at(0), 1.0), (at(2), 2.0)], Some(10.0));
        assert!(near.contains("#040404") && !near.contains("far above"));
        let far = drawn(vec![(at(0), 1.0), (at(2), 2.0)], Some(3600.0));
        assert!(!far.contains("#040404") && far.contains("RPO target 1 h, far above"), "{far}");
    }

    #[test]
    fn axes_are_labelled_in_units_that_fit() {
        for (most, name) in [(0.5, "s"), (100.0, "s"), (130.0, "min"), (9000.0, "h"), (2e5, "d")] {
            assert_eq!(Unit::Seconds.scale(most).1, name, "{most}");
        }
        assert_eq!((Unit::Bytes.scale(0.0).1, Unit::Bytes.scale(5e6).1), ("B", "MB"));
        assert_eq!(
            (plain(0.30000000000000004), plain(20.0), plain(0.0)),
            ("0.3".into(), "20".into(), "0".into())
        );
        let day = days(at(0));
        let labels = [1000.0, 30.0, 2.0, 1.0].map(|stretch| date(day, stretch));
        assert_eq!(labels, ["2026-03", "03-01", "03-01 00:00", "00:00"]);
    }
}
