//! Who a node is: the identity that its cluster's [`Authority`](crate::Authority) gave it.
//!
//! An identity is one PEM file: the node's certificate and key, the authority's certificate, and
//! the key that seals beacons. The certificate's only name is `<node>.<cluster>.izna`; the node's
//! id is a digest of `<node>`, the cluster's id one of the authority's certificate.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use izna_proto::{ClusterId, NodeId, ZoneId};
use pem::Pem;
use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

pub use crate::identity_error::Error;
use crate::secret;

/// What seals beacons.
pub(crate) type BeaconKey = [u8; 32];

pub(crate) const BEACON_KEY: &str = "IZNA BEACON KEY";
pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";
/// The last label of every name in a certificate.
const DOMAIN: &str = "izna";

/// Who a node is, checked.
pub struct Identity {
    /// Its name.
    pub name: Arc<str>,
    /// Its id: a digest of the name.
    pub node: NodeId,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// When its certificate ends to be good.
    pub expires: SystemTime,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) beacon_key: BeaconKey,
}

impl Identity {
    /// The identity in the file at `path`.
    ///
    /// # Errors
    /// When the file is missing, can be read by others, is something else, is mixed from several,
    /// or its certificate is not good now.
    pub fn load(path: &Path) -> Result<Self, Error> {
        const EXPECTED: &str = "a node's identity";
        let text = secret::read(path, "the cluster's authority issues identities")?;
        let blocks = parts(path, EXPECTED, &text)?;
        let other = |why: &str| Error::Other {
            path: path.to_path_buf(),
            expected: EXPECTED,
            why: why.to_string(),
        };
        let certificates: Vec<_> = blocks.iter().filter(|b| b.tag() == CERTIFICATE).collect();
        let &[node_block, authority_block] = certificates.as_slice() else {
            let count = certificates.len();
            return Err(other(&format!("it has {count} certificates where an identity has two")));
        };
        let key_der = one(path, EXPECTED, &blocks, PRIVATE_KEY)?;
        let beacon_key = beacon_key(path, EXPECTED, &blocks)?;
        let certificate = CertificateDer::from(node_block.contents().to_vec());
        let authority = CertificateDer::from(authority_block.contents().to_vec());
        let parsed = parse(path, EXPECTED, &certificate)?;
        let parsed_authority = parse(path, EXPECTED, &authority)?;
        if parsed.is_ca() || !parsed_authority.is_ca() {
            return Err(other("it needs the node's certificate first, then the authority's"));
        }
        let mixed = |why: &str| Error::Mixed { path: path.to_path_buf(), why: why.to_string() };
        let key = KeyPair::try_from(key_der).map_err(|error| other(&error.to_string()))?;
        if *parsed.public_key().subject_public_key.data != *key.public_key_raw() {
            return Err(mixed("the private key is not the one of the certificate"));
        }
        if parsed.verify_signature(Some(parsed_authority.public_key())).is_err() {
            return Err(mixed("another authority has issued the node's certificate"));
        }
        let cluster = cluster_id(&authority);
        let peer = Peer::of(&certificate, cluster).map_err(|why| mixed(&why.to_string()))?;
        check_dates(path, &peer.name, &parsed)?;
        check_dates(path, "the authority", &parsed_authority)?;
        let expires = parsed.validity().not_after.timestamp();
        let expires = Duration::from_secs(u64::try_from(expires).unwrap_or(0));
        Ok(Self {
            expires: SystemTime::UNIX_EPOCH + expires,
            node: peer.node,
            name: peer.name,
            cluster,
            key: PrivatePkcs8KeyDer::from(key_der.to_vec()).into(),
            certificate,
            authority,
            beacon_key,
        })
    }
}

/// Who the other side of a link is, as its certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) name: Arc<str>,
}

/// Why a certificate does not name a node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("its certificate cannot be read")]
    Unreadable,
    #[error("its certificate names no node")]
    Nameless,
    #[error("its certificate names \"{name}\", which is not of the cluster {cluster}")]
    Cluster { name: String, cluster: ClusterId },
}

