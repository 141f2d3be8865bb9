//! The screen of `monitor`, on a terminal of the test's own.
#![cfg(all(unix, feature = "screen"))]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{
    fs::File,
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use support::Program;
use tokio::{
    process::Child,
    time::{sleep, timeout},
};
use tower_ws_test_kit::{Script, Server};

/// Says that what was there before the screen is there again.
const LEFT: &str = "\x1b[?1049l";

/// A terminal, with `monitor` on it.
struct Terminal {
    ours: File,
    theirs: File,
    before: Termios,
    said: Arc<Mutex<Vec<u8>>>,
    monitor: Child,
}

impl Terminal {
    fn start(program: &Program, args: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options()
            .read(true)
            .write(true)
            .open(path.to_str().unwrap())
            .unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&theirs, size).unwrap();
        let before = tcgetattr(&theirs).unwrap();
        let mut command = program.command(&[&["monitor"], args].concat());
        let end = || theirs.try_clone().unwrap();
        command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .env("TERM", "xterm-256color");
        let monitor = command.spawn().unwrap();
        let (ours, said) = (File::from(ours), Arc::new(Mutex::new(Vec::new())));
        let (mut reader, heard) = (ours.try_clone().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                heard.lock().unwrap().extend(&bytes[..count]);
            }
        });
        Self {
            ours,
            theirs,
            before,
            said,
            monitor,
        }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    /// Waits until it has said this. Of what it draws a word alone, since blanks that are there already are not sent.
    async fn until(&self, words: &str) {
        for _ in 0..600 {
            if self.said().contains(words) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{words:?} does not come: {:?}", self.said());
    }

    fn press(&mut self, key: &str) {
        self.ours.write_all(key.as_bytes()).unwrap();
    }

    /// It ends, and leaves the terminal as it was.
    async fn ends(mut self) -> (Option<i32>, String) {
        let status = timeout(Duration::from_secs(30), self.monitor.wait())
            .await
            .expect("it ends")
            .unwrap();
        self.until(LEFT).await;
        let after = tcgetattr(&self.theirs).unwrap();
        assert_eq!(
            (after.local_modes, after.input_modes, after.output_modes),
            (
                self.before.local_modes,
                self.before.input_modes,
                self.before.output_modes
            )
        );
        (status.code(), self.said())
    }
}

#[tokio::test]
async fn its_keys_steer_the_session() {
    let server = Server::start(Script::Echo).await.unwrap();
    let program = Program::new();
    let url = format!("{}?key=s3cr3t", server.url());
    let mut terminal = Terminal::start(&program, &[&url]);
    terminal.until("quit").await;
    terminal.press("p");
    terminal.until("ms\x1b").await;
    terminal.press("?");
    terminal.until("Ctrl-C").await;
    terminal.press("?o");
    terminal.until("DOWN").await;
    terminal.press("o");
    terminal.until("after").await;
    terminal.press("r");
    terminal.until("asked").await;
    // Only what was asked for is shown, and that again which was not.
    terminal.press("/REDIALx\x7f");
    terminal.until("alone").await;
    terminal.press("\x1b");
    // Together they would be another key.
    sleep(Duration::from_millis(300)).await;
    terminal.press("s");
    terminal.until("saved").await;
    terminal.press("q");
    let (code, said) = terminal.ends().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("s3cr3t"), "{said}");
    let files = std::fs::read_dir(program.home()).unwrap();
    let saved: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    let [saved] = &saved[..] else { panic!("{saved:?}") };
    assert!(std::fs::read_to_string(saved).unwrap().contains("<svg"), "{saved:?}");
}

#[tokio::test]
async fn it_gives_the_terminal_back_however_it_ends() {
    let server = Server::start(Script::Echo).await.unwrap();
    let program = Program::new();
    let url = server.url();

    let mut terminal = Terminal::start(&program, &[&url]);
    terminal.until("quit").await;
    terminal.press("\x03");
    assert_eq!(terminal.ends().await.0, Some(130));

    let terminal = Terminal::start(&program, &[&url]);
    terminal.until("quit").await;
    let id = terminal.monitor.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(id).status().unwrap().success());
    assert_eq!(terminal.ends().await.0, Some(143));

    let terminal = Terminal::start(&program, &[&url, "--for", "1s"]);
    assert_eq!(terminal.ends().await.0, Some(0));

    // The session is over, and says why where the screen was.
    let terminal = Terminal::start(&program, &[&url, "--max-outage", "1s"]);
    terminal.until("quit").await;
    drop(server);
    let (code, said) = terminal.ends().await;
    assert_eq!(code, Some(3), "{said}");
    let (_, after) = said.rsplit_once(LEFT).unwrap();
    assert!(after.contains("failed") || after.contains("final"), "{after:?}");
}

/// Who waits for a server sees that it is waited for, and why.
#[tokio::test]
async fn a_server_that_is_not_there_yet_is_seen_to_come() {
    let program = Program::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", port.local_addr().unwrap());
    drop(port);
    let mut terminal = Terminal::start(&program, &[&url]);
    terminal.until("refused").await;
    terminal.press("q");
    let (code, said) = terminal.ends().await;
    assert!(code == Some(0) && said.contains("DOWN"), "{said}");
}

/// No screen: its lines are for whoever wants lines.
#[tokio::test]
async fn lines_are_written_where_they_are_asked_for() {
    let server = Server::start(Script::Echo).await.unwrap();
    let program = Program::new();
    for args in [["--plain", "-q"], ["-o", "json"], ["-v", "-v"]] {
        let url = server.url();
        let mut terminal = Terminal::start(&program, &[&[&*url, "--for", "2s"], &args[..]].concat());
        let status = timeout(Duration::from_secs(30), terminal.monitor.wait()).await;
        assert!(status.expect("it ends").unwrap().success());
        terminal.until("\n").await;
        assert!(!terminal.said().contains('\x1b'), "{args:?}: {:?}", terminal.said());
    }
}
