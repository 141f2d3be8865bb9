//! A tower layer that shows credentials when a connection is opened, and gets new ones in time.
//!
//! [`AuthLayer`] puts a credential into each handshake; [`LoginLayer`] shows it in band, in a
//! dialogue that opens each connection. Both take it from [`Credentials`]: fetched once for each endpoint
//! however many ask, kept, renewed before it expires, and thrown away when a server refuses it.
//!
//! # Where it stands
//!
//! Below reconnect, right above the transport: each dial shows the credential of its time. What
//! waits in a queue, or is to be sent again, waits until the connection is up, and that is after
//! the handshake and the dialogue. Above reconnect a token would be fetched once, and be wrong an
//! hour later. Without this layer, headers that never change can be set on the request.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_auth::{AuthLayer, Credentials};
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_transport::TransportLayer;
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//!
//! let connect = ServiceBuilder::new()
//!     // Redials once after a 401, and gives up after the second.
//!     .layer(ReconnectLayer::new())
//!     .layer(AuthLayer::bearer(Credentials::fixed("s3cr3t")))
//!     .layer(TransportLayer::new())
//!     .service(tcp_connector());
//! let _session = connect.oneshot(Request::get(url).body(())?).await?;
//! # Ok(()) }
//! ```
//!
//! Configured, with tokens that expire, and with a login in band:
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use tower_ws_auth::{AuthLayer, Credential, Credentials, LoginLayer, IssuedCredential};
//! use tower_ws_core::{Failure, FailureKind, OpeningContext};
//!
//! # async fn ask_the_token_endpoint() -> Result<String, tower_ws_core::BoxError> { Ok(String::new()) }
//! let credentials = Credentials::new(|| async {
//!     let token = ask_the_token_endpoint().await?;
//!     Ok(Credential::new(token).expires(SystemTime::now() + Duration::from_secs(3600)))
//! })
//! .ahead(Duration::from_secs(300))
//! .deadline(Duration::from_secs(5));
//!
//! let in_the_handshake = AuthLayer::query("access_token", credentials.clone());
//! let in_band = LoginLayer::new(credentials, |mut talk: OpeningContext<String>, shown: IssuedCredential| async move {
//!     talk.send(format!("login {}", shown.secret())).await?;
//!     match talk.recv().await?.as_str() {
//!         "welcome" => Ok(talk),
//!         _ => Err(Failure::new(FailureKind::Auth, "the server did not take the credential")),
//!     }
//! });
//! ```
//!
//! # Schemes
//!
//! | | where the secret goes |
//! |---|---|
//! | [`AuthLayer::bearer`] | `authorization: Bearer …` |
//! | [`AuthLayer::basic`] | `authorization: Basic …`, with a user's name |
//! | [`AuthLayer::header`] | a header of the server's choice |
//! | [`AuthLayer::query`] | a parameter of the query |
//! | [`AuthLayer::signed`] | nowhere: it signs the address, by a function of yours |
//! | [`AuthLayer::subprotocol`] | one more subprotocol that is offered |
//! | [`LoginLayer`] | messages of your protocol |
//!
//! # What happens when a credential is refused
//!
//! Whether it was refused, the [disposition](tower_ws_core::Disposition) of the failure says: by
//! default HTTP 401, close codes 3000 and 4401, and whatever a dialogue calls
//! [`Auth`](tower_ws_core::FailureKind::Auth). For a protocol with other codes, give [the
//! table](Credentials::dispositions) that reconnect has. Then the credential is thrown away, and
//! reconnect dials once more, with a new one. Sessions that share [`Credentials`] throw it away
//! once: a refusal of the old one does not touch the new one.
//!
//! With several endpoints (`FailoverLayer`) each has a credential of its own: what one refuses is still
//! shown to the others. Whether they get the same secret is up to the provider: see
//! [`Credentials::per_endpoint`].
//!
//! ## Why did my client stop after two refusals?
//!
//! Because the second was of a credential that had just been fetched. What a server does not take
//! twice it will not take a third time, and an account may be locked by trying. The session ends
//! with the refusal as its cause. One that has been up before waits some minutes for the server, or
//! for your provider to return another: see "When a refusal is final" in `tower-ws-reconnect`.
//!
//! ## Why is the provider not asked again at once?
//!
//! Because it has just failed, and a thousand clients of a token endpoint that is down are what
//! keeps it down. It is left alone for a second, doubled with each failure up to 30 s. Dials fail
//! meanwhile, and reconnect backs off.
//!
//! # Secrets
//!
//! They are wiped from memory when they are dropped, as far as they are in our hands. Header values
//! are marked as sensitive. No `Debug`, error or log event has one. Over `ws` they are shown to
//! this machine only, unless [allowed](AuthLayer::allow_plaintext): to `localhost` and loopback
//! addresses, also by an address that [`AuthLayer::signed`] returns. This crate sees no more than the
//! URL. That it leads to this machine, and not to another that `localhost` resolves to or through a
//! proxy, the guard of `tower-ws-connector` sees to, unless it is turned off (`Profile::unguarded`) or
//! left out.
//!
//! # What it does not do
//!
//! - It does not dial: reconnect does, and decides whether to.
//! - It does not speak OAuth: a [`Provider`] does.
//! - It does not renew a credential on a connection that is up: a server that wants that says so in
//!   its own protocol. A connection that the server ends because of it (4401) is opened anew with a
//!   new one.
//! - It does not renew in the background while nobody dials: whoever asks a minute before the end
//!   starts it.
//!
//! # Logs
//!
//! `DEBUG` when a credential was fetched; `WARN` when it could not be, with `failure`; `INFO` when
//! one was refused, with its `generation`, a number.

mod cache;
mod connection;
mod credential;
mod credentials;
mod endpoints;
mod error;
mod layer;
mod login;
mod scheme;
mod service;

pub use self::{
    connection::AuthConnection,
    credential::{Credential, Provider},
    credentials::{Credentials, IssuedCredential},
    error::SchemeError,
    layer::AuthLayer,
    login::{Login, LoginDialogue, LoginLayer},
    service::{Auth, AuthFuture},
};
