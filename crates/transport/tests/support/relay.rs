//! A child process: it relays between its stdio and a port of this machine, and ends when either
//! side does.

use std::{
    env,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    process::exit,
    thread,
};

use tokio::process::Command;

/// The port of the far end; only a child has it.
const PORT: &str = "TOWER_WS_TEST_RELAY_PORT";

/// This program once more, as the relay.
pub(crate) fn command(port: u16) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(PORT, port.to_string());
    command
}

/// `Some` in the child.
pub(crate) fn port() -> Option<u16> {
    env::var(PORT).ok()?.parse().ok()
}

/// Copies in both directions, in a thread each. The end of stdin is passed on; the end of the
/// socket ends the process.
pub(crate) fn run(port: u16) -> ! {
    let mut near = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    near.set_nodelay(true).unwrap();
    let mut far = near.try_clone().unwrap();
    thread::spawn(move || {
        let copied = copy(&mut io::stdin(), &mut far);
        if copied.and_then(|()| far.shutdown(Shutdown::Write)).is_err() {
            exit(0);
        }
    });
    let _ = copy(&mut near, &mut io::stdout());
    exit(0)
}

/// Not `io::copy`: between a socket and a pipe that is `splice`, which locks the pipe while it
/// waits for the socket, so that a read that is not supposed to block would hang.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n]).and_then(|()| to.flush())?,
        }
    }
}
