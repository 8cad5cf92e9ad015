"""A store that speaks S3, as a process of its own: moto's server, if it is installed."""

import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import BIN, eventually, free_port, started

BUCKET = "flowers"


def command() -> str | None:
    """The command that starts it; None where there is none."""
    return shutil.which("moto_server", path=f"{BIN}:{Path(sys.prefix, 'bin')}") or shutil.which("moto_server")


@contextmanager
def bucket() -> Iterator[dict[str, str]]:
    """The variables by which clients find a store that has one empty bucket; skips without the server."""
    program = command()
    if program is None:
        pytest.skip("moto_server is not installed: pip install 'moto[s3,server]'")
    port = free_port()
    with started([program, "-H", "127.0.0.1", "-p", str(port)]):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _made(url))
        yield {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
        }


def _made(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT")) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
