"""Recipes: what they keep of a pipeline, what they make again, and what they refuse to import."""

import os
import shutil
import sys
import warnings
from contextlib import chdir
from functools import partial
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from conftest import mixed_columns, people
from estimators import ARGUMENTS, CLASSIFIERS, OUTLIERS, REGRESSORS, TRANSFORMERS
from handmade import embed, graph, store
from imblearn.pipeline import Pipeline as ImblearnPipeline
from imblearn.under_sampling import RandomUnderSampler
from lightgbm import LGBMClassifier
from scipy.special import expit
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from unpickled.__main__ import main
from unpickled.export import DataError, export_pipeline, material, recipe
from unpickled.export.commands.earlier import Earlier
from unpickled.export.data import dataset
from unpickled.export.parameters import DEEPEST, made, written
from unpickled.export.train import chosen, fitted, split
from unpickled.server import Config, create_app
from unpickled.server.artifact.manifest import Manifest, Training, read
from unpickled.server.artifact.recipe import Recipe, Step

CONVERT = ["convert", "stays.joblib", "--sample", "people.csv", "--target", "stays"]
CONSENT = "a model file is passed around, and importing from it runs code"
MAKERS = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NUMBER = 3

def make():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.25))

def fitted():
    return make().fit([[0.0], [1.0]], [0, 1])

def bare():
    return LogisticRegression()

def broken():
    raise RuntimeError("no settings")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, with a table of customers and a module of functions that make pipelines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "makers", raising=False)
    (tmp_path / "makers.py").write_text(MAKERS)
    rows, stays = people()
    rows.assign(stays=stays).to_csv("people.csv", index=False)
    return tmp_path


def manifest(name: str, version: int = 1) -> Manifest:
    """The manifest of a file in the models folder."""
    return read(Path("models", name, str(version), "model.onnx").read_bytes())


def again(estimator: object) -> object:
    """An estimator made from its recipe, once that was JSON."""
    step, missing = written(estimator)
    assert missing == ""
    return made(msgspec.json.decode(msgspec.json.encode(step), type=Step))


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    """A folder with a pipeline that was fitted on customers, and saved with joblib, and the model of it."""
    home = tmp_path_factory.mktemp("converted")
    rows, stays = people()
    rows.assign(stays=stays).to_csv(home / "people.csv", index=False)
    pipeline = make_pipeline(mixed_columns(), LogisticRegression(C=0.5, max_iter=500))
    joblib.dump(pipeline.fit(rows, stays), home / "stays.joblib")
    with chdir(home):
        assert main([*CONVERT, "--class-names", "no,yes"]) == 0
    return home


@pytest.fixture
def stays(folder, converted) -> Path:
    """The working directory, with the same files."""
    return shutil.copytree(converted, folder, dirs_exist_ok=True)


@pytest.mark.parametrize("kinds", [CLASSIFIERS, REGRESSORS, OUTLIERS, TRANSFORMERS])
def test_every_estimator_is_made_again(kinds):
    """The parameters of each estimator of scikit-learn make an equal one."""
    for name, kind in kinds.items():
        if name == "SparseCoder":  # its parameter is a table
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a release is to lose
            estimator = kind(**ARGUMENTS.get(name, {}))
            assert repr(again(estimator).get_params()) == repr(estimator.get_params()), name


