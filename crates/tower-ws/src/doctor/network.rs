//! What is below the dial: the address, proxies, names, TCP.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tower_ws_connector::{UrlError, WsUrl, guard::Profile, proxy::Proxies};
use tower_ws_core::FailureKind;

use super::report::{Fault, State, Step};

const PATIENCE: Duration = Duration::from_secs(5);

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

pub(super) fn proxy(url: &WsUrl, is_direct: bool) -> Step {
    let step = |state, text: &str| Step::new("proxy", Duration::ZERO, state, text);
    match Proxies::from_env() {
        Err(error) => step(State::Warning, &error.to_string()).fault(Fault::Settings, "correct that variable"),
        Ok(proxies) if !proxies.are_for(url.uri()) => step(State::Ok, "the environment names none for this address"),
        Ok(_) if is_direct => step(State::Warning, "the environment names one, and it is not used").fault(
            Fault::Settings,
            "use it by `proxy_from_env`, if there is no way without",
        ),
        Ok(_) => step(State::Ok, "the environment names one; the connector decides"),
    }
}

/// The addresses of the host that may be dialled, and how they were found.
pub(super) async fn dns(url: &WsUrl, may_connect: bool) -> (Vec<SocketAddr>, Step) {
    let skipped = |text| Step::new("dns", Duration::ZERO, State::Skipped, text);
    if !may_connect {
        return (
            Vec::new(),
            skipped("the dial says what there is to say: the connector is your own, or the guard refuses"),
        );
    }
    let host = url.host().trim_matches(['[', ']']);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return (vec![SocketAddr::new(ip, url.port())], skipped("it is an address"));
    }
    let start = Instant::now();
    let found = timeout(PATIENCE, lookup_host((host, url.port()))).await;
    let took = start.elapsed();
    let (addresses, kind, text): (Vec<_>, _, _) = match found {
        Ok(Ok(addresses)) => (addresses.collect(), FailureKind::Dns, format!("{host} has no address")),
        Ok(Err(error)) => (
            Vec::new(),
            FailureKind::Dns,
            format!("{host} could not be resolved: {error}"),
        ),
        Err(_) => (
            Vec::new(),
            FailureKind::Timeout,
            format!("no answer about {host} within {PATIENCE:?}"),
        ),
    };
    if addresses.is_empty() {
        let step = Step::failed("dns", took, kind, text);
        return (
            addresses,
            step.fault(Fault::Names, "look at the name, and at this machine's resolver"),
        );
    }
    let all: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let step = Step::new("dns", took, State::Ok, format!("{host} is {}", all.join(", ")));
    // As the default connector judges them.
    let guard = Profile::operator();
    let allowed = addresses
        .into_iter()
        .filter(|address| guard.check(address.ip()).is_ok());
    (allowed.collect(), step)
}

/// Each address, at once.
pub(super) async fn tcp(addresses: &[SocketAddr]) -> Step {
    if addresses.is_empty() {
        return Step::new("tcp", Duration::ZERO, State::Skipped, "there is no address to try");
    }
    let start = Instant::now();
    let tries = addresses.iter().map(|address| async move {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => (true, false, format!("{address} in {:.1?}", start.elapsed())),
            Ok(Err(error)) => (false, false, format!("{address}: {error}")),
            Err(_) => (false, true, format!("{address}: no answer within {PATIENCE:?}")),
        }
    });
    let tries = join_all(tries).await;
    let works = tries.iter().filter(|(works, ..)| *works).count();
    let silent = tries.iter().any(|(_, silent, _)| *silent);
    let text: Vec<_> = tries.into_iter().map(|(.., text)| text).collect();
    let (took, text) = (start.elapsed(), text.join("; "));
    match (works, silent) {
        (0, false) => Step::failed("tcp", took, FailureKind::Network, text).fault(
            Fault::Server,
            "nothing listens there: is the server running, and is this its port?",
        ),
        (0, true) => Step::failed("tcp", took, FailureKind::Timeout, text).fault(
            Fault::Network,
            "packets vanish on the way: a firewall, a wrong address, or a proxy that has to be used",
        ),
        (all, _) if all == addresses.len() => Step::new("tcp", took, State::Ok, text),
        _ => Step::new("tcp", took, State::Warning, text).fault(
            Fault::Network,
            "one address does not work: dials that try it first take longer",
        ),
    }
}
