"""A model in the memory of a process: the answers of its pipeline, without a server."""

import multiprocessing
import pickle
import shutil
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import handmade
import numpy as np
import pandas as pd
import pytest
from conftest import FLOWER, FLOWERS, PERSON, SPECIES, eventually, run, shelve
from msgspec.structs import replace
from sklearn.datasets import load_iris
from sklearn.svm import LinearSVC
from test_trials import divided

from unpickled import Config, load
from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.server.embedded.origins import Followed
from unpickled.server.errors import (
    ArtifactError,
    ConfigError,
    InvalidInput,
    NotSupported,
    OutsideTraining,
    ServingError,
)

FAR = [2000.0, 3.5, 1.4, 0.2]


@pytest.fixture
def home(models, tmp_path):
    """A folder of its own with version 1, which is iris."""
    return shelve(models, tmp_path / "flowers", "iris")


@pytest.mark.parametrize("name", ["iris", "forest", "people", "area", "areas", "spending"])
def test_it_answers_as_its_pipeline(models, regressors, name):
    """predict and predict_proba return what those of the pipeline return, in the same shape."""
    source = models if name in models.pipelines else regressors
    pipeline, rows = source.pipelines[name], source.rows[name]
    model = load(source.path / name)
    expected, answers = pipeline.predict(rows), model.predict(rows)
    assert answers.shape == expected.shape
    if not model.classes:
        np.testing.assert_allclose(answers, expected, rtol=1e-5)
        return
    assert np.array_equal(answers, expected)
    assert [*model.classes] == [*pipeline.classes_]
    np.testing.assert_allclose(model.predict_proba(rows), pipeline.predict_proba(rows), atol=1e-6)


@pytest.mark.parametrize("name", ["iris", "people", "area", "areas", "spending"])
def test_one_row_is_answered_as_in_a_batch(models, regressors, name):
    """A row, a record and a batch of one have the same answer, in arrays with one row."""
    source = models if name in models.pipelines else regressors
    model = load(source.path / name)
    for values in model.manifest.golden.rows:
        row, record = [*values], dict(zip(model.features, values, strict=True))
        expected = model.predict([row, row])[:1]
        arrays = (np.array(row), np.array([row])) if set(map(type, row)) == {float} else ()
        for form in (row, tuple(row), record, [row], (row,), [record], *arrays, pd.DataFrame([record])):
            answer = model.predict(form)
            assert (answer.dtype, answer.shape) == (expected.dtype, expected.shape)
            assert answer[0] == pytest.approx(expected[0])


def test_it_tells_about_itself(models, regressors):
    """Names, classes, targets, file and digest are those of the version in memory."""
    model, numbers = load(models.path / "iris"), load(regressors.path / "areas")
    assert (model.name, model.version, model.features) == ("iris", 1, tuple(FLOWERS))
    assert (model.classes, model.class_names, model.targets) == ((0, 1, 2), tuple(SPECIES), ())
    assert (numbers.classes, numbers.class_names, numbers.targets) == ((), (), ("sepal", "petal"))
    assert model.path == models.path / "iris" / "1" / "model.onnx"
    assert model.manifest.training.pipeline[-1] == "LogisticRegression()"
    assert repr(model) == f"<LoadedModel iris version 1, sha256 {model.sha256[:12]}>"


def test_each_path_leads_to_a_version(models, tmp_path):
    """A model's folder gives the version that answers; a version, a label and a file give theirs."""
    home = shelve(models, tmp_path / "flowers", "iris", "forest", "iris")
    (home / "serving.toml").write_text('load = "all"\nlabels = {stable = 2, old = 1}\n')
    assert [load(home).version, load(home, label="old").version, load(home, version=3).version] == [2, 1, 3]
    assert [load(home / "3").version, load(str(home / "3" / "model.onnx")).version] == [3, 3]
    shutil.copy(home / "1" / "model.onnx", tmp_path / "any.onnx")
    alone = load(tmp_path / "any.onnx")
    assert (alone.version, alone.name, alone.predict(FLOWER).tolist()) == (None, "iris", [0])


