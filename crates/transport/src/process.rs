//! A child process's stdin and stdout, as a byte stream: below [`lines`](crate::lines), for servers
//! that are programs.

use std::{
    fmt,
    future::{Future, Ready, ready},
    io,
    pin::Pin,
    process::{ExitStatus, Stdio},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use tower_service::Service;
use tower_ws_core::{Disposition, Failure, FailureKind};

/// Starts a program for each dial.
///
/// ```no_run
/// # async fn run() -> Result<(), tower_ws_core::BoxError> {
/// use tokio::process::Command;
/// use tower::{Layer, ServiceExt};
/// use tower_ws_transport::{lines::LinesLayer, process::Process};
///
/// let program = Process::new(|| {
///     let mut command = Command::new("my-server");
///     command.arg("--stdio");
///     command
/// });
/// let connection = LinesLayer::new().layer(program).oneshot(()).await?;
/// # Ok(()) }
/// ```
///
/// Its stdin and stdout are the connection; its stderr is what the command says, by default that of
/// this process. Below reconnect a program that has ended is started again, with the distance that
/// dials keep.
///
/// A program that is not there or must not be started fails the dial for good. When a program ends,
/// how it ended is the cause of [`Down`](tower_ws_core::Down), unless it was well. Dropping the
/// connection kills it.
#[derive(Clone)]
pub struct Process {
    // Commands cannot be cloned, so each dial makes one.
    command: Arc<dyn Fn() -> Command + Send + Sync>,
}

/// The stdin and stdout of a program that runs.
///
/// Shutting it down closes its stdin, which is how a program is told to end; reading goes on until
/// it has.
#[derive(Debug)]
pub struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    child: Running,
}

enum Running {
    Yes(Option<Child>),
    /// Its stdout has ended.
    Ending(Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>),
    Ended,
}

/// How long a program may run on after the end of its stdout: one that closes it and stays is no
/// server any more.
const EXIT: Duration = Duration::from_secs(1);

impl Process {
    /// Starts what `command` makes.
    pub fn new(command: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        Self {
            command: Arc::new(command),
        }
    }

    fn start(&self) -> Result<Pipes, Failure> {
        let mut command = (self.command)();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(not_started)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        match (stdin, stdout) {
            (stdin, Some(stdout)) => Ok(Pipes {
                stdin,
                stdout,
                child: Running::Yes(Some(child)),
            }),
            // They were asked for a moment ago.
            _ => Err(Failure::new(
                FailureKind::Local,
                "the program was started without its stdout",
            )),
        }
    }
}

impl Pipes {
    /// The system's number of the program; `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        match &self.child {
            Running::Yes(child) => child.as_ref()?.id(),
            Running::Ending(_) | Running::Ended => None,
        }
    }
}

impl<T> Service<T> for Process {
    type Response = Pipes;
    type Error = Failure;
    type Future = Ready<Result<Pipes, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: T) -> Self::Future {
        ready(self.start())
    }
}

impl AsyncRead for Pipes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Running::Yes(child) = &mut self.child {
            let child = child.take();
            let polled = Pin::new(&mut self.stdout).poll_read(cx, buf);
            match &polled {
                Poll::Ready(Ok(())) if buf.filled().len() == before && buf.remaining() > 0 => {}
                _ => {
                    self.child = Running::Yes(child);
                    return polled;
                }
            }
            self.child = Running::Ending(Box::pin(exit(child)));
        }
        if let Running::Ending(exit) = &mut self.child {
            let how = ready!(exit.as_mut().poll(cx));
            self.child = Running::Ended;
            return Poll::Ready(how);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(stdin) = &mut self.stdin {
            ready!(Pin::new(stdin).poll_flush(cx))?;
        }
        // Dropped is closed.
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}

/// How a program ended whose stdout has. One that does not is killed, by being dropped.
async fn exit(child: Option<Child>) -> io::Result<()> {
    let Some(mut child) = child else { return Ok(()) };
    let failure = match timeout(EXIT, child.wait()).await {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => Failure::new(FailureKind::Network, format!("the program ended: {}", how(status))),
        Ok(Err(error)) => return Err(error),
        Err(_) => Failure::new(
            FailureKind::Network,
            format!("the program closed its stdout, and had not ended {EXIT:?} later: it was killed"),
        ),
    };
    Err(io::Error::other(failure))
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => "killed by a signal".to_owned(),
    }
}

fn not_started(error: io::Error) -> Failure {
    let (message, is_final) = match error.kind() {
        io::ErrorKind::NotFound => ("the program was not found: is it installed, and in the path?", true),
        io::ErrorKind::PermissionDenied => ("the program may not be started: is it executable?", true),
        _ => ("the program could not be started", false),
    };
    let failure = Failure::new(FailureKind::Local, message).with_source(error);
    match is_final {
        true => failure.with_disposition(Disposition::Final),
        false => failure,
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the command: arguments and environment can be secrets.
        f.write_str("Process")
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes(_) => "Yes",
            Self::Ending(_) => "Ending",
            Self::Ended => "Ended",
        })
    }
}
