//! Which orders of a stack cannot work, and why.

use std::fmt;

use crate::{
    failure::{Failure, FailureKind},
    message::Up,
};

/// A layer that stands where it cannot do its work. See
/// [`Up::check_order`](crate::Up::check_order).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub struct WrongOrder {
    /// Which layer, by its name in [`Up::layers`](crate::Up::layers).
    pub layer: &'static str,
    /// Where it belongs, seen from `other`.
    pub must_be: Position,
    /// The layer that it stands on the wrong side of. For [`Position::Once`] the same as `layer`.
    pub other: &'static str,
    /// What goes wrong in this order.
    pub why: &'static str,
}

/// Where a layer belongs, seen from another. This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Position {
    /// Above it: further out, nearer to the application.
    Above,
    /// Below it: further in, nearer to the transport.
    Below,
    /// In the stack only once.
    Once,
}

/// One row: `layer` must stand `place` of `other`, or else `why`.
struct Rule(&'static str, Position, &'static str, &'static str);

use Position::{Above, Below, Once};

/// What an [`OpeningLayer`](crate::OpeningLayer) is called here. Its name is the application's
/// choice, so it looks for its rules itself, with what stands below it.
const OPENING: &str = "opening";

/// The rules. A pair gets in here if in the wrong order one of the two cannot do what it is there
/// for, or does harm; also if only a third layer makes it so, since that may be added any day.
/// Where it merely does less, the order is the application's choice. A name that is not in here may
/// stand anywhere.
#[rustfmt::skip] // One row, one line.
const RULES: &[Rule] = &[
    // Two of a kind that act on the same thing. First, since such a stack breaks other rules as
    // well.
    Rule("ack", Once, "ack", "both would keep the same message, and send it again"),
    Rule("reconnect", Once, "reconnect", "the upper one would drop the lower at the first outage, and with it what it was told"),
    Rule("subscribe", Once, "subscribe", "both would say the same subscription again"),
    // What a session needs once, and what each connection needs anew.
    Rule("queue", Above, "reconnect", "what waits in it would come back with each connection, rather than wait for the next"),
    Rule("ack", Above, "reconnect", "what it keeps would come back with each connection, and never be sent again"),
    Rule("subscribe", Above, "reconnect", "what stands would be forgotten with each connection"),
    Rule("session-metrics", Above, "reconnect", "it would count each connection as a session that has ended for good"),
    Rule("connection-metrics", Below, "reconnect", "it would measure the first connection, and none of the others"),
    Rule("failover", Below, "reconnect", "the session would stay with the endpoint that it began with"),
    Rule("rate-limit", Below, "reconnect", "no redial would pass it"),
    Rule("lease", Below, "reconnect", "the session would end with the lane, rather than stand by for it"),
    Rule("health", Below, "reconnect", "its verdict would end the session, rather than the connection"),
    Rule("crypto", Below, "reconnect", "the next connection would go on with the keys of the last"),
    Rule("auth", Below, "reconnect", "only the first connection would get credentials"),
    Rule("mcp", Below, "reconnect", "only the first connection would be initialized"),
    Rule(OPENING, Below, "reconnect", "only the first connection would begin with its dialogue"),
    // What is new, what goes again.
    Rule("queue", Above, "ack", "what is sent again would wait behind what is new"),
    Rule("queue", Above, "subscribe", "what stands would be said behind what is new"),
    Rule("ack", Above, "subscribe", "what stands would be kept, and sent again beside what is said again"),
    Rule("subscribe", Above, "crypto", "it would look for subscriptions in messages that are encrypted"),
    Rule("ack", Above, "crypto", "it would look for the ids of messages that are encrypted"),
    // A verdict takes the connection below away with all that is in it.
    Rule("health", Below, "queue", "its verdict would take along what waits in the queue, without a word"),
    Rule("health", Below, "ack", "its verdict would take along what is kept, without a word"),
    Rule("health", Below, "subscribe", "its verdict would take along what is to come back, without a word"),
    Rule("lease", Below, "queue", "its end would take along what waits in the queue, without a word"),
    Rule("lease", Below, "ack", "its end would take along what is kept, without a word"),
    Rule("lease", Below, "subscribe", "its end would take along what is to come back, without a word"),
    Rule("health", Below, "rate-limit", "a pause of the limit would look like silence of the peer"),
    // A standby waits for long.
    Rule("rate-limit", Below, "lease", "a standby would take turns that it does not use"),
    // What an endpoint is to be blamed for has to pass failover.
    Rule("health", Below, "failover", "an endpoint that is dead would not be passed over"),
    Rule("auth", Below, "failover", "an endpoint that refuses the credentials would not be passed over"),
    Rule("mcp", Below, "failover", "an endpoint that cannot be initialized would not be passed over"),
    Rule(OPENING, Below, "failover", "an endpoint that fails in the dialogue would not be passed over"),
];

/// Looks for the first rule that these layers break, named innermost first.
pub(crate) fn check(layers: &[&'static str]) -> Result<(), WrongOrder> {
    RULES.iter().try_for_each(|rule| rule.hold(layers))
}

/// The same for an opening of this name, with these layers below it.
pub(crate) fn check_opening(name: &'static str, below: &[&'static str]) -> Result<(), WrongOrder> {
    let rules = RULES.iter().filter(|rule| rule.0 == OPENING);
    let wrong = rules.filter(|rule| below.contains(&rule.2)).map(|rule| WrongOrder {
        layer: name,
        ..rule.broken()
    });
    wrong.take(1).try_for_each(Err)
}

// === impl Up ===

impl Up {
    /// Whether the layers below stand in an order that can work. Whoever stands on top asks, at the
    /// first `Up`.
    ///
    /// The client does so by itself. A library that uses the `Sink + Stream` without a client asks
    /// in one line:
    ///
    /// ```
    /// # fn connected(event: tower_ws_core::Event<String>) -> Result<(), tower_ws_core::Failure> {
    /// if let tower_ws_core::Event::Up(up) = &event {
    ///     up.check_order()?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// Only names that are known are judged: a layer of the application's own may stand anywhere.
    ///
    /// # Errors
    ///
    /// Names the first layer that stands where it cannot do its work, says why, and where it
    /// belongs. As a [`Failure`] it is a matter of [`Usage`](crate::FailureKind::Usage), and
    /// [final](crate::Disposition::Final).
    pub fn check_order(&self) -> Result<(), WrongOrder> {
        check(&self.layers)
    }
}

// === impl Rule ===

impl Rule {
    fn hold(&self, layers: &[&'static str]) -> Result<(), WrongOrder> {
        let Self(layer, place, other, _) = *self;
        let first = |name| layers.iter().position(|&layer| layer == name);
        let last = |name| layers.iter().rposition(|&layer| layer == name);
        // Each of the one against each of the other; innermost is 0.
        let broken = match place {
            Above => first(layer) < last(other) && first(layer).is_some(),
            Below => first(other) < last(layer) && first(other).is_some(),
            Once => first(layer) != last(layer),
        };
        if broken { Err(self.broken()) } else { Ok(()) }
    }

    fn broken(&self) -> WrongOrder {
        let Self(layer, must_be, other, why) = *self;
        WrongOrder {
            layer,
            must_be,
            other,
            why,
        }
    }
}

// === impl WrongOrder ===

impl WrongOrder {
    /// Every wrong order that is known, as the error that it gives. A dialogue under a name of its
    /// own stands here as `opening`.
    pub fn all() -> impl Iterator<Item = Self> {
        RULES.iter().map(Rule::broken)
    }
}

impl fmt::Display for WrongOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            layer,
            must_be,
            other,
            why,
        } = self;
        match must_be {
            Above => write!(f, "the layer `{layer}` stands below `{other}`: {why}; move it above"),
            Below => write!(f, "the layer `{layer}` stands above `{other}`: {why}; move it below"),
            Once => write!(f, "the layer `{layer}` stands in the stack twice: {why}; take one out"),
        }
    }
}

