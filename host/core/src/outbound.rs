//! Where a component's requests may go: what its manifest grants, against what it asks for and what
//! that turned out to be. Nothing is looked up or connected here.
//!
//! A grant names a host, and so whoever may answer for that name. What a name resolves to is in
//! others' hands, so an address that is not public must be granted as an address: by itself, by its
//! network, or, for the own machine, as `localhost`.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

/// Whom a request is for. The host is a name or an address, IPv6 without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// A host that a component may send requests to: `[http://|https://]HOST[:PORT|:*]`, where the host
/// is a name, `*.` and a name, `*`, an address, or a network as `10.0.0.0/8`. Without a scheme it
/// is for both, without a port for the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    scheme: Option<Scheme>,
    host: Host,
    port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    Name(String),
    /// Every name that ends with this, which begins with a point.
    Under(String),
    Network {
        address: IpAddr,
        bits: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    OfScheme,
    Any,
    One(u16),
}

/// The longest name of a host, in bytes.
const NAME_BYTES_MAX: usize = 253;

impl Scheme {
    /// Its own port.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl Destination {
    /// Of a URL's scheme, its host with brackets if it is an IPv6 address, and its port if it has
    /// one.
    ///
    /// # Errors
    /// When no host has that name.
    pub fn new(scheme: Scheme, host: &str, port: Option<u16>) -> Result<Self, String> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (bare, host.parse::<IpAddr>()) {
            (Some(bare), _) => bare.parse::<Ipv6Addr>().map(|a| a.to_string()).ok(),
            (None, Ok(address)) => Some(address.to_string()),
            (None, Err(_)) => name(host),
        };
        let host = host.ok_or("no host has this name")?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.port()) })
    }

    /// How it is sent.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, where the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether the host is a name of the own machine, whatever a name server says.
    pub fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.ends_with(".localhost")
    }
}

/// A host's name in its one form: lower case, no point at its end.
fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let good = |label: &str| {
        let bytes = label.bytes();
        !label.is_empty()
            && label.len() <= 63
            && bytes.clone().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let fits = text.len() <= NAME_BYTES_MAX && text.split('.').all(good);
    fits.then(|| text.to_ascii_lowercase())
}

impl Grant {
    /// Read one as it stands in a manifest.
    ///
    /// # Errors
    /// With a sentence on what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some((other, _)) => return Err(format!("`{other}` is neither http nor https")),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(rest)?;
        Ok(Self { scheme, host: Host::parse(host)?, port })
    }

    fn fits(&self, to: &Destination) -> bool {
        let port = match self.port {
            Port::Any => true,
            Port::One(port) => port == to.port,
            Port::OfScheme => to.scheme.port() == to.port,
        };
        port && self.scheme.is_none_or(|scheme| scheme == to.scheme)
    }
}

