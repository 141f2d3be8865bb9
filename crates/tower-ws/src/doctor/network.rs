//! What is below the dial: the address, proxies, TCP.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tower_ws_connector::{Stage, UrlError, WsUrl, proxy::Proxies};
use tower_ws_core::FailureKind;

use super::{
    PATIENCE,
    report::{Fault, State, Step},
};

/// How many addresses are tried beside the one that is dialled.
const ADDRESSES: usize = 8;

pub(super) fn no_url(error: &UrlError) -> Step {
    let step = Step::failed("url", Duration::ZERO, FailureKind::Usage, error.to_string());
    step.fault(Fault::Settings, "correct the address")
}

pub(super) fn url(url: &WsUrl) -> Step {
    let text = format!("{}, port {}", url.redacted(), url.port());
    match (url.is_secure(), url.port()) {
        (true, 80) => Step::new("url", Duration::ZERO, State::Warning, text)
            .fault(Fault::Settings, "port 80 is that of ws: is it meant with wss?"),
        (false, 443) => Step::new("url", Duration::ZERO, State::Warning, text)
            .fault(Fault::Settings, "port 443 is that of wss: is it meant with ws?"),
        _ => Step::new("url", Duration::ZERO, State::Ok, text),
    }
}

/// `elsewhere` is where the dial went if not where the URL says, through a proxy if it `is_proxied`. `decides`: a
/// connector of the application's, which has not come so far.
pub(super) fn proxy(url: &WsUrl, elsewhere: Option<String>, is_proxied: bool, decides: bool) -> Step {
    let step = |state, text: &str| Step::new("proxy", Duration::ZERO, state, text);
    let named = match Proxies::from_env() {
        Ok(proxies) => proxies.are_for(url.uri()),
        Err(error) => {
            return step(State::Warning, &error.to_string()).fault(Fault::Settings, "correct that variable");
        }
    };
    match (elsewhere, named) {
        (Some(there), _) if !is_proxied => step(
            State::Ok,
            &format!("{there} is dialled, by the settings: the server's own address, or a proxy that was not reached"),
        ),
        (Some(used), true) => step(
            State::Ok,
            &format!("through {used}; the environment names one for this address"),
        ),
        (Some(used), false) => step(State::Ok, &format!("through {used}, by the settings")),
        (None, false) => step(State::Ok, "none; the environment names none for this address"),
        (None, true) if decides => step(State::Ok, "the environment names one; the connector decides"),
        (None, true) => step(State::Warning, "the environment names one, and it is not used")
            .fault(Fault::Settings, "use it, if there is no way without"),
    }
}

/// The addresses that the dial could choose from: the target's, or a proxy's. The guard lets them pass.
pub(super) fn candidates(trace: &[tower_ws_connector::Step]) -> Vec<SocketAddr> {
    let mut begun = None;
    for step in trace {
        match (&step.stage, begun) {
            (Stage::Begun { host, port }, _) => {
                if let Ok(ip) = host.parse::<IpAddr>() {
                    return vec![SocketAddr::new(ip, *port)];
                }
                begun = Some(*port);
            }
            (Stage::Resolved(addresses), Some(port)) => {
                return addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
            }
            _ => {}
        }
    }
    Vec::new()
}

/// TCP is up, to this address if the system says so. Are the others good, too?
pub(super) async fn reached(address: Option<SocketAddr>, took: Duration, all: Vec<SocketAddr>) -> Step {
    let text = address.map_or_else(|| "up".to_owned(), |address| address.to_string());
    let others = all.into_iter().filter(|other| Some(*other) != address);
    let tries = knock(others).await;
    let others: Vec<_> = std::iter::once(text)
        .chain(tries.iter().map(Knock::to_string))
        .collect();
    let text = others.join("; ");
    if tries.iter().all(|knock| knock.answer.is_ok()) {
        return Step::new("tcp", took, State::Ok, text);
    }
    Step::new("tcp", took, State::Warning, text).fault(
        Fault::Network,
        "one address does not work: dials that try it first take longer",
    )
}

/// TCP did not come up. What does each address say?
pub(super) async fn unreachable(mut step: Step, all: Vec<SocketAddr>) -> Step {
    let tries = knock(all.into_iter()).await;
    if tries.is_empty() {
        return step;
    }
    let each: Vec<_> = tries.iter().map(Knock::to_string).collect();
    step.text = each.join("; ");
    match tries.iter().any(|knock| knock.answer == Err(None)) {
        false => step.fault(
            Fault::Server,
            "nothing listens there: is the server running, and is this its port?",
        ),
        true => step.fault(
            Fault::Network,
            "packets vanish on the way: a firewall, a wrong address, or a proxy that has to be used",
        ),
    }
}

/// A connection that was tried.
struct Knock {
    address: SocketAddr,
    /// How long it took; or what went wrong, unless nothing came at all.
    answer: Result<Duration, Option<String>>,
}

/// Each address, at once.
async fn knock(addresses: impl Iterator<Item = SocketAddr>) -> Vec<Knock> {
    let tries = addresses.take(ADDRESSES).map(|address| async move {
        let start = Instant::now();
        let answer = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(start.elapsed()),
            Ok(Err(error)) => Err(Some(error.to_string())),
            Err(_) => Err(None),
        };
        Knock { address, answer }
    });
    join_all(tries).await
}

impl std::fmt::Display for Knock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.address)?;
        match &self.answer {
            Ok(took) => write!(f, " in {took:.1?}"),
            Err(Some(error)) => write!(f, ": {error}"),
            Err(None) => write!(f, ": no answer within {PATIENCE:?}"),
        }
    }
}
