"""Kill a tiny sweep at random moments, fill its disk, truncate its files: its table must equal the undisturbed one.

python benchmarks/faults.py               100 kills; a stopped run continues from its log when started again
python benchmarks/faults.py --quick       3 kills, as the tests run it
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import yaml
from common import RESULTS, machine, report, table

from noise_scaling import measurements

ROOT = Path(__file__).resolve().parents[1]
MARK = "NOISE_SCALING_FAULTS"  # environment variable of every process of a sweep: it identifies orphans too
KINDS = ("worker", "kernel", "snakemake", "papermill", "launcher")
LIFE = {"worker": 0.3, "kernel": 1.0, "papermill": 1.0, "snakemake": 2.0, "launcher": 2.0}
"""Longest wait, in seconds, from finding a process to killing it: about the shortest life of each kind."""
KILLS_A_SWEEP = 8
SWEEP = {
    "preset": "small", "estimators": ["default"], "device": "cpu", "seeds": [0], "unit_seconds": 300,
    "models": ["random_projection", "pca"], "jobs": "depth",
    "datasets": {"pbmc68k": {"cell_numbers": [50, 100], "fractions": [1, 0.1]}},
}  # fmt: skip
N_ROWS = 8


class Sweep:
    """A tiny sweep in its own folder, to be started, watched, killed and restarted."""

    def __init__(self, folder: Path, /, **changes: object) -> None:
        self.folder, self.run_folder = folder, Path(changes.pop("folder", folder / "run"))
        self.config = folder / "sweep.yml"
        folder.mkdir(parents=True, exist_ok=True)
        self.write(**changes)
        self.mark = uuid.uuid4().hex
        self.log = folder / "log.txt"

    def write(self, **changes: object) -> None:
        self.config.write_text(yaml.safe_dump(SWEEP | {"folder": str(self.run_folder)} | changes))

    @property
    def csv(self) -> Path:
        return self.run_folder / "measurements.csv"

    def start(self, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "workflow/run.py", str(self.config), str(self.csv), "--cores", "2"]
        own = os.environ | {MARK: self.mark} | environment
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=own, stdout=log, stderr=log, start_new_session=True)

    def finish(self, seconds: float = 900, **environment: str) -> None:
        """Start the sweep until it succeeds; it fails while processes left by a killed launcher hold the lock."""
        until = time.monotonic() + seconds
        while self.start(**environment).wait() != 0:
            if time.monotonic() > until:
                raise RuntimeError(f"not done after {seconds:g} s:\n{self.log.read_text()[-3000:]}")
            time.sleep(2)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the running processes of this sweep by kind, including orphans."""
        found: dict[str, list[psutil.Process]] = {kind: [] for kind in KINDS}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark and (kind := _kind(process)):
                    found[kind].append(process)
        return found

    def stop(self) -> None:
        """Kill all processes of this sweep that still run."""
        for processes in self.processes().values():
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def numbers(self) -> bytes:
        """Return the final table, without its columns of clock readings, as bytes."""
        return measurements.read(self.csv).drop(columns=measurements.TIMES).to_csv(index=False).encode()


def _kind(process: psutil.Process) -> str | None:
    """Return a process's kind, or None; a worker is a fork of a kernel and has the kernel's command line."""
    line = process.cmdline()
    if "ipykernel_launcher" in line:
        return "worker" if (parent := process.parent()) is not None and parent.cmdline() == line else "kernel"
    if any(word.endswith("/papermill") for word in line[:2]):
        return "papermill"
    if line[1:3] == ["-m", "snakemake"]:
        return "snakemake"
    return "launcher" if "workflow/run.py" in line[1:2] else None


