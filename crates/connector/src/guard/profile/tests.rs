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
