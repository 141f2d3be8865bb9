use std::{fmt, path::PathBuf, process::Stdio};

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tower_ws_auth::{Credential, Credentials};
use tower_ws_core::{BoxError, Disposition, Failure, FailureKind};

/// Where a secret is. It is read each time that it is needed; white space around it does not count.
///
/// Its `Debug` leaves the arguments of a command out.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// In this variable of the environment.
    Env(String),
    /// In this file, all of it.
    File(PathBuf),
    /// What this program writes to its output: the program, and its arguments. It is no shell's line, it gets no
    /// input, and what takes longer than a [fetch may](Credentials::DEADLINE) is killed.
    Command(Vec<String>),
}

/// What to say instead of a secret.
pub(super) const INSTEAD: &str = "say where the secret is, and nothing else: `{ env = \"TOKEN\" }`, \
                                  `{ file = \"/run/secrets/token\" }` or `{ command = [\"login\", \"--print\"] }`";

impl Secret {
    /// The credential, fetched from there when it is asked for.
    pub fn credentials(&self) -> Credentials {
        let secret = self.clone();
        Credentials::new(move || {
            let secret = secret.clone();
            async move { Ok(Credential::new(secret.read().await?)) }
        })
    }

    /// The program of a command: what may be shown of it, for its arguments may be secrets. Where somebody has written
    /// the whole line as if it were the program, up to its first space.
    pub fn program(&self) -> Option<&str> {
        match self {
            Self::Command(words) => match words.as_slice() {
                [only] => only.split(' ').next(),
                words => words.first().map(String::as_str),
            },
            _ => None,
        }
    }

    async fn read(self) -> Result<String, BoxError> {
        let shown = self.program().unwrap_or_default().to_owned();
        let failed = |text: String| Failure::new(FailureKind::Auth, text).with_disposition(Disposition::Final);
        let secret = match self {
            Self::Env(name) => std::env::var(&name)
                .map_err(|_| failed(format!("the secret should be in the variable {name}, which is not set")))?,
            Self::File(path) => {
                let shown = path.display().to_string();
                let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await?;
                read.map_err(|error| failed(format!("the secret should be in {shown}: {error}")))?
            }
            Self::Command(words) => {
                let Some((program, arguments)) = words.split_first() else {
                    return Err(failed("the command for the secret is empty".into()).into());
                };
                // A fetch that takes too long is dropped, and the program with it.
                let run = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::null())
                    .kill_on_drop(true)
                    .output();
                let output = run.await.map_err(|error| {
                    // As a shell takes it, it is the name of no program.
                    let help = match shown == *program {
                        true => "",
                        false => "; its arguments are words of their own, after commas where it is one text",
                    };
                    failed(format!("the command for the secret, {shown}: {error}{help}"))
                })?;
                if !output.status.success() {
                    let status = output.status;
                    return Err(failed(format!("the command for the secret, {shown}, failed: {status}")).into());
                }
                String::from_utf8(output.stdout)
                    .map_err(|_| failed(format!("the command for the secret, {shown}, wrote no text")))?
            }
        };
        match secret.trim() {
            "" => Err(failed("the secret is empty".into()).into()),
            secret => Ok(secret.to_owned()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Command(_) => f.debug_tuple("Command").field(&self.program()).finish(),
        }
    }
}
