"""How a training ends and goes on: Ctrl-C, early stopping, a second call, a folder that is another's, trackers."""

import io
import json
import re
import signal
from dataclasses import replace

import pytest
import torch
from rich.console import Console, Group

from rlaif.cli.settings_view import as_yaml
from rlaif.cli.train_view import Pace, RlProgress, TrainingProgress
from rlaif.documents.marked import parse_yaml
from rlaif.errors import EngineUnavailable, InputError
from rlaif.train import checkpoint
from rlaif.train.dpo import DpoTask
from rlaif.train.folders import check_output, check_same_run, write_settings
from rlaif.train.loop import train
from rlaif.train.rl.settings import GrpoSettings, OnlineDpoSettings, PpoSettings
from rlaif.train.settings import DpoSettings, LoopSettings, RewardSettings, SftSettings
from rlaif.train.task import Layout
from tests.rl_kit import grpo, make_learner
from tests.unit.test_train_loop import dpo_settings, loop_settings, make, run, some_rows, weights_of

torch.set_num_threads(1)


# --- Ctrl-C


def pressing(at, times=1):
    """Presses Ctrl-C after a step."""

    def watch(done, total, figures):
        if done == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return watch


@pytest.mark.parametrize("method", ["reward", "kto"])
def test_ctrl_c_keeps_the_step_at_hand_and_the_next_call_ends_in_the_same_bits(method, tmp_path):
    wanted, _ = run(method, tmp_path / "whole")
    said, before = [], signal.getsignal(signal.SIGINT)
    task, module = make(method, some_rows())
    with pytest.raises(KeyboardInterrupt):
        train(task, module, loop_settings(), folder=tmp_path / "cut", watch=pressing(3), say=said.append)
    assert said == [f"stopped after step 3 of 6, which is kept in {tmp_path / 'cut'}"]
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint.newest(tmp_path / "cut").step == 3
    task, module = make(method, some_rows())
    train(task, module, loop_settings(), folder=tmp_path / "cut", say=said.append)
    assert said[1:] == ["going on, after step 3 of 6"]
    assert torch.equal(weights_of(module), wanted)
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    task, module = make("reward", some_rows())
    with pytest.raises(KeyboardInterrupt):
        train(task, module, loop_settings(), folder=tmp_path, watch=pressing(3, times=2))
    assert checkpoint.newest(tmp_path) is None


