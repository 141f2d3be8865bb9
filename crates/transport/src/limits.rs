use std::time::Duration;

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::scan::Scan;

/// How much of anything one connection holds and bears. Every buffer has a bound; all sizes are in
/// bytes.
///
/// ```
/// use tower_ws_transport::Limits;
///
/// let limits = Limits::default().message_in(64 << 20).frame_in(64 << 20);
/// assert_eq!(limits.message_out, 16 << 20);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The largest message that may come in. Default 16 MiB: generous for JSON, bearable as a
    /// memory bound. A larger one ends the connection with close code 1009.
    pub message_in: usize,
    /// The largest message that may go out. Default 16 MiB. A larger one comes back as
    /// [`Dropped`](tower_ws_core::Event::Dropped), and the connection stays.
    pub message_out: usize,
    /// The largest single frame that may come in. Default 16 MiB: most peers send a message as one
    /// frame. Memory for a frame is taken when its header arrives, so this bounds what a header
    /// alone can cost.
    pub frame_in: usize,
    /// How much may wait to be written. Default 1 MiB.
    pub write_buffer: usize,
    /// How much is read at once at most. Default 64 KiB. It begins with 16 KiB, grows when more comes
    /// in at once, and shrinks when less does; a connection that is idle holds no more than 4 KiB.
    pub read_buffer: usize,
    /// The size of the frames that a large message is cut into. Default 16 KiB, so that a ping never
    /// waits behind more than that of it where the network is slow, and behind four such frames where
    /// those before were taken at once; of small messages, up to 64 KiB may have gathered before it.
    /// Kept between 4 KiB and a quarter of [`write_buffer`](Self::write_buffer).
    pub fragment: usize,
    /// How many frames a message that comes in may have. Default 65,536: 16 MiB in pieces of 256
    /// bytes. More end the connection with close code 1009: endless empty frames cost nothing to
    /// send, and no limit on bytes ends them. 0 counts as 1.
    pub fragments: u32,
    /// How long a message may be on its way in, from its first byte to its last. Default 10 min: 16
    /// MiB at 28 KB/s. A peer that drips a byte now and then looks alive for ever; this ends the
    /// connection, with close code 1008. It is looked at when bytes come in; silence is the
    /// business of a health layer.
    pub message_time: Duration,
}

impl Limits {
    /// The default of [`message_in`](Self::message_in), [`message_out`](Self::message_out) and
    /// [`frame_in`](Self::frame_in).
    pub const MESSAGE: usize = 16 << 20;
    /// The default of [`write_buffer`](Self::write_buffer).
    pub const WRITE_BUFFER: usize = 1 << 20;
    /// The default of [`read_buffer`](Self::read_buffer).
    pub const READ_BUFFER: usize = 64 << 10;
    /// The default of [`fragment`](Self::fragment).
    pub const FRAGMENT: usize = 16 << 10;
    /// The default of [`fragments`](Self::fragments).
    pub const FRAGMENTS: u32 = 1 << 16;
    /// The default of [`message_time`](Self::message_time).
    pub const MESSAGE_TIME: Duration = Duration::from_secs(600);

    /// Sets [`message_in`](Self::message_in).
    #[must_use]
    pub fn message_in(mut self, bytes: usize) -> Self {
        self.message_in = bytes;
        self
    }

    /// Sets [`message_out`](Self::message_out).
    #[must_use]
    pub fn message_out(mut self, bytes: usize) -> Self {
        self.message_out = bytes;
        self
    }

    /// Sets [`frame_in`](Self::frame_in).
    #[must_use]
    pub fn frame_in(mut self, bytes: usize) -> Self {
        self.frame_in = bytes;
        self
    }

    /// Sets [`write_buffer`](Self::write_buffer).
    #[must_use]
    pub fn write_buffer(mut self, bytes: usize) -> Self {
        self.write_buffer = bytes;
        self
    }

    /// Sets [`read_buffer`](Self::read_buffer).
    #[must_use]
    pub fn read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = bytes;
        self
    }

    /// Sets [`fragment`](Self::fragment).
    #[must_use]
    pub fn fragment(mut self, bytes: usize) -> Self {
        self.fragment = bytes;
        self
    }

    /// Sets [`fragments`](Self::fragments).
    #[must_use]
    pub fn fragments(mut self, frames: u32) -> Self {
        self.fragments = frames;
        self
    }

    /// Sets [`message_time`](Self::message_time).
    #[must_use]
    pub fn message_time(mut self, time: Duration) -> Self {
        self.message_time = time;
        self
    }

    pub(crate) fn scan(&self) -> Scan {
        Scan::new(self.fragments.max(1), self.message_time)
    }

    /// The fragment size in force.
    pub(crate) fn piece(&self) -> usize {
        self.fragment.min(self.write_buffer / 4).max(LEAST_PIECE)
    }

    /// For a codec with a buffer of this size to read into.
    pub(crate) fn config(&self, read: usize) -> WebSocketConfig {
        let piece = self.piece();
        let gathered = GATHERED.min(self.write_buffer / 4).max(piece);
        WebSocketConfig::default()
            .read_buffer_size(read)
            // Small messages gather, then the system gets them. When pieces go, the lift knows.
            .write_buffer_size(gathered)
            // Room for what has gathered, one more piece, and control frames: the codec refuses
            // what does not fit.
            .max_write_buffer_size(self.write_buffer.max(4 * gathered))
            .max_message_size(Some(self.message_in))
            .max_frame_size(Some(self.frame_in))
    }
}

/// How much small messages gather before the system gets them. Fewer and larger writes cost less;
/// more than this gains little, and a control message waits behind it.
const GATHERED: usize = 64 << 10;
const LEAST_PIECE: usize = 4 << 10;
pub(crate) const LEAST_READ: usize = 4 << 10;
/// What an idle codec reads into: a ping, a pong, a notification.
pub(crate) const IDLE_READ: usize = 1 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_in: Self::MESSAGE,
            message_out: Self::MESSAGE,
            frame_in: Self::MESSAGE,
            write_buffer: Self::WRITE_BUFFER,
            read_buffer: Self::READ_BUFFER,
            fragment: Self::FRAGMENT,
            fragments: Self::FRAGMENTS,
            message_time: Self::MESSAGE_TIME,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_the_codec_can_work_with() {
        for size in [0, 1, 5000, Limits::MESSAGE, usize::MAX / 8, usize::MAX] {
            let limits = Limits::default().fragment(size).write_buffer(size);
            let (piece, config) = (limits.piece(), limits.config(LEAST_READ));
            assert!(piece >= LEAST_PIECE);
            assert!(config.max_write_buffer_size > config.write_buffer_size, "{size}");
            assert!(config.max_write_buffer_size / 4 >= piece, "{size}");
        }
        assert_eq!(Limits::default().piece(), Limits::FRAGMENT);
    }
}
