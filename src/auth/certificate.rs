//! A client's certificate, as TLS has verified it.

/// What TLS says of a connection. All connections without a certificate can share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secured {
    /// What the client has shown.
    pub certificate: Option<Certificate>,
}

/// The end entity's certificate of a client whose chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// DER (RFC 5280).
    pub der: Box<[u8]>,
}
