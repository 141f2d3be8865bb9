use std::net::{Ipv4Addr, Ipv6Addr};

/// The IPv4 addresses that an IPv6 address stands for, by whatever carries the packet on: a
/// translator or a tunnel.
///
/// | form | of | where |
/// |---|---|---|
/// | `::a.b.c.d` | compatible, [RFC 4291, section 2.5.5.1](https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.1) | last 32 bits |
/// | `::ffff:a.b.c.d` | mapped, section 2.5.5.2 | last 32 bits |
/// | `::ffff:0:a.b.c.d` | translated, [RFC 2765](https://www.rfc-editor.org/rfc/rfc2765#section-2.1) | last 32 bits |
/// | `64:ff9b::a.b.c.d` | NAT64, [RFC 6052](https://www.rfc-editor.org/rfc/rfc6052#section-2.1) | last 32 bits |
/// | `2002:ab:cd::` | 6to4, [RFC 3056](https://www.rfc-editor.org/rfc/rfc3056#section-2) | bits 16 to 47 |
/// | `2001:0:ab:cd:..` | Teredo, [RFC 4380](https://www.rfc-editor.org/rfc/rfc4380#section-4) | the server: bits 32 to 63; the client: the last 32, inverted |
/// | `..:5efe:a.b.c.d` | ISATAP, [RFC 5214](https://www.rfc-editor.org/rfc/rfc5214#section-6.1) | last 32 bits |
pub(super) fn ipv4(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let last = join(g, h);
    let found = match [a, b, c, d, e, f] {
        // Unspecified and loopback, which are nobody's IPv4.
        [0, 0, 0, 0, 0, 0] if u32::from(last) <= 1 => [None, None],
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => [Some(last), None],
        [0x2002, ..] => [Some(join(b, c)), isatap(e, f, last)],
        [0x2001, 0, ..] => [Some(join(c, d)), Some(join(!g, !h))],
        _ => [isatap(e, f, last), None],
    };
    found.into_iter().flatten()
}

fn isatap(e: u16, f: u16, last: Ipv4Addr) -> Option<Ipv4Addr> {
    // The bit for "globally unique" may be set or not.
    (matches!(e, 0 | 0x200) && f == 0x5efe).then_some(last)
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// All forms of an address.
    pub(crate) fn forms(ip: Ipv4Addr) -> Vec<Ipv6Addr> {
        let bits = u128::from(u32::from(ip));
        let public = u128::from(u32::from(Ipv4Addr::new(8, 8, 8, 8)));
        [
            bits,
            0xffff << 32 | bits,
            0xffff << 48 | bits,
            0x64_ff9b << 96 | bits,
            0x2002 << 112 | bits << 80,
            0x2002 << 112 | bits << 80 | 1,
            0x2001 << 112 | bits << 64,
            0x2001 << 112 | bits << 64 | (public ^ 0xffff_ffff),
            0x2001 << 112 | public << 64 | (bits ^ 0xffff_ffff),
            0x2a00 << 112 | 0x5efe << 32 | bits,
            0x2a00 << 112 | 0x0200_5efe << 32 | bits,
            0x2002 << 112 | public << 80 | 0x5efe << 32 | bits,
        ]
        .map(Ipv6Addr::from)
        .to_vec()
    }

    #[test]
    fn each_form_is_found() {
        let ip = Ipv4Addr::new(169, 254, 169, 254);
        for form in forms(ip) {
            assert!(ipv4(form).any(|found| found == ip), "{form}");
        }
    }

    #[test]
    fn as_the_rfcs_write_them() {
        for (text, expected) in [
            ("::192.0.2.33", "192.0.2.33"),
            ("64:ff9b::192.0.2.33", "192.0.2.33"),
            ("2002:c000:221::1", "192.0.2.33"),
            // RFC 4380, section 4 has no example; this is the one of the inversion: 192.0.2.45 is
            // 3fff:fdd2.
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
            ("2a00::5efe:c000:221", "192.0.2.33"),
        ] {
            let expected: Ipv4Addr = expected.parse().unwrap();
            assert!(ipv4(text.parse().unwrap()).any(|ip| ip == expected), "{text}");
        }
    }

    #[test]
    fn others_have_none() {
        for text in [
            "2606:4700::1111",
            "fe80::1",
            "64:ff9a::1.2.3.4",
            "::1:ffff:1.2.3.4",
            "2003::1",
        ] {
            assert_eq!(ipv4(text.parse().unwrap()).next(), None, "{text}");
        }
    }
}
