//! A terminal that shows a session, and whose keys steer it. It is given back as it was, however this ends.

use std::{
    fs::File,
    io::{self, Write},
    time::SystemTime,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc;
use tower_ws::{health, reconnect};

use super::{
    history::History,
    record::{Line, Second, now},
    screen::{self, View},
};
use crate::exit::{Exit, Trouble};

/// So many seconds without a probe, and this program sends one: the layer sends none while other bytes come in, and whoever
/// looks wants to see round trips.
const QUIET: u32 = 5;

/// How long the text may be that events are looked through for.
const FILTER: usize = 40;

pub(super) struct Screen {
    terminal: DefaultTerminal,
    history: History,
    view: View,
    reconnect: reconnect::Handle,
    /// Of a session that has been up.
    health: Option<health::Handle>,
    offline: bool,
    /// Probes that are over, and for how many seconds there has been no other.
    probes: u64,
    quiet: u32,
    inputs: mpsc::Receiver<Input>,
    /// For what comes later.
    input: mpsc::Sender<Input>,
}

enum Input {
    Key(KeyEvent),
    Resized,
    /// A probe is over: its round trip in seconds, or why there is none.
    Probed(Result<f64, String>),
    /// The terminal is gone.
    Gone,
}

impl Screen {
    pub(super) fn open(view: View, reconnect: reconnect::Handle) -> Result<Self, Trouble> {
        // It restores the terminal before a panic is told, too.
        let terminal = ratatui::try_init().map_err(|error| {
            let _ = ratatui::try_restore();
            let what = format!("this terminal cannot be drawn on: {error}");
            Trouble::new(Exit::Local, what).help("--plain writes lines")
        })?;
        let (input, inputs) = mpsc::channel(16);
        let keys = input.clone();
        // Reading a terminal blocks. It ends with the program.
        std::thread::spawn(move || {
            loop {
                let input = match event::read() {
                    Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => Input::Key(key),
                    Ok(Event::Resize(..)) => Input::Resized,
                    Ok(_) => continue,
                    Err(_) => Input::Gone,
                };
                let gone = matches!(input, Input::Gone);
                if keys.blocking_send(input).is_err() || gone {
                    return;
                }
            }
        });
        Ok(Self {
            terminal,
            history: History::default(),
            view,
            reconnect,
            health: None,
            offline: false,
            probes: 0,
            quiet: 0,
            inputs,
            input,
        })
    }

    /// The session is up for the first time: with this peer.
    pub(super) fn meet(&mut self, peer: String, health: Option<health::Handle>) {
        self.view.peer = peer;
        self.health = health;
    }

    pub(super) fn show(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Second(second) => {
                self.keep_probing(second);
                self.history.second(Second::clone(second));
            }
            Line::Change(change) => self.history.change(change),
        }
        self.draw()
    }

    fn keep_probing(&mut self, second: &Second) {
        let probes = second.probes_answered + second.probes_lost;
        self.quiet = if probes == self.probes { self.quiet + 1 } else { 0 };
        self.probes = probes;
        if self.quiet >= QUIET && second.is_up() {
            self.quiet = 0;
            self.probe(false);
        }
    }

    fn probe(&self, told: bool) {
        let Some(health) = self.health.clone() else { return };
        let input = self.input.clone();
        tokio::spawn(async move {
            let probed = health.probe_now().await;
            if told {
                let probed = probed.map(|took| took.as_secs_f64()).map_err(|error| error.to_string());
                // It may be over.
                let _ = input.send(Input::Probed(probed)).await;
            }
        });
    }

    fn draw(&mut self) -> io::Result<()> {
        let (history, view) = (&self.history, &self.view);
        self.terminal.draw(|frame| screen::draw(frame, history, view))?;
        Ok(())
    }

    /// Does what its user wants, until they want it to end.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub(super) async fn attend(&mut self) -> Exit {
        loop {
            let Some(input) = self.inputs.recv().await else {
                return Exit::Done;
            };
            match input {
                Input::Key(key) => {
                    if let Some(exit) = self.key(key) {
                        return exit;
                    }
                }
                Input::Resized => {}
                Input::Probed(Ok(seconds)) => self
                    .history
                    .event(now(), "probe", format!("{:.1} ms", 1000.0 * seconds)),
                Input::Probed(Err(why)) => self.history.event(now(), "probe", why),
                Input::Gone => return Exit::Done,
            }
            // Before anything is seen there is nothing to draw.
            if self.history.last().at > 0.0 && self.draw().is_err() {
                return Exit::Done;
            }
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Exit> {
        let chords = KeyModifiers::CONTROL | KeyModifiers::ALT;
        match (key.code, key.modifiers.intersects(chords)) {
            // In this mode no signal comes of it.
            (KeyCode::Char('c'), true) if key.modifiers == KeyModifiers::CONTROL => return Some(Exit::Interrupted),
            (code, false) if self.view.types => self.typed(code),
            (KeyCode::Char('q'), false) => return Some(Exit::Done),
            (KeyCode::Char('?'), false) => self.view.helps = !self.view.helps,
            (KeyCode::Char('r'), false) => {
                self.reconnect.reconnect_now();
                self.history.event(now(), "redial", "asked for here".to_owned());
            }
            (KeyCode::Char('o'), false) => {
                self.offline = !self.offline;
                match self.offline {
                    true => self.reconnect.go_offline(),
                    false => self.reconnect.go_online(),
                }
            }
            (KeyCode::Char('p'), false) => match self.health {
                Some(_) => self.probe(true),
                None => {
                    let text = "there has been no connection yet".to_owned();
                    self.history.event(now(), "probe", text);
                }
            },
            (KeyCode::Char('s'), false) => {
                let saved = self.save().unwrap_or_else(|error| format!("nothing: {error}"));
                self.history.event(now(), "saved", saved);
            }
            (KeyCode::Char('/'), false) => (self.view.types, self.view.helps) = (true, false),
            (KeyCode::Esc, false) => self.view.filter.clear(),
            _ => {}
        }
        None
    }

    /// Into the text that events are looked through for.
    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.view.types = false,
            KeyCode::Esc => {
                self.view.types = false;
                self.view.filter.clear();
            }
            KeyCode::Backspace => drop(self.view.filter.pop()),
            KeyCode::Char(letter) if self.view.filter.chars().count() < FILTER => self.view.filter.push(letter),
            _ => {}
        }
    }

    /// A page of what has been seen, in the folder in which the program was started. Its name.
    fn save(&mut self) -> io::Result<String> {
        let page = self
            .history
            .page()
            .ok_or_else(|| io::Error::other("nothing has been seen yet"))?;
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let name = format!("tower-ws-{}.html", time.replace([':', '-'], ""));
        // One that is there is somebody else's.
        File::create_new(&name)?.write_all(page.as_bytes())?;
        Ok(name)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may be gone.
        let _ = ratatui::try_restore();
    }
}
