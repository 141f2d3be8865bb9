//! HTTP CONNECT: [RFC 9110, section 9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6).
//!
//! Not hyper-util's `Tunnel`: it takes port 443 for a `ws` URL without a port, tells no status but
//! 407, and loses what comes behind the answer.

use http::{
    HeaderValue, Request,
    header::{HOST, PROXY_AUTHORIZATION},
};
use http_body_util::Empty;
use hyper::rt;

use super::{ProxyError, Target};
use crate::http1::{Http1, retry_after};

/// Asks the proxy at the other end of `io` for a tunnel.
///
/// The head of its answer is bounded as that of an upgrade is: 16 KiB, 100 headers.
pub(super) async fn tunnel<IO>(io: IO, target: &Target, authorization: Option<&HeaderValue>) -> Result<IO, ProxyError>
where
    IO: rt::Read + rt::Write + Unpin + Send + 'static,
{
    let mut request = Request::connect(target.to_string()).header(HOST, target.to_string());
    if let Some(authorization) = authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    // The target was a URL's host and port: it is always valid here.
    let request = request
        .body(Empty::new())
        .map_err(|error| ProxyError::Broken(error.into()))?;

    let (mut http, answer) = Http1::send(io, request).await.map_err(exchange)?;
    let answer = http.drive(answer).await.map_err(exchange)?;
    if !answer.status().is_success() {
        return Err(ProxyError::Refused {
            status: answer.status(),
            retry_after: retry_after(answer.headers()),
        });
    }
    let (io, early) = http.into_io().await.map_err(exchange)?;
    // Whoever is beyond the tunnel waits for this side to speak first, in TLS as in HTTP.
    if early.is_empty() {
        Ok(io)
    } else {
        Err(ProxyError::Garbled)
    }
}

fn exchange(error: hyper::Error) -> ProxyError {
    if error.is_parse() {
        ProxyError::Garbled
    } else {
        ProxyError::Broken(error.into())
    }
}
