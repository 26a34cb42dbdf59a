//! The cryptography of signed tokens: ring, which TLS uses too, in place of the backends of
//! the library. It verifies with all accepted algorithms, and signs with ES256 for
//! `styx token sign`.
//!
//! Invariant: an algorithm verifies only with a key of its own type, whatever a token says.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature as algorithms;
use ring::signature::{
    EcdsaKeyPair, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // They convert keys, which is done nowhere here.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes it the provider of this process, if there is none.
pub(super) fn install() {
    // The second call fails, and changes nothing.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let wrong = || new_error(ErrorKind::InvalidAlgorithm);
    let key = match (key.family(), key.kind()) {
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let parameters = rsa_parameters(*algorithm).ok_or_else(wrong)?;
            let key = RsaPublicKeyComponents { n: n.clone(), e: e.clone() };
            PublicKey::Rsa(parameters, key)
        }
        (family, DecodingKeyKind::SecretOrDer(bytes)) => {
            let verification = point_algorithm(*algorithm, family).ok_or_else(wrong)?;
            PublicKey::Point(UnparsedPublicKey::new(verification, bytes.clone()))
        }
        _ => return Err(wrong()),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &algorithms::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &algorithms::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &algorithms::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &algorithms::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &algorithms::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &algorithms::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn point_algorithm(
    algorithm: Algorithm,
    family: AlgorithmFamily,
) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (algorithm, family) {
        (Algorithm::ES256, AlgorithmFamily::Ec) => &algorithms::ECDSA_P256_SHA256_FIXED,
        (Algorithm::ES384, AlgorithmFamily::Ec) => &algorithms::ECDSA_P384_SHA384_FIXED,
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => &algorithms::ED25519,
        _ => return None,
    })
}

enum PublicKey {
    Point(UnparsedPublicKey<Vec<u8>>),
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
}

struct RingVerifier {
    algorithm: Algorithm,
    key: PublicKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match &self.key {
            PublicKey::Point(key) => key.verify(message, signature),
            PublicKey::Rsa(parameters, key) => key.verify(parameters, message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    if (*algorithm, key.family()) != (Algorithm::ES256, AlgorithmFamily::Ec) {
        return Err(new_error(ErrorKind::UnsupportedAlgorithm));
    }
    let random = SystemRandom::new();
    let kind = &algorithms::ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::from_pkcs8(kind, key.as_bytes(), &random)
        .map_err(|_| new_error(ErrorKind::InvalidEcdsaKey))?;
    Ok(Box::new(RingSigner { key, random }))
}

/// Signs with ES256.
struct RingSigner {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let signed = self.key.sign(&self.random, message);
        signed.map(|it| it.as_ref().to_vec()).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}
