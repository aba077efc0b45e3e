use super::*;

const NEWEST: (u16, &[u8]) = (0x002b, &[2, 3, 4]);

fn name_extension(name: &[u8]) -> Vec<u8> {
    let n = u16::try_from(name.len()).unwrap();
    let mut bytes = (n + 3).to_be_bytes().to_vec();
    bytes.push(0);
    bytes.extend(n.to_be_bytes());
    bytes.extend(name);
    bytes
}

/// A hello message without a record around it.
fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    let list: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, content)| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&kind.to_be_bytes()[..], &length, content].concat()
        })
        .collect();
    body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
    body.extend(list);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], &u16::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat()
}

fn named(name: &str) -> Vec<u8> {
    record(HANDSHAKE, &hello(&[(0, &name_extension(name.as_bytes())), NEWEST]))
}

fn feed(host: &str, bytes: &[u8]) -> Result<Vec<u8>, HelloError> {
    Gate::new(host, true).feed(bytes)
}

#[test]
fn the_named_host_passes_in_any_split() {
    let mut bytes = named("Example.com");
    bytes.extend(record(HANDSHAKE, &[2, 0, 0, 1, 9]));
    bytes.extend(b"whatever follows");
    assert_eq!(feed("example.com", &bytes).unwrap(), bytes);
    let mut gate = Gate::new("example.com", true);
    let passed: Vec<u8> = bytes.iter().flat_map(|b| gate.feed(&[*b]).unwrap()).collect();
    assert_eq!(passed, bytes);
    assert!(gate.is_open());
}

#[test]
fn a_hello_may_come_in_many_records() {
    let message = hello(&[(0, &name_extension(b"example.com")), NEWEST]);
    let bytes: Vec<u8> = message.chunks(3).flat_map(|part| record(HANDSHAKE, part)).collect();
    assert_eq!(feed("example.com", &bytes).unwrap(), bytes);
    assert!(matches!(feed("example.org", &bytes), Err(HelloError::OtherName(_))));
}

#[test]
fn other_names_never_pass() {
    for name in ["evil.com", "evilexample.com", "example.com.evil", "www.example.com", "example.co"] {
        assert_eq!(feed("example.com", &named(name)), Err(HelloError::OtherName(name.into())));
    }
    assert_eq!(feed("example.com", &named("example.com.")), Err(HelloError::OtherName("example.com".into())));
    for name in ["", "evil\0.example.com", "example.com\n", "b\u{fc}cher.de", "127.1", &"a".repeat(300)] {
        assert!(matches!(feed("example.com", &named(name)), Err(HelloError::Malformed(_))), "{name:?}");
    }
    let none = record(HANDSHAKE, &hello(&[NEWEST]));
    assert_eq!(feed("example.com", &none), Err(HelloError::NoName));
    assert!(feed("93.184.216.34", &none).is_ok(), "addresses are not named");
    assert!(feed("93.184.216.34", &named("evil.com")).is_err());
}

#[test]
fn hidden_names_never_pass() {
    let name = name_extension(b"example.com");
    let with = |kind: u16| feed("example.com", &record(HANDSHAKE, &hello(&[(0, &name), NEWEST, (kind, &[0, 0])])));
    assert!(with(0x0010).is_ok());
    assert_eq!(with(0xfe0d), Err(HelloError::Encrypted));
    assert_eq!(with(0xffce), Err(HelloError::Encrypted));
    assert_eq!(with(0x002a), Err(HelloError::EarlyData));
    let other = name_extension(b"evil.com");
    let twice = hello(&[(0, &name), (0, &other)]);
    assert!(feed("example.com", &record(HANDSHAKE, &twice)).is_err());
    let mut two = name_extension(b"example.com");
    two[1] += 11;
    two.extend([0, 0, 8]);
    two.extend(b"evil.com");
    assert!(feed("example.com", &record(HANDSHAKE, &hello(&[(0, &two)]))).is_err());
}

#[test]
fn a_second_hello_is_read_too() {
    let change = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
    for between in [&[][..], &change] {
        let good = [&named("example.com"), between, &named("example.com"), b"more"].concat();
        assert_eq!(feed("example.com", &good).unwrap(), good);
        let bad = [&named("example.com"), between, &named("evil.com")].concat();
        assert!(matches!(feed("example.com", &bad), Err(HelloError::OtherName(_))));
        let split: Vec<u8> = hello(&[(0, &name_extension(b"evil.com")), NEWEST]).chunks(5).flat_map(|p| record(HANDSHAKE, p)).collect();
        assert!(feed("example.com", &[&named("example.com"), between, &split].concat()).is_err());
    }
    let hidden = [&named("example.com"), &change[..], &change, &named("evil.com")].concat();
    assert!(feed("example.com", &hidden).is_err());
    // An encrypted message that begins like a hello by chance, but says that it is far too long for one.
    let chance = [&named("example.com"), &change[..], &record(HANDSHAKE, &[1, 0xff, 0, 0, 5, 6])].concat();
    assert_eq!(feed("example.com", &chance).unwrap(), chance);
}

#[test]
fn what_is_not_tls_is_refused_or_passes() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-x\r\n", &[0x80, 0x2e, 1, 3, 1], &[HANDSHAKE, 2, 0, 0, 4]] {
        assert_eq!(feed("example.com", bytes), Err(HelloError::NotTls));
        assert_eq!(Gate::new("example.com", false).feed(bytes).unwrap(), bytes);
    }
    // TLS is checked wherever it is spoken.
    assert!(Gate::new("example.com", false).feed(&named("evil.com")).is_err());
    assert!(matches!(feed("example.com", &record(HANDSHAKE, &[2, 0, 0, 0])), Err(HelloError::Malformed(_))));
    let long = record(HANDSHAKE, &[1, 1, 0, 0]);
    assert_eq!(feed("example.com", &long), Err(HelloError::TooLong));
}

#[test]
fn no_bytes_make_it_panic_or_hold_too_much() {
    let good = [named("example.com"), named("example.com")].concat();
    let mut state = 1_u32;
    for round in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + round % 4 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (state >> 8) as usize % bytes.len();
            bytes[at] = state.to_be_bytes()[0];
        }
        let mut gate = Gate::new("example.com", round % 2 == 0);
        for part in bytes.chunks(1 + round % 97) {
            if gate.feed(part).is_err() {
                break;
            }
            assert!(gate.held.len() <= HELLO_BYTES_MAX + 5 + RECORD_BYTES_MAX);
        }
    }
}
