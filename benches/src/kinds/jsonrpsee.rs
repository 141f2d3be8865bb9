//! jsonrpsee's client, with room for the whole window and its defaults otherwise.

use std::convert::Infallible;
use std::sync::Arc;

use jsonrpsee_core::client::ClientT;
use jsonrpsee_core::rpc_params;
use jsonrpsee_ws_client::{WsClient, WsClientBuilder};
use tokio::task::JoinSet;

use crate::BoxError;
use crate::drive::calls::{self, Caller};
use crate::kind::{Kind, Target};
use crate::meter::Meter;

pub(crate) const KIND: Kind = Kind {
    name: "jsonrpsee",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let client = WsClientBuilder::default()
        .max_concurrent_requests(target.window as usize)
        .build(format!("ws://{}/rpc", target.address))
        .await?;
    let mut tasks = JoinSet::new();
    calls::spawn(&mut tasks, &Client(Arc::new(client)), &target, &meter);
    calls::first_failure(tasks).await
}

#[derive(Clone)]
struct Client(Arc<WsClient>);

impl Caller for Client {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        Ok(self.0.request("echo", rpc_params![text]).await?)
    }
}