/// Final: the same stack fails in the same way.
impl From<WrongOrder> for Failure {
    fn from(wrong: WrongOrder) -> Self {
        Self::new(FailureKind::Usage, "the layers of the stack cannot work in this order").with_source(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Disposition;

    /// Of the layers named outermost first.
    fn wrong(stack: &[&'static str]) -> Option<(&'static str, Position, &'static str)> {
        let layers: Vec<_> = stack.iter().rev().copied().collect();
        let wrong = check(&layers).err()?;
        Some((wrong.layer, wrong.must_be, wrong.other))
    }

    #[test]
    fn the_recommended_order_is_right_with_everything_in_it_and_without_any() {
        let all = [
            "session-metrics",
            "queue",
            "ack",
            "subscribe",
            "reconnect",
            "failover",
            "connection-metrics",
            "lease",
            "rate-limit",
            "health",
            "auth",
            "mcp",
            "crypto",
            "transport",
        ];
        assert_eq!(wrong(&all), None);
        for left_out in 0..all.len() {
            let mut stack = all.to_vec();
            stack.remove(left_out);
            assert_eq!(wrong(&stack), None, "{stack:?}");
        }
    }

    #[test]
    fn each_rule_finds_its_pair_and_nothing_else() {
        for rule in RULES {
            let &Rule(layer, place, other, why) = rule;
            let (right, swapped) = match place {
                Above => ([layer, other], [other, layer]),
                Below => ([other, layer], [layer, other]),
                Once => ([layer, "own"], [layer, layer]),
            };
            assert_eq!(wrong(&right), None);
            assert_eq!(wrong(&swapped), Some((layer, place, other)));
            // Whatever stands around and between them.
            let between = ["own", swapped[0], "own", "own", swapped[1], "own"];
            assert_eq!(wrong(&between), Some((layer, place, other)));
            assert!(!why.ends_with('.') && why.starts_with(|first: char| first.is_lowercase()));
        }
    }

    #[test]
    fn each_of_several_has_to_stand_right() {
        assert_eq!(wrong(&["queue", "queue", "ack"]), None);
        let below = Some(("queue", Above, "ack"));
        assert_eq!(wrong(&["queue", "ack", "queue"]), below);
        assert_eq!(
            wrong(&["health", "reconnect", "health"]),
            Some(("health", Below, "reconnect"))
        );
    }

    #[test]
    fn an_unknown_name_may_stand_anywhere_and_twice() {
        assert_eq!(wrong(&[]), None);
        assert_eq!(wrong(&["own", "queue", "own", "reconnect", "own"]), None);
        assert_eq!(wrong(&["metrics", "health", "health"]), None);
    }

    #[test]
    fn an_opening_is_called_by_its_own_name() {
        assert_eq!(check_opening("login", &["transport", "health"]), Ok(()));
        let wrong = check_opening("login", &["transport", "reconnect"]).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "the layer `login` stands above `reconnect`: only the first connection would begin with its dialogue; \
             move it below"
        );
    }

    #[test]
    fn it_is_final_and_found_by_its_type() {
        let failure = Failure::from(check(&["ack", "ack"]).unwrap_err());
        assert_eq!(
            (failure.kind(), failure.disposition()),
            (FailureKind::Usage, Disposition::Final)
        );
        let error: crate::BoxError = failure.into();
        let found = crate::find::<WrongOrder>(&*error).expect("it is the source");
        assert_eq!((found.layer, found.must_be), ("ack", Once));
        assert!(
            found
                .to_string()
                .starts_with("the layer `ack` stands in the stack twice: ")
        );
    }
}
