"""Files that are damaged, endless, enormous or junk cost the server a sentence, and nothing else."""

from itertools import product
from random import Random

import pytest
from handmade import changed, store, undigested
from msgspec.structs import replace
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neural_network import MLPClassifier
from test_artifact import length_delimited

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.server import Config, create_app
from unpickled.server.artifact import manifest as artifact
from unpickled.server.artifact import onnxfile
from unpickled.server.errors import ArtifactError
from unpickled.server.model.session import load

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


@pytest.fixture(scope="module")
def files(models, tmp_path_factory) -> dict[str, bytes]:
    """One file of each kind of estimator."""
    X, y = load_iris(return_X_y=True)
    folder = tmp_path_factory.mktemp("files")
    kinds = {
        "boosting": HistGradientBoostingClassifier(max_iter=3),
        "network": MLPClassifier((4,), tol=1.0, n_iter_no_change=1),
    }
    made = {
        name: export_pipeline(kind.fit(X, y), X, y, name=name, models=folder) for name, kind in kinds.items()
    }
    paths = {name: models.path / name / "1" / "model.onnx" for name in ("iris", "forest", "people")}
    paths |= {name: export.path for name, export in made.items()}
    return {name: path.read_bytes() for name, path in paths.items()}


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.mark.parametrize("name", ["boosting", "forest", "iris", "network", "people"])
def test_no_flipped_bit_is_loaded(files, name):
    """A single bit that changes after the export, in the graph or in the manifest, refuses the file."""
    content, random = files[name], Random(3)
    assert artifact.read(content).graph_sha256
    for place in random.sample(range(len(content)), 300):
        with pytest.raises(ArtifactError):
            load(flipped(content, place, random.randrange(8)))


@pytest.mark.long
def test_no_bit_of_a_file_is_without_a_digest(files):
    """Each bit of a file counts."""
    content = files["iris"]
    for place, bit in product(range(len(content)), range(8)):
        with pytest.raises(ArtifactError):
            artifact.read(flipped(content, place, bit))


def test_other_programs_may_write_the_file_anew(files):
    """The digests are of the content: a program that adds metadata of its own leaves the file sound."""
    properties = artifact.properties(artifact.read(files["iris"]))
    assert load(changed(files["iris"], {**properties, "author": "somebody"})).manifest.name == "iris"


def test_a_digest_cannot_get_lost(files):
    """A file that has one of the two digests, and lacks the other, is refused."""
    manifest = artifact.read(files["iris"])
    properties = artifact.properties(manifest)
    del properties[artifact.DIGEST_KEY]
    with pytest.raises(ArtifactError, match=r"lack 'unpickled.manifest.sha256'"):
        load(changed(files["iris"], properties))
    with pytest.raises(ArtifactError, match="lacks the digest of the graph"):
        load(changed(files["iris"], artifact.properties(replace(manifest, graph_sha256=""))))


def test_a_file_of_an_earlier_release_is_loaded_and_listed(files, tmp_path, capsys):
    """A file without any digest is served, and the list of the models says what it lacks."""
    store(tmp_path, "iris", undigested(files["iris"]))
    assert main(["models", "list", "--models", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "100%" in printed
    assert "iris: version 1 has no digest, so damage to its file may go unseen" in printed
