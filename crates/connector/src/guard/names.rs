//! Names that tell what they stand for.

/// A name as it is compared.
pub(super) fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a [plain] name is that of a metadata service. Its address is in the table, but a proxy
/// resolves for itself.
pub(super) fn is_metadata(name: &str) -> bool {
    matches!(
        name,
        "metadata.google.internal" | "metadata.goog" | "instance-data.ec2.internal"
    )
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
    !name.contains('.')
        || LOCAL.iter().any(|local| {
            name.strip_suffix(local)
                .is_some_and(|front| front.is_empty() || front.ends_with('.'))
        })
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
        ] {
            assert!(is_metadata(&plain(name)), "{name}");
        }
        for name in ["a.metadata.goog", "metadata", "metadata.example"] {
            assert!(!is_metadata(&plain(name)), "{name}");
        }
    }
}
