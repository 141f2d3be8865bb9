//! `tower-ws report`: one page of a recording, with no script and nothing from elsewhere.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
};

use crate::{
    args::ReportArgs,
    exit::{Exit, Trouble},
    monitor::record::{Change, Line, Second, clock},
    settings::read,
};

/// The picture's width, in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;

pub(crate) fn run(args: &ReportArgs) -> Result<Exit, Trouble> {
    let (mut seconds, mut changes) = (Vec::new(), Vec::new());
    let record = read(&args.record)?;
    // The last one may be being written.
    let whole = record.rfind('\n').map_or(0, |end| end + 1);
    for (number, line) in (1..).zip(record[..whole].lines()) {
        match serde_json::from_str(line) {
            Ok(Line::Second(second)) => seconds.push(*second),
            Ok(Line::Change(change)) => changes.push(change),
            Err(error) => {
                let at = format!("{}:{number}", args.record.display());
                return Err(Trouble::usage(format!(
                    "{at}: this is no line of `monitor --record`: {error}"
                )));
            }
        }
    }
    if seconds.is_empty() {
        return Err(Trouble::usage(format!(
            "{}: nothing is recorded there",
            args.record.display()
        )));
    }
    let page = page(&seconds, &changes);
    match &args.output {
        Some(path) => {
            std::fs::write(path, page).map_err(|error| Trouble::usage(format!("{}: {error}", path.display())))?;
        }
        // Nobody reads it any more: no news.
        None => drop(io::stdout().write_all(page.as_bytes())),
    }
    Ok(Exit::Done)
}

/// Of one second at least.
pub(crate) fn page(seconds: &[Second], changes: &[Change]) -> String {
    let (begin, end) = (seconds[0].at, seconds[seconds.len() - 1].at);
    let span = (end - begin).max(1.0);
    let up = seconds.iter().filter(|second| second.is_up()).count() as f64 / seconds.len() as f64;
    let outages = changes
        .iter()
        .filter(|change| change.state == "connected")
        .count()
        .saturating_sub(1);
    let mut causes = BTreeMap::<&str, u32>::new();
    for kind in changes
        .iter()
        .filter(|change| change.state == "backing_off")
        .filter_map(|change| change.kind.as_deref())
    {
        *causes.entry(kind).or_default() += 1;
    }
    let mut rows = String::new();
    for change in changes {
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            clock(change.at),
            escaped(&change.state),
            escaped(change.cause.as_deref().unwrap_or_default())
        );
    }
    let mut reasons = String::new();
    for (kind, count) in causes {
        let _ = writeln!(reasons, "<tr><td>{}</td><td>{count}</td></tr>", escaped(kind));
    }
    let last = &seconds[seconds.len() - 1];
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>tower-ws report</title>\n<style>\n\
         body{{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}}\n\
         svg{{width:100%;height:auto}} table{{border-collapse:collapse}} td,th{{padding:.15rem .8rem .15rem 0;text-align:left}}\n\
         </style></head><body>\n<h1>A session, {} to {}</h1>\n\
         <p>Up {:.2} % of {}; {outages} reconnects; {} messages in, {} out.</p>\n{}\n{}\n\
         <h2>Why connections were lost</h2>\n<table><tr><th>kind</th><th>times</th></tr>\n{reasons}</table>\n\
         <h2>What happened</h2>\n<table>\n{rows}</table>\n</body></html>\n",
        clock(begin),
        clock(end),
        up * 100.0,
        humantime::format_duration(std::time::Duration::from_secs(span as u64)),
        last.messages_in,
        last.messages_out,
        bar(seconds, begin, span),
        trips(seconds, begin, span),
    )
}

/// Up and down, in time.
fn bar(seconds: &[Second], begin: f64, span: f64) -> String {
    let mut drawn = String::new();
    for (n, second) in seconds.iter().enumerate() {
        let next = seconds.get(n + 1).map_or(second.at + 1.0, |next| next.at);
        let (x, width) = (place(second.at, begin, span), (next - second.at) / span * WIDTH);
        let colour = match second.health.as_str() {
            "ok" => "#2da44e",
            "degraded" => "#d4a72c",
            _ => "#cf222e",
        };
        let _ = write!(
            drawn,
            "<rect x=\"{x:.1}\" width=\"{width:.2}\" height=\"18\" fill=\"{colour}\"/>"
        );
    }
    format!(
        "<h2>Up and down</h2>\n<svg viewBox=\"0 0 {WIDTH} 18\" role=\"img\" aria-label=\"when it was up\">{drawn}</svg>"
    )
}

/// Round trips: the band from the median to the slowest hundredth, and the last one.
fn trips(seconds: &[Second], begin: f64, span: f64) -> String {
    let most = seconds.iter().filter_map(|second| second.p99).fold(1.0, f64::max);
    let y = |millis: f64| HEIGHT - millis / most * (HEIGHT - 12.0);
    let line = |field: fn(&Second) -> Option<f64>| -> Vec<String> {
        let known = seconds.iter().filter_map(|second| Some((second.at, field(second)?)));
        known
            .map(|(at, millis)| format!("{:.1},{:.1}", place(at, begin, span), y(millis)))
            .collect()
    };
    let (low, mut high, last) = (
        line(|second| second.p50),
        line(|second| second.p99),
        line(|second| second.last),
    );
    high.reverse();
    let band: Vec<_> = low.into_iter().chain(high).collect();
    format!(
        "<h2>Round trips</h2>\n<p>The line is each second's last one, the band goes from the median to the 99th percentile; \
         the top is {most:.1} ms.</p>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"round trips\">\
         <polygon points=\"{}\" fill=\"#54aeff66\"/><polyline points=\"{}\" fill=\"none\" stroke=\"#0969da\" \
         stroke-width=\"1.5\"/></svg>",
        band.join(" "),
        last.join(" ")
    )
}

fn place(at: f64, begin: f64, span: f64) -> f64 {
    (at - begin) / span * WIDTH
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
