//! TLS between nodes: version 1.3, both sides with a certificate of the cluster's authority, no
//! resumption, so that every link is checked anew.
//!
//! A dialler knows from a beacon only the *id* of the node it dials, and certificates name the
//! node's *name*. So [`Dialled`] checks the chain first, without a name, and then that the one name
//! in the certificate has that id; the id travels from the dialler to the verifier in the place of
//! the server's name. An acceptor has no expectation: it takes any node of the cluster, and learns
//! from the certificate which ([`peer`]).

use std::sync::Arc;

use izna_proto::{ClusterId, NodeId};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier},
    version::TLS13,
};

use crate::identity::{Identity, Peer, PeerError};

/// The protocol that bulk connections agree on (ALPN). Links agree on none.
pub(crate) const BULK: &[u8] = b"izna-bulk";

/// Both ends' settings.
#[derive(Debug, Clone)]
pub(crate) struct Configs {
    /// For who makes a link.
    pub(crate) client: Arc<ClientConfig>,
    /// For who makes a bulk connection.
    pub(crate) bulk: Arc<ClientConfig>,
    /// For who takes either.
    pub(crate) server: Arc<ServerConfig>,
}

/// Why an identity cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
#[error("the identity of {name} cannot be used for TLS")]
pub struct Error {
    name: Arc<str>,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The settings for an identity.
pub(crate) fn configs(identity: &Identity) -> Result<Configs, Error> {
    build(identity).map_err(|source| Error { name: identity.name.clone(), source })
}

fn build(identity: &Identity) -> Result<Configs, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority.clone())?;
    let roots = Arc::new(roots);
    let chain = vec![identity.certificate.clone()];

    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), identity.key.clone_key())?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.alpn_protocols = vec![BULK.to_vec()];

    let verifier = Dialled::new(roots, identity.cluster, &provider);
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, identity.key.clone_key())?;
    client.resumption = Resumption::disabled();
    // The name holds an id that is of nobody else's interest.
    client.enable_sni = false;
    let mut bulk = client.clone();
    bulk.alpn_protocols = vec![BULK.to_vec()];
    Ok(Configs { client: Arc::new(client), bulk: Arc::new(bulk), server: Arc::new(server) })
}

/// What a dialler gives as the server's name: the id of the node it dials.
pub(crate) fn dialled(node: NodeId) -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(format!("n-{:016x}.izna", node.0))
        .map_err(|error| rustls::Error::General(error.to_string()))
}

