//! Logins of people by OpenID Connect: the authorization code flow with PKCE.
//!
//! The page makes a secret, keeps it, and sends what it hashes to; the issuer's answer becomes a one-time code that only
//! works together with that secret. So nobody can be logged in by an address that somebody else made, without a cookie.
//!
//! What the issuer says is believed only after its signature, its name, its audience, its time and the nonce of this very
//! login were checked. Who a person is decides the issuer; what they may decide the rules of the configuration, and what
//! was given to them by hand.

mod flow;
mod issuer;
mod jwt;
mod rules;

pub(crate) use flow::Pendings;
pub use flow::{OidcArrived, OidcBegin, OidcOf};
pub use rules::{OidcRule, OidcSettings};
