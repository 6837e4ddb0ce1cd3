//! TLS to servers of other people: whom to trust. The certificate is checked, and that it is for
//! the host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why there is nothing to check a certificate with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there, or no PEM.
    #[error("cannot read root certificates from `{path}`; {setting} names a PEM file")]
    File {
        /// The file.
        path: PathBuf,
        /// What names it.
        setting: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A certificate that is none.
    #[error("a certificate in `{path}` is not one that can be trusted")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// A file of something else, such as a key.
    #[error("`{path}` has no certificate in it; {setting} names a PEM file of root certificates")]
    Empty {
        /// The file.
        path: PathBuf,
        /// What names it.
        setting: &'static str,
    },
    /// The system trusts nobody, and neither does the user.
    #[error("this system has no root certificates; name a PEM file of them in {setting}")]
    NoRoots {
        /// What could name one.
        setting: &'static str,
    },
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Trusts the system's roots, and those in the file `ca`, which `setting` names.
///
/// # Errors
/// [`TlsError`] where the file does not do, or there are no roots at all.
pub(crate) fn trusting(ca: Option<&Path>, setting: &'static str) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // An image without them is fine where the file has what is needed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        add_file(&mut roots, path, setting)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots { setting });
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn add_file(roots: &mut RootCertStore, path: &Path, setting: &'static str) -> Result<(), TlsError> {
    let broken = |source| TlsError::File {
        path: path.to_owned(),
        setting,
        source,
    };
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(broken)? {
        let certificate = certificate.map_err(broken)?;
        roots
            .add(certificate)
            .map_err(|source| TlsError::Certificate {
                path: path.to_owned(),
                source,
            })?;
    }
    if roots.len() == before {
        return Err(TlsError::Empty {
            path: path.to_owned(),
            setting,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the users service's image has at the path that its `DATABASE_CA` names.
    const RDS_BUNDLE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../users-svc/rds-global-bundle.pem"
    );

    #[test]
    fn every_authority_of_amazon_rds_is_trusted() {
        let mut roots = RootCertStore::empty();
        add_file(&mut roots, Path::new(RDS_BUNDLE), "DATABASE_CA").unwrap();
        let certificates = std::fs::read_to_string(RDS_BUNDLE).unwrap();
        assert_eq!(
            roots.len(),
            certificates.matches("BEGIN CERTIFICATE").count()
        );
        assert!(!roots.is_empty());
    }
}
