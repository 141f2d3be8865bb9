use std::{iter, net::IpAddr, sync::Arc};

use http::Uri;
use ipnet::{IpNet, Ipv4Net};

use super::{
    Refused, Rule, embedded,
    names::{is_local, is_localhost, is_metadata, plain},
    table::{self, When},
};
use crate::url::Host;

/// What may be dialled. See the [module docs](super) for the two that have names.
///
/// Cheap to clone. A network that is refused by [`refuse_network`](Self::refuse_network) wins over
/// what is allowed, and both over the table.
#[derive(Clone, Debug)]
pub struct Profile(Arc<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    base: Base,
    plaintext: Plaintext,
    ports: Ports,
    allowed: Vec<IpNet>,
    refused: Vec<IpNet>,
    hosts: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Base {
    Operator,
    Untrusted,
    Unguarded,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Plaintext {
    Nowhere,
    Loopback,
    Anywhere,
}

#[derive(Clone, Debug)]
enum Ports {
    Any,
    Only(Vec<u16>),
}

impl Profile {
    /// For a URL that the operator chose, in a configuration for instance: anything but what cannot
    /// be meant. The default.
    pub fn operator() -> Self {
        Self::new(Base::Operator, Plaintext::Loopback, Ports::Any)
    }

    /// For a URL that somebody typed, a user or a model: the public internet, by `wss` on port 443.
    pub fn untrusted() -> Self {
        Self::new(Base::Untrusted, Plaintext::Nowhere, Ports::Only(vec![443]))
    }

    /// No guard: any address, any port, plaintext too. What
    /// [`refuse_network`](Self::refuse_network) names is still refused.
    pub fn unguarded() -> Self {
        Self::new(Base::Unguarded, Plaintext::Anywhere, Ports::Any)
    }

    fn new(base: Base, plaintext: Plaintext, ports: Ports) -> Self {
        Self(Arc::new(Rules {
            base,
            plaintext,
            ports,
            allowed: Vec::new(),
            refused: Vec::new(),
            hosts: Vec::new(),
        }))
    }

    /// Allows the addresses of a network (or a single one), as they are: not the same IPv4
    /// addresses inside of IPv6.
    ///
    /// Neither plaintext nor other ports come with it.
    #[must_use]
    pub fn allow_network(mut self, network: impl Into<IpNet>) -> Self {
        self.edit().allowed.push(canonical(network.into()));
        self
    }

    /// Allows a host by its name, exactly as in the URL but for case and a dot at the end, and **whatever it resolves
    /// to**: for a name that you yourself control.
    ///
    /// Neither plaintext nor other ports come with it. An address is allowed by
    /// [`allow_network`](Self::allow_network).
    #[must_use]
    pub fn allow_host(mut self, name: &str) -> Self {
        self.edit().hosts.push(plain(name));
        self
    }

    /// Allows a port, beside those that are.
    #[must_use]
    pub fn allow_port(mut self, port: u16) -> Self {
        if let Ports::Only(ports) = &mut self.edit().ports {
            ports.push(port);
        }
        self
    }

    /// Allows all ports.
    #[must_use]
    pub fn allow_any_port(mut self) -> Self {
        self.edit().ports = Ports::Any;
        self
    }

    /// Allows `ws` to whatever the profile allows otherwise; and its standard port, 80. A URL of this
    /// machine is dialled on this machine all the same: see [plaintext](super#plaintext).
    ///
    /// Whoever is on the way reads and changes what is said, credentials too.
    #[must_use]
    pub fn allow_plaintext(mut self) -> Self {
        self.edit().plaintext = Plaintext::Anywhere;
        self.allow_port(80)
    }

    /// Refuses a network, also where its IPv4 addresses are inside of IPv6 ones: your own public
    /// addresses, or the prefix of your NAT64.
    #[must_use]
    pub fn refuse_network(mut self, network: impl Into<IpNet>) -> Self {
        self.edit().refused.push(canonical(network.into()));
        self
    }

    /// Judges an address alone: not scheme, port or name.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the rule.
    pub fn check(&self, ip: IpAddr) -> Result<(), Refused> {
        self.check_listed(ip)?;
        // That is how the system dials `::ffff:a.b.c.d`.
        let ip = ip.to_canonical();
        let Rules { base, allowed, .. } = &*self.0;
        if *base == Base::Unguarded || allowed.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        for judged in all(ip) {
            let Some(row) = table::find(judged) else { continue };
            let refused = match row.when {
                When::Always => true,
                When::Untrusted => *base == Base::Untrusted,
                When::Never => false,
            };
            if refused {
                return Err(Refused::address(row.rule, ip, judged));
            }
        }
        Ok(())
    }

    /// Judges what a dial is about to use: an address, how it was come by, and whether TLS goes
    /// there. `far`: somebody else dials it, from another machine.
    pub(super) fn check_dial(&self, ip: IpAddr, name: Option<&str>, secure: bool, far: bool) -> Result<(), Refused> {
        match name {
            Some(name) if self.knows(name) => self.check_listed(ip)?,
            _ => self.check(ip)?,
        }
        // Not what is inside of it: a translator is another machine.
        let is_loopback = ip.to_canonical().is_loopback();
        let means_here = name.map_or(is_loopback, |name| is_localhost(&plain(name)));
        if secure || self.allows_plaintext(is_loopback && !far, means_here) {
            Ok(())
        } else {
            Err(Refused::new(Rule::Plaintext, ip.to_string()))
        }
    }

    /// Judges a name before it is resolved. `far`: by somebody else, so that nothing is known of
    /// its addresses.
    pub(super) fn check_name(&self, name: &str, secure: bool, far: bool) -> Result<(), Refused> {
        let plain = plain(name);
        let special = match self.0.base {
            Base::Unguarded => false,
            Base::Operator => is_metadata(&plain, far),
            Base::Untrusted => is_metadata(&plain, far) || is_local(&plain),
        };
        if special && !self.knows(name) {
            return Err(Refused::new(Rule::Name, name));
        }
        // What is resolved here is judged once more, by its addresses.
        if secure || self.allows_plaintext(!far, is_localhost(&plain)) {
            Ok(())
        } else {
            Err(Refused::new(Rule::Plaintext, name))
        }
    }

    /// Judges another address than the URL's to dial: what is called this machine is this one.
    pub(crate) fn check_elsewhere(&self, uri: &Uri, host: &str) -> Result<(), Refused> {
        let secure = matches!(uri.scheme_str(), Some("https" | "wss"));
        let leaves = is_here(uri.host().unwrap_or_default()) && !is_here(host);
        if secure || !leaves || self.0.base == Base::Unguarded {
            Ok(())
        } else {
            Err(Refused::new(Rule::Plaintext, host))
        }
    }

    /// Judges a port.
    pub(super) fn check_port(&self, host: &str, port: u16) -> Result<(), Refused> {
        match &self.0.ports {
            Ports::Only(ports) if !ports.contains(&port) => Err(Refused::new(Rule::Port, format!("{host}:{port}"))),
            _ => Ok(()),
        }
    }

    /// Judges an address by the networks that are refused whatever else is allowed.
    fn check_listed(&self, ip: IpAddr) -> Result<(), Refused> {
        let ip = ip.to_canonical();
        let is_listed = |ip: &IpAddr| self.0.refused.iter().any(|network| network.contains(ip));
        match all(ip).find(is_listed) {
            Some(judged) => Err(Refused::address(Rule::Listed, ip, judged)),
            None => Ok(()),
        }
    }

    /// Whether plaintext may go where it goes. `here`: it stays on this machine. `means_here`: so it is
    /// written in the URL, and whoever hands out secrets for this machine relies on it.
    fn allows_plaintext(&self, here: bool, means_here: bool) -> bool {
        match self.0.plaintext {
            Plaintext::Nowhere => false,
            Plaintext::Loopback => here,
            Plaintext::Anywhere => here || !means_here || self.0.base == Base::Unguarded,
        }
    }

    fn knows(&self, name: &str) -> bool {
        !self.0.hosts.is_empty() && self.0.hosts.contains(&plain(name))
    }

    fn edit(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.0)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::operator()
    }
}

/// Whether a host in a URL is this machine, as it is written.
fn is_here(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Ip(ip)) => ip.to_canonical().is_loopback(),
        Ok(Host::Name(name)) => is_localhost(&plain(name)),
        Err(_) => false,
    }
}

/// An address, and those that it stands for.
fn all(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inside = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(embedded::ipv4(ip)),
    };
    iter::once(ip).chain(inside.into_iter().flatten().map(IpAddr::V4))
}

/// A network of mapped addresses is one of IPv4: so are the addresses that are looked up in it.
fn canonical(network: IpNet) -> IpNet {
    match (network, network.addr().to_canonical()) {
        (IpNet::V6(mapped), IpAddr::V4(ip)) => mapped
            .prefix_len()
            .checked_sub(96)
            .and_then(|prefix| Ipv4Net::new(ip, prefix).ok())
            .map_or(network, IpNet::V4),
        _ => network,
    }
}

#[cfg(test)]
mod tests;
