//! `tower-ws cat`.

mod frame;

use std::{future::pending, time::Duration};

use tokio::time::sleep;
use tower_ws::{
    Message,
    messages::{Event, Events, Sender},
};
use tracing::level_filters::LevelFilter;

use self::frame::Framed;
use crate::{
    args::CatArgs,
    exit::{Exit, Trouble},
    input, log,
    output::{remark, tell},
    settings::Settings,
};

/// How long a goodbye may take, and what is still to be sent.
const GRACE: Duration = Duration::from_secs(5);

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
        .map(|text| framed.read(text))
        .collect::<Result<_, _>>()
        .map_err(|error| Trouble::usage(format!("--say: {error}")))?;
    let (sender, events) = config.builder()?.messages().timeout(config.queue.age).connect().await?;
    let writes = write(&sender, framed, args.count.is_none().then_some(args.wait));
    let reads = read(events, &sender, framed, &greetings, args.count);
    let exit = tokio::select! {
        sent = writes => sent.map(|()| Exit::Done),
        read = reads => read,
    };
    let unsent = sender.close(GRACE).await;
    match (exit, unsent.len()) {
        (exit, 0) => exit,
        (Err(trouble), _) => Err(trouble),
        (Ok(_), unsent) => Err(Trouble::new(Exit::Time, format!("{unsent} messages were not sent"))),
    }
}

/// Each line of standard input; done so long after the last one, or never: the other side ends it then.
async fn write(sender: &Sender<Message>, framed: Framed, wait: Option<Duration>) -> Result<(), Trouble> {
    let mut lines = input::lines();
    while let Some(line) = lines.recv().await {
        let line = line.map_err(|error| Trouble::usage(format!("standard input: {error}")))?;
        let message = framed
            .read(&line)
            .map_err(|error| Trouble::usage(format!("standard input: {error}")))?;
        sender
            .send(message)
            .await
            .map_err(|error| Trouble::new(Exit::Time, "a line was not sent").because(&error))?;
    }
    match wait {
        Some(wait) => sleep(wait).await,
        None => pending().await,
    }
    Ok(())
}

/// Each message of the server's, until there are enough or the session ends.
async fn read(
    mut events: Events<Message>,
    sender: &Sender<Message>,
    framed: Framed,
    greetings: &[Message],
    count: Option<u64>,
) -> Result<Exit, Trouble> {
    let mut left = count;
    let mut ended = Exit::Done;
    while let Some(event) = events.next().await {
        match event {
            Event::Up(_) => {
                for greeting in greetings {
                    // What becomes of it, the connection's end says.
                    let _ = sender.try_send(greeting.clone());
                }
            }
            Event::Message(message) => {
                let Some(line) = framed.write(&message) else { continue };
                // Nobody reads it any more: that is all.
                if !tell(&line) {
                    return Ok(Exit::Done);
                }
                left = left.map(|left| left.saturating_sub(1));
                if left == Some(0) {
                    return Ok(Exit::Done);
                }
            }
            // The log tells of the others.
            Event::Down(down) if !down.will_retry => {
                ended = Exit::from(&down.cause);
                remark(&format!("tower-ws: {}", down.cause));
            }
            Event::Undelivered { reason, .. } => remark(&format!("tower-ws: a message was not delivered: {reason}")),
            Event::Gap { missed } => {
                remark(&format!(
                    "tower-ws: {missed} messages are missing: they came faster than they were read"
                ));
            }
            _ => {}
        }
    }
    Ok(ended)
}