def test_ctrl_c_in_rl_keeps_weights_whose_answers_were_seen_and_samples_nothing_twice(tmp_path):
    settings = grpo(iterations=4, loop={"save_every": 100})
    whole = make_learner(settings, tmp_path / "whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        make_learner(settings, tmp_path / "cut", watch=pressing(2)).run()
    assert (tmp_path / "cut" / "rollouts" / "rollouts-00000002.pt").is_file()
    again = make_learner(settings, tmp_path / "cut")
    assert again.run().resumed_at == 2
    for one, other in zip(whole.stepper.plain.parameters(), again.stepper.plain.parameters(), strict=True):
        assert torch.equal(one, other)
    assert again.journal.log.read_bytes() == whole.journal.log.read_bytes()


# --- what is told of the end


def exchanged(task):
    """The same pairs with their answers exchanged: what is learnt makes their loss worse."""
    rows = [replace(row, family=row.family[::-1]) for row in task.rows]
    return DpoTask(rows, Layout(), dpo_settings(), task.reference[:, ::-1].copy())


def test_after_early_stopping_the_figures_are_those_of_the_weights_that_are_left(tmp_path):
    task, module = make("sigmoid", some_rows(), sft_weight=0.0)
    held_out = exchanged(task)
    chosen = loop_settings(epochs=20, eval_every=2, patience=2)
    report = train(task, module, chosen, folder=tmp_path, evaluation=held_out)
    assert report.stopped_early
    assert report.evaluated_at == report.steps - 4
    module.eval()
    outcome = held_out.compute(module, range(11), torch.device("cpu"))
    left = float(outcome.loss.detach()) / sum(held_out.weights)
    assert report.evaluation["eval_loss"] == pytest.approx(left, rel=1e-9)
    again = train(task, make("sigmoid", some_rows())[1], chosen, folder=tmp_path, evaluation=held_out)
    assert (again.evaluation, again.stopped_early) == (report.evaluation, True)


def test_a_call_that_finds_the_last_step_taken_tells_the_same_figures(tmp_path):
    """So the card of a model that was killed while it was written is that of an undisturbed run."""
    wanted = run("sigmoid", tmp_path, evaluation=make("sigmoid", some_rows(7, 5))[0])[1]
    found = run("sigmoid", tmp_path, evaluation=make("sigmoid", some_rows(7, 5))[0])[1]
    assert found == replace(wanted, resumed_at=6)
    assert found.last["loss"] > 0
    assert found.evaluation["eval_loss"] > 0


def test_rate_and_time_left_are_counted_from_the_first_step_of_this_call():
    assert Pace(1, at=100.0).told(11, 31, now=105.0, unit="steps") == "2.0 steps/s, 0:00:10 left"
    assert Pace(40, at=100.0).told(42, 50, now=130.0, unit="iterations") == "15.0 s/iteration, 0:02:00 left"
    assert Pace(1, at=100.0).told(1, 31, now=100.0, unit="steps") == ""
    assert Pace(1, at=0.0).told(31, 31, now=10.0, unit="steps") == "3.0 steps/s"


def test_where_there_is_no_terminal_lines_tell_how_far_it_is(capsys):
    with TrainingProgress(Console(stderr=True)) as progress:
        for done in (1, 2, 3):
            progress.watch(done, 3, {"loss": 1 / done, "grad_norm": 2.0})
        progress.watch(3, 3, {"eval_loss": 0.5, "eval_accuracy": 1.0})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("steps 3/3")
    assert lines[0].endswith("loss 0.3333  grad_norm 2")
    assert lines[1] == "after step 3: eval_loss 0.5  eval_accuracy 1"


# --- settings and folders that do not fit


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loop": {"patience": 2}, "eval_share": 0.1}, "`patience` counts evaluations"),
        ({"loop": {"eval_every": 2}}, "has nothing to evaluate on"),
    ],
)
def test_early_stopping_without_evaluations_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        DpoSettings(model="m", data=[{"path": "d"}], output="o", **changes)


@pytest.mark.parametrize(
    "kind", [SftSettings, RewardSettings, DpoSettings, PpoSettings, GrpoSettings, OnlineDpoSettings]
)
def test_the_file_to_begin_with_holds_the_defaults_and_leaves_out_what_is_needed(kind):
    text = as_yaml(kind)
    written, _ = parse_yaml(text, "settings.yaml", InputError)
    needed = {name for name, field in kind.model_fields.items() if field.is_required()}
    assert {name for name, value in written.items() if value is None and name in needed} == needed
    given = {"model": "m", "output": "o", "data": [{"path": "d"}], "prompts": [{"path": "p"}]}
    filled = {name: given[name] for name in needed}
    assert kind(**{**written, **filled}) == kind(**filled)
    assert text.count("#") == text.count(":\n") + len(re.findall(r"^ *\w+: ", text, re.M))  # each has its meaning


def test_a_folder_of_another_run_is_refused_with_the_settings_that_differ_and_left_as_it_was(tmp_path):
    settings = dpo_settings()
    run("reward", tmp_path)  # checkpoints, of no identity
    write_settings(tmp_path, settings)
    kept = (tmp_path / "settings.yaml").read_bytes()
    changed = settings.model_copy(update={"beta": 0.3, "loop": LoopSettings(epochs=2)})
    with pytest.raises(InputError) as found:
        check_same_run(tmp_path, {"settings": "b" * 64}, changed, {"output": True})
    assert "settings was None, now it is bbbbbbbbbbbb." in str(found.value)
    assert "Settings that differ: beta (was 0.1, now 0.3), loop.epochs (was 1.0, now 2.0)." in str(found.value)
    assert "--anew" in str(found.value)
    assert (tmp_path / "settings.yaml").read_bytes() == kept
    check_same_run(tmp_path, {}, changed, {"output": True})
    check_same_run(tmp_path / "nothing", {"settings": "b"}, changed, {})


