"""Files that are damaged, endless, enormous or junk cost the server a sentence, and nothing else."""

import ast
from itertools import product
from random import Random

import onnx
import pytest
from conftest import ROOT
from handmade import changed, graph, store, undigested
from msgspec.structs import replace
from onnx import helper
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.neural_network import MLPClassifier
from test_artifact import length_delimited

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.export.convert import convert
from unpickled.server import Config, create_app
from unpickled.server.artifact import manifest as artifact
from unpickled.server.artifact import onnxfile
from unpickled.server.artifact.operators import OPERATORS
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
    "runs": (inside(0x2A, 0x0A, 0x3A, content=b"\x4a\x00\x0a\x00" * (PAIRS // 2)), DAMAGED),
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


# Two trees: a root with a leaf and a split of two leaves, and a root of two leaves.
SPLITS = {
    "tree_roots": [0, 2],
    "nodes_truenodeids": [1, 0, 3],
    "nodes_falsenodeids": [2, 1, 4],
    "nodes_trueleafs": [0, 1, 1],
    "nodes_falseleafs": [1, 1, 1],
    "leaf_targetids": [0] * 5,
}
NODES = {
    "nodes_treeids": [0] * 5 + [1] * 3,
    "nodes_nodeids": [0, 1, 2, 3, 4, 0, 1, 2],
    "nodes_modes": "- - LEAF LEAF LEAF - LEAF LEAF".replace("-", "BRANCH_LEQ").split(),
    "nodes_truenodeids": [1, 3, 0, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [2, 4, 0, 0, 0, 2, 0, 0],
}
ENDLESS, DISORDER = "might never end", "not those of an export"
BENT = {
    "sound": ({}, None),
    "back to the root": ({"nodes_truenodeids": [0, 0, 3]}, ENDLESS),
    "back to itself": ({"nodes_trueleafs": [0, 0, 1], "nodes_truenodeids": [1, 1, 3]}, ENDLESS),
    "into another tree": ({"nodes_truenodeids": [2, 0, 3]}, ENDLESS),
    "both ways": ({"nodes_falsenodeids": [1, 1, 4], "nodes_falseleafs": [0, 1, 1]}, ENDLESS),
    "a root twice": ({"tree_roots": [0, 0]}, ENDLESS),
    "beyond the splits": ({"nodes_truenodeids": [3, 0, 3]}, DISORDER),
    "below them": ({"nodes_truenodeids": [-1, 0, 3]}, DISORDER),
    "beyond the leaves": ({"nodes_falsenodeids": [5, 1, 4]}, DISORDER),
    "a split less": ({"nodes_truenodeids": [1, 0]}, DISORDER),
}
OLDER = {
    "sound": ({}, None),
    "back to the root": ({"nodes_truenodeids": [1, 0, 0, 0, 0, 1, 0, 0]}, ENDLESS),
    "back to itself": ({"nodes_truenodeids": [1, 1, 0, 0, 0, 1, 0, 0]}, ENDLESS),
    "both ways": ({"nodes_falsenodeids": [1, 4, 0, 0, 0, 2, 0, 0]}, ENDLESS),
    "into another tree": ({"nodes_truenodeids": [5, 3, 0, 0, 0, 1, 0, 0]}, DISORDER),
    "below them": ({"nodes_truenodeids": [-1, 3, 0, 0, 0, 1, 0, 0]}, DISORDER),
    "a node less": ({"nodes_falsenodeids": [2, 4, 0, 0, 0, 2, 0]}, DISORDER),
    "out of order": ({"nodes_nodeids": [1, 0, 2, 3, 4, 0, 1, 2]}, DISORDER),
    "a tree twice": ({"nodes_treeids": [1] * 5 + [0] * 3}, DISORDER),
    "a leaf less": ({"nodes_modes": NODES["nodes_modes"][:-1]}, DISORDER),
}
CASES = [("TreeEnsemble", SPLITS, *case) for case in BENT.values()]
CASES += [("TreeEnsembleClassifier", NODES, *case) for case in OLDER.values()]


@pytest.mark.parametrize(
    ("kind", "attributes", "changes", "reason"), CASES, ids=[*BENT, *(f"{name} (older)" for name in OLDER)]
)
def test_trees_end(kind, attributes, changes, reason):
    """Trees are refused that have a circle, a node that is reached in two ways, or a child that is none."""
    node = helper.make_node(kind, ["x"], ["y"], domain="ai.onnx.ml", **attributes | changes)
    file = graph([node]).SerializeToString()
    if reason is None:
        onnxfile.contents(file)
        return
    with pytest.raises(ArtifactError, match=reason):
        onnxfile.contents(file)


@pytest.mark.parametrize(
    "kind", [RandomForestClassifier(40), RandomForestRegressor(40)], ids=["class", "number"]
)
def test_a_circle_deep_in_a_forest_is_refused(kind):
    """A single node that leads back is found among hundreds."""
    X, y = load_iris(return_X_y=True)
    file = convert(kind.fit(X, y), X).model
    onnxfile.contents(file.SerializeToString())
    [node] = [node for node in file.graph.node if node.op_type.startswith("TreeEnsemble")]
    attributes = {attribute.name: attribute.ints for attribute in node.attribute}
    children = attributes["nodes_truenodeids"]
    place = max(place for place, leaf in enumerate(attributes["nodes_trueleafs"]) if not leaf)
    children[place] = place
    with pytest.raises(ArtifactError, match=ENDLESS):
        onnxfile.contents(file.SerializeToString())


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


def test_every_operator_of_the_converters_is_run():
    """The list of operators has all that a converter names, and none that ONNX does not have."""
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    listed = set().union(*OPERATORS.values())
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "export").rglob("*.py"))]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    added = [call.args[0] for call in calls if getattr(call.func, "attr", "") in ("add", "add_many")]
    named = {word.value for word in added if isinstance(word, ast.Constant)} & known
    assert len(named) > 40
    assert named <= listed <= known


@pytest.mark.parametrize("operator", ["Loop", "If", "ConstantOfShape", "Tile", "RandomNormal", "Optional"])
def test_an_operator_that_no_export_writes_is_refused(operator):
    """The reason names the operator."""
    with pytest.raises(ArtifactError, match=f"operator '{operator}' is none that an export writes"):
        onnxfile.contents(graph([helper.make_node(operator, ["x"], ["y"])]).SerializeToString())
