//! tower-ws by its one-line start: the recommended stack, with its defaults.

use std::convert::Infallible;

use tokio::task::JoinSet;
use tower_ws::Client;

use crate::BoxError;
use crate::drive::calls::{self, Caller};
use crate::kind::{Kind, Target};
use crate::meter::Meter;

pub(crate) const KIND: Kind = Kind {
    name: "tower-ws-rpc",
    run: |target, meter| Box::pin(run(target, meter)),
};

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let (client, _inbound) = tower_ws::connect(format!("ws://{}/rpc", target.address)).await?;
    let mut tasks = JoinSet::new();
    calls::spawn(&mut tasks, &client, &target, &meter);
    calls::first_failure(tasks).await
}

impl Caller for Client {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        Ok(self.request("echo", &[text]).await?)
    }
}
