use std::{path::PathBuf, process::Command};

use serde::{Deserialize, Serialize};
use tower_ws_auth::{Credential, Credentials};
use tower_ws_core::{BoxError, Failure, FailureKind};

/// Where a secret is. It is read each time that it is needed; white space around it does not count.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// In this variable of the environment.
    Env(String),
    /// In this file, all of it.
    File(PathBuf),
    /// What this program writes to its output: the program, and its arguments. It is no shell's line.
    Command(Vec<String>),
}

impl Secret {
    /// The credential, fetched from there when it is asked for.
    pub fn credentials(&self) -> Credentials {
        let secret = self.clone();
        Credentials::new(move || {
            let secret = secret.clone();
            async move {
                // Files and programs may take their time.
                let read = tokio::task::spawn_blocking(move || secret.read()).await?;
                Ok(Credential::new(read?))
            }
        })
    }

    fn read(&self) -> Result<String, BoxError> {
        let failed = |text: String| Failure::new(FailureKind::Usage, text);
        let secret = match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| failed(format!("the secret should be in the variable {name}, which is not set")))?,
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| failed(format!("the secret should be in {}: {error}", path.display())))?,
            Self::Command(words) => {
                let (program, arguments) = words
                    .split_first()
                    .ok_or_else(|| failed("the command is empty".into()))?;
                let output = Command::new(program)
                    .args(arguments)
                    .output()
                    .map_err(|error| failed(format!("the command for the secret, {program}: {error}")))?;
                if !output.status.success() {
                    let status = output.status;
                    return Err(failed(format!("the command for the secret, {program}, failed: {status}")).into());
                }
                String::from_utf8(output.stdout)
                    .map_err(|_| failed(format!("the command for the secret, {program}, wrote no text")))?
            }
        };
        match secret.trim() {
            "" => Err(failed("the secret is empty".into()).into()),
            secret => Ok(secret.to_owned()),
        }
    }
}
