"""serving.toml: the settings it may have, and the error for any other text."""

import os
import re

import msgspec
import pytest
from handmade import MANIFEST
from msgspec.structs import replace

from unpickled.server.artifact.manifest import Feature, Input, Notation
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import serving
from unpickled.server.lifecycle.serving import Serving, Shadowing
from unpickled.server.model.policy import FeaturePolicy

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


def features(*names: str, kind: str = "number", date: str = "") -> list[Feature]:
    """Features of one kind with these names; dates written in that order if there is one."""
    notation = Notation(date=date) if date else None
    return [Feature(name=name, kind=kind, missing=False, notation=notation) for name in names]


def test_every_part_is_read():
    """Labels stand for versions everywhere, and the shares of equal versions add up."""
    parsed = serving.parse(FULL)
    assert (parsed.load, parsed.retired) == ((2, 5), (1,))
    assert parsed.labels == {"stable": 3, "candidate": 4, "v1.2": 2}
    assert parsed.shadow == Shadowing(version="candidate", share=0.5)
    assert [parsed.number(word) for word in ("stable", "17", 17, "v1.2")] == [3, 17, 17, 2]
    assert parsed.required() == (2, 3, 4, 5, 7)
    assert parsed.shares() == pytest.approx({3: 0.95, 4: 0.05})


@pytest.mark.parametrize("text", ["# nothing", "[labels]\n[traffic]", 'load = "newest"'])
def test_every_part_is_optional(text):
    """A file without settings asks for the newest version."""
    assert serving.parse(text) == Serving()
    assert (Serving().required(), Serving().shares()) == ((), {})