def disturbed(folder: Path, seconds: float, seed: int, at_most: int, first: int) -> tuple[Sweep, list[dict]]:
    """Run one sweep that is killed up to `at_most` times, restarted after each kill, and then left to finish.

    The kinds of process take turns, starting with number `first`. The search for a process begins a random time after
    the last kill, at most an eighth of the duration of an undisturbed sweep; the process is killed a random time after
    it is found. A sweep that finishes earlier is killed fewer times.
    """
    draw, sweep, kills = random.Random(seed), Sweep(folder), []
    run, started = sweep.start(), time.monotonic()
    while len(kills) < at_most:
        kind = KINDS[(first + len(kills)) % len(KINDS)]
        victim = _await(sweep, run, kind, time.monotonic() + draw.uniform(0, seconds / 8))
        if victim is None:
            break
        time.sleep(draw.uniform(0, LIFE[kind]))
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
        kills.append({"kind": kind, "second": round(time.monotonic() - started, 2)})
        run = _again(sweep, run) if kind in ("snakemake", "launcher") else run
    if run.wait() != 0:
        sweep.finish()
    return sweep, kills


def _again(sweep: Sweep, run: subprocess.Popen) -> subprocess.Popen:
    """Restart a sweep whose launcher or Snakemake was killed; retry while another run holds the lock."""
    while True:
        run.wait()
        run = sweep.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if run.wait(timeout=1.5) == 2:
                continue
        return run


def _await(sweep: Sweep, run: subprocess.Popen, kind: str, due: float) -> psutil.Process | None:
    """Wait for a process of this kind, at least until `due`, and return it; None if the run ends first."""
    while run.poll() is None:
        if time.monotonic() >= due and (found := sweep.processes()[kind]):
            return found[0]
        time.sleep(0.02)
    return None


def kill_at_random(wanted: int, until: float, log: Path, undisturbed: Sweep, seconds: float) -> list[dict]:
    """Disturb sweeps until the log has `wanted` kills or the time is up; return the log's records."""
    expected = undisturbed.numbers()
    while _n_kills(log) < wanted and time.monotonic() < until:
        seed, done = len(_records(log)), _n_kills(log)
        with tempfile.TemporaryDirectory() as folder:
            sweep, kills = disturbed(Path(folder), seconds, seed, min(KILLS_A_SWEEP, wanted - done), done)
            try:
                record = {
                    "seed": seed, "kills": kills, "identical": sweep.numbers() == expected,
                    "rows": len(measurements.read(sweep.csv)), "left_over": _left_over(sweep.run_folder),
                }  # fmt: skip
            finally:
                sweep.stop()
        with log.open("a") as file:
            file.write(json.dumps(record) + "\n")
    return _records(log)


def _left_over(folder: Path) -> int:
    """Count the temporary files that killed processes left in the folder: hidden files that no result uses."""
    return sum(path.name != ".lock" for path in folder.rglob(".*"))


