//! What layers are built of, each for itself: a connection that can be cut off, a wrap, a state that sessions share, the
//! rounds of a driver.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, StreamExt, future::poll_fn};
use tokio::time::{Instant, sleep, timeout};
use tower_ws_core::{
    drive::{Drive, Rounds},
    *,
};
use tower_ws_test_kit::ManualConnection;

const SECOND: Duration = Duration::from_secs(1);

fn cut() -> Failure {
    Failure::new(FailureKind::Network, "cut")
}

#[tokio::test(start_paused = true)]
async fn a_severed_connection_ends_for_the_reader_and_for_a_writer_that_waits() {
    let below = ManualConnection::<u32>::new();
    let connection = Severable::new(below.clone());
    assert_connection(&connection);
    assert_eq!((connection.epoch(), connection.is_severed()), (1, false));
    assert!(
        format!("{connection:?}").starts_with("Severable(Some("),
        "{connection:?}"
    );
    let mut connection = pin!(connection);
    below.up();
    below.up();
    for epoch in 1..=2 {
        assert!(matches!(connection.next().await, Some(Event::Up(up)) if up.epoch == epoch));
    }
    below.set_flush(false);
    connection.feed(Outgoing::new(7)).await.unwrap();
    // A writer of another task would sleep in here: whoever cuts the connection off wakes it.
    let (waker, woken) = counting_waker();
    let mut writer = Context::from_waker(&waker);
    assert!(connection.as_mut().poll_flush(&mut writer).is_pending());
    let down = connection.as_mut().sever(cut());
    assert_eq!((down.epoch, down.will_retry), (2, false));
    assert_eq!(woken.load(Ordering::SeqCst), 1);

    assert!(connection.is_severed());
    assert!(connection.next().await.is_none());
    assert!(connection.as_mut().start_send(Outgoing::new(8)).is_err());
    assert!(matches!(
        connection.as_mut().poll_ready(&mut writer),
        Poll::Ready(Err(Closed))
    ));
    assert!(matches!(
        connection.as_mut().poll_flush(&mut writer),
        Poll::Ready(Err(Closed))
    ));
    assert!(matches!(
        connection.as_mut().poll_close(&mut writer),
        Poll::Ready(Ok(()))
    ));
    assert_eq!(below.sent(), [7]);
}

/// A waker that counts how often it is woken.
fn counting_waker() -> (Waker, Arc<AtomicUsize>) {
    struct Counts(Arc<AtomicUsize>);
    impl std::task::Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let woken = Arc::new(AtomicUsize::new(0));
    (Arc::new(Counts(woken.clone())).into(), woken)
}

#[tokio::test]
async fn a_wrap_gets_the_connection_and_an_error_passes() {
    struct Name(&'static str);
    impl Wrap<u32> for Name {
        type Connection = (&'static str, u32);
        fn wrap(self, inner: u32) -> Self::Connection {
            (self.0, inner)
        }
    }
    let made = MapConnection::new(std::future::ready(Ok::<_, Closed>(7)), Name("seven")).await;
    assert_eq!(made.unwrap(), ("seven", 7));
    let failed = MapConnection::new(std::future::ready(Err::<u32, _>(Closed)), Name("none")).await;
    assert!(failed.is_err());
}

/// How often something happened.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Readings for Count {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let text = "how large it has become";
        let value = Value::Counter(self.0.load(Ordering::Relaxed));
        show(Reading::new("count", text, value).unit(Unit::Bytes).label("of", "all"));
        let took = Value::Sample { took: SECOND, nth: 1 };
        show(Reading::new("took", "how long it took", took));
    }
}

#[test]
fn numbers_go_on_from_one_session_to_the_next() {
    let pair = Some(Shared::new(Count::default()));
    let source = pair.as_ref().unwrap().source();
    for session in 1..=2 {
        let lease = Lease::of(pair.as_ref(), Count::default);
        let beside = Lease::of(pair.as_ref(), Count::default);
        lease.0.fetch_add(10, Ordering::Relaxed);
        beside.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(beside.shared().0.load(Ordering::Relaxed), 1, "a state of its own");
        assert!(
            format!("{lease:?} {:?}", lease.shared()).starts_with("Lease(Count("),
            "{lease:?}"
        );

        let mut up = Up::default();
        assert!(up.sources().is_empty());
        up.show(lease.shared().source());
        assert!(up.sources()[0].is(&source) && !up.sources()[0].is(&beside.shared().source()));
        let mut shown = Vec::new();
        up.sources()[0].read(&mut |reading| shown.push(reading));
        assert_eq!(shown[0].value, Value::Counter(10 * session));
        assert_eq!((shown[0].unit, shown[0].label), (Unit::Bytes, Some(("of", "all"))));
        assert_eq!((shown[1].unit, shown[1].label), (Unit::Seconds, None));
    }
}

