use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use tower_ws_core::Excerpt;

use super::{Cause, Details};

/// What the doctor found. `Display` is for people; serialised, it is for machines, with a `schema` number that rises
/// when a field changes its meaning. It holds no secret: of an address the scheme, host and port, of a failure what
/// any log line would say.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// 1.
    pub schema: u32,
    /// Scheme, host and port; empty if the address is none.
    pub server: String,
    /// In the order in which they were taken.
    pub steps: Vec<Step>,
}

/// One step on the way to the server.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What was looked at. The [module docs](super) list them.
    pub name: &'static str,
    /// How it went.
    pub state: State,
    /// How long it took.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub took: Duration,
    /// What was found.
    pub text: String,
    /// What was found, for programs: fields of the step itself, when it is serialised.
    #[serde(flatten)]
    pub details: Option<Details>,
    /// Why it failed, for programs: there whenever the state is [`Failed`](State::Failed).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Where the fault probably lies, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How a step went. This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Failed,
    /// It was not taken, and why is in the text.
    Skipped,
}

/// Whose fault it probably is: whom to call.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// This side's settings: the address, a limit, a guard.
    Settings,
    /// This side's credentials.
    Credentials,
    /// The name service.
    Names,
    /// The network, or a firewall on the way.
    Network,
    /// The proxy.
    Proxy,
    /// TLS: the certificate, whoever opens it on the way, or a port that does not speak it.
    Tls,
    /// The server.
    Server,
}

impl Report {
    /// Nothing failed.
    pub fn is_ok(&self) -> bool {
        self.failure().is_none()
    }

    /// The first step that failed.
    pub fn failure(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.state == State::Failed)
    }
}

impl Step {
    pub(super) fn new(name: &'static str, took: Duration, state: State, text: impl Into<String>) -> Self {
        Self {
            name,
            state,
            took,
            text: text.into(),
            details: None,
            cause: None,
            fault: None,
            advice: None,
        }
    }

    pub(super) fn failed(name: &'static str, took: Duration, cause: impl Into<Cause>, text: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(name, took, State::Failed, text)
        }
    }

    /// What helps whoever reads it: who has signed what, what the server said beside its refusal.
    fn write_details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.details {
            Some(Details::Tls { certificates, .. }) => {
                for one in certificates {
                    writeln!(f, "{:28}{one}", "")?;
                }
            }
            Some(Details::Refusal { headers }) => {
                for (name, value) in headers {
                    writeln!(f, "{:28}{name}: {}", "", Excerpt::new(value))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn details(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    pub(super) fn fault(mut self, fault: Fault, advice: impl Into<String>) -> Self {
        self.fault = Some(fault);
        self.advice = Some(advice.into());
        self
    }
}

impl Fault {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "this side's settings",
            Self::Credentials => "this side's credentials",
            Self::Names => "the name service",
            Self::Network => "the network",
            Self::Proxy => "the proxy",
            Self::Tls => "TLS: the certificate, or what the port speaks",
            Self::Server => "the server",
        }
    }
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "WARN",
            Self::Failed => "FAIL",
            Self::Skipped => "-",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.server)?;
        for step in &self.steps {
            let took = step.took.as_millis();
            writeln!(
                f,
                "  {:<4}  {:<8} {took:>6} ms  {}",
                step.state.as_str(),
                step.name,
                step.text
            )?;
            if step.state != State::Ok {
                step.write_details(f)?;
            }
            if let Some(fault) = step.fault {
                writeln!(f, "{:28}whose: {}", "", fault.as_str())?;
            }
            if let Some(advice) = &step.advice {
                writeln!(f, "{:28}do:    {advice}", "")?;
            }
        }
        match self.failure() {
            None => writeln!(f, "\nThe way to the server is in order."),
            Some(step) => writeln!(f, "\nIt fails at {}: {}", step.name, step.text),
        }
    }
}

pub(super) fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1000.0)
}
