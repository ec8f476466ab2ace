"""Times, rates and sizes of a timing as people read them, and what they come to in sentences."""

from rich.filesize import decimal

from tapioca.commands.bench.result import BenchResult, BenchSide, Measure, MeasureTiming, SizeTiming
from tapioca.records import with_interval
from tapioca.records.measures import Estimate
from tapioca.report.format import format_quantity

MEASURE_WORDS: dict[Measure, str] = {
    "first_token": "first token",
    "decode": "decode",
    "whole": "throughput",
    "forward": "forward",
}
PROTOCOLS = {"tale": "TALE's protocol"}


def format_seconds(seconds: float) -> str:
    """A time with three digits: '843 µs', '2.13 ms', '1.25 s'."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit or name == "µs":
            return f"{seconds / unit:.{0 if seconds >= 100 * unit else 1 if seconds >= 10 * unit else 2}f} {name}"
    return ""


def format_rate(number: float) -> str:
    """What is done in a second: '1.21 k'."""
    return format_quantity(round(number)) if number >= 999.5 else f"{number:.3g}"


def format_bytes(number: int | None) -> str:
    """A size: '1.1 MB'; a dash of what is unknown."""
    return "–" if number is None else decimal(number)


def format_ratio(estimate: Estimate) -> str:
    """A time ratio with its interval: '0.850 [0.838, 0.861]'."""
    return with_interval(estimate.value, estimate.ci95, ".3f")


def format_percent(share: float) -> str:
    """A share: '2.3 %'; no line ends within it."""
    return f"{100 * share:.1f}\u00a0%"


def format_half_width(share: float) -> str:
    """How far an interval reaches to either side: '± 2.3 %'."""
    return f"±\u00a0{format_percent(share)}"


def describe_machine(info: BenchResult) -> str:
    """What computed, and in which numbers."""
    machine, full = info.machine, info.sides[0]
    threads = (
        f"{machine.threads} thread{'s' * (machine.threads != 1)} of {machine.cores} core{'s' * (machine.cores != 1)}"
    )
    return (
        f"{machine.name} ({machine.device}), {threads}, {full.dtype}, attention {full.attention}, "
        f"torch {machine.torch}, transformers {machine.transformers}"
    )


def describe_size(size: SizeTiming, with_rounds: bool = True) -> str:
    """What was done at a size: '8 prompts of 256 tokens, 32 written behind each; 15 rounds, ± 2.2 %'."""
    prompts = (
        f"{size.batch} {'prompts' if size.batch > 1 else 'prompt'} of {size.length} token{'s' * (size.length > 1)}"
    )
    what = f"{prompts}, {size.new_tokens} written{' behind each' * (size.batch > 1)}" if size.new_tokens else prompts
    if size.protocol:
        what = f"{PROTOCOLS[size.protocol]}: {what} without KV cache"
    return f"{what}; {size.rounds} rounds, {format_half_width(size.half_width)}" if with_rounds else what


def name_measure(size: SizeTiming, timing: MeasureTiming) -> str:
    """A measure at a size as a row of a chart."""
    protocol = "TALE, " if size.protocol else ""
    return f"{protocol}{size.batch} × {size.length}: {MEASURE_WORDS[timing.measure]}"


def explain_layers(info: BenchResult) -> list[str]:
    """What layers alone predict of each side, beside what was measured."""
    lines = []
    for side in info.sides[1:]:
        if side.by_layers in (None, 1.0) or (side.name == "checkpoint" and len(info.sides) > 2):
            continue
        values = [timing.ratios[side.name].value for size in info.sizes for timing in size.measures]
        lines.append(
            f"{side.label} has {side.n_layers} of {info.sides[0].n_layers} layers: if all time were spent in layers, time "
            f"× {side.by_layers:.3f}; measured × {min(values):.3f} to × {max(values):.3f}"
        )
    return lines


def explain_agreement(info: BenchResult) -> list[str]:
    """Whether the live plan and its checkpoint take the same time, and why not."""
    compared = [
        (name_measure(size, timing), timing.against_live)
        for size in info.sizes
        for timing in size.measures
        if timing.against_live
    ]
    if not compared:
        return []
    outputs = "" if info.difference is None else f"; largest difference of an output {info.difference:.3g}"
    apart = [(name, ratio) for name, ratio in compared if not _agrees(ratio, info.precision)]
    if not apart:
        values = [ratio.value for _, ratio in compared]
        return [
            f"live plan and checkpoint agree: the checkpoint takes × {min(values):.3f} to × {max(values):.3f} of the live "
            f"plan's time, and every interval holds 1 or lies within {format_percent(info.precision)} of it{outputs}"
        ]
    name, ratio = max(apart, key=lambda row: abs(row[1].value - 1))
    return [
        f"live plan and checkpoint differ in {len(apart)} of {len(compared)} times, most at {name}, where the checkpoint takes "
        f"× {format_ratio(ratio)} of the live plan's; at every forward the live model also {info.live_costs}, which "
        f"weighs most where a forward is short{outputs}"
    ]


def _agrees(ratio: Estimate, margin: float) -> bool:
    """Whether an interval holds 1, or lies so near that the difference is of no account."""
    low, high = ratio.ci95
    return low <= 1 <= high or (low >= 1 - margin and high <= 1 + margin)


def explain_precision(info: BenchResult) -> str:
    """The widest interval, how many sizes were not timed as precisely as asked, and how busy the machine was."""
    asked = format_half_width(info.precision)
    widest = max(info.sizes, key=lambda size: size.half_width)
    n_wide = sum(size.half_width > info.precision for size in info.sizes)
    shares = [f"{100 * size.others:.0f}" for size in info.sizes if size.others is not None]
    ends = dict.fromkeys((min(shares, key=float), max(shares, key=float))) if shares else {}
    busy = f"; other processes took {' to '.join(ends)} % of the processors" if ends else ""
    if not n_wide:
        return f"the widest interval is {format_half_width(widest.half_width)}, asked for were {asked}{busy}"
    return (
        f"at {n_wide} of {len(info.sizes)} sizes intervals are wider than the {asked} asked for after {widest.rounds} rounds, most at "
        f"{describe_size(widest, with_rounds=False)}: {format_half_width(widest.half_width)}{busy}; an idle machine or more "
        "--max-rounds narrow them"
    )


def count_peak(info: BenchResult, side: BenchSide) -> str:
    """The most memory a side held, its weights among it."""
    return format_bytes(info.find_peak(side))
