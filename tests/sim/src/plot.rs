//! Figures as SVG, all in one style: axes that say their unit, and what was done at which time.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 320;
const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 90, 160),
    RGBColor(200, 80, 30),
    RGBColor(40, 130, 70),
    RGBColor(120, 120, 120),
    RGBColor(130, 60, 150),
    RGBColor(190, 150, 20),
    RGBColor(20, 150, 160),
    RGBColor(140, 90, 60),
];
const GREY: RGBColor = RGBColor(110, 110, 110);

/// A figure: panels below each other that share the horizontal axis.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What it is of, where the page does not say.
    pub title: String,
    /// What the horizontal axis is, with its unit.
    pub across: String,
    /// How the horizontal axis grows.
    pub scale: Scale,
    /// From where to where it goes.
    pub range: Range<f64>,
    /// What happened when, written at the top.
    pub marks: Vec<(f64, String)>,
    /// The panels.
    pub panels: Vec<Panel>,
}

/// A panel of a figure.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What the vertical axis is, with its unit.
    pub up: String,
    /// From where to where it goes, by doublings, and points beyond are at its ends; none: evenly
    /// from 0 to above all points.
    pub doubling: Option<Range<f64>>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of a panel.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// How it looks.
    pub look: Look,
    /// Its points; where one is not a number the line has a gap.
    pub points: Vec<(f64, f64)>,
}

/// How an axis grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Even,
    /// By doublings.
    Doubling,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Measured.
    Solid,
    /// What the figure is about, among others.
    Strong,
    /// Measured at these points only.
    Dotted,
    /// What would be ideal: thin and grey.
    Ideal,
}

impl Figure {
    /// One whose horizontal axis grows evenly, without a title.
    pub fn even(across: &str, range: Range<f64>, panels: Vec<Panel>) -> Self {
        let (title, across) = (String::new(), across.to_owned());
        Self { title, across, scale: Scale::Even, range, marks: Vec::new(), panels }
    }

    /// Draw it into a file.
    pub fn draw(&self, path: &Path) -> Result<()> {
        let panels = u32::try_from(self.panels.len())?;
        let mut text = String::new();
        {
            let size = (WIDTH, HEIGHT * panels.max(1));
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            self.draw_on(&area).map_err(|error| anyhow!("cannot draw: {error}"))?;
        }
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn draw_on(&self, area: &DrawingArea<SVGBackend, Shift>) -> Result<(), String> {
        area.fill(&WHITE).map_err(told)?;
        let count = self.panels.len().max(1);
        for (index, (panel, area)) in
            self.panels.iter().zip(area.split_evenly((count, 1))).enumerate()
        {
            self.draw_panel(panel, &area, index + 1 == count)?;
        }
        // Once and for all: it ends the document.
        area.present().map_err(told)
    }

    fn draw_panel(
        &self,
        panel: &Panel,
        area: &DrawingArea<SVGBackend, Shift>,
        last: bool,
    ) -> Result<(), String> {
        let (across, up) = (self.scale, panel.scale());
        let range = panel.doubling.clone().unwrap_or_else(|| 0.0..panel.top());
        let (bottom, top) = (up.place(range.start), up.place(range.end));
        let mut chart = ChartBuilder::on(area);
        chart.margin(12).margin_right(24).x_label_area_size(44).y_label_area_size(64);
        if !self.title.is_empty() {
            chart.caption(&self.title, ("sans-serif", 18));
        }
        let ends = across.place(self.range.start)..across.place(self.range.end);
        let mut chart = chart.build_cartesian_2d(ends, bottom..top).map_err(told)?;
        let small = ("sans-serif", 13).into_font().color(&BLACK);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.25))
            .x_desc(if last { self.across.as_str() } else { "" })
            .y_desc(panel.up.as_str())
            .x_labels(11)
            .y_labels(6)
            .x_label_formatter(&|place| number(across.value(*place)))
            .y_label_formatter(&|place| number(up.value(*place)))
            .label_style(small.clone())
            .axis_desc_style(small.clone())
            .draw()
            .map_err(told)?;
        for (at, text) in &self.marks {
            let at = &across.place(*at);
            let line = PathElement::new(vec![(*at, bottom), (*at, top)], GREY.mix(0.6));
            chart.draw_series([line]).map_err(told)?;
            let style = ("sans-serif", 11).into_font().color(&GREY);
            let label = Text::new(text.clone(), (*at, top * 0.99), style);
            chart.draw_series([label]).map_err(told)?;
        }
        for (line, colour) in panel.lines.iter().zip(COLOURS.iter().cycle()) {
            let style = match line.look {
                Look::Ideal => GREY.stroke_width(1),
                Look::Solid | Look::Dotted => colour.stroke_width(2),
                Look::Strong => colour.stroke_width(4),
            };
            let place =
                |(x, y): &(f64, f64)| (across.place(*x), up.place(y.clamp(range.start, range.end)));
            let legend = style;
            for part in line.points.split(|(_, value)| !value.is_finite()) {
                let series = LineSeries::new(part.iter().map(place), style);
                let drawn = chart.draw_series(series).map_err(told)?;
                if part.as_ptr() == line.points.as_ptr() {
                    drawn
                        .label(&line.name)
                        .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], legend));
                }
            }
            if line.look == Look::Dotted {
                let dots = line.points.iter();
                let dots = dots.map(|at| Circle::new(place(at), 4, colour.filled()));
                chart.draw_series(dots).map_err(told)?;
            }
        }
        chart
            .configure_series_labels()
            .position(match up {
                Scale::Even => SeriesLabelPosition::LowerRight,
                Scale::Doubling => SeriesLabelPosition::UpperLeft,
            })
            .background_style(WHITE.mix(0.85))
            .border_style(GREY.mix(0.3))
            .label_font(small)
            .draw()
            .map_err(told)
    }
}

