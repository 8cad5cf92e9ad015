"""Files of fitted pipelines: of other releases of scikit-learn, damaged, or of something else."""

import pickle
import pickletools
import shlex
import warnings
from pathlib import Path

import joblib
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unpickled.__main__ import main
from unpickled.export import pickled, releases
from unpickled.export.errors import ExportError

X, Y = load_iris(return_X_y=True)
FITTED = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
NEIGHBORS = KNeighborsClassifier().fit(X.repeat(400, axis=0), Y.repeat(400))
WORDS = ["convert", "old.joblib", "--sample", "my rows.csv"]


class Thing:
    """An object that predicts, but is no estimator as scikit-learn knows them; its text may be broken."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text

    def get_params(self):
        raise AssertionError

    def predict(self, rows):
        raise AssertionError

    def __sklearn_tags__(self):
        raise AssertionError


def of(version: str, folder: Path, protocol: int = 4) -> Path:
    """A file that says that this version of scikit-learn saved it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn.base.__version__", version)
        (folder / "old.joblib").write_bytes(pickle.dumps(FITTED, protocol))
    return folder / "old.joblib"


def refusal(path: Path) -> str:
    """The error about a file, which has to be one line."""
    with pytest.raises(ExportError) as caught:
        pickled.load(path, WORDS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compress", [0, 3, "gzip", "bz2", "lzma", "xz"])
@pytest.mark.parametrize("fitted", [FITTED, NEIGHBORS], ids=["small", "large"])
def test_joblib_tells_the_version_without_loading(tmp_path, compress, fitted):
    """The version is found behind large arrays and under every compression."""
    joblib.dump(fitted, tmp_path / "fitted", compress=compress)
    assert pickled.saved_by(tmp_path / "fitted") == sklearn.__version__


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_tells_the_version_without_loading(tmp_path, protocol):
    """The version is found in every protocol, and where a pickle was made shorter."""
    text = pickle.dumps(FITTED, protocol)
    for number, content in enumerate((text, pickletools.optimize(text))):
        (tmp_path / str(number)).write_bytes(content)
        assert pickled.saved_by(tmp_path / str(number)) == sklearn.__version__


def test_a_version_across_two_chunks_is_read_whole(tmp_path, monkeypatch):
    """The version is whole wherever the file is cut into chunks."""
    monkeypatch.setattr(pickled, "_CHUNK", 300)
    for padding in range(0, 320, 3):
        (tmp_path / "fitted").write_bytes(pickle.dumps(["a" * padding, FITTED]))
        assert pickled.saved_by(tmp_path / "fitted") == sklearn.__version__


@pytest.mark.parametrize(("version", "wanted"), [("1.5.2", "==1.5.2"), ("1.6rc1", "==1.6.*")])
def test_a_file_of_another_release_is_refused_with_commands(tmp_path, version, wanted):
    """The sentence names both versions, and ends in commands that convert the file."""
    sentence = refusal(of(version, tmp_path))
    assert f"was saved by scikit-learn {version}, and the installed {sklearn.__version__} may" in sentence
    assert sentence.endswith(
        f" -m venv sklearn-{version} && sklearn-{version}/bin/pip install 'unpickled[export]' "
        f"'scikit-learn{wanted}' && sklearn-{version}/bin/unpickled {shlex.join(WORDS)}"
    )


def test_the_commands_name_a_python_that_has_the_release(tmp_path, monkeypatch):
    """Where this Python is too new for an old release, the commands name the last one that is not."""
    assert f"with {shlex.quote(releases.python_for('1.8.0'))} -m venv" in refusal(of("1.8.0", tmp_path))
    monkeypatch.setitem(releases.LAST_PYTHON, "1.8", 10)
    assert "with python3.10 -m venv" in refusal(of("1.8.0", tmp_path))


@pytest.mark.parametrize("version", ["0.20.4", "1.4.2", "2.0.0"])
def test_a_release_that_the_export_does_not_know_is_refused_without_commands(tmp_path, version):
    """No command is named that pip could not follow: the pipeline has to be fitted again."""
    sentence = refusal(of(version, tmp_path, 2))
    assert "Unpickled exports from 1.5 to 1.9: fit the pipeline again" in sentence
    assert "pip install" not in sentence


def test_a_warning_of_scikit_learn_is_refused_too(tmp_path, monkeypatch):
    """Where the version is not found beforehand, scikit-learn's own warning leads to the same sentence."""
    sentence = refusal(of("1.5.2", tmp_path))
    monkeypatch.setattr(pickled, "saved_by", lambda path: None)
    assert refusal(of("1.5.2", tmp_path)) == sentence


def test_another_version_of_the_release_is_one_warning(tmp_path):
    """A file of the installed release is loaded, with one warning that has the commands too."""
    version = f"{sklearn.__version__.rpartition('.')[0]}.7"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert pickled.load(of(version, tmp_path), WORDS).predict(X[:1]) == [0]
    (sentence,) = [str(warning.message) for warning in warned]
    assert f"was saved by scikit-learn {version}" in sentence
    assert f"'scikit-learn=={version}'" in sentence


def test_python_2_and_damage_are_told(tmp_path):
    """A file of Python 2 tells its version; a damaged one is refused, at whatever byte it ends."""
    (tmp_path / "old").write_bytes(b"\x80\x02}q\x01U\x10_sklearn_versionq\x02U\x060.19.2q\x03s.")
    assert "was saved by scikit-learn 0.19.2" in refusal(tmp_path / "old")
    for compress in (0, 3):
        joblib.dump(FITTED, tmp_path / "whole", compress=compress)
        content = (tmp_path / "whole").read_bytes()
        for end in range(0, len(content), 97):
            (tmp_path / "cut").write_bytes(content[:end])
            assert "cannot be loaded (" in refusal(tmp_path / "cut")


def pickled_of(module: str) -> bytes:
    """A pickle of a class of this module."""
    return b"\x80\x04\x8c" + bytes([len(module)]) + module.encode() + b"\x8c\x05Thing\x93."


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("nowhere.inside", "needs the module nowhere, which is not installed: pip install nowhere, or add"),
        ("category_encoders.hashing", "pip install category-encoders"),
        ("sklearn.nowhere", "which the installed scikit-learn does not have: install the version"),
        ("json", "cannot be loaded (Can't get attribute 'Thing' on"),
    ],
)
def test_a_missing_module_is_named(tmp_path, module, sentence):
    """The sentence names the module that a file needs, and what pip installs it by."""
    (tmp_path / "file").write_bytes(pickled_of(module))
    assert sentence in refusal(tmp_path / "file")


