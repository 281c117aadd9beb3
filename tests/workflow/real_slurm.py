"""The Slurm profile on a real Slurm: .ci/slurm starts one on this machine and runs this file; `make test` does not.

Six jobs on a node of fewer CPUs, so that a queue forms; jobs that are cancelled or hold too much memory; a driver that
is killed; a node that dies; a refused job. The table is that of a run without Slurm, and every submission is counted.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest
import yaml

from noise_scaling import measurements

SWEEP = {
    "preset": "small", "estimators": ["default"], "device": "cpu", "seeds": [0, 1], "jobs": "depth",
    "models": ["random_projection", "pca"],
    "datasets": {"pbmc68k": {"cell_numbers": [50, 100], "fractions": [1, 0.3, 0.1]}},
}  # fmt: skip
ONE = SWEEP | {"seeds": [0], "unit_seconds": 300, "datasets": {"pbmc68k": {"cell_numbers": [50], "fractions": [0.1]}}}


class Sweep:
    """A configuration in a folder of its own, and the profile with short waits, logs kept there, and `changes`."""

    def __init__(self, root, folder, config, **changes):
        self.root, self.folder = root, folder
        self.config, self.profile, self.table = folder / "c.yml", folder / "slurm", folder / "run/measurements.csv"
        self.config.write_text(yaml.safe_dump(config | {"folder": str(folder / "run")}))
        profile = yaml.safe_load((root / "workflow/profiles/slurm/config.yaml").read_text())
        waits = {"slurm-init-seconds-before-status-checks": 2, "seconds-between-status-checks": 2, "latency-wait": 10}
        self.profile.mkdir()
        text = yaml.safe_dump(profile | waits | {"slurm-logdir": str(folder / "slurm_logs")} | changes)
        (self.profile / "config.yaml").write_text(text)

    def start(self, *command):
        words = [*(command or (sys.executable, "workflow/run.py", self.config, self.table)), "--profile", self.profile]
        return subprocess.Popen(words, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self, process, code=0):
        said = process.communicate(timeout=900)[0]
        assert process.returncode == code, said + self.log()
        return said

    def log(self):
        path = self.folder / "run/run.log"
        return path.read_text() if path.exists() else ""

    def submissions(self, said=None):
        """How often each job was sent to Slurm, by the driver's log."""
        return Counter(re.findall(r"^Job (\d+) has been submitted with SLURM jobid", said or self.log(), re.M))

    def tried_inside(self):
        """Whether a job tried again by itself, as kept logs of failed jobs say."""
        return any("Trying to restart" in path.read_text() for path in self.folder.rglob("slurm_logs/**/*.log"))

    def numbers(self):
        return measurements.read(self.table).drop(columns=measurements.TIMES)


def queue(state):
    command = ["squeue", "--me", "--noheader", "--format=%i", f"--states={state}"]
    return subprocess.check_output(command, text=True).split()


