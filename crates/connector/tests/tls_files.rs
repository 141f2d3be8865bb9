//! Certificates that are renewed while a program runs.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{fs, path::PathBuf};

use support::{bounded, get};
use tower::{Layer, ServiceExt};
use tower_ws_connector::{
    Connect, Connector,
    tls::{TlsError, TlsFiles},
};
use tower_ws_core::Failure;
use tower_ws_test_kit::{Authority, Script, Server};
use tower_ws_transport::TransportLayer;

/// A folder of its own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tower-ws-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn dial(connector: &Connector, server: &Server) -> Result<(), Failure> {
    let transport = TransportLayer::new().layer(connector.clone());
    let dialled = bounded(transport.oneshot(get(&server.url()))).await;
    dialled.map(drop).map_err(Failure::of)
}

#[tokio::test]
async fn what_is_renewed_counts_at_the_next_dial_and_what_is_broken_does_not() {
    let folder = Folder::new("renewed");
    let [old, new] = [Authority::new().unwrap(), Authority::new().unwrap()];
    let before = Server::start_tls(Script::Echo, old.mutual().unwrap()).await.unwrap();
    let after = Server::start_tls(Script::Echo, new.mutual().unwrap()).await.unwrap();

    let (chain, key) = old.client_pem().unwrap();
    let roots = folder.write("ca.pem", old.pem());
    let (chain, key) = (folder.write("client.pem", chain), folder.write("client.key", key));
    let files = TlsFiles::new().only_roots(&roots).client_cert(&chain, &key);
    let connector = Connect::new().tls_files(files).unwrap().connector();
    dial(&connector, &before).await.unwrap();
    dial(&connector, &after).await.unwrap_err();

    // Half of it is written.
    let (new_chain, new_key) = new.client_pem().unwrap();
    folder.write("client.pem", &new_chain[..new_chain.len() / 2]);
    dial(&connector, &before).await.unwrap();

    folder.write("ca.pem", new.pem());
    folder.write("client.pem", new_chain);
    folder.write("client.key", new_key);
    dial(&connector, &after).await.unwrap();
    dial(&connector, &before).await.unwrap_err();

    // One that is gone leaves the last in use.
    fs::remove_file(&roots).unwrap();
    dial(&connector, &after).await.unwrap();
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let files = TlsFiles::new().roots("/nowhere/ca.pem");
    let error = Connect::new().tls_files(files).map(drop).unwrap_err();
    assert!(matches!(error, TlsError::Unreadable { .. }));
    assert_eq!(
        error.to_string(),
        "the root certificates cannot be read from /nowhere/ca.pem"
    );
}
