//! SOCKS5: [RFC 1928](https://www.rfc-editor.org/rfc/rfc1928), with user name and password of
//! [RFC 1929](https://www.rfc-editor.org/rfc/rfc1929).
//!
//! Not hyper-util's `SocksV5`: the types of its errors cannot be named, so nobody can tell a wrong
//! password from an unreachable host; it looks up names by blocking the runtime; and it has no room
//! for long credentials and a long name together.

use std::{fmt, io, net::IpAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ProxyError;

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const NO_METHOD: u8 = 0;
const USER_PASSWORD: u8 = 2;
/// Of the sub-negotiation, which counts for itself.
const USER_PASSWORD_VERSION: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What a SOCKS5 proxy says instead of yes: [RFC 1928, section
/// 6](https://www.rfc-editor.org/rfc/rfc1928#section-6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// 1: the proxy failed, and does not say how.
    Failed,
    /// 2: the proxy's rules forbid this target.
    NotAllowed,
    /// 3: no way to the target's network.
    NetworkUnreachable,
    /// 4: no way to the target's host, or its name is not known.
    HostUnreachable,
    /// 5: the target refused the connection.
    Refused,
    /// 6: the packets went in circles, or the proxy waited in vain.
    Expired,
    /// 7: the proxy does not open connections.
    CommandNotSupported,
    /// 8: the proxy does not know this kind of address.
    AddressNotSupported,
    /// A number without a meaning.
    Unknown(u8),
}

/// Where to: an address, or a name that the proxy resolves.
#[derive(Debug)]
pub(super) enum Place<'a> {
    Address(IpAddr),
    Name(&'a str),
}

/// Asks the proxy at the other end of `io` for a tunnel. It reads not one byte more than the
/// proxy's answers.
pub(super) async fn tunnel<IO>(
    io: &mut IO,
    place: Place<'_>,
    port: u16,
    credentials: Option<(&str, &str)>,
) -> Result<(), ProxyError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(&place, port)?;
    greet(io, credentials).await?;
    io.write_all(&request).await.map_err(broken)?;
    io.flush().await.map_err(broken)?;

    let [version, reply, _, kind] = read(io).await?;
    if version != VERSION {
        return Err(ProxyError::Garbled);
    }
    if let Some(reply) = Reply::of(reply) {
        return Err(ProxyError::Socks(reply));
    }
    // The address that the proxy dials from: of no use here, but in the way.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(read::<1, _>(io).await?[0]),
        _ => return Err(ProxyError::Garbled),
    };
    let mut bound = [0; u8::MAX as usize + 2];
    io.read_exact(&mut bound[..length + 2]).await.map_err(broken)?;
    Ok(())
}

/// Offers what there is, and does what the proxy chose.
async fn greet<IO>(io: &mut IO, credentials: Option<(&str, &str)>) -> Result<(), ProxyError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let methods: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_METHOD, USER_PASSWORD],
        None => &[VERSION, 1, NO_METHOD],
    };
    io.write_all(methods).await.map_err(broken)?;
    io.flush().await.map_err(broken)?;
    match (read(io).await?, credentials) {
        ([VERSION, NO_METHOD], _) => Ok(()),
        ([VERSION, USER_PASSWORD], Some((user, password))) => {
            io.write_all(&sign_in(user, password)?).await.map_err(broken)?;
            io.flush().await.map_err(broken)?;
            match read(io).await? {
                [USER_PASSWORD_VERSION, 0] => Ok(()),
                _ => Err(ProxyError::Credentials),
            }
        }
        ([VERSION, 0xff], _) => Err(ProxyError::Credentials),
        _ => Err(ProxyError::Garbled),
    }
}

fn sign_in(user: &str, password: &str) -> Result<Vec<u8>, ProxyError> {
    let mut message = vec![USER_PASSWORD_VERSION];
    for text in [user, password] {
        // Settings refuse longer ones.
        message.push(u8::try_from(text.len()).map_err(|_| ProxyError::Credentials)?);
        message.extend_from_slice(text.as_bytes());
    }
    Ok(message)
}

fn request(place: &Place<'_>, port: u16) -> Result<Vec<u8>, ProxyError> {
    let mut message = vec![VERSION, CONNECT, 0];
    match place {
        Place::Address(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend_from_slice(&address.octets());
        }
        Place::Address(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend_from_slice(&address.octets());
        }
        Place::Name(name) => {
            message.push(NAME);
            message.push(u8::try_from(name.len()).map_err(|_| ProxyError::LongName)?);
            message.extend_from_slice(name.as_bytes());
        }
    }
    message.extend_from_slice(&port.to_be_bytes());
    Ok(message)
}

async fn read<const N: usize, IO: AsyncRead + Unpin>(io: &mut IO) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await.map_err(broken)?;
    Ok(bytes)
}

fn broken(error: io::Error) -> ProxyError {
    ProxyError::Broken(error.into())
}

