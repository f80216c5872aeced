"""Where a store lies: in the output folder, in a folder of its own, or behind a URL; and who may clean it."""

import json
import os
from pathlib import Path

import fsspec
import pytest

from rlaif.cli import main
from rlaif.cli.project import store_of_run
from rlaif.errors import StoreError
from rlaif.settings import Settings
from rlaif.store import Store
from rlaif.store.gc import tests_folder as folder_of_tests
from tests.roads import settings

SETTINGS = """
name: test
constitution: constitution.yaml
prompts: [{path: prompts.jsonl}]
policies: [{model: policy, samples: 2}]
judge: {model: judge}
engine: {kind: scripted}
pairs: {min_margin: 0.0}
"""
CONSTITUTION = """
name: My own!
principles:
- id: kind
  text: A good answer is kind.
  question: Which response is kinder?
  tests:
  - {conversation: "How are you?", response_a: Fine., response_b: Go away., better: A}
"""
JUDGMENTS = 3 * 2  # three prompts, one pair each, both orders


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    return files


@pytest.fixture
def project(tmp_path, monkeypatch, memory):
    def lay_out(name, store=None):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "rlaif.yaml").write_text(SETTINGS + (f"store: {store}\n" if store else ""))
        (folder / "constitution.yaml").write_text(CONSTITUTION)
        lines = [json.dumps({"prompt": f"Question {n}?"}) for n in range(3)]
        (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
        monkeypatch.chdir(folder)
        return folder

    return lay_out


@pytest.fixture
def rlaif(capsys):
    def call(*words):
        try:
            main.run([str(word) for word in words])
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def counted(rlaif, *words):
    """The rows of every kind, as `rlaif store stats` has them."""
    code, out, err = rlaif("store", "stats", "--json", *words)
    assert code == 0, err
    return {kind["kind"]: kind["rows"] for kind in json.loads(out)}


@pytest.mark.parametrize("place", ["memory://bucket/rlaif", "../shared"])
def test_two_projects_share_a_store_elsewhere(project, rlaif, place):
    project("one", place)
    assert rlaif("generate")[0] == 0
    assert not Path("outputs/store").exists()
    second = project("two", place)
    code, out, err = rlaif("plan", "--json")
    assert code == 0, err
    assert json.loads(out)["judge_calls"] == 0
    code, _, err = rlaif("generate")
    assert f"{JUDGMENTS} from the store" in err
    assert counted(rlaif) == counted(rlaif, "--store", place) == {"critiques": 3, "judgments": 6, "responses": 6}
    row = json.loads((second / "outputs/runs/test/pairs.jsonl").read_text().splitlines()[0])
    code, out, err = rlaif("explain", "test", row["pair_id"], "--json")
    assert code == 0, err
    assert json.loads(out)["probability_x"] is not None
    assert rlaif("store", "verify")[:2] == (0, "15 rows in 3 segments and 0 journals\n")
    assert rlaif("store", "compact")[0] == 0


def test_a_store_elsewhere_is_cleaned_only_when_all_its_users_are_named(project, rlaif):
    one = project("one", "memory://bucket/rlaif")
    rlaif("generate")
    two = project("two", "memory://bucket/rlaif")
    rlaif("generate", "--set", "policies.0.samples=3")
    everything = counted(rlaif)
    assert everything["judgments"] > JUDGMENTS
    for words in ((), ("--dry-run",), ("--store", "memory://bucket/rlaif")):
        code, _, err = rlaif("store", "gc", *words)
        assert code == 4
        assert "other projects and machines may use this store" in err
        assert "--wanted-by" in err
    code, _, err = rlaif("store", "gc", "--wanted-by", one / "output")  # a slip of the pen
    assert code == 4
    assert "no run wants anything" in err
    code, _, err = rlaif("store", "gc", "--wanted-by", one / "outputs")  # its own runs count without a word
    assert code == 0, err
    assert counted(rlaif) == everything
    code, _, err = rlaif("store", "gc", "--store", "memory://bucket/rlaif", "--output", one / "outputs", "--wanted-by",
                         one / "outputs")  # fmt: skip
    assert code == 0, err
    assert counted(rlaif)["judgments"] == JUDGMENTS
    assert "other projects" in rlaif("store", "gc", "--config", two / "rlaif.yaml")[2]


def test_what_a_constitutions_tests_asked_is_kept(project, rlaif):
    folder = project("one")
    assert rlaif("constitution", "test", "constitution.yaml")[0] in (0, 1)
    assert counted(rlaif) == {"judgments": 2}
    rlaif("generate")
    code, out, err = rlaif("store", "gc", "--json")
    assert (code, sum(kind["unwanted"] for kind in json.loads(out))) == (0, 0), err
    edited = CONSTITUTION.replace("is kind.", "is very kind.")
    (folder / "constitution.yaml").write_text(edited)
    rlaif("constitution", "test", "constitution.yaml")  # replaces the wish of the earlier wording
    rlaif("constitution", "test", "constitution.yaml", "--set", "judge.model=another")  # has one of its own
    assert len(list((folder / "outputs/constitution-tests").iterdir())) == 2
    assert counted(rlaif)["judgments"] == JUDGMENTS + 2 + 2 + 2
    code, out, err = rlaif("store", "gc", "--json")
    assert [kind["unwanted"] for kind in json.loads(out) if kind["kind"] == "judgments"] == [2], err
    _, _, err = rlaif("constitution", "test", "constitution.yaml")
    assert "2 from the store" in err


def test_a_test_that_never_asked_anything_does_not_hold_up_gc(project, rlaif):
    """Killed after its folder was made and before its wish was written, which is before the first question."""
    folder = project("one")
    rlaif("generate")
    (folder / "outputs/constitution-tests/dead").mkdir(parents=True)
    code, _, err = rlaif("store", "gc")
    assert code == 0, err


def test_the_folder_of_tests_has_a_name_for_people_and_is_one_for_each_judge(tmp_path):
    names = {
        folder_of_tests(tmp_path, *pair).name for pair in [("My own!", "a/b"), ("My own", "a/b"), ("My own!", "a")]
    }
    assert len(names) == 3
    assert all(name.startswith("My-own") for name in names)
    assert folder_of_tests(tmp_path, "..", "/").parent == tmp_path / "constitution-tests"


def test_gc_stops_when_a_run_begins_while_it_works(project, rlaif, monkeypatch):
    from rlaif.store import gc

    folder = project("one")
    rlaif("generate")
    rlaif("generate", "--set", "name=other", "--set", "policies.0.samples=3")
    before = counted(rlaif)
    real = gc._count

    def begun(connection):
        (folder / "outputs/runs/other/wanted.parquet").unlink(missing_ok=True)  # the first thing a run does
        return real(connection)

    (folder / "outputs/runs/test").rename(folder / "outputs/elsewhere")
    write = gc.read_wanted
    monkeypatch.setattr(gc, "read_wanted", lambda wishes, kind: [chunk.slice(1) for chunk in write(wishes, kind)])
    monkeypatch.setattr(gc, "_count", begun)
    code, _, err = rlaif("store", "gc")
    assert code == 4
    assert "do not say what they want" in err
    assert counted(rlaif) == before


def test_gc_stops_when_a_run_ends_while_it_works(project, rlaif, monkeypatch):
    from rlaif.store import gc

    folder = project("one")
    rlaif("generate", "--set", "policies.0.samples=3")
    wanted = folder / "outputs/runs/test/wanted.parquet"
    everything = wanted.read_bytes()
    rlaif("generate")  # wants less
    before, real = counted(rlaif), gc._count

    def ended(connection):
        wanted.write_bytes(everything)
        return real(connection)

    monkeypatch.setattr(gc, "_count", ended)
    code, _, err = rlaif("store", "gc")
    assert code == 4
    assert "a run began, ended or was removed meanwhile" in err
    assert counted(rlaif) == before


@pytest.mark.parametrize(
    ("url", "found", "do"),
    [
        ("s4://bucket/x", "there is no kind of store named s4://", "s3://, gs://, az:// and https://"),
        ("dropbox://x", "dropbox:// needs the package", "pip install "),
        ("http://127.0.0.1:9/store", "the store cannot be", "Check the URL, the network"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_clear_error_before_anything_is_asked(project, rlaif, url, found, do):
    project("one", url)
    code, _, err = rlaif("generate")
    assert code == 4
    assert url in err
    assert found in err
    assert do in err
    assert "Traceback" not in err
    assert "sample policy:" not in err


def test_a_store_that_may_not_be_written_to_is_found_before_anything_is_asked(project, rlaif, memory, monkeypatch):
    def forbidden(*arguments, **more):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(memory), "pipe_file", forbidden)
    project("one", "memory://bucket/rlaif")
    assert rlaif("plan")[0] == 0  # to read is allowed
    code, _, err = rlaif("generate")
    assert code == 4
    assert "memory://bucket/rlaif: the store cannot be written: Access Denied" in err
    assert "your credentials and rights there" in err
    assert "sample policy:" not in err


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written_to_is_found_at_once(tmp_path):
    (tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="Permission denied"):
        Store(tmp_path / "store", will_append=True)


def test_a_place_whose_name_is_taken_by_a_file_is_found_at_once(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match=r"cannot write: File exists.\nCheck the folder's rights"):
        Store(tmp_path / "store", will_append=True)


def test_the_place_is_relative_to_the_settings_file(tmp_path):
    assert settings().store_place(tmp_path) == tmp_path / "outputs" / "store"
    assert settings(output="work/out").store_place(tmp_path) == tmp_path / "work/out/store"
    assert settings(store="../shared").store_place(tmp_path) == tmp_path / "../shared"
    assert settings(store="/shared").store_place(tmp_path) == Path("/shared")
    assert settings(store="s3://bucket/x").store_place(tmp_path) == "s3://bucket/x"


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        ({}, "{run}/../../store"),
        ({"store": "../shared"}, "{base}/../shared"),
        ({"store": "s3://bucket/x", "output": "/abs"}, "s3://bucket/x"),
        ({"store": "/shared", "output": "/abs"}, "/shared"),
        ({"store": "shared", "output": "."}, "{base}/out/deep/shared"),
    ],
)
def test_a_runs_store_is_found_from_its_folder(tmp_path, saved, found):
    folder = saved_run(tmp_path, settings(**({"output": "out/deep"} | saved)))
    names = {"base": tmp_path, "run": folder}
    expected, place = found.format(**names), str(store_of_run(folder))
    assert os.path.normpath(place) == os.path.normpath(expected)


@pytest.mark.parametrize("output", ["/abs", "../out"])
def test_a_runs_store_that_cannot_be_told_has_to_be_named(tmp_path, output):
    folder = saved_run(tmp_path, settings(output=output, store="shared"))
    with pytest.raises(StoreError, match="Say where it is with --store"):
        store_of_run(folder)


def saved_run(base: Path, used: Settings) -> Path:
    folder = base / "out/deep/runs/test"
    folder.mkdir(parents=True)
    (folder / "settings.yaml").write_text(used.model_dump_json())
    return folder


def test_results_of_an_earlier_version_are_announced(project, rlaif):
    folder = project("one")
    old = folder / "outputs/store/judgments"
    old.mkdir(parents=True)
    for name in ("1-a", "2-b"):
        (old / f"{name}.jsonl").write_text('{"key":"0","value":{}}\n')
    said = "judgments/*.jsonl: 2 files of an earlier version of rlaif, which this one does not read"
    for words in (("generate",), ("plan",), ("store", "stats"), ("store", "gc")):
        _, _, err = rlaif(*words)
        assert said in " ".join(err.split()), words
    (old / "1-a.jsonl").unlink()
    (old / "2-b.jsonl").unlink()
    assert "earlier version" not in rlaif("plan")[2]
