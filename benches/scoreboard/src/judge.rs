//! From what both sides have to say to a verdict. The bounds are wide: nothing here is decided by a busy machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::rival::Rival;
use crate::row::{BURST, IN_FLIGHT, RETRY_AFTER, Row, STORM};

/// A verdict.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Good,
    Partly,
    Bad,
    /// The row does not apply.
    None,
}

/// A verdict, and what it goes by, in few words.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) figure: String,
}

/// As many dials as a client may need that is not in a hurry.
const FEW_DIALS: usize = 6;
/// More than these are a storm.
const MANY_DIALS: usize = 20;
/// Back within this time of the server.
const SOON: Duration = Duration::from_secs(30);
/// The same after a long outage, and what may pass before a dead link is noticed: two usual intervals and a little.
const IN_TIME: Duration = Duration::from_secs(45);
const MIB: u64 = 1 << 20;
/// Memory that a bounded client may need in the face of a flood.
const BOUNDED: u64 = 64 * MIB;
/// More than this is what comes of no bound at all within the time of these rows.
const LARGE: u64 = 128 * MIB;
/// Wake-ups per second of an idle client: as many as a few slow timers make in a program of several threads.
const RARE: f64 = 2.0;
/// As many as one makes that looks ten times a second.
const OFTEN: f64 = 20.0;

/// Judges one run.
pub(crate) fn judge(row: Row, rival: &Rival, account: &Account) -> Judgement {
    if !account.ledger.dials.iter().any(|dial| dial.served) && row != Row::Late {
        return bad("never came up");
    }
    match row {
        Row::Late => late(account),
        Row::Reset | Row::Fin | Row::Unanswered | Row::Close1001 | Row::Close1011 | Row::Close1013 => {
            storm(rival, account)
        }
        Row::RetryAfter => retry_after(rival, account),
        Row::NotFound => back(account, SOON),
        Row::Token => token(rival, account),
        Row::Outage => outage(rival, account),
        Row::DeadIdle | Row::DeadLoaded => dead(row, account),
        Row::Unsafe | Row::Safe if !rival.calls => none("no calls"),
        Row::Unsafe => unsafe_calls(account),
        Row::Safe => safe_calls(account),
        Row::Burst => burst(account),
        Row::Flood | Row::Deaf => memory(account),
        Row::Upload => upload(rival, account),
        Row::Idle => idle(account),
    }
}

fn late(account: &Account) -> Judgement {
    match (account.ledger.up, account.gave_up()) {
        (Some(_), _) => back(account, SOON),
        (None, Some(_)) => bad("gives up"),
        (None, None) => bad("never came up"),
    }
}

/// Whether, and when, calls are served again.
fn back(account: &Account, soon: Duration) -> Judgement {
    let Some(server) = account.ledger.back else {
        return bad("the server never came back");
    };
    match (account.served_after(server), account.gave_up()) {
        (Some(at), _) if at - server <= soon => good(format!("back in {}", seconds(at - server))),
        (Some(at), _) => partly(format!("back in {}", seconds(at - server))),
        (None, Some(_)) => partly("gives up, and says so"),
        (None, None) => bad("never back"),
    }
}

fn storm(rival: &Rival, account: &Account) -> Judgement {
    if !rival.redials {
        return none("no redial");
    }
    let dials = account.redials(STORM).len();
    let figure = match dials {
        1 => "1 dial".to_owned(),
        dials => format!("{dials} dials"),
    };
    match (dials, account.gave_up()) {
        (_, Some(_)) if dials <= MANY_DIALS => partly("gives up"),
        (..=FEW_DIALS, _) => good(figure),
        (..=MANY_DIALS, _) => partly(figure),
        _ => bad(figure),
    }
}

fn retry_after(rival: &Rival, account: &Account) -> Judgement {
    if !rival.redials {
        return none("no redial");
    }
    let redials = account.redials(Duration::MAX / 2);
    let Some(first) = redials.first() else {
        return partly("gives up");
    };
    let early = redials
        .iter()
        .filter(|dial| dial.at > first.at && dial.at < first.at + RETRY_AFTER)
        .count();
    let back = redials.iter().any(|dial| dial.served);
    match (early, back, account.gave_up()) {
        (0, true, _) => good("waits"),
        (_, true, _) if early <= FEW_DIALS => partly(format!("{early} too early")),
        (_, true, _) => bad(format!("{early} too early")),
        (_, false, Some(_)) => partly("gives up, and says so"),
        (_, false, None) => bad("never back"),
    }
}

fn token(rival: &Rival, account: &Account) -> Judgement {
    if !rival.redials {
        return none("no redial");
    }
    let redials = account.redials(Duration::MAX / 2);
    let refused = redials.iter().filter(|dial| !dial.served).count();
    match (
        redials.iter().find(|dial| dial.served),
        account.ledger.cut,
        account.gave_up(),
    ) {
        (Some(dial), Some(cut), _) if dial.at - cut <= SOON => {
            good(format!("renews, back in {}", seconds(dial.at - cut)))
        }
        (Some(_), ..) => partly("renews late"),
        (None, _, Some(_)) => partly("gives up, and says so"),
        (None, ..) => bad(format!("the old one, {refused} times")),
    }
}

