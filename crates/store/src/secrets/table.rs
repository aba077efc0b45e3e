//! The secrets of one home.

use std::path::Path;
use std::sync::Arc;

use crate::db::{Connection, OptionalExtension};
use model::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::key::{self, Kdf};
use super::seal::{self, Key, NONCE_BYTES, Sealed};
use super::{KeySource, SecretsError};
use crate::error::Doing;
use crate::row::int;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes of a value. Keys, tokens and service account files are far smaller.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a name or scope.
const NAME_BYTES_MAX: usize = 128;
/// Secrets in one home.
const SECRETS_MAX: u64 = 10_000;

/// The secrets of one home. Cheap to clone; the key is wiped when the last clone is gone.
#[derive(Clone)]
pub struct Secrets {
    store: Store,
    key: Arc<Key>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// What a list tells about a secret: everything but its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretEntry {
    /// Its name.
    pub name: String,
    /// Whom it is for; empty for the whole home.
    pub scope: String,
    /// When it was first set.
    pub created: Timestamp,
    /// When it was last set.
    pub updated: Timestamp,
    /// When it was last used, to the minute; `None` when it never was.
    pub used: Option<Timestamp>,
}

/// The data key as it is stored.
struct Ring {
    source: String,
    kdf: Option<String>,
    wrapped: Sealed,
}

