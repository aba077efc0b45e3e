"""The client: a thin layer over the paths of `/v1`, with nothing but the standard library."""

from __future__ import annotations

import base64
import http.client
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Tuple
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from .models import Event, JobView

# Seconds that the server is asked to hold one answer back.
WAIT_STEP_S = 600
# How often a lost connection is made again before it is given up.
RECONNECTS_MAX = 10
# Seconds between two tries.
RECONNECT_STEP_S = 0.5
# Seconds without any byte after which a stream counts as lost: the server says every 15 s that it is there.
SILENCE_MAX_S = 60.0
# The states in which nothing more happens.
OVER = ("completed", "failed", "cancelled")


class ApiError(Exception):
    """The server refused, or failed."""

    def __init__(self, status: int, code: str, message: str, field: Optional[str] = None, hint: Optional[str] = None):
        super().__init__(f"{code}: {message}" + (f" ({hint})" if hint else ""))
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.hint = hint


class WaitTimeout(Exception):
    """The job is not over within the time; `job` is what it was last."""

    def __init__(self, job: JobView):
        super().__init__(f"the job {job['id']} is not over yet")
        self.job = job


class Lazaret:
    """A server. One instance may be used by several threads: each request has a connection of its own."""

    def __init__(self, url: str, token: str, timeout_s: float = 30.0):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address that begins with http:// or https:// is needed")
        self._https = parts.scheme == "https"
        self._host, self._port, self._base = parts.hostname, parts.port, parts.path.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    # --- jobs ---

    def create(
        self,
        prompt: Optional[str] = None,
        *,
        agent_id: str,
        files: Optional[Mapping[str, bytes]] = None,
        idempotency_key: Optional[str] = None,
        **fields: Any,
    ) -> JobView:
        """Asks for a job and returns at once. `fields` are those of `lazaret.models.JobForm`."""
        form: Dict[str, Any] = {"agent_id": agent_id, **fields}
        if prompt is not None:
            form["prompt"] = prompt
        if files:
            form["files"] = [{"path": path, "data": base64.b64encode(data).decode()} for path, data in files.items()]
        key = idempotency_key or uuid.uuid4().hex
        # The key makes a repetition harmless.
        return self._again("POST", "/v1/jobs", form, {"Idempotency-Key": key})

    def run(self, prompt: Optional[str] = None, *, agent_id: str, timeout_s: Optional[float] = None, **fields: Any) -> JobView:
        """Asks for a job and waits until it is over. `timeout_s` is how long is waited, not the job's own limit."""
        return self.wait(self.create(prompt, agent_id=agent_id, **fields)["id"], timeout_s)

    def show(self, job: str) -> JobView:
        """A job, with its result once it is over."""
        return self._again("GET", f"/v1/jobs/{quote(job, safe='')}")

    def list(self, **query: Any) -> Iterator[JobView]:
        """Jobs, the youngest first, without their results. `query` is that of `lazaret.models.JobQuery`."""
        asked = {name: value for name, value in query.items() if value is not None}
        while True:
            page = self._again("GET", "/v1/jobs?" + urlencode(asked))
            yield from page["items"]
            if page["next"] is None:
                return
            asked["after"] = page["next"]

    def wait(self, job: str, timeout_s: Optional[float] = None) -> JobView:
        """Waits until a job is over, over restarts of the server."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = WAIT_STEP_S if deadline is None else max(0.0, deadline - time.monotonic())
            step = int(min(left, WAIT_STEP_S))
            path = f"/v1/jobs/{quote(job, safe='')}/wait?timeout_s={step}"
            try:
                return self._again("GET", path, timeout_s=step + self._timeout_s)
            except ApiError as error:
                if error.status != 408:
                    raise
            if deadline is not None and time.monotonic() >= deadline - 1:
                shown = self.show(job)
                if shown["status"] in OVER:
                    return shown
                raise WaitTimeout(shown)

    def cancel(self, job: str) -> JobView:
        """Stops a job."""
        return self._call("POST", f"/v1/jobs/{quote(job, safe='')}/cancel")

    def retry(self, job: str) -> JobView:
        """Asks for the same again, in a new job."""
        return self._call("POST", f"/v1/jobs/{quote(job, safe='')}/retry")

    def remove(self, job: str) -> None:
        """Forgets a job that is over; stops one that is not."""
        self._call("DELETE", f"/v1/jobs/{quote(job, safe='')}")

    def download(self, job: str, path: str) -> bytes:
        """The bytes of a file that a job left."""
        return self._send("GET", f"/v1/jobs/{quote(job, safe='')}/artifacts/{quote(path)}")[1]

    def events(self, job: str) -> Iterator[Event]:
        """The events of a job as they come, from its beginning to its end."""
        last, lost = "", 0
        while True:
            try:
                # Whether it was over before the stream began: then the stream is the whole of what is left.
                is_over = self.show(job)["status"] in OVER
                for place, event in self._stream(job, last):
                    last, lost = place, 0
                    yield event
                if is_over:
                    return
            except (OSError, http.client.HTTPException):
                lost += 1
                if lost > RECONNECTS_MAX:
                    raise
                time.sleep(RECONNECT_STEP_S)

    # --- transport ---

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=timeout_s)

    def _open(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout_s: float
    ) -> Tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        sent = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **headers}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = self._connect(timeout_s)
        try:
            connection.request(method, self._base + path, body=data, headers=sent)
            response = connection.getresponse()
            if response.status >= 300:
                raise _error(response.status, response.read())
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _send(
        self, method: str, path: str, body: Any = None, headers: Optional[Mapping[str, str]] = None, timeout_s: Optional[float] = None
    ) -> Tuple[int, bytes]:
        connection, response = self._open(method, path, body, headers or {}, timeout_s or self._timeout_s)
        try:
            return response.status, response.read()
        finally:
            connection.close()

    def _call(self, *args: Any, **named: Any) -> Any:
        return json.loads(self._send(*args, **named)[1])

    def _again(self, *args: Any, **named: Any) -> Any:
        """A request that may be repeated, over restarts of the server."""
        for left in range(RECONNECTS_MAX, -1, -1):
            try:
                return self._call(*args, **named)
            except (OSError, http.client.HTTPException):
                if not left:
                    raise
                time.sleep(RECONNECT_STEP_S)

    def _stream(self, job: str, last: str) -> Iterator[Tuple[str, Event]]:
        headers = {"Accept": "text/event-stream"}
        if last:
            headers["Last-Event-ID"] = last
        connection, response = self._open("GET", f"/v1/jobs/{quote(job, safe='')}/events", None, headers, SILENCE_MAX_S)
        try:
            place, data = last, []  # type: Tuple[str, List[str]]
            for raw in response:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    place = line[4:]
                elif line.startswith("data: "):
                    data.append(line[6:])
                elif not line and data:
                    yield place, json.loads("\n".join(data))
                    data = []
        finally:
            connection.close()


def _error(status: int, body: bytes) -> ApiError:
    try:
        said = json.loads(body)["error"]
        return ApiError(status, said["code"], said["message"], said.get("field"), said.get("hint"))
    except (ValueError, KeyError, TypeError):
        return ApiError(status, "INTERNAL", f"the server answered {status}")
