//! The doors from a sandbox to the outside: models ([`Gateway`]) and hosts ([`egress`]).
//!
//! The gateway takes HTTP/1 from a sandbox, looks up who stands at that door ([`Identity`], made by the host), and lets
//! exactly the model calls through that it knows: the caller's credentials are dropped and the host's are put in,
//! budgets are reserved before a request leaves and settled from the usage in the reply, and the reply is forwarded as it
//! comes. It can write a tape of everything and answer from one, and it has a scripted model, [`rehearsal`], for machines
//! without a key.
//!
//! It does not know how sandboxes are made or where keys, prices of today and ledger rows are stored; the application
//! gives it [`Keys`], a [`Ledger`] and an [`Observer`].
//!
//! Start at [`Gateway::serve`]; one request is followed in `exchange.rs` from top to bottom.
//!
//! Keeps INV-1 (no key inside a sandbox), INV-2 (identity is the door), INV-4 (no policy means deny) and INV-7. Every limit
//! is a field of [`Limits`].

mod ask;
mod books;
mod caller;
mod config;
pub mod egress;
mod exchange;
mod fallback;
mod flow;
mod gateway;
mod headers;
mod identity;
mod ledger;
pub mod meter;
mod models;
mod prices;
mod purse;
mod refusal;
pub mod rehearsal;
mod remote;
mod route;
mod scrub;
pub mod tape;
mod upstream;

pub use config::{Auth, Config, Kind, Limits, ProviderConfig, REHEARSAL, Remote, Unpriced, WELL_KNOWN, WellKnown};
pub use fallback::TARGETS_MAX as FALLBACK_TARGETS_MAX;
pub use gateway::{Gateway, GatewayError};
pub use identity::{Budget, BudgetKey, Fallback, Identity, Patience, Rounds, RoundsError, TapeMode};
pub use ledger::{Basis, Call, Keys, Ledger, LedgerError, Observer};
pub use models::{Listed, ListedModel};
pub use prices::{Price, Prices, PricesError, Tier, canonical};
pub use route::Wire;