impl Peer {
    /// The node that a certificate names. Does not check who signed it.
    pub(crate) fn of(certificate: &[u8], cluster: ClusterId) -> Result<Self, PeerError> {
        let (rest, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| PeerError::Unreadable)?;
        let names = parsed.subject_alternative_name().map_err(|_| PeerError::Unreadable)?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let [GeneralName::DNSName(name)] = names else { return Err(PeerError::Nameless) };
        if !rest.is_empty() {
            return Err(PeerError::Unreadable);
        }
        let node = name.strip_suffix(&server_name("", cluster));
        match node {
            Some(node) if is_name(node) => Ok(Self { node: node_id(node), name: node.into() }),
            _ => Err(PeerError::Cluster { name: name.to_string(), cluster }),
        }
    }
}

/// Whether a node can have this name.
pub fn is_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The id of the node of that name.
pub fn node_id(name: &str) -> NodeId {
    NodeId(izna_store::digest(name.as_bytes()).short())
}

pub(crate) fn cluster_id(authority: &[u8]) -> ClusterId {
    ClusterId(izna_store::digest(authority).short())
}

/// The zone of that name in a cluster.
pub(crate) fn zone_id(cluster: ClusterId, name: &str) -> ZoneId {
    let bytes = [&cluster.0.to_be_bytes()[..], name.as_bytes()].concat();
    let first = izna_store::digest(&bytes).short() >> 32;
    ZoneId(u32::try_from(first).unwrap_or(u32::MAX))
}

/// The name in a node's certificate.
pub(crate) fn server_name(node: &str, cluster: ClusterId) -> String {
    format!("{node}.{:016x}.{DOMAIN}", cluster.0)
}

pub(crate) fn parts(path: &Path, expected: &'static str, text: &str) -> Result<Vec<Pem>, Error> {
    let other = |why: String| Error::Other { path: path.to_path_buf(), expected, why };
    let blocks = pem::parse_many(text).map_err(|error| other(error.to_string()))?;
    if blocks.is_empty() {
        return Err(other("it has no PEM block".to_string()));
    }
    Ok(blocks)
}

pub(crate) fn one<'a>(
    path: &Path,
    expected: &'static str,
    blocks: &'a [Pem],
    tag: &str,
) -> Result<&'a [u8], Error> {
    let found: Vec<_> = blocks.iter().filter(|block| block.tag() == tag).collect();
    match found.as_slice() {
        [block] => Ok(block.contents()),
        _ => {
            let why = format!("it has {} blocks named {tag} where it must have one", found.len());
            Err(Error::Other { path: path.to_path_buf(), expected, why })
        }
    }
}

pub(crate) fn beacon_key(
    path: &Path,
    expected: &'static str,
    blocks: &[Pem],
) -> Result<BeaconKey, Error> {
    one(path, expected, blocks, BEACON_KEY)?.try_into().map_err(|_| {
        let why = "its beacon key does not have 32 bytes".to_string();
        Error::Other { path: path.to_path_buf(), expected, why }
    })
}

pub(crate) fn parse<'a>(
    path: &Path,
    expected: &'static str,
    der: &'a [u8],
) -> Result<X509Certificate<'a>, Error> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => {
            let why = "a certificate in it is damaged".to_string();
            Err(Error::Other { path: path.to_path_buf(), expected, why })
        }
    }
}

