//! A second server, which gets what the first one commits.

use std::{
    io,
    process::{Command, Stdio},
    thread,
};

use super::{LOOK, PATIENCE, Postgres, run};

const WAIT_FOR_IT: &str = "ALTER SYSTEM SET synchronous_standby_names = '*'";
const RELOAD: &str = "SELECT pg_reload_conf()";
const IN_STEP: &str = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";

impl Postgres {
    /// Makes a synchronous standby of this server. From when this returns on nothing is committed
    /// that the standby has not got; without it, nothing is.
    ///
    /// # Panics
    ///
    /// If it does not start, or does not catch up.
    pub fn standby(&self) -> Self {
        self.make_standby().expect("the standby starts")
    }

    /// Makes this standby a server that takes writes, whatever became of the first one. It waits for
    /// no standby of its own.
    ///
    /// # Panics
    ///
    /// If it is none, or cannot.
    pub fn promote(&self) {
        let mut promote = self.command("pg_ctl");
        run(promote.arg("promote").arg("-D").arg(self.data())).expect("the standby is promoted");
    }

    fn make_standby(&self) -> io::Result<Self> {
        let standby = Self::empty(self.binaries.clone(), self.clock.clone())?;
        let mut copy = standby.command("pg_basebackup");
        copy.args(["--no-sync", "--write-recovery-conf", "--checkpoint=fast", "-d"]);
        run(copy.arg(self.url()).arg("-D").arg(standby.data()))?;
        standby.run()?;
        // Not before: the copy is of a server that waits for nobody.
        self.psql(WAIT_FOR_IT)?;
        self.psql(RELOAD)?;
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if self.psql(IN_STEP)?.trim() == "1" {
                return Ok(standby);
            }
            thread::park_timeout(LOOK);
        }
        Err(io::Error::other("the standby does not catch up"))
    }

    /// What a statement returns, as text.
    fn psql(&self, statement: &str) -> io::Result<String> {
        let mut psql: Command = self.command("psql");
        psql.arg(self.url())
            .args(["--no-psqlrc", "-tAc", statement])
            .stdout(Stdio::piped());
        let output = psql.output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(io::Error::other(format!("{statement}: {}", output.status))),
        }
    }
}
