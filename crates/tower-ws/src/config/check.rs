//! What a value may be. No I/O.

use std::time::Duration;

use tower_ws_connector::WsUrl;
use tower_ws_health::HealthLayer;

use super::{
    error::Problem,
    settings::{AuthScheme, Config},
};

/// All values that cannot be.
pub(crate) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut must = |holds: bool, path: &str, what: &str| {
        if !holds {
            problems.push(Problem::new(path, what));
        }
    };
    match &*config.url {
        "" => must(false, "url", "there is no address to connect to"),
        url => {
            if let Err(error) = WsUrl::parse(url) {
                must(false, "url", &error.to_string());
            }
        }
    }
    for (n, url) in config.fallbacks.iter().enumerate() {
        if let Err(error) = WsUrl::parse(url) {
            must(false, &format!("fallbacks[{n}]"), &error.to_string());
        }
    }
    for (name, value) in &config.headers {
        let path = format!("headers.{name}");
        must(
            name.parse::<http::HeaderName>().is_ok(),
            &path,
            "this is no name of a header",
        );
        must(
            value.parse::<http::HeaderValue>().is_ok(),
            &path,
            "a header cannot have this value",
        );
        let secret = ["authorization", "cookie", "proxy-authorization"].contains(&&*name.to_ascii_lowercase());
        must(
            !secret,
            &path,
            "a secret does not belong into the settings: say in `auth` where it is",
        );
    }
    let proxy = &config.connect.proxy;
    must(
        !proxy.contains('@'),
        "connect.proxy",
        "credentials do not belong into the settings: use `env`",
    );
    let pair = config.connect.client_cert.is_some() == config.connect.client_key.is_some();
    must(
        pair,
        "connect.client_cert",
        "a client certificate and its key go together",
    );
    let only = !config.connect.only_roots || config.connect.roots.is_some();
    must(
        only,
        "connect.only_roots",
        "then there have to be `roots`, or nobody is trusted",
    );
    let auth = &config.auth;
    let named = auth.scheme == AuthScheme::Bearer || !auth.name.is_empty();
    must(
        named,
        "auth.name",
        "this scheme needs a name: of the header, or of the user",
    );
    if auth.scheme == AuthScheme::Header {
        must(
            auth.name.parse::<http::HeaderName>().is_ok(),
            "auth.name",
            "this is no name of a header",
        );
    }
    let some = |time: Duration| time > Duration::ZERO;
    let transport = &config.transport;
    must(
        some(transport.timeout),
        "transport.timeout",
        "no dial would ever succeed",
    );
    must(
        some(transport.write_timeout),
        "transport.write_timeout",
        "each connection would end at once",
    );
    must(
        transport.message_in > 0,
        "transport.message_in",
        "nothing could come in",
    );
    must(
        transport.message_out > 0,
        "transport.message_out",
        "nothing could go out",
    );
    let reconnect = &config.reconnect;
    must(
        some(reconnect.base),
        "reconnect.base",
        "it has to be more than nothing, to grow",
    );
    must(
        reconnect.cap >= reconnect.base,
        "reconnect.cap",
        "it is less than `reconnect.base`",
    );
    let range = HealthLayer::MIN_INTERVAL..=HealthLayer::MAX_INTERVAL;
    must(
        range.contains(&config.health.interval),
        "health.interval",
        "it has to be from 10ms to a year",
    );
    must(
        range.contains(&config.health.timeout),
        "health.timeout",
        "it has to be from 10ms to a year",
    );
    let bytes = u32::try_from(config.rate_limit.bytes_per_second).is_ok();
    must(bytes, "rate_limit.bytes_per_second", "it has to be less than 4GiB");
    must(config.ack.messages > 0, "ack.messages", "nothing could be sent");
    must(config.ack.bytes > 0, "ack.bytes", "nothing could be sent");
    must(config.queue.messages > 0, "queue.messages", "nothing could be sent");
    must(config.queue.bytes > 0, "queue.bytes", "nothing could be sent");
    must(some(config.queue.age), "queue.age", "nothing could be sent");
    must(config.client.max_calls > 0, "client.max_calls", "no call could be made");
    must(
        some(config.client.timeout),
        "client.timeout",
        "no call could be answered in time",
    );
    must(config.client.inbound > 0, "client.inbound", "nothing could be told");
    problems
}
