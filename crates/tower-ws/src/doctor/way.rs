//! The dial, by the builder's own parts, taken apart into its steps.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use futures_util::StreamExt;
use http::StatusCode;
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tower_ws_connector::{Stage, Trace, WsUrl};
use tower_ws_core::{BoxConnection, BoxError, Event, Failure, FailureKind, Up, find};
use tower_ws_transport::{Handshake, Message, Refusal, UpgradeError};

#[cfg(feature = "tls")]
use super::tls;
use super::{
    Cause, Details, PATIENCE, clock, network,
    report::{Fault, State, Step},
};
use crate::builder::Builder;

/// A dial that is over.
pub(super) struct Way {
    trace: Trace,
    /// The whole of it.
    took: Duration,
    /// Whether the connector is the application's, which need not tell its steps.
    is_own: bool,
    /// Whether the handshake has something in it that says who we are.
    shows: bool,
    end: End,
}

enum End {
    Up(Box<Up>),
    Failed(Fall),
}

/// Where a dial failed, and why.
struct Fall {
    step: &'static str,
    failure: Failure,
    refusal: Option<Refused>,
}

/// What a server said instead of 101.
struct Refused {
    status: u16,
    headers: Vec<(String, String)>,
}

impl Refused {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Dials once.
pub(super) async fn dial(builder: Builder, url: &WsUrl) -> (Way, Option<BoxConnection<Message>>) {
    let shows = builder.shows_credentials();
    let is_own = builder.own.connector.is_some();
    let (trace, began) = (Trace::new(), Instant::now());
    let dialled = match crate::assemble::dial(builder) {
        Ok((dial, request)) => trace.watch(dial.oneshot(request)).await,
        Err(error) => Err(error.0),
    };
    let took = began.elapsed();
    let (end, connection) = match dialled {
        Err(error) => (End::Failed(Fall::new(error, &trace, url)), None),
        Ok(mut connection) => match timeout(PATIENCE, connection.next()).await {
            Ok(Some(Event::Up(up))) => (End::Up(Box::new(up)), Some(connection)),
            first => {
                let kind = first.map_or(FailureKind::Timeout, |_| FailureKind::Network);
                let failure = Failure::new(kind, "the connection did not come up");
                (End::Failed(Fall::new(failure.into(), &trace, url)), None)
            }
        },
    };
    let way = Way {
        trace,
        took,
        is_own,
        shows,
        end,
    };
    (way, connection)
}

impl Fall {
    fn new(error: BoxError, trace: &Trace, url: &WsUrl) -> Self {
        let refusal = find::<Refusal>(&*error).map(|refusal| Refused {
            status: refusal.status().as_u16(),
            headers: refusal
                .told()
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone()))
                .collect(),
        });
        let is_of_upgrade = find::<UpgradeError>(&*error).is_some();
        let failure = Failure::of(error);
        let last = trace.steps().pop().map(|step| step.stage);
        let step = failed_at(failure.kind(), last.as_ref(), url.is_secure(), is_of_upgrade);
        Self { step, failure, refusal }
    }
}

/// The name of the step at which a dial failed that had come so far.
fn failed_at(kind: FailureKind, last: Option<&Stage>, is_secure: bool, is_of_upgrade: bool) -> &'static str {
    match (kind, last) {
        (FailureKind::Policy | FailureKind::Usage, None | Some(Stage::Begun { .. })) => "guard",
        (FailureKind::Auth, None) => "credentials",
        (FailureKind::Dns, _) => "dns",
        (FailureKind::Proxy, _) | (_, Some(Stage::Proxy)) => "tunnel",
        (FailureKind::Tls, _) => "tls",
        // A name is looked up first.
        (_, Some(Stage::Begun { host, .. })) if host.parse::<IpAddr>().is_err() => "dns",
        (_, Some(Stage::Begun { .. } | Stage::Resolved(_))) => "tcp",
        (_, Some(Stage::Tcp(_) | Stage::Tunnel)) if is_secure => "tls",
        #[cfg(feature = "tls")]
        (_, Some(Stage::Certificates(_))) => "tls",
        (_, Some(Stage::Answered(StatusCode::SWITCHING_PROTOCOLS))) if !is_of_upgrade => "opening",
        (_, Some(_)) => "upgrade",
        // A connector that tells nothing.
        (_, None) => "connect",
    }
}

