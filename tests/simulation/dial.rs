//! How the client reaches the server: a connector over the simulated network, and a token.

use std::{
    io,
    time::{Duration, SystemTime},
};

use hyper_util::rt::TokioIo;
use tower::{Service, service_fn};
use tower_ws::{
    auth::{AuthLayer, Credential, Credentials},
    core::Clock,
};
use turmoil::net::TcpStream;

use crate::{server::PORT, world::World};

pub(crate) const URL: &str = "ws://server/";
pub(crate) const STANDBY_URL: &str = "ws://standby/";

/// Dials, and writes down when.
pub(crate) fn connector(
    world: &World,
) -> impl Service<http::Uri, Response = TokioIo<TcpStream>, Error = io::Error, Future: Send + 'static> + Clone + Send + 'static
{
    let world = world.clone();
    service_fn(move |uri: http::Uri| {
        world.open().dials.push(turmoil::elapsed());
        async move {
            TcpStream::connect((uri.host().unwrap_or_default(), PORT))
                .await
                .map(TokioIo::new)
        }
    })
}

/// The clock on the wall of the client's machine.
#[derive(Debug)]
pub(crate) struct Wall(pub(crate) World);

impl Clock for Wall {
    fn now(&self) -> SystemTime {
        let right = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) + turmoil::elapsed();
        let wrong = self.0.open().clock;
        let by = Duration::from_secs(wrong.unsigned_abs());
        if wrong < 0 { right - by } else { right + by }
    }
}

/// Shows the token that is good when it is asked for.
pub(crate) fn auth(world: &World) -> AuthLayer {
    let world = world.clone();
    let credentials = Credentials::new(move || {
        let token = world.open().token.to_string();
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(Credential::new(token))
        }
    });
    AuthLayer::bearer(credentials).allow_plaintext()
}