pub(crate) fn check_dates(
    path: &Path,
    name: &str,
    certificate: &X509Certificate,
) -> Result<(), Error> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let (path, name) = (path.to_path_buf(), name.to_string());
    let validity = certificate.validity();
    if now > validity.not_after.timestamp() {
        let at = validity.not_after.to_string();
        return Err(Error::Expired { path, name, at });
    }
    if now < validity.not_before.timestamp() {
        let at = validity.not_before.to_string();
        return Err(Error::NotYet { path, name, at });
    }
    Ok(())
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut identity = f.debug_struct("Identity");
        identity.field("name", &self.name).field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::authority::{Authority, Bundle, DAY, tests::authority};

    /// The identity that a file with this content would give.
    pub(crate) fn load(pem: &str) -> Result<Identity, Error> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("one.identity");
        secret::create(&path, pem.as_bytes()).unwrap();
        Identity::load(&path)
    }

    fn blocks(bundle: &Bundle) -> Vec<Pem> {
        pem::parse_many(bundle.pem()).unwrap()
    }

    fn refusal(blocks: &[&Pem]) -> String {
        let blocks: Vec<_> = blocks.iter().map(|&block| block.clone()).collect();
        load(&pem::encode_many(&blocks)).unwrap_err().to_string()
    }

    /// If this fails, nodes cannot be given identities, or these differ from what others compute.
    #[test]
    fn an_identity_says_who_a_node_is() {
        let place = tempfile::tempdir().unwrap();
        let made = Authority::create(place.path(), "test").unwrap();
        let authority = Authority::open(place.path()).unwrap();
        assert_eq!(made.cluster(), authority.cluster());
        let path = authority.issue("node-1").unwrap().write(place.path()).unwrap();
        assert_eq!(path, place.path().join("node-1.identity"));
        let identity = Identity::load(&path).unwrap();
        assert_eq!((&*identity.name, identity.cluster), ("node-1", made.cluster()));
        // The first eight bytes of sha256sum's answer.
        assert_eq!(node_id("node-1"), identity.node);
        assert_eq!(node_id("abc"), NodeId(0xba78_16bf_8f01_cfea));
        assert_eq!(identity.beacon_key, made.beacon_key);
        for name in ["ca.key", "beacon.key", "node-1.identity"] {
            let mode = fs::metadata(place.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    /// If this fails, an operator with a wrong file is not told what is wrong with it.
    #[test]
    fn wrong_files_are_told_apart() {
        let missing = Identity::load(Path::new("/nowhere/x.identity")).unwrap_err();
        assert!(matches!(missing, Error::Missing { .. }), "{missing}");
        for not in ["", "hello", "\u{0}"] {
            let refused = load(not).unwrap_err().to_string();
            assert!(refused.contains("is not a node's identity: it has no PEM block"), "{refused}");
        }
        let cut = authority().issue("a").unwrap().pem().to_string();
        let refused = load(&cut[..cut.len() / 2]).unwrap_err();
        assert!(matches!(refused, Error::Other { .. }), "{refused}");
        let (one, two) = (authority(), authority());
        let (a, b) = (blocks(&one.issue("a").unwrap()), blocks(&two.issue("b").unwrap()));
        let check = |blocks: &[&Pem], text: &str| {
            let refusal = refusal(blocks);
            assert!(refusal.contains(text), "{refusal}");
        };
        check(&[&a[0], &a[1], &a[3]], "it has 1 certificates where an identity has two");
        check(&[&a[0], &a[2], &a[3]], "it has 0 blocks named PRIVATE KEY");
        check(&[&a[0], &a[1], &a[2]], "it has 0 blocks named IZNA BEACON KEY");
        check(&[&a[2], &a[1], &a[0], &a[3]], "the node's certificate first");
        check(&[&a[0], &b[1], &a[2], &a[3]], "the private key is not the one of the certificate");
        check(&[&a[0], &a[1], &b[2], &a[3]], "another authority has issued");
        let damaged = Pem::new(CERTIFICATE, a[0].contents()[..40].to_vec());
        check(&[&damaged, &a[1], &a[2], &a[3]], "a certificate in it is damaged");
        let short = Pem::new(BEACON_KEY, vec![0; 31]);
        check(&[&a[0], &a[1], &a[2], &short], "its beacon key does not have 32 bytes");
    }

    /// If this fails, a node starts with a key that everyone on the machine could have read.
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = authority().issue("a").unwrap().write(place.path()).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = Identity::load(&path).unwrap_err();
            assert!(matches!(refused, Error::Mode { .. }), "{refused}");
            assert!(refused.to_string().contains(&format!("its mode is {mode:04o}")), "{refused}");
        }
    }

    /// If this fails, a node starts that no other will talk to, without a word why.
    #[test]
    fn dates_are_checked() {
        let (authority, now) = (authority(), SystemTime::now());
        let old = authority.issue_between("a", now - 3 * DAY, DAY).unwrap();
        let refused = load(old.pem()).unwrap_err();
        assert!(matches!(&refused, Error::Expired { name, .. } if name == "a"), "{refused}");
        let new = authority.issue_between("a", now + 3 * DAY, DAY).unwrap();
        let refused = load(new.pem()).unwrap_err();
        assert!(matches!(refused, Error::NotYet { .. }), "{refused}");
    }
}
