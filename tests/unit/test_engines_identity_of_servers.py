"""Several servers under one name are one model, or the run ends before anything is asked. All speak real HTTP."""

from contextlib import ExitStack

import pytest

from rlaif.engines import identify, open_engine
from rlaif.engines.announcing import announced_name, read_announced
from rlaif.engines.model_files import find_model
from rlaif.errors import EngineUnavailable, InputError
from rlaif.settings import EngineSettings
from tests.faults.fault_server import fault_server, verdict
from tests.tiny_llama import write_tiny_llama

ONE, OTHER = "org/judge@1", "org/judge@2"


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """A function that starts a server and gives its address: `told` is (precision, weights), where it tells them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ExitStack() as running:

        def start(told=None, *, root=None):
            names = ("judge",) if told is None else ("judge", announced_name("judge", dtype=told[0], weights=told[1]))
            return running.enter_context(fault_server(lambda n, body: verdict(body), models=names, root=root)).url

        yield start


def asked(*urls, model="judge", **options):
    return identify(EngineSettings(kind="http", base_urls=urls, **options), model)


@pytest.fixture
def folder(tmp_path):
    made = write_tiny_llama(tmp_path / "judge", weights=False)
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def test_servers_of_one_model_have_the_identity_that_any_of_them_has_alone(serve):
    urls = [serve(("bfloat16", ONE)), serve(("bfloat16", ONE)), serve()]
    assert asked(*urls) == asked(*reversed(urls)) == asked(urls[1])
    assert asked(*urls).dtype == "bfloat16"


@pytest.mark.parametrize(
    ("other", "words"), [(("bfloat16", OTHER), "weights"), (("float32", ONE), "precision float32")]
)
def test_servers_of_different_models_are_refused_and_both_are_named(serve, other, words, tmp_path):
    urls = [serve(("bfloat16", ONE)), serve(), serve(other)]
    for ways in (urls, urls[::-1]):
        with pytest.raises(EngineUnavailable) as caught:
            asked(*ways)
        assert urls[0] in str(caught.value)
        assert urls[2] in str(caught.value)
        assert urls[1] not in str(caught.value)
        assert words in str(caught.value)
    with pytest.raises(EngineUnavailable, match="two servers"):
        open_engine(EngineSettings(kind="http", base_urls=tuple(urls)), "judge", log_file=tmp_path / "log.txt")


def test_hub_models_of_different_names_behind_one_name_are_refused_and_folders_elsewhere_are_not(serve):
    with pytest.raises(EngineUnavailable, match=r"org/one.*org/two"):
        asked(serve(root="org/one"), serve(root="org/two"))
    assert asked(serve(root="/not/here/judge"), serve(root="/mnt/judge")).weights == "judge@served"


def test_a_server_here_gives_the_identity_of_its_files_wherever_it_stands(serve, folder):
    here, elsewhere = serve(root=str(folder)), serve(root="/not/here/judge")
    wanted = identify(EngineSettings(), str(folder))
    assert asked(here, elsewhere) == asked(elsewhere, here) == wanted


def test_the_precision_a_server_tells_is_part_of_the_identity_and_one_that_was_not_asked_for_is_refused(serve, folder):
    weights = find_model(str(folder), EngineSettings()).weights
    url = serve(("float16", weights), root=str(folder))
    assert asked(url) == identify(EngineSettings(dtype="float16"), str(folder))
    with pytest.raises(InputError, match=r"float16, and engine\.dtype is float32"):
        asked(url, dtype="float32")


def test_files_that_have_changed_under_a_running_server_are_noticed(serve, folder):
    url = serve(("float32", find_model(str(folder), EngineSettings()).weights), root=str(folder))
    asked(url)
    (folder / "model.safetensors").write_bytes(b"trained further")
    with pytest.raises(EngineUnavailable, match="other files"):
        asked(url)


def test_what_is_told_is_read_back_and_no_other_name_is_taken_for_it():
    name = announced_name("org/judge", dtype="bfloat16", weights=ONE)
    assert read_announced("org/judge", ["org/judge", "adapter", name])[0] == "bfloat16"
    assert read_announced("judge", [name, "judge", "judge:bfloat16", "judge:latest"]) == (None, None)
    assert read_announced("org/judge:7b", [name]) == (None, None)