@pytest.mark.parametrize(
    ("path", "options", "error", "sentence"),
    [
        ("", {}, ArtifactError, "is no model: it holds no <number>/model.onnx: load .*flowers"),
        ("flowers/9", {}, ArtifactError, "flowers/9 cannot be read: No such file or directory"),
        ("flowers", {"version": 9}, ArtifactError, "there is no version 9 in"),
        ("flowers", {"label": "best"}, ServingError, "has no label 'best': it has no labels"),
        ("flowers/1", {"follow": True}, ConfigError, "follow is for the folder of a model"),
        ("flowers", {"version": 1, "follow": True}, ConfigError, "a version does not change"),
        ("flowers/1/model.txt", {}, ArtifactError, "is not loaded: "),
    ],
)
def test_what_cannot_be_loaded_is_refused(home, path, options, error, sentence):
    """A wrong path or argument gets a sentence that says what is there instead."""
    (home / "1" / "model.txt").write_text("no model")
    with pytest.raises(error, match=sentence):
        load(home.parent / path, **options)


def test_a_file_that_answers_otherwise_is_refused(home):
    """The golden rows are checked, as by a server."""
    wrong = replace(handmade.MANIFEST.golden, labels=(1, 1))
    (home / "1" / "model.onnx").write_bytes(handmade.embed(handmade.graph(), golden=wrong))
    with pytest.raises(ArtifactError, match="has no version to load: it answers golden row 0"):
        load(home)
    with pytest.raises(ArtifactError, match="it answers golden row 0"):
        load(home / "1")


def test_a_broken_newest_version_is_passed_over(home, caplog):
    """The next newest answers, as on a server, and the log says why; with its number it is an error."""
    (home / "2").mkdir()
    (home / "2" / "model.onnx").write_bytes(b"broken")
    assert load(home).version == 1
    assert "model flowers version 2 is not served: " in caplog.text
    for path, options in ((home, {"version": 2}), (home / "2", {})):
        with pytest.raises(ArtifactError, match="flowers version 2 is not loaded: it is not a complete ONNX"):
            load(path, **options)


def test_the_policy_of_the_folder_holds(home):
    """Values outside the training range are flagged, clipped or refused as serving.toml says."""
    flagging = load(home)
    assert flagging.predict(FAR).tolist() != flagging.predict(FLOWER).tolist()
    finding = {"row": 0, "feature": "sepal_length", "value": 2000.0, "trained": [4.3, 7.9]}
    assert flagging.outside([FAR, FLOWER]) == [finding]
    (home / "serving.toml").write_text('inputs.outside = "clip"\n')
    clipping = load(home)
    near = [7.9, *FAR[1:]]
    assert np.array_equal(clipping.predict_proba(FAR), flagging.predict_proba(near))
    assert clipping.outside(FAR) == [{**finding, "used": 7.9}]
    (home / "serving.toml").write_text('inputs.outside = "refuse"\n')
    for path in (home, home / "1", home / "1" / "model.onnx"):
        with pytest.raises(OutsideTraining, match="of row 1 is 2000, outside the training range"):
            load(path).predict([FLOWER, FAR])
    assert load(home).outside(FAR) == [finding]


def test_every_value_outside_is_found(home):
    """However many there are, each has its row, and unknown categories are among them."""
    rows = np.tile(FAR, (1000, 1))
    rows[::2, 3] = -1.0
    found = load(home).outside(rows)
    assert [each["row"] for each in found if each["feature"] == "sepal_length"] == [*range(1000)]
    assert [each["row"] for each in found if each["feature"] == "petal_width"] == [*range(0, 1000, 2)]


def test_categories_outside_are_found(models):
    """A category that training did not have is named with those that it had."""
    [finding] = load(models.path / "people").outside([PERSON, PERSON | {"city": "Ulm"}])
    assert (finding["row"], finding["value"]) == (1, "Ulm")
    assert finding["trained"] == ["Bonn", "Köln", "Trier"]