#[test]
fn texts_and_bytes_are_measured_packed_and_carried_as_they_are() {
    let text = "h\u{e9}".to_owned();
    assert_eq!((Length.bytes(&text), Length.kind(&text)), (3, "message"));
    let packed = Verbatim.pack(&text).unwrap();
    assert_eq!(Verbatim.unpack(packed), Some(text));
    let unpacked: Option<String> = Verbatim.unpack(Bytes::from_static(&[0xff]));
    assert_eq!(unpacked, None, "it is no text");

    let raw = Bytes::from_static(&[0, 0xff]);
    let list = raw.to_vec();
    assert_eq!((Length.bytes(&list), Length.bytes(&raw)), (2, 2));
    assert_eq!(Verbatim.pack(&list), Verbatim.pack(&raw));
    let unpacked: (Option<Vec<u8>>, Option<Bytes>) = (Verbatim.unpack(raw.clone()), Verbatim.unpack(raw.clone()));
    assert_eq!(unpacked, (Some(list.clone()), Some(raw.clone())));
    let carrier: Vec<u8> = Verbatim.carry(raw.clone());
    assert_eq!(Verbatim.carried(carrier), Ok(raw.clone()));
    let carrier: Bytes = Verbatim.carry(raw.clone());
    assert_eq!(Verbatim.carried(carrier), Ok(raw));
    // A closure measures as well.
    assert_eq!((|message: &u32| *message as usize).bytes(&7), 7);
}

#[tokio::test(start_paused = true)]
async fn a_suspicion_wakes_who_judges_and_ends_with_progress() {
    let suspicion = Suspicion::new();
    let (waker, woken) = counting_waker();
    let judge = Context::from_waker(&waker);
    let since = Instant::now();
    assert_eq!(suspicion.look(&judge), None);
    suspicion.clone().raise(since);
    assert_eq!((suspicion.look(&judge), woken.load(Ordering::SeqCst)), (Some(since), 1));
    suspicion.withdraw();
    assert_eq!(suspicion.look(&judge), None);
    suspicion.raise(since);
    let told = since + SECOND;
    suspicion.progress(told);
    assert_eq!((suspicion.look(&judge), suspicion.last_progress()), (None, Some(told)));

    let progress = Progress::new();
    progress.clone().add_read(10);
    progress.add_written(3);
    progress.add_dry_read();
    assert_eq!((progress.read(), progress.written(), progress.dry_reads()), (10, 3, 1));
}

#[test]
fn of_an_end_the_first_cause_counts_and_of_an_outage_the_last() {
    let end = EndCause::new();
    assert!(end.get().is_none());
    end.set(cut());
    end.clone().set(Failure::closed_locally());
    assert_eq!(end.get(), Some(&cut()));
    let outage = OutageCause::new();
    outage.set(Some(cut()));
    outage.clone().set(Some(Failure::closed_locally()));
    assert_eq!(outage.get(), Some(Failure::closed_locally()));
    outage.set(None);
    assert_eq!(outage.get(), None);
}

#[test]
fn an_envelope_stays_with_another_message() {
    let item = Outgoing::new(7).replay(Replay::Safe).epoch(3).ticket(Ticket::default());
    let item = item.map(|number| number.to_string());
    assert_eq!(
        (&*item.message, item.replay, item.lane),
        ("7", Replay::Safe, Lane::Normal)
    );
    assert!(item.ticket.is_some());
    assert!(item.is_of_another(2) && !item.is_of_another(3));
    assert!(!Outgoing::new(7).is_of_another(2));
}

#[test]
fn a_clock_may_be_a_closure() {
    let clock: Arc<dyn Clock> = Arc::new(|| SystemTime::UNIX_EPOCH);
    assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
    assert!(SystemClock.now() > SystemTime::UNIX_EPOCH);
    let date = RetryAfter::Date(SystemTime::UNIX_EPOCH + SECOND);
    assert_eq!(
        (date.delay(clock.now()), date.delay(SystemClock.now())),
        (SECOND, Duration::ZERO)
    );
    assert_eq!(RetryAfter::Delay(SECOND).delay(clock.now()), SECOND);
}