/// Who is on the other side, after the handshake.
pub(crate) fn peer(
    certificates: Option<&[CertificateDer<'_>]>,
    cluster: ClusterId,
) -> Result<Peer, PeerError> {
    Peer::of(certificates.and_then(<[_]>::first).ok_or(PeerError::Nameless)?, cluster)
}

/// Checks that the other side is the node that was dialled.
#[derive(Debug)]
struct Dialled {
    roots: Arc<RootCertStore>,
    cluster: ClusterId,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Dialled {
    fn new(roots: Arc<RootCertStore>, cluster: ClusterId, provider: &CryptoProvider) -> Self {
        Self { roots, cluster, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Dialled {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        // Only now that the authority is known to have made the certificate is its name read.
        let peer = Peer::of(end_entity, self.cluster)
            .map_err(|error| CertificateError::Other(rustls::OtherError(Arc::new(error))))?;
        if dialled(peer.node)? != *server_name {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::{
        authority::{Authority, tests::authority},
        identity::{node_id, tests::load},
    };

    fn node(authority: &Authority, name: &str) -> Identity {
        load(authority.issue(name).unwrap().pem()).unwrap()
    }

    /// An identity that was good when it was loaded and has expired since.
    fn expired(authority: &Authority, name: &str) -> Identity {
        let long_ago = SystemTime::now() - Duration::from_secs(9 * 24 * 3600);
        let bundle = authority.issue_between(name, long_ago, Duration::from_secs(3600)).unwrap();
        let blocks = pem::parse_many(bundle.pem()).unwrap();
        let mut identity = node(authority, name);
        identity.certificate = blocks[0].contents().to_vec().into();
        identity.key =
            rustls::pki_types::PrivatePkcs8KeyDer::from(blocks[1].contents().to_vec()).into();
        identity
    }

    /// Shake hands and pass one byte each way: who the acceptor saw, and what went wrong on either
    /// side.
    async fn shake(
        client: Arc<ClientConfig>,
        server: &Identity,
        dial: NodeId,
    ) -> Result<Peer, String> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(configs(server).unwrap().server);
        let cluster = server.cluster;
        let accept = async move {
            let mut stream = acceptor.accept(far).await.map_err(|e| format!("acceptor: {e}"))?;
            let peer = peer(stream.get_ref().1.peer_certificates(), cluster);
            let peer = peer.map_err(|e| format!("acceptor: {e}"))?;
            stream.write_u8(1).await.and(stream.read_u8().await).map_err(|e| e.to_string())?;
            Ok(peer)
        };
        let dial = async move {
            let connector = TlsConnector::from(client);
            let stream = connector.connect(dialled(dial).unwrap(), near).await;
            let mut stream = stream.map_err(|e| format!("dialler: {e}"))?;
            stream.write_u8(1).await.and(stream.read_u8().await).map_err(|e| e.to_string())?;
            Ok::<_, String>(())
        };
        match tokio::join!(accept, dial) {
            (Ok(peer), Ok(())) => Ok(peer),
            (accepted, dialled) => {
                let texts = [accepted.err(), dialled.err()];
                Err(texts.into_iter().flatten().collect::<Vec<_>>().join("; "))
            }
        }
    }

    async fn refused(client: &Identity, server: &Identity, dial: &str, text: &str) {
        let client = configs(client).unwrap().client;
        let error = shake(client, server, node_id(dial)).await.unwrap_err();
        assert!(error.contains(text), "{error}");
    }

    /// If this fails, two nodes of a cluster cannot link.
    #[tokio::test]
    async fn nodes_of_a_cluster_know_each_other() {
        let authority = authority();
        let (a, b) = (node(&authority, "a"), node(&authority, "b"));
        let seen = shake(configs(&a).unwrap().client, &b, b.node).await.unwrap();
        assert_eq!(seen, Peer { node: a.node, name: a.name });
    }

    /// If this fails, a node of the cluster can take another's place.
    #[tokio::test]
    async fn the_other_must_be_the_node_dialled() {
        let authority = authority();
        let (a, b) = (node(&authority, "a"), node(&authority, "b"));
        refused(&a, &b, "c", "NotValidForName").await;
        refused(&a, &b, "a", "NotValidForName").await;
    }

    /// If this fails, strangers are let in.
    #[tokio::test]
    async fn strangers_are_refused() {
        let (ours, theirs) = (authority(), authority());
        let (a, b) = (node(&ours, "a"), node(&ours, "b"));
        let stranger = node(&theirs, "b");
        refused(&a, &stranger, "b", "dialler: invalid peer certificate: BadSignature").await;
        // One that trusts our authority, as anyone can, but has a certificate of another.
        let mut intruder = node(&theirs, "a");
        intruder.authority = a.authority.clone();
        intruder.cluster = a.cluster;
        refused(&intruder, &b, "b", "acceptor: invalid peer certificate: BadSignature").await;
        refused(&stranger, &b, "b", "dialler: invalid peer certificate: BadSignature").await;
    }

    /// If this fails, one who has no certificate at all is let in.
    #[tokio::test]
    async fn a_certificate_is_required() {
        let authority = authority();
        let (a, b) = (node(&authority, "a"), node(&authority, "b"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(a.authority.clone()).unwrap();
        let verifier = Dialled::new(Arc::new(roots), a.cluster, &provider);
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let error = shake(Arc::new(client), &b, b.node).await.unwrap_err();
        assert!(error.contains("acceptor: peer sent no certificates"), "{error}");
    }

    /// If this fails, certificates are good for ever.
    #[tokio::test]
    async fn expired_certificates_are_refused() {
        let authority = authority();
        let (a, b) = (node(&authority, "a"), node(&authority, "b"));
        refused(
            &a,
            &expired(&authority, "b"),
            "b",
            "dialler: invalid peer certificate: certificate expired",
        )
        .await;
        refused(
            &expired(&authority, "a"),
            &b,
            "b",
            "acceptor: invalid peer certificate: certificate expired",
        )
        .await;
    }

    /// If this fails, a certificate of the same authority that is not one of a node's is taken.
    #[test]
    fn a_name_must_be_of_the_cluster() {
        let authority = authority();
        let a = node(&authority, "a");
        let other = ClusterId(a.cluster.0 ^ 1);
        assert!(matches!(Peer::of(&a.certificate, other), Err(PeerError::Cluster { .. })));
        assert_eq!(Peer::of(&a.authority, a.cluster), Err(PeerError::Nameless));
        assert_eq!(Peer::of(b"\x30\x00", a.cluster), Err(PeerError::Unreadable));
        assert_eq!(peer(None, a.cluster), Err(PeerError::Nameless));
    }
}
