"""The declaration every experiment is: parameters, measurement, theory, plot, sources, in one frozen model.

Options of the command line, keys of the YAML, the JSON Schema, the reference page, the CSV columns and the
identity of a stored cell are all read from here; there is no second list anywhere.
"""

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from resexp.core.errors import UsageError, nearest
from resexp.core.lab import Lab
from resexp.core.result import Result, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def param(default: Any, meaning: str, *, positional: bool = False, **constraints: Any) -> Any:
    """Declare a parameter: its default, its meaning with unit, and pydantic constraints (ge, le, gt...)."""
    return Field(default, description=meaning, json_schema_extra={"positional": positional}, **constraints)


@dataclass(frozen=True)
class Plot:
    """How the rows of an experiment are drawn: x against y, one panel for each quantity where rows have one.

    x, y: columns; theory is drawn as a line and the interval as a band where the rows have them;
    series: column whose values are curves of their own, if there is one.
    """

    x: str
    y: str = "mean"
    log_y: bool = False
    series: str = ""


@dataclass(frozen=True)
class Surface(Plot):
    """Rows drawn as surfaces over a plane: the mean of one quantity over x and y, columns both.

    quantity: whose rows are points of grids; path: whose rows, by epoch, are a path in the plane `trajectory`;
    part: parameter that says which rows of a grid a cell computed, so that cells that differ in it are one grid.
    """

    quantity: str = ""
    path: str = ""
    part: str = ""


@dataclass(frozen=True)
class Pictures(Plot):
    """Rows drawn as pictures: the mean of some quantities over x and y, columns both, a line for each of `series`.

    quantities: those that are pictures, in the order in which they stand beside each other.
    """

    quantities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """A curve that a figure shows beside the rows: y against x, both (points,).

    panel: name of its panel, which it shares with the same curve of other settings; label: what it is.
    """

    panel: str
    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Digest:
    """What a terminal shows of a result in place of its rows, chart, figures and families.

    table: rows, all with the same columns; lines: sentences under it; the result's notes follow, last.
    """

    table: Sequence[Mapping[str, Value]]
    lines: Sequence[str]


class Experiment(BaseModel, ABC):
    """Base of all experiments. Subclass Ensemble (random networks) or Table (exact numbers)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: ClassVar[int] = 1
    """Raise it when the numbers change: stored results of an older version are not read back."""
    axes: ClassVar[tuple[str, ...]]
    """Columns that say where a row stands (block, lag, length)."""
    plot: ClassVar[Plot | None] = None
    sketched: ClassVar[bool] = False
    """Whether a figure shows what `sketch` draws in place of the rows."""
    writes: ClassVar[bool] = False
    """Whether rows have a column `written`, which --format text prints alone."""
    quick: ClassVar[Mapping[str, Any]] = {}
    """Parameters of the small setting that the contract tests and --quick run."""

    smallest: ClassVar[Mapping[str, Any]] = {}
    """Parameters of a setting that takes a second, for tests of form, where the quick one takes many."""
    examples: ClassVar[tuple[str, ...]] = ()
    """Command lines, without `resexp`, shown in the help; the tests check that each would run (--dry-run)."""
    random: ClassVar[bool] = True
    """Whether the numbers depend on seed, device and dtype."""
    resumes: ClassVar[bool] = False
    """Whether a run that was killed left checkpoints from which the next one goes on."""

    runs_code: ClassVar[frozenset[str]] = frozenset()
    """Parameters that name code of the user's, such as a file with a model: in a batch they need --trust."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Refuse a declaration that would only fail when its table is drawn."""
        if not inspect.isabstract(cls) and not getattr(cls, "axes", ()):
            raise TypeError(f"{cls.__name__} declares no axes, such as axes = ('block',): where a row stands.")

    @classmethod
    def name(cls) -> str:
        """Name on the command line: that of the module, with hyphens."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @classmethod
    def summary(cls) -> str:
        """First sentence of the class docstring."""
        return inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")

    @classmethod
    def mathematics(cls) -> str:
        """Docstring of the module: formulas, where they are exact and where they are limits, sources."""
        return inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Validate parameters; raise one UsageError that names every wrong one and what it must be."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            sentences = [explain_problem(cls, cls.name(), dict(problem)) for problem in error.errors()]
            raise UsageError((f"{where}: " if where else "") + "\n".join(sentences)) from None

    @abstractmethod
    def compute(self, lab: Lab) -> Result:
        """Run the experiment in the lab."""

    def pooled_figures(self, rows: Sequence[Mapping[str, Value]]) -> Mapping[str, float | None]:
        """Headline figures that follow from the rows alone, for the pooled rows of several seeds; none by default."""
        return {}

    def digest(self, result: Result) -> Digest | None:
        """A short form of a result for the terminal, where a choice of its rows would not tell much."""
        return None

    def curves(self, lab: Lab) -> Iterable[Curve]:
        """Curves that a figure shows in panels before those of the rows; none by default.

        Called when a figure is drawn, for a result read back as well: in the same lab they must be the same.
        """
        return ()

    def content(self) -> Mapping[str, str]:
        """What the numbers depend on beside the parameters, such as a digest of a file that one of them names."""
        return {}

    def sketch(self, axis: "Axes") -> None:
        """Draw what is no curve, such as a graph, on empty axes. Raises UsageError where it would be too large."""
        raise NotImplementedError

    def sketch_size(self) -> tuple[float, float]:
        """Width and height of the sketch, inches."""
        return 4.6, 3.3

    def estimate_memory(self, lab: Lab) -> int | None:
        """Bytes a run takes at its peak, None where not known. Raises UsageError where the lab's budget is exceeded."""
        return None

    def estimate_seconds(self, lab: Lab) -> float | None:
        """Seconds a run takes on this machine, None where not known."""
        return None