fn split_port(text: &str) -> Result<(&str, Port), String> {
    let after_host = match text.rfind(']') {
        Some(end) => end,
        // An IPv6 network in no brackets has many colons.
        None if text.matches(':').count() > 1 => return Ok((text, Port::OfScheme)),
        None => 0,
    };
    let colon = text.get(after_host..).and_then(|rest| rest.rfind(':')).map(|at| after_host + at);
    let Some((host, port)) = colon.and_then(|at| text.split_at_checked(at)) else {
        return Ok((text, Port::OfScheme));
    };
    match port.strip_prefix(':').unwrap_or(port) {
        "*" => Ok((host, Port::Any)),
        digits => match digits.parse() {
            Ok(port) if port > 0 => Ok((host, Port::One(port))),
            _ => Err(format!("`{digits}` is no port")),
        },
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(under) = text.strip_prefix("*.") {
            let under = name(under).ok_or_else(|| format!("`{under}` is no host"))?;
            return Ok(Self::Under(format!(".{under}")));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let (address, bits) = match bare.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (bare, None),
        };
        match (address.parse::<IpAddr>(), bits) {
            (Ok(address), bits) => Self::network(address, bits),
            (Err(_), Some(_)) => Err("a host has no path; a network begins with an address".into()),
            (Err(_), None) => match name(text) {
                Some(name) => Ok(Self::Name(name)),
                None => Err(format!("`{text}` is no host")),
            },
        }
    }

    fn network(address: IpAddr, bits: Option<&str>) -> Result<Self, String> {
        let max = if address.is_ipv4() { 32 } else { 128 };
        let given = bits.map_or(Some(max), |bits| bits.parse().ok());
        let bits = given.filter(|bits| *bits <= max);
        let bits = bits.ok_or_else(|| format!("a network of {address} has 0 to {max} bits"))?;
        Ok(Self::Network { address, bits })
    }

    fn has(&self, address: IpAddr) -> bool {
        let Self::Network { address: network, bits } = self else { return false };
        let (one, other, width) = match (*network, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let rest = width - u32::from(*bits);
        (one ^ other).checked_shr(rest).unwrap_or(0) == 0
    }
}

/// Whether a request may be sent to that host, as far as its name tells.
pub fn permits(grants: &[Grant], to: &Destination) -> bool {
    grants.iter().filter(|grant| grant.fits(to)).any(|grant| match &grant.host {
        Host::Any => true,
        Host::Name(name) => *name == to.host,
        Host::Under(end) => to.host.ends_with(end.as_str()),
        Host::Network { .. } => to.address().is_some_and(|a| grant.host.has(a.to_canonical())),
    })
}

/// Whether a host that may be asked may be asked at the address that its name stands for.
pub fn permits_address(grants: &[Grant], to: &Destination, address: IpAddr) -> bool {
    let address = address.to_canonical();
    if is_public(address) {
        return true;
    }
    grants.iter().filter(|grant| grant.fits(to)).any(|grant| match &grant.host {
        Host::Network { .. } => grant.host.has(address),
        Host::Name(name) => *name == to.host && to.is_local() && address.is_loopback(),
        Host::Any | Host::Under(_) => false,
    })
}

/// Whether an address is one of the public internet's. What is none: the own machine, private
/// networks, those of providers and links, what has no single owner, and addresses in which
/// another one is hidden that a gateway would unpack.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127, ..] => true,
        [100, b, ..] => (64..128).contains(&b),
        [169, 254, ..] | [192, 168, ..] => true,
        [172, b, ..] => (16..32).contains(&b),
        [192, 0, 0 | 2, _] | [192, 88, 99, _] => true,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        [a, ..] => a >= 224,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // For protocols, documentation, and those in which an IPv4 address is hidden.
        [0x2001, b, ..] if b < 0x200 || b == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, b, ..] if b < 0x1000 => false,
        [a, ..] => a & 0xe000 == 0x2000,
    }
}

/// What to say of a host that may not be asked.
pub fn denial(to: &Destination) -> String {
    format!("{to} is not granted: it is in no `allowed_outbound_hosts` of the component")
}

