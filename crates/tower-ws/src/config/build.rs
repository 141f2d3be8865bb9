//! From settings to a builder.

use std::{borrow::Cow, num::NonZeroU32};

use tower_ws_ack::{AckLayer, JsonRpc};
use tower_ws_auth::AuthLayer;
use tower_ws_client::Lag;
use tower_ws_connector::{
    Connect,
    guard::Profile,
    proxy::Proxies,
    tls::{Tls, TlsFiles},
};
use tower_ws_core::{Deadlines, DispositionTable};
use tower_ws_queue::Overflow;
use tower_ws_rate_limit::{Quota, RateLimitLayer};
use tower_ws_reconnect::Backoff;
use tower_ws_transport::{JsonText, Limits};

use super::{
    check::check,
    error::{ConfigError, Problem},
    settings::{AuthScheme, Config, ConnectSettings, FailureTable, GuardProfile, WhenBehind, WhenFull},
};
use crate::builder::Builder;

impl Config {
    /// The [builder](crate::builder()) of a session with these settings. What is code is added to it.
    ///
    /// # Errors
    ///
    /// What is wrong, also with the files that the settings name, which are read here: certificates,
    /// keys.
    pub fn builder(&self) -> Result<Builder, ConfigError> {
        self.apply(crate::builder(&self.url), JsonRpc::new(JsonText))
    }

    /// The same for MCP. `client` is what the server is told of this side.
    ///
    /// # Errors
    ///
    /// As [`builder`](Self::builder).
    #[cfg(feature = "mcp")]
    pub fn mcp(&self, client: crate::mcp::Implementation) -> Result<crate::mcp::McpBuilder, ConfigError> {
        crate::mcp::builder(&self.url, client).try_stack(|stack| self.apply(stack, crate::mcp::ack_strategy(JsonText)))
    }