def test_a_model_without_probabilities_says_what_it_has(tmp_path, regressors):
    """predict_proba of a classifier without them names its scores, and that of a regressor predict."""
    X, y = load_iris(return_X_y=True)
    pipeline = LinearSVC().fit(X, y)
    export_pipeline(pipeline, X, y, name="linear", models=tmp_path)
    model = load(tmp_path / "linear")
    with pytest.raises(NotSupported, match="has no probabilities, but decision scores: call scores"):
        model.predict_proba(X)
    np.testing.assert_allclose(model.scores(X), pipeline.decision_function(X), rtol=1e-5)
    np.testing.assert_allclose(model.scores([*X[0]]), pipeline.decision_function(X[:1]), rtol=1e-5)
    with pytest.raises(NotSupported, match="has no probabilities, but numbers: call predict"):
        load(regressors.path / "area").predict_proba(FLOWER)


def test_frames_are_those_of_the_rows(models):
    """A frame has the columns of the answer in CSV; one of pandas keeps its index, and lists get one."""
    model, table = load(models.path / "people"), models.rows["people"][5:8]
    answers = model.predict(table, as_frame=True)
    columns = ["prediction", "predicted_class", "probabilities_leaves", "probabilities_stays"]
    assert [*answers.columns] == columns
    assert answers.index.equals(table.index)
    assert answers["prediction"].tolist() == model.predict(table).tolist()
    assert [*model.predict_proba(table, as_frame=True).columns] == columns[2:]
    assert model.predict(PERSON, as_frame=True).index.tolist() == [0]


def test_other_columns_are_refused_or_ignored(models):
    """A column that training did not have is an error, unless the caller says otherwise."""
    row = PERSON | {"shoe": 43}
    with pytest.raises(InvalidInput, match="'shoe' of row 0 is unknown to the model"):
        load(models.path / "people").predict(row)
    model = load(models.path / "people", extra_columns="ignore")
    assert model.predict(row) == model.predict([row]) == model.predict(pd.DataFrame([row]))


def test_threads_share_it(models):
    """Rows and tables of many threads at once get the answers that they get alone."""
    model, rows = load(models.path / "iris"), models.rows["iris"]
    expected = model.predict_proba(rows)

    def ask(index: int) -> bool:
        alone = model.predict_proba(rows[index].tolist())[0]
        return bool(np.allclose(alone, expected[index])) and np.array_equal(
            model.predict_proba(rows), expected
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, [*range(len(rows))] * 4))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_it_goes_to_other_processes(home, method):
    """It is pickled as path and digest, and answers there under the same policy."""
    (home / "serving.toml").write_text('inputs.outside = "clip"\n')
    model = load(home, extra_columns="ignore")
    assert len(pickle.dumps(model)) < 2000
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        answers = pool.submit(model.predict_proba, [FLOWER, FAR]).result()
    assert np.array_equal(answers, model.predict_proba([FLOWER, FAR]))
    again = pickle.loads(pickle.dumps(model))
    assert repr(again) == repr(model)
    assert again.predict(dict(zip(FLOWERS, FLOWER, strict=True)) | {"note": "new"}) == [0]


def test_another_content_is_not_unpickled(home, models):
    """Where the file has changed or is gone, unpickling says so and answers nothing."""
    pickled = pickle.dumps(load(home))
    shutil.copy(models.path / "forest" / "1" / "model.onnx", home / "1" / "model.onnx")
    with pytest.raises(ArtifactError, match=r"has another content \(sha256 \w{12}\) than the model"):
        pickle.loads(pickled)
    shutil.rmtree(home)
    with pytest.raises(ArtifactError, match=r"model\.onnx cannot be read: No such file or directory"):
        pickle.loads(pickled)


@pytest.fixture
def often(monkeypatch):
    """Folders are looked at many times a second."""
    monkeypatch.setattr(Followed, "interval", 0.02)


