use std::time::Duration;

use super::*;
use crate::server::{Applied, Dial};
use crate::work::Event;

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A session that came up at once, and was cut after a second.
fn account() -> Account {
    let mut account = Account::default();
    account.ledger.up = Some(Duration::ZERO);
    account.ledger.cut = Some(second(1));
    account.ledger.back = Some(second(1));
    dial(&mut account, Duration::ZERO, true);
    account
}

fn dial(account: &mut Account, at: Duration, served: bool) {
    account.ledger.dials.push(Dial {
        at,
        served,
        token: None,
    });
}

fn applied(account: &mut Account, at: Duration, n: u64, connection: usize) {
    account.ledger.applied.push(Applied { at, n, connection });
}

fn says(account: &mut Account, at: u64, event: Event) {
    account.events.push((second(at), event));
}

fn verdict(row: Row, name: &str, account: &Account) -> Verdict {
    judge(row, Rival::named(name).unwrap(), account).verdict
}

fn of(row: Row, account: &Account) -> Verdict {
    verdict(row, "tower-ws", account)
}

#[test]
fn dials_after_the_drop_make_a_storm_and_those_before_do_not() {
    let mut account = account();
    for tenth in 0..6 {
        dial(&mut account, second(2) + Duration::from_millis(100) * tenth, false);
    }
    assert_eq!(of(Row::Reset, &account), Verdict::Good);
    // Long after: not counted.
    dial(&mut account, second(30), false);
    assert_eq!(of(Row::Reset, &account), Verdict::Good);
    dial(&mut account, second(3), false);
    assert_eq!(of(Row::Reset, &account), Verdict::Partly);
    (0..20).for_each(|_| dial(&mut account, second(4), false));
    assert_eq!(of(Row::Reset, &account), Verdict::Bad);
}

#[test]
fn who_gives_up_makes_no_storm_and_is_not_good() {
    let mut account = account();
    says(&mut account, 2, Event::Over { why: String::new() });
    assert_eq!(of(Row::Close1011, &account), Verdict::Partly);
    assert_eq!(verdict(Row::Close1011, "jsonrpsee", &account), Verdict::None);
}

#[test]
fn who_was_told_to_wait_waits() {
    let mut account = account();
    dial(&mut account, second(2), false);
    assert_eq!(of(Row::RetryAfter, &account), Verdict::Bad, "never back");
    dial(&mut account, second(18), true);
    assert_eq!(of(Row::RetryAfter, &account), Verdict::Good);
    dial(&mut account, second(10), false);
    assert_eq!(of(Row::RetryAfter, &account), Verdict::Partly);
    (0..9).for_each(|_| dial(&mut account, second(11), false));
    assert_eq!(of(Row::RetryAfter, &account), Verdict::Bad);
}

#[test]
fn back_is_who_has_a_call_executed() {
    let mut account = account();
    assert_eq!(of(Row::NotFound, &account), Verdict::Bad);
    applied(&mut account, second(40), 1, 2);
    assert_eq!(of(Row::NotFound, &account), Verdict::Partly, "late");
    account.ledger.applied.clear();
    applied(&mut account, second(14), 1, 2);
    assert_eq!(of(Row::NotFound, &account), Verdict::Good);
}

#[test]
fn a_token_is_renewed_or_shown_again_and_again() {
    let mut account = account();
    dial(&mut account, second(2), false);
    assert_eq!(of(Row::Token, &account), Verdict::Bad);
    dial(&mut account, second(4), true);
    assert_eq!(of(Row::Token, &account), Verdict::Good);
}

#[test]
fn no_call_hangs_in_an_outage() {
    let mut account = account();
    account.ledger.back = Some(second(72));
    for n in 1..=3 {
        says(&mut account, 10, Event::Sent { n });
        says(&mut account, 80, Event::Answered { n });
        applied(&mut account, second(80), n, 2);
    }
    assert_eq!(of(Row::Outage, &account), Verdict::Good);
    says(&mut account, 11, Event::Sent { n: 4 });
    assert_eq!(of(Row::Outage, &account), Verdict::Partly);
    (5..9).for_each(|n| says(&mut account, 11, Event::Sent { n }));
    assert_eq!(of(Row::Outage, &account), Verdict::Bad);
    // One without calls: what the server got is not lost.
    (4..9).for_each(|n| applied(&mut account, second(81), n, 2));
    assert_eq!(verdict(Row::Outage, "partysocket", &account), Verdict::Good);
    assert_eq!(of(Row::Outage, &account), Verdict::Bad);
}

