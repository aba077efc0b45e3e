//! Servers inside in a browser of this machine: what a browser gets, and what nobody else does.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::http::PATIENCE;
use crate::support::Lab;
use crate::typed::Typed;
use crate::web::Web;

/// A server that says what it was asked, counts its requests, and echoes what comes after an upgrade.
const SERVER: &str = "let n=0;const s=require('http').createServer((q,r)=>{let b='';q.on('data',d=>b+=d);q.on('end',()=>{n++;\
r.setHeader('Set-Cookie',['own=1','wide=1; Domain=localhost','lazaret-port=stolen']);r.setHeader('Strict-Transport-Security','max-age=9');\
r.end(JSON.stringify({n,method:q.method,url:q.url,headers:q.headers,body:b}))})});\
s.on('upgrade',(q,k)=>{k.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n');k.pipe(k)});\
s.listen(3000,'127.0.0.1',()=>console.log('up-'+(1+1)));";

/// A session with a server in it, and the terminal that it runs on.
fn served(lab: &Lab) -> (Typed, String) {
    let before = sessions(lab);
    let mount = format!("{}:/mnt/server", lab.path("files").display());
    std::fs::create_dir_all(lab.path("files")).expect("make");
    std::fs::write(lab.path("files/server.js"), SERVER).expect("write");
    let mut typed = Typed::start(lab, &["shell", "--keep", "--mount", &mount, "--", "node", "/mnt/server/server.js"]);
    typed.expect("up-2");
    let id = sessions(lab).into_iter().find(|id| !before.contains(id)).expect("a session");
    (typed, id)
}

fn sessions(lab: &Lab) -> Vec<String> {
    lab.run(&["session", "list", "--json"]).succeeds().events().iter().filter_map(|s| s["id"].as_str().map(str::to_owned)).collect()
}

/// Writes a request as it is and reads the answer to its end.
#[track_caller]
fn raw(web: &Web, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(&web.address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request.as_bytes()).expect("write");
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let text = String::from_utf8_lossy(&all).into_owned();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no answer to {request}: {text}"));
    (status, text)
}

/// A browser that came by a link.
struct Browser<'a> {
    web: &'a Web,
    host: String,
    cookie: String,
}

impl<'a> Browser<'a> {
    #[track_caller]
    fn open(web: &'a Web, session: &str) -> Self {
        let answer = web.ask_with(
            &web.owner,
            "POST",
            &format!("/v1/sessions/{session}/open"),
            "content-type: application/json\r\n",
            b"{\"port\":3000}",
        );
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let opened: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let url = opened["url"].as_str().expect("a link").to_owned();
        let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a link");
        let link = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let (status, text) = raw(web, &link);
        assert_eq!(status, 200, "{text}");
        let set = text.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && !set.to_lowercase().contains("domain"), "{set}");
        assert_eq!(raw(web, &link).0, 401, "a link works once");
        Self { web, host: host.to_owned(), cookie: set.split(';').next().expect("a pair").to_owned() }
    }

    #[track_caller]
    fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let Self { host, cookie, .. } = self;
        raw(self.web, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: x=1; {cookie}\r\nConnection: close\r\n{headers}\r\n"))
    }
}

