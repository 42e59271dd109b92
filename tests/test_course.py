"""What a training, a rescoring and a teacher's cache say about their course: the plan, the end, where they go on."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from asr_rescore import kaldi
from asr_rescore.cli import rescoring_options
from asr_rescore.cli.main import main
from asr_rescore.config import TrainConfig, given_settings
from asr_rescore.programs.sources import ReadFiles
from asr_rescore.progress import progress_bar
from asr_rescore.rescoring.config import ListConfig
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.job import Job
from asr_rescore.training import loop
from asr_rescore.training.plan import may_end_early, plan
from small_text import prepare, write_text
from training_runs import go, make_run

TINY = "model: {embedding: 4, hidden: [6, 5], experts: 2}\n"


class TestPlan:
    def test_what_the_defaults_mean(self):
        assert plan(TrainConfig(), ()) == (
            "1000 epochs with no early end, SGD (lr 20, NT-ASGD's averaging after 5 epochs without gain), 12 streams "
            "in chunks of about 70 tokens; "
            "by default: optimizer, lr, schedule, epochs, patience, averaging, batch, bptt"
        )

    def test_what_somebody_chose(self):
        config = TrainConfig(optimizer="adamw", lr=0.01, schedule="cosine", epochs=40, patience=3, averaging="tail")
        given = {"optimizer", "lr", "schedule", "epochs", "patience", "averaging", "batch", "bptt"}
        assert plan(config, given) == (
            "up to 40 epochs with an end after 3 without a lower valid ppl, AdamW (lr 0.01, falling, averaging over "
            "the last 25% of the epochs), 12 streams in chunks of about 70 tokens"
        )

    def test_finetuning_ends_by_itself(self):
        assert may_end_early(TrainConfig(averaging="start")) and not may_end_early(TrainConfig())
        assert "an end when the valid ppl is no longer falling" in plan(TrainConfig(averaging="start"), ())

    def test_which_settings_are_given(self, tmp_path):
        (tmp_path / "one").write_text("train: {lr: 1.0}\nmodel:\n")
        (tmp_path / "two").write_text("train: {epochs: 2}\n")
        assert given_settings(tmp_path / "one", tmp_path / "two") == {
            "model": set(),
            "objective": set(),
            "train": {"lr", "epochs"},
        }


@pytest.mark.parametrize("config", ["", "# nothing\n", "train:\n", TINY])
@pytest.mark.parametrize("command", [["train_lm"], ["distill_lm", "teacher"]])
def test_a_config_that_says_nothing_of_the_training_is_refused(tmp_path, capsys, monkeypatch, config, command):
    monkeypatch.setattr("asr_rescore.checkpoint.load_model", None)  # it is refused before anything is read
    (tmp_path / "c.yaml").write_text(config)
    options = ["--config", f"{tmp_path}/c.yaml", "--train", "t", "--valid", "v"]
    assert main([command[0], *options, *command[1:], str(tmp_path / "lm")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "c.yaml: no setting of train: is given, and the defaults are 1000 epochs of SGD; set at least train.epo" in line
    )
    assert not (tmp_path / "lm").exists()


def test_the_commands_say_what_they_will_do(tmp_path, capsys):
    data = prepare(write_text(tmp_path / "text.gz"), tmp_path / "data", 8)
    (tmp_path / "c.yaml").write_text(f"{TINY}train: {{epochs: 1, batch: 4}}\n")
    options = ["--config", f"{tmp_path}/c.yaml", "--train", f"{data}/train.txt", "--valid", f"{data}/valid.txt"]
    capsys.readouterr()
    assert main(["train_lm", *options, str(tmp_path / "lm")]) == 0
    assert main(["distill_lm", *options, str(tmp_path / "lm"), str(tmp_path / "student")]) == 0
    said = capsys.readouterr().out
    for name in ("lm", "student"):
        assert f"{name}: 1 epoch with no early end, SGD (lr 20, " in said


class TestTraining:
    def test_how_long_the_rest_takes(self, tmp_path, caplog):
        with caplog.at_level(logging.INFO, logger="asr_rescore.training"):
            go(make_run(tmp_path / "lm", epochs=3, patience=3))
        first, second, last = caplog.messages
        assert all(line.split("tokens/s, ")[1].startswith("at most about ") for line in (first, second))
        assert last.endswith(" tokens/s")

    def test_where_it_goes_on_and_that_it_is_finished(self, tmp_path, monkeypatch, caplog):
        run = make_run(tmp_path / "lm", epochs=2, nonmono=1)
        step = loop.Trainer.step
        taken = []

        def interrupted(self, length):
            taken.append(self.state.progress.epoch)
            if taken.count(1) == 2:
                self.course_interrupt.wanted = True
            return step(self, length)

        start = loop.Trainer.start_or_resume

        def started(self, interrupt):
            self.course_interrupt = interrupt
            start(self, interrupt)

        monkeypatch.setattr(loop.Trainer, "step", interrupted)
        monkeypatch.setattr(loop.Trainer, "start_or_resume", started)
        with caplog.at_level(logging.INFO, logger="asr_rescore.training"):
            with pytest.raises(KeyboardInterrupt):
                go(run)
            saved = caplog.messages[-1]
            monkeypatch.setattr(loop.Trainer, "step", step)
            caplog.clear()
            go(run)
            continued = caplog.messages[0]
            caplog.clear()
            go(run)
        best = json.loads((run.directory / "log.jsonl").read_text().splitlines()[0])["valid_ppl"]
        place = f"in epoch 2 of 2, {saved.split(', ')[1]}, after step {len(taken)}; best valid ppl so far {best:.2f}"
        assert saved == f"{run.directory}: saved; the same command continues {place}"
        assert saved.split(", ")[1].endswith("% of it done")
        assert continued == f"{run.directory}: continues {place}"
        (finished,) = caplog.messages
        assert finished.startswith(f"{run.directory}: was finished before, in ")


class TestRescoring:
    def first_pass(self, decode: Path, utterances: int) -> FirstPass:
        return FirstPass(decode, kaldi.SymbolTable({"<eps>": 0}), frozenset(map(str, range(utterances))), ListConfig())

    def test_the_utterances_of_a_job_are_estimated_from_the_sizes_of_its_files(self, tmp_path):
        for number, size in ((1, 300), (2, 100)):
            (tmp_path / f"lat.{number}.gz").write_bytes(bytes(size))
        kaldi.write_num_jobs(tmp_path, 2)
        first_pass = self.first_pass(tmp_path, 80)
        assert first_pass.expected(Job.all(1)) == 80
        assert [first_pass.expected([job]) for job in Job.all(2)] == [60, 20]
        assert [first_pass.expected([job]) for job in Job.all(3)] == [
            30,
            20,
            30,
        ]  # two jobs take turns in the first file

    def test_empty_files(self, tmp_path):
        (tmp_path / "lat.1.gz").touch()
        kaldi.write_num_jobs(tmp_path, 1)
        assert self.first_pass(tmp_path, 3).expected(Job.all(1)) == 1

    def test_a_total_is_known_when_a_file_is_read(self, tmp_path):
        paths = [tmp_path / name for name in "abc"]
        for path, size in zip(paths, (10, 20, 10), strict=True):
            path.write_bytes(bytes(size))
        files = ReadFiles(paths, progress_bar("lists"))
        totals = []
        for _ in files.each():
            totals.append(files.bar.total)
            list(files.bar.passing("xyz"))
        assert totals == [None, 12, 8]  # 3 entries in 10 of 40 bytes, 6 in 30 of 40

    def test_jobs_that_were_finished_before_keep_their_time(self, rescore, capsys):
        assert rescore("--lm-weight", "0.5", "--nj", "2", "--job", "1")[0] == 0
        status, out = rescore("--lm-weight", "0.5", "--nj", "2")
        assert status == 0
        seconds = json.loads((out / "job.1.json").read_text())["seconds"]
        assert f" s, after jobs of {seconds:.1f} s that were finished before, peak memory" in capsys.readouterr().out
        marker = out / "job.1.json"  # as that of an earlier version
        marker.write_text(json.dumps({k: v for k, v in json.loads(marker.read_text()).items() if k != "seconds"}))
        assert rescore("--lm-weight", "0.5", "--nj", "2")[0] == 0

    def test_what_an_interrupted_one_keeps(self, rescore, capsys, monkeypatch):
        from asr_rescore.rescoring.run import Rescoring

        run_job = Rescoring.run_job

        def interrupted(self, job):
            if job.number == 2:
                raise KeyboardInterrupt
            run_job(self, job)

        monkeypatch.setattr(Rescoring, "run_job", interrupted)
        status, out = rescore("--lm-weight", "0.5", "--nj", "2")
        assert status == 130
        kept = f"{out}: 1 of 2 jobs are finished and kept; the same command continues with the next\n"
        assert capsys.readouterr().out.endswith(kept)

    def test_an_interrupted_job_speaks_only_of_itself(self, rescore, capsys, monkeypatch):
        from asr_rescore.rescoring.run import Rescoring

        def interrupted(self, job):
            raise KeyboardInterrupt

        monkeypatch.setattr(Rescoring, "run_job", interrupted)
        status, out = rescore("--lm-weight", "0.5", "--nj", "3", "--job", "2")
        assert status == 130
        said = f"{out}: job 2 of 3 is not finished; the same command begins it anew\n"
        assert capsys.readouterr().out.endswith(said)

    @pytest.mark.parametrize(("finished", "text"), [(0, "begins anew"), (2, "only gathers them")])
    def test_what_others_keep(self, finished, text):
        assert rescoring_options._what_is_kept(finished, 2).endswith(text)
