"""Which model a name means, without loading it; and the clear errors when there is none."""

import json
import subprocess
import sys

import pytest

from rlaif.engines import context_length, identify, open_engine
from rlaif.engines.model_files import file_digest, find_model
from rlaif.engines.vllm_flags import model_arguments, server_flags
from rlaif.errors import EngineUnavailable, InputError
from rlaif.settings import EngineSettings
from tests.tiny_llama import write_tiny_llama


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    made = write_tiny_llama(tmp_path / "my-judge", weights=False)
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def test_a_folders_identity_is_its_content_not_its_place(folder, tmp_path):
    copy = folder.rename(tmp_path / "elsewhere" / "my-judge") if (tmp_path / "elsewhere").mkdir() is None else None
    before = identify(EngineSettings(), str(copy))
    assert before.name == "my-judge"
    again = copy.rename(tmp_path / "my-judge")
    assert identify(EngineSettings(), str(again)) == before


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_changing_any_file_that_changes_answers_changes_the_identity(folder, file):
    before = identify(EngineSettings(), str(folder))
    (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    assert identify(EngineSettings(), str(folder)).weights != before.weights
    assert identify(EngineSettings(), str(folder)).chat_template == before.chat_template


def test_changing_the_chat_template_changes_its_digest(folder):
    before = identify(EngineSettings(), str(folder))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert identify(EngineSettings(), str(folder)).chat_template != before.chat_template


def test_a_chat_template_is_also_found_in_the_tokenizers_configuration(folder):
    template = (folder / "chat_template.jinja").read_text()
    before = identify(EngineSettings(), str(folder)).chat_template
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    assert identify(EngineSettings(), str(folder)).chat_template == before


def test_precision_auto_is_that_of_the_weights_but_bfloat16_for_float32(folder):
    assert identify(EngineSettings(), str(folder)).dtype == "bfloat16"
    assert identify(EngineSettings(dtype="float32"), str(folder)).dtype == "float32"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    assert identify(EngineSettings(), str(folder)).dtype == "float16"


def test_the_context_is_the_models_own_unless_set(folder):
    assert context_length(EngineSettings(), str(folder)) == 2048
    assert context_length(EngineSettings(max_model_len=512), str(folder)) == 512
    config = json.loads((folder / "config.json").read_text())
    nested = {"text_config": {"max_position_embeddings": config.pop("max_position_embeddings")}}
    (folder / "config.json").write_text(json.dumps({**config, **nested}))
    assert context_length(EngineSettings(), str(folder)) == 2048


def test_a_digest_is_remembered_until_the_file_changes(folder, monkeypatch):
    weights = folder / "model.safetensors"
    first = file_digest(weights)
    with monkeypatch.context() as patched:
        patched.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
        assert file_digest(weights) == first
    weights.write_bytes(weights.read_bytes()[::-1])  # another content of the same size
    assert file_digest(weights) != first


def test_a_home_that_cannot_be_written_to_only_costs_time(folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert file_digest(folder / "config.json") == file_digest(folder / "config.json")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./no/such/folder", ["neither a folder", "no/such/folder"]),
        ("/no/such/folder", ["/no/such/folder", "config.json"]),
        ("tiny-juge", ["tiny-juge", "did you mean 'tiny-judge'", "tiny-policy"]),
        ("model.gguf", ["neither a folder", "*.safetensors"]),
    ],
)
def test_a_model_that_is_not_there_says_what_was_looked_for(name, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for act in (
        lambda: identify(EngineSettings(), name),
        lambda: open_engine(EngineSettings(), name, log_file=tmp_path),
    ):
        with pytest.raises(InputError) as caught:
            act()
        assert all(word in str(caught.value) for word in words)


def test_a_hub_name_that_cannot_be_fetched_is_an_engine_that_is_not_there():
    with pytest.raises(EngineUnavailable, match="org/no-such-model"):
        identify(EngineSettings(), "org/no-such-model")


@pytest.mark.parametrize(
    ("file", "words"),
    [("config.json", "config.json"), ("model.safetensors", "safetensors"), ("chat_template.jinja", "chat template")],
)
def test_a_folder_that_lacks_something_says_what(folder, file, words):
    (folder / file).unlink()
    with pytest.raises(InputError, match=words):
        identify(EngineSettings(), str(folder))


def test_weights_are_only_ever_read_as_safetensors(folder):
    arguments = model_arguments(EngineSettings(), find_model(str(folder), EngineSettings()), cpu=True)
    assert arguments["load_format"] == "safetensors"
    assert "trust_remote_code" not in arguments


def test_what_belongs_to_a_cpu_is_set_only_there(folder):
    files = find_model(str(folder), EngineSettings())
    cpu = model_arguments(EngineSettings(kv_cache_gib=0.5), files, cpu=True)
    gpu = model_arguments(EngineSettings(), files, cpu=False)
    assert (cpu["kv_cache_memory_bytes"], cpu["block_size"], cpu["enforce_eager"]) == (2**29, 32, True)
    assert not {"kv_cache_memory_bytes", "block_size", "enforce_eager"} & gpu.keys()
    assert gpu["gpu_memory_utilization"] == 0.9


def test_on_a_cpu_no_prompt_is_read_in_parts_and_the_longest_fits_beside_all_that_are_writing(folder):
    def read_at_once(**options):
        settings = EngineSettings(**options)
        arguments = model_arguments(settings, find_model(str(folder), settings), cpu=True)
        assert arguments["enable_chunked_prefill"] is False
        return arguments["max_num_batched_tokens"]

    assert read_at_once(max_model_len=100) == 4096
    assert read_at_once(max_model_len=10_000) == 10_256
    assert read_at_once(max_model_len=10_000, max_num_seqs=20_000) == 30_000
    settings = EngineSettings()
    assert "enable_chunked_prefill" not in model_arguments(settings, find_model(str(folder), settings), cpu=False)


def test_logits_are_computed_in_float32_unless_they_are_or_the_head_may_be_quantised(folder):
    def overrides(**options):
        settings = EngineSettings(**options)
        return model_arguments(settings, find_model(str(folder), settings), cpu=True).get("hf_overrides")

    assert overrides(dtype="bfloat16") == {"head_dtype": "float32"}
    assert overrides(dtype="float32") is None
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {}}))
    assert overrides(dtype="bfloat16") is None


def test_server_flags_say_the_same_as_the_arguments():
    flags = server_flags(
        {"model": "m", "enforce_eager": True, "enable_prefix_caching": False, "hf_overrides": {"a": "b"}}
    )
    assert flags == ["--model", "m", "--enforce-eager", "--no-enable-prefix-caching", "--hf-overrides", '{"a": "b"}']


@pytest.mark.parametrize(("kind", "library"), [("vllm", "vllm"), ("transformers", "torch")])
def test_a_missing_library_is_an_error_with_the_command_to_type(kind, library, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'rlaif\[") as caught:
        open_engine(EngineSettings(kind=kind), str(folder), log_file=tmp_path / "log.txt")
    assert library.lower() in str(caught.value).lower()


def test_planning_needs_no_heavy_library(folder):
    code = (
        "import sys; from rlaif.engines import identify, context_length; from rlaif.settings import EngineSettings\n"
        f"identify(EngineSettings(), {str(folder)!r}); context_length(EngineSettings(), {str(folder)!r})\n"
        "print(*({'torch', 'vllm', 'transformers', 'httpx', 'huggingface_hub'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