@pytest.mark.parametrize(
    "estimator",
    [
        LGBMClassifier(verbosity=-1, random_state=1),
        XGBClassifier(tree_method="hist", verbosity=0, missing=np.nan),
        CatBoostClassifier(iterations=5, verbose=False),
        ImblearnPipeline([("fewer", RandomUnderSampler(random_state=0)), ("last", LogisticRegression())]),
        GaussianProcessClassifier(1.0 * RBF([1.0, 2.0]) + WhiteKernel()),
        make_pipeline(SimpleImputer(missing_values=pd.NA), SelectKBest(f_classif, k=2), LGBMClassifier()),
        make_union(FunctionTransformer(np.log1p), FunctionTransformer(expit), FunctionTransformer(abs)),
        FunctionTransformer(np.round, kw_args={"decimals": 2}),
        GridSearchCV(LogisticRegression(), {"C": (1, np.inf)}, cv=KFold(3, shuffle=True, random_state=0)),
        OneHotEncoder(categories=[np.array(["a", "b"], object), np.array([1.5, np.nan])], dtype=np.float32),
        OneHotEncoder(dtype=np.dtype("float32")),
        LogisticRegression(C=np.float64(2), class_weight={0: 1, 1: 2.5}, random_state=2**64),
        make_column_transformer(
            (StandardScaler(), ["age"]),
            ("passthrough", slice(1, None)),
            (OneHotEncoder(), np.array([True, False])),
        ),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_parameters_that_are_no_json_are_made_again(estimator):
    """Numbers of NumPy, missing values, slices, functions, types and what is inside come back the same."""
    copy = again(estimator)
    assert type(copy) is type(estimator)
    assert repr(copy.get_params()) == repr(estimator.get_params())


def test_a_selector_and_a_partial_function_are_made_again():
    """Objects without a comparison come back with the same attributes."""
    selector = make_column_selector(dtype_include=np.number, pattern="^a")
    clip = FunctionTransformer(partial(np.clip, a_min=-np.inf, a_max=np.float32(3)))
    copy = again(make_column_transformer((clip, selector)))
    [(_, copied, selecting)] = copy.transformers
    assert vars(selecting) == vars(selector)
    assert (copied.func.func, copied.func.keywords) == (np.clip, clip.func.keywords)


def local(rows):
    return rows


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (FunctionTransformer(lambda rows: rows), "FunctionTransformer.func is a lambda"),
        (LogisticRegression(random_state=np.random.RandomState(0)), "random_state is a RandomState, which"),
        (OneHotEncoder(categories=[np.arange(2000)]), "categories is an array (2000,), which may hold rows"),
        (SimpleImputer(fill_value="\ud800"), "SimpleImputer.fill_value is no Unicode text"),
        (SimpleImputer(fill_value="x" * 20_000), "text of 20,000 characters, which may hold rows"),
        (OneHotEncoder(categories=[list(range(2000))]), "categories is of 2,000 values, which may hold rows"),
        (FunctionTransformer(kw_args={"a": object()}), "an object of object, which is no value"),
        (FrozenEstimator(LogisticRegression()), "is a FrozenEstimator, which is fitted before"),
        (CLASSIFIERS["StackingClassifier"]([], cv="prefit"), "has an estimator that is fitted before"),
        (make_pipeline(FunctionTransformer(lambda x: x), FunctionTransformer(np.save)), "func is a lambda"),
        (KFold(3), "the pipeline is an object of KFold"),
    ],
)
def test_a_parameter_that_is_code_or_rows_is_told(estimator, reason):
    """A recipe keeps no rows and no code, and says which parameter would have been."""
    step, missing = written(estimator)
    assert step is None
    assert reason in missing


def test_a_function_of_a_script_is_told():
    """A function of the script that runs cannot be imported from it again."""
    own = FunctionTransformer(local)
    local.__module__ = "__main__"
    assert "local, which is defined in a script and in no module" in written(own)[1]


def test_places_of_work_are_not_kept():
    """A folder of results is no part of how a model is made."""
    step, _ = written(make_pipeline(CatBoostClassifier(train_dir="/tmp/work"), memory="/tmp/cache"))
    assert b"/tmp" not in msgspec.json.encode(step)


HOSTILE = [
    Step(estimator="os:system"),
    Step(estimator="makers:make"),
    Step(estimator="numpy.f2py.__main__:main"),
    Step(estimator="sklearn.__main__:x"),
    Step(estimator="sklearn.base:warnings.sys.exit"),
    Step(estimator="sklearn.utils:Bunch"),
    Step(estimator="sklearn.pipeline:Pipeline", parameters={"steps": [], "memory": "/tmp/cache"}),
    Step(estimator="lightgbm.sklearn:LGBMClassifier", parameters={"machines": "example.org:1"}),
    Step(estimator="catboost.core:CatBoostClassifier", parameters={"train_dir": "/tmp/work"}),
    *(
        Step(estimator="lightgbm.sklearn:LGBMClassifier", parameters=parameters)
        for parameters in (
            {"objective": "binary forcedsplits_filename=/tmp/splits"},
            {"objective": ["binary", "binary\nforcedsplits_filename=/tmp/splits"]},
            {"kwargs": "1"},
            {"verbosity=1 forcedsplits_filename=/tmp/splits seed": 1},
        )
    ),
    *(
        Step(
            estimator="sklearn.preprocessing:FunctionTransformer", parameters={"func": {"function": function}}
        )
        for function in ("os:system", "numpy:save", "sklearn.datasets:dump_svmlight_file", "builtins:eval")
    ),
]


