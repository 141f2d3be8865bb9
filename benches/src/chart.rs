//! The goals and how much of each is reached, as a picture.

use std::fmt::Write;

use serde::Deserialize;

use crate::BoxError;
use crate::goals::Outcome;

/// The part of what `--json` writes that is drawn.
#[derive(Debug, Deserialize)]
struct Written {
    goals: Vec<Outcome>,
}

const ROW: usize = 22;
const TOP: usize = 34;
const TITLES: usize = 390;
/// The width of a bar that is exactly at its goal.
const GOAL: usize = 200;
/// A longer bar is cut off: it says no more than that.
const LONGEST: f64 = 1.5;
const MET: &str = "#2da44e";
const MISSED: &str = "#d4762c";
/// Legible on a light page and on a dark one.
const TEXT: &str = "#808891";

/// An SVG of what `--json` has written with `--goals`.
pub(crate) fn draw(json: &str) -> Result<String, BoxError> {
    let Written { goals } = serde_json::from_str(json)?;
    let (width, height) = (TITLES + GOAL * 3 / 2 + 170, TOP + ROW * goals.len() + 6);
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{TEXT}">"#
    )?;
    let goal = TITLES + GOAL;
    writeln!(svg, r#"<text x="{goal}" y="16" text-anchor="middle">goal</text>"#)?;
    for (at, outcome) in goals.iter().enumerate() {
        let (y, reached) = (TOP + ROW * at, outcome.reached());
        let (text, end) = (y + 12, TITLES as f64 + GOAL as f64 * LONGEST);
        let long = GOAL as f64 * reached.clamp(0.0, LONGEST);
        let colour = if reached >= 1.0 { MET } else { MISSED };
        let (title, median, bound) = (outcome.title(), outcome.median, outcome.bound);
        writeln!(
            svg,
            r#"<text x="{}" y="{text}" text-anchor="end">{title}</text>"#,
            TITLES - 8
        )?;
        writeln!(
            svg,
            r#"<rect x="{TITLES}" y="{y}" width="{long:.0}" height="16" rx="2" fill="{colour}"/>"#
        )?;
        writeln!(
            svg,
            r#"<text x="{:.0}" y="{text}">{median:.2} ({bound})</text>"#,
            end + 8.0
        )?;
    }
    writeln!(
        svg,
        r#"<line x1="{goal}" y1="22" x2="{goal}" y2="{height}" stroke="{TEXT}" stroke-dasharray="3 3"/>"#
    )?;
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_met_and_what_is_missed_look_different() {
        let outcome = |least: f64| {
            serde_json::json!({
                "of": "a", "than": "b", "bound": { "AtLeast": least }, "median": 1.0, "least": 0.9, "most": 1.1,
                "cpu": 1.0,
            })
        };
        let svg = draw(&serde_json::json!({ "goals": [outcome(0.5), outcome(2.0)] }).to_string()).unwrap();
        assert_eq!((svg.matches(MET).count(), svg.matches(MISSED).count()), (1, 1));
    }
}
