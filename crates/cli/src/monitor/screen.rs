//! The picture of a session on a terminal: lines of a given width, as many as there is room for. No I/O.

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::{
    history::{Event, History, Moment, span},
    record::{Second, clock},
};

/// How far back the round trips go, and up and down, in seconds.
const TRIPS: f64 = 120.0;
const HOUR: f64 = super::history::HOUR as f64;

/// Rows that everything but the round trips and the events takes.
const FIXED: usize = 14;
/// Rows of the round trips: at least, and of those that are left beyond 24 half.
const CHART: usize = 4;

/// An eighth of a cell, two, and so on.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

const HELP: [&str; 6] = [
    "q  ends the program; so does Ctrl-C      p  probes: measures a round trip now",
    "r  redials: while waiting at once, while up by closing and dialling anew",
    "o  goes offline, and online again        s  saves a page of the last hour here",
    "/  shows events with a text alone: Enter keeps it so, Esc shows all again",
    "?  shows this, or what has happened",
    "A bar is the last round trip of its time; x is time without a connection.",
];

/// What does not change, and what its user has chosen.
#[derive(Default)]
pub(super) struct View {
    /// Where the session goes; without secrets.
    pub(super) server: String,
    /// What an MCP server says of itself.
    pub(super) peer: String,
    pub(super) records: bool,
    pub(super) helps: bool,
    /// Events that have it are shown, in capitals or not.
    pub(super) filter: String,
    /// Whether it is being typed.
    pub(super) types: bool,
}

impl View {
    fn shows(&self, event: &Event) -> bool {
        let wanted = self.filter.to_lowercase();
        [event.what, &event.text]
            .iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, history: &History, view: &View) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let spare = height.saturating_sub(24) / 2;
    let mut lines = head(history, view, width);
    lines.extend(trips(history, width, CHART + spare));
    lines.extend(traffic(history, width));
    lines.extend(up_and_down(history, width));
    let only = match view.filter.as_str() {
        "" => String::new(),
        filter => format!("with \"{filter}\" alone"),
    };
    lines.push(rule("events", &only, width));
    let room = height.saturating_sub(FIXED + CHART + spare);
    match view.helps {
        true => lines.extend(HELP.iter().take(room).map(|line| Line::raw(format!("  {line}")))),
        false => lines.extend(
            history
                .events()
                .filter(|event| view.shows(event))
                .take(room)
                .map(|event| {
                    let at = clock(event.at);
                    let style = match event.what {
                        "up" => GOOD,
                        "down" | "failed" | "over" => BAD,
                        _ => STRONG,
                    };
                    let what = Span::styled(format!("{:<8}", event.what), style);
                    Line::from(vec![
                        Span::raw(format!("  {at}  ")),
                        what,
                        Span::raw(event.text.clone()),
                    ])
                }),
        ),
    }
    // The keys stand at the bottom, whatever there is no room for.
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(keys(view, width));
    for (y, line) in (area.y..area.bottom()).zip(&lines) {
        frame.render_widget(line, Rect::new(area.x, y, area.width, 1));
    }
}

fn head(history: &History, view: &View, width: usize) -> Vec<Line<'static>> {
    let now = history.last();
    let (state, style) = match history.down_for() {
        Some(down) => (format!("DOWN {}", hours(down)), BAD),
        None if now.is_up() => (format!("UP {}", hours(now.up_for.unwrap_or_default())), GOOD),
        None => (now.health.to_uppercase(), BAD),
    };
    let left = format!(" tower-ws monitor  {}", view.server);
    let right = format!("  {} ", clock(now.at));
    let room = width.saturating_sub(state.len() + right.len());
    let title = Line::from(vec![
        Span::styled(fitted(&left, room), STRONG),
        Span::styled(state, style.add_modifier(Modifier::BOLD)),
        Span::raw(right),
    ]);
    let epoch = match now.epoch {
        0 => "-".to_owned(),
        epoch => epoch.to_string(),
    };
    let mut about = format!(" connection {epoch}   quality {}", now.quality);
    for more in [&view.peer, &now.why] {
        if !more.is_empty() {
            about = format!("{about}   {more}");
        }
    }
    vec![title, Line::raw(about)]
}

