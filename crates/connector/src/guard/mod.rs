//! The address guard: what may be dialled, and what may not.
//!
//! A URL can lead where its reader did not mean to go: to the metadata service of a cloud, which
//! hands out credentials; to a database that trusts its network; to a name that resolves to a
//! public address when it is checked, and to this machine when it is dialled. The guard acts in the
//! dial itself, on the addresses that it uses. Nothing is sent to one that is refused, not even a
//! packet of TCP. [`connector()`](crate::connector()) and [`tcp_connector`](crate::tcp_connector)
//! have it built in.
//!
//! # Two profiles
//!
//! | | [`Profile::operator`], the default | [`Profile::untrusted`] |
//! |---|---|---|
//! | for | a URL out of your own configuration | a URL that a user or a model typed |
//! | addresses | all but those that cannot be meant | global ones |
//! | `ws` | to loopback | no |
//! | ports | all | 443 |
//! | names | all but those of metadata services | no `localhost`, `*.local`, `*.internal`, `*.home.arpa`, no single labels |
//!
//! Each has exceptions: [`allow_network`](Profile::allow_network),
//! [`allow_host`](Profile::allow_host), [`allow_port`](Profile::allow_port),
//! [`allow_plaintext`](Profile::allow_plaintext), [`refuse_network`](Profile::refuse_network).
//! [`Profile::unguarded`] turns it off.
//!
//! # Example
//!
//! The default: metadata is not to be had by any spelling.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use http::Request;
//! use tower::{Layer, ServiceExt};
//! use tower_ws_core::{Failure, FailureKind};
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_transport::TransportLayer;
//!
//! for url in ["ws://169.254.169.254/latest", "ws://[::ffff:a9fe:a9fe]/latest", "ws://0xa9fea9fe/latest"] {
//!     let transport = TransportLayer::new().layer(tcp_connector());
//!     let error = transport.oneshot(Request::get(url).body(())?).await.unwrap_err();
//!     assert_eq!(Failure::of(error).kind(), FailureKind::Policy);
//! }
//! # Ok(()) }
//! ```
//!
//! Configured, for a host that dials what a model asks for, and a server of its own:
//!
//! ```
//! # #[cfg(feature = "tls")] {
//! use tower_ws_connector::{Connect, guard::Profile};
//!
//! let profile = Profile::untrusted().allow_host("tools.corp.example").allow_port(8443);
//! let connector = Connect::new().guard(profile).connector();
//! # }
//! ```
//!
//! # Addresses
//!
//! The first row that an address is in decides. What is in none is global, and allowed: so are the
//! networks that IANA lists as special but globally reachable. The IANA registries are those for
//! [IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry/) and
//! [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry/) special-purpose addresses;
//! two of their networks are refused to the last address though parts of them count as reachable
//! (`192.0.0.0/24`, `2001::/23`), for nobody's server is there.
//!
//! | network | rule | operator | untrusted | source |
//! |---|---|---|---|---|
//! | `168.63.129.16/32` | cloud metadata | no | no | [Azure](https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16), a public address |
//! | `100.100.100.200/32` | cloud metadata | no | no | [Alibaba Cloud](https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata) |
//! | `100.96.0.96/32` | cloud metadata | no | no | [BytePlus](https://docs.byteplus.com/en/docs/ecs/Viewing-instance-metadata), and Volcano Engine |
//! | `192.0.0.192/32` | cloud metadata | no | no | [Oracle Cloud](https://docs.oracle.com/en/cloud/cloud-at-customer/occ-get-started/retrieve-predefined-instance-metadata.html), of old |
//! | `169.254.0.0/16` | link-local | no | no | [RFC 3927](https://www.rfc-editor.org/rfc/rfc3927); 169.254.169.254 and .170.2 are metadata in most clouds |
//! | `0.0.0.0/8` | unspecified | no | no | [RFC 791](https://www.rfc-editor.org/rfc/rfc791#section-3.2), [RFC 1122](https://www.rfc-editor.org/rfc/rfc1122#section-3.2.1.3) |
//! | `255.255.255.255/32` | broadcast | no | no | [RFC 919](https://www.rfc-editor.org/rfc/rfc919#section-7), [RFC 8190](https://www.rfc-editor.org/rfc/rfc8190) |
//! | `224.0.0.0/4` | multicast | no | no | [RFC 5771](https://www.rfc-editor.org/rfc/rfc5771) |
//! | `127.0.0.0/8` | loopback | yes | no | [RFC 1122](https://www.rfc-editor.org/rfc/rfc1122#section-3.2.1.3) |
//! | `10.0.0.0/8` | private | yes | no | [RFC 1918](https://www.rfc-editor.org/rfc/rfc1918) |
//! | `172.16.0.0/12` | private | yes | no | [RFC 1918](https://www.rfc-editor.org/rfc/rfc1918) |
//! | `192.168.0.0/16` | private | yes | no | [RFC 1918](https://www.rfc-editor.org/rfc/rfc1918) |
//! | `100.64.0.0/10` | shared | yes | no | [RFC 6598](https://www.rfc-editor.org/rfc/rfc6598) |
//! | `192.0.0.0/24` | reserved | yes | no | [RFC 6890](https://www.rfc-editor.org/rfc/rfc6890#section-2.1), protocol assignments |
//! | `192.0.2.0/24` | documentation | yes | no | [RFC 5737](https://www.rfc-editor.org/rfc/rfc5737) |
//! | `198.51.100.0/24` | documentation | yes | no | [RFC 5737](https://www.rfc-editor.org/rfc/rfc5737) |
//! | `203.0.113.0/24` | documentation | yes | no | [RFC 5737](https://www.rfc-editor.org/rfc/rfc5737) |
//! | `192.88.99.0/24` | tunnel | yes | no | [RFC 7526](https://www.rfc-editor.org/rfc/rfc7526), relays of 6to4, deprecated |
//! | `198.18.0.0/15` | benchmarking | yes | no | [RFC 2544](https://www.rfc-editor.org/rfc/rfc2544) |
//! | `240.0.0.0/4` | reserved | yes | no | [RFC 1112](https://www.rfc-editor.org/rfc/rfc1112#section-4); some clouds use it inside |
//! | `::/128` | unspecified | no | no | [RFC 4291](https://www.rfc-editor.org/rfc/rfc4291#section-2.5.2) |
//! | `::1/128` | loopback | yes | no | [RFC 4291](https://www.rfc-editor.org/rfc/rfc4291#section-2.5.3) |
//! | `fd00:ec2::/32` | cloud metadata | no | no | [AWS](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html): `fd00:ec2::254`, and `::23` for pods |
//! | `fd20:ce::254/128` | cloud metadata | no | no | [Google Cloud](https://cloud.google.com/compute/docs/metadata/querying-metadata) |
//! | `fd00:42::42/128` | cloud metadata | no | no | [Scaleway](https://www.scaleway.com/en/docs/instances/how-to/use-metadata/) |
//! | `fd00:c1::a9fe:a9fe/128` | cloud metadata | no | no | [Oracle Cloud](https://github.com/oracle/oci-python-sdk/blob/master/src/oci/auth/signers/instance_principals_security_token_signer.py), by its SDK |
//! | `fd00:a9fe:a9fe::1/128` | cloud metadata | no | no | [Akamai](https://techdocs.akamai.com/cloud-computing/docs/metadata-service-api) |
//! | `fd00:100::100:200/128` | cloud metadata | no | no | [Alibaba Cloud](https://github.com/canonical/cloud-init/pull/6893), by its change to cloud-init |
//! | `fe80::/10` | link-local | no | no | [RFC 4291](https://www.rfc-editor.org/rfc/rfc4291#section-2.5.6) |
//! | `ff00::/8` | multicast | no | no | [RFC 4291](https://www.rfc-editor.org/rfc/rfc4291#section-2.7) |
//! | `64:ff9b:1::/48` | translation | no | no | [RFC 8215](https://www.rfc-editor.org/rfc/rfc8215): how IPv4 is in it is the site's choice, so it cannot be judged |
//! | `64:ff9b::/96` | translation | yes | yes | [RFC 6052](https://www.rfc-editor.org/rfc/rfc6052), judged by the IPv4 address inside |
//! | `fc00::/7` | private | yes | no | [RFC 4193](https://www.rfc-editor.org/rfc/rfc4193) |
//! | `fec0::/10` | private | yes | no | [RFC 3879](https://www.rfc-editor.org/rfc/rfc3879), deprecated |
//! | `2001:3::/32` | anycast | yes | yes | [RFC 7450](https://www.rfc-editor.org/rfc/rfc7450), global by IANA |
//! | `2001:4:112::/48` | anycast | yes | yes | [RFC 7535](https://www.rfc-editor.org/rfc/rfc7535), global by IANA |
//! | `2001::/32` | tunnel | yes | no | [RFC 4380](https://www.rfc-editor.org/rfc/rfc4380), Teredo |
//! | `2001:2::/48` | benchmarking | yes | no | [RFC 5180](https://www.rfc-editor.org/rfc/rfc5180) |
//! | `2001::/23` | reserved | yes | no | [RFC 2928](https://www.rfc-editor.org/rfc/rfc2928), protocol assignments |
//! | `2001:db8::/32` | documentation | yes | no | [RFC 3849](https://www.rfc-editor.org/rfc/rfc3849) |
//! | `3fff::/20` | documentation | yes | no | [RFC 9637](https://www.rfc-editor.org/rfc/rfc9637) |
//! | `2002::/16` | tunnel | yes | no | [RFC 3056](https://www.rfc-editor.org/rfc/rfc3056), 6to4, deprecated |
//! | `2000::/3` | global | yes | yes | [RFC 4291](https://www.rfc-editor.org/rfc/rfc4291#section-2.4) and the [IANA address space](https://www.iana.org/assignments/ipv6-address-space/) |
//! | `::/0` | reserved | yes | no | [IANA](https://www.iana.org/assignments/ipv6-address-space/): the rest, with `100::/64` (discard) and `5f00::/16` (segments) |
//!
//! Metadata services have names as well. Dialled directly, a name is judged by what it resolves to, and
//! so is each other name for the same address; through a proxy nobody here learns that. These are
//! refused by both profiles, directly too:
//!
//! | name | source |
//! |---|---|
//! | `metadata.google.internal`, `metadata.goog` | [Google Cloud](https://cloud.google.com/compute/docs/metadata/querying-metadata) |
//! | `instance-data.ec2.internal` | AWS, whose resolver has it |
//! | `metadata.tencentyun.com` | [Tencent Cloud](https://www.tencentcloud.com/document/product/213/4934) |
//! | `api.metadata.cloud.ibm.com` | [IBM Cloud](https://cloud.ibm.com/docs/vpc?topic=vpc-imd-about) |
//! | `metadata.exoscale.com` | [Exoscale](https://community.exoscale.com/product/compute/instances/how-to/user-data/) |
//! | `metadata.platformequinix.com`, `metadata.packet.net` | Equinix Metal and Packet, of old |
//!
//! Through a proxy `metadata`, `instance-data` and `rancher-metadata` are refused, too, which a cloud's
//! search domain completes.
//!
//! An IPv6 address that stands for an IPv4 one is refused where that one is: compatible, mapped,
//! translated, NAT64, 6to4, Teredo (server and client), ISATAP. A mapped one is the IPv4 address in
//! all respects.
//!
//! # Spellings
//!
//! A host is an IPv4 address in four decimal numbers, an IPv6 address in brackets, or a name. The
//! rest (`127.1`, `0x7f.0.0.1`, `017700000001`, percent-encoded, full-width digits, zones) is
//! refused by both profiles and [`WsUrl`](crate::WsUrl) alike, so that there is nothing to be read
//! in two ways.
//!
//! # Plaintext
//!
//! `ws` goes to loopback, by address or by a name that resolves to it; elsewhere only by
//! [`allow_plaintext`](Profile::allow_plaintext). A name with a loopback address among others is
//! dialled at that one.
//!
//! Who writes `localhost` (or a name below it) or a loopback address means this machine, and secrets are
//! shown there that would be shown to no other. So a `ws` URL of this machine is dialled here or not at
//! all, by each profile but [`Profile::unguarded`]: not where `localhost` resolves to something else,
//! not at another [address](crate::Connect::address), and not through a proxy, whose loopback is another
//! machine's.
//!
//! # Through a proxy
//!
//! The proxy resolves and dials, so the guard sees a name at most. There are two places for it, and
//! both are needed: a [`Guard`] around the connector that dials the proxy judges *the proxy's*
//! address, by the operator's profile (with plaintext allowed if the way to the proxy is `http` and
//! not on this machine; TLS to the server runs inside); a [`GuardLayer`] around the connector that
//! speaks to the proxy judges the *target*: its scheme, port, name, and address if it is written as
//! one. What the name resolves to is the proxy's to judge. For untrusted URLs, use a proxy that
//! does. [`Connect::through`](crate::Connect::through) has both.
//!
//! # What it does not do
//!
//! - It knows no NAT64 prefix but the well-known one: a site's own is to be
//!   [refused](Profile::refuse_network) by whoever dials untrusted URLs from within the site.
//! - It does not know which public addresses are your own.
//! - It cannot tell a directed broadcast of some network from its hosts.
//! - It does not look at what other layers dial: redirects are not followed here, and a connector
//!   of your own has the guard that you put around it.
//! - Its errors name the host and the address it resolved to. That is for the operator: to somebody
//!   untrusted, show the kind.
//!
//! Without it, a URL is dialled wherever it leads.

mod embedded;
mod names;
mod profile;
mod refused;
mod resolver;
mod service;
mod table;

pub use ipnet::IpNet;

pub use self::{
    profile::Profile,
    refused::{Refused, Rule},
    resolver::{Checked, Checking},
    service::{Guard, GuardLayer, Guarding},
};
