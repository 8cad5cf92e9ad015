"""serving.toml: what it may say, and the sentence where it says something else."""

import os

import msgspec
import pytest

from server.artifact import Feature
from server.errors import ServingError
from server.lifecycle import serving
from server.lifecycle.serving import Serving, Shadowing

FULL = """
load = [2, 5]
retired = [1]
[labels]
stable = 3
candidate = 4
"v1.2" = 2
[traffic]
stable = 0.9
3 = 0.05
4 = 0.05
7 = 0
[shadow]
version = "candidate"
share = 0.5
"""


def features(*names: str, kind: str = "number") -> list[Feature]:
    return [Feature(name=name, kind=kind, missing=False) for name in names]


def test_every_part_is_read():
    """Labels stand for versions everywhere, equal versions' shares add up, those of 0 are left out."""
    asked = serving.parse(FULL)
    assert (asked.load, asked.retired) == ((2, 5), (1,))
    assert asked.labels == {"stable": 3, "candidate": 4, "v1.2": 2}
    assert asked.shadow == Shadowing(version="candidate", share=0.5)
    assert [asked.number(word) for word in ("stable", "17", 17, "v1.2")] == [3, 17, 17, 2]
    assert asked.required() == (2, 3, 4, 5, 7)
    assert asked.shares() == pytest.approx({3: 0.95, 4: 0.05})


@pytest.mark.parametrize("text", ["", "# nothing", "[labels]\n[traffic]", 'load = "newest"'])
def test_every_part_is_optional(text):
    """A file that asks for nothing asks for the newest."""
    assert serving.parse(text) == Serving()
    assert (Serving().required(), Serving().shares()) == ((), {})


@pytest.mark.parametrize("value", ['"all"', '"newest"', "1", "3", "[0]", "[3, 3, 4]"])
def test_what_load_may_be(value):
    """A word, a number of versions, or a list of them."""
    assert serving.parse(f"load = {value}").required() in {(), (0,), (3, 4)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lod = 2", ["'lod'", "did you mean 'load'?", "load, retired, labels, traffic, shadow"]),
        ("[zzz]", ["'zzz' in serving.toml is no key: The keys are"]),
        ("load =\nretired = []", ["not TOML", "line 1"]),
        ("[labels]\nstable = 3\nstable = 4", ["not TOML", "overwrite"]),
        (f"load = {'9' * 5000}", ["not TOML"]),
        ("load = " + "[" * 9999, ["not TOML"]),
        ('load = "newset"', ["load in serving.toml is 'newset'", '"newest", "all"']),
        ("load = 0", ["load in serving.toml is 0", ">= 1", "how many"]),
        ("load = true", ["load in serving.toml is True", "got bool"]),
        ("load = []", ["load in serving.toml is []", "leave load out"]),
        ("load = [-1]", ["load", "-1"]),
        ("load = 1234567890123456789012345", ["load"]),
        ("load = [3, 4]\nretired = [4]", ["load in serving.toml is version 4, which is retired"]),
        ("retired = 3", ["retired in serving.toml is 3", "[1, 2]"]),
        ("labels = 3", ["labels in serving.toml is 3", "stable = 3"]),
        ("[[labels]]\nstable = 3", ["labels in serving.toml is [{"]),
        ('[labels]\na = 2\nstable = ""', ["labels.stable in serving.toml is ''", "Expected int, got str"]),
        ("[labels]\nv1.2 = 3", ["labels.v1", '"v1.2" = 3']),
        ("[labels]\nstable = -1", ["labels.stable", "-1", ">= 0"]),
        ("[labels]\n4 = 4", ["label '4'", "starts with a letter"]),
        ('[labels]\n"a/b" = 4', ["label 'a/b'", "letters, digits"]),
        ('[labels]\n"ä" = 4', ["label 'ä'"]),
        ("retired = [3]\n[labels]\nstable = 3", ["labels.stable in serving.toml is version 3", "retired"]),
        ("[traffic]\nstable = 1", ["traffic.stable in serving.toml: there is no label 'stable'", "none yet"]),
        ("[labels]\na = 1\n[traffic]\nb = 1", ["no label 'b': the labels are a. Add it, or name a version"]),
        ("[traffic]\n04 = 1", ["no label '04'"]),
        (f"[traffic]\n{'9' * 5000} = 1", ["no label '999"]),
        ("[traffic]\n3 = 0.9\n4 = 0.05", ["adds up to 0.95", "have to add up to 1"]),
        ("[traffic]\n3 = 0.9\n4 = 0.10001", ["adds up to 1.00001"]),
        ("[traffic]\n3 = 1.5\n4 = -0.5", ["traffic.3 in serving.toml is 1.5", "<= 1"]),
        ("[traffic]\n4 = -0.5\n3 = 1.5", ["traffic.4 in serving.toml is -0.5", ">= 0"]),
        ("[traffic]\n3 = nan", ["traffic.3 in serving.toml is nan"]),
        ("[traffic]\n3 = true", ["traffic.3 in serving.toml is True", "got bool"]),
        ("[traffic]\n3 = 0\n4 = 0", ["adds up to 0"]),
        ("retired = [3]\n[traffic]\n3 = 1", ["traffic.3 in serving.toml is version 3, which is retired"]),
        ("[shadow]\nshare = 1", ["shadow", "missing required field version"]),
        ("[shadow]\nversion = 3\nshaer = 1", ["shadow", "unknown field shaer", "share = 1.0"]),
        ("[shadow]\nversion = 3\nshare = 0", ["shadow", "> 0", "$.share"]),
        ("[shadow]\nversion = 3\nshare = nan", ["shadow", "nan"]),
        ('[shadow]\nversion = "c"', ["shadow.version in serving.toml: there is no label 'c'"]),
        ("retired = [3]\n[shadow]\nversion = 3", ["shadow.version in serving.toml is version 3"]),
    ],
)  # fmt: skip
def test_mistakes(text, words):
    """A mistake is named by its key, with what belongs there."""
    with pytest.raises(ServingError) as caught:
        serving.parse(text)
    assert all(word in str(caught.value) for word in ["serving.toml", *words]), caught.value


