//! The client's account of each message against what the server applied.

use std::time::Duration;

use crate::world::{End, World};

pub(crate) fn check(world: &World) {
    let state = world.open();
    for (number, sent) in &state.sent {
        let applied = state.applied.get(number).copied().unwrap_or(0);
        let end = sent
            .end
            .unwrap_or_else(|| panic!("message {number} was lost: it never ended"));
        match end {
            End::Answered => assert!(applied >= 1, "{number} was answered, and never applied"),
            End::Unsent => assert_eq!(applied, 0, "{number} was said not to be sent"),
            End::Taken | End::Unknown | End::Cancelled => {}
        }
        assert!(sent.safe || applied <= 1, "{number} was applied {applied} times");
    }
    // What was on its way on one connection may arrive when the next has brought more.
    for told in &state.told {
        assert!(
            told.is_sorted(),
            "what one task says arrives in another order: {told:?}"
        );
    }
    check_dials(&state.dials);
}

/// A second apart, and no more than five within 10 s; but for the time that a token takes, or none.
fn check_dials(dials: &[Duration]) {
    for pair in dials.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(
            apart >= Duration::from_millis(900),
            "two dials within {apart:?}: {dials:?}"
        );
    }
    for six in dials.windows(6) {
        let within = six[5] - six[0];
        assert!(
            within >= Duration::from_millis(9_800),
            "six dials within {within:?}: {dials:?}"
        );
    }
}
