"""The Slurm profile through its Snakemake plugin, with a stand-in for Slurm that runs jobs where they are sent."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from noise_scaling import measurements
from noise_scaling.measure import cost
from noise_scaling.measure.grid import jobs

TINY = {
    "preset": "small", "estimators": ["default"], "device": "auto", "seeds": [0],
    "models": ["pca", "untrained_geneformer"],
    "datasets": {"pbmc68k": {"cell_numbers": [50], "fractions": [0.1]}},
}  # fmt: skip

LIMITS = {"measure": {"mem_mb": 1900, "runtime": 1}, "measure_gpu": {"mem_mb": 10**6}}

SBATCH = """#!{python}
import os, subprocess, sys
arguments, number = sys.argv[1:], os.getpid()
wrapped = next(a.split("=", 1)[1] for a in arguments if a.startswith("--wrap="))
with open("{folder}/calls", "a") as calls:
    calls.write(" ".join(a for a in arguments if not a.startswith("--wrap=")) + "\\n")
environment = os.environ | {{"SLURM_JOB_ID": str(number)}}
with open("{folder}/log", "a") as log:
    code = subprocess.run(wrapped, shell=True, env=environment, stdout=log, stderr=log).returncode
with open("{folder}/jobs", "a") as ended:
    ended.write(f"{{number}}|{{'FAILED' if code else 'COMPLETED'}}\\n")
print(number)
"""
SRUN = """#!{python}
import subprocess, sys
arguments = sys.argv[1:]
while arguments[0].startswith("-"):
    arguments.pop(0)
sys.exit(subprocess.run(arguments).returncode)
"""
SACCT = "#!/bin/sh\ncat {folder}/jobs\n"


def stand_in(folder: Path) -> Path:
    """Commands of Slurm that note what they were asked for, and run it at once."""
    (folder / "bin").mkdir()
    scripts = {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}
    scripts |= dict.fromkeys(("sinfo", "sacctmgr", "scontrol", "squeue"), "#!/bin/sh\nexit 0\n")
    for name, text in scripts.items():
        path = folder / "bin" / name
        path.write_text(text.format(python=sys.executable, folder=folder))
        path.chmod(0o755)
    (folder / "jobs").touch()
    return folder / "bin"


def test_jobs_ask_slurm_for_memory_time_and_a_card(root, tmp_path):
    """By the formulas, up to the limits that the profile holds: here the CPU job's are too low."""
    profile = yaml.safe_load((root / "workflow/profiles/slurm/config.yaml").read_text())
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile/config.yaml").write_text(yaml.safe_dump(profile | {"config": {"limits": LIMITS}}))
    config = TINY | {"folder": str(tmp_path / "run")}
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump(config))
    path = os.pathsep.join([str(stand_in(tmp_path)), str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [
        sys.executable, "-m", "snakemake", str(tmp_path / "run" / "measurements.csv"),
        "--profile", str(tmp_path / "profile"), "--configfile", str(tmp_path / "tiny.yml"),
        "--nolock", "--slurm-logdir", str(tmp_path / "logs"), "--slurm-no-account",
        "--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1",
        "--default-resources", "slurm_partition=batch",
    ]  # fmt: skip
    run = subprocess.run(
        command, cwd=root, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-3000:] + (tmp_path / "log").read_text()[-3000:]
    rows = measurements.read(tmp_path / "run" / "measurements.csv")
    assert rows[["model", "status"]].values.tolist() == [["pca", "ok"], ["untrained_geneformer", "ok"]]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "1 of 1 jobs of measure would ask for up to 2," in run.stderr + run.stdout
    for job in jobs(config):
        (call,) = (call for call in calls if re.search(rf"_{job.part}\b", call))
        asked = {"cpu": (1900, 1), "gpu": (cost.memory_mb(job), cost.runtime_minutes(job))}[job.part]
        assert f"--mem {asked[0]} " in f"{call} "
        assert f"-t {asked[1]} " in f"{call} "
        assert ("--gpus=1" in call) == (job.part == "gpu")
