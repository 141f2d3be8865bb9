//! `tower-ws cat`.

pub(crate) mod frame;

use std::{cell::Cell, future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};
use tower_ws::{
    Message,
    messages::{Event, Events, Sender},
};
use tracing::level_filters::LevelFilter;

use self::frame::Framed;
use crate::{
    args::{CatArgs, Frames},
    exit::{Exit, Trouble},
    input, log,
    output::{Lines, remark},
    settings::Settings,
};

/// How long a goodbye may take, and what is still to be sent.
const GRACE: Duration = Duration::from_secs(5);

/// The least time after which it is looked whether all is over.
const LOOK: Duration = Duration::from_millis(10);

/// A pipe between lines and messages.
struct Pipe {
    framed: Framed,
    sender: Sender<Message>,
    output: Lines,
    /// When something came or went last.
    active: Cell<Instant>,
    /// Whether what came waits for whoever reads the output: what came after it is not known yet.
    is_unread: Cell<bool>,
    /// Sent since the server was heard last: on a connection that is lost nobody knows whether they arrived.
    unheard: Cell<u64>,
    /// The worst that has become of a message.
    worst: Cell<Exit>,
}

pub(crate) async fn run(args: CatArgs) -> Result<Exit, Trouble> {
    log::begin(&args.connection, LevelFilter::WARN)?;
    let Settings { config, .. } = Settings::load(Some(&args.url), &args.connection)?;
    let framed = Framed {
        frames: args.frames,
        binary: args.binary,
    };
    let greetings: Vec<Message> = args
        .say
        .iter()
        .map(|text| framed.read(text.clone().into_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|error| Trouble::usage(format!("--say: {error}")))?;
    let connecting = config.builder()?.messages().timeout(config.queue.age).connect();
    let (sender, events) = connecting.await?;
    let pipe = Pipe {
        framed,
        sender,
        output: Lines::begin(),
        active: Cell::new(Instant::now()),
        is_unread: Cell::new(false),
        unheard: Cell::new(0),
        worst: Cell::new(Exit::Done),
    };
    let ended = tokio::select! {
        sent = pipe.write(args.count.is_none().then_some(args.wait)) => sent.map(|()| Exit::Done),
        read = pipe.read(events, &greetings, args.count) => read,
        // That is all.
        () = pipe.output.unread() => Ok(Exit::Done),
    };
    let unsent = pipe.sender.close(GRACE).await;
    pipe.output.finish().await;
    match (ended?, unsent.len()) {
        (Exit::Done, 0) => Ok(pipe.worst.get()),
        (Exit::Done, unsent) => Err(Trouble::new(Exit::Time, format!("{unsent} messages were not sent"))),
        (exit, _) => Ok(exit),
    }
}

impl Pipe {
    /// Each line of standard input; done when nothing has come or gone for so long after the last one, or never: the other
    /// side ends it then.
    async fn write(&self, wait: Option<Duration>) -> Result<(), Trouble> {
        let (mut lines, name) = match self.framed.frames {
            Frames::Lines | Frames::Json => (input::lines(), "line"),
            Frames::Length => (input::frames(), "frame"),
        };
        let mut number = 0_u64;
        while let Some(line) = lines.recv().await {
            number += 1;
            let read = match line {
                Ok(line) => self.framed.read(line),
                Err(error) => Err(error.to_string()),
            };
            let message = match read {
                Ok(message) => message,
                Err(error) => {
                    self.has_become(Exit::Usage);
                    remark(&format!(
                        "tower-ws: standard input, {name} {number}, is left out: {error}"
                    ));
                    continue;
                }
            };
            // It may be answered before this side is told that it was taken.
            self.unheard.set(self.unheard.get() + 1);
            self.sender
                .send(message)
                .await
                .map_err(|error| Trouble::new(Exit::Time, "a line was not sent").because(&error))?;
            self.active.set(Instant::now());
        }
        let Some(wait) = wait else { return pending().await };
        loop {
            let now = Instant::now();
            let since = match self.is_unread.get() {
                true => now,
                false => self.active.get(),
            };
            match since.checked_add(wait.max(LOOK)) {
                Some(end) if end > now => sleep_until(end).await,
                _ => return Ok(()),
            }
        }
    }

    /// Of a message; what is known to be unknown is worse than what was never sent.
    fn has_become(&self, exit: Exit) {
        if self.worst.get() != Exit::Unknown {
            self.worst.set(exit);
        }
    }

    /// Each message of the server's, until there are enough or the session ends.
    async fn read(
        &self,
        mut events: Events<Message>,
        greetings: &[Message],
        count: Option<u64>,
    ) -> Result<Exit, Trouble> {
        let mut left = count;
        let mut ended = Exit::Done;
        let mut has_altered = false;
        while let Some(event) = events.next().await {
            match event {
                Event::Up(_) => {
                    for greeting in greetings {
                        // What becomes of it, the connection's end says.
                        let _ = self.sender.try_send(greeting.clone());
                    }
                }
                Event::Message(message) => {
                    self.unheard.set(0);
                    self.active.set(Instant::now());
                    let Some(written) = self.framed.write(&message) else {
                        continue;
                    };
                    if !written.is_whole && !std::mem::replace(&mut has_altered, true) {
                        remark("tower-ws: a message is no line, and was altered: --frames json writes each as it is");
                    }
                    // Nobody reads it any more.
                    self.is_unread.set(true);
                    if !self.output.tell_bytes(written.bytes).await {
                        return Ok(Exit::Done);
                    }
                    self.is_unread.set(false);
                    self.active.set(Instant::now());
                    left = left.map(|left| left.saturating_sub(1));
                    if left == Some(0) {
                        return Ok(Exit::Done);
                    }
                }
                Event::Down(down) => {
                    let unheard = self.unheard.take();
                    if unheard > 0 {
                        self.has_become(Exit::Unknown);
                        remark(&format!(
                            "tower-ws: of the last {unheard} messages nobody knows whether they arrived: the connection was lost"
                        ));
                    }
                    // The log tells of the others.
                    if !down.will_retry {
                        ended = Exit::from(&down.cause);
                        remark(&format!("tower-ws: {}", down.cause));
                    }
                }
                Event::Undelivered { reason, .. } => {
                    // Of this one it is known.
                    self.unheard.set(self.unheard.get().saturating_sub(1));
                    self.has_become(Exit::Unknown);
                    remark(&format!("tower-ws: a message was not delivered: {reason}"));
                }
                Event::Gap { missed } => {
                    self.has_become(Exit::Unknown);
                    remark(&format!(
                        "tower-ws: {missed} messages are missing: they came faster than they were read"
                    ));
                }
                _ => {}
            }
        }
        Ok(ended)
    }
}