def test_no_model_is_written_over_that_was_not_made_there(tmp_path):
    model, output = tmp_path / "model", tmp_path / "output"
    model.mkdir()
    (model / "config.json").write_text("{}")
    with pytest.raises(InputError, match="the folder of the model that is trained"):
        check_output(model, str(model))
    with pytest.raises(InputError, match="nothing of the training that made it"):
        check_output(model, "other")
    check_output(model, "other", begin_anew=True)
    check_output(output, str(model))
    output.write_text("")
    with pytest.raises(InputError, match="the output is a file"):
        check_output(output, str(model))
    with pytest.raises(InputError, match="the output cannot be written: Not a directory"):
        check_output(output / "further", str(model))
    assert not (tmp_path / "made").exists()
    check_output(tmp_path / "made" / "later", str(model))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model", "output"]


def test_on_a_terminal_every_figure_is_seen_in_eighty_columns():
    screen = Console(file=io.StringIO(), width=80, force_terminal=True)
    figures = dict.fromkeys(RlProgress.shown, -0.1234567)
    with RlProgress(screen) as progress:
        for done in (998, 999):
            progress.watch(done, 1000, figures)
        shown = "".join(str(one.text) for one in screen.render(Group(*progress.progress.get_renderables())))
    assert all(f"{name} -0.1235" in shown for name in RlProgress.shown)
    assert "999/1000" in shown
    assert "left" in shown


# --- trackers, where they are installed (`pip install wandb trackio`; make setup does not: they are large)


def test_wandb_gets_every_figure_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = tmp_path / "model" / "training"
    run("reward", folder, trackers=("wandb",))
    assert wandb.run is None  # ended: the next training is a run of its own
    wandb.teardown()  # its own process writes the file, and is waited for
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    told = read_wandb(file)
    for line in (json.loads(line) for line in (folder / "metrics.jsonl").open()):
        for name, value in line.items():
            if name != "step":
                assert told[line["step"], name] == pytest.approx(value), name


def read_wandb(file):
    """What a run's file holds: (step, name) to value. Its records lie in blocks as in LevelDB's logs, each with a
    checksum, its length and whether it is whole, a first, a middle or a last part."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts, found = file.read_bytes(), 7, b"", {}
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no room for a record's head: the next block
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record, parts = wandb_internal_pb2.Record.FromString(parts), b""
            for item in record.history.item:
                name = item.key or ".".join(item.nested_key)
                found[record.history.step.num, name] = json.loads(item.value_json)
    return found


def test_trackio_gets_every_figure_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    folder = tmp_path / "model" / "training"
    run("reward", folder, trackers=("trackio",))
    (kept,) = trackio.Api().runs("rlaif")
    rows = SQLiteStorage.get_logs("rlaif", kept.name)
    told = {(row["step"], name): value for row in rows for name, value in row.items()}
    for line in (json.loads(line) for line in (folder / "metrics.jsonl").open()):
        for name, value in line.items():
            if name != "step":
                assert told[line["step"], name] == pytest.approx(value), name


def test_a_tracker_that_cannot_be_started_is_one_clear_error(tmp_path):
    (tmp_path / "rlaif").write_text("a file where tensorboard wants its folder")
    with pytest.raises(EngineUnavailable, match=r"a tracker cannot be started \(\w+Error\)"):
        run("reward", tmp_path, trackers=("tensorboard",))