/// A bar for each time, the latest at the right; a column is as tall as the longest round trip in its time.
fn trips(history: &History, width: usize, rows: usize) -> Vec<Line<'static>> {
    let columns = width.saturating_sub(9);
    let mut tallest = vec![None::<f64>; columns];
    let mut down = vec![false; columns];
    each(history, TRIPS, columns, |column, moment| {
        if let Some(millis) = moment.round_trip {
            tallest[column] = Some(tallest[column].map_or(millis, |other| other.max(millis)));
        }
        down[column] |= !moment.up;
    });
    let top = ceiling(tallest.iter().flatten().copied().fold(0.0, f64::max));
    let mut lines = vec![rule("round trip (ms)", "last 120 s", width)];
    for row in (0..rows).rev() {
        let label = match row {
            0 => "0".to_owned(),
            _ if row + 1 == rows => top.to_string(),
            _ => String::new(),
        };
        let cells = (0..columns).map(|column| match tallest[column] {
            _ if down[column] => Span::styled(if row == 0 { "x" } else { " " }, BAD),
            None => Span::raw(" "),
            Some(millis) => {
                // In eighths of a cell. What is known shows, however little it is.
                let filled = (millis / top * (8 * rows) as f64).ceil().max(1.0) as usize;
                let here = filled.saturating_sub(8 * row).min(8);
                let block = here.checked_sub(1).map_or(' ', |eighths| BLOCKS[eighths]);
                Span::styled(block.to_string(), GOOD)
            }
        });
        let mut line = vec![Span::styled(format!("{label:>6} │"), FAINT)];
        line.extend(cells);
        lines.push(Line::from(line));
    }
    let Second {
        last,
        p50,
        p90,
        p99,
        max,
        jitter,
        ..
    } = history.last();
    let mut about = " ".to_owned();
    for (name, value) in [
        ("last", last),
        ("p50", p50),
        ("p90", p90),
        ("p99", p99),
        ("max", max),
        ("jitter", jitter),
    ] {
        let value = value.map_or("-".to_owned(), |millis| format!("{millis:.1}"));
        about = format!("{about} {name} {value} ");
    }
    let (lost, answered) = (history.last().probes_lost, history.last().probes_answered);
    lines.push(Line::raw(format!("{about} lost {lost}/{}", lost + answered)));
    lines
}

fn traffic(history: &History, width: usize) -> Vec<Line<'static>> {
    let now = history.last();
    let half = width / 2;
    let mut rates = Vec::new();
    for (way, name) in ["in ", "out"].into_iter().enumerate() {
        let latest = history.moments().next();
        let rate =
            |count: fn(&Moment, usize) -> u64| latest.map_or(0.0, |moment| count(moment, way) as f64 / moment.passed);
        let messages = rate(|moment, way| moment.messages[way]);
        let kibibytes = rate(|moment, way| moment.bytes[way]) / 1024.0;
        let rate = format!("  {name} {messages:>8.1} msg/s {kibibytes:>8.1} KiB/s ");
        let spark = spark(history, way, half.saturating_sub(rate.len() + 1));
        rates.push(rate + &spark);
    }
    let total = |name: &str, messages: u64, bytes: u64| format!("  total {name} {messages} / {}", size(bytes as f64));
    let left = [
        rates.swap_remove(0),
        rates.swap_remove(0),
        total("in ", now.messages_in, now.bytes_in),
        total("out", now.messages_out, now.bytes_out),
    ];
    let pair =
        |name: &str, number: f64, other: &str, beside: f64| format!(" {name:<11}{number:>6}   {other:<11}{beside:>6}");
    let waits = now.queued_for.map_or("-".to_owned(), span);
    let right = [
        pair("unanswered", now.unanswered, "resent", now.resent),
        pair("answered", now.answered, "interrupted", now.interrupted),
        pair("late", now.late, "expired", now.expired),
        format!(" queue {}   {}   oldest {waits}", now.queued, size(now.queued_bytes)),
    ];
    let mut lines = vec![beside(
        rule("traffic", "", half),
        rule("session", "", width.saturating_sub(half + 1)),
        "┬",
    )];
    for (left, right) in left.into_iter().zip(right) {
        lines.push(beside(Line::raw(fitted(&left, half)), Line::raw(right), "│"));
    }
    lines
}

