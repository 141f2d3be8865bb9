use std::{fmt, net::IpAddr};

use thiserror::Error;
use tower_ws_core::{Failure, FailureKind};

/// The guard refused to dial: by which rule, and what. It shows neither path nor query.
///
/// As a [`Failure`] it is of the kind [`Policy`](FailureKind::Policy), and so final; the failure
/// says why, and how to allow it, and has this as its source.
#[derive(Clone, Debug, Error)]
#[error("{what} is refused by the guard's rule `{rule}`")]
pub struct Refused {
    rule: Rule,
    what: String,
}

/// Why the guard refuses. See the [module docs](super).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// Special, and global all the same: refused by no profile.
    Anycast,
    /// For tests of networks.
    Benchmarking,
    /// All machines of the local network.
    Broadcast,
    /// For examples in texts.
    Documentation,
    /// Global: refused by no profile.
    Global,
    /// On this network alone, and where clouds keep their metadata.
    LinkLocal,
    /// In a network that [`Profile::refuse_network`](super::Profile::refuse_network) names.
    Listed,
    /// This machine.
    Loopback,
    /// Where a cloud answers its machines, with their credentials too.
    Metadata,
    /// A group of machines.
    Multicast,
    /// A name that stands for something local, or that this guard cannot read.
    Name,
    /// `ws`, not `wss`, to another machine.
    Plaintext,
    /// Not a standard port.
    Port,
    /// The site's own.
    Private,
    /// Not given to anybody.
    Reserved,
    /// Neither `ws` nor `wss`.
    Scheme,
    /// Behind a carrier's NAT.
    Shared,
    /// An IPv6 translation prefix of the site's own: where it leads cannot be told.
    Translation,
    /// IPv4 in IPv6 or the reverse, by relays of anybody's.
    Tunnel,
    /// No address in particular: most systems take it for this machine.
    Unspecified,
}

// === impl Refused ===

impl Refused {
    /// By a rule about names, ports or schemes.
    pub(super) fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self {
            rule,
            what: what.into(),
        }
    }

    /// By a rule about addresses.
    pub(super) fn address(rule: Rule, ip: IpAddr, judged: IpAddr) -> Self {
        let what = if ip == judged {
            ip.to_string()
        } else {
            format!("{ip}, which stands for {judged}")
        };
        Self { rule, what }
    }

    /// Adds the name that was resolved.
    pub(super) fn of(mut self, name: &str) -> Self {
        self.what = format!("{name} at {}", self.what);
        self
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let Refused { rule, what } = &refused;
        let text = format!("refused to dial {what}: {}; {}", rule.why(), rule.remedy());
        Failure::new(FailureKind::Policy, text).with_source(refused)
    }
}

// === impl Rule ===

impl Rule {
    /// In one word or two.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Anycast => "anycast",
            Self::Benchmarking => "benchmarking",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Global => "global",
            Self::LinkLocal => "link-local",
            Self::Listed => "listed",
            Self::Loopback => "loopback",
            Self::Metadata => "cloud metadata",
            Self::Multicast => "multicast",
            Self::Name => "name",
            Self::Plaintext => "plaintext",
            Self::Port => "port",
            Self::Private => "private",
            Self::Reserved => "reserved",
            Self::Scheme => "scheme",
            Self::Shared => "shared",
            Self::Translation => "translation",
            Self::Tunnel => "tunnel",
            Self::Unspecified => "unspecified",
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Anycast => "an anycast address",
            Self::Benchmarking => "an address for benchmarks",
            Self::Broadcast => "the broadcast address",
            Self::Documentation => "an address for documentation",
            Self::Global => "a global address",
            Self::LinkLocal => "a link-local address, where clouds keep metadata",
            Self::Listed => "in a network that the guard was told to refuse",
            Self::Loopback => "a loopback address",
            Self::Metadata => "an address of cloud metadata",
            Self::Multicast => "a multicast address",
            Self::Name => "not the name of a host on the internet",
            Self::Plaintext => "`ws` would send plaintext to another machine",
            Self::Port => "not a standard port",
            Self::Private => "a private address",
            Self::Reserved => "a reserved address",
            Self::Scheme => "neither `ws` nor `wss`",
            Self::Shared => "an address behind a carrier's nat",
            Self::Translation => "an address of a local nat64, which may lead anywhere",
            Self::Tunnel => "an address of a tunnel between ipv4 and ipv6",
            Self::Unspecified => "an unspecified address, which means this machine",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Listed => "if it is meant, take the network off the guard's list",
            Self::Name => "if it is meant, allow it with `Profile::allow_host`",
            Self::Plaintext => "use `wss`, or allow it with `Profile::allow_plaintext`",
            Self::Port => "if it is meant, allow it with `Profile::allow_port`",
            Self::Scheme => "use `wss`",
            _ => "if it is meant, allow it with `Profile::allow_network` or `Profile::allow_host`",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
