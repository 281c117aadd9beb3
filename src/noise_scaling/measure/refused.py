"""Failed rows for a job that was refused with an InputError: the error would come again, so the job is not retried.

python -m noise_scaling.measure.refused EXECUTED_NOTEBOOK TABLE: 0 if the notebook ended with an InputError, else 1.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .. import __version__, measurements
from ..errors import InputError
from .grid import row_keys


def refusal(notebook: Mapping[str, Any]) -> str:
    """Return the message of the InputError that ended an executed notebook (nbformat's JSON), "" if none did."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    *_, last = {}, *(output for output in outputs if output["output_type"] == "error")
    return f"{last['ename']}: {last['evalue']}" if last.get("ename") == InputError.__name__ else ""


def rows(parameters: Mapping[str, Any], error: str) -> pd.DataFrame:
    """Return a failed row with the message `error` for each measurement that a job's `parameters` ask for."""
    said = {"device": parameters["device"], "status": measurements.ERROR, "error": error, "version": __version__}
    return measurements.sort(measurements.BLANK | key | said for key in row_keys(parameters))


def main(executed: str, table: str) -> int:
    """Write failed rows and return 0 if an InputError ended the notebook, else return 1."""
    path = Path(executed)
    notebook = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cells": []}
    error = refusal(notebook)
    if error:
        measurements.write(rows(notebook["metadata"]["papermill"]["parameters"], error), table)
    return 0 if error else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
