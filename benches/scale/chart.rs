//! A curve as a picture: a small chart for each figure, ours and the floor as lines.

use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, DrawingArea, IntoDrawingArea, IntoFont, IntoLogRange, LineSeries,
        RGBColor, SVGBackend, Text, WHITE,
    },
    style::Color,
};

use crate::curve::{Curve, Line, Point};

const OURS: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const FLOOR: RGBColor = RGBColor(0x9a, 0x5b, 0x13);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

/// The size of one chart, and how many stand side by side.
const CHART: (u32, u32) = (420, 280);
const ABREAST: usize = 2;

/// Draws the curve into a file. Its background is white, whatever the page.
pub(crate) fn draw(curve: &Curve, path: &Path) -> anyhow::Result<()> {
    let rows = curve.lines.len().div_ceil(ABREAST);
    let size = (CHART.0 * ABREAST as u32, CHART.1 * rows as u32);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    for (line, area) in curve.lines.iter().zip(area.split_evenly((rows, ABREAST))) {
        chart(line, &area)?;
    }
    Ok(area.present()?)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn chart(line: &Line, area: &Area<'_>) -> anyhow::Result<()> {
    let Line { row, figure, unit, points, .. } = line;
    let (first, last) = (points.first(), points.last());
    let sessions = |point: Option<&Point>| point.map_or(1, |point| point.sessions) as f64;
    let highest = points.iter().map(|point| point.ours.max(point.floor)).fold(0.0, f64::max);
    let across = (sessions(first) / 1.6..sessions(last) * 2.6).log_scale();
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{row}: {figure}"), ("sans-serif", 15).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(across, 0.0..highest * 1.25)?;
    chart
        .configure_mesh()
        .x_desc("sessions")
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(&|sessions| count(*sessions))
        .y_label_formatter(&|value| unit.say(*value))
        .label_style(("sans-serif", 11).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .max_light_lines(1)
        .draw()?;
    for (name, colour, value) in [
        ("ours", OURS, (|point| point.ours) as fn(&Point) -> f64),
        ("floor", FLOOR, |point| point.floor),
    ] {
        let at = |point: &Point| (point.sessions as f64, value(point));
        chart.draw_series(LineSeries::new(points.iter().map(at), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(at(point), 3, colour.filled())))?;
        // The name stands at the end of its line, so that nobody has to look for it in a legend.
        if let Some((sessions, value)) = points.last().map(at) {
            let label = ("sans-serif", 12).into_font().color(&colour);
            chart.draw_series([Text::new(
                name,
                (sessions * 1.15, value + highest * 0.03),
                label,
            )])?;
        }
    }
    Ok(())
}

fn count(sessions: f64) -> String {
    let sessions = sessions.round() as usize;
    match sessions {
        0..1_000 => sessions.to_string(),
        1_000..1_000_000 => format!("{},{:03}", sessions / 1_000, sessions % 1_000),
        _ => format!("{} million", sessions / 1_000_000),
    }
}
