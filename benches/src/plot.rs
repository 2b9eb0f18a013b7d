//! Figures as SVG, all in one style: axes that say their unit, and what was done at which time.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 320;
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 90, 160), RGBColor(200, 80, 30), RGBColor(40, 130, 70), RGBColor(120, 120, 120)];
const GREY: RGBColor = RGBColor(110, 110, 110);

/// A figure: panels below each other that share the horizontal axis.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What the horizontal axis is, with its unit.
    pub across: String,
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

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Measured.
    Solid,
    /// Measured at these points only.
    Dotted,
    /// What would be ideal: thin and grey.
    Ideal,
}

impl Figure {
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
        let top = panel.top();
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(self.range.clone(), 0.0..top)
            .map_err(told)?;
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
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .label_style(small.clone())
            .axis_desc_style(small.clone())
            .draw()
            .map_err(told)?;
        for (at, text) in &self.marks {
            let line = PathElement::new(vec![(*at, 0.0), (*at, top)], GREY.mix(0.6));
            chart.draw_series([line]).map_err(told)?;
            let style = ("sans-serif", 11).into_font().color(&GREY);
            let label = Text::new(text.clone(), (*at, top * 0.99), style);
            chart.draw_series([label]).map_err(told)?;
        }
        for (line, colour) in panel.lines.iter().zip(COLOURS.iter().cycle()) {
            let style = match line.look {
                Look::Ideal => GREY.stroke_width(1),
                Look::Solid | Look::Dotted => colour.stroke_width(2),
            };
            let legend = style;
            for part in line.points.split(|(_, value)| !value.is_finite()) {
                let series = LineSeries::new(part.iter().copied(), style);
                let drawn = chart.draw_series(series).map_err(told)?;
                if part.as_ptr() == line.points.as_ptr() {
                    drawn
                        .label(&line.name)
                        .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], legend));
                }
            }
            if line.look == Look::Dotted {
                let dots = line.points.iter().map(|at| Circle::new(*at, 4, colour.filled()));
                chart.draw_series(dots).map_err(told)?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(GREY.mix(0.3))
            .label_font(small)
            .draw()
            .map_err(told)
    }
}

impl Panel {
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
        Panel { up: "requests/s".into(), lines: vec![line] }
    }

    /// If this fails, a figure lacks what it is about, or its scale hides it.
    #[test]
    fn a_figure_holds_lines_marks_and_axes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.svg");
        let marks = vec![(1.5, "kill b".to_owned())];
        let panels = vec![panel(&[1.0, 2.0, 3.0]), panel(&[1.0, f64::NAN, 3.0])];
        let figure = Figure { across: "seconds".into(), range: 0.0..2.0, marks, panels };
        figure.draw(&path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.matches("</svg>").count(), 1, "not one document");
        for part in ["seconds", "requests/s", "kill b", "done", "polyline"] {
            assert!(text.contains(part), "no {part} in {text}");
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
