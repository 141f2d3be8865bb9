//! Which networks are special, and to whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Rule;

/// A network that is special.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) network: IpNet,
    pub(super) rule: Rule,
    pub(super) when: When,
}

/// By which profiles it is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum When {
    /// Nobody has business there.
    Always,
    /// It may be the operator's own network.
    Untrusted,
    /// It is special, but not in a way that matters here.
    Never,
}

use When::{Always, Never, Untrusted};

/// The first row that an address is in decides: the narrow ones stand before the wide ones. The
/// table in the docs of the module is this one, row by row, with the sources.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    v4([168, 63, 129, 16], 32, Rule::Metadata, Always),
    v4([100, 100, 100, 200], 32, Rule::Metadata, Always),
    v4([100, 96, 0, 96], 32, Rule::Metadata, Always),
    v4([192, 0, 0, 192], 32, Rule::Metadata, Always),
    v4([169, 254, 0, 0], 16, Rule::LinkLocal, Always),
    v4([0, 0, 0, 0], 8, Rule::Unspecified, Always),
    v4([255, 255, 255, 255], 32, Rule::Broadcast, Always),
    v4([224, 0, 0, 0], 4, Rule::Multicast, Always),
    v4([127, 0, 0, 0], 8, Rule::Loopback, Untrusted),
    v4([10, 0, 0, 0], 8, Rule::Private, Untrusted),
    v4([172, 16, 0, 0], 12, Rule::Private, Untrusted),
    v4([192, 168, 0, 0], 16, Rule::Private, Untrusted),
    v4([100, 64, 0, 0], 10, Rule::Shared, Untrusted),
    v4([192, 0, 0, 0], 24, Rule::Reserved, Untrusted),
    v4([192, 0, 2, 0], 24, Rule::Documentation, Untrusted),
    v4([198, 51, 100, 0], 24, Rule::Documentation, Untrusted),
    v4([203, 0, 113, 0], 24, Rule::Documentation, Untrusted),
    v4([192, 88, 99, 0], 24, Rule::Tunnel, Untrusted),
    v4([198, 18, 0, 0], 15, Rule::Benchmarking, Untrusted),
    v4([240, 0, 0, 0], 4, Rule::Reserved, Untrusted),

    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Rule::Unspecified, Always),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Rule::Loopback, Untrusted),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, Rule::Metadata, Always),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, Rule::Metadata, Always),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, Rule::Metadata, Always),
    v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, Rule::Metadata, Always),
    v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], 128, Rule::Metadata, Always),
    v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200], 128, Rule::Metadata, Always),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Rule::LinkLocal, Always),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Rule::Multicast, Always),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Rule::Translation, Always),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Rule::Translation, Never),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Rule::Private, Untrusted),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Rule::Private, Untrusted),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, Rule::Anycast, Never),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, Rule::Anycast, Never),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Rule::Tunnel, Untrusted),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Rule::Benchmarking, Untrusted),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Rule::Reserved, Untrusted),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Rule::Documentation, Untrusted),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Rule::Documentation, Untrusted),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Rule::Tunnel, Untrusted),
    v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, Rule::Global, Never),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 0, Rule::Reserved, Untrusted),
];

/// The row that an address is in. Most of IPv4 is in none: it is global.
pub(super) fn find(ip: IpAddr) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.network.contains(&ip))
}

const fn v4(octets: [u8; 4], prefix: u8, rule: Rule, when: When) -> Row {
    let [a, b, c, d] = octets;
    Row {
        network: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)),
        rule,
        when,
    }
}

const fn v6(segments: [u16; 8], prefix: u8, rule: Rule, when: When) -> Row {
    let [a, b, c, d, e, f, g, h] = segments;
    Row {
        network: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)),
        rule,
        when,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the docs say, taken out of them: network, rule, operator's profile, untrusted one.
    fn documented() -> Vec<[String; 4]> {
        include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `"))
            .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
            .filter(|cells: &Vec<_>| cells[0].contains('/'))
            .map(|cells| {
                assert!(cells[4].starts_with('['), "a source: {cells:?}");
                [0, 1, 2, 3].map(|at| cells[at].to_owned())
            })
            .collect()
    }

    #[test]
    fn the_docs_have_this_table() {
        let table: Vec<_> = TABLE
            .iter()
            .map(|row| {
                let (operator, untrusted) = match row.when {
                    Always => ("no", "no"),
                    Untrusted => ("yes", "no"),
                    Never => ("yes", "yes"),
                };
                [&row.network.to_string(), row.rule.name(), operator, untrusted].map(str::to_owned)
            })
            .collect();
        assert_eq!(documented(), table);
    }

    #[test]
    fn a_row_is_reached() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.network, row.network.trunc(), "no bits beyond the prefix");
            for wide in &TABLE[..at] {
                assert!(!wide.network.contains(&row.network), "{row:?} is never found");
            }
        }
    }

    #[test]
    fn both_ends_of_each_network_are_in_it() {
        for row in TABLE {
            for ip in [row.network.network(), row.network.broadcast()] {
                let found = find(ip).unwrap();
                // Another row may have cut out an end, a narrower one.
                assert!(
                    row.network.contains(&found.network),
                    "{ip}: {found:?} instead of {row:?}"
                );
            }
        }
    }

    #[test]
    fn outside_is_global() {
        for ip in [
            "8.8.8.8",
            "1.1.1.1",
            "223.255.255.255",
            "11.0.0.0",
            "172.32.0.0",
            "192.0.1.0",
            "192.31.196.1",
        ] {
            assert!(find(ip.parse().unwrap()).is_none(), "{ip}");
        }
        for ip in ["2606:4700::1111", "2a00::", "2001:200::1", "3ffe::1"] {
            assert_eq!(find(ip.parse().unwrap()).unwrap().rule, Rule::Global, "{ip}");
        }
    }
}
