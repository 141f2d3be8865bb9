use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::UrlError;

/// A host as it is written in a URL, understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Host<'a> {
    /// An address: nobody is asked what it stands for.
    Ip(IpAddr),
    /// A name, to be resolved.
    Name(&'a str),
}

/// [RFC 1035, section 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4).
const LABEL: usize = 63;
/// 255 octets on the wire are 253 characters.
const NAME: usize = 253;

impl<'a> Host<'a> {
    /// Reads a host, an IPv6 address in its brackets.
    ///
    /// An address has one spelling per family here, the one that the standard library (and so the
    /// connector) reads. All others end in a label that is a number, which no name does: they are
    /// refused rather than read, for programs disagree about them. `0177.0.0.1` is 127.0.0.1 to
    /// some and 177.0.0.1 to others.
    pub(crate) fn parse(text: &'a str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::NoHost);
        }
        if !text.is_ascii() {
            return Err(UrlError::NotAscii);
        }
        if let Some(inside) = text.strip_prefix('[') {
            return ipv6(inside.strip_suffix(']').ok_or(UrlError::Ipv6)?);
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        // The dot at the end says that the name is complete.
        let name = text.strip_suffix('.').unwrap_or(text);
        if !name.split('.').all(is_label) || name.len() > NAME {
            return Err(UrlError::HostName);
        }
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(UrlError::Ipv4);
        }
        Ok(Self::Name(text))
    }
}

fn ipv6(inside: &str) -> Result<Host<'static>, UrlError> {
    if inside.contains('%') {
        return Err(UrlError::Zone);
    }
    let ip: Ipv6Addr = inside.parse().map_err(|_| UrlError::Ipv6)?;
    Ok(Host::Ip(ip.into()))
}

/// What is found in names: letters, digits and hyphens, and the underscore, which some networks
/// use.
fn is_label(label: &str) -> bool {
    (1..=LABEL).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether some reader takes a label for a part of an IPv4 address: decimal or octal, or
/// hexadecimal.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_have_one_spelling() {
        for text in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]"] {
            assert!(matches!(Host::parse(text), Ok(Host::Ip(_))), "{text}");
        }
        for text in [
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0X7F000001",
            "0x",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.0x1",
            "127.0.0.1.",
            "256.0.0.1",
            "1.2.3.4.5",
            "example.1",
        ] {
            assert_eq!(Host::parse(text), Err(UrlError::Ipv4), "{text}");
        }
    }

    #[test]
    fn names() {
        let long = "a".repeat(63);
        for text in [
            "a",
            "localhost",
            "Example.COM",
            "example.com.",
            "xn--bcher-kva.example",
            "_x-1.b",
            "1.2.3.4.in-addr.arpa",
            "127.0.0.1.example.com",
            "0xg",
            "1e3",
            &long,
        ] {
            assert_eq!(Host::parse(text), Ok(Host::Name(text)), "{text}");
        }
        for text in [
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "a b",
            "127.0.0.1 ",
            "a%2eb",
            "a/b",
            "a:b",
            "a@b",
            "a\\b",
            "a,b",
            "a\0b",
            &format!("{long}a"),
            &["abcdefg"; 32].join("."),
        ] {
            assert_eq!(Host::parse(text), Err(UrlError::HostName), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_at_all() {
        for (text, error) in [
            ("", UrlError::NoHost),
            ("bücher.example", UrlError::NotAscii),
            ("１２７.0.0.1", UrlError::NotAscii),
            ("127。0。0。1", UrlError::NotAscii),
            ("①②⑦.0.0.1", UrlError::NotAscii),
            ("[fe80::1%25eth0]", UrlError::Zone),
            ("[fe80::1%1]", UrlError::Zone),
            ("[::1", UrlError::Ipv6),
            ("[]", UrlError::Ipv6),
            ("[127.0.0.1]", UrlError::Ipv6),
            ("[v1.x]", UrlError::Ipv6),
            ("::1", UrlError::HostName),
        ] {
            assert_eq!(Host::parse(text), Err(error), "{text}");
        }
    }

    /// What `inet_aton` reads, and with it `getaddrinfo`: one to four numbers, the last one fills
    /// what is left.
    fn inet_aton(text: &str) -> Option<Ipv4Addr> {
        let parts = text.split('.').map(strtoul).collect::<Option<Vec<u64>>>()?;
        let (&last, first) = parts.split_last()?;
        if first.len() > 3 || first.iter().any(|&part| part > 255) || last >> (8 * (4 - first.len())) != 0 {
            return None;
        }
        let high = first.iter().enumerate().map(|(at, part)| part << (24 - 8 * at));
        Some(Ipv4Addr::from(u32::try_from(high.sum::<u64>() + last).ok()?))
    }

    fn strtoul(part: &str) -> Option<u64> {
        let lower = part.to_ascii_lowercase();
        match lower.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None if lower.len() > 1 && lower.starts_with('0') => u64::from_str_radix(&lower, 8).ok(),
            None => lower.parse().ok(),
        }
        .filter(|_| part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    }

    /// The parts of an address, each in some base and with leading zeros, some of them joined.
    fn spelling() -> impl Strategy<Value = (Ipv4Addr, String)> {
        let style = (0..4_usize, 0..3_usize);
        (any::<u32>(), 1..=4_usize, proptest::array::uniform4(style)).prop_map(|(bits, parts, styles)| {
            let mut left = u64::from(bits);
            let mut width = 32;
            let mut text = Vec::new();
            for (at, (base, zeros)) in styles.into_iter().take(parts).enumerate() {
                let value = if at + 1 == parts {
                    left
                } else {
                    width -= 8;
                    left >> width
                };
                left &= (1 << width) - 1;
                let zeros = "0".repeat(zeros);
                text.push(match base {
                    0 => format!("{value}"),
                    1 => format!("0{zeros}{value:o}"),
                    2 => format!("0x{zeros}{value:x}"),
                    _ => format!("0X{zeros}{value:X}"),
                });
            }
            (Ipv4Addr::from(bits), text.join("."))
        })
    }

    proptest! {
        #[test]
        fn no_spelling_of_an_address_passes_for_a_name((ip, text) in spelling()) {
            prop_assert_eq!(inet_aton(&text), Some(ip), "the test reads {}", &text);
            match Host::parse(&text) {
                Ok(Host::Ip(read)) => prop_assert_eq!(read, IpAddr::V4(ip)),
                other => prop_assert_eq!(other, Err(UrlError::Ipv4)),
            }
        }

        #[test]
        fn nor_does_anything_else_that_inet_aton_reads(text in "[0-9a-fA-FxX.]{1,20}") {
            if inet_aton(&text).is_some() {
                prop_assert!(!matches!(Host::parse(&text), Ok(Host::Name(_))));
            }
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = Host::parse(&text);
        }
    }

    /// That the reader above is the system's. Numbers are read without asking anybody.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn the_system_reads_them_as_addresses() {
        use std::net::ToSocketAddrs;

        for text in [
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "0X7f000001",
            "127.0.0.01",
        ] {
            let read: Vec<_> = (text, 1).to_socket_addrs().unwrap().map(|addr| addr.ip()).collect();
            assert_eq!(inet_aton(text).map(IpAddr::V4), Some(read[0]), "{text}");
            assert_eq!(Host::parse(text), Err(UrlError::Ipv4), "{text}");
        }
    }
}