impl Secrets {
    /// Opens the secrets of `home`, which `store` keeps. The first call decides what they are kept under.
    ///
    /// # Errors
    /// [`SecretsError::WrongKey`], [`SecretsError::OtherSource`], [`SecretsError::KeyFileMissing`] or
    /// [`SecretsError::KeyFileInvalid`]; [`StoreError::Unsafe`] when somebody else can read the key file.
    pub async fn open(store: &Store, home: &Path, source: KeySource) -> Result<Self, SecretsError> {
        let home = home.to_owned();
        let ring = store.read(read_ring).await?;
        // Deriving a key takes long and files may be slow, so neither happens on an async thread.
        let opened = tokio::task::spawn_blocking(move || match ring {
            Some(ring) => open_ring(&home, &source, &ring).map(|key| (key, None)),
            None => make_ring(&home, &source).map(|(key, ring)| (key, Some(ring))),
        });
        let (key, made) = opened.await.map_err(|_| SecretsError::System("open the secrets"))??;
        if let Some(ring) = made {
            store.write(Kind::Secret, 0, move |conn| write_ring(conn, &ring)).await?;
        }
        store.audit_head().key(seal::derived(&key, "audit head"));
        Ok(Self { store: store.clone(), key: Arc::new(key) })
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Sets a secret, in place of an earlier value. `scope` says whom it is for; empty is the whole home.
    ///
    /// # Errors
    /// [`SecretsError::Invalid`] for a name, scope or value out of bounds.
    pub async fn set(&self, name: &str, scope: &str, value: Zeroizing<String>, now: Timestamp) -> Result<(), SecretsError> {
        check_names(name, scope)?;
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || value.bytes().any(|b| b == 0) {
            return Err(SecretsError::Invalid { field: "value", why: "has not 1 to 65536 bytes, or holds a NUL" });
        }
        let sealed = seal::seal(&self.key, &seal::bound(&["secret", name, scope]), value.as_bytes())?;
        let (name, scope) = (name.to_owned(), scope.to_owned());
        let write = self.store.write(Kind::Secret, sealed.bytes.len(), move |conn| put(conn, &name, &scope, &sealed, now));
        Ok(write.await?)
    }

    /// Reads a secret of exactly this name and scope.
    ///
    /// # Errors
    /// [`SecretsError::NotFound`], or [`SecretsError::Tampered`] when what is stored does not open.
    pub async fn get(&self, name: &str, scope: &str) -> Result<Zeroizing<String>, SecretsError> {
        check_names(name, scope)?;
        let (asked, whose) = (name.to_owned(), scope.to_owned());
        let found = self.store.read(move |conn| {
            let sql = "SELECT nonce, sealed FROM secrets WHERE name = ?1 AND scope = ?2";
            let columns = |r: &crate::db::Row<'_>| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, Vec<u8>>(1)?));
            conn.query_row(sql, (asked, whose), columns).optional().doing("read a secret")
        });
        let (nonce, bytes) = found.await?.ok_or_else(|| SecretsError::NotFound { name: name.to_owned() })?;
        let tampered = || SecretsError::Tampered { name: name.to_owned() };
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| tampered())?;
        let bound = seal::bound(&["secret", name, scope]);
        let plain = seal::open(&self.key, &bound, &Sealed { nonce, bytes }).ok_or_else(tampered)?;
        let text = std::str::from_utf8(&plain).map_err(|_| tampered())?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Lists all secrets by name and scope, without their values.
    ///
    /// # Errors
    /// What the store said.
    pub async fn list(&self) -> Result<Vec<SecretEntry>, SecretsError> {
        let entries = self.store.read(|conn| {
            let sql = "SELECT s.name, s.scope, s.created_ms, s.updated_ms, u.used_ms FROM secrets s
                       LEFT JOIN secret_uses u ON u.name = s.name AND u.scope = s.scope ORDER BY s.name, s.scope";
            let mut statement = conn.prepare_cached(sql).doing("list secrets")?;
            let rows = statement.query_map([], |r| {
                let (created, updated) = (Timestamp(r.get(2)?), Timestamp(r.get(3)?));
                let used = r.get::<_, Option<u64>>(4)?.map(Timestamp);
                Ok(SecretEntry { name: r.get(0)?, scope: r.get(1)?, created, updated, used })
            });
            rows.and_then(Iterator::collect::<crate::db::Result<Vec<_>>>).doing("list secrets")
        });
        Ok(entries.await?)
    }

    /// Notes when secrets were used: name, scope and time. One that is not there any more is left out.
    ///
    /// # Errors
    /// What the store said.
    pub async fn note_used(&self, uses: Vec<(String, String, Timestamp)>) -> Result<(), SecretsError> {
        let written = self.store.write(Kind::SecretUse, 0, move |conn| {
            let sql = "INSERT INTO secret_uses (name, scope, used_ms) SELECT name, scope, CAST(?3 AS INTEGER) FROM secrets WHERE name = ?1 AND scope = ?2
                       ON CONFLICT (name, scope) DO UPDATE SET used_ms = excluded.used_ms";
            for (name, scope, at) in uses {
                conn.execute(sql, (name, scope, int("used", at.0)?)).doing("note the use of a secret")?;
            }
            Ok(())
        });
        Ok(written.await?)
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// [`SecretsError::NotFound`].
    pub async fn remove(&self, name: &str, scope: &str) -> Result<(), SecretsError> {
        check_names(name, scope)?;
        let (asked, whose) = (name.to_owned(), scope.to_owned());
        let gone = self.store.write(Kind::Secret, 0, move |conn| {
            let doing = "remove a secret";
            conn.execute("DELETE FROM secret_uses WHERE name = ?1 AND scope = ?2", (&asked, &whose)).doing(doing)?;
            conn.execute("DELETE FROM secrets WHERE name = ?1 AND scope = ?2", (asked, whose)).doing(doing)
        });
        match gone.await? {
            0 => Err(SecretsError::NotFound { name: name.to_owned() }),
            _ => Ok(()),
        }
    }
}

fn check_names(name: &str, scope: &str) -> Result<(), SecretsError> {
    let plain = |text: &str| text.len() <= NAME_BYTES_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:/@".contains(&b));
    if name.is_empty() || !plain(name) {
        return Err(SecretsError::Invalid { field: "name", why: "is not 1 to 128 letters, digits or any of . _ - : / @" });
    }
    if !plain(scope) {
        return Err(SecretsError::Invalid { field: "scope", why: "is not up to 128 letters, digits or any of . _ - : / @" });
    }
    Ok(())
}

fn put(conn: &Connection, name: &str, scope: &str, sealed: &Sealed, now: Timestamp) -> Result<(), StoreError> {
    let count: u64 = conn.query_row("SELECT count(*) FROM secrets", [], |r| r.get(0)).doing("set a secret")?;
    if count >= SECRETS_MAX {
        return Err(StoreError::Limit { what: "secrets", max: SECRETS_MAX });
    }
    let sql = "INSERT INTO secrets (name, scope, nonce, sealed, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
               ON CONFLICT (name, scope) DO UPDATE SET nonce = excluded.nonce, sealed = excluded.sealed, updated_ms = excluded.updated_ms";
    conn.execute(sql, (name, scope, sealed.nonce, &sealed.bytes, int("now", now.0)?)).doing("set a secret").map(drop)
}

fn read_ring(conn: &Connection) -> Result<Option<Ring>, StoreError> {
    let row = conn.query_row("SELECT source, kdf, nonce, wrapped FROM keyring WHERE id = 1", [], |r| {
        Ok(Ring { source: r.get(0)?, kdf: r.get(1)?, wrapped: Sealed { nonce: r.get(2)?, bytes: r.get(3)? } })
    });
    row.optional().doing("read the keyring")
}

fn write_ring(conn: &Connection, ring: &Ring) -> Result<(), StoreError> {
    let sql = "INSERT INTO keyring (id, source, kdf, nonce, wrapped) VALUES (1, ?1, ?2, ?3, ?4)";
    conn.execute(sql, (&ring.source, &ring.kdf, ring.wrapped.nonce, &ring.wrapped.bytes)).doing("write the keyring").map(drop)
}

/// What the data key is bound to: how its outer key is made is part of it, so a changed record does not open.
fn ring_bound(source: &str, kdf: Option<&str>) -> Vec<u8> {
    seal::bound(&["keyring", source, kdf.unwrap_or("")])
}

fn make_ring(home: &Path, source: &KeySource) -> Result<(Key, Ring), SecretsError> {
    let (outer, kdf) = match source {
        KeySource::File => (key::file(home, true)?, None),
        KeySource::Passphrase(text) => {
            let kdf = Kdf::make()?;
            let stored = crate::row::to_json("kdf", &kdf)?;
            (kdf.derive(text)?, Some(stored))
        }
    };
    let inner: Key = Zeroizing::new(seal::random()?);
    let wrapped = seal::seal(&outer, &ring_bound(source.word(), kdf.as_deref()), &*inner)?;
    Ok((inner, Ring { source: source.word().to_owned(), kdf, wrapped }))
}

fn open_ring(home: &Path, source: &KeySource, ring: &Ring) -> Result<Key, SecretsError> {
    let given = source.word();
    if ring.source != given {
        let expected = if ring.source == KeySource::File.word() { KeySource::File.word() } else { "passphrase" };
        return Err(SecretsError::OtherSource { expected, given });
    }
    let wrong = || SecretsError::WrongKey(given);
    let outer = match source {
        KeySource::File => key::file(home, false)?,
        KeySource::Passphrase(text) => {
            let kdf = ring.kdf.as_deref().ok_or_else(wrong)?;
            serde_json::from_str::<Kdf>(kdf).map_err(|_| wrong())?.derive(text)?
        }
    };
    let plain = seal::open(&outer, &ring_bound(given, ring.kdf.as_deref()), &ring.wrapped).ok_or_else(wrong)?;
    <[u8; seal::KEY_BYTES]>::try_from(plain.as_slice()).map(Zeroizing::new).map_err(|_| wrong())
}