impl Way {
    /// The steps from the guard to what opens the connection.
    pub(super) async fn steps(self, url: &WsUrl) -> Vec<Step> {
        let trace = self.trace.steps();
        let mut steps = vec![self.guard()];
        steps.extend(self.failed("credentials"));
        steps.extend(self.failed("connect"));
        let has_begun = self.has_begun();
        if has_begun || !self.is_own {
            steps.push(self.dns(&trace));
            steps.push(self.tcp(&trace).await);
        }
        if let Some(took) = took(&trace, |stage| matches!(stage, Stage::Tunnel)) {
            steps.push(Step::new("tunnel", took, State::Ok, "the proxy lets this address pass"));
        }
        steps.extend(self.failed("tunnel"));
        #[cfg(feature = "tls")]
        if url.is_secure() && (has_begun || !self.is_own) {
            steps.push(self.failed("tls").map_or_else(
                || tls::succeeded(&trace).unwrap_or_else(|| not_reached("tls")),
                |step| tls::failed(step, &trace, url),
            ));
        }
        #[cfg(not(feature = "tls"))]
        {
            let _ = url;
            steps.extend(self.failed("tls"));
        }
        steps.push(self.upgrade(&trace));
        steps.extend(self.failed("opening"));
        #[cfg(feature = "mcp")]
        if let End::Up(up) = &self.end {
            steps.extend(super::mcp::introduced(up));
        }
        steps
    }

    /// Whether it was led by a proxy, as far as it came.
    pub(super) fn is_proxied(&self) -> bool {
        let failed = matches!(&self.end, End::Failed(fall) if fall.failure.kind() == FailureKind::Proxy);
        failed || self.trace.steps().iter().any(|step| step.stage == Stage::Proxy)
    }

    /// Where it went, if that is not what the URL says: to a proxy, or to another address of the server's.
    pub(super) fn elsewhere(&self, url: &WsUrl) -> Option<String> {
        let begun = self.trace.steps().into_iter().find_map(|step| match step.stage {
            Stage::Begun { host, port } => Some((host, port)),
            _ => None,
        });
        let (host, port) = begun?;
        let is_there = host == url.host().trim_matches(['[', ']']) && port == url.port();
        (!is_there).then(|| format!("{host}:{port}"))
    }

    /// Whether it went anywhere.
    pub(super) fn has_begun(&self) -> bool {
        let steps = self.trace.steps();
        steps.iter().any(|step| matches!(step.stage, Stage::Begun { .. }))
    }

    /// The step of this name, if it is the one that failed.
    fn failed(&self, name: &'static str) -> Option<Step> {
        match &self.end {
            End::Failed(fall) if fall.step == name => Some(fall.step(self)),
            _ => None,
        }
    }

    fn guard(&self) -> Step {
        self.failed("guard")
            .unwrap_or_else(|| Step::new("guard", Duration::ZERO, State::Ok, "this side forbids nothing of it"))
    }

    fn dns(&self, trace: &[tower_ws_connector::Step]) -> Step {
        if let Some(step) = self.failed("dns") {
            return step;
        }
        let Some(host) = trace.iter().find_map(|step| match &step.stage {
            Stage::Begun { host, .. } => Some(host),
            _ => None,
        }) else {
            return not_reached("dns");
        };
        let found = trace.iter().find_map(|step| match &step.stage {
            Stage::Resolved(addresses) => Some(addresses.clone()),
            _ => None,
        });
        let Some(addresses) = found else {
            return match host.parse::<IpAddr>() {
                Ok(_) => Step::new("dns", Duration::ZERO, State::Skipped, "it is an address"),
                Err(_) => not_reached("dns"),
            };
        };
        let all: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
        let took = took(trace, |stage| matches!(stage, Stage::Resolved(_))).unwrap_or_default();
        Step::new("dns", took, State::Ok, format!("{host} is {}", all.join(", "))).details(Details::Names { addresses })
    }

    async fn tcp(&self, trace: &[tower_ws_connector::Step]) -> Step {
        let reached = trace.iter().find_map(|step| match step.stage {
            Stage::Tcp(address) => Some(address),
            _ => None,
        });
        let took = took(trace, |stage| matches!(stage, Stage::Tcp(_)));
        match (self.failed("tcp"), reached, took) {
            (Some(failed), ..) => network::unreachable(failed, network::candidates(trace)).await,
            (None, Some(address), Some(took)) => network::reached(address, took, network::candidates(trace)).await,
            _ => not_reached("tcp"),
        }
    }

    fn upgrade(&self, trace: &[tower_ws_connector::Step]) -> Step {
        if let Some(step) = self.failed("upgrade") {
            return step;
        }
        let Some(took) = took(trace, |stage| matches!(stage, Stage::Answered(_))) else {
            return not_reached("upgrade");
        };
        // In the server's headers, its choice of a subprotocol among them, it may repeat a secret: they are not told.
        let handshake = match &self.end {
            End::Up(up) => up.extensions.get::<Handshake>(),
            End::Failed(_) => None,
        };
        let text = match handshake.and_then(Handshake::subprotocol) {
            Some(_) => "101, with one of the subprotocols that were offered",
            None => "101",
        };
        Step::new("upgrade", took, State::Ok, text)
    }
}

fn not_reached(name: &'static str) -> Step {
    Step::new(name, Duration::ZERO, State::Skipped, "not reached")
}

