use std::sync::Arc;

use http::Uri;

use super::{Bypass, ProxySettingError, Server, Target, problem::Problem, server::Scheme};

/// Which proxy is used for which target.
///
/// Cheap to clone. `Debug` shows proxies without their credentials. See the [module docs](super).
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    rules: Arc<Rules>,
}

#[derive(Clone, Debug, Default)]
struct Rules {
    wss: Option<Arc<Server>>,
    ws: Option<Arc<Server>>,
    bypass: Bypass,
}

impl Proxies {
    /// No proxy: everything is dialled directly.
    pub fn none() -> Self {
        Self::default()
    }

    /// One proxy for everything, by a URL: `http`, `https`, `socks5` or `socks5h`, and `http` if it
    /// has no scheme.
    ///
    /// User name and password are percent-encoded. The ports are 80, 443 and 1080 if there is none.
    ///
    /// # Errors
    ///
    /// What is no such URL is refused.
    pub fn all(url: &str) -> Result<Self, ProxySettingError> {
        let server = Arc::new(Server::parse(url)?);
        Ok(Self {
            rules: Arc::new(Rules {
                wss: Some(server.clone()),
                ws: Some(server),
                bypass: Bypass::default(),
            }),
        })
    }

    /// [`all`](Self::all) for an HTTP proxy, by its `http` or `https` URL.
    ///
    /// # Errors
    ///
    /// Another URL is refused.
    pub fn http(url: &str) -> Result<Self, ProxySettingError> {
        Self::only(url, Scheme::is_http)
    }

    /// [`all`](Self::all) for a SOCKS5 proxy, by its `socks5` or `socks5h` URL: with `socks5` names
    /// are resolved on this side, with `socks5h` by the proxy.
    ///
    /// # Errors
    ///
    /// Another URL is refused.
    pub fn socks5(url: &str) -> Result<Self, ProxySettingError> {
        Self::only(url, |scheme| !scheme.is_http())
    }

