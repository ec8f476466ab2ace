"""What a file is for, guessed from its columns where nobody said it: the kind of task, its fields, labels and prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tapioca.errors import DataError, RowError
from tapioca.tasks.columns import MANY, Columns
from tapioca.tasks.prompt import encode_pairs
from tapioca.tasks.rows import Source
from tapioca.tasks.spec import Kind, TaskSpec
from tapioca.tasks.template import render
from tapioca.tasks.text import Encoder
from tapioca.tasks.unclear import explain_missing_fields, explain_unclear_kind

SHAPES: dict[Kind, tuple[set[str], ...]] = {
    "choice": ({"context", "choices", "answer"}, {"question", "choices", "answer"}),
    "regression": ({"x", "y"},),
    "classify": ({"text", "label"},),
}
"""Fields by which the kind of a file is told; a classify task only for a model with a classification head."""

PROMPTS = {"context": "{{ context }}", "question": "Question: {{ question }}\nAnswer:", "text": "{{ text }}"}
"""Prompt templates by the field that asks."""

WRITTEN = TaskSpec().gold
"""The template of an answer to be written, where nobody said another."""


@dataclass
class Guess:
    """What is known of a file so far.

    Attributes:
        rows: with fields renamed as the user said.
        said_spec: what the user said.
        path: of the file, for errors.
        fields: fields that were guessed, and the columns they are.
        notes: what was guessed, to be said aloud.
    """

    rows: Sequence[Source]
    said_spec: TaskSpec
    encoder: Encoder | None
    path: Path
    fields: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.columns, self.spec = Columns(self.rows), self.said_spec

    @property
    def name(self) -> str:
        """Of the file, for notes."""
        return self.path.name

    @property
    def is_sequence_classifier(self) -> bool:
        """Whether the model ends in a classification head."""
        return bool(self.encoder and self.encoder.labels)

    def has(self, name: str) -> bool:
        """Whether a field is there, or was guessed."""
        return name in self.columns.names or name in self.fields

    @property
    def prompt(self) -> str | None:
        """The field that asks."""
        names = ("text",) if self.is_sequence_classifier else PROMPTS
        return next((name for name in names if self.has(name)), None)


def complete_spec(
    rows: Sequence[Source], spec: TaskSpec, encoder: Encoder | None, path: Path
) -> tuple[TaskSpec, dict[str, str | tuple[str, ...]], list[str]]:
    """What was said of a file, completed by what its columns, renamed as was said, tell.

    Returns:
        The description with a kind, and for questions with a template; the fields that were guessed, and what they are
        in `rows`; and a line for each guess.

    Raises:
        DataError: the columns do not tell; the message names all that is missing, and how to say it.
    """
    guess = Guess(rows, spec, encoder, path)
    kind = spec.kind or _kind_from_names(guess)
    if kind not in ("regression", "perplexity") and encoder is not None:
        kind = _complete_question(guess, kind)
    elif kind is None:
        raise DataError(
            explain_unclear_kind(guess.columns, str(path), spec, is_sequence_classifier=False, reads_text=False)
        )
    fields = {field: _in_file(column, spec) for field, column in guess.fields.items()}
    completed = guess.spec.model_copy(update={"kind": kind, "fields": {**spec.fields, **fields}})
    return completed, guess.fields, guess.notes


def _in_file(column: str | tuple[str, ...], spec: TaskSpec) -> str | tuple[str, ...]:
    """What the file calls a column that may have been renamed."""
    if isinstance(column, str):
        return spec.fields.get(column, column)
    return tuple(str(spec.fields.get(name, name)) for name in column)


def _kind_from_names(guess: Guess) -> Kind | None:
    """The kind that the names of the columns tell without doubt."""
    names = set(guess.columns.names)
    if guess.spec.labels:
        return None
    for kind, shapes in SHAPES.items():
        for shape in shapes:
            if shape <= names and guess.is_sequence_classifier == (kind == "classify"):
                guess.notes.append(
                    f"{guess.name}: read as a {kind} task, by its fields {', '.join(sorted(map(str, shape)))}"
                )
                return kind
    if guess.columns.telling == ["text"] and guess.encoder and not guess.is_sequence_classifier:
        guess.notes.append(f"{guess.name}: read as a perplexity task, by its fields text")
        return "perplexity"
    return None


def _complete_question(guess: Guess, kind: Kind | None) -> Kind:
    """The kind of a file of questions, with all fields they need; refused where one is missing."""
    spec, columns, is_head = guess.spec, guess.columns, guess.is_sequence_classifier
    answer = "label" if kind == "classify" or (kind is None and is_head) else "answer"
    if kind in (None, "choice") and not spec.labels:
        _find_choices(guess)
    if not guess.has(answer):
        _find_answer(guess, answer, named=kind == "generate")
    if spec.template is None:
        _find_prompt(guess)
    ready = guess.prompt is not None or spec.template is not None
    if kind is None and spec.template is None and not is_head and columns.pair():
        ready = guess.has("choices")  # one text of a pair does not ask
    if kind is None and ready and guess.has(answer):
        kind = _kind_of(guess)
    if kind is None:
        raise DataError(explain_unclear_kind(columns, str(guess.path), spec, is_head, reads_text=True))
    if kind in ("label", "choice") and not guess.has("choices") and not spec.labels and guess.has(answer):
        _find_labels(guess, most=None)
    is_there = {
        "the prompt": ready,
        answer: guess.has(answer) or (kind == "generate" and spec.gold != WRITTEN),
        "choices": kind != "choice" or guess.has("choices") or guess.spec.labels,
    }
    if missing := [name for name in is_there if not is_there[name]]:
        raise DataError(explain_missing_fields(columns, str(guess.path), kind, missing))
    if spec.template is None:
        guess.spec = guess.spec.model_copy(update={"template": _make_prompt_template(guess, answer)})
    if spec.kind is None and kind == "label":
        kind = _kind_of_labels(guess)
    _note_guesses(guess, kind, answer)
    return kind


def _find_choices(guess: Guess) -> None:
    """Choices under another case of their name, or one to a column."""
    columns = guess.columns
    choices = columns.find_name("choices") or columns.find_name("options") or tuple(columns.find_options())
    if choices and not guess.has("choices"):
        guess.fields["choices"] = choices


def _find_answer(guess: Guess, answer: str, named: bool) -> None:
    """The answer under another name; if `named`, under this one in another case."""
    columns = guess.columns
    taken = {*filter(None, map(columns.find_name, (*PROMPTS, "choices"))), *columns.find_options()}
    column = columns.find_name(answer)
    if not column and not named:
        column = columns.find_answer(taken | {*(columns.pair() or ())}) or columns.within(guess.spec.labels)
    if column:
        guess.fields[answer] = column


def _find_prompt(guess: Guess) -> None:
    """What asks, under another name: the only text there is beside answer and choices; for a head also a pair of texts."""
    pair = guess.columns.pair()
    if guess.prompt or (pair and not guess.is_sequence_classifier):
        return
    if pair:
        guess.fields["text"], guess.fields["text_pair"] = pair
        return
    called = {name: column for name in PROMPTS if (column := guess.columns.find_name(name))}
    used = {*guess.fields.values(), "answer", "label", "choices", *guess.columns.find_options()}
    texts = [name for name in guess.columns.telling if name not in used and guess.columns.is_text(name)]
    name, column = next(iter(called.items()), ("text", texts[0] if len(texts) == 1 else None))
    if column and (name == "text" or not guess.is_sequence_classifier):
        guess.fields[name] = column


def _kind_of(guess: Guess) -> Kind | None:
    """The kind of a file in which a prompt and an answer were found."""
    if guess.is_sequence_classifier:
        return "classify"
    if guess.has("choices") and not guess.spec.labels:
        return "choice"
    return "label" if guess.spec.labels or _find_labels(guess, most=MANY) else None


def _find_labels(guess: Guess, most: int | None) -> bool:
    """Take the different values of the answer's column for the labels; with `most`, if they repeat and are no more."""
    column = str(guess.fields.get("answer", "answer"))
    labels = guess.columns.list_labels(column)
    if len(labels) < 2 or (most is not None and not guess.columns.repeats(column, most)):
        return False
    guess.spec = guess.spec.model_copy(update={"labels": labels, "answers": guess.spec.answers or "choice"})
    return True


