"""`noise-scaling`: a thin command line over the package's functions."""

import argparse
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import __version__
from .errors import InputError
from .files import write_atomically

INTERRUPTED, TERMINATED, BROKEN_PIPE = (128 + number for number in (signal.SIGINT, signal.SIGTERM, 13))
"""Exit statuses, as in a shell, after Ctrl-C, after kill, and if the reader of a pipe closed it (`| head`)."""


class Terminated(BaseException):
    """Raised on SIGTERM; not an Exception, so that no code that handles errors catches it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (see `answer`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, but progress bars and print need them
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    options = _parser().parse_args(arguments)
    return answer(lambda: _run(options))


def _run(options: argparse.Namespace) -> int | None:
    try:
        os.getcwd()
    except FileNotFoundError:  # libraries crash in a removed folder
        raise InputError("the working folder is no longer there: change to another one") from None
    output = vars(options).get("output")
    for name in ("output", "results", "tables"):  # an empty path would mean the working folder
        value = vars(options).get(name)
        if value is not None and not all(map(str.strip, [value] if isinstance(value, str) else value)):
            raise InputError(f"{'--' * (name != 'tables')}{name} is empty: name a file or folder")
    for source in filter(None, map(vars(options).get, ("measurements", "pilot", "prices"))):
        if output and os.path.exists(output) and os.path.realpath(source) == os.path.realpath(output):
            raise InputError(f"--output {output} would take the place of the table itself: name another file")
    return vars(options).pop("run")(options)


def answer(call: Callable[[], int | None]) -> int:
    """Return the status that `call` returns (None: 0); 2, with one sentence on stderr, if it raised InputError.

    130 and 143, with a sentence, if it was interrupted or terminated; 141 if the reader of the output is gone. An
    OSError is raised again, unless the reader is gone or the disk is full (status 2).
    """
    try:
        with _terminable():
            status = call() or 0
            if sys.stdout is not None:
                sys.stdout.flush()  # else a full disk or a missing reader shows only after the end
            return status
    except InputError as error:
        return _stopped(str(error), 2)
    except KeyboardInterrupt:
        return _stopped("interrupted; what was finished is kept, run the same command to go on", INTERRUPTED)
    except Terminated:
        return _stopped("terminated; what was finished is kept, run the same command to go on", TERMINATED)
    except BrokenPipeError:
        _let_nobody_read()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _let_nobody_read()
        return _stopped("the disk that takes what is printed is full: free it, or print elsewhere", 2)


def _let_nobody_read() -> None:
    """Discard what is still to be printed, because Python flushes the streams once more at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):  # OSError: stderr has no reader either
            if stream is sys.stderr:
                stream.flush()
                continue
        os.dup2(nowhere, stream.fileno())


def _stopped(said: str, status: int) -> int:
    with suppress(OSError):  # stderr on a full disk: the status still says it
        print(f"noise-scaling: {said}", file=sys.stderr, flush=True)
    return status


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise Terminated on SIGTERM inside this context, so that resources are closed and the exit status says it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


class _Parser(argparse.ArgumentParser):
    """Parser that imports the registries, for their names, only when help is shown, because that takes seconds."""

    def format_help(self) -> str:
        for action in self._actions:
            if action.help and "NAMES" in action.help:
                action.help = action.help.replace("NAMES", _names(action.dest).replace("%", "%%"))
        return super().format_help()


def _names(option: str) -> str:
    from . import datasets, information, laws, measurements, models
    from .measure import ablations, controls
    from .plots import page

    presets = dict.fromkeys(preset for model in models.MODELS.values() for preset in model.PRESETS)
    registries = {
        "models": [*models.MODELS, *controls.CONTROLS], "preset": presets, "estimators": information.METHODS,
        "embedding": models.MODELS, "estimator": information.METHODS,
        "variant": [*filter(None, ablations.VARIANTS), "fixed_steps_N", "width_N", "dims_N", "blocks_N"],
        "dataset": datasets.names(), "law": laws.LAWS, "figure": page.FIGURES, "by": measurements.KEY,
    }  # fmt: skip
    return ", ".join(registries[option])


