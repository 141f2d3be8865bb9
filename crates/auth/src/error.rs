use tower_ws_core::BoxError;

/// Why a credential cannot be shown to a server. None of them holds it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// It has characters that a header cannot carry.
    #[error("the secret has characters that a header cannot carry: is there a line break at its end?")]
    NotAHeader,
    /// The address with it is none.
    #[error("the secret does not fit into the address")]
    NotAQuery,
    /// The application's signer refused.
    #[error("the address could not be signed")]
    NotSigned(#[source] BoxError),
    /// It would go over a network in clear text.
    #[error(
        "the address is not `wss`: the secret would go over the network in clear text; use `wss`, or allow it by `AuthLayer::allow_plaintext`; the connector's guard has a permission of its own, `Profile::allow_plaintext`"
    )]
    Plaintext,
}
