//! The peer as a child process.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use crate::BoxError;
use crate::args::Serving;

/// A running peer, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    pub(crate) fn spawn(serving: Serving) -> Result<Self, BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("server").stdout(Stdio::piped());
        if let Some(core) = serving.core {
            command.arg("--core").arg(core.to_string());
        }
        if serving.sleeps {
            command.arg("--sleeps");
        }
        let mut child = command.spawn()?;
        let mut port = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut port)?;
        }
        let port: u16 = port.trim().parse().map_err(|_| "the peer did not start")?;
        Ok(Self {
            child,
            address: (Ipv4Addr::LOCALHOST, port).into(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