def _records(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _n_kills(log: Path) -> int:
    return sum(len(record["kills"]) for record in _records(log))


# ---- other faults: each function gets a folder and the undisturbed sweep's numbers, and returns its observations


def truncated_files(folder: Path, expected: bytes) -> str:
    """Cut every unit and slice file in half and remove the table; after a first start, remove the slices too."""
    sweep = Sweep(folder)
    sweep.finish()
    for path in [*sweep.run_folder.rglob("units/*/*.json"), *sweep.run_folder.rglob("slices/*/*.csv")]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sweep.csv.unlink()
    sweep.start().wait()
    refused = not sweep.csv.exists()
    for path in sweep.run_folder.rglob("slices/*/*.csv"):
        path.unlink()
    sweep.finish()
    return _same(sweep, expected) + (", after a cut slice was refused" if refused else ", although a slice was cut")


def a_unit_that_raises(folder: Path, expected: bytes) -> str:
    """Add a unit that raises, PCA on two cells; the other units must be measured."""
    sweep = Sweep(folder, datasets={"pbmc68k": {"cell_numbers": [2, 50, 100], "fractions": [1, 0.1]}})
    sweep.finish()
    rows = measurements.read(sweep.csv)
    failed = rows[rows["status"] == measurements.ERROR]
    kept = rows[rows["n_cells"] > 2].drop(columns=measurements.TIMES).to_csv(index=False).encode()
    same = "identical" if kept == expected else "DIFFERENT"
    return f"{len(failed)} failed rows ({failed['error'].iloc[0][:46]}...), the others {same}"


def a_unit_that_hangs(folder: Path, expected: bytes) -> str:
    """Set a time limit that stops every unit, which gives failed rows; with a sound limit all are measured."""
    sweep = Sweep(folder, unit_seconds=0.001)
    sweep.finish()
    rows = measurements.read(sweep.csv)
    stopped = int(rows["error"].str.startswith("TimeLimit").sum())
    sweep.write()
    sweep.finish()
    return f"{stopped} of {len(rows)} rows stopped; then, with a sound limit, {_same(sweep, expected)}"


def another_clock_and_locale(folder: Path, expected: bytes) -> str:
    """Run half the sweep, date its files to 1970 and 2100, and run the rest in another time zone and locale."""
    sweep = Sweep(folder, datasets={"pbmc68k": {"cell_numbers": [50, 100], "fractions": [1]}})
    sweep.finish(TZ="Asia/Kolkata", LC_ALL="C")
    for i, path in enumerate(sorted(path for path in sweep.run_folder.rglob("*") if path.is_file())):
        stamp = 0 if i % 2 else 4102444800
        os.utime(path, (stamp, stamp))
    sweep.write()
    sweep.finish(TZ="America/St_Johns", LC_ALL="POSIX", LANG="de_DE.UTF-8")
    return _same(sweep, expected)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Callable[[str], None]]:
    """Mount a small file system in memory; yield a function that remounts it with other options."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)
    try:
        yield lambda other: subprocess.run(["mount", "-o", f"remount,{other}", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def a_full_disk(folder: Path, expected: bytes) -> str:
    """Give the sweep a disk of 24 KB for all its files, and then a large enough one."""
    with mounted(folder / "disk", "size=24k") as remount:
        sweep = Sweep(folder, folder=folder / "disk" / "run")
        code = sweep.start().wait()
        said = "No space left on device" in sweep.log.read_text()
        remount("size=20m")
        sweep.finish()
        return f"exit {code}, {'said so' if said else 'DID NOT SAY SO'}; with room again {_same(sweep, expected)}"


def a_read_only_folder(folder: Path, expected: bytes) -> str:
    """Mount the sweep's folder read-only (permissions alone would not stop root), and then writable."""
    with mounted(folder / "disk", "size=20m") as remount:
        sweep = Sweep(folder, folder=folder / "disk" / "run")
        sweep.run_folder.mkdir()
        remount("ro")
        code = sweep.start().wait()
        said = "Read-only file system" in sweep.log.read_text()
        remount("rw")
        sweep.finish()
        return f"exit {code}, {'said so' if said else 'DID NOT SAY SO'}; writable again {_same(sweep, expected)}"


def two_jobs_on_one_folder(folder: Path, expected: bytes) -> str:
    """Run two `noise-scaling measure` at once on one folder and table, then two sweeps, one of which is refused."""
    code = "import sys; from noise_scaling.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [
        sys.executable, "-c", code, "measure", "--dataset", "pbmc68k", "--models", "random_projection", "pca",
        "--cell-numbers", "50", "100", "--fractions", "1", "0.1", "--results", folder / "units",
        "--output", folder / "table.csv",
    ]  # fmt: skip
    pair = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    codes = [process.wait() for process in pair]
    rows = measurements.read(folder / "table.csv").drop(columns=measurements.TIMES).to_csv(index=False).encode()
    sweep = Sweep(folder / "sweep")
    one = sweep.start()
    time.sleep(1)
    refused = sweep.start().wait()
    one.wait()
    same = "identical" if rows == expected else "DIFFERENT"
    return (
        f"exits {codes}, table {same}; a second sweep is refused (exit {refused}), the first {_same(sweep, expected)}"
    )


