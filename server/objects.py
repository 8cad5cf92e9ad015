"""Addresses in object stores, and the one library that reads and writes there: obstore.

    s3://bucket/big/part-0.parquet      also s3a://; any store that speaks S3, by AWS_ENDPOINT_URL
    gs://bucket/big/part-0.parquet
    az://container/big/part-0.parquet   also abfs:// and abfss://
    file:///data/big/part-0.parquet     a folder that is mounted

Credentials, region, endpoint and proxy come from the environment, as the library reads it, or from the role
of the machine. The library is imported when an address is used.
"""

import functools
import importlib
import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote

from unpickled.server.errors import ServingError

_ADDRESS = re.compile(r"(s3a?|gs|az|azure|abfss?|file)://(.*)", re.DOTALL)
_FILE = "file"
# The reason in the answer of a store: <Code>NoSuchBucket</Code><Message>...</Message>.
_CODE = re.compile(r"<Code>(\w+)</Code>\s*<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
_REFUSED = ("401 ", "403 ")
# How often a request is tried again, and for how long.
_ATTEMPTS = {"max_retries": 8, "retry_timeout": timedelta(seconds=120)}
_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


class Address(NamedTuple):
    """An address, in two.

    root: The store: s3://bucket, or file:///.
    key: The name of an object there, without a slash before it; "" for the store itself.
    """

    root: str
    key: str

    @property
    def scheme(self) -> str:
        """The word before ://."""
        return self.root.partition(":")[0]

    def at(self, key: str) -> str:
        """The address of another object of the same store."""
        return f"{self.root.rstrip('/')}/{key}" if self.scheme != _FILE else f"file:///{key}"


def is_address(text: str) -> bool:
    """Whether a text is an address in an object store, and no path."""
    return _ADDRESS.match(text) is not None


def address_of(text: str) -> Address:
    """The two parts of an address; that of a file is a URL, in which %20 stands for a space.

    Raises:
        ServingError: It names no bucket, or has parts that no object has in its name.

    Example:
        >>> address_of("s3://bucket/big/part-0.parquet")
        Address(root='s3://bucket', key='big/part-0.parquet')
    """
    match = _ADDRESS.match(text)
    if match is None:
        raise ServingError(
            f"{text} is no address in an object store: write s3://bucket/name, or gs:// or az://"
        )
    scheme, rest = match.groups()
    if scheme == _FILE:
        root, key = "file:///", unquote(rest).lstrip("/")
    else:
        bucket, _, key = rest.partition("/")
        root = f"{scheme}://{bucket}"
        if not bucket:
            raise ServingError(f"{text} names no bucket: write {scheme}://bucket/name")
    if any(part in ("", ".", "..") for part in key.rstrip("/").split("/")) and key:
        raise ServingError(f"{text} has an empty name, . or .. in its path: write the address without it")
    return Address(root, key.rstrip("/"))


def is_installed() -> bool:
    """Whether the library is; imports nothing."""
    return importlib.util.find_spec("obstore") is not None


def library() -> Any:
    """The library. Raises ServingError where it is missing, or in a process that cannot use it."""
    try:
        obstore = importlib.import_module("obstore")
    except ImportError:
        raise ServingError(
            "addresses in object stores need obstore: pip install 'unpickled[objects]'"
        ) from None
    if os.getpid() != _process():
        # Its threads stay behind in the process that was forked: a request would wait for ever.
        raise ServingError("obstore was used before this process was forked off: start it as a new process")
    return obstore


@functools.cache
def _process() -> int:
    return os.getpid()


def opened(address: str, make: bool = True, **options: Any) -> Any:
    """The store of an address, the part behind the bucket before the names of all objects.

    Args:
        address: The address.
        make: Whether a folder of this machine is made where there is none.
        options: How often a request is tried again, and for how long, where the usual is not right.

    Raises the library's own errors, which ``failures`` names.
    """
    library()
    store = importlib.import_module("obstore.store")
    if address.startswith(f"{_FILE}://"):
        return store.from_url(address, mkdir=make)
    return store.from_url(address, retry_config=_ATTEMPTS | options)


def failures() -> tuple[type[Exception], ...]:
    """The errors that the library raises."""
    return library().exceptions.BaseError, OSError, ValueError


def cause(error: Exception) -> str:
    """The reason for a failure, on one line; the library writes a page."""
    text = str(error)
    if isinstance(error, FileNotFoundError) and not is_bucket_missing(error):
        return "there is no such object"
    if (match := _CODE.search(text)) is not None:
        return f"{match[1]}: {match[2]}".rstrip(": .")
    return text.partition("\n")[0].strip().rstrip(":").removesuffix(".").strip()


@contextmanager
def naming(address: str, doing: str) -> Iterator[None]:
    """Give the library's errors within the block a sentence, as ``failed`` does."""
    try:
        yield
    except failures() as error:
        raise failed(error, address, doing) from error


def failed(error: Exception, address: str, doing: str) -> ServingError:
    """The error with a sentence that names address and remedy.

    Args:
        error: One of ``failures``.
        address: The address.
        doing: The verb: read, written, listed or removed.
    """
    return ServingError(f"{address} cannot be {doing}: {cause(error)}: {_remedy(error, address)}")


def is_bucket_missing(error: Exception) -> bool:
    """Whether there is no such bucket, rather than no such object in it."""
    return any(code in str(error) for code in ("NoSuchBucket", "ContainerNotFound"))


def _remedy(error: Exception, address: str) -> str:
    text, obstore = str(error), library()
    if is_bucket_missing(error):
        return "correct the name of the bucket"
    if isinstance(error, obstore.exceptions.PreconditionError):
        return "it was changed while it was read, so begin again once it stays as it is"
    if "builder error" in text and "http://" in text:
        return "its endpoint is no https, so set AWS_ALLOW_HTTP=true if that is right"
    if _is_refused(error, text):
        scheme = address[:2]
        variables = _VARIABLES.get("az" if scheme == "ab" else scheme, "its permissions")
        return f"set {variables}, or give this account or machine the permission"
    if isinstance(error, FileNotFoundError):
        return "correct the address"
    return "see whether its address, its endpoint and the network are right, and begin again"


def _is_refused(error: Exception, text: str) -> bool:
    """Whether credentials are missing or do not suffice: machines without a role have no token either."""
    exceptions = library().exceptions
    if isinstance(
        error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError | PermissionError
    ):
        return True
    status = _STATUS.search(text)
    is_refused = status is not None and status[1].startswith(_REFUSED)
    return is_refused or "169.254.169.254" in text or "must be specified" in text