@pytest.mark.parametrize("step", HOSTILE, ids=msgspec.json.encode)
def test_nothing_else_is_imported_without_consent(folder, step):
    """A manifest that somebody has edited runs no code, opens no file and no connection."""
    with pytest.raises(DataError) as caught:
        made(step)
    assert CONSENT in str(caught.value)
    assert "--trust-recipe" in str(caught.value)
    assert "makers" not in sys.modules


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (nested(DEEPEST + 1), "too many or too deep"),
        ([0] * 30_000, "too many or too deep"),
        ({"float": "nan", "int": "1"}, "a value that cannot be made"),
        ({"bytes": "00"}, "a value that cannot be made"),
        ({"dtype": "V1000000000"}, "a value that cannot be made"),
        ({"array": ["U1000000000", ["a"]]}, "a value that cannot be made"),
        ({"int": "9" * 10_000}, "a value that cannot be made"),
        ({"array": ["str", ["a" * 1_000_000] * 1_000]}, "a value that cannot be made"),
        ({"estimator": ["sklearn.svm:SVC"]}, "a value that cannot be made"),
        ({"estimator": ["sklearn.svm:SVC", 5]}, "a value that cannot be made"),
        ({"estimator": ["sklearn.svm:SVC", {"of_2031": 1}]}, "install the version of its library"),
        ({"estimator": ["sklearn.svm:SVM", {}]}, "install the version of sklearn that the recipe was made"),
        ({"function": "no name"}, "names no class or function"),
    ],
)
def test_damaged_parameters_are_refused(value, sentence):
    """A value that no export has written ends in a sentence, however large it says that it is."""
    with pytest.raises(DataError, match=sentence):
        made(Step(estimator="sklearn.pipeline:Pipeline", parameters={"steps": value}))


def test_a_manifest_that_nests_without_end_is_refused(folder, capsys):
    """Lists in lists in lists are no recipe, neither for a server nor for train."""
    text = msgspec.json.encode(handmade_manifest(Recipe(by="pipeline")))
    text = text.replace(b'"recipe":{', b'"recipe":{"options":{"a":' + b"[" * 9_000 + b"]" * 9_000 + b"},")
    store(Path("models"), "sign", embed(graph(), text))
    assert main(["train", "--like", "sign"]) == 1
    assert "cannot be read: its manifest cannot be read: maximum recursion" in capsys.readouterr().err


def handmade_manifest(recipe: Recipe) -> Manifest:
    """The manifest of a file that was made by hand."""
    return msgspec.structs.replace(read(embed(graph())), recipe=recipe)


