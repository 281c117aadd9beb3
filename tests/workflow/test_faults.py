"""The short form of benchmarks/faults.py: a worker, a kernel and Snakemake killed, the sweep resumed each time."""

import json
import subprocess
import sys


def test_three_kills_leave_the_undisturbed_table(root, tmp_path):
    command = [sys.executable, "benchmarks/faults.py", "--quick", "--log", tmp_path, "--results", tmp_path / "results"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, (run.stdout + run.stderr)[-3000:]
    records = json.loads((tmp_path / "results" / "faults.json").read_text())["kills"]
    assert [kill["kind"] for record in records for kill in record["kills"]] == ["worker", "kernel", "snakemake"]
    assert all(record["identical"] and record["rows"] == 8 for record in records)