def is_positional(field: FieldInfo) -> bool:
    """Whether a parameter is an argument of the command rather than an option."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("positional"))


def explain_problem(model: type[BaseModel], whose: str, problem: dict[str, Any]) -> str:
    """One validation error as a sentence: which parameter, what is wrong, what it must be.

    problem: an item of pydantic's ValidationError.errors(); whose: what the parameters belong to.
    """
    location = [str(part) for part in problem["loc"]]
    name = location[0] if location else ""
    option = f"--{name.replace('_', '-')}"
    got, kind, context = problem.get("input"), problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"'{name}' is not a parameter of {whose}{nearest(name, model.model_fields)}."
    if kind == "value_error" and not name:
        return str(context["error"])
    field = model.model_fields.get(name)
    meaning = f" ({field.description})" if field else ""
    written = name if field is not None and is_positional(field) else option
    return f"{written} {got}: {_requirement(kind, context, problem['msg'], got)}{meaning}."


_COMPARISONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "greater_than_equal": lambda c: f"must be at least {c['ge']}",
    "greater_than": lambda c: f"must be more than {c['gt']}",
    "less_than_equal": lambda c: f"must be at most {c['le']}",
    "less_than": lambda c: f"must be less than {c['lt']}",
}


def _requirement(kind: str, context: dict[str, Any], message: str, got: object) -> str:
    if kind in {"tuple_type", "list_type"}:
        return "must be a list, as in [a, b]"
    if kind == "string_type":
        return "must be text"
    if kind in _COMPARISONS:
        return _COMPARISONS[kind](context)
    if kind == "literal_error":
        choices = [c.strip(" '") for c in context["expected"].replace(" or ", ", ").split(",")]
        near = nearest(str(got), choices).strip(" ()")
        return f"must be one of {', '.join(choices)}{f'; {near}' if near else ''}"
    if kind.startswith("int"):
        return "must be a whole number"
    if kind.startswith("float") or kind == "finite_number":
        return "must be a finite number"
    if kind.startswith("bool"):
        return "must be true or false"
    if kind == "value_error":
        return str(context["error"])
    return message[0].lower() + message[1:]