def _same(sweep: Sweep, expected: bytes) -> str:
    return "identical" if sweep.numbers() == expected else "DIFFERENT"


FAULTS = {
    "files cut off by hand": truncated_files, "a unit that raises": a_unit_that_raises,
    "a unit that hangs": a_unit_that_hangs, "clock and locale changed": another_clock_and_locale,
    "disk full": a_full_disk, "folder read-only": a_read_only_folder, "two jobs on one folder": two_jobs_on_one_folder,
}  # fmt: skip


def others(log: Path, expected: bytes, until: float) -> dict[str, str]:
    """Return the outcome of each other fault; faults that are in the log are not repeated."""
    seen = json.loads(log.read_text()) if log.exists() else {}
    for name, fault in FAULTS.items():
        if name in seen or time.monotonic() > until:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                seen[name] = fault(Path(folder), expected)
            except (subprocess.CalledProcessError, FileNotFoundError) as error:
                seen[name] = f"not run: this user may not mount a file system ({type(error).__name__})"
        log.write_text(json.dumps(seen, indent=1))
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 kills and no other fault")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop in between after so long, to be started again")
    parser.add_argument("--log", type=Path, default=ROOT / "build" / "faults", help="folder of what was done so far")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    until, where = time.monotonic() + 60 * options.minutes, machine("noise-scaling", "snakemake", "papermill")
    options.log.mkdir(parents=True, exist_ok=True)
    undisturbed = Sweep(options.log / "undisturbed")
    seconds = _length(undisturbed, options.log / "seconds.json")
    expected = undisturbed.numbers()
    wanted = 3 if options.quick else options.kills
    seen = {} if options.quick else others(options.log / "others.json", expected, until)
    records = kill_at_random(wanted, until, options.log / "kills.jsonl", undisturbed, seconds)
    write(options.results, where, records, seen, seconds)
    sound = all(record["identical"] and record["rows"] == N_ROWS for record in records)
    return 0 if sound and not any("DIFFERENT" in text or "DID NOT" in text for text in seen.values()) else 1


def _length(undisturbed: Sweep, kept: Path) -> float:
    """Return the seconds of the undisturbed sweep, which is run only once."""
    if kept.exists() and undisturbed.csv.exists():
        return json.loads(kept.read_text())
    start = time.monotonic()
    undisturbed.finish()
    kept.write_text(json.dumps(time.monotonic() - start))
    return json.loads(kept.read_text())


def write(results: Path, where: dict, records: list[dict], seen: dict[str, str], seconds: float) -> None:
    kills = [kill["kind"] for record in records for kill in record["kills"]]
    by_kind = [[kind, kills.count(kind)] for kind in KINDS]
    identical = sum(record["identical"] for record in records)
    rows = sum(record["rows"] == N_ROWS for record in records)
    text = (
        f"A sweep of {N_ROWS} units (pbmc68k, random projection and PCA, 2 numbers of cells, 2 depths; 2 jobs, "
        f"{seconds:.0f} s undisturbed) is killed with signal 9 at random moments, up to "
        f"{KILLS_A_SWEEP} times, and started again each time. {len(kills)} kills in {len(records)} sweeps: {identical} "
        f"of {len(records)} final tables are byte-identical to the undisturbed one, {rows} have each of the {N_ROWS} "
        "rows once. The two columns of clock readings (train_seconds, mi_seconds) are left out of the comparison: a "
        "unit that was measured anew has read the clock anew. All else is compared as text, to the last digit."
    )
    parts = [text, table(["killed", "times"], by_kind)]
    if seen:
        parts += ["Other faults:", table(["fault", "what came of it"], [[name, said] for name, said in seen.items()])]
    report(results, "faults", "Faults", where, parts, {"kills": records, "others": seen, "seconds": seconds})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
