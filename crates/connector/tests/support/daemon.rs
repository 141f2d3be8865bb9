//! Real proxies, each with a configuration of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

/// A proxy that runs until it is dropped.
pub struct Daemon {
    pub addr: SocketAddr,
    // Killed on drop.
    _child: Child,
    _dir: TempDir,
    _held: UdpSocket,
}

/// Credentials that every daemon with credentials wants: `user` and this.
pub const PASSWORD: &str = "s3cret-of-the-proxy";

/// Why a test is left out, said out loud: a fresh clone has no proxies. With
/// `TOWER_WS_PEERS_REQUIRED`, as in CI, it fails.
pub fn missing(binary: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        // Where Debian puts daemons, and not every user looks.
        .chain(["/usr/sbin".into()])
        .any(|dir| dir.join(binary).is_file());
    if !found {
        assert!(
            std::env::var_os("TOWER_WS_PEERS_REQUIRED").is_none(),
            "{binary} is required"
        );
        eprintln!("SKIPPED: no {binary} here; tests/peers/install-proxies installs it");
    }
    !found
}

impl Daemon {
    /// `forbidden`: a port that it opens no tunnel to.
    pub async fn tinyproxy(credentials: bool, forbidden: Option<u16>) -> Self {
        Self::start("tinyproxy", async |port, dir| {
            let mut config = format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogLevel Critical\n");
            if credentials {
                config += &format!("BasicAuth user {PASSWORD}\n");
            }
            if let Some(forbidden) = forbidden {
                // What is not listed is forbidden, once there is a list.
                let other = if forbidden == 1 { 2 } else { 1 };
                config += &format!("ConnectPort {other}\n");
            }
            let path = dir.path().join("tinyproxy.conf");
            tokio::fs::write(&path, config).await.unwrap();
            vec!["-d".into(), "-c".into(), path.display().to_string()]
        })
        .await
    }

    pub async fn squid(credentials: bool, forbidden: Option<u16>) -> Self {
        Self::start("squid", async |port, dir| {
            let at = dir.path().display();
            let mut config = format!(
                "http_port 127.0.0.1:{port}\npid_filename none\ncache_log {at}/cache.log\naccess_log none\n\
                 cache deny all\nshutdown_lifetime 0 seconds\nconnect_timeout 5 seconds\nvisible_hostname squid.test\n\
                 coredump_dir {at}\npinger_enable off\n"
            );
            if let Some(forbidden) = forbidden {
                config += &format!("acl closed port {forbidden}\nhttp_access deny closed\n");
            }
            if credentials {
                // A helper of our own: Debian's reads files of a format that takes a tool of its
                // own to write.
                let helper = dir.path().join("helper");
                let script = format!(
                    "#!/bin/sh\nwhile read -r user password; do\n\
                     if [ \"$user $password\" = 'user {PASSWORD}' ]; then echo OK; else echo ERR; fi\ndone\n"
                );
                tokio::fs::write(&helper, script).await.unwrap();
                config += &format!(
                    "auth_param basic program /bin/sh {}\nauth_param basic children 1\n\
                     acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n",
                    helper.display()
                );
            } else {
                config += "http_access allow all\n";
            }
            let path = dir.path().join("squid.conf");
            tokio::fs::write(&path, config).await.unwrap();
            // Squid run by root becomes `proxy`, who has to reach its folder.
            open_to_all(dir).await;
            vec!["-N".into(), "-f".into(), path.display().to_string()]
        })
        .await
    }

    pub async fn microsocks(credentials: bool) -> Self {
        Self::start("microsocks", async |port, _| {
            let mut args = vec!["-i".into(), "127.0.0.1".into(), "-p".into(), port.to_string()];
            if credentials {
                args.extend(["-u", "user", "-P", PASSWORD].map(String::from));
            }
            args
        })
        .await
    }

    /// The URL, with the credentials if there are any.
    pub fn url(&self, scheme: &str, credentials: Option<(&str, &str)>) -> String {
        match credentials {
            Some((user, password)) => format!("{scheme}://{user}:{password}@{}", self.addr),
            None => format!("{scheme}://{}", self.addr),
        }
    }

    /// A free port may be taken by somebody else until the daemon is up: then it ends, and gets
    /// another.
    async fn start(binary: &str, configure: impl AsyncFn(u16, &TempDir) -> Vec<String>) -> Self {
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let (addr, held) = free_port();
            let args = configure(addr.port(), &dir).await;
            let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
            let mut child = Command::new(binary)
                .args(args)
                .env("PATH", path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            if listens(&mut child, addr).await {
                return Self {
                    addr,
                    _child: child,
                    _dir: dir,
                    _held: held,
                };
            }
        }
        panic!("{binary} does not start");
    }
}

/// A port below those that systems hand out by themselves, so that no other socket gets it before
/// the daemon does. The same port of UDP keeps off the other runs of these tests, as long as it is
/// held.
fn free_port() -> (SocketAddr, UdpSocket) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id();
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000 + offset as u16));
        if let Ok(held) = UdpSocket::bind(addr)
            && TcpListener::bind(addr).is_ok()
        {
            return (addr, held);
        }
    }
}

/// There is no event to wait for: a port opens, or the process ends.
async fn listens(child: &mut Child, addr: SocketAddr) -> bool {
    for _ in 0..1500 {
        if TcpStream::connect(addr).await.is_ok() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[cfg(unix)]
async fn open_to_all(dir: &TempDir) {
    use std::os::unix::fs::PermissionsExt;
    let all = std::fs::Permissions::from_mode(0o777);
    tokio::fs::set_permissions(dir.path(), all).await.unwrap();
}

#[cfg(not(unix))]
async fn open_to_all(_: &TempDir) {}