def test_train_like_makes_the_same_graph(folder, capsys):
    """The same data, options and libraries make the same bytes, as the next version of the model."""
    assert main(["train", "iris", "--classifier", "decision_tree", "--seed", "7", "--name", "flowers"]) == 0
    assert manifest("flowers").recipe.options == {
        "task": "classification",
        "scaler": "standard",
        "classifier": "decision_tree",
        "seed": 7,
        "held_out": 0.2,
        "dates": "leave",
        "operators": "fastest",
    }
    capsys.readouterr()
    assert main(["train", "--like", "flowers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("repeats flowers 1: unpickled train iris ")
    assert "The graph is that of version 1, byte by byte." in lines
    assert not any("differs from version" in line or "rows differ" in line for line in lines)
    assert manifest("flowers", 1).graph_sha256 == manifest("flowers", 2).graph_sha256
    assert manifest("flowers", 1).recipe == manifest("flowers", 2).recipe


def test_options_that_are_given_change_the_recipe(folder, capsys):
    """A word on the command line counts more than the recipe, and the next recipe has it."""
    assert main(["train", "wine", "--classifier", "decision_tree", "--min-accuracy", "0.5"]) == 0
    assert main(["train", "--like", "wine", "--classifier", "logistic", "--seed", "3", "--name", "red"]) == 0
    assert "The graph is another than that of version 1." in capsys.readouterr().out
    options = manifest("red").recipe.options
    assert (options["classifier"], options["seed"], options["min_accuracy"]) == ("logistic", 3, 0.5)


def test_train_like_reads_another_table_as_the_first(folder, capsys):
    """The words about columns are those of then; it is told that the rows and the libraries are others."""
    words = ["--text", "income", "--class-names", "gone,here", "--missing", "free"]
    assert main(["train", "--data", "people.csv", "--target", "stays", *words]) == 0
    pd.read_csv("people.csv")[:150].to_csv("newer.csv", index=False)
    capsys.readouterr()
    assert main(["train", "--like", "people", "--data", "newer.csv"]) == 0
    output = capsys.readouterr().out
    assert "repeats people 1: unpickled train --data newer.csv --target stays " in output
    assert "The rows differ from those of version 1: 200 rows then, 150 now." in output
    assert manifest("people", 2).class_names == ("gone", "here")
    assert [feature.kind for feature in manifest("people", 2).features][1] == "category"
    assert manifest("people", 2).recipe.data == "newer.csv"


def test_libraries_of_other_versions_are_told():
    """Each library is named with its versions of then and of now, also one that was not there."""
    own = Recipe(by="train")
    then = msgspec.structs.replace(
        handmade_manifest(own), training=Training(pipeline=(), versions={"numpy": "2.1.0"})
    )
    now = Training(pipeline=(), versions={"numpy": "2.2.0", "lightgbm": "4.6.0"})
    assert list(Earlier("sign", 3, then, own).differences(now)) == [
        "lightgbm differs from version 3: none then, 4.6.0 now.",
        "numpy differs from version 3: 2.1.0 then, 2.2.0 now.",
    ]


def test_another_task_takes_none_of_the_first_ones_options(folder):
    """With another --task, the estimator and the demands of the recipe are left out."""
    y = np.arange(80) % 8 + 1
    pd.DataFrame({"x": y + np.sin(np.arange(80)), "y": y}).to_csv("rooms.csv", index=False)
    words = ["--classifier", "decision_tree", "--min-accuracy", "0"]
    assert main(["train", "--data", "rooms.csv", "--target", "y", "--task", "classification", *words]) == 0
    assert main(["train", "--like", "rooms", "--task", "regression", "--regressor", "linear"]) == 0
    options = manifest("rooms", 2).recipe.options
    assert (options["task"], options["regressor"]) == ("regression", "linear")
    assert "min_accuracy" not in options


def test_a_pipeline_of_the_users_own_is_fitted_again(stays, capsys):
    """train --like makes a converted pipeline from its parameters, and fits it on the columns it knows."""
    assert manifest("stays").recipe.target == ("stays",)
    table = pd.read_csv("people.csv").assign(noise=1.5)
    table.to_csv("people.csv", index=False)
    capsys.readouterr()
    assert main(["train", "--like", "stays", "--seed", "1"]) == 0
    output = capsys.readouterr()
    first = "repeats stays 1: ColumnTransformer -> LogisticRegression on people.csv, target stays"
    assert output.out.splitlines()[0] == first
    assert "training LogisticRegression" in output.err
    now = manifest("stays", 2)
    assert now.training.pipeline == manifest("stays").training.pipeline
    assert (now.training.seed, now.training.held_out, now.class_names) == (1, 40, ("no", "yes"))
    assert now.recipe.step == manifest("stays").recipe.step
    assert main(["train", "--like", "stays"]) == 0
    assert manifest("stays", 3).graph_sha256 == now.graph_sha256


def test_rows_without_a_path_have_to_be_named(folder, capsys):
    """Python gives an export rows without a path: --like names none, and asks for the table."""
    table = pd.read_csv("people.csv")
    pipeline = LogisticRegression().fit(table[["income"]], table["stays"])
    export_pipeline(pipeline, table[["income"]], name="own")
    assert main(["train", "--like", "own"]) == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == ["repeats own 1: LogisticRegression"]
    assert "does not say what table it was made from: give --data FILE and --target COLUMN" in output.err
    assert main(["train", "--like", "own", "--data", "people.csv", "--target", "stays"]) == 0
    assert capsys.readouterr().out.startswith("repeats own 1: LogisticRegression on people.csv, target stays")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--like stay", "There is no model 'stay' in models: did you mean 'stays'?"),
        ("--like ../models", "There is no model '../models' in models: it has stays."),
        ("--like stays --version 7", "stays has no version 7: it has 1."),
        ("--like stays --classifier forest", "which --classifier does not change: leave it out"),
        ("--like stays --data gone.csv", "There is no file gone.csv."),
        ("--like stays --data short.csv", "'age', which short.csv does not give: it has no such column."),
        ("--like stays --target plan", "has no such column"),
        ("--like stays iris", "The model takes the column 'age', which iris does not give"),
        ("--like stays --models elsewhere", "There is no model 'stays' in elsewhere: it has none."),
        ("--like stays --recipe makers:nothing", "name a function that the module has"),
    ],
)
def test_what_cannot_be_repeated_is_told(stays, capsys, words, sentence):
    """Each refusal names the place and the remedy, and nothing is written."""
    pd.read_csv("people.csv").drop(columns="age").to_csv("short.csv", index=False)
    assert main(["train", *words.split()]) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not Path("models", "stays", "2").exists()


