// A server in an agent's sandbox: a page with a script and a WebSocket, and a count of the requests that came.

const { createHash } = require("node:crypto");
const http = require("node:http");

const name = process.argv[2];
const PAGE = `<!doctype html><title>${name}</title><link rel="icon" href="data:,"><h1>${name}</h1><p id="said"></p><script src="/app.js"></script>`;
const SCRIPT = `
const said = document.getElementById("said");
const socket = new WebSocket("ws://" + location.host + "/live");
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => { said.textContent = "heard " + event.data; };
socket.onerror = () => { said.textContent = "no socket"; };
`;
let count = 0;

const server = http.createServer((request, response) => {
  count += 1;
  const [type, body] = { "/app.js": ["text/javascript", SCRIPT], "/count": ["text/plain", String(count)] }[request.url] ?? ["text/html", PAGE];
  response.setHeader("content-type", type);
  response.end(body);
});

// One short text frame of a browser is sent back as it came.
server.on("upgrade", (request, socket) => {
  count += 1;
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let frame = Buffer.alloc(0);
  socket.on("data", (bytes) => {
    frame = Buffer.concat([frame, bytes]);
    const length = frame.length > 1 ? frame[1] & 127 : 0;
    if ((frame[0] & 15) !== 1 || frame.length < 6 + length) return;
    const [mask, masked] = [frame.subarray(2, 6), frame.subarray(6, 6 + length)];
    socket.write(Buffer.concat([Buffer.from([0x81, length]), Buffer.from(masked.map((byte, at) => byte ^ mask[at % 4]))]));
    frame = Buffer.alloc(0);
  });
  socket.on("error", () => {});
});

server.listen(3000, "127.0.0.1");