def test_it_follows_its_folder(home, models, caplog, often):
    """A new version and a new policy are taken; a broken one changes nothing, and the log has the reason."""
    caplog.set_level("INFO")
    with load(home, follow=True) as model:
        assert model.predict_proba(FLOWER)[0].max() < 1.0
        shelve(models, home, "forest", first=2)
        eventually(lambda: model.version == 2)
        # There is no path that it could answer.
        line = "model flowers: version 2 answers (before: version 1 answers); labels: none"
        eventually(lambda: line in caplog.messages)
        assert model.predict_proba(FLOWER)[0].max() == 1.0
        (home / "3").mkdir()
        (home / "3" / "model.onnx").write_bytes(b"broken")
        eventually(lambda: "flowers version 3 is not served" in caplog.text)
        assert (model.version, model.predict(FAR).tolist()) == (2, load(home / "2").predict(FAR).tolist())
        (home / "serving.toml").write_text('load = [2]\ninputs.outside = "refuse"\n')
        eventually(lambda: model.outside(FAR) and refuses(model))
    assert not [thread for thread in threading.enumerate() if follows(thread) and not ended(thread)]
    assert (model.version, refuses(model)) == (2, True)


def refuses(model):
    """Whether a value outside the training range is refused."""
    try:
        model.predict(FAR)
    except OutsideTraining:
        return True
    return False


def follows(thread):
    return thread.name == "follows flowers"


def ended(thread):
    thread.join()
    return True


def test_a_label_is_followed(home, models, caplog, often):
    """The version with a label is taken; where the label goes, the version stays and the log says so."""
    shelve(models, home, "forest", first=2)
    (home / "serving.toml").write_text('load = "all"\nlabels = {best = 1}\n')
    model = load(home, label="best", follow=True)
    assert model.version == 1
    (home / "serving.toml").write_text('load = "all"\nlabels = {best = 2}\n')
    eventually(lambda: model.version == 2)
    (home / "serving.toml").write_text('load = "all"\n')
    eventually(lambda: "has no label 'best': it has no labels; version 2 stays in memory" in caplog.text)
    assert model.version == 2
    (home / "serving.toml").write_text('load = "all"\nlabels = {best = 1}\n')
    eventually(lambda: model.version == 1)


def test_a_version_that_ends_its_process_is_refused(home, models, caplog, often):
    """A version that arrives is tried in another process: one that would end this one changes nothing."""
    with load(home, follow=True) as model:
        (home / "2").mkdir()
        (home / "2" / "model.onnx").write_bytes(divided())
        eventually(lambda: "is not served: it ended the process that tried to load it" in caplog.text)
        assert (model.version, model.predict(FLOWER).tolist()) == (1, [0])
        shelve(models, home, "forest", first=3)
        eventually(lambda: model.version == 3)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A folder with the private keys ours.pem and theirs.pem, and their public ones."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        assert main(["sign", "--new-key", str(folder / f"{name}.pem")]) == 0
    return folder


def sign(path, key, *words):
    assert main(["sign", str(path), "--key", str(key), *words]) == 0


@pytest.mark.parametrize("path", ["flowers", "flowers/1", "flowers/1/model.onnx", "iris.onnx"])
def test_a_signature_can_be_required(home, keys, path):
    """Whatever the path names is loaded only if one of the keys has signed it."""
    shutil.copy(home / "1" / "model.onnx", home.parent / "iris.onnx")
    place, public = home.parent / path, keys / "ours.pub"
    with pytest.raises(ArtifactError, match="it has no signature, and one is required: sign it"):
        load(place, require_signature=public)
    signed = place / "1" if place == home else place
    words = ["--name", "iris"] if place.suffix and place.name != "model.onnx" else []
    sign(signed, keys / "ours.pem", *words)
    assert load(place, require_signature=str(public)).predict(FLOWER).tolist() == [0]
    sign(signed, keys / "theirs.pem", *words)
    with pytest.raises(ArtifactError, match="signed by a key that is not among those required"):
        load(place, require_signature=public)


