//! Where a request came from: the client's address and agent, and the request's id. Only this file reads
//! `X-Forwarded-For`, `User-Agent` and `X-Request-Id`.
//!
//! Promises one form for each address: an IPv4 address that arrives mapped into IPv6 (`::ffff:192.0.2.1`, as a socket
//! for both families shows it) becomes the IPv4 address. Refuses to believe `X-Forwarded-For` and `X-Request-Id` from a
//! peer that is not a trusted proxy.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use context::{Client, Personal, RequestId};
use poem::{
    Request,
    http::header::{HeaderName, USER_AGENT},
    web::RemoteAddr,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many characters of an agent are kept.
const AGENT_CHARS: usize = 256;

/// The proxies that are believed about the address of a client.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpAddr>);

impl TrustedProxies {
    /// The proxies at these addresses.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(addresses.into_iter().map(|address| address.to_canonical()).collect())
    }

    /// Their addresses, in canonical form.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.0
    }

    /// The client behind the connection's other end. If that end is a trusted proxy, the client is the last address in
    /// `X-Forwarded-For` that is not a trusted proxy; the addresses before it may be written by anybody.
    fn behind<'a>(&self, peer: IpAddr, forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.0.contains(&peer) {
            return peer;
        }
        // Bytes instead of text, so that a client's own bytes beyond ASCII do not hide what the proxy wrote behind
        // them.
        let hops = forwarded_for.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        let named = hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()).map_while(address_of);
        named.into_iter().find(|hop| !self.0.contains(hop)).unwrap_or(peer)
    }
}

/// The address of a hop, which may come with a port: `198.51.100.7`, `198.51.100.7:40112`, `2001:db8::7`,
/// `[2001:db8::7]`, `[2001:db8::7]:40112`.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = (text.parse::<IpAddr>().ok())
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| in_brackets().map(IpAddr::V6))?;
    Some(address.to_canonical())
}

/// The id of a request: the `X-Request-Id` of a trusted proxy, otherwise a new one. A client's own would stand in the
/// log in clear, beyond an erasure, and could name the client.
pub(crate) fn request_id(request: &Request) -> RequestId {
    let trusted = request.data::<TrustedProxies>();
    let is_trusted = |peer: IpAddr| trusted.is_some_and(|trusted| trusted.0.contains(&peer.to_canonical()));
    let given = || request.headers().get(REQUEST_ID)?.to_str().ok()?.parse().ok().map(RequestId);
    match request.remote_addr() {
        RemoteAddr(poem::Addr::SocketAddr(address)) if is_trusted(address.ip()) => given(),
        _ => None,
    }
    .unwrap_or_else(RequestId::random)
}

/// The address and the agent of the client that sent a request.
pub(crate) fn client(request: &Request) -> Client {
    let address = match request.remote_addr() {
        RemoteAddr(poem::Addr::SocketAddr(address)) => {
            let values: Vec<_> =
                request.headers().get_all(FORWARDED_FOR).iter().map(|value| value.as_bytes()).collect();
            let nobody = TrustedProxies::default();
            let trusted = request.data::<TrustedProxies>().unwrap_or(&nobody);
            trusted.behind(address.ip(), values.into_iter()).to_string()
        }
        RemoteAddr(other) => other.to_string(),
    };
    let agent = request.headers().get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let agent: String = agent.unwrap_or_default().chars().filter(|c| !c.is_control()).take(AGENT_CHARS).collect();
    Client { address: Personal::new(address), agent: Personal::new(agent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(trusted: &[&str], peer: &str, forwarded_for: &[&[u8]]) -> String {
        let parse = |text: &str| text.parse().expect("an address");
        let trusted = TrustedProxies::new(trusted.iter().map(|text| parse(text)));
        trusted.behind(parse(peer), forwarded_for.iter().copied()).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_its_own_word() {
        assert_eq!(seen(&[], "192.0.2.1", &[b"198.51.100.7"]), "192.0.2.1", "nobody is trusted");
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &[b"198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.9", &[b"198.51.100.7"]), "192.0.2.9", "another peer");
        let forged: [&[u8]; 1] = [b"203.0.113.5, 198.51.100.7"];
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &forged), "198.51.100.7", "what the client wrote itself");
        let chain: [&[u8]; 2] = [b"203.0.113.5", b"198.51.100.7, 192.0.2.2"];
        assert_eq!(seen(&["192.0.2.1", "192.0.2.2"], "192.0.2.1", &chain), "198.51.100.7", "a chain of proxies");
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &[b"unknown"]), "192.0.2.1");
        assert_eq!(
            seen(&["192.0.2.1"], "192.0.2.1", &[b"203.0.113.5, unknown"]),
            "192.0.2.1",
            "nothing before a fault"
        );
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn an_address_has_one_form_however_it_arrives() {
        for (trusted, peer) in [
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        ] {
            for (hop, address) in [
                ("198.51.100.7", "198.51.100.7"),
                ("198.51.100.7:40112", "198.51.100.7"),
                ("::ffff:198.51.100.7", "198.51.100.7"),
                ("[::ffff:198.51.100.7]:40112", "198.51.100.7"),
                ("2001:db8::7", "2001:db8::7"),
                ("[2001:db8::7]", "2001:db8::7"),
                ("[2001:db8::7]:40112", "2001:db8::7"),
                ("198.51.100.7 ,", "198.51.100.7"),
                ("\t198.51.100.7\t", "198.51.100.7"),
                ("203.0.113.5, 198.51.100.7:1, ::ffff:127.0.0.1", "198.51.100.7"),
            ] {
                assert_eq!(seen(&[trusted], peer, &[hop.as_bytes()]), address, "{hop} by {peer}");
            }
        }
        assert_eq!(seen(&[], "::ffff:192.0.2.1", &[]), "192.0.2.1", "a client without a proxy");
        for wrong in ["198.51.100.7:", "[198.51.100.7]", "2001:db8::7:x", "[2001:db8::7", "198.51.100.7:99999"] {
            assert_eq!(seen(&["127.0.0.1"], "127.0.0.1", &[wrong.as_bytes()]), "127.0.0.1", "{wrong}");
        }
    }

    #[test]
    fn bytes_beyond_ascii_hide_nobody() {
        let hidden: [&[u8]; 1] = [b"\xff\xe9, 198.51.100.7"];
        assert_eq!(seen(&["192.0.2.1"], "192.0.2.1", &hidden), "198.51.100.7");
    }
}