def test_a_function_of_the_users_own_makes_the_pipeline(folder, capsys):
    """--recipe keeps the name of a function, which is called again with the user's consent alone."""
    words = ["--data", "people.csv", "--target", "stays", "--missing", "x"]
    table = pd.read_csv("people.csv")[["income", "stays"]]
    table.to_csv("people.csv", index=False)
    assert main(["train", *words, "--recipe", "makers:make"]) == 0
    assert (manifest("people").recipe.by, manifest("people").recipe.function) == ("function", "makers:make")
    assert main(["train", "--like", "people"]) == 1
    assert CONSENT in capsys.readouterr().err
    assert main(["train", "--like", "people", "--trust-recipe"]) == 0
    assert manifest("people", 2).graph_sha256 == manifest("people").graph_sha256
    assert main(["train", "--like", "people", "--recipe", "makers:bare"]) == 0
    assert manifest("people", 3).recipe.function == "makers:bare"
    assert manifest("people", 3).training.pipeline == ("LogisticRegression()",)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("makers:fitted", "makers:fitted returns a fitted Pipeline: let it return the unfitted pipeline."),
        ("makers:NUMBER", "'makers:NUMBER' is no function: name one as module:function."),
        ("makers:broken", "cannot make the pipeline (no settings): it is called without arguments"),
        ("makers:bare", "makes a LogisticRegression, and the pipeline is a Pipeline: name the function"),
        ("absent:make", "cannot be imported (No module named 'absent'): add its folder to PYTHONPATH"),
        ("makers", "'makers' names no class or function: write it as module:function."),
    ],
)
def test_convert_refuses_a_function_that_makes_no_such_pipeline(stays, capsys, function, sentence):
    """The function is called at the export, where its mistakes can still be mended."""
    assert main([*CONVERT, "--recipe", function]) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not Path("models", "stays", "2").exists()


def test_a_function_chooses_no_steps_beside_others(folder, capsys):
    """Options that choose steps are refused beside a function that makes the pipeline."""
    assert main(["train", "iris", "--recipe", "makers:make", "--classifier", "forest"]) == 2
    assert "which --classifier does not change: leave one out" in capsys.readouterr().err


def test_a_pipeline_that_is_code_needs_a_function(folder, capsys):
    """An export of a pipeline with a lambda succeeds; to make it again takes a function."""
    rows = pd.read_csv("people.csv")[["income"]]
    stays = people()[1]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(random_state=np.random.RandomState(0)))
    export = export_pipeline(pipeline.fit(rows, stays), rows, stays, name="own")
    assert "LogisticRegression.random_state is a RandomState" in export.manifest.recipe.missing_from_step
    words = ["train", "--like", "own", "--data", "people.csv", "--target", "stays"]
    assert main(["train", "--like", "own"]) == 1
    assert "give --data FILE and --target COLUMN." in capsys.readouterr().err
    assert main(words) == 1
    assert "which draws other numbers each time: a number is kept. Name a function" in capsys.readouterr().err
    assert main([*words, "--recipe", "makers:make"]) == 0
    assert [feature.name for feature in manifest("own", 2).features] == ["income"]


def test_a_recipe_can_be_given_in_python(folder):
    """export_pipeline takes the name of a function, or a recipe whose pipeline it fills in."""
    rows, stays = pd.read_csv("people.csv")[["income"]], people()[1]
    sys.path.append(os.getcwd())
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, stays)
    export = export_pipeline(pipeline, rows, name="own", recipe="makers:make")
    assert export.manifest.recipe == Recipe(by="function", function="makers:make")
    given = Recipe(by="pipeline", data="people.csv", target=("stays",))
    export = export_pipeline(pipeline, rows, name="own", recipe=given)
    assert export.manifest.recipe.step.estimator == "sklearn.pipeline:Pipeline"
    assert (export.manifest.recipe.data, export.manifest.recipe.target) == ("people.csv", ("stays",))
    assert main(["train", "--like", "own"]) == 0


def test_a_detector_of_outliers_is_not_trained(folder, capsys):
    """It has no target to train on: the error says where it is fitted."""
    rows = people()[0][["income"]]
    export_pipeline(OUTLIERS["EllipticEnvelope"](random_state=0).fit(rows), rows, name="odd")
    assert main(["train", "--like", "odd", "--data", "people.csv", "--target", "stays"]) == 1
    assert "is fitted without a target, and train fits to one" in capsys.readouterr().err