/// How long the first such step took.
pub(super) fn took(trace: &[tower_ws_connector::Step], is_it: impl Fn(&Stage) -> bool) -> Option<Duration> {
    let place = trace.iter().position(|step| is_it(&step.stage))?;
    let before = place
        .checked_sub(1)
        .map_or(Duration::ZERO, |before| trace[before].after);
    Some(trace[place].after.saturating_sub(before))
}

impl Fall {
    /// What failed, whose fault it is, and what to do.
    fn step(&self, way: &Way) -> Step {
        let now = SystemTime::now();
        let cause = Cause::of(&self.failure, now);
        let date = self.refusal.as_ref().and_then(|refusal| refusal.header("date"));
        let skew = date.and_then(|date| clock::skew(date, now));
        let wait = cause
            .retry_after
            .filter(|wait| wait.as_secs() > 0)
            .map(|wait| format!("it asks to be left alone for {} s", wait.as_secs()));
        let done = way.trace.steps().last().map_or(Duration::ZERO, |step| step.after);
        let took = way.took.saturating_sub(done);
        let status = self.refusal.as_ref().map(|refusal| refusal.status);
        let (fault, advice) = match (status.or(self.failure.status()), self.failure.kind()) {
            (None, FailureKind::Timeout) => waited_for(self.step),
            (status, FailureKind::Proxy) => proxy_refused(status),
            (status, kind) => advise(status, kind, way.shows),
        };
        let step = Step::failed(self.step, took, cause, self.failure.to_string()).fault(
            fault,
            [Some(advice.to_owned()), wait, skew]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
        );
        match &self.refusal {
            Some(refusal) => step.details(Details::Refusal {
                headers: refusal.headers.iter().cloned().collect(),
            }),
            None => step,
        }
    }
}

/// Whose fault it is that this step did not end within the time for the dial, and what to do.
fn waited_for(step: &str) -> (Fault, &'static str) {
    match step {
        "dns" => (
            Fault::Names,
            "the name service does not answer: look at this machine's resolver",
        ),
        "tcp" => (
            Fault::Network,
            "packets vanish on the way: a firewall, or a wrong address",
        ),
        "tunnel" => (
            Fault::Proxy,
            "the proxy takes connections and does not let this one pass: it, or the way from it to the server, is stuck",
        ),
        "tls" => (
            Fault::Tls,
            "the port takes connections and answers no TLS: is it meant with ws, or is the server stuck?",
        ),
        "opening" => (
            Fault::Server,
            "it is a WebSocket, and does not answer what opens the session: does it speak that protocol?",
        ),
        _ => (
            Fault::Server,
            "something on the way takes connections and does not answer: the server, or a proxy before it",
        ),
    }
}

fn proxy_refused(status: Option<u16>) -> (Fault, &'static str) {
    match status {
        Some(407) => (Fault::Proxy, "give the proxy its credentials"),
        _ => (
            Fault::Proxy,
            "look at the proxy, and whether it lets this address and port pass",
        ),
    }
}

/// Whose fault it is that the dial failed, and what to do.
fn advise(status: Option<u16>, kind: FailureKind, shows: bool) -> (Fault, &'static str) {
    match (status, kind) {
        (Some(401 | 403), _) if shows => (
            Fault::Credentials,
            "the credential that was shown is not good: get another, or ask what this account may do",
        ),
        (Some(401 | 403), _) => (Fault::Credentials, "no credential was shown, and this server wants one"),
        (Some(407), _) => proxy_refused(status),
        (Some(404), _) => (
            Fault::Settings,
            "there is no such path on this server: look at the address",
        ),
        (Some(400 | 426), _) => (
            Fault::Settings,
            "the server does not take this for a WebSocket's request: look at path, headers and subprotocols",
        ),
        (Some(300..=399), _) => (Fault::Settings, "the server sends clients elsewhere: use that address"),
        (Some(429), _) => (Fault::Server, "it has had too much: come less often"),
        (Some(500..), _) => (Fault::Server, "it is in trouble, or being replaced: it is tried again"),
        (Some(_), _) => (
            Fault::Server,
            "it answers as a web server does: is this a WebSocket's address, and does a proxy before it pass `Upgrade` on?",
        ),
        (None, FailureKind::Dns) => (Fault::Names, "look at the name, and at this machine's resolver"),
        (None, FailureKind::Tls) => (
            Fault::Tls,
            "do what the text says; and whoever speaks no TLS there is meant with ws",
        ),
        (None, FailureKind::Auth) => (Fault::Credentials, "look at where the credential comes from"),
        (None, FailureKind::Policy | FailureKind::Usage) => (
            Fault::Settings,
            "it is this side that forbids it: the text says how to allow it",
        ),
        (None, FailureKind::Throttled) => (Fault::Server, "it has had too much: come less often"),
        (None, FailureKind::Handshake | FailureKind::Protocol | FailureKind::Closed) => (
            Fault::Server,
            "it does not speak WebSocket, or what is to be spoken over it, as it should",
        ),
        (None, _) => (
            Fault::Network,
            "the connection could not be had, or broke: look at the network between",
        ),
    }
}
