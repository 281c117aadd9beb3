"""Configurations of the workflow: checked before anything runs, and split into the jobs of a sweep."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from .. import information, paths
from ..datasets.registry import Card, read_registry
from ..errors import InputError
from ..files import stamps
from ..models import MODELS
from . import ablations, fitting
from .brought import Brought, is_brought
from .controls import CONTROLS, learner
from .unit import NUMBERS_VERSION, model_version

SCHEMA = paths.ROOT / "workflow" / "config" / "schema.json"


@dataclass(frozen=True)
class Job:
    """One run of notebooks/measure.ipynb: one data set, seed and class of device.

    Fields without a comment are as in `measure`. Depths run from both ends inwards: a stopped sweep has whole curves.
    """

    entry: str  # the entry's name in the configuration: the data set's, unless it sets `dataset`
    dataset: str
    signal: str | None
    variant: str
    part: str  # "cpu" or "gpu", and "cpu_large" or "gpu_large" for cell numbers from `large_cells` on
    fractions: tuple[float, ...]  # all; one with `jobs: depth` and in the large parts
    seed: int
    models: tuple[str, ...]
    cell_numbers: tuple[int, ...]  # in the large parts one, with one model
    preset: str
    estimators: tuple[str, ...]
    n_test: int | None  # None: the card's
    n_validation: int | None
    device: str  # "cpu" except in the gpu parts
    priority: int  # higher runs first: replicate by replicate, each from the ends of the depth axis
    point: str = ""  # part of the name: the depth if the job has one, and in the large parts N and model
    devices: int = 1  # 1 if none of the job's models can use several
    precision: str = ""
    fractions_train: tuple[float, ...] = ()  # if given, jobs are split by these, each with all `fractions`
    embeddings: str | None = None

    @property
    def trained(self) -> tuple[float, ...]:
        """Depths at which models are trained."""
        return self.fractions_train or self.fractions

    @property
    def scored(self) -> int:
        """Number of times that an estimator scores one model at one N."""
        return len(self.trained) * (len(self.fractions) if self.fractions_train else 1)

    @property
    def name(self) -> str:
        """Path of the job's table below slices/, without .csv."""
        return f"{self.variant or 'protocol'}/{self.entry}{self.point}_seed{self.seed}_{self.part}"

    @property
    def rule(self) -> str:
        """The rule of workflow/rules/measure.smk that runs the job."""
        return f"measure_{self.part}".replace("_cpu", "")

    def parameters(self) -> dict[str, object]:
        """Return the arguments of `measure`; those that the configuration leaves out are left to the card."""
        own = ("entry", "part", "seed", "priority", "point")
        usual = {"devices": 1, "precision": "", "fractions_train": ()}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own} | {"seeds": (self.seed,)}
        asked = {name: value for name, value in values.items() if value is not None and usual.get(name) != value}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}

    def row_keys(self) -> Iterator[dict[str, object]]:
        """Yield the key of every row that the job makes."""
        return row_keys(self.parameters())

    def versions(self) -> dict[str, object]:
        """Return the versions of the job's numbers and files: if one changes, the job runs again.

        Of a registered data set, whose files' hashes are checked when it is loaded, the files are left out.
        """
        card = read_registry().get(self.dataset)
        pairs = self.n_test or (card.n_test if card else 0)
        return {
            "measure": NUMBERS_VERSION,
            "models": {name: model_version(name) for name in self.models},
            "estimators": {name: information.numbers_version(name, pairs) for name in self.estimators},
        } | ({} if card else {"files": stamps(Path(self.dataset).expanduser())})

    def trains_as(self) -> "Job":
        """Return the job without its name, signal, estimators and place: equal for jobs that share their embeddings."""
        return replace(self, entry="", signal=None, estimators=(), priority=0)