def _make_prompt_template(guess: Guess, answer: str) -> str:
    """The template by the field that asks; where the answer's column is a guess, its name asks."""
    asks = guess.prompt or "text"
    names_answer = guess.spec.labels and (answer in guess.fields or not guess.said_spec.labels)
    if guess.is_sequence_classifier or asks == "question" or not names_answer:
        return PROMPTS[asks]
    column = str(guess.fields.get(answer, answer)).replace("_", " ").strip().capitalize()
    return f"{PROMPTS[asks]}\n{'Answer' if set('{}%#') & set(column) else column}:"


def _kind_of_labels(guess: Guess) -> Kind:
    """Label where each label is one token behind the prompt, else choice."""
    assert guess.encoder
    spec, merged = guess.spec, guess.encoder.merged
    for row in guess.rows:
        fields = {**row.fields, **{field: row.fields.get(str(column)) for field, column in guess.fields.items()}}
        try:
            text = render(spec.template or "", fields, row.where)
            answers = [render(spec.continuation, {**fields, "choice": label}, row.where) for label in spec.labels]
            pairs = encode_pairs(text, answers, spec, guess.encoder, row.where)
        except RowError:
            continue
        finally:
            guess.encoder.merged = merged
        return "label" if all(len(after) == 1 for _, after in pairs) else "choice"
    return "label"


def _note_guesses(guess: Guess, kind: Kind, answer: str) -> None:
    """Put what was guessed into words."""
    if guess.spec.kind is None and not guess.notes:
        roles = [guess.prompt, *(name for name in ("text_pair", "choices") if guess.has(name)), answer]
        described = ", ".join(_describe_role(role, guess.fields.get(role)) for role in roles if role)
        guess.notes.append(f"{guess.name}: read as a {kind} task, {described}")
    labels = guess.spec.labels
    if guess.spec.kind is None and kind == "choice" and labels:
        guess.notes.append(f"{guess.name}: labels of several tokens are compared as choices, whole and by their length")
    if labels and not guess.said_spec.labels:
        more = f", and {len(labels) - 20} more" if len(labels) > 20 else ""
        column = guess.fields.get("answer", "answer")
        guess.notes.append(
            f"{guess.name}: {len(labels)} labels read off '{column}': {', '.join(labels[:20])}{more}; "
            "--label names others, --kind perplexity scores the text alone"
        )


def _describe_role(role: str, column: str | tuple[str, ...] | None) -> str:
    """What plays a part."""
    if column is None:
        return f"by its field {role}"
    return f"{role} is '{column}'" if isinstance(column, str) else f"{role} are {', '.join(map(repr, column))}"