#[test]
fn what_is_shown_is_never_a_message() {
    let item = || Outgoing::new("hunter2".to_owned());
    let events: [(Event<String>, &str); 5] = [
        (Event::Up(Up::new()), "Up(Up {"),
        (Event::Message("hunter2".to_owned()), "Message(..)"),
        (Event::Delivered(item()), "Delivered(Outgoing {"),
        (Event::Dropped(item(), DropReason::Expired), "Dropped(Outgoing {"),
        (Event::Down(Down::new(cut())), "Down(Down {"),
    ];
    for (event, begins) in events {
        let shown = format!("{event:?}");
        assert!(shown.starts_with(begins) && !shown.contains("hunter2"), "{shown}");
    }
    let id = ConnectionId::random();
    assert_eq!(format!("{id:?}"), id.to_string());
    assert_eq!(Server::new("wss://example.org").to_string(), "wss://example.org");
    assert_eq!(
        format!("{:?} {:?}", Alarm::default(), Halves::default()),
        "Alarm(None) Halves"
    );
    let shown = format!("{:?}", Ticket::new());
    assert_eq!(shown, "Ticket { phase: Waiting, cancelled: false }");
}

/// A session of so many events, whose inbox has room for so many.
struct Session {
    events: usize,
    room: usize,
    read: usize,
    ended: bool,
    writes: usize,
}

impl Session {
    fn new(events: usize, room: usize) -> Self {
        Self {
            events,
            room,
            read: 0,
            ended: false,
            writes: 0,
        }
    }
}

impl Drive for Session {
    fn poll_clock(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
    fn write(mut self: Pin<&mut Self>, _: &mut Context<'_>) {
        self.writes += 1;
    }
    fn poll_event(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<bool>> {
        if self.read == self.events {
            return Poll::Ready(None);
        }
        self.read += 1;
        Poll::Ready(Some(self.is_full()))
    }
    fn is_full(&self) -> bool {
        self.read >= self.room
    }
    fn end(mut self: Pin<&mut Self>) {
        self.ended = true;
    }
}

#[tokio::test]
async fn a_flood_is_read_in_rounds_with_a_turn_for_everybody_else() {
    const EVENTS: usize = 10_000;
    let mut session = pin!(Session::new(EVENTS, usize::MAX));
    let mut rounds = Rounds::default();
    let turns = Arc::new(AtomicUsize::new(0));
    let others = turns.clone();
    tokio::spawn(async move {
        loop {
            others.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    timeout(60 * SECOND, poll_fn(|cx| rounds.poll(session.as_mut(), cx)))
        .await
        .unwrap();
    assert!(session.ended);
    // Each 64 events what came of them is written; each 1,024 the others have their turn.
    assert!(session.writes >= EVENTS / 64, "{}", session.writes);
    assert!(turns.load(Ordering::Relaxed) >= EVENTS / 1_024, "{turns:?}");
}

#[tokio::test]
async fn a_full_inbox_lets_the_application_read_at_most_twice_in_256() {
    let mut session = pin!(Session::new(1_000, 10));
    let mut rounds = Rounds::new();
    let (mut polls, mut first) = (0, 0);
    let moved = poll_fn(|cx| {
        polls += 1;
        let moved = rounds.poll(session.as_mut(), cx);
        first = if polls == 1 { session.read } else { first };
        moved
    });
    timeout(60 * SECOND, moved).await.unwrap();
    assert_eq!(first, 10, "it stands back as the last room is taken");
    // Each stand costs a poll, and perhaps one more in which it is still the others' turn.
    assert!((3..=20).contains(&polls), "{polls}");
    assert!(session.ended && session.read == 1_000);
    let mut cx = Context::from_waker(Waker::noop());
    let mut silent = pin!(Session::new(0, 1));
    assert!(rounds.poll(silent.as_mut(), &mut cx).is_ready());
}

#[tokio::test(start_paused = true)]
async fn an_alarm_may_be_set_anew() {
    let (start, mut alarm) = (Instant::now(), Alarm::default());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(!alarm.is_set());
    assert!(alarm.poll(start + 2 * SECOND, start, &mut cx).is_pending());
    assert!(alarm.is_set());
    sleep(SECOND).await;
    // Sooner than before, and later.
    assert!(alarm.poll(start + SECOND, Instant::now(), &mut cx).is_ready());
    assert!(alarm.poll(start + 9 * SECOND, Instant::now(), &mut cx).is_pending());
    poll_fn(|cx| alarm.poll(start + 5 * SECOND, Instant::now(), cx)).await;
    assert_eq!(start.elapsed(), 5 * SECOND);
}