fn outage(rival: &Rival, account: &Account) -> Judgement {
    let Some(server) = account.ledger.back else {
        return bad("the server never came back");
    };
    let arrived: BTreeSet<u64> = account.ledger.applied.iter().map(|applied| applied.n).collect();
    let (answered, failed, recent) = (account.answered(), account.failed(), account.recent());
    let silent = account.sent().into_iter().filter(|n| {
        let arrived = !rival.calls && arrived.contains(n);
        !(arrived || answered.contains(n) || failed.contains(n) || recent.contains(n))
    });
    let (silent, failed) = (silent.count(), failed.len());
    let lost = if rival.calls { "hang" } else { "lost" };
    let back = account.served_after(server);
    let figure = match back {
        Some(at) => format!("back in {}, {failed} fail, {silent} {lost}", seconds(at - server)),
        None => format!("not back, {failed} fail, {silent} {lost}"),
    };
    match (back, silent) {
        (Some(at), 0) if at - server <= IN_TIME => good(figure),
        (_, 0) => partly(figure),
        (Some(_), ..=2) => partly(figure),
        _ => bad(figure),
    }
}

fn dead(row: Row, account: &Account) -> Judgement {
    // When the server fell silent.
    let silent = account.ledger.up.unwrap_or_default() + Duration::from_secs(2);
    match account.noticed().filter(|at| *at > silent) {
        Some(at) if at - silent <= IN_TIME => good(format!("after {}", seconds(at - silent))),
        Some(at) => partly(format!("after {}", seconds(at - silent))),
        None => bad(format!("never, in {}", seconds(row.lasts()))),
    }
}

fn unsafe_calls(account: &Account) -> Judgement {
    let (silent, failed) = (silent_calls(account), account.failed().len());
    match (executed_twice(account), silent) {
        (0, 0) => good(format!("{failed} fail, none twice")),
        (0, silent) => bad(format!("{silent} without a word")),
        (twice, _) => bad(format!("{twice} executed twice")),
    }
}

fn safe_calls(account: &Account) -> Judgement {
    let (silent, answered, failed) = (silent_calls(account), account.answered().len(), account.failed().len());
    match (silent, answered as u64, again_in_order(account)) {
        (0, IN_FLIGHT, true) => good(format!("{answered} answered, in order")),
        (0, IN_FLIGHT, false) => partly(format!("{answered} answered, out of order")),
        (0, ..) => partly(format!("{failed} fail")),
        (silent, ..) => bad(format!("{silent} without a word")),
    }
}

fn silent_calls(account: &Account) -> usize {
    let (answered, failed) = (account.answered(), account.failed());
    account
        .sent()
        .iter()
        .filter(|n| !answered.contains(n) && !failed.contains(n))
        .count()
}

fn executed_twice(account: &Account) -> usize {
    let mut times = BTreeMap::<u64, usize>::new();
    for applied in &account.ledger.applied {
        *times.entry(applied.n).or_default() += 1;
    }
    times.values().filter(|times| **times > 1).count()
}

/// Whether what was sent again came in the order in which it had been sent.
fn again_in_order(account: &Account) -> bool {
    let by = |connections: fn(usize) -> bool| {
        let applied = account
            .ledger
            .applied
            .iter()
            .filter(move |applied| connections(applied.connection));
        applied.map(|applied| applied.n)
    };
    let place: BTreeMap<u64, usize> = by(|number| number == 1).zip(0..).collect();
    by(|number| number > 1).map(|n| place.get(&n)).is_sorted()
}

fn burst(account: &Account) -> Judgement {
    let (count, told, disordered) = account.pushed();
    match (BURST.saturating_sub(count), told) {
        (0, _) if disordered > 0 => partly(format!("{disordered} out of order")),
        (0, _) => good("all"),
        (missing, told) if told >= missing => partly(format!("{missing} missing, and told")),
        (missing, 0) => bad(format!("{missing} missing, untold")),
        // That something is missing, and not how much.
        (missing, _) => partly(format!("{missing} missing, partly told")),
    }
}

fn memory(account: &Account) -> Judgement {
    let figure = format!("{} MiB", account.growth / MIB);
    if account.gave_up().is_some() {
        return partly(format!("{figure}, gives up"));
    }
    match account.growth {
        growth if growth <= BOUNDED => good(figure),
        growth if growth <= LARGE => partly(figure),
        _ => bad(format!("{figure} and growing")),
    }
}

fn upload(rival: &Rival, account: &Account) -> Judgement {
    let died = account.noticed().is_some();
    let answered = account.answered().contains(&1);
    match (died, account.ledger.applied.is_empty(), answered) {
        (false, false, true) => good("arrives, answered"),
        (false, false, false) => partly("arrives, not answered"),
        (true, false, _) => partly("declared dead, arrives"),
        (true, true, _) if rival.calls && !account.failed().is_empty() => bad("declared dead, fails"),
        (true, true, _) => bad("declared dead"),
        (false, true, _) => bad("never arrives"),
    }
}

fn idle(account: &Account) -> Judgement {
    let figure = format!("{:.1}/s", account.wakeups_per_second);
    match account.wakeups_per_second {
        ..=RARE => good(figure),
        ..=OFTEN => partly(figure),
        _ => bad(figure),
    }
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        short @ ..1.0 => format!("{short:.1} s"),
        long => format!("{long:.0} s"),
    }
}

fn good(figure: impl Into<String>) -> Judgement {
    Judgement {
        verdict: Verdict::Good,
        figure: figure.into(),
    }
}

fn partly(figure: impl Into<String>) -> Judgement {
    Judgement {
        verdict: Verdict::Partly,
        figure: figure.into(),
    }
}

fn bad(figure: impl Into<String>) -> Judgement {
    Judgement {
        verdict: Verdict::Bad,
        figure: figure.into(),
    }
}

/// With the reason.
fn none(reason: impl Into<String>) -> Judgement {
    Judgement {
        verdict: Verdict::None,
        figure: reason.into(),
    }
}

#[cfg(test)]
mod tests;
