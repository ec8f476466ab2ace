"""What a comparison says beside its numbers, the same on the screen and on the page."""

from tapioca.commands.versus.result import ComparedModel, Comparison, VersusResult
from tapioca.records import Gain
from tapioca.records.results import Domain
from tapioca.report.format import describe_carriers, format_quantity


def describe_model(model: ComparedModel) -> str:
    """Size and dtype of a model."""
    return f"{model.n_layers} layers, {format_quantity(model.parameters)} parameters, {model.dtype}"


def describe_seen_rows(model: ComparedModel) -> str:
    """What is known of the rows that a model was searched or tuned on."""
    if model.seen_rows is None:
        return "nothing is known of what it was searched or tuned on"
    return f"searched or tuned on {model.seen_rows} rows, none of which is judged here"


def list_seen_rows(models: tuple[ComparedModel, ComparedModel]) -> list[str]:
    """The same of both."""
    if all(model.seen_rows is None for model in models):
        return ["nothing is known of what A and B were searched or tuned on"]
    return [f"{letter}: {describe_seen_rows(model)}" for letter, model in zip("AB", models, strict=True)]


def describe_rows(info: VersusResult) -> str:
    """Which rows are compared, and how they are read."""
    where = f"the test rows of {info.run}" if info.run else "all rows of the data"
    if info.same_tokens:
        return f"{where}; both models read the same input for each"
    return f"{where}, each by the model's own tokenizer"


def describe_loss(domain: Domain, gain: Gain) -> str:
    """What the interval says of a loss: that there is one, that it is small, or that nobody knows."""
    low, high = gain.ci95
    margin, data = gain.metric.margin, domain.upper()
    if -margin < low and high < margin:
        return f"{data}: A and B are within {gain.metric.margin_text} of each other"
    if low > 0:
        return f"{data}: B is better"
    if low > -margin:
        return f"{data}: B loses less than {gain.metric.margin_text}, if anything"
    if high < 0:
        return f"{data}: B is worse"
    return f"{data}: {gain.n} rows are too few to tell whether B loses less than {gain.metric.margin_text}"


def describe_companions(info: VersusResult) -> list[str]:
    """What stands beside the held-out result, one line each."""
    lines = ["; ".join(describe_loss(domain, each.result) for domain, each in info.comparisons.items())]
    for domain, each in info.comparisons.items():
        lines += _describe_data_set(domain.upper(), each)
    return lines


def _describe_data_set(data: str, each: Comparison) -> list[str]:
    lines = []
    if each.companion:
        gain, metric = each.companion, each.companion.metric
        lines.append(f"{metric.name} on {data}: {metric.format(gain.full)} → {metric.format(gain.planned)}, {gain}")
    if each.result.rests_on_few:
        lines.append(f"{data}: {describe_carriers(each.result)}")
    if each.left_out:
        lines.append(f"{data}: {each.left_out} rows that one of the models cannot be asked are left out of both")
    return lines