    /// What the environment says now.
    ///
    /// - `HTTPS_PROXY`, otherwise `ALL_PROXY`, for `wss` and for `ws`: [RFC 6455, section
    ///   4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1) prefers the proxy for HTTPS for both, since it knows CONNECT.
    /// - `HTTP_PROXY` for `ws` if there is neither; not in a CGI program (where `REQUEST_METHOD` is
    ///   set), in which anyone can set it by a header.
    /// - `NO_PROXY`: [`except`](Self::except).
    ///
    /// Each also in lower case, which wins, as with curl. An empty variable is as good as none.
    ///
    /// # Errors
    ///
    /// A variable that would be used and is no proxy's URL is an error, which names the variable: a
    /// mistake in it must not end in dials past the proxy.
    pub fn from_env() -> Result<Self, ProxySettingError> {
        // What is not unicode becomes something that is no URL, rather than nothing.
        Self::from_vars(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))
    }

    /// [`from_env`](Self::from_env) for an environment of your own: `get` looks up a variable.
    ///
    /// # Errors
    ///
    /// See [`from_env`](Self::from_env).
    pub fn from_vars<F>(get: F) -> Result<Self, ProxySettingError>
    where
        F: Fn(&str) -> Option<String>,
    {
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        let server = |names: [&'static str; 2]| {
            let Some((name, url)) = names.into_iter().find_map(|name| Some((name, get(name)?))) else {
                return Ok(None);
            };
            match Server::parse(url.trim()) {
                Ok(server) => Ok(Some(Arc::new(server))),
                Err(error) => Err(error.in_variable(name)),
            }
        };
        let wss = match server(["https_proxy", "HTTPS_PROXY"])? {
            Some(server) => Some(server),
            None => server(["all_proxy", "ALL_PROXY"])?,
        };
        let ws = match &wss {
            Some(server) => Some(server.clone()),
            None if get("REQUEST_METHOD").is_some() => None,
            None => server(["http_proxy", "HTTP_PROXY"])?,
        };
        let mut bypass = Bypass::default();
        if let Some(list) = get("no_proxy").or_else(|| get("NO_PROXY")) {
            bypass.add(&list);
        }
        Ok(Self {
            rules: Arc::new(Rules { wss, ws, bypass }),
        })
    }

    /// Dials these directly: a list in the manner of `NO_PROXY`, with commas or spaces between the
    /// entries, in addition to those before.
    ///
    /// - `example.com`, `.example.com` and `*.example.com` are that name and all below it;
    /// - `10.1.2.3`, `10.0.0.0/8`, `fd00::/8` are for URLs with addresses: names are not resolved
    ///   for it;
    /// - `example.com:8443`, `[fd00::1]:80` are for that port only;
    /// - `*` is everything.
    #[must_use]
    pub fn except(self, list: &str) -> Self {
        self.edit(|bypass| bypass.add(list))
    }

    /// Sets whether this machine, that is `localhost` and loopback addresses, is dialled through
    /// the proxy as well: there it is the *proxy's* machine. Default: not, wherever the proxy comes
    /// from.
    #[must_use]
    pub fn loopback(self, loopback: bool) -> Self {
        self.edit(|bypass| bypass.loopback = loopback)
    }

    /// Whether nothing goes through a proxy.
    pub fn is_none(&self) -> bool {
        self.rules.ws.is_none() && self.rules.wss.is_none()
    }

    pub(super) fn choose(&self, uri: &Uri, target: &Target) -> Option<Arc<Server>> {
        let server = match uri.scheme_str() {
            Some("https" | "wss") => self.rules.wss.as_ref(),
            _ => self.rules.ws.as_ref(),
        };
        server.filter(|_| !self.rules.bypass.covers(target)).cloned()
    }

    /// True if there is one for this target: a `ws`, `wss`, `http` or `https` URL.
    pub fn are_for(&self, uri: &Uri) -> bool {
        Target::of(uri).is_some_and(|target| self.choose(uri, &target).is_some())
    }

    fn edit(mut self, edit: impl FnOnce(&mut Bypass)) -> Self {
        edit(&mut Arc::make_mut(&mut self.rules).bypass);
        self
    }

    fn only(url: &str, wanted: impl Fn(Scheme) -> bool) -> Result<Self, ProxySettingError> {
        match Server::parse(url)?.scheme() {
            scheme if wanted(scheme) => Self::all(url),
            _ => Err(Problem::Kind.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> Result<Proxies, ProxySettingError> {
        Proxies::from_vars(|name| {
            let found = vars.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        })
    }

    fn chosen(proxies: &Proxies, url: &str) -> Option<String> {
        let uri: Uri = url.parse().unwrap();
        let server = proxies.choose(&uri, &Target::of(&uri).unwrap())?;
        Some(server.name().to_owned())
    }

    #[test]
    fn which_variable_counts() {
        let (wss, ws) = ("https://a.example/", "http://a.example/");
        for (vars, for_wss, for_ws) in [
            (&[][..], None, None),
            (&[("HTTPS_PROXY", "s:1")], Some("http://s:1"), Some("http://s:1")),
            (
                &[("HTTPS_PROXY", "s:1"), ("ALL_PROXY", "a:1"), ("HTTP_PROXY", "p:1")],
                Some("http://s:1"),
                Some("http://s:1"),
            ),
            (
                &[("ALL_PROXY", "socks5h://a:1"), ("HTTP_PROXY", "p:1")],
                Some("socks5h://a:1"),
                Some("socks5h://a:1"),
            ),
            (&[("HTTP_PROXY", "p:1")], None, Some("http://p:1")),
            (&[("HTTP_PROXY", "p:1"), ("REQUEST_METHOD", "GET")], None, None),
            (
                &[("HTTPS_PROXY", "S:1"), ("https_proxy", "s:1")],
                Some("http://s:1"),
                Some("http://s:1"),
            ),
            (
                &[("HTTPS_PROXY", ""), ("ALL_PROXY", " a:1 ")],
                Some("http://a:1"),
                Some("http://a:1"),
            ),
            (&[("HTTPS_PROXY", "s:1"), ("NO_PROXY", "b, example")], None, None),
            (
                &[("HTTPS_PROXY", "s:1"), ("NO_PROXY", "example"), ("no_proxy", "b")],
                Some("http://s:1"),
                Some("http://s:1"),
            ),
        ] {
            let proxies = env(vars).unwrap();
            assert_eq!(chosen(&proxies, wss).as_deref(), for_wss, "{vars:?}");
            assert_eq!(chosen(&proxies, ws).as_deref(), for_ws, "{vars:?}");
        }
    }

    #[test]
    fn this_machine_is_not_asked_of_another() {
        let proxies = env(&[("ALL_PROXY", "a:1")]).unwrap();
        for url in ["http://localhost/", "https://127.0.0.1:8080/", "http://[::1]/"] {
            assert_eq!(chosen(&proxies, url), None, "{url}");
            assert!(chosen(&proxies.clone().loopback(true), url).is_some(), "{url}");
        }
        let proxies = Proxies::http("a:1").unwrap().except("b").except("c:80");
        assert_eq!(chosen(&proxies, "http://c/"), None);
        assert_eq!(chosen(&proxies, "http://b/"), None);
        assert!(chosen(&proxies, "https://c/").is_some());
    }

    #[test]
    fn a_wrong_variable_is_named_and_not_shown() {
        let error = env(&[("all_proxy", "gopher://user:secret@a")]).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("all_proxy") && text.contains("socks5h"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert!(
            env(&[("HTTPS_PROXY", "a"), ("ALL_PROXY", "gopher://a")]).is_ok(),
            "it is not used"
        );
    }

    #[test]
    fn the_kind_that_was_asked_for() {
        assert!(Proxies::http("https://a").is_ok() && Proxies::http("a").is_ok());
        assert!(Proxies::socks5("socks5://a").is_ok() && Proxies::socks5("socks5h://a").is_ok());
        assert!(Proxies::http("socks5://a").is_err());
        assert!(Proxies::socks5("http://a").is_err());
        assert!(Proxies::none().is_none() && !Proxies::all("a").unwrap().is_none());
        let shown = format!("{:?}", Proxies::all("http://user:secret@a").unwrap());
        assert!(shown.contains("http://a:80") && !shown.contains("secret"), "{shown}");
    }
}
