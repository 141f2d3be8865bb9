//! Names that tell what they stand for.

/// A name as it is compared.
pub(super) fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a [plain] name is that of a metadata service: the table in the docs of the module. Its
/// address is in the other table, but a proxy resolves for itself. `far`: that is who resolves it, and
/// completes what is a single label.
pub(super) fn is_metadata(name: &str, far: bool) -> bool {
    match name {
        "metadata" | "instance-data" | "rancher-metadata" => far,
        "metadata.google.internal"
        | "metadata.goog"
        | "instance-data.ec2.internal"
        | "metadata.tencentyun.com"
        | "api.metadata.cloud.ibm.com"
        | "metadata.exoscale.com"
        | "metadata.platformequinix.com"
        | "metadata.packet.net" => true,
        _ => false,
    }
}

/// Whether a [plain] name is that of this machine ([RFC
/// 6761](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)).
pub(super) fn is_localhost(name: &str) -> bool {
    is_at_or_below(name, "localhost")
}

/// Whether a [plain] name is never that of a host on the internet.
///
/// A single label is looked up in the domain of the site. `localhost` is [RFC
/// 6761](https://www.rfc-editor.org/rfc/rfc6761#section-6.3), `local` [RFC
/// 6762](https://www.rfc-editor.org/rfc/rfc6762#section-3), `home.arpa` [RFC
/// 8375](https://www.rfc-editor.org/rfc/rfc8375), and ICANN has set aside `internal` for private
/// use.
pub(super) fn is_local(name: &str) -> bool {
    const LOCAL: [&str; 4] = ["localhost", "local", "internal", "home.arpa"];
    !name.contains('.') || LOCAL.iter().any(|local| is_at_or_below(name, local))
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names() {
        for name in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "nas.local",
            "a.b.internal",
            "home.arpa",
            "intranet",
        ] {
            assert!(is_local(&plain(name)), "{name}");
        }
        for name in [
            "example.com",
            "mylocal.example",
            "a.notinternal",
            "local.example.",
            "in-addr.arpa",
        ] {
            assert!(!is_local(&plain(name)), "{name}");
        }
    }

    #[test]
    fn metadata_names() {
        for name in [
            "metadata.google.internal",
            "Metadata.Google.Internal.",
            "metadata.goog",
            "instance-data.ec2.internal",
            "metadata.tencentyun.com",
            "api.metadata.cloud.ibm.com.",
        ] {
            assert!(is_metadata(&plain(name), false), "{name}");
        }
        for name in ["a.metadata.goog", "metadata.example", "cloud.ibm.com"] {
            assert!(!is_metadata(&plain(name), true), "{name}");
        }
        // Here what it resolves to decides.
        assert!(is_metadata("metadata", true) && !is_metadata("metadata", false));
    }

    #[test]
    fn the_docs_have_these_names() {
        let documented: Vec<_> = include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `"))
            .filter_map(|line| line.split(" | ").next())
            .flat_map(|names| names.split(", "))
            .map(|name| name.trim_matches('`'))
            // Networks stand in tables, too.
            .filter(|name| name.contains('.') && !name.contains('/'))
            .collect();
        assert!(documented.len() >= 8, "{documented:?}");
        for name in documented {
            assert!(is_metadata(name, false), "{name}");
        }
    }

    #[test]
    fn this_machine() {
        for name in ["localhost", "LocalHost.", "a.localhost"] {
            assert!(is_localhost(&plain(name)), "{name}");
        }
        for name in ["localhost.example", "notlocalhost", "localhost.localdomain"] {
            assert!(!is_localhost(&plain(name)), "{name}");
        }
    }
}