def _parser() -> argparse.ArgumentParser:
    from .measure.command import add_check_options, add_measure_options, add_thin_options
    from .plan.options import add_options as plan_options

    about = "How the information in cell embeddings grows with depth and cells."
    parser = _Parser(prog="noise-scaling", description=about)
    parser.add_argument("--version", action="version", version=f"noise-scaling {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_measure_options(
        _add(commands, "measure", _measure, "measure a slice of the grid: bits by model, cells, depth and seed")
    )
    add_thin_options(_add(commands, "thin", _thin, "write a file at other depths, for embeddings made elsewhere"))
    add_check_options(_add(commands, "check", _check, "say whether an estimate on your own pairs can be trusted"))
    gather = _add(commands, "gather", _gather, "join measurement tables into one, sorted and checked")
    gather.add_argument("tables", nargs="+", help="CSV files, or a folder of kept units such as build/campaign/units")
    gather.add_argument("--output", required=True, help="the CSV; its provenance goes beside it")
    gather.add_argument("--first-wins", action="store_true", help="where two rows differ, keep the first: no error")
    gather.add_argument("--rows", type=int, help="how many there must be")
    gather.add_argument("--command", help="what made the tables, for the provenance")
    restore = _add(commands, "restore", _restore, "keep a table's rows as finished units, so that a sweep goes on")
    restore.add_argument("table", help="a measurements CSV or a folder of them")
    restore.add_argument("--results", required=True, help="the folder of units, such as build/campaign/units")
    state = _add(commands, "status", _status, "say what of a sweep is done, failed or missing, and the time it takes")
    usual = ["workflow/config/campaign.yml"]
    state.add_argument("configs", nargs="*", default=usual, help="the sweep's configurations")
    state.add_argument("--measurements", help="a table or a folder of tables (default: the units of the sweep so far)")
    state.add_argument("--by", nargs="+", default=["dataset", "model"], help="columns to count by: NAMES")
    fits = _add(commands, "fit", _fit, "fit a scaling law to every curve of a table")
    fits.add_argument("measurements", help='a measurements CSV, or "published"')
    fits.add_argument("--law", default="noise_law", help="NAMES (default: %(default)s)")
    fits.add_argument("--output", help="the CSV to write; printed where none is named")
    figure = _add(commands, "figure", _figure, "draw a figure of the paper from a table")
    figure.add_argument("figure", help="NAMES (figures 1, 2 and 3)")
    figure.add_argument("measurements", help='a measurements CSV, or "published"')
    figure.add_argument("--output", required=True, help="the PNG to write")
    cards = _add(commands, "datasets", _datasets, "list the data sets, or show one's card")
    cards.add_argument("name", nargs="?", help="a data set")
    plan_options(_add(commands, "plan", _plan, "find the cells and depth that buy most for a budget"))
    fetch = _add(commands, "fetch", _fetch, "download all files of a data set, checked by sha256")
    fetch.add_argument("name", help="a data set, or published")
    return parser


