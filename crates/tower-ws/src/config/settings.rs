//! Each setting, with its unit and its default.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tower_ws_ack::AckLayer;
use tower_ws_client::ClientLayer;
use tower_ws_core::Deadlines;
use tower_ws_health::HealthLayer;
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::{Backoff, FailoverLayer, ReconnectLayer};
use tower_ws_transport::{Limits, UpgradeLayer};

use super::{
    secret::Secret,
    units::{flag, maybe_time, number, size, time},
};

type Ack = AckLayer<()>;
type Client = ClientLayer<()>;
type Queue = QueueLayer;

/// A struct of settings whose `Default` is given field by field.
macro_rules! settings {
    (
        $(#[$about:meta])*
        $name:ident {
            $($(#[$field_about:meta])* $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Deserialize, PartialEq, Serialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_about])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

settings! {
    /// All settings of a session. See the [module](super).
    Config {
        /// Where to connect to: `ws://…` or `wss://…`.
        url: String = String::new(),
        /// Further endpoints of the same service, dialled when those before fail. Default: none.
        fallbacks: Vec<String> = Vec::new(),
        /// The name of the session in logs and metrics. Default: none.
        name: String = String::new(),
        /// Headers of each handshake. Secrets do not belong here: see `auth`. Default: none.
        headers: BTreeMap<String, String> = BTreeMap::new(),
        /// What speaks WebSocket.
        transport: TransportSettings = Default::default(),
        /// What dials.
        connect: ConnectSettings = Default::default(),
        /// Who we are.
        auth: AuthSettings = Default::default(),
        /// What follows when a connection is lost.
        reconnect: ReconnectSettings = Default::default(),
        /// How endpoints are chosen, if there are fallbacks.
        failover: FailoverSettings = Default::default(),
        /// How dead peers are noticed.
        health: HealthSettings = Default::default(),
        /// What is held back.
        rate_limit: RateLimitSettings = Default::default(),
        /// What is sent again.
        ack: AckSettings = Default::default(),
        /// What is held while the link is down or slow.
        queue: QueueSettings = Default::default(),
        /// Calls, and what the server says of its own accord.
        client: ClientSettings = Default::default(),
    }
}

settings! {
    /// What speaks WebSocket.
    #[derive(Debug)]
    TransportSettings {
        /// How long one dial may take in all. Default 10 s.
        #[serde(with = "time")]
        timeout: Duration = UpgradeLayer::TIMEOUT,
        /// Offered in the handshake, the preferred one first; the server has to choose one. Default: none.
        subprotocols: Vec<String> = Vec::new(),
        /// The largest message that may come in, in bytes. Default 16 MiB.
        #[serde(with = "size")]
        message_in: usize = Limits::MESSAGE,
        /// The largest message that may go out, in bytes. Default 16 MiB.
        #[serde(with = "size")]
        message_out: usize = Limits::MESSAGE,
        /// How long one message may take to come in. Default 10 min.
        #[serde(with = "time")]
        message_time: Duration = Limits::MESSAGE_TIME,
        /// How long the socket may take nothing of what is to go out. Default 20 s.
        #[serde(with = "time")]
        write_timeout: Duration = Deadlines::WRITE,
        /// How long the answer to a closing frame is waited for. Default 5 s.
        #[serde(with = "time")]
        close_timeout: Duration = Deadlines::CLOSE,
    }
}

settings! {
    /// What dials.
    ConnectSettings {
        /// `"none"`, `"env"` (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) or a proxy's URL. Default `"none"`.
        proxy: String = "none".into(),
        /// What may be dialled. Default `"operator"`.
        guard: GuardProfile = GuardProfile::Operator,
        /// Whether `ws` may go to another machine than this. Default false.
        #[serde(deserialize_with = "flag::deserialize")]
        allow_plaintext: bool = false,
        /// Hosts that may be dialled whatever the guard says of their addresses. Default: none.
        allow_hosts: Vec<String> = Vec::new(),
        /// A PEM file of authorities, one or more, that are trusted besides those of Mozilla. Default: none.
        roots: Option<PathBuf> = None,
        /// Whether those are the only ones. Default false.
        #[serde(deserialize_with = "flag::deserialize")]
        only_roots: bool = false,
        /// Whether the authorities count that the operating system trusts, besides those of Mozilla. Needs the feature
        /// `platform-roots`. Default false.
        #[serde(deserialize_with = "flag::deserialize")]
        system_roots: bool = false,
        /// The PEM file of a client certificate, with its chain. Default: none.
        client_cert: Option<PathBuf> = None,
        /// The PEM file of its key. Default: none.
        client_key: Option<PathBuf> = None,
    }
}

/// What may be dialled; see the [guard](tower_ws_connector::guard).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardProfile {
    /// A URL that the operator chose.
    #[default]
    Operator,
    /// A URL that somebody else may have chosen.
    Untrusted,
    /// Anything.
    Unguarded,
}

settings! {
    /// Who we are.
    #[derive(Debug)]
    AuthSettings {
        /// Where the secret is: `{ env = "TOKEN" }`, `{ file = "/run/secrets/token" }` or
        /// `{ command = ["corp-login", "--print"] }`. Default: none, and nothing is shown.
        secret: Option<Secret> = None,
        /// How it is shown. Default `"bearer"`.
        scheme: AuthScheme = AuthScheme::Bearer,
        /// The name of the header, where the scheme is `"header"`, or of the user, where it is `"basic"`.
        name: String = String::new(),
        /// Whether it may be shown without TLS to another machine than this. Default false.
        #[serde(deserialize_with = "flag::deserialize")]
        allow_plaintext: bool = false,
    }
}

/// How a secret is shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthScheme {
    /// `Authorization: Bearer …`
    #[default]
    Bearer,
    /// `Authorization: Basic …`
    Basic,
    /// In a header of its own.
    Header,
}

settings! {
    /// What follows when a connection is lost.
    #[derive(Debug)]
    ReconnectSettings {
        /// The first step of the backoff, doubled with each. Default 1 s.
        #[serde(with = "time")]
        base: Duration = Backoff::BASE,
        /// The longest step. Default 30 s.
        #[serde(with = "time")]
        cap: Duration = Backoff::CAP,
        /// After a healthy connection the first dial comes within this. Default 1 s.
        #[serde(with = "time")]
        first_within: Duration = Backoff::FIRST_WITHIN,
        /// How long an outage may last before the session ends, or `"never"`. Default never.
        #[serde(with = "maybe_time")]
        max_outage: Option<Duration> = None,
        /// How long a connection has to last to count as healthy. Default 5 s.
        #[serde(with = "time")]
        healthy_after: Duration = ReconnectLayer::<Backoff>::HEALTHY_AFTER,
        /// How long refusals have to last before they end a session that was up. Default 10 min.
        #[serde(with = "time")]
        refusals_final_after: Duration = ReconnectLayer::<Backoff>::REFUSALS_FINAL_AFTER,
        /// What failures mean. Default `"protocol"`.
        dispositions: FailureTable = FailureTable::Protocol,
        /// Whether the first dial that fails ends the attempt. Default false.
        #[serde(deserialize_with = "flag::deserialize")]
        fail_fast: bool = false,
    }
}

/// What failures mean: which are final; see [`DispositionTable`](tower_ws_core::DispositionTable).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureTable {
    /// What they do in the protocol of the session: that of MCP in one with MCP, the general one otherwise.
    #[default]
    Protocol,
    /// As MCP has them.
    Mcp,
    /// As the subprotocol `graphql-transport-ws` has them.
    GraphqlWs,
    /// As Centrifuge has them.
    Centrifuge,
}

settings! {
    /// How endpoints are chosen, if there are fallbacks.
    #[derive(Debug)]
    FailoverSettings {
        /// How long an endpoint that failed is passed over. Default 30 s.
        #[serde(with = "time")]
        cool_down: Duration = FailoverLayer::COOL_DOWN,
    }
}

settings! {
    /// How dead peers are noticed.
    #[derive(Debug)]
    HealthSettings {
        /// After so long without a byte the peer is asked. 10 ms to a year. Default 20 s.
        #[serde(with = "time")]
        interval: Duration = HealthLayer::INTERVAL,
        /// How long it may take to answer. 10 ms to a year. Default 20 s.
        #[serde(with = "time")]
        timeout: Duration = HealthLayer::TIMEOUT,
    }
}

settings! {
    /// What is held back; 0 is nothing.
    #[derive(Debug)]
    RateLimitSettings {
        /// Dials in a minute. Default 0: no limit.
        #[serde(deserialize_with = "number::deserialize")]
        dials_per_minute: u32 = 0,
        /// Messages out in a second. Default 0: no limit.
        #[serde(deserialize_with = "number::deserialize")]
        messages_per_second: u32 = 0,
        /// Bytes out in a second. Default 0: no limit.
        #[serde(with = "size")]
        bytes_per_second: usize = 0,
    }
}

settings! {
    /// What is sent again.
    #[derive(Debug)]
    AckSettings {
        /// How many messages may await an answer. Default 4,096.
        #[serde(deserialize_with = "number::deserialize")]
        messages: usize = Ack::MESSAGES,
        /// Their size, in bytes. Default 16 MiB.
        #[serde(with = "size")]
        bytes: usize = Ack::BYTES,
        /// The methods that the server may see twice, beside those of MCP that read. Default: none.
        safe_methods: Vec<String> = Vec::new(),
    }
}

settings! {
    /// What is held while the link is down or slow.
    #[derive(Debug)]
    QueueSettings {
        /// How many messages. Default 1,024.
        #[serde(deserialize_with = "number::deserialize")]
        messages: usize = Queue::MESSAGES,
        /// Their size, in bytes. Default 8 MiB.
        #[serde(with = "size")]
        bytes: usize = Queue::BYTES,
        /// How long. Default 60 s.
        #[serde(with = "time")]
        age: Duration = Queue::AGE,
        /// What happens when there is no room. Default `"wait"`.
        overflow: WhenFull = WhenFull::Wait,
    }
}

/// What happens to a message that finds the queue full.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Whoever sends waits.
    #[default]
    Wait,
    /// It comes back.
    Refuse,
    /// The oldest comes back.
    DropOldest,
}

settings! {
    /// Calls, and what the server says of its own accord.
    #[derive(Debug)]
    ClientSettings {
        /// How many calls there may be at a time. Default 4,096.
        #[serde(deserialize_with = "number::deserialize")]
        max_calls: usize = Client::MAX_CALLS,
        /// How long a call may take, waiting included. Default 60 s.
        #[serde(with = "time")]
        timeout: Duration = Client::TIMEOUT,
        /// How many pushes wait to be read. Default 256.
        #[serde(deserialize_with = "number::deserialize")]
        inbound: usize = Client::INBOUND,
        /// What happens when there are as many. Default `"drop-oldest"`.
        lag: WhenBehind = WhenBehind::DropOldest,
    }
}

/// What happens when pushes are not read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenBehind {
    /// The oldest is dropped, and a gap says so.
    #[default]
    DropOldest,
    /// Nothing more is read from the peer.
    Wait,
    /// The session ends.
    Close,
}

impl fmt::Debug for ConnectSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the proxy, whose URL may hold a password.
        f.debug_struct("ConnectSettings")
            .field("guard", &self.guard)
            .field("allow_plaintext", &self.allow_plaintext)
            .field("roots", &self.roots)
            .field("only_roots", &self.only_roots)
            .field("system_roots", &self.system_roots)
            .field("client_cert", &self.client_cert)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither addresses nor the values of headers: both may hold secrets.
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("fallbacks", &self.fallbacks.len())
            .field("headers", &self.headers.keys())
            .field("transport", &self.transport)
            .field("connect", &self.connect)
            .field("auth", &self.auth)
            .field("reconnect", &self.reconnect)
            .field("failover", &self.failover)
            .field("health", &self.health)
            .field("rate_limit", &self.rate_limit)
            .field("ack", &self.ack)
            .field("queue", &self.queue)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
