//! One direction of one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Direction, Fault};
use crate::cut::Cut;

pub(super) struct Lane {
    pub(super) direction: Direction,
    pub(super) faults: watch::Receiver<Fault>,
    pub(super) bytes: Arc<AtomicU64>,
}

const CHUNK: usize = 16 * 1024;
const CHUNKS: usize = 64;

/// A throttled lane pauses this often: pauses near the resolution of the timer would add up to a
/// lower rate.
const SLICES_PER_SECOND: u64 = 20;
const SLICE: Duration = Duration::from_millis(1000 / SLICES_PER_SECOND);

/// Something on its way, with the time at which it may arrive.
struct Parcel {
    due: Instant,
    content: Content,
}

enum Content {
    Bytes(Bytes),
    End(Cut),
}

/// Carries bytes one way: `Ok` after FIN, `Err` if the whole connection has to end.
pub(super) async fn pump(from: ReadHalf<'_>, to: WriteHalf<'_>, lane: Lane) -> Result<(), Cut> {
    let (sender, parcels) = mpsc::channel(CHUNKS);
    // Two stages, so that bytes can be under way (a delay is no limit of the rate).
    let intake = take_in(from, sender, lane.faults.clone());
    let outlet = hand_out(to, parcels, lane);
    tokio::pin!(outlet);
    tokio::select! {
        end = &mut outlet => end,
        () = intake => outlet.await,
    }
}

async fn take_in(mut from: ReadHalf<'_>, parcels: mpsc::Sender<Parcel>, faults: watch::Receiver<Fault>) {
    loop {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        let content = match from.read_buf(&mut buffer).await {
            Ok(0) => Content::End(Cut::Fin),
            Ok(_) => Content::Bytes(buffer.freeze()),
            Err(_) => Content::End(Cut::Rst),
        };
        let delay = match *faults.borrow() {
            Fault::Delay(delay) => delay,
            _ => Duration::ZERO,
        };
        let ended = matches!(content, Content::End(_));
        let due = Instant::now() + delay;
        if parcels.send(Parcel { due, content }).await.is_err() || ended {
            return;
        }
    }
}

async fn hand_out(mut to: WriteHalf<'_>, mut parcels: mpsc::Receiver<Parcel>, mut lane: Lane) -> Result<(), Cut> {
    let mut sent: u64 = 0;
    let mut swallowing = false;
    let mut owed = Duration::ZERO;
    let mut next = None;
    loop {
        let fault = *lane.faults.borrow_and_update();
        let mut allowance = CHUNK as u64;
        match fault {
            Fault::CutAt { byte, direction, how } if direction == lane.direction => {
                if sent >= byte {
                    return Err(how);
                }
                allowance = byte - sent;
            }
            Fault::Throttle { bytes_per_second } => {
                allowance = (bytes_per_second / SLICES_PER_SECOND).max(1);
            }
            Fault::Stall => {
                changed(&mut lane.faults).await;
                continue;
            }
            _ => {}
        }
        let Some(Parcel { due, content }) = &mut next else {
            tokio::select! {
                () = changed(&mut lane.faults) => {}
                parcel = parcels.recv() => match parcel {
                    // The end itself was swallowed: this way stays silent for ever.
                    None => return std::future::pending().await,
                    parcel => next = parcel,
                },
            }
            continue;
        };
        swallowing |= fault == Fault::Blackhole;
        if swallowing {
            next = None;
            continue;
        }
        // Each wait ends early when the fault changes.
        tokio::select! {
            biased;
            () = changed(&mut lane.faults) => continue,
            () = sleep_until(*due) => {}
        }
        match content {
            Content::End(Cut::Fin) => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            Content::End(Cut::Rst) => return Err(Cut::Rst),
            Content::Bytes(bytes) => {
                let slice = bytes.len().min(usize::try_from(allowance).unwrap_or(usize::MAX));
                let written = tokio::select! {
                    biased;
                    () = changed(&mut lane.faults) => continue,
                    written = to.write(&bytes[..slice]) => written.map_err(|_| Cut::Rst)?,
                };
                bytes.advance(written);
                sent += written as u64;
                lane.bytes.fetch_add(written as u64, Ordering::Relaxed);
                if bytes.is_empty() {
                    next = None;
                }
                if let Fault::Throttle { bytes_per_second } = fault {
                    owed += Duration::from_secs_f64(written as f64 / bytes_per_second.max(1) as f64);
                    if owed >= SLICE {
                        tokio::select! {
                            () = changed(&mut lane.faults) => {}
                            () = sleep(owed) => {}
                        }
                        owed = Duration::ZERO;
                    }
                }
            }
        }
    }
}

/// Waits for another fault; for ever if the proxy is gone.
async fn changed(faults: &mut watch::Receiver<Fault>) {
    if faults.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