/// What to say of a host whose addresses may not be asked.
pub fn address_denial(to: &Destination, address: IpAddr) -> String {
    let host = to.host().to_owned();
    format!(
        "{to}: {host} is at {address}, which is no public address; where that is meant, grant the \
         address or its network too"
    )
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn grants(texts: &[&str]) -> Vec<Grant> {
        texts.iter().map(|text| Grant::parse(text).unwrap()).collect()
    }

    /// A URL without a path.
    fn to(url: &str) -> Destination {
        let (scheme, rest) = url.split_once("://").unwrap();
        let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().unwrap())),
            _ => (rest, None),
        };
        Destination::new(scheme, host, port).unwrap()
    }

    /// If this failed, a component could reach a host that nobody granted, or not one that was.
    #[test]
    fn a_host_is_reached_by_its_grant_only() {
        let cases: [(&str, &[&str], &[&str]); 7] = [
            (
                "https://api.example.com",
                &[
                    "https://api.example.com",
                    "https://API.example.COM.",
                    "https://api.example.com:443",
                ],
                &[
                    "http://api.example.com",
                    "https://api.example.com:444",
                    "https://example.com",
                    "https://evil-api.example.com",
                    "https://api.example.com.evil.org",
                ],
            ),
            (
                "*.example.com",
                &["http://a.example.com", "https://a.b.example.com"],
                &["http://example.com", "http://badexample.com", "http://a.example.com:8080"],
            ),
            (
                "http://example.com:*",
                &["http://example.com:8080", "http://example.com"],
                &["https://example.com"],
            ),
            ("*", &["http://anything.org", "https://1.1.1.1"], &["http://anything.org:81"]),
            (
                "10.0.0.0/8",
                &["http://10.1.2.3", "http://[::ffff:10.1.2.3]"],
                &["http://11.0.0.1", "http://ten.example.com", "http://[::10.1.2.3]"],
            ),
            (
                "[fd00::1]:99",
                &["http://[fd00::1]:99", "https://[FD00:0::1]:99"],
                &["http://[fd00::2]:99", "http://[fd00::1]"],
            ),
            ("0.0.0.0/0", &["http://127.0.0.1"], &["http://[::1]", "http://0x7f.1"]),
        ];
        for (grant, good, bad) in cases {
            let granted = grants(&[grant]);
            good.iter().for_each(|url| assert!(permits(&granted, &to(url)), "{grant}: {url}"));
            bad.iter().for_each(|url| assert!(!permits(&granted, &to(url)), "{grant}: {url}"));
        }
        assert!(!permits(&[], &to("http://a")));
    }

    /// If this failed, a name server could lead a component into the operator's own networks.
    #[test]
    fn addresses_that_are_not_public_must_be_named() {
        let any = grants(&["*", "*.example.com:*", "api.example.com"]);
        let name = to("http://api.example.com");
        for address in ["1.1.1.1", "2606:4700::1111", "100.63.0.1", "172.32.0.1"] {
            assert!(permits_address(&any, &name, address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:7f00::1",
            "2001:db8::1",
            "100::1",
        ] {
            let ip = address.parse().unwrap();
            assert!(!permits_address(&any, &name, ip), "{address}");
            let literal = match address.contains(':') {
                true => format!("http://[{address}]"),
                false => format!("http://{address}"),
            };
            assert!(!permits_address(&any, &to(&literal), ip), "{literal}");
        }
        let named = grants(&["api.example.com", "10.0.0.0/8"]);
        assert!(permits_address(&named, &name, "10.1.2.3".parse().unwrap()));
        assert!(permits_address(&named, &name, "::ffff:10.1.2.3".parse().unwrap()));
        assert!(!permits_address(&named, &name, "192.168.0.1".parse().unwrap()));
        assert!(!permits_address(&named, &to("http://b.org:99"), "10.1.2.3".parse().unwrap()));

        let local = grants(&["http://localhost:8080"]);
        let machine = to("http://localhost:8080");
        assert!(permits(&local, &machine) && machine.is_local());
        assert!(permits_address(&local, &machine, "127.0.0.1".parse().unwrap()));
        assert!(permits_address(&local, &machine, "::1".parse().unwrap()));
        assert!(!permits_address(&local, &machine, "10.0.0.1".parse().unwrap()));
        assert!(!permits(&local, &to("http://127.0.0.1:8080")));
    }

    /// If this failed, a grant that means nothing, or too much, would be deployed.
    #[test]
    fn grants_that_mean_nothing_are_refused() {
        let said = |text: &str| Grant::parse(text).unwrap_err();
        assert_eq!(said("ftp://a"), "`ftp` is neither http nor https");
        assert_eq!(said("http://a/b"), "a host has no path; a network begins with an address");
        assert_eq!(said("http://a:0"), "`0` is no port");
        assert_eq!(said("http://a:b"), "`b` is no port");
        assert_eq!(said("user@a"), "`user@a` is no host");
        assert_eq!(said("a.*.b"), "`a.*.b` is no host");
        assert_eq!(said(""), "`` is no host");
        assert_eq!(said("10.0.0.0/33"), "a network of 10.0.0.0 has 0 to 32 bits");
        assert!(Destination::new(Scheme::Http, "a b", None).is_err());
        assert!(Destination::new(Scheme::Http, "[::1", None).is_err());
        assert_eq!(to("http://[0::1]:80").to_string(), "http://[::1]:80");
    }
}
