//! The cluster's authority: gives each node its identity. Its files are needed to add a node, never
//! to run one.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use izna_proto::ClusterId;
use pem::Pem;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::{
    identity::{
        BEACON_KEY, BeaconKey, CERTIFICATE, Error, PRIVATE_KEY, beacon_key, check_dates,
        cluster_id, is_name, one, parse, parts, server_name,
    },
    secret,
};

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const BEACON_KEY_FILE: &str = "beacon.key";
/// How much a node's clock may be behind the authority's.
const SKEW: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long an authority is good.
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);
/// How long a node's certificate is good.
const NODE_LIFE: Duration = DAY.saturating_mul(730);

/// What makes the nodes of one cluster known to each other. Whoever has its files can add nodes.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(crate) beacon_key: BeaconKey,
}

/// The identity of one node as a file.
pub struct Bundle {
    name: String,
    pem: String,
}

impl Authority {
    /// Make an authority for a new cluster, and its files in `directory`: `ca.crt`, `ca.key`,
    /// `beacon.key`.
    ///
    /// # Errors
    /// When one is there already, or the files cannot be written.
    pub fn create(directory: &Path, cluster: &str) -> Result<Self, Error> {
        secret::directory(directory)?;
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, format!("izna cluster {cluster}"));
        set_life(&mut params, SystemTime::now(), AUTHORITY_LIFE);
        let made = params.self_signed(&key);
        let made = made.map_err(|source| Error::Make { what: "the authority", source })?;
        let mut beacon_key = BeaconKey::default();
        SystemRandom::new().fill(&mut beacon_key).map_err(|_| Error::Random)?;
        // The key comes first: with it there, a second try is refused before it changes anything.
        secret::create(&directory.join(CA_KEY), key.serialize_pem().as_bytes())?;
        let beacon_pem = pem::encode(&Pem::new(BEACON_KEY, beacon_key.to_vec()));
        secret::create(&directory.join(BEACON_KEY_FILE), beacon_pem.as_bytes())?;
        secret::create(&directory.join(CA_CERTIFICATE), made.pem().as_bytes())?;
        Self::open(directory)
    }

    /// The authority whose files are in `directory`.
    ///
    /// # Errors
    /// When a file is missing, can be read by others, or is something else.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        const HINT: &str = "an authority has ca.crt, ca.key and beacon.key";
        let certificate_path = directory.join(CA_CERTIFICATE);
        let (key_path, beacon_path) = (directory.join(CA_KEY), directory.join(BEACON_KEY_FILE));
        let certificate_pem = secret::read_open(&certificate_path, HINT)?;
        let key_pem = secret::read(&key_path, HINT)?;
        let beacon = parts(&beacon_path, "a beacon key", &secret::read(&beacon_path, HINT)?)?;
        let beacon_key = beacon_key(&beacon_path, "a beacon key", &beacon)?;
        let other = |path: &Path, expected, why: String| Error::Other {
            path: path.to_path_buf(),
            expected,
            why,
        };
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|error| other(&key_path, "an authority's key", error.to_string()))?;
        let expected = "an authority's certificate";
        let block = parts(&certificate_path, expected, &certificate_pem)?;
        let der = one(&certificate_path, expected, &block, CERTIFICATE)?;
        let certificate = CertificateDer::from(der.to_vec());
        let parsed = parse(&certificate_path, expected, &certificate)?;
        if !parsed.is_ca() {
            let why = "it is a node's certificate".to_string();
            return Err(other(&certificate_path, expected, why));
        }
        if *parsed.public_key().subject_public_key.data != *key.public_key_raw() {
            let why = format!("{CA_KEY} is not the key of {CA_CERTIFICATE}");
            return Err(Error::Mixed { path: directory.to_path_buf(), why });
        }
        check_dates(&certificate_path, "the authority", &parsed)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| other(&certificate_path, expected, error.to_string()))?;
        Ok(Self { issuer, certificate, beacon_key })
    }

    /// The cluster's id.
    pub fn cluster(&self) -> ClusterId {
        cluster_id(&self.certificate)
    }

    /// A new identity for the node of that name, good for two years. Issuing one does not end
    /// older ones.
    ///
    /// # Errors
    /// When no node can have the name.
    pub fn issue(&self, node: &str) -> Result<Bundle, Error> {
        self.issue_between(node, SystemTime::now(), NODE_LIFE)
    }

    pub(crate) fn issue_between(
        &self,
        node: &str,
        from: SystemTime,
        life: Duration,
    ) -> Result<Bundle, Error> {
        if !is_name(node) {
            return Err(Error::Name { name: node.to_string() });
        }
        let making = |source| Error::Make { what: "a node's certificate", source };
        let key = new_key()?;
        let name = server_name(node, self.cluster());
        let mut params = CertificateParams::new([name]).map_err(making)?;
        params.distinguished_name.push(DnType::CommonName, node);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        set_life(&mut params, from, life);
        let made = params.signed_by(&key, &self.issuer).map_err(making)?;
        let blocks = [
            Pem::new(CERTIFICATE, made.der().to_vec()),
            Pem::new(PRIVATE_KEY, key.serialize_der()),
            Pem::new(CERTIFICATE, self.certificate.to_vec()),
            Pem::new(BEACON_KEY, self.beacon_key.to_vec()),
        ];
        Ok(Bundle { name: node.to_string(), pem: pem::encode_many(&blocks) })
    }
}

impl Bundle {
    /// The file's content. It has secret keys.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Write it to `<name>.identity` in `directory`, for its owner only, in place of an older one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, Error> {
        secret::directory(directory)?;
        let path = directory.join(format!("{}.identity", self.name));
        secret::replace(&path, self.pem.as_bytes())?;
        Ok(path)
    }
}

fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|source| Error::Make { what: "a key", source })
}

fn set_life(params: &mut CertificateParams, from: SystemTime, life: Duration) {
    params.not_before = OffsetDateTime::from(from - SKEW);
    params.not_after = OffsetDateTime::from(from + life);
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A new cluster's authority.
    pub(crate) fn authority() -> Authority {
        let place = tempfile::tempdir().unwrap();
        Authority::create(place.path(), "test").unwrap()
    }

    /// If this fails, a second `create` destroys a cluster's authority.
    #[test]
    fn an_authority_is_not_replaced() {
        let place = tempfile::tempdir().unwrap();
        let cluster = Authority::create(place.path(), "test").unwrap().cluster();
        let refused = Authority::create(place.path(), "test").unwrap_err();
        assert!(matches!(refused, Error::Exists { .. }), "{refused}");
        assert_eq!(Authority::open(place.path()).unwrap().cluster(), cluster);
    }

    /// If this fails, a name could reach outside its label of the certificate's name.
    #[test]
    fn names_are_checked() {
        let long = "a".repeat(63);
        for good in ["a", "node-1", "0", &long] {
            assert!(is_name(good), "{good}");
        }
        let longer = "a".repeat(64);
        for bad in ["", "-", "-a", "a-", "A", "a.b", "a b", "é", "a\n", "*", &longer] {
            let refused = authority().issue(bad).unwrap_err();
            assert!(matches!(refused, Error::Name { .. }), "{bad}: {refused}");
        }
    }
}