@pytest.mark.parametrize("value", ['"all"', '"newest"', "1", "3", "[0]", "[3, 3, 4]"])
def test_what_load_may_be(value):
    """load is a word, a number of versions, or a list of them."""
    assert serving.parse(f"load = {value}").required() in {(), (0,), (3, 4)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lod = 2", ["'lod'", "did you mean 'load'?", "load, retired, labels, traffic, shadow"]),
        ("[zzz]", ["'zzz' in serving.toml is no known key: The keys are"]),
        ("load =\nretired = []", ["not TOML", "line 1"]),
        ("[labels]\nstable = 3\nstable = 4", ["not TOML", "overwrite"]),
        (f"load = {'9' * 5000}", ["not TOML"]),
        (f"load = 0x{'F' * 4000}", ["load in serving.toml is a value too long to show", "how many"]),
        (f"load = [0x{'F' * 4000}]", ["load in serving.toml is a value too long to show"]),
        (f"labels.stable = 0x{'F' * 4000}", ["labels.stable in serving.toml is a value too long to show"]),
        (f"load = '{'x' * 3_000_000}'", ["longer than 16 KiB", "shorten it"]),
        (f"load = '{'x' * 9000}'", ["load in serving.toml is 'xxx", "...xxx"]),
        (f"[shadow]\nversion = 3\n{'x' * 9000} = 3", ["unknown field xxx"]),
        (f'"{"x" * 9000}\\n" = 3', ["no known key"]),
        (f'[labels]\n"{"x" * 9000}\\n" = 3', ["a label starts"]),
        (f'[traffic]\n"{"x" * 9000}\\n" = 1', ["there is no label"]),
        ("[labels]" + "".join(f"\na{number} = 3" for number in range(999)) + "\n[traffic]\nb = 1",
         ["the labels are a0, a1, a2, a3, a4 and 994 more"]),
        (f"a{'.a' * 8000} = 1", ["more than 256 dots in line 1"]),
        (f"labels{'.a' * 250} = 1", ["labels.a in serving.toml is {'a'"]),
        ("", ["is empty", "delete it", 'load = "newest"']),
        (" \r\n\t", ["is empty"]),
        ("\0" * 99, ["not TOML"]),
        ("load = " + "[" * 300 + "]" * 300, ["load in serving.toml is [[["]),
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
        ("[labels]\n4 = 4", ["a label in serving.toml is '4': a label starts with a letter"]),
        ('[labels]\n"a/b" = 4', ["is 'a/b'", "letters, digits"]),
        ('[labels]\n"ä" = 4', ["is 'ä'"]),
        ("retired = [3]\n[labels]\nstable = 3", ["labels.stable in serving.toml is version 3", "retired"]),
        ("[traffic]\nstable = 1", ["traffic.stable in serving.toml: there is no label 'stable'", "none yet"]),
        ("[labels]\na = 1\n[traffic]\nb = 1", ["no label 'b': the labels are a. Add it, or name a version"]),
        ("[traffic]\n04 = 1", ["there is no label '04', and it is no version number: there are none yet"]),
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
        ("inputs = 3", ["inputs in serving.toml is 3", 'outside = "flag"']),
        ('inputs.outside = "warn"', ["inputs.outside in serving.toml is 'warn'", "Invalid enum value"]),
        ("inputs.slack = -0.1", ["inputs.slack in serving.toml is -0.1: Expected float >= 0.0. "]),
        ("inputs.slack = nan", ["inputs.slack in serving.toml is nan"]),
        ("inputs.features = 3", ["inputs.features in serving.toml is 3", "got int"]),
        ("inputs.features.age = 3", ["inputs.features.age in serving.toml is 3", "got int"]),
        ("inputs.features.age.lowst = 3", ["inputs.features.age.lowst in serving.toml", "unknown field"]),
        ("inputs.features.age.highest = inf", ["inputs.features.age.highest in serving.toml is inf"]),
        ('inputs.features.age.lowest = "0"', ["age.lowest in serving.toml is '0': Expected float, got str"]),
        ("inputs.features.age = {lowest = 3, highest = 2}", ["has lowest 3 and highest 2: exchange them"]),
    ],
)  # fmt: skip
def test_mistakes(text, words):
    """The error names the key and the allowed values in one short line, however long the mistake is."""
    with pytest.raises(ServingError) as caught:
        serving.parse(text)
    assert all(word in str(caught.value) for word in ["serving.toml", *words]), caught.value
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_the_policy_for_inputs():
    """A feature has what the policy for all says, but for the parts that are its own."""
    text = '[inputs]\noutside = "clip"\nslack = 1\n[inputs.features]\n"a.b" = {lowest = 0}\nc = {}\n'
    policy = serving.parse(text).inputs
    assert (policy.outside, policy.slack, policy.of("d")) == ("clip", 1.0, FeaturePolicy())
    assert policy.features == {"a.b": FeaturePolicy(lowest=0.0), "c": FeaturePolicy()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "lenght.outside = 'clip'",
            "no version that is served has a feature of that name: did you mean 'length'",
        ),
        ("kind.lowest = 3", "has lowest or highest, but the feature takes categories: leave them out"),
        ("is_new.highest = 3", "has lowest or highest, but the feature takes known values only: leave them"),
    ],
)
def test_a_policy_for_no_feature(text, words):
    """A feature that no served version has is told, and so are borders of one that has none."""
    policy = serving.parse(f"[inputs.features]\n{text}").inputs
    boolean = Feature(name="is_new", kind="number", missing=False, boolean=True)
    served = [*features("length"), *features("kind", kind="category"), boolean]
    with pytest.raises(ServingError, match=re.escape(words)):
        serving.check_inputs(policy, [features("width"), served])
    serving.check_inputs(policy, [])
    serving.check_inputs(
        serving.parse("inputs.features.width.lowest = 3").inputs, [features("width"), served]
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "x.lowest = 9",
            "inputs.features.x in serving.toml has lowest 9, above the highest value of version 2, "
            "which is that of training (7.5): give highest, too, or lower it",
        ),
        (
            "x.highest = 0.5",
            "has highest 0.5, below the lowest value of version 2, which is that of training",
        ),
        ("n.lowest = 7.5", "n in serving.toml has lowest 7.5, above the highest value of version 2"),
        ("n = {lowest = 2.2, highest = 2.8}", "lowest 2.2 and highest 2.8, but the values of version 2 are"),
        ("d.lowest = 864000", "has lowest 1970-01-11, above the highest value of version 2"),
        ("x.lowest = 12\n[inputs]\nslack = 0.5", "is that of training with slack (10.75): give highest"),
    ],
)
def test_a_range_without_a_value(text, words):
    """One border of a feature's own that lies beyond the other end, that of training, is told as two are."""
    kinds = {"x": (1.0, 7.5, None), "n": (1.0, 7.0, None), "d": (0.0, 86400.0, Notation(date="day first"))}
    numbers = [
        Feature(name=name, kind="number", missing=False, minimum=low, maximum=high, notation=notation)
        for name, (low, high, notation) in kinds.items()
    ]
    dtypes = {"x": "float32", "n": "int64", "d": "float64"}
    inputs = tuple(Input(name=name, dtype=dtype, features=(name,)) for name, dtype in dtypes.items())
    narrow = replace(MANIFEST, features=tuple(numbers), inputs=inputs)
    wide = replace(narrow, features=tuple(replace(each, minimum=-99.0, maximum=1e9) for each in numbers))
    policy = serving.parse(f"[inputs.features]\n{text}").inputs
    with pytest.raises(ServingError, match=re.escape(words)):
        serving.check_ranges(policy, {2: narrow, 3: wide})
    if not text.startswith("n ="):
        serving.check_ranges(policy, {3: wide})
    serving.check_ranges(serving.parse("[inputs.features]\nx.lowest = 7.5\nz.lowest = 9").inputs, {2: narrow})