fn up_and_down(history: &History, width: usize) -> Vec<Line<'static>> {
    let columns = width.saturating_sub(4);
    let mut cells = vec![None; columns];
    each(history, HOUR, columns, |column, moment| {
        cells[column] = Some(cells[column].unwrap_or(true) && moment.up);
    });
    let mut bar = vec![Span::raw("  ")];
    bar.extend(cells.into_iter().map(|up| match up {
        None => Span::styled("·", FAINT),
        Some(true) => Span::styled("=", GOOD),
        Some(false) => Span::styled("x", BAD),
    }));
    let outages = history.outages();
    let next = history
        .last()
        .next_dial
        .map_or("-".to_owned(), |delay| format!("in {}", span(delay)));
    let about = format!(
        "  up {:.1} %   outages {}   longest {}   dials {}   next dial {next}",
        100.0 * outages.up,
        outages.number,
        span(outages.longest),
        outages.dials,
    );
    vec![
        rule("up and down", "last hour", width),
        Line::from(bar),
        Line::raw(about),
    ]
}

fn keys(view: &View, width: usize) -> Line<'static> {
    let keys = match view.types {
        true => format!(" /{}▏   Enter keep   Esc all", view.filter),
        false => " q quit   r redial   o offline   p probe   s save   / filter   ? help".to_owned(),
    };
    let records = if view.records { "REC " } else { "" };
    let left = fitted(&keys, width.saturating_sub(records.len()));
    Line::from(vec![Span::styled(left, FAINT), Span::styled(records, BAD)])
}

/// Shows each moment of the last so many seconds in its column.
fn each(history: &History, length: f64, columns: usize, mut show: impl FnMut(usize, &Moment)) {
    let now = history.last().at;
    for moment in history.moments() {
        let back = ((now - moment.at).max(0.0) / length * columns as f64) as usize;
        // A clock that was set may be anywhere.
        if back < columns {
            show(columns - 1 - back, moment);
        }
    }
}

/// The messages of the last seconds, as small bars; the tallest is the most of them.
fn spark(history: &History, way: usize, columns: usize) -> String {
    let counts: Vec<_> = history
        .moments()
        .take(columns)
        .map(|moment| moment.messages[way])
        .collect();
    let most = counts.iter().copied().max().unwrap_or_default().max(1);
    let bars = counts.iter().rev().map(|&count| match count {
        0 => ' ',
        _ => BLOCKS[((8.0 * count as f64 / most as f64).ceil() as usize).clamp(1, 8) - 1],
    });
    bars.collect()
}

/// A headline across so many columns.
fn rule(left: &str, right: &str, width: usize) -> Line<'static> {
    let (left, right) = match right {
        "" => (format!("── {left} "), "─".to_owned()),
        _ => (format!("── {left} "), format!(" {right} ─")),
    };
    let between = width.saturating_sub(left.chars().count() + right.chars().count());
    Line::styled(format!("{left}{}{right}", "─".repeat(between)), FAINT)
}

fn beside(left: Line<'static>, right: Line<'static>, between: &'static str) -> Line<'static> {
    let mut spans: Vec<_> = left
        .spans
        .into_iter()
        .map(|span| span.patch_style(left.style))
        .collect();
    spans.push(Span::styled(between, FAINT));
    spans.extend(right.spans.into_iter().map(|span| span.patch_style(right.style)));
    Line::from(spans)
}

/// Cut or filled to so many columns. For what this program says: each character of it takes one.
fn fitted(text: &str, columns: usize) -> String {
    let cut: String = text.chars().take(columns).collect();
    format!("{cut:<columns$}")
}

/// 1, 2 or 5 times a power of ten, and not less.
fn ceiling(most: f64) -> f64 {
    let mut top = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(24) {
        if top >= most {
            break;
        }
        top *= factor;
    }
    top
}

fn hours(seconds: f64) -> String {
    let seconds = seconds as u64;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn size(bytes: f64) -> String {
    match bytes {
        0.0..1024.0 => format!("{bytes} B"),
        0.0..1_048_576.0 => format!("{:.1} KiB", bytes / 1024.0),
        _ => format!("{:.1} MiB", bytes / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests;
