"""Deployments without their models, as metrics tell them: workers post them, the main process reads them."""

from collections.abc import Iterable, Mapping

import msgspec

from unpickled.server.lifecycle.deployment import Deployment


class Outline(msgspec.Struct, frozen=True):
    """A deployment: refused versions with the reason, shares of traffic by version, versions by label."""

    name: str
    refused: Mapping[int, str]
    mistake: str
    traffic: Mapping[int, float]
    labels: Mapping[str, int]


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """An outline whose texts are bytes: the name of a folder may hold bytes that are not UTF-8."""

    name: bytes
    refused: dict[int, bytes]
    mistake: bytes
    traffic: dict[int, float]
    labels: dict[bytes, int]


_DECODER = msgspec.msgpack.Decoder(list[_Row])


def outlines(deployments: Iterable[Deployment]) -> list[Outline]:
    """The outline of each deployment."""
    return [
        Outline(
            deployment.name,
            deployment.refused,
            deployment.mistake or "",
            deployment.traffic,
            deployment.labels,
        )
        for deployment in deployments
    ]


def pack(outlines: Iterable[Outline]) -> bytes:
    """Outlines as bytes."""
    return msgspec.msgpack.encode(
        [
            _Row(
                _bytes(outline.name),
                {number: _bytes(reason) for number, reason in outline.refused.items()},
                _bytes(outline.mistake),
                dict(outline.traffic),
                {_bytes(label): number for label, number in outline.labels.items()},
            )
            for outline in outlines
        ]
    )


def unpack(content: bytes) -> list[Outline]:
    """The outlines in these bytes."""
    return [
        Outline(
            _text(row.name),
            {number: _text(reason) for number, reason in row.refused.items()},
            _text(row.mistake),
            row.traffic,
            {_text(label): number for label, number in row.labels.items()},
        )
        for row in _DECODER.decode(content)
    ]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")