def test_many_dots_in_a_comment():
    """Dots in a comment do not count as those of a key."""
    assert serving.parse(f"# {'.' * 300}\nload = 2") == Serving(load=2)


def test_shares_of_people_are_rounded():
    """Thirds with seven digits add up to 1."""
    assert sum(serving.parse("[traffic]\n1 = 0.3333333\n2 = 0.3333333\n3 = 0.3333334").shares().values())


def test_an_unknown_label_is_named_with_the_others():
    """The error about an unknown label lists the known ones."""
    with pytest.raises(ServingError, match="there is no label 'canary': the labels are stable, candidate"):
        Serving(labels={"stable": 3, "candidate": 4}).number("canary")


def test_the_file_is_read(tmp_path):
    """A file is read as text, a missing one is None, and an unreadable one is an error in a sentence."""
    assert serving.read(tmp_path) is serving.read(tmp_path / "nowhere") is None
    path = tmp_path / "serving.toml"
    path.write_text("load = 2 # ä", "utf-8")
    assert serving.read(tmp_path) == "load = 2 # ä"
    path.write_bytes(b"load = 2 # \xe4")
    with pytest.raises(ServingError, match=r"serving\.toml is not UTF-8 \(byte 11\)"):
        serving.read(tmp_path)
    path.write_bytes("load = 2 # ä\r\n".encode("utf-8-sig"))
    assert serving.read(tmp_path) == "load = 2 # ä\n"
    path.write_bytes(b"#" * 16_384)
    assert len(serving.read(tmp_path) or "") == 16_384
    path.write_bytes(b"#" * 16_385)
    with pytest.raises(ServingError, match=r"serving\.toml is longer than 16 KiB"):
        serving.read(tmp_path)


def test_what_is_no_file(tmp_path):
    """A folder, a pipe or a device in place of the file is refused without waiting."""
    path = tmp_path / "serving.toml"
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero")):
        make()
        with pytest.raises(
            ServingError, match=r"serving\.toml cannot be read: it is (a directory|not a file)"
        ):
            serving.read(tmp_path)
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_of_somebody_else(tmp_path):
    """A file without permission is refused with that reason."""
    (tmp_path / "serving.toml").touch(mode=0)
    with pytest.raises(ServingError, match="Permission denied"):
        serving.read(tmp_path)


def test_the_same_features():
    """Names, order and kinds of features have to agree; ranges and categories may differ."""
    wide = [msgspec.structs.replace(feature, minimum=0.0, missing=True) for feature in features("a", "b")]
    serving.check_features({})
    serving.check_features({3: features("a", "b")})
    serving.check_features({3: features("a", "b"), 4: wide, 5: features("a", "b")})


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (features("a"), "version 4 lacks 'b'"),
        (features("a", "c", "d"), "version 4 lacks 'b' and adds 'c', 'd'"),
        (features("b", "a"), r"version 4 takes them in another order \(b, a\)"),
        (features("a") + features("b", kind="category"), "version 4 has another kind of 'b'"),
        (features("a") + features("b", date="year first"), "version 4 has another kind of 'b'"),
        (features("a", "b", *"cdefghijk"), "version 4 adds 'c', 'd', 'e', 'f', 'g' and 4 more"),
    ],
)
def test_different_features(changed, difference):
    """The error about versions with different features names the versions and the features."""
    versions = {4: changed, 3: features("a", "b"), 2: features("a", "b")}
    with pytest.raises(
        ServingError, match=f"versions 2 and 4 cannot take the same requests, as {difference}: give"
    ):
        serving.check_features(versions)
