"""The address of one stream of a broker, such as redis://scorer@host:6379/flowers?db=1."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from unpickled.server.errors import ConfigError
from unpickled.server.quote import hint, listed, quoted

# An option of every address: the file that has the password, which a list of processes then does not show.
_PASSWORD_FILE = "password_file"
_FORM = "SCHEME://HOST/NAME"
# Scheme -> the port of a host without one, to see that two addresses mean one server.
_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}
_PORTS |= dict.fromkeys(("kafka", "kafkas"), 9092) | dict.fromkeys(("nats", "natss"), 4222)
# The options that choose among places of one name, and their defaults.
_PARTS = {"db": "0", "vhost": "/"}
# Names of one host.
_LOCAL = {"localhost", "127.0.0.1", "::1"}


class Host(msgspec.Struct, frozen=True):
    """A host and its port; None for the usual one of the scheme."""

    name: str
    port: int | None = None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an address. As a text it has no password and no options.

    Attributes:
        scheme: The first word, in small letters, such as redis; it chooses the broker.
        hosts: One or more.
        path: The text behind the first slash after the hosts, never empty: the name of the stream.
        user: The user; empty for none.
        password: The password; empty for none.
        options: The pairs behind the question mark, by name.

    Example:
        >>> address = parsed("redis://:secret@[::1]/flowers?db=1")
        >>> str(address), address.password, address.options["db"]
        ('redis://[::1]/flowers', 'secret', '1')
    """

    scheme: str
    hosts: tuple[Host, ...]
    path: str
    user: str = ""
    password: str = ""
    options: Mapping[str, str] = {}

    def __str__(self) -> str:
        return f"{self.server}/{self.path}"

    def __repr__(self) -> str:
        return f"<{self}>"

    @property
    def server(self) -> str:
        """The address of the broker, without the name of the stream."""
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{','.join(map(str, self.hosts))}"

    def only_host(self, port: int) -> Host:
        """The host, with this port where it has none; ConfigError where there are several hosts."""
        if len(self.hosts) > 1:
            raise ConfigError(f"{self} has several hosts, and {self.scheme} takes one: name it alone")
        [host] = self.hosts
        return Host(host.name, host.port or port)

    def check_options(self, *names: str) -> None:
        """ConfigError where the address has an option of another name."""
        for option in self.options:
            if option not in names:
                known = listed([*names, _PASSWORD_FILE])
                raise ConfigError(
                    f"{quoted(option)} is no option of {self}: {hint(option, names)}Its options are {known}"
                )

    def number(self, option: str, least: int = 0) -> int | None:
        """The whole number in an option, None without it; ConfigError where it is none or below ``least``."""
        text = self.options.get(option)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise ConfigError(f"{option} of {self} is {quoted(text)}: write a whole number from {least} on")
        return int(text)


class Addresses(msgspec.Struct, frozen=True):
    """Where messages come from, and where answers go and those without one.

    Raises:
        ConfigError: Answers would come back as messages.
    """

    source: Address
    target: Address
    letters: Address | None = None

    def __post_init__(self) -> None:
        for flag, address in (("--to", self.target), ("--dead", self.letters)):
            if address is not None and self._is_source(address):
                raise ConfigError(f"{flag} is {address}, where the messages come from: choose another")

    def _is_source(self, address: Address) -> bool:
        (hosts, *place), (others, *source) = _place(address), _place(self.source)
        return place == source and not hosts.isdisjoint(others) and _has(self.source, address.path)


def _place(address: Address) -> tuple[set[tuple[str, int | None]], str, list[str]]:
    """The hosts of an address, any of which means the same server, and what names its part there."""
    port = _PORTS.get(address.scheme)
    hosts = {("localhost" if host.name in _LOCAL else host.name, host.port or port) for host in address.hosts}
    parts = [address.options.get(name) or default for name, default in _PARTS.items()]
    return hosts, address.scheme, parts


def _has(source: Address, path: str) -> bool:
    """Whether what is written to a path comes back from a source, whose path may be a pattern in NATS."""
    if not source.scheme.startswith("nats"):
        return source.path == path
    pattern = re.escape(source.path).replace(r"\*", r"[^.]+")
    return re.fullmatch(re.sub(r"(?<!\\)>$", ".+", pattern), path) is not None


def parsed(text: str) -> Address:
    """The parts of an address. A character with a meaning of its own is written as %40 and so on.

    Raises:
        ConfigError: It is none; the sentence does not show the password.
    """
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigError(f"an address of a broker cannot be read ({error}): write {_FORM}") from None
    user, _, hosts = parts.netloc.rpartition("@")
    if not parts.scheme or not hosts:
        # The text behind the last @ is no password.
        raise ConfigError(f"{quoted(text.rpartition('@')[2])} is no address of a broker: write {_FORM}")
    shown = f"{parts.scheme}://{hosts}{parts.path}"
    path = unquote(parts.path.removeprefix("/"))
    if not path:
        raise ConfigError(f"{shown} names no stream: write {parts.scheme}://{hosts}/NAME")
    name, _, password = user.partition(":")
    options = _options(parts, shown)
    secret = options.pop(_PASSWORD_FILE, None)
    return Address(
        scheme=parts.scheme,
        hosts=tuple(_host(host, shown) for host in hosts.split(",")),
        path=path,
        user=unquote(name),
        password=unquote(password) if secret is None else _read(secret, shown),
        options=options,
    )


def _options(parts: SplitResult, shown: str) -> dict[str, str]:
    if parts.fragment:
        raise ConfigError(f"{shown} goes on after '#': write %23 where that is part of a name")
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigError(f"the options of {shown} cannot be read: write ?name=value&name=value") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ConfigError(f"an option of {shown} is given twice: keep one of them")
    return options


def _host(text: str, shown: str) -> Host:
    """The host in a text, such as a, a:1, [::1] or [::1]:1."""
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{quoted(text)} in {shown} is no host: {error}") from None
    if not name:
        raise ConfigError(f"{quoted(text)} in {shown} is no host: write a name or an address")
    return Host(name, port)


def _read(path: str, shown: str) -> str:
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{_PASSWORD_FILE} of {shown} cannot be read: {path}: {reason}") from None
