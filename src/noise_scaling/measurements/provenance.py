"""Where a table came from: command, data, machine and package versions."""

import os
import platform
from importlib import metadata
from pathlib import Path

import pandas as pd

from .table import ERROR

_REPORTED = ("noise-scaling", "numpy", "scipy", "scikit-learn", "torch", "scvi-tools", "scanpy", "anndata", "numba")


def provenance(table: pd.DataFrame, command: str) -> dict[str, object]:
    """Where a table came from: command, rows, data and their sha256, devices, machine type and package versions.

    Parameters
    ----------
    table
        A measurements table.
    command
        The command that made the table.
    """
    data = table[table["data_sha256"] != ""].groupby("dataset")["data_sha256"].unique()
    return {
        "command": command,
        "rows": len(table),
        "failed_rows": int((table["status"] == ERROR).sum()),
        "data_sha256": {name: sorted(values) for name, values in data.items()},
        "devices": sorted(table["device"].unique()),
        "train_seconds": round(float(table["train_seconds"].sum()), 1),
        "mi_seconds": round(float(table["mi_seconds"].sum()), 1),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "processor": processor(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _REPORTED},
    }


def processor() -> str:
    """Return the processor's name and widest vector instructions, because the last digits of sums depend on them."""
    import torch  # imported here because it takes seconds, which reading a table should not

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"


def _version(package: str) -> str:
    """Return the version of a package, or "not installed": a machine that only trains need not have all."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