    /// By these settings; the strategy is that of the layer which sends again.
    fn apply(&self, mut builder: Builder, strategy: JsonRpc<JsonText>) -> Result<Builder, ConfigError> {
        let problems = check(self);
        if !problems.is_empty() {
            return Err(ConfigError::new(problems));
        }
        for url in &self.fallbacks {
            builder = builder.fallback(url);
        }
        if !self.name.is_empty() {
            builder = builder.name(&self.name);
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        let transport = &self.transport;
        let limits = Limits::default()
            .message_in(transport.message_in)
            .message_out(transport.message_out)
            .message_time(transport.message_time);
        let deadlines = Deadlines::default()
            .write(Some(transport.write_timeout))
            .close(transport.close_timeout);
        builder.transport = builder
            .transport
            .timeout(transport.timeout)
            .limits(limits)
            .deadlines(deadlines);
        if !transport.subprotocols.is_empty() {
            builder.transport = builder.transport.subprotocols(transport.subprotocols.iter().cloned());
        }
        builder = self
            .connect(builder)
            .map_err(|problem| ConfigError::new(vec![problem]))?;
        builder = self.auth(builder);

        let reconnect = &self.reconnect;
        let backoff = Backoff::default()
            .base(reconnect.base)
            .cap(reconnect.cap)
            .first_within(reconnect.first_within);
        let layer = builder.layers.reconnect.policy(match reconnect.max_outage {
            Some(most) => backoff.max_outage(most),
            None => backoff,
        });
        builder.layers.reconnect = layer
            .healthy_after(reconnect.healthy_after)
            .refusals_final_after(reconnect.refusals_final_after);
        if reconnect.fail_fast {
            builder.layers.reconnect = builder.layers.reconnect.fail_fast();
        }
        builder = match reconnect.dispositions {
            FailureTable::Protocol => builder,
            FailureTable::Mcp => builder.dispositions(DispositionTable::mcp()),
            FailureTable::GraphqlWs => builder.dispositions(DispositionTable::graphql_ws()),
            FailureTable::Centrifuge => builder.dispositions(DispositionTable::centrifuge()),
        };
        builder.failover = builder.failover.cool_down(self.failover.cool_down);
        builder.layers.health = builder
            .layers
            .health
            .interval(self.health.interval)
            .timeout(self.health.timeout);
        builder = self.rate_limit(builder);
        let safe = self.ack.safe_methods.iter().cloned().map(Cow::Owned);
        let safe = JsonRpc::SAFE_METHODS.into_iter().map(Cow::Borrowed).chain(safe);
        builder = builder.ack(AckLayer::new(strategy.safe_methods(safe)));
        builder.layers.ack = builder.layers.ack.window(self.ack.messages, self.ack.bytes);
        let queue = builder
            .layers
            .queue
            .messages(self.queue.messages)
            .bytes(self.queue.bytes);
        builder.layers.queue = queue.age(self.queue.age).overflow(match self.queue.overflow {
            WhenFull::Wait => Overflow::Wait,
            WhenFull::Refuse => Overflow::Refuse,
            WhenFull::DropOldest => Overflow::DropOldest,
        });
        let client = builder
            .layers
            .client
            .max_calls(self.client.max_calls)
            .timeout(self.client.timeout);
        builder.layers.client = client.inbound(
            self.client.inbound,
            match self.client.lag {
                WhenBehind::DropOldest => Lag::DropOldest,
                WhenBehind::Wait => Lag::Wait,
                WhenBehind::Close => Lag::Close,
            },
        );
        Ok(builder)
    }

    fn connect(&self, builder: Builder) -> Result<Builder, Problem> {
        let settings = &self.connect;
        if *settings == ConnectSettings::default() {
            return Ok(builder);
        }
        let mut profile = match settings.guard {
            GuardProfile::Operator => Profile::operator(),
            GuardProfile::Untrusted => Profile::untrusted(),
            GuardProfile::Unguarded => Profile::unguarded(),
        };
        if settings.allow_plaintext {
            profile = profile.allow_plaintext();
        }
        for host in &settings.allow_hosts {
            profile = profile.allow_host(host);
        }
        let mut connect = Connect::new().guard(profile);
        let mut files = TlsFiles::new();
        if let Some(path) = &settings.roots {
            files = match settings.only_roots {
                true => files.only_roots(path),
                false => files.roots(path),
            };
        }
        if let (Some(chain), Some(key)) = (&settings.client_cert, &settings.client_key) {
            files = files.client_cert(chain, key);
        }
        if settings.system_roots {
            files = files.base(system_roots()?);
        }
        if settings.roots.is_some() || settings.client_cert.is_some() || settings.system_roots {
            let read = connect.tls_files(files);
            connect = read.map_err(|error| Problem::new("connect", error.to_string()))?;
        }
        let proxies = match &*settings.proxy {
            "none" => return Ok(builder.connector(connect.connector())),
            "env" => Proxies::from_env(),
            url => Proxies::all(url),
        };
        let proxies = proxies.map_err(|error| Problem::new("connect.proxy", error.to_string()))?;
        Ok(builder.connector(connect.through(proxies)))
    }

    fn auth(&self, builder: Builder) -> Builder {
        let Some(secret) = &self.auth.secret else {
            return builder;
        };
        let credentials = secret.credentials();
        let layer = match (self.auth.scheme, self.auth.name.parse()) {
            (AuthScheme::Basic, _) => AuthLayer::basic(&self.auth.name, credentials),
            (AuthScheme::Header, Ok(name)) => AuthLayer::header(name, credentials),
            _ => AuthLayer::bearer(credentials),
        };
        builder.auth(match self.auth.allow_plaintext {
            true => layer.allow_plaintext(),
            false => layer,
        })
    }

    fn rate_limit(&self, builder: Builder) -> Builder {
        let settings = &self.rate_limit;
        let dials = NonZeroU32::new(settings.dials_per_minute);
        let messages = NonZeroU32::new(settings.messages_per_second);
        let bytes = u32::try_from(settings.bytes_per_second).ok().and_then(NonZeroU32::new);
        if (dials, messages, bytes) == (None, None, None) {
            return builder;
        }
        let mut layer = RateLimitLayer::new();
        if let Some(most) = dials {
            layer = layer.dials(Quota::per_minute(most));
        }
        if let Some(most) = messages {
            layer = layer.messages(Quota::per_second(most));
        }
        if let Some(most) = bytes {
            layer = layer.bytes(Quota::per_second(most));
        }
        builder.rate_limit(layer)
    }
}

#[cfg(feature = "platform-roots")]
fn system_roots() -> Result<Tls, Problem> {
    Tls::new()
        .with_platform_roots()
        .map_err(|error| Problem::new("connect.system_roots", error.to_string()))
}

#[cfg(not(feature = "platform-roots"))]
fn system_roots() -> Result<Tls, Problem> {
    let problem = Problem::new("connect.system_roots", "this program was built without them");
    Err(problem.help("build it with the feature `platform-roots`, or say `connect.roots`"))
}