impl Reply {
    /// `None` is yes.
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => return None,
            1 => Self::Failed,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::Refused,
            6 => Self::Expired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressNotSupported,
            other => Self::Unknown(other),
        })
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "general failure",
            Self::NotAllowed => "not allowed by its rules",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::Refused => "the target refused the connection",
            Self::Expired => "the target did not answer in time",
            Self::CommandNotSupported => "it does not open connections",
            Self::AddressNotSupported => "it does not know this kind of address",
            Self::Unknown(number) => return write!(f, "socks reply {number}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `answers` to a client, one after each message; gives back what the client wrote.
    async fn play(
        place: Place<'_>,
        credentials: Option<(&str, &str)>,
        answers: &[&[u8]],
    ) -> (Result<(), ProxyError>, Vec<u8>) {
        let (mut near, mut far) = tokio::io::duplex(1024);
        // What is in the pipe already when the client reads is what it would have waited for.
        far.write_all(&answers.concat()).await.unwrap();
        far.shutdown().await.unwrap();
        let result = tunnel(&mut near, place, 443, credentials).await;
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        drop(near);
        let mut written = Vec::new();
        far.read_to_end(&mut written).await.unwrap();
        assert!(result.is_err() || rest == b"beyond", "{rest:?}");
        (result, written)
    }

    #[tokio::test]
    async fn a_name_with_credentials_and_not_one_byte_too_many() {
        for bound in [&[1, 0, 0, 0, 0][..], &[4; 17], &[3, 2, b'a', b'b']] {
            let granted = [&[5, 0, 0][..], bound, &[0, 0], b"beyond"].concat();
            let (result, written) = play(
                Place::Name("example.com"),
                Some(("user", "pass")),
                &[&[5, 2], &[1, 0], &granted],
            )
            .await;
            result.unwrap();
            assert_eq!(
                written,
                b"\x05\x02\x00\x02\x01\x04user\x04pass\x05\x01\x00\x03\x0bexample.com\x01\xbb"
            );
        }
    }

    #[tokio::test]
    async fn addresses_without_credentials() {
        for (address, said) in [
            ("1.2.3.4", &b"\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb"[..]),
            ("::1", b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb"),
        ] {
            let place = Place::Address(address.parse().unwrap());
            let (result, written) = play(place, None, &[&[5, 0], b"\x05\0\0\x01\0\0\0\0\0\0beyond"]).await;
            result.unwrap();
            assert_eq!(written, [b"\x05\x01\x00", said].concat());
        }
    }

    #[tokio::test]
    async fn each_no_has_its_name() {
        for (byte, reply) in [
            (1, Reply::Failed),
            (2, Reply::NotAllowed),
            (3, Reply::NetworkUnreachable),
            (4, Reply::HostUnreachable),
            (5, Reply::Refused),
            (6, Reply::Expired),
            (7, Reply::CommandNotSupported),
            (8, Reply::AddressNotSupported),
            (91, Reply::Unknown(91)),
        ] {
            let (result, _) = play(Place::Name("a"), None, &[&[5, 0], &[5, byte, 0, 1]]).await;
            assert!(
                matches!(result, Err(ProxyError::Socks(said)) if said == reply),
                "{result:?}"
            );
        }
    }

    #[tokio::test]
    async fn credentials_that_are_missing_wrong_or_of_another_kind() {
        let some = Some(("user", "pass"));
        for (credentials, answers) in [
            (None, &[&[5, 0xff][..]][..]),
            (some, &[&[5, 0xff]]),
            (some, &[&[5, 2], &[1, 1]]),
        ] {
            let (result, written) = play(Place::Name("a"), credentials, answers).await;
            assert!(matches!(result, Err(ProxyError::Credentials)), "{result:?}");
            assert!(!written.ends_with(b"\x01\xbb"), "the target is not named to it");
        }
    }

    #[tokio::test]
    async fn nonsense_and_ends() {
        for nonsense in [
            &b"HTTP/1.1 400 Bad Request"[..],
            &[4, 0],
            &[5, 2],
            &[5, 1],
            &[5, 0, 4, 0, 0, 1],
            &[5, 0, 5, 0, 0, 9],
        ] {
            let (result, _) = play(Place::Name("a"), None, &[nonsense]).await;
            assert!(matches!(result, Err(ProxyError::Garbled)), "{nonsense:?}: {result:?}");
        }
        for cut in [&[][..], &[5], &[5, 0], &[5, 0, 5, 0, 0, 3], &[5, 0, 5, 0, 0, 3, 255, 1]] {
            let (result, _) = play(Place::Name("a"), None, &[cut]).await;
            assert!(matches!(result, Err(ProxyError::Broken(_))), "{cut:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn the_longest_names_fit_and_longer_ones_are_refused() {
        let longest = "a".repeat(255);
        let (result, written) = play(
            Place::Name(&longest),
            Some((&longest, &longest)),
            &[&[5, 2], &[1, 0], b"\x05\0\0\x01\0\0\0\0\0\0beyond"],
        )
        .await;
        result.unwrap();
        assert_eq!(written.len(), 4 + 3 + 2 * 255 + 7 + 255);
        let (result, written) = play(Place::Name(&"a".repeat(256)), None, &[]).await;
        assert!(matches!(result, Err(ProxyError::LongName)), "{result:?}");
        assert!(written.is_empty());
    }
}
