/// A setting that says no proxy. It holds nothing of the setting's text, which may hold a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the proxy{} is not usable: {problem}", .variable.map(|name| format!(" in {name}")).unwrap_or_default())]
pub struct ProxySettingError {
    problem: Problem,
    variable: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Problem {
    #[error("it is no url like `http://user:password@host:3128`")]
    NoUrl,
    #[error("its scheme must be one of http, https, socks5 and socks5h")]
    Scheme,
    #[error("its scheme is of the other kind of proxy")]
    Kind,
    #[error("an `@` in a user name or password is written as `%40`")]
    Escape,
    #[error("user name and password may have 255 bytes each, and the name at least one")]
    Credentials,
}

impl ProxySettingError {
    /// The same, with the name of the variable that holds the setting.
    pub(super) fn in_variable(self, name: &'static str) -> Self {
        Self {
            variable: Some(name),
            ..self
        }
    }
}

impl From<Problem> for ProxySettingError {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            variable: None,
        }
    }
}