#[test]
fn a_server_inside_is_for_the_browser_that_opened_it() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let ((mut one, first), (mut two, second)) = (served(&lab), served(&lab));
    let (browser, other) = (Browser::open(&web, &first), Browser::open(&web, &second));
    assert_ne!(browser.host, other.host, "each session has its own origin, whatever its port");

    // What a browser gets.
    let (status, text) = browser.get("/a?b=c", "");
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("\"url\":\"/a?b=c\"") && text.contains("\"host\":\"localhost:3000\""), "{text}");
    assert!(text.contains("\"cookie\":\"x=1\""), "the server is not shown our cookie: {text}");
    let head = text.split("\r\n\r\n").next().expect("a head").to_lowercase();
    assert!(head.contains("set-cookie: own=1") && !head.contains("wide=1") && !head.contains("stolen"), "{head}");
    assert!(!head.contains("strict-transport") && head.contains("content-security-policy: default-src 'self'"), "{head}");
    let Browser { host, cookie, .. } = &browser;
    let own = format!("Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(browser.get("/", &own).0, 200);

    // What nobody else does.
    let far = other.host.clone();
    for (why, request) in [
        ("no cookie", format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")),
        ("another agent's cookie", format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nConnection: close\r\n\r\n", other.cookie)),
        ("two cookies", format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}; {}\r\nConnection: close\r\n\r\n", other.cookie)),
    ] {
        assert_eq!(raw(&web, &request).0, 401, "{why}");
    }
    for (why, headers) in [
        ("another agent's page", format!("Origin: http://{far}\r\n")),
        ("the dashboard's page", format!("Origin: http://{}\r\n", web.address)),
        ("no origin that is one", "Origin: null\r\n".to_owned()),
        ("a page elsewhere", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n".to_owned()),
        ("a frame elsewhere", "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n".to_owned()),
        ("a second host", format!("Host: {far}\r\n")),
    ] {
        let (status, text) = browser.get("/", &headers);
        assert!(matches!(status, 400 | 403), "{why}: {text}");
    }
    for (why, request, expect) in [
        ("absolute form", format!("GET http://{far}/ HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"), 403),
        (
            "absolute form of the API",
            format!("GET http://{}/v1/status HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n", web.address),
            403,
        ),
        (
            "a name of somebody else's",
            format!("GET / HTTP/1.1\r\nHost: evil.example\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"),
            403,
        ),
        ("a name below it", format!("GET / HTTP/1.1\r\nHost: x.{host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"), 403),
        ("a tunnel", format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"), 403),
    ] {
        let (status, text) = raw(&web, &request);
        assert!(status == expect || status == 400, "{why}: {text}");
    }
    // Under an agent's name there is no API, whatever token comes along; under the daemon's name the cookie is nothing.
    let (_, text) = browser.get("/v1/sessions", &format!("Authorization: Bearer {}\r\n", web.owner));
    assert!(text.contains("\"url\":\"/v1/sessions\"") && !text.contains(&web.owner), "{text}");
    let (status, _) =
        raw(&web, &format!("GET /v1/sessions HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n", web.address));
    assert_eq!(status, 401);

    smuggled(&web, &browser);
    upgraded(&web, &browser);

    // A port on which nothing listens, and a server that is gone.
    let none =
        web.ask_with(&web.owner, "POST", &format!("/v1/sessions/{first}/open"), "content-type: application/json\r\n", b"{\"port\":3999}");
    let said = String::from_utf8_lossy(&none.body).into_owned();
    assert!(none.status == 404 && said.contains("nothing listens on port 3999") && said.contains("3000"), "{said}");
    one.keys("\x03");
    one.ends();
    let (status, text) = browser.get("/", "");
    assert_eq!(status, 502, "{text}");
    two.keys("\x03");
    two.ends();
}

/// A request within another one is no request to the server.
fn smuggled(web: &Web, browser: &Browser<'_>) {
    let count = |text: &str| {
        let at = text.find("{\"n\":").expect("an answer") + 5;
        text[at..].split(',').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    let Browser { host, cookie, .. } = browser;
    let before = count(&browser.get("/", "").1);
    let hidden = format!("GET /hidden HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (_, _) = raw(
        web,
        &format!(
            "POST /outer HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
            hidden.len() + 5
        ),
    );
    let after = count(&browser.get("/", "").1);
    assert!(after <= before + 2, "at most the outer one came to it: {before} then {after}");
}

/// Bytes after a change of protocol go both ways; without being this page's, none do.
fn upgraded(web: &Web, browser: &Browser<'_>) {
    let Browser { host, cookie, .. } = browser;
    let ask = |origin: &str| {
        format!(
            "GET /hmr HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nOrigin: {origin}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(&web.address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(ask(&format!("http://{host}")).as_bytes()).expect("write");
    let mut seen = Vec::new();
    let mut read_until = |stream: &mut TcpStream, end: &[u8]| {
        let mut byte = [0];
        while !seen.ends_with(end) {
            stream.read_exact(&mut byte).unwrap_or_else(|e| panic!("{e} after {}", String::from_utf8_lossy(&seen)));
            seen.push(byte[0]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    };
    assert!(read_until(&mut stream, b"\r\n\r\n").starts_with("HTTP/1.1 101"));
    stream.write_all(b"\x81\x02hi").expect("write");
    read_until(&mut stream, b"\x81\x02hi");
    drop(stream);
    let (status, text) = raw(web, &ask("http://evil.example").replace("keep-alive, Upgrade", "Upgrade"));
    assert_eq!(status, 403, "{text}");
}
