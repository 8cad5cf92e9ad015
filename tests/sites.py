"""Web servers of the tests: pages at paths, over TLS or plain, and a store that speaks S3 to readers."""

import hashlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Page(NamedTuple):
    """An answer. ``length`` is announced in place of the true one; ``cut`` bytes are sent, and no more."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    length: int | None = None
    cut: int | None = None


class Site:
    """A server of pages: ``pages`` has them by path, ``asked`` the paths that were asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.pages: dict[str, Page | Callable[[str], Page]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def put(self, path: str, body: bytes) -> None:
        """A page with an ETag of its content."""
        self.pages[path] = Page(body, headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def answer(self, path: str, headers: dict[str, str]) -> Page:
        """The page at a path; 304 where the reader has it."""
        self.asked.append((path, headers))
        page = self.pages.get(path) or self.pages.get(path.partition("?")[0]) or Page(status=404)
        page = page(path) if callable(page) else page
        if (tag := page.headers.get("ETag")) and headers.get("If-None-Match") == tag:
            return Page(status=304)
        return page


class Bucket(Site):
    """The folder of an S3 bucket, at path-style addresses: GET, HEAD and lists."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(address)
        self._folder = folder

    def answer(self, path: str, headers: dict[str, str]) -> Page:
        self.asked.append((path, headers))
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        key = unquote(parts.path).strip("/").partition("/")[2]
        if "list-type" in query:
            return Page(
                self._listed(query.get("prefix", [""])[0]), headers={"Content-Type": "application/xml"}
            )
        file = self._folder / key
        if not file.is_file():
            return Page(b"<Error><Code>NoSuchKey</Code></Error>", 404)
        body = file.read_bytes()
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        told = {"ETag": tag, "Last-Modified": "Mon, 30 Nov 2026 10:00:00 GMT"}
        if headers.get("If-Match", tag) != tag:
            return Page(status=412)
        if span := re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", "")):
            part = body[int(span[1]) : int(span[2]) + 1]
            told["Content-Range"] = f"bytes {span[1]}-{int(span[1]) + len(part) - 1}/{len(body)}"
            return Page(part, 206, told)
        return Page(body, headers=told)

    def _listed(self, prefix: str) -> bytes:
        entries = sorted((self._folder / prefix).iterdir()) if (self._folder / prefix).is_dir() else []
        names = [escape(f"{prefix.rstrip('/')}/{entry.name}/") for entry in entries if entry.is_dir()]
        folders = "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in names)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{folders}</ListBucketResult>".encode()


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        page = self.site.answer(self.path, {name.title(): value for name, value in self.headers.items()})
        self.send_response(page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.status != 304:
            self.send_header("Content-Length", str(len(page.body) if page.length is None else page.length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page.body[: page.cut])

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Tests read what programs print."""


@contextmanager
def site(certificate: tuple[Path, Path] | None = None, bucket: Path | None = None) -> Iterator[Site]:
    """A site on a free port of this machine, until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        address = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        made = Bucket(address, bucket) if bucket else Site(address)
        server.RequestHandlerClass = type("Handler", (_Handler,), {"site": made})
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