def test_shares_of_people_are_rounded():
    """Thirds with seven digits add up to 1."""
    assert sum(serving.parse("[traffic]\n1 = 0.3333333\n2 = 0.3333333\n3 = 0.3333334").shares().values())


def test_an_unknown_label_is_named_with_the_others():
    """number() serves the command line too."""
    with pytest.raises(ServingError, match="there is no label 'canary': the labels are stable, candidate"):
        Serving(labels={"stable": 3, "candidate": 4}).number("canary")


def test_the_file_is_read(tmp_path):
    """Its text, None where there is none, and a sentence where it cannot be read."""
    assert serving.read(tmp_path) is serving.read(tmp_path / "nowhere") is None
    path = tmp_path / "serving.toml"
    path.write_text("load = 2 # ä", "utf-8")
    assert serving.read(tmp_path) == "load = 2 # ä"
    path.write_bytes(b"load = 2 # \xe4")
    with pytest.raises(ServingError, match=r"serving\.toml is not UTF-8 \(byte 11\)"):
        serving.read(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ServingError, match="cannot be read: Is a directory"):
        serving.read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_of_somebody_else(tmp_path):
    """A file without permission is told as such."""
    (tmp_path / "serving.toml").touch(mode=0)
    with pytest.raises(ServingError, match="Permission denied"):
        serving.read(tmp_path)


def test_the_same_features():
    """Names, order and kinds count; ranges and categories may differ."""
    wide = [msgspec.structs.replace(feature, minimum=0.0, missing=True) for feature in features("a", "b")]
    serving.check_features({})
    serving.check_features({3: features("a", "b")})
    serving.check_features({3: features("a", "b"), 4: wide, 5: features("a", "b")})


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (features("a"), "version 4 lacks 'b'"),
        (features("a", "c", "d"), "version 4 lacks 'b' and adds 'c', 'd'"),
        (features("b", "a"), r"version 4 takes them in another order \(b, a\)"),
        (features("a") + features("b", kind="category"), "version 4 has another kind of 'b'"),
    ],
)
def test_different_features(other, told):
    """Versions that one client cannot feed alike are a mistake that names them and the features."""
    versions = {4: other, 3: features("a", "b"), 2: features("a", "b")}
    with pytest.raises(
        ServingError, match=f"versions 2 and 4 cannot take the same requests, as {told}: give"
    ):
        serving.check_features(versions)