def soon(look, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen")


@pytest.fixture(scope="module")
def expected(root, tmp_path_factory):
    """The table of a run without Slurm."""
    sweep = Sweep(root, tmp_path_factory.mktemp("without"), SWEEP)
    subprocess.run([sys.executable, "workflow/run.py", sweep.config, sweep.table], cwd=root, check=True)
    table = sweep.numbers()
    assert len(table) == 24
    assert (table["status"] == measurements.OK).all()
    return table


@pytest.fixture(autouse=True)
def clean():
    yield
    assert not queue("running,pending")


def test_a_full_queue_gives_the_table_of_a_run_without_slurm(root, tmp_path, expected):
    sweep = Sweep(root, tmp_path, SWEEP)
    running = sweep.start("snakemake", "--nolock", sweep.table, "--configfile", sweep.config)
    soon(lambda: queue("running") and len(queue("running")) < len(queue("running,pending")) == 6)
    said = sweep.finish(running)
    assert sorted(sweep.submissions(said).values()) == [1] * 6
    assert sweep.numbers().equals(expected)


def test_a_cancelled_job_and_a_killed_driver_leave_the_same_table(root, tmp_path, expected):
    """The killed driver's jobs are cancelled by the next, so that none writes when the table is there."""
    sweep = Sweep(root, tmp_path, SWEEP)
    running = sweep.start()
    first = soon(lambda: queue("running"))[0]
    subprocess.run(["scancel", first], check=True)
    soon(lambda: 2 in sweep.submissions().values())
    soon(lambda: queue("running"))
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    left = queue("running,pending")
    assert left
    sweep.finish(sweep.start())
    assert set(left) <= set(queue("cancelled"))
    assert not set(sweep.submissions().values()) - {1}
    assert sweep.numbers().equals(expected)


def test_a_job_that_needs_more_memory_gets_it_at_the_second_attempt(root, tmp_path, expected):
    enough = {"set-resources": {"measure": {"mem_mb": "1000 if attempt == 1 else 4000"}}}
    sweep = Sweep(root, tmp_path, ONE, **enough)
    sweep.finish(sweep.start())
    assert list(sweep.submissions().values()) == [2]
    assert sweep.numbers().equals(of_one(expected, sweep))


def test_a_job_whose_node_dies_is_sent_again(root, tmp_path, expected):
    """Slurm's daemon and all that the job had started are killed at once; the node comes back while the job waits."""
    sweep = Sweep(root, tmp_path, ONE)
    running = sweep.start()
    (job,) = soon(lambda: queue("running"))
    soon(lambda: "papermill" in " ".join(" ".join(process.cmdline()) for process in of_the_node(job)))
    pids = [str(process.pid) for process in of_the_node(job)]
    as_root("kill", "-KILL", *pids)
    as_root("scontrol", "update", "nodename=ALL", "state=down", "reason=died")
    soon(lambda: 2 in sweep.submissions().values())
    assert not queue("running")
    as_root("slurmd")
    sweep.finish(running)
    assert list(sweep.submissions().values()) == [2]
    assert sweep.numbers().equals(of_one(expected, sweep))


def of_the_node(job):
    """The node's daemon, and the processes of a job on it."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        name, words = process.info["name"], " ".join(process.info["cmdline"] or ())
        found += [process] if name == "slurmd" else []
        if name.startswith("slurmstepd") and f"[{job}." in words:
            found += [process, *process.children(recursive=True)]
    return found


def as_root(*words):
    subprocess.run([*(["sudo"] if os.geteuid() else []), *words], check=True)


def of_one(expected, sweep):
    """Those rows of the table without Slurm that a smaller sweep has too."""
    key = measurements.KEY
    return sweep.numbers()[key].merge(expected, on=key)[sweep.numbers().columns]


def test_what_never_gets_enough_is_sent_three_times_and_no_more(root, tmp_path):
    limits = {"limits": {"measure": {"mem_mb": 300}}}
    sweep = Sweep(root, tmp_path, ONE | limits)
    said = sweep.finish(sweep.start(), code=1)
    assert list(sweep.submissions().values()) == [3]
    assert not sweep.tried_inside()
    assert "Measure protocol/pbmc68k_q0.1_seed0_cpu failed: " in said
    assert "1 of 1 jobs of measure would ask for up to" in sweep.log()
    assert not sweep.table.exists()


def test_a_refusal_is_rows_after_one_submission(root, tmp_path):
    cells = ONE["datasets"]["pbmc68k"]
    config = ONE | {"datasets": {"pbmc68k": cells, "pbmc68k_mood": cells | {"dataset": "pbmc68k", "signal": "mood"}}}
    sweep = Sweep(root, tmp_path, config)
    said = sweep.finish(sweep.start())
    assert list(sweep.submissions().values()) == [1, 1]
    rows = sweep.numbers().set_index(["signal", "model"])[["status", "error"]]
    assert rows["status"].to_dict() == {
        ("bulk_labels", "pca"): "ok", ("bulk_labels", "random_projection"): "ok",
        ("mood", "pca"): "error", ("mood", "random_projection"): "error",
    }  # fmt: skip
    (sentence,) = rows.loc["mood", "error"].unique()
    assert sentence.startswith("InputError: unknown signal of 'pbmc68k' 'mood'")
    assert "Warning: 2 of 4 measurements failed" in said