impl Scale {
    /// Where on the axis a value is.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Even => value,
            Self::Doubling => value.log2(),
        }
    }

    /// The value at a place of the axis.
    fn value(self, place: f64) -> f64 {
        match self {
            Self::Even => place,
            Self::Doubling => place.exp2(),
        }
    }
}

impl Panel {
    /// One whose vertical axis grows evenly from 0.
    pub fn even(up: &str, lines: Vec<Line>) -> Self {
        Self { up: up.to_owned(), doubling: None, lines }
    }

    fn scale(&self) -> Scale {
        if self.doubling.is_some() { Scale::Doubling } else { Scale::Even }
    }

    /// A round number above all points.
    fn top(&self) -> f64 {
        let values = self.lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max) * 1.1;
        if most <= 0.0 {
            return 1.0;
        }
        let unit = 10f64.powf(most.log10().floor()) / 2.0;
        (most / unit).ceil() * unit
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn number(value: f64) -> String {
    if (value - value.round()).abs() < 1e-9 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(values: &[f64]) -> Panel {
        let points = values.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect();
        let line = Line { name: "done".into(), look: Look::Solid, points };
        Panel::even("requests/s", vec![line])
    }

    /// If this fails, a figure lacks what it is about, or its scale hides it.
    #[test]
    fn a_figure_holds_lines_marks_and_axes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.svg");
        let marks = vec![(1.5, "kill b".to_owned())];
        let panels = vec![panel(&[1.0, 2.0, 3.0]), panel(&[1.0, f64::NAN, 3.0])];
        let figure = Figure::even("seconds", 0.0..2.0, panels);
        let figure = Figure { title: "a run".into(), marks, ..figure };
        figure.draw(&path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.matches("</svg>").count(), 1, "not one document");
        for part in ["a run", "seconds", "requests/s", "kill b", "done", "polyline"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    /// If this fails, an axis that grows by doublings is not what its labels say.
    #[test]
    fn doublings_are_labelled_with_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.svg");
        let panels = vec![Panel { doubling: Some(1.0..32.0), ..panel(&[0.5, 4.0, 99.0]) }];
        let figure = Figure::even("interval", 1.0..64.0, panels);
        let figure = Figure { scale: Scale::Doubling, ..figure };
        figure.draw(&path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        for label in ["2", "8", "16", "32", "64"] {
            assert!(text.contains(&format!("\n{label}\n")), "no {label} in {text}");
        }
    }

    /// If this fails, points lie outside of the figure.
    #[test]
    fn the_scale_is_round_and_holds_all() {
        assert_eq!(panel(&[1.0, 880.0]).top(), 1000.0);
        assert_eq!(panel(&[4.0, f64::NAN]).top(), 4.5);
        assert_eq!(panel(&[]).top(), 1.0);
    }
}
