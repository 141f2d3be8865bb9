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
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::{super::embedded::tests::forms, *};

    fn rule(profile: &Profile, ip: &str) -> Option<Rule> {
        profile.check(ip.parse().unwrap()).err().map(|refused| refused.rule())
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_is_what_the_profiles_do() {
        for row in table::TABLE {
            for ip in [row.network.network(), row.network.broadcast()] {
                let first = table::find(ip).unwrap();
                if first.network != row.network {
                    // The end of a wide network that a narrow one has cut out.
                    continue;
                }
                let refused = |profile: Profile| profile.check(ip).is_err();
                let inside = all(ip).skip(1).any(|ip| table::find(ip).is_some());
                assert_eq!(refused(Profile::untrusted()), row.when != When::Never || inside, "{ip}");
                assert_eq!(refused(Profile::operator()), row.when == When::Always || inside, "{ip}");
                assert!(!refused(Profile::unguarded()), "{ip}");
            }
        }
    }

    #[test]
    fn what_people_dial() {
        for (ip, operator, untrusted) in [
            ("8.8.8.8", None, None),
            ("2606:4700::1111", None, None),
            ("::ffff:8.8.8.8", None, None),
            ("64:ff9b::8.8.8.8", None, None),
            ("127.0.0.1", None, Some(Rule::Loopback)),
            ("::1", None, Some(Rule::Loopback)),
            ("::ffff:127.0.0.1", None, Some(Rule::Loopback)),
            ("64:ff9b::10.0.0.1", None, Some(Rule::Private)),
            ("10.1.2.3", None, Some(Rule::Private)),
            ("fd12::1", None, Some(Rule::Private)),
            ("169.254.169.254", Some(Rule::LinkLocal), Some(Rule::LinkLocal)),
            ("::ffff:a9fe:a9fe", Some(Rule::LinkLocal), Some(Rule::LinkLocal)),
            ("64:ff9b::a9fe:a9fe", Some(Rule::LinkLocal), Some(Rule::LinkLocal)),
            ("2002:a9fe:a9fe::", Some(Rule::LinkLocal), Some(Rule::Tunnel)),
            ("fd00:ec2::254", Some(Rule::Metadata), Some(Rule::Metadata)),
            ("0.0.0.0", Some(Rule::Unspecified), Some(Rule::Unspecified)),
            ("::", Some(Rule::Unspecified), Some(Rule::Unspecified)),
            ("ff02::1", Some(Rule::Multicast), Some(Rule::Multicast)),
            ("100::1", None, Some(Rule::Reserved)),
        ] {
            assert_eq!(rule(&Profile::operator(), ip), operator, "{ip}");
            assert_eq!(rule(&Profile::untrusted(), ip), untrusted, "{ip}");
        }
    }

    #[test]
    fn exceptions() {
        let profile = Profile::untrusted()
            .allow_network(net("10.0.0.0/8"))
            .allow_network(IpAddr::from([127, 0, 0, 1]))
            .refuse_network(net("10.9.0.0/16"))
            .refuse_network(net("8.8.0.0/16"));
        for (ip, expected) in [
            ("10.1.1.1", None),
            ("::ffff:10.1.1.1", None),
            ("127.0.0.1", None),
            ("127.0.0.2", Some(Rule::Loopback)),
            ("10.9.1.1", Some(Rule::Listed)),
            ("8.8.8.8", Some(Rule::Listed)),
            ("64:ff9b::8.8.8.8", Some(Rule::Listed)),
            // Behind a translator there is another 10.1.1.1.
            ("64:ff9b::10.1.1.1", Some(Rule::Private)),
        ] {
            assert_eq!(rule(&profile, ip), expected, "{ip}");
        }
        let listed = Profile::unguarded().refuse_network(net("8.8.8.8/32"));
        assert_eq!(rule(&listed, "8.8.8.8"), Some(Rule::Listed));
    }

    #[test]
    fn mapped_networks_are_those_of_ipv4() {
        let profile = Profile::untrusted()
            .allow_network(net("::ffff:10.0.0.0/104"))
            .refuse_network(net("::ffff:8.8.8.8/128"));
        assert_eq!(rule(&profile, "10.1.1.1"), None);
        assert_eq!(rule(&profile, "11.1.1.1"), None);
        assert_eq!(rule(&profile, "192.168.1.1"), Some(Rule::Private));
        assert_eq!(rule(&profile, "::ffff:8.8.8.8"), Some(Rule::Listed));
    }

    #[test]
    fn an_allowed_host() {
        let profile = Profile::untrusted()
            .allow_host("Tools.INTERNAL.")
            .refuse_network(net("10.0.0.0/8"));
        let name = |name| {
            profile
                .check_name(name, true, false)
                .err()
                .map(|refused| refused.rule())
        };
        assert_eq!(name("tools.internal"), None);
        assert_eq!(name("tools.internal."), None);
        assert_eq!(name("a.tools.internal"), Some(Rule::Name));
        let at = |ip: [u8; 4]| {
            profile
                .check_dial(ip.into(), Some("tools.internal"), true, false)
                .map_err(|refused| refused.rule())
        };
        assert_eq!(at([169, 254, 0, 1]), Ok(()));
        // What is refused stays so.
        assert_eq!(at([10, 0, 0, 1]), Err(Rule::Listed));
    }

    #[test]
    fn plaintext_goes_to_loopback() {
        let plain = |profile: &Profile, ip: &str| profile.check_dial(ip.parse().unwrap(), None, false, false).is_ok();
        let operator = Profile::operator();
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(plain(&operator, ip), "{ip}");
            assert!(!plain(
                &Profile::untrusted().allow_network(IpNet::from(ip.parse::<IpAddr>().unwrap())),
                ip
            ));
        }
        // On its way to a translator it can be read.
        for ip in [
            "10.0.0.1",
            "8.8.8.8",
            "64:ff9b::127.0.0.1",
            "::127.0.0.1",
            "2002:7f00:1::",
        ] {
            assert!(!plain(&operator, ip), "{ip}");
            assert!(plain(&operator.clone().allow_plaintext(), ip), "{ip}");
            assert!(
                operator.check_dial(ip.parse().unwrap(), None, true, false).is_ok(),
                "{ip}"
            );
        }
        // What an allowed host resolves to may be anywhere; that is no permission for plaintext.
        let host = operator.allow_host("a");
        let dial = |ip: [u8; 4], name, secure| host.check_dial(ip.into(), Some(name), secure, false).is_ok();
        assert!(!dial([10, 0, 0, 1], "a", false));
        assert!(dial([169, 254, 0, 1], "a", true));
        assert!(!dial([169, 254, 0, 1], "b", true));
    }

    /// Secrets are shown over plaintext to this machine: so what is called so is this machine, also
    /// where plaintext may go anywhere.
    #[test]
    fn a_url_of_this_machine_in_plaintext_leads_nowhere_else() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        let anywhere = Profile::operator().allow_plaintext();
        for name in ["localhost", "LOCALHOST.", "a.localhost"] {
            for profile in [Profile::operator(), anywhere.clone(), anywhere.clone().allow_host(name)] {
                assert!(profile.check_dial(here, Some(name), false, false).is_ok(), "{name}");
                assert!(profile.check_dial(there, Some(name), false, false).is_err(), "{name}");
                assert!(profile.check_dial(there, Some(name), true, false).is_ok(), "{name}");
                assert!(profile.check_name(name, false, true).is_err(), "{name}");
                assert!(profile.check_name(name, true, true).is_ok(), "{name}");
            }
        }
        // A proxy's loopback is another machine's.
        for ip in ["127.0.0.1", "::1", "::ffff:127.9.9.9"] {
            for profile in [Profile::operator(), anywhere.clone()] {
                let check = |secure, far| profile.check_dial(ip.parse().unwrap(), None, secure, far).is_ok();
                assert!(check(false, false) && check(true, true) && !check(false, true), "{ip}");
            }
        }
        assert!(anywhere.check_dial(there, None, false, true).is_ok());
        assert!(anywhere.check_name("a", false, true).is_ok());
        assert!(Profile::unguarded().check_dial(here, None, false, true).is_ok());
        for (url, host, is_fine) in [
            ("http://localhost/", "10.0.0.1", false),
            ("http://127.0.0.1/", "a.example", false),
            ("http://localhost./", "[::1]", true),
            ("https://localhost/", "10.0.0.1", true),
            ("http://a.example/", "10.0.0.1", true),
        ] {
            let checked = anywhere.check_elsewhere(&Uri::from_static(url), host);
            assert_eq!(checked.is_ok(), is_fine, "{url} at {host}");
        }
    }

    #[test]
    fn metadata_over_ipv6() {
        for ip in [
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "fd00:c1::a9fe:a9fe",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
        ] {
            assert_eq!(rule(&Profile::operator(), ip), Some(Rule::Metadata), "{ip}");
        }
        // OpenStack's.
        assert_eq!(rule(&Profile::operator(), "fe80::a9fe:a9fe"), Some(Rule::LinkLocal));
    }

    #[test]
    fn ports() {
        let untrusted = Profile::untrusted();
        let check = |profile: &Profile, port| profile.check_port("a", port).is_ok();
        assert_eq!([443, 80, 22].map(|port| check(&untrusted, port)), [true, false, false]);
        let more = untrusted.clone().allow_port(8443).allow_plaintext();
        assert_eq!(
            [443, 80, 8443, 22].map(|port| check(&more, port)),
            [true, true, true, false]
        );
        assert!(check(&untrusted.allow_any_port(), 22));
        assert!(check(&Profile::operator(), 22));
    }

    #[test]
    fn a_refusal_says_which_rule_and_the_way_out() {
        let refused = Profile::operator()
            .check("64:ff9b::a9fe:a9fe".parse().unwrap())
            .unwrap_err();
        assert_eq!(
            tower_ws_core::Failure::from(refused.of("a.example")).to_string(),
            "refused to dial a.example at 64:ff9b::a9fe:a9fe, which stands for 169.254.169.254: a link-local address, \
             where clouds keep metadata; if it is meant, allow it with `Profile::allow_network` or `Profile::allow_host`"
        );
    }

    proptest! {
        #[test]
        fn no_form_of_a_refused_address_passes(bits in any::<u32>(), row in 0..table::TABLE.len()) {
            // At random nearly all would be global: each is moved into one of the networks of the
            // table, too.
            let within = match table::TABLE[row].network {
                IpNet::V4(net) => u32::from(net.network()) | bits & u32::from(net.hostmask()),
                IpNet::V6(_) => bits,
            };
            for ip in [Ipv4Addr::from(bits), Ipv4Addr::from(within)] {
                for profile in [Profile::operator(), Profile::untrusted()] {
                    if profile.check(ip.into()).is_err() {
                        for form in forms(ip) {
                            // `::` and `::1` are rows of their own.
                            prop_assert!(form.is_loopback() || profile.check(form.into()).is_err(), "{} {}", ip, form);
                        }
                    }
                }
            }
        }

        #[test]
        fn what_the_untrusted_may_the_operator_may(bits in any::<u128>(), narrow in any::<u32>()) {
            for ip in [IpAddr::from(bits.to_be_bytes()), IpAddr::from(narrow.to_be_bytes())] {
                if Profile::untrusted().check(ip).is_ok() {
                    prop_assert!(Profile::operator().check(ip).is_ok(), "{}", ip);
                }
            }
        }
    }
}
