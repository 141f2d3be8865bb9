use ratatui::{Terminal, backend::TestBackend};

use super::{
    super::record::{Change, Second},
    *,
};

/// Two minutes and more of a session with an outage of nine seconds.
fn history() -> History {
    let mut history = History::default();
    let begin = 28_800.0;
    for n in 0..200_u32 {
        let at = begin + f64::from(n);
        let change = |state: &str, cause: &str, delay| Change {
            at,
            state: state.to_owned(),
            epoch: 2,
            attempt: 1,
            cause: (!cause.is_empty()).then(|| cause.to_owned()),
            kind: None,
            delay,
        };
        match n {
            130 => history.change(&change(
                "backing_off",
                "the peer closed (1012, \"restarting\")",
                Some(900.0),
            )),
            131 | 139 => history.change(&change("connecting", "", None)),
            132 => history.change(&change("backing_off", "refused the connection", Some(7000.0))),
            // A minute ago.
            140 => history.change(&change("connected", "", None)),
            _ => {}
        }
        let up = !(130..140).contains(&n);
        let trip = 10.0 + f64::from(n * n % 37);
        history.second(Second {
            at,
            health: if up { "ok" } else { "down" }.to_owned(),
            epoch: if n < 130 { 1 } else { 2 },
            up_for: Some(f64::from(n % 140)),
            quality: "good".to_owned(),
            last: Some(trip),
            p50: Some(27.9),
            p90: Some(40.0),
            p99: Some(45.7),
            max: Some(46.3),
            jitter: Some(2.1),
            probes_answered: 199,
            probes_lost: 1,
            messages_in: u64::from(n * 12 + n % 5),
            messages_out: u64::from(n * 4),
            bytes_in: u64::from(n) * 39_000,
            bytes_out: u64::from(n) * 1900,
            unanswered: 3.0,
            answered: 1204.0,
            resent: 5.0,
            interrupted: 2.0,
            queued: 1.0,
            queued_bytes: 2048.0,
            queued_for: Some(0.25),
            ..Second::default()
        });
    }
    history.event(begin + 190.0, "probe", "18.2 ms".to_owned());
    history
}

fn view() -> View {
    View {
        server: "wss://tools.example:443".to_owned(),
        peer: "mcp 2025-11-25 orders-server 2.3".to_owned(),
        records: true,
        ..View::default()
    }
}

fn drawn(history: &History, view: &View, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, history, view)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width.max(1)));
    let lines = rows.map(|row| {
        row.iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect::<String>()
            .trim_end()
            .to_owned()
            + "\n"
    });
    lines.collect()
}

#[track_caller]
fn shows(drawn: &str, golden: &str) {
    assert!(drawn == golden, "it shows:\n{drawn}\nit should:\n{golden}");
}

#[test]
fn it_fits_a_terminal_of_80_by_24() {
    shows(&drawn(&history(), &view(), 80, 24), include_str!("80x24.txt"));
}

#[test]
fn it_uses_a_terminal_of_120_by_40() {
    shows(&drawn(&history(), &view(), 120, 40), include_str!("120x40.txt"));
}

#[test]
fn help_takes_the_place_of_the_events() {
    let helps = View { helps: true, ..view() };
    let drawn = drawn(&history(), &helps, 80, 24);
    for line in HELP {
        assert!(drawn.contains(&line[..60.min(line.len())]), "{line}: {drawn}");
    }
}

#[test]
fn events_are_looked_through_for_a_text() {
    let typing = View {
        filter: "PROBE".to_owned(),
        types: true,
        ..view()
    };
    let drawn = drawn(&history(), &typing, 80, 24);
    assert!(
        drawn.contains("probe   18.2 ms") && !drawn.contains("failed"),
        "{drawn}"
    );
    assert!(
        drawn.contains("with \"PROBE\" alone") && drawn.contains(" /PROBE▏"),
        "{drawn}"
    );
}

/// Before the first second, and in an outage.
#[test]
fn what_is_not_known_is_not_shown() {
    let mut history = History::default();
    let empty = drawn(&history, &view(), 80, 24);
    assert!(empty.contains("last -  p50 -"), "{empty}");
    history.change(&Change {
        at: 0.0,
        state: "offline".to_owned(),
        epoch: 1,
        attempt: 1,
        cause: None,
        kind: None,
        delay: None,
    });
    history.second(Second {
        at: 65.0,
        health: "down".to_owned(),
        ..Second::default()
    });
    let down = drawn(&history, &view(), 80, 24);
    assert!(down.contains("DOWN 00:01:05"), "{down}");
}

#[test]
fn no_terminal_is_too_small_and_no_number_too_large() {
    let mut history = history();
    for (width, height) in (0..100)
        .step_by(3)
        .flat_map(|width| (0..30).map(move |height| (width, height)))
    {
        drawn(&history, &view(), width, height);
    }
    history.second(Second {
        at: f64::MAX,
        health: "ok".to_owned(),
        up_for: Some(f64::INFINITY),
        last: Some(f64::INFINITY),
        p50: Some(f64::NAN),
        messages_in: u64::MAX,
        bytes_in: u64::MAX,
        queued: f64::MAX,
        ..Second::default()
    });
    // What comes from outside moves no cursor.
    history.event(-1.0, "over", "\x1b[2J\r\n\u{202e}日本語".repeat(100));
    let drawn = drawn(&history, &view(), 80, 24);
    assert!(!drawn.contains('\x1b'), "{drawn}");
}

#[test]
fn scales_are_round() {
    for (most, top) in [
        (0.0, 1.0),
        (0.4, 1.0),
        (1.5, 2.0),
        (2.1, 5.0),
        (46.3, 50.0),
        (99.0, 100.0),
        (101.0, 200.0),
    ] {
        assert_eq!(ceiling(most), top, "{most}");
    }
}
