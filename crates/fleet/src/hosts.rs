//! Several servers in one connection string, of which one takes writes: all are tried at once, since one
//! that has frozen, or cannot be reached, does not say that it is not the one.

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio_postgres::config::{Config, Host, TargetSessionAttrs};

use crate::error::FleetError;

/// A configuration for each server that this one names. One that names one, or is not valid, is
/// left as it is.
pub(crate) fn each(config: Config) -> Vec<Config> {
    let (hosts, addrs, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addrs.len());
    let fits = |n: usize| n == 0 || n == count;
    if count < 2 || !fits(hosts.len()) || !fits(addrs.len()) || !(ports.len() == 1 || fits(ports.len())) {
        return vec![config];
    }
    (0..count).map(|at| one(&config, at)).collect()
}

/// The server at this place, if it takes writes. There is no way to take hosts out of a configuration.
fn one(config: &Config, at: usize) -> Config {
    let mut one = Config::new();
    match config.get_hosts().get(at) {
        Some(Host::Tcp(name)) => one.host(name),
        #[cfg(unix)]
        Some(Host::Unix(folder)) => one.host_path(folder),
        None => &mut one,
    };
    config.get_hostaddrs().get(at).map(|addr| one.hostaddr(*addr));
    let ports = config.get_ports();
    ports.get(at).or(ports.first()).map(|port| one.port(*port));
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    config.get_options().map(|options| one.options(options));
    config.get_application_name().map(|name| one.application_name(name));
    config.get_connect_timeout().map(|limit| one.connect_timeout(*limit));
    config.get_tcp_user_timeout().map(|limit| one.tcp_user_timeout(*limit));
    one.keepalives(config.get_keepalives());
    one.keepalives_idle(config.get_keepalives_idle());
    config
        .get_keepalives_interval()
        .map(|pause| one.keepalives_interval(pause));
    config.get_keepalives_retries().map(|most| one.keepalives_retries(most));
    one.ssl_mode(config.get_ssl_mode());
    one.ssl_negotiation(config.get_ssl_negotiation());
    one.channel_binding(config.get_channel_binding());
    one.load_balance_hosts(config.get_load_balance_hosts());
    one.target_session_attrs(TargetSessionAttrs::ReadWrite);
    one
}

/// The first one that succeeds. If none does, what does not pass by itself is told rather than what
/// does.
pub(crate) async fn first<T>(
    tries: impl IntoIterator<Item: Future<Output = Result<T, FleetError>>>,
) -> Result<T, FleetError> {
    let mut tries: FuturesUnordered<_> = tries.into_iter().collect();
    let mut worst = None;
    while let Some(tried) = tries.next().await {
        match tried {
            Ok(connection) => return Ok(connection),
            Err(error) if worst.as_ref().is_none_or(FleetError::is_passing) => worst = Some(error),
            Err(_) => {}
        }
    }
    Err(worst.unwrap_or_else(|| FleetError::Unreachable("no server is named".into())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "it fails by panicking")]

    use std::future::{Ready, pending, ready};

    use futures_util::future::Either;

    use super::*;

    fn config(text: &str) -> Config {
        text.parse().unwrap()
    }

    #[test]
    fn each_server_has_all_settings_of_the_whole() {
        let rest = "user=u password=p dbname=d options='-c a=b' application_name=n sslmode=require \
            sslnegotiation=direct connect_timeout=3 tcp_user_timeout=4 keepalives=0 keepalives_idle=5 \
            keepalives_interval=6 keepalives_retries=7 channel_binding=require load_balance_hosts=random";
        let whole = config(&format!(
            "host=a,/run/b hostaddr=127.0.0.1,127.0.0.2 port=1,2 target_session_attrs=any {rest}"
        ));
        let writes = format!("target_session_attrs=read-write {rest}");
        assert!(
            each(whole)
                == [
                    config(&format!("host=a hostaddr=127.0.0.1 port=1 {writes}")),
                    config(&format!("host=/run/b hostaddr=127.0.0.2 port=2 {writes}")),
                ]
        );
        let ports = each(config("host=a,b port=7"))
            .iter()
            .map(|one| one.get_ports()[0])
            .collect::<Vec<_>>();
        assert_eq!(ports, [7, 7]);
        for as_it_is in [
            "host=a port=1",
            "host=a,b port=1,2,3",
            "host=a,b,c hostaddr=127.0.0.1,127.0.0.2",
        ] {
            assert!(each(config(as_it_is)) == [config(as_it_is)], "{as_it_is}");
        }
    }

    #[tokio::test]
    async fn one_that_hangs_holds_nobody_up_and_the_error_is_the_one_to_act_on() {
        let fails = |error| Either::Left(ready(Err(error)));
        let hangs = Either::Right(pending());
        let works: Either<Ready<Result<u8, FleetError>>, _> = Either::Left(ready(Ok(1)));
        assert_eq!(first([hangs, fails(FleetError::timed_out()), works]).await.unwrap(), 1);
        let denied = || FleetError::Denied("no".into());
        for errors in [[denied(), FleetError::timed_out()], [FleetError::timed_out(), denied()]] {
            let error = first::<u8>(errors.map(|error| ready(Err(error)))).await.unwrap_err();
            assert!(matches!(error, FleetError::Denied(_)), "{error:?}");
        }
    }
}
