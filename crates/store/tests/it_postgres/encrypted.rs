//! The way to a server over a network: encrypted, and to nobody but the server whose name the address gives.

use lazaret_store::{Access, Config, Store};
use model::Code;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use testkit::postgres::Server;

use crate::common::home;

/// An authority, and what it signed for a name.
struct Authority {
    pem: String,
    chain: String,
    key: String,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let leaf = KeyPair::generate().unwrap();
    let chain = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&leaf, &issuer).unwrap().pem();
    Authority { pem, chain, key: leaf.serialize_pem() }
}

#[tokio::test]
async fn a_server_is_reached_encrypted_by_its_own_name_only() {
    let signed = authority("localhost");
    let server = Server::start_tls(&signed.chain, &signed.key).unwrap();
    server.database().unwrap();
    let file = home();
    let trusted = file.path().join("ca.pem");
    std::fs::write(&trusted, &signed.pem).unwrap();
    let other = file.path().join("other.pem");
    std::fs::write(&other, authority("localhost").pem).unwrap();
    let open = |host: &str, options: &str, ca: &std::path::Path| {
        let url = format!("postgresql://lazaret@{host}:{}/t1{options}", server.port());
        let daemon = home();
        let access = Access { password: None, authorities: Some(ca.to_owned()) };
        (Store::open_shared(&url, access, daemon.path(), &Config::default()), daemon)
    };
    let (store, _daemon) = open("localhost", "?sslmode=require", &trusted);
    let store = store.unwrap();
    assert_eq!(
        server
            .psql("t1", "SELECT count(DISTINCT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'lazaret'")
            .unwrap(),
        "1"
    );
    assert_eq!(
        server
            .psql("t1", "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'lazaret'")
            .unwrap(),
        "t",
        "every connection is encrypted, the one over which others are heard too"
    );
    store.close().await.unwrap();

    // Another authority signed it, or it is for another name: nothing is sent there.
    for (host, ca) in [("localhost", &other), ("127.0.0.1", &trusted)] {
        let error = open(host, "?sslmode=require", ca).0.unwrap_err();
        assert_eq!(error.code(), Code::StoreUnusable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    // Without the wall the same server is reached: it is the certificate that stopped it.
    open("127.0.0.1", "?sslmode=disable", &other).0.unwrap().close().await.unwrap();
    // What holds no certificate is refused before anybody is asked.
    std::fs::write(&other, "nothing").unwrap();
    let error = open("localhost", "?sslmode=require", &other).0.unwrap_err();
    assert!(error.to_string().contains("ca_file"), "{error}");
}

#[tokio::test]
async fn a_way_over_a_network_is_encrypted_unasked() {
    let daemon = home();
    let empty = daemon.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let access = Access { password: None, authorities: Some(empty) };
    // Refused for want of certificates, before the name is looked up: so it would have been encrypted.
    let error = Store::open_shared("postgresql://lazaret@db.invalid/x", access, daemon.path(), &Config::default()).unwrap_err();
    assert!(error.to_string().contains("store.ca_file"), "{error}");
}
