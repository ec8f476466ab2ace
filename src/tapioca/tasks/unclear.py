"""One message for a file that does not say what it is for: what it could be, and how to say so."""

from tapioca.tasks.columns import ANSWERS, Columns
from tapioca.tasks.spec import Kind, TaskSpec

WRITE = "; tapioca tasks FILE with these and --write task.yaml makes a description of it to be edited"
"""The end of a message that asks for flags."""


def explain_unclear_kind(
    columns: Columns, name: str, spec: TaskSpec, is_sequence_classifier: bool, reads_text: bool
) -> str:
    """Everything a file could be, and the flags that say so."""
    start = f"{name}: cannot tell the kind of task from the fields {columns.describe()}; "
    if not reads_text:
        return f"{start}the model has no tokenizer and reads numbers; expected x + y"
    prompt_flag = _prompt(columns, spec, is_sequence_classifier)
    if is_sequence_classifier and prompt_flag and "text_pair" not in prompt_flag and len(_texts(columns)) > 1:
        prompt_flag += "(and --field text_pair=COLUMN for a second text) "
    answer = _answer(columns)
    if is_sequence_classifier:
        return f"{start}for a classification head say {prompt_flag}--field label={answer}{WRITE}"
    return (
        f"{start}say one of: {prompt_flag}--field answer={answer} --label NAME --label NAME ... (one of a few labels); "
        f"--kind choice {prompt_flag}{_choices(columns)} (choices of each row; in a YAML fields: {{choices: [COLUMN, COLUMN]}}); "
        f"--kind generate {prompt_flag}--field answer={_written(columns)} (an answer the model writes); "
        f"--kind perplexity{'' if 'text' in columns.names else ' --field text=' + _text(columns)} (running text){WRITE}"
    )


def explain_missing_fields(columns: Columns, name: str, kind: Kind, missing: list[str]) -> str:
    """What a file of a known kind lacks, and the flags that say it."""
    cures = {
        "the prompt": "--template, or --field text=" + _text(columns),
        "answer": "--field answer=" + _answer(columns),
        "label": "--field label=" + _answer(columns),
        "choices": f"{_choices(columns, answered=True)}, in a YAML fields: {{choices: [COLUMN, COLUMN]}}, or --label NAME --label NAME",
    }
    lacks = "; ".join(f"{what} ({cures[what]})" for what in missing)
    return f"{name}: a {kind} task lacks {lacks}; the rows have {columns.describe()}{WRITE}"


def _prompt(columns: Columns, spec: TaskSpec, is_sequence_classifier: bool) -> str:
    """The flag that says what asks; nothing where that is clear."""
    known = ("text",) if is_sequence_classifier else ("context", "question", "text")
    pair = columns.pair() if spec.template is None and "text" not in columns.names else None
    if pair and is_sequence_classifier:
        return f"{_flag('text', pair[0])} {_flag('text_pair', pair[1])} "
    if not pair and (spec.template is not None or any(columns.find_name(name) for name in known)):
        return ""
    texts = pair or _texts(columns)
    if len(texts) > 1 and not is_sequence_classifier:
        return '--template "' + " ".join(f"{{{{ row[{name!r}] }}}}" for name in texts) + '" '
    return f"--field text={_text(columns)} "


def _choices(columns: Columns, answered: bool = False) -> str:
    """The flags that name the columns with choices, and the answer unless that is known."""
    judged = columns.right_and_wrong()
    names = columns.find_options() or judged or ["COLUMN", "COLUMN"]
    flags = [_flag("choices", name) for name in names]
    if not answered:
        flags.append(_flag("answer", judged[0] if names == judged else _answer(columns)))
    return " ".join([*flags, "--shuffle-choices"] if names == judged else flags)


def _flag(field: str, column: str) -> str:
    return f'--field "{field}={column}"' if " " in column else f"--field {field}={column}"


def _texts(columns: Columns) -> list[str]:
    """Columns with texts that hardly repeat."""
    names = [name for name in columns.telling if name.strip().lower() not in ANSWERS and columns.is_text(name)]
    return [name for name in names if not columns.repeats(name, len(columns.rows))]


def _text(columns: Columns) -> str:
    texts = _texts(columns)
    return f"'{texts[0]}'" if len(texts) == 1 and " " in texts[0] else texts[0] if len(texts) == 1 else "COLUMN"


def _answer(columns: Columns) -> str:
    """The column most likely to hold answers; by its name alone where its values do not tell."""
    named = [name for name in columns.telling if name.strip().lower() in ANSWERS]
    return columns.find_answer(set(_texts(columns))) or (named[0] if len(named) == 1 else "COLUMN")


def _written(columns: Columns) -> str:
    """The same for written answers, which may stand in an object beside their places."""
    for name in columns.telling:
        first = next(iter(columns.values(name)), None)
        if isinstance(first, dict) and "text" in first:
            return f'"{{{{ {name}.text }}}}"'
    return _answer(columns)
