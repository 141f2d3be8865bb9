use tokio::time::Instant;

/// The present moment, read once for messages that are handled together: a look at the clock costs
/// more than most of what a layer does with a message.
///
/// Whoever has one [lets it go](Self::pass) when it flushes, and when there is nothing more to read:
/// then time may pass. It is let go after 64 looks in any case, so that one who is never done does
/// not live in the past.
#[derive(Debug, Default)]
pub struct Moment {
    at: Option<Instant>,
    looks: u8,
}

impl Moment {
    const LOOKS: u8 = 64;

    /// The moment, not later than the present.
    pub fn now(&mut self) -> Instant {
        self.looks += 1;
        match self.at {
            Some(at) if self.looks < Self::LOOKS => at,
            _ => {
                self.looks = 0;
                *self.at.insert(Instant::now())
            }
        }
    }

    /// Time passes: the next look is at the clock.
    pub fn pass(&mut self) {
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_lasts_for_a_batch_and_no_longer() {
        let mut moment = Moment::default();
        let start = moment.now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(moment.now(), start);
        assert!((0..Moment::LOOKS).any(|_| moment.now() == Instant::now()));
        tokio::time::advance(Duration::from_secs(1)).await;
        moment.pass();
        assert_eq!(moment.now(), Instant::now());
    }
}
