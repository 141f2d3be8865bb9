//! The laws of a connection.

use tower_ws_auth::{AuthLayer, Credentials, IssuedCredential, LoginLayer};
use tower_ws_core::OpeningContext;
use tower_ws_test_kit::conformance;

#[tokio::test(start_paused = true)]
async fn a_handshake_with_a_credential_keeps_the_laws() {
    conformance::layer(AuthLayer::bearer(Credentials::fixed("s")).allow_plaintext()).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_keeps_the_laws() {
    let login = LoginLayer::new(
        Credentials::fixed("s"),
        |talk: OpeningContext<String>, _: IssuedCredential| async { Ok(talk) },
    );
    conformance::layer(login).await;
}