def _add(commands: Any, name: str, run: Callable, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _measure(options: argparse.Namespace) -> int:
    from .measure import run as measure
    from .measurements import ERROR
    from .models.team import place

    table = measure.measure(**vars(options))
    if place()[0]:
        return 0  # the first process prints the result
    errors = table.loc[table["status"] == ERROR, "error"]
    if len(errors) == len(table):
        return _stopped(f"all {len(table)} rows failed, they are in {options.output}; the first: {errors.iloc[0]}", 1)
    failed = f", {len(errors)} of them failed: see their error" if len(errors) else ""
    print(f"{len(table)} rows in {options.output}{failed}")
    return 0


def _thin(options: argparse.Namespace) -> None:
    from .measure.brought import thin

    print(*thin(**vars(options)), sep="\n")


def _check(options: argparse.Namespace) -> None:
    from .measure import request
    from .measure.check import check

    settings = {k: v for k, v in vars(options).items() if k not in ("output", "json")}
    if options.output is not None:
        request.check_folder("output", Path(options.output))
    report = check(**settings)
    print(*report.notes, sep="\n", file=sys.stderr)
    if options.output is not None:
        from .plots import check as page

        page.write(report, options.output)
    print(json.dumps(report.as_dict(), indent=1) if options.json else report)


def _status(options: argparse.Namespace) -> None:
    from .measure import status

    print(status.report(status.completeness(options.configs, options.measurements), options.by))


def _restore(options: argparse.Namespace) -> None:
    from . import measurements

    added = measurements.restore(measurements.read(options.table), options.results)
    print(f"{added} units added to {options.results}")


def _gather(options: argparse.Namespace) -> None:
    from . import measurements
    from .measure import status

    table = status.gather(options.tables, first_wins=options.first_wins, rows=options.rows)
    measurements.check_replaceable(options.output)
    provenance = Path(options.output).with_suffix(".json")
    if provenance.exists() and '"failed_rows"' not in provenance.read_text(errors="replace"):
        raise InputError(f"the provenance goes to {provenance}, which is another file: name another --output")
    if provenance == Path(options.output):
        raise InputError(f"--output {options.output}: the table is a CSV, and its provenance takes the .json beside it")
    path = measurements.write(table, options.output)
    about = measurements.provenance(table, options.command or f"noise-scaling gather ({len(options.tables)} tables)")
    write_atomically(provenance, json.dumps(about, indent=1) + "\n")
    print(f"{len(table)} rows in {path}")


def _fit(options: argparse.Namespace) -> None:
    from . import laws
    from .plots import figures

    law = laws.named(options.law)
    table = laws.fit_curves(figures.usable(_table(options.measurements)), law=law)
    if table.empty:
        raise InputError(f"{options.measurements} holds no model but controls: nothing to fit")
    text = table.to_csv(index=False, lineterminator="\n")
    if options.output is None:
        print(text, end="")
        return
    write_atomically(options.output, text)
    print(f"{len(table)} fits in {options.output}")


def _figure(options: argparse.Namespace) -> None:
    from .errors import choose
    from .plots import page, style

    if not options.output.lower().endswith(".png"):
        raise InputError(f"--output {options.output}: a figure is written as PNG, name a file that ends in .png")
    draw = page.FIGURES[choose("figure", options.figure, page.FIGURES)]
    table = _table(options.measurements)
    with style.presets(table):
        write_atomically(options.output, style.as_png(draw(table)))
    print(f"figure in {options.output}")


def _table(source: str) -> Any:
    """Read a measurements table; the published one is downloaded if needed, and its summary is never used instead."""
    from . import datasets
    from .plots import page

    if source in page.VERSIONS:
        datasets.fetch(page.PUBLISHED)
    return page.measured(source).table


def _datasets(options: argparse.Namespace) -> None:
    from . import datasets

    if options.name is None:
        for name in datasets.names():
            about = datasets.card(name)
            print(f"{name:14} {about.n_cells:>10,} cells  {about.title}")
        return
    for key, value in vars(datasets.card(options.name)).items():
        print(f"{key}: {value}")


def _plan(options: argparse.Namespace) -> None:
    from .plan import command

    print(command.answer(options))


def _fetch(options: argparse.Namespace) -> None:
    from . import datasets
    from .datasets.transfer import megabytes

    files = datasets.card(options.name).files
    if not files:
        print(f"{options.name} needs no download: an installed package holds it, or it is made here", file=sys.stderr)
    for file in files:
        path = datasets.fetch_file(file)
        print(f"{path}  {megabytes(path.stat().st_size)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
