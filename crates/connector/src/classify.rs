use std::io;

use tower_ws_core::{BoxError, Failure, FailureKind, chain, find};

/// Classifies what went wrong on the way to `target`, which is shown in the text: scheme, host and
/// port, and no more.
///
/// For who dials by one of these connectors, or by one of their own. What a layer below has
/// classified already (the resolver, a guard, a proxy) stays as it is. TLS hides two errors deep in
/// [`io::Error`]s, which do not show what they hold as their source; they are found. What is not
/// recognised at all is [`Local`](FailureKind::Local).
pub fn classify(error: BoxError, target: &str) -> Failure {
    if let Some(failure) = find::<Failure>(&*error) {
        return failure.clone();
    }
    #[cfg(feature = "tls")]
    let error = match crate::tls::classify(error) {
        Ok(failure) => return failure,
        Err(error) => error,
    };
    // The innermost says most: those around it are of the kind `Other`.
    let Some(io) = chain(&*error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .last()
    else {
        return Failure::of(error);
    };
    let (kind, what) = match io.kind() {
        io::ErrorKind::ConnectionRefused => (FailureKind::Network, "refused the connection"),
        io::ErrorKind::ConnectionReset => (FailureKind::Network, "reset the connection"),
        io::ErrorKind::UnexpectedEof => (
            FailureKind::Network,
            "ended the connection in the middle of the handshake",
        ),
        io::ErrorKind::TimedOut => (FailureKind::Timeout, "did not answer in time"),
        _ => (FailureKind::Network, "could not be reached"),
    };
    Failure::new(kind, format!("{target} {what}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classification_is_found_inside_io_errors() {
        let failure = Failure::new(FailureKind::Policy, "forbidden");
        let error = io::Error::other(io::Error::other(failure));
        assert_eq!(classify(error.into(), "ws://a:80").kind(), FailureKind::Policy);
    }

    #[test]
    fn the_rest_is_network_or_unknown() {
        for (kind, expected, says) in [
            (
                io::ErrorKind::ConnectionRefused,
                FailureKind::Network,
                "ws://a:80 refused",
            ),
            (io::ErrorKind::UnexpectedEof, FailureKind::Network, "ws://a:80 ended"),
            (io::ErrorKind::TimedOut, FailureKind::Timeout, "in time"),
        ] {
            let error = io::Error::other(io::Error::from(kind));
            let failure = classify(error.into(), "ws://a:80");
            assert_eq!(failure.kind(), expected);
            assert!(failure.to_string().contains(says), "{failure}");
        }
        assert_eq!(classify("who knows".into(), "ws://a:80").kind(), FailureKind::Local);
    }
}