@pytest.mark.parametrize("answer", [None, "Thing()"])
def test_a_broken_estimator_ends_in_a_sentence(tmp_path, capsys, answer):
    """Whatever an estimator raises while it is exported, the error names it and its file."""
    (tmp_path / "rows.csv").write_text("a\n1\n")
    (tmp_path / "file").write_bytes(pickle.dumps(Thing(answer)))
    assert main(["convert", str(tmp_path / "file"), "--sample", str(tmp_path / "rows.csv")]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {tmp_path / 'file'} holds a Thing that is broken here (")


def test_convert_repeats_the_words_it_was_given(tmp_path, capsys):
    """The last command of the sentence is the one that was given, options included."""
    (tmp_path / "my rows.csv").write_text("a\n1\n")
    path, rows = of("1.6.1", tmp_path), tmp_path / "my rows.csv"
    words = ["convert", str(path), "--sample", str(rows), "--class-names", "a,b,c", "--min-accuracy", "0.5"]
    assert main(words) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {path} was saved by scikit-learn 1.6.1")
    printed = shlex.split(line[line.index("sklearn-1.6.1/bin/unpickled") :])
    assert sorted(printed[1:]) == sorted(words)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("old-1.4-lr.joblib", "old-1.4-lr"),
        ("old-1.4-rf.joblib", "old-1.4-rf"),
        ("churn.v2.pkl.gz", "churn.v2"),
        ("my model.PICKLE", "my-model"),
        ("plain", "plain"),
    ],
)
def test_a_model_is_named_after_its_file(tmp_path, file, name):
    """Only endings that tell a format are cut off a file's name."""
    joblib.dump(FITTED, tmp_path / file)
    (tmp_path / "rows.csv").write_text("a,b,c,d\n" + "\n".join(",".join(map(str, row)) for row in X))
    words = ["convert", str(tmp_path / file), "--sample", str(tmp_path / "rows.csv")]
    assert main([*words, "--models", str(tmp_path / "models")]) == 0
    assert [folder.name for folder in (tmp_path / "models").iterdir()] == [name]
