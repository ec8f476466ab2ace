"""What `tapioca versus --dry-run` prints."""

from rich.console import Console

from tapioca.commands.versus import words as versus_words
from tapioca.commands.versus.preview_result import Preview
from tapioca.report.format import shorten_text
from tapioca.report.tables import print_line

MAX_SHOWN_CHARACTERS = 400
"""Characters of a prompt that is shown whole."""


def show(preview: Preview, console: Console) -> None:
    """Print the models, the rows, what they could show, and a prompt."""
    for letter, model in zip("AB", preview.models, strict=True):
        print_line(console, f"{letter}         {model.name}: {versus_words.describe_model(model)}")
    for line in versus_words.list_seen_rows(preview.models):
        print_line(console, f"          {line}")
    for domain, n in preview.n.items():
        tokens = " and ".join(f"{model.mean_tokens[domain]:.3g}" for model in preview.models)
        left_out = (
            f"; {preview.left_out[domain]} left out, which one of them cannot be asked"
            if preview.left_out[domain]
            else ""
        )
        print_line(console, f"data      {domain.upper()}: {n} rows, on average {tokens} tokens for A and B{left_out}")
        if interval := preview.unchanged[domain]:
            alike = preview.metric.format_effect(0.0, interval, named=True)
            print_line(console, f"          two models that answer alike would have {alike}")
    print_line(
        console,
        f"measured  {preview.metric.name}{'' if preview.same_tokens else '; each reads rows by its own tokenizer'}",
    )
    print_line(console, f"prompt    {shorten_text(preview.prompt, MAX_SHOWN_CHARACTERS)!r}")
    print_line(console, "nothing of this is kept; without --dry-run the comparison begins")
