//! The table as a picture: two cells for each client and row, its defaults and its best settings.

use std::fmt::Write;

use crate::judge::Verdict;
use crate::report::{Results, mark};
use crate::{BoxError, Settings};

const ROW: usize = 22;
const TOP: usize = 46;
const TITLES: usize = 190;
const CELL: usize = 34;
const COLUMN: usize = 2 * CELL + 14;
const GOOD: &str = "#2da44e";
const PARTLY: &str = "#c69026";
const BAD: &str = "#cf4a3c";
/// Legible on a light page and on a dark one.
const TEXT: &str = "#808891";

pub(crate) fn draw(results: &Results) -> Result<String, BoxError> {
    let rows = results.rows();
    let bottom = TOP + ROW * rows.len();
    let (width, height) = (TITLES + COLUMN * results.versions.len(), bottom + 30);
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{TEXT}">"#
    )?;
    for (at, (name, version)) in results.versions.iter().enumerate() {
        let x = TITLES + COLUMN * at + CELL;
        let weight = if name == "tower-ws" {
            " font-weight=\"bold\""
        } else {
            ""
        };
        writeln!(
            svg,
            r#"<text x="{x}" y="16" text-anchor="middle"{weight}>{name}</text>"#
        )?;
        writeln!(
            svg,
            r#"<text x="{x}" y="31" text-anchor="middle" font-size="10">{version}</text>"#
        )?;
    }
    for (at, row) in rows.iter().enumerate() {
        let y = TOP + ROW * at;
        writeln!(
            svg,
            r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
            TITLES - 10,
            y + 12,
            row.title()
        )?;
        for (column, (name, _)) in results.versions.iter().enumerate() {
            for (half, settings) in [Settings::Defaults, Settings::Best].into_iter().enumerate() {
                let x = TITLES + COLUMN * column + CELL * half;
                let Some(cell) = results.cell(*row, name, settings) else {
                    continue;
                };
                let title = format!("{name}, {}: {}", settings.name(), cell.figure);
                square(&mut svg, (x, y), cell.verdict, &title)?;
            }
        }
    }
    legend(&mut svg, bottom + 20, width)?;
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

fn square(svg: &mut String, (x, y): (usize, usize), verdict: Verdict, title: &str) -> Result<(), BoxError> {
    let width = CELL - 2;
    let fill = match verdict {
        Verdict::Good => GOOD,
        Verdict::Partly => PARTLY,
        Verdict::Bad => BAD,
        Verdict::None => "none",
    };
    let ink = if verdict == Verdict::None { TEXT } else { "#ffffff" };
    writeln!(
        svg,
        r#"<g><title>{title}</title><rect x="{x}" y="{y}" width="{width}" height="16" rx="2" fill="{fill}"/><text x="{}" y="{}" text-anchor="middle" fill="{ink}">{}</text></g>"#,
        x + width / 2,
        y + 12,
        mark(verdict)
    )?;
    Ok(())
}

fn legend(svg: &mut String, y: usize, width: usize) -> Result<(), BoxError> {
    let meanings = [
        (Verdict::Good, "good"),
        (Verdict::Partly, "partly"),
        (Verdict::Bad, "bad"),
        (Verdict::None, "does not apply"),
    ];
    for (at, (verdict, meaning)) in meanings.into_iter().enumerate() {
        let x = TITLES + 96 * at;
        square(svg, (x, y - 12), verdict, meaning)?;
        writeln!(svg, r#"<text x="{}" y="{y}">{meaning}</text>"#, x + CELL + 4)?;
    }
    let halves = "left: defaults; right: best settings";
    writeln!(
        svg,
        r#"<text x="{}" y="{y}" text-anchor="end">{halves}</text>"#,
        width - 16
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Judgement;
    use crate::report::Cell;

    #[test]
    fn each_verdict_has_its_colour() {
        let cell = |settings, verdict| Cell {
            row: "idle".to_owned(),
            rival: "tower-ws".to_owned(),
            settings,
            judgement: Judgement {
                verdict,
                figure: "0.1/s".to_owned(),
            },
        };
        let cells = vec![
            cell(Settings::Defaults, Verdict::Good),
            cell(Settings::Best, Verdict::Bad),
        ];
        let svg = draw(&Results::new(cells)).unwrap();
        // With one of each in the legend.
        let count = |colour| svg.matches(colour).count();
        assert_eq!((count(GOOD), count(PARTLY), count(BAD)), (2, 1, 2));
    }
}
