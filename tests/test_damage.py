"""Files that are damaged, endless, enormous or junk cost the server a sentence, and nothing else."""

import pytest
from test_artifact import length_delimited

from unpickled.server import Config, create_app
from unpickled.server.artifact import onnxfile
from unpickled.server.errors import ArtifactError

PAIRS = 5_000_000
DAMAGED, PARTS = "truncated or damaged", "more parts than any model has"


def inside(*keys: int, content: bytes) -> bytes:
    """A message inside fields with these keys, the outermost last; a node is an Add."""
    for key in keys:
        content = length_delimited(key, (b"\x22\x03Add" if key == 0x0A else b"") + content)
    return content


# Ten million bytes each.
JUNK = {
    "zeros": (bytes(2 * PAIRS), DAMAGED),
    "ones": (b"\xff" * 2 * PAIRS, DAMAGED),
    "versions": (b"\x08\x00" * PAIRS, PARTS),
    "texts": (b"\x32\x00" * PAIRS, PARTS),
    "graphs": (b"\x3a\x00" * PAIRS, PARTS),
    "nodes": (inside(0x3A, content=b"\x0a\x00" * PAIRS), "operator '' is none"),
    "values": (inside(0x3A, content=b"\x6a\x00" * PAIRS), PARTS),
    "inputs": (inside(0x0A, 0x3A, content=b"\x0a\x00" * PAIRS), PARTS),
    "lengths": (inside(0x2A, 0x3A, content=b"\x08\x00" * PAIRS), PARTS),
    "long texts": (inside(0x2A, 0x0A, 0x3A, content=(b"\x4a\x80\x01" + bytes(128)) * 310_000), PARTS),
    "turns": (inside(0x2A, 0x0A, 0x3A, content=b"\x40\x00\x0a\x00" * (PAIRS // 2)), DAMAGED),
    "runs": (inside(0x2A, 0x0A, 0x3A, content=b"\x4a\x00\x0a\x00" * (PAIRS // 2)), PARTS),
}


@pytest.mark.parametrize(("content", "reason"), JUNK.values(), ids=JUNK)
def test_junk_is_refused(content, reason):
    """Millions of parts are not looked at one by one, whatever they are."""
    with pytest.raises(ArtifactError, match=reason):
        onnxfile.contents(content)


def test_a_file_of_any_size_is_not_read(tmp_path):
    """A file of more than 2 GiB is refused for its size; this one has no bytes on disk."""
    path = tmp_path / "huge" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(2**42)
    answer = create_app(Config(models=str(tmp_path))).test_client().get("/readyz")
    assert "4,398,046,511,104 bytes" in answer.json["refused"]["huge"]