def test_a_signature_is_required_in_other_processes(home, keys, monkeypatch):
    """Unpickling asks for it as well, by the same keys, wherever the process works."""
    sign(home / "1", keys / "ours.pem")
    monkeypatch.chdir(keys)
    pickled = pickle.dumps(load(home, require_signature="ours.pub"))
    monkeypatch.chdir(home)
    assert pickle.loads(pickled).predict(FLOWER).tolist() == [0]
    sign(home / "1", keys / "theirs.pem")
    with pytest.raises(ArtifactError, match="signed by a key that is not among those required"):
        pickle.loads(pickled)


def test_followed_versions_have_to_be_signed(home, models, keys, caplog, often):
    """A version that is not signed is not taken before it is."""
    sign(home / "1", keys / "ours.pem")
    with load(home, follow=True, require_signature=keys / "ours.pub") as model:
        shelve(models, home, "forest", first=2)
        eventually(lambda: "version 2 is not served: it has no signature" in caplog.text)
        assert model.version == 1
        sign(home / "2", keys / "ours.pem")
        eventually(lambda: model.version == 2)


def test_keys_that_cannot_be_read(home, tmp_path):
    """They are a mistake of the caller, whatever the path."""
    with pytest.raises(ConfigError, match=r"require_signature is '.*/no\.pub': "):
        load(home, require_signature=tmp_path / "no.pub")


def test_a_forked_process_follows_on(home, models):
    """Both processes take a new version after a fork."""
    code = f"""
import os, shutil, time
from unpickled import load
from unpickled.server.embedded.origins import Followed
home, Followed.interval = {str(home)!r}, 0.02
model = load(home, follow=True)
before = model.predict({FLOWER})
child = os.fork()
if child:
    shutil.copytree({str(models.path / "forest" / "1")!r}, home + "/2")
while model.version != 2:
    time.sleep(0.01)
assert model.predict({FLOWER}) == before
if not child:
    model.close()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    completed = run([sys.executable, "-c", code])
    assert (completed.stdout, completed.returncode) == ("7\n", 0), completed.stderr


def test_a_process_imports_little(models):
    """Neither a framework nor what training needs is imported, nor what serves; the file is read once."""
    code = (
        f"import sys\nfrom unpickled import load\nload({str(models.path / 'people')!r}).predict({PERSON!r})\n"
    )
    completed = run([sys.executable, "-c", f"{code}print(*sys.modules)"])
    assert completed.returncode == 0, completed.stderr
    roots = {name.partition(".")[0] for name in completed.stdout.split()} - sys.stdlib_module_names
    assert {"numpy", "onnxruntime", "msgspec", "orjson"} <= roots
    foreign = {"flask", "werkzeug", "granian", "prometheus_client", "click", "tomlkit", "sklearn", "pandas"}
    assert not roots & (foreign | {"pyarrow", "polars", "scipy", "onnx", "skl2onnx", "joblib"})


def test_a_missing_library_has_a_sentence():
    """Without ONNX Runtime, the error says what to install."""
    code = "import sys\nsys.modules['onnxruntime'] = None\nimport unpickled\nunpickled.load('models/iris')"
    completed = run([sys.executable, "-c", code])
    assert "a model in process needs onnxruntime: pip install 'unpickled[embedded]'" in completed.stderr


def test_the_runtime_is_the_callers(models):
    """Providers and threads are those of a Config, and an unknown provider is refused."""
    runtime = Config.of(intra_op_threads=2).runtime
    assert load(models.path / "iris", runtime=runtime).predict(FLOWER).tolist() == [0]
    wrong = Config.of(provider=["NoExecutionProvider"]).runtime
    with pytest.raises(ConfigError, match="'NoExecutionProvider' is no execution provider"):
        load(Path(models.path / "iris"), runtime=wrong)
