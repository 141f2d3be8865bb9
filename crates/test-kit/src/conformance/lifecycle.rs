use tower_ws_core::Event;

use super::suite::broken;

/// Checks the order of events of one session.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    redials: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Fresh,
    Up(u64),
    Down(u64),
    Over,
}

impl Lifecycle {
    pub(crate) fn new(redials: bool) -> Self {
        Self {
            redials,
            stage: Stage::Fresh,
        }
    }

    pub(crate) fn see<M>(&mut self, event: Option<&Event<M>>) {
        self.stage = match (self.stage, event) {
            (Stage::Fresh, Some(Event::Up(up))) => Stage::Up(up.epoch),
            (Stage::Down(epoch), Some(Event::Up(up))) if self.redials && up.epoch > epoch => Stage::Up(up.epoch),
            (Stage::Up(epoch), Some(Event::Down(down))) if down.epoch == epoch => {
                if down.will_retry && !self.redials {
                    broken("`Down` of a connection that nobody redials", "`will_retry: true`");
                }
                Stage::Down(epoch)
            }
            (Stage::Up(epoch), Some(Event::Message(_) | Event::Delivered(_) | Event::Dropped(..))) => Stage::Up(epoch),
            // What is given up between two connections. Without a redial the last `Down` comes
            // last.
            (Stage::Down(epoch), Some(Event::Dropped(..))) if self.redials => Stage::Down(epoch),
            (Stage::Down(_), None) => Stage::Over,
            (stage, event) => broken(stage.expected(), name(event)),
        }
    }
}

impl Stage {
    fn expected(self) -> String {
        match self {
            Self::Fresh => "`Up` first".to_owned(),
            Self::Up(epoch) => {
                format!("after `Up` of epoch {epoch}: messages, then one `Down` of that epoch, then the end")
            }
            Self::Down(epoch) => {
                format!("after `Down` of epoch {epoch}: `None`, or `Up` of a later epoch if the layer redials")
            }
            Self::Over => "nothing after `None`".to_owned(),
        }
    }
}

fn name<M>(event: Option<&Event<M>>) -> String {
    match event {
        Some(Event::Up(up)) => format!("`Up` of epoch {}", up.epoch),
        Some(Event::Message(_)) => "`Message`".to_owned(),
        Some(Event::Delivered(_)) => "`Delivered`".to_owned(),
        Some(Event::Dropped(_, reason)) => format!("`Dropped`, {reason}"),
        Some(Event::Down(down)) => format!("`Down` of epoch {}, {}", down.epoch, down.cause),
        Some(_) => "an event of an unknown kind".to_owned(),
        None => "`None`".to_owned(),
    }
}