def row_keys(parameters: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """Yield the key of every row that a job with these parameters makes (without a signal: the card's default).

    An embedding that is read from files has rows at the largest number of cells only.
    """
    card = read_registry().get(parameters["dataset"])
    same = {name: parameters[name] for name in ("dataset", "preset", "variant")}
    same["signal"] = parameters.get("signal") or (card.signal if card else "")
    depths = product(parameters["fractions"], parameters.get("fractions_train") or [None])
    each = ("seeds", "cell_numbers", "models", "estimators")
    largest = max(parameters["cell_numbers"])
    for (fraction, trained), seed, n_cells, model, estimator in product(depths, *(parameters[name] for name in each)):
        if is_brought(model) and n_cells < largest:
            continue
        own = {"model": model, "n_cells": n_cells, "fraction": fraction, "seed": seed, "estimator": estimator}
        yield same | own | {"fraction_train": fraction if trained is None else trained}


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a configuration from its YAML file and check it.

    InputError if the file is missing, is not YAML, or does not fit the schema. Its message is one sentence: it gives
    the known keys for an unknown one, and the place and the value found for a wrong type.
    """
    file = paths.find(path)
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a configuration's YAML file") from None
    return check_config(config, name=str(path))


def check_config(config: Any, *, name: str = "the configuration") -> dict[str, Any]:
    """Return `config`; InputError about `name` if it breaks workflow/config/schema.json or names something unknown."""
    schema = _schema()
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if fault is not None:
        raise InputError(_sentence(fault, name))
    for entry, own in config["datasets"].items():
        _card(entry, own or {}, name)
        settings = {**config, **(own or {})}
        fitting.check(settings.get("models", ()), settings["preset"], *_asked(settings))
        Brought(settings.get("dataset", entry), settings.get("embeddings")).check(settings.get("models", ()), "")
        for variant in settings.get("variants", ()):
            ablations.named(variant)
    return config


def _schema() -> dict[str, Any]:
    """Return the schema, completed with the names in the registries."""
    schema = json.loads(paths.find(SCHEMA).read_text(encoding="utf-8"))
    known = schema["$defs"]
    known["models"]["items"] |= {"if": {"pattern": "^obsm:"}, "else": {"enum": [*MODELS, *CONTROLS]}}
    known["estimators"]["items"]["enum"] = [*information.METHODS]
    known["preset"]["enum"] = list(dict.fromkeys(preset for model in MODELS.values() for preset in model.PRESETS))
    return schema


def _sentence(fault: jsonschema.ValidationError, name: str) -> str:
    """Say in one sentence what is wrong, where, and what would be right."""
    place = ".".join(str(part) for part in fault.absolute_path) or "the file"
    if fault.validator == "additionalProperties":
        known = fault.schema["properties"]
        unknown = next(key for key in fault.instance if key not in known)
        return f"{name}: unknown key {unknown!r} in {place}: choose one of {', '.join(sorted(known))}"
    rule, asked = fault.validator, fault.validator_value
    if rule == "required":
        return f"{name}: {place} lacks a key: {fault.message}"
    if rule == "type":
        wanted = f"must be of type {asked if isinstance(asked, str) else ' or '.join(asked)}"
    else:
        wanted = f"must be one of {', '.join(map(repr, asked))}" if rule == "enum" else f"does not fit: {fault.message}"
    return f"{name}: {place} {wanted}: found {repr(fault.instance)[:80]}"


def _card(entry: str, own: Mapping[str, Any], name: str = "the configuration") -> Card | None:
    """Return the card of an entry's data set; None for a file, whose entry must state its own grid."""
    dataset = own.get("dataset", entry)
    card = read_registry().get(dataset)
    if card is not None and card.kind == "cells":
        return card
    if not str(dataset).endswith(".h5ad") and not Path(dataset).is_dir():
        known = ", ".join(sorted(n for n, c in read_registry().items() if c.kind == "cells"))
        remedy = f"give the path of an .h5ad file or a folder of such, or one of {known}"
        raise InputError(f"{name}: unknown data set {dataset!r}: {remedy}")
    if missing := [key for key in ("cell_numbers", "fractions") if key not in own]:
        raise InputError(f"{name}: the entry {entry!r} is a file and has no card: say its {' and '.join(missing)}")
    return None


def jobs(config: Mapping[str, Any]) -> list[Job]:
    """Return the jobs of a checked configuration in running order: by replicate, depth, then as listed."""
    found = [job for entry, own in config["datasets"].items() for job in _jobs_of(config, entry, own or {})]
    ordered = sorted(found, key=lambda job: -job.priority)
    return [replace(job, priority=len(found) - at) for at, job in enumerate(ordered)]


def _jobs_of(config: Mapping[str, Any], entry: str, own: Mapping[str, Any]) -> Iterator[Job]:
    card = _card(entry, own)
    usual = {"fractions": card.fractions, "cell_numbers": card.cell_numbers} if card else {}
    settings: dict[str, Any] = {**usual, **config, **own}
    fractions, cells = _from_the_ends(settings["fractions"]), tuple(settings["cell_numbers"])
    apart = _from_the_ends(settings.get("fractions_train", ()))
    alone = config.get("jobs") == "depth"
    for name, (rank, seed) in product(settings.get("variants", [""]), enumerate(settings["seeds"])):
        variant = ablations.named(name)
        estimators = tuple(filter(variant.suits_estimator, settings["estimators"]))
        suited = tuple(filter(variant.suits, settings["models"])) if estimators else ()
        for part, models, numbers, point in _parts(settings, suited, cells):
            takes = [fitting.taken(model, settings["preset"], *_asked(settings)) for model in models]
            devices, precision = max(d for d, _ in takes), max(p for _, p in takes)
            depths = apart or fractions
            each = [(f"_q{q:.12g}", (q,)) for q in depths] if alone or point else [("", depths)]
            for at, (depth, some) in enumerate(each):
                yield Job(
                    entry, settings.get("dataset", entry), settings.get("signal"), name, part,
                    fractions if apart else some, int(seed), models, numbers, settings["preset"], estimators,
                    settings.get("n_test"), settings.get("n_validation"),
                    settings["device"] if part.startswith("gpu") else "cpu", 10**6 - 1000 * rank - at, depth + point,
                    devices, precision, some if apart else (),
                    settings.get("embeddings") if any(map(is_brought, models)) else None,
                )  # fmt: skip


def _asked(settings: Mapping[str, Any]) -> tuple[int, str]:
    """Return devices and precision, which becomes text because YAML reads 32 as a number."""
    return settings.get("devices", 1), str(settings.get("precision", ""))


def _from_the_ends(fractions: Sequence[float]) -> tuple[float, ...]:
    """Sort depths from the ends inwards: the largest, the smallest, the second largest, and so on."""
    rest = sorted(map(float, fractions), reverse=True)
    return tuple(rest.pop(0 if at % 2 == 0 else -1) for at in range(len(rest)))


def _parts(
    settings: Mapping[str, Any], models: tuple[str, ...], cells: tuple[int, ...]
) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...], str]]:
    """Yield part, models, cell numbers and `point` of each job at one seed and depth; each large training is a job."""
    large = settings.get("large_cells") or float("inf")
    small, rest = (tuple(n for n in cells if (n < large) == wanted) for wanted in (True, False))
    wants = {m: settings["device"] != "cpu" and not is_brought(m) and MODELS[learner(m)].wants_gpu for m in models}
    for device in ("cpu", "gpu"):  # models that need no GPU always run on the CPU
        some = tuple(m for m in models if (device == "gpu") == wants[m])
        here = tuple(m for m in some if not (rest and is_brought(m)))
        if here and small:
            yield device, here, small, ""
        for n, model in product(rest, some):
            if n == max(rest) or not is_brought(model):
                yield f"{device}_large", (model,), (n,), f"_n{n}_{model}"