#[test]
fn a_dead_link_is_noticed_by_a_word_or_a_dial() {
    let mut account = account();
    assert_eq!(of(Row::DeadIdle, &account), Verdict::Bad);
    dial(&mut account, second(90), true);
    assert_eq!(of(Row::DeadIdle, &account), Verdict::Partly);
    says(&mut account, 30, Event::Down { why: String::new() });
    assert_eq!(of(Row::DeadIdle, &account), Verdict::Good);
}

#[test]
fn twice_is_worse_than_failed() {
    let mut account = account();
    for n in 1..=IN_FLIGHT {
        says(&mut account, 1, Event::Sent { n });
        applied(&mut account, second(1), n, 1);
        says(&mut account, 2, Event::Failed { n, why: String::new() });
    }
    assert_eq!(of(Row::Unsafe, &account), Verdict::Good);
    assert_eq!(of(Row::Safe, &account), Verdict::Partly);
    assert_eq!(verdict(Row::Safe, "ezsockets", &account), Verdict::None);
    applied(&mut account, second(3), 7, 2);
    assert_eq!(of(Row::Unsafe, &account), Verdict::Bad);
}

#[test]
fn safe_calls_go_again_in_order() {
    let mut account = account();
    for n in 1..=IN_FLIGHT {
        says(&mut account, 1, Event::Sent { n });
        // In whatever order they were sent.
        applied(&mut account, second(1), IN_FLIGHT - n, 1);
        says(&mut account, 3, Event::Answered { n });
    }
    (1..=IN_FLIGHT).for_each(|n| applied(&mut account, second(3), IN_FLIGHT - n, 2));
    assert_eq!(of(Row::Safe, &account), Verdict::Good);
    account.ledger.applied.swap(23, 29);
    assert_eq!(of(Row::Safe, &account), Verdict::Partly);
    account.events.retain(|(_, event)| *event != Event::Answered { n: 5 });
    assert_eq!(of(Row::Safe, &account), Verdict::Bad);
}

#[test]
fn what_is_missing_of_a_burst_is_told() {
    let mut account = account();
    assert_eq!(of(Row::Burst, &account), Verdict::Bad);
    says(
        &mut account,
        2,
        Event::Pushed {
            count: BURST - 10,
            told: 10,
            disordered: 0,
        },
    );
    assert_eq!(of(Row::Burst, &account), Verdict::Partly);
    says(
        &mut account,
        3,
        Event::Pushed {
            count: BURST,
            told: 0,
            disordered: 0,
        },
    );
    assert_eq!(of(Row::Burst, &account), Verdict::Good);
}

#[test]
fn memory_has_a_bound() {
    let mut account = account();
    for (growth, verdict) in [
        (10 * MIB, Verdict::Good),
        (100 * MIB, Verdict::Partly),
        (300 * MIB, Verdict::Bad),
    ] {
        account.growth = growth;
        assert_eq!(of(Row::Flood, &account), verdict);
    }
}

#[test]
fn who_idles_sleeps() {
    let mut account = account();
    for (wakeups_per_second, verdict) in [(0.2, Verdict::Good), (10.0, Verdict::Partly), (250.0, Verdict::Bad)] {
        account.wakeups_per_second = wakeups_per_second;
        assert_eq!(of(Row::Idle, &account), verdict);
    }
}

#[test]
fn a_slow_upload_is_not_a_dead_link() {
    let mut account = account();
    assert_eq!(of(Row::Upload, &account), Verdict::Bad);
    applied(&mut account, second(50), 1, 1);
    says(&mut account, 50, Event::Answered { n: 1 });
    assert_eq!(of(Row::Upload, &account), Verdict::Good);
    dial(&mut account, second(30), true);
    assert_eq!(of(Row::Upload, &account), Verdict::Partly);
}

#[test]
fn who_never_came_up_has_no_row() {
    for row in Row::ALL {
        assert_eq!(of(row, &Account::default()), Verdict::Bad, "{row:?}");
    }
}