def test_a_file_of_an_earlier_release_has_no_recipe(folder, capsys):
    """The error says how to make the model again all the same."""
    store(Path("models"), "sign", embed(graph()))
    assert main(["train", "--like", "sign"]) == 1
    assert "sign 1 keeps no recipe, as an earlier release wrote it" in capsys.readouterr().err
    store(Path("models"), "sign", b"damaged", version=2)
    assert main(["train", "--like", "sign"]) == 1
    assert "models/sign/2/model.onnx cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"classifier": "magic"}, "was made with --classifier 'magic', which is not taken here"),
        ({"seed": [1, 2]}, "was made with --seed '1,2', which is not taken here"),
        ({"held_out": "half"}, "was made with --held-out 'half', which is not taken here"),
        ({"task": {"a": 1}}, "was made with --task"),
    ],
)
def test_options_that_somebody_has_edited_are_refused(folder, capsys, options, sentence):
    """An option of a recipe is checked as one on the command line; others, such as a folder, are ignored."""
    options = {**options, "models": "/etc"}
    own = Recipe(by="train", data="iris", options=options)
    store(Path("models"), "sign", embed(graph(), recipe=own))
    assert main(["train", "--like", "sign"]) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_a_server_does_not_show_the_recipe(stays):
    """Paths and names of code are for those who have the file."""
    with create_app(Config(models="models")).test_client() as client:
        shown = client.get("/models/stays").json["manifest"]
    assert "recipe" not in shown
    assert shown["class_names"] == ["no", "yes"]


def test_a_file_called_as_a_bundled_set_is_that_file(folder):
    """A path in a recipe is told from the name of a data set."""
    assert material.data_of(Path("iris")) == "./iris"
    assert material.data_of(Path("iris.csv")) == "iris.csv"
    with pytest.raises(DataError, match="There is no file iris"):
        material.table(Recipe(by="train", data="./iris", target=("y",)))
    assert material.table(Recipe(by="train", data="iris")).name == "iris"


def test_weights_reach_the_last_step():
    """A weight of two counts as the row twice; an estimator without weights is named."""
    table = dataset.bundled("iris")
    fit_rows, held_out_rows = split(table)
    weights = np.where(np.arange(len(fit_rows)) % 3, 1.0, 2.0)
    twice = np.concatenate([fit_rows, fit_rows[weights == 2]])
    tree = DecisionTreeClassifier(random_state=0)
    for weighed in (clone(tree), make_pipeline(clone(tree))):
        weighted = fitted(table, weighed, fit_rows, held_out_rows, weights)
        repeated = fitted(table, clone(tree), twice, held_out_rows)
        assert weighted.training.metrics == repeated.training.metrics
        chances = [each.pipeline.predict_proba(table.features) for each in (weighted, repeated)]
        assert np.allclose(*chances)
    with pytest.raises(DataError, match="KNeighborsClassifier takes no weights of rows: leave them out"):
        fitted(table, make_pipeline(KNeighborsClassifier()), fit_rows, held_out_rows, weights)


def test_rows_may_be_split_otherwise():
    """The newest rows can be held out; a class that no row to fit on has is told by name."""
    table = dataset.bundled("iris")
    order = np.random.default_rng(0).permutation(150)
    model = fitted(table, chosen(table, "standard", "logistic"), order[:100], order[100:])
    assert (model.training.rows, model.training.held_out, model.training.seed) == (100, 50, None)
    assert (model.held_out.to_numpy() == table.features.to_numpy()[order[100:]]).all()
    with pytest.raises(DataError, match="No row to fit on is of '2', which others are"):
        fitted(table, chosen(table, "standard", "logistic"), np.arange(100), np.arange(100, 150))
    with pytest.raises(DataError, match="There is no row to measure on"):
        fitted(table, chosen(table, "standard", "logistic"), order, order[:0])


def test_the_pipeline_of_a_recipe_is_that_of_train():
    """A caller with rows of its own gets the unfitted pipeline for them."""
    table = dataset.bundled("diabetes")
    own = Recipe(by="train", options={"regressor": "forest", "scaler": "robust", "seed": 4})
    assert repr(recipe.pipeline(own, table)) == repr(chosen(table, "robust", "forest", 4))
    with pytest.raises(DataError, match="has the regressor 'magic', which this release does not know"):
        recipe.pipeline(Recipe(by="train", options={"regressor": "magic"}), table)
