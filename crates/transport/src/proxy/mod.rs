//! Proxies: HTTP CONNECT and SOCKS5.
//!
//! PLACEHOLDER

mod bypass;
mod connect;
mod error;
mod resolve;
mod server;
mod service;
mod settings;
mod socks;
mod target;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
pub use self::tls::{ProxiedConnector, connector, connector_with};
use self::{bypass::Bypass, server::Server, target::Target};
pub use self::{
    error::ProxyError,
    resolve::Resolve,
    service::{Proxied, ProxyLayer, Proxying},
    settings::{Proxies, ProxySettingError},
    socks::Reply,
};
