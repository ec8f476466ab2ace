"""What pages say of numbers without an interval, made of the records; and phrases whose numbers no record has."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from typing import Any

from held_numbers import Part

WIDTHS = (24, 40, 64, 96)
TRUTHS = ("in distribution", "distorted", "misaligned", "undecided")


def signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def find(parts: list[Any], **keys: Any) -> Any:
    """The part of a record by what it is called."""
    return next(part for part in parts if all(part[key] == value for key, value in keys.items()))


def find_finding(setting: Any, claim: str, begin: str) -> Any:
    """The first number of a claim whose name begins so."""
    findings = find(setting["claims"], claim=claim)["findings"]
    return next(finding for finding in findings if finding["name"].startswith(begin))


def gain(setting: Any, kind: str) -> float:
    value: float = find(setting["summaries"], kind=kind)["log_ratio"]["value"]
    return value


def write_study(study: Any, scaled: Any) -> Iterator[str]:
    """What docs/study.md says was found."""
    lab = find(study["settings"], name="polynomials")
    realigned = find_finding(lab, "C5", "norm realignment by")
    chosen, random = (find_finding(lab, "C8", begin) for begin in ("error with norm", "the same for norm of random"))
    with_strength = find_finding(lab, "C7", "log ratio of a plan searched anew")
    n_models, n_cells = len(lab["models"]), realigned["pooled"]["cells"] + realigned["left_out"]
    n_series = n_models * realigned["pooled"]["kinds"]
    yield f"{n_models} learners and {lab['measured']} cells in the lab"
    yield f"{study['seconds'] / 3600:.1f} hours of measuring"
    yield f"pooled number [95 %], {realigned['pooled']['models']} models"
    n_empty = find_finding(lab, "C1", "ID log ratio of greedy")["pooled"]["models"]
    yield f"greedy's plan is empty in {n_empty} of {n_models} models"
    yield f"Numbers of C5 are of the {realigned['pooled']['cells']} of {n_cells} cells"
    yield f"C8's are of the {random['pooled']['cells']} of {lab['doses_measured']} sweeps"
    yield f"the chosen layers' of {chosen['pooled']['cells']} of them"
    yield f"leaves out {with_strength['left_out']} of {n_series} series"
    yield from _write_kinds(lab)
    greedy, everything = (find(lab["computed"], search=search) for search in ("greedy", "all plans"))
    yield f"Greedy tried {greedy['plans']:.0f} plans on average: {greedy['tree']:.0f} layers computed"
    yield f"{greedy['scratch']:.0f} where they do not (all {everything['plans']:.0f} plans: {everything['tree']:.0f} and {everything['scratch']:,.0f})"
    gaining = [row["prompts"] for row in lab["labels"] if row["log_ratio"]["ci95"][0] > 0]
    yield f"Only plans found with {gaining[0]} labelled prompts"
    yield f"or all {gaining[1]} have a gain"
    counts = [sum(one["truths"].get(truth, 0) for one in lab["summaries"] if not one["control"]) for truth in TRUTHS]
    named = [
        f"{counts[0]} are {TRUTHS[0]}",
        *(f"{count} {truth}" for count, truth in zip(counts[1:], TRUTHS[1:], strict=True)),
    ]
    yield f"Of {sum(counts)} cells {', '.join(named)}."
    doses = {point["alpha"]: point["norm"]["value"] for point in lab["charts"]["doses"] if point["layers"] == "chosen"}
    yield f"from {doses[1]:.3f} at scale 1 to {doses[0.75]:.3f}, {doses[0.5]:.3f} and {doses[0]:.3f} at 0.75, 0.5 and 0"
    yield from _write_scales(scaled)
    yield from _write_language(study)


def _write_kinds(lab: Any) -> Iterator[str]:
    yield f"noisy contexts ({signed(gain(lab, 'context_noise'))}), translated inputs ({signed(gain(lab, 'input_translation'))})"
    yield f"larger coefficients ({signed(gain(lab, 'coefficient_scale'))}) and displaced inputs ({signed(gain(lab, 'input_displacement'))})"
    yield f"outliers ({signed(gain(lab, 'context_outliers'))}) and rescaled inputs ({signed(gain(lab, 'input_scale'))})"
    yield f"brings the most ({signed(gain(lab, 'rule_negated'))})"
    tuned = find(find_finding(lab, "C7", "log ratio on shifted data after tuning")["kinds"], kind="target_offset")
    yield f"offset {tuned['value']['value']:.3f} in all {tuned['value']['models']}"


def _write_scales(scaled: Any) -> Iterator[str]:
    """The number that outputs are best multiplied by."""
    above = scaled["polynomials"]["found"]["above_1"]
    best = {row["kind"]: 1 + row["value"]["value"] for row in (*above["kinds"], *above["controls"])}
    yield f"lab, {above['pooled']['kinds']} kinds"
    yield f"{best['context_noise']:.2f} for noisy contexts and {best['context_outliers']:.2f} for outliers"
    yield f"{best['target_offset']:.2f} for offset targets"
    yield f"{best['coefficient_scale']:.2f} for larger coefficients, {best['mixture']:.2f} for mixtures and {best['input_displacement']:.2f} for displaced inputs"
    scan = [1 + scaled[name]["found"]["above_1"]["pooled"]["value"] for name in ("scan_length", "scan_jump")]
    yield f"({scan[0]:.2f} and {scan[1]:.2f}, temperatures of {1 / scan[0]:.1f} and {1 / scan[1]:.1f})"
    yield f"the best number is {signed(best['rule_negated'], 2)} on average"


def _write_language(study: Any) -> Iterator[str]:
    for name in ("scan_length", "scan_jump", "polarity", "words"):
        setting = find(study["settings"], name=name)
        digits = 1 if setting["accuracy"]["value"] else 0
        full, pruned = (
            f"{100 * find_finding(setting, 'C2', begin)['pooled']['value']:.{digits}f} %"
            for begin in ("accuracy of the full", "accuracy under")
        )
        yield f"{full} → {pruned} |"
    cloze = find(study["settings"], name="cloze")
    yield f"{100 * cloze['accuracy']['value']:.0f} %, as it was"
    language = [setting for setting in study["settings"] if setting["name"] != "polynomials"]
    yield f"six settings name {sum(len(setting['models']) for setting in language)} models"


def write_readme(study: Any, scaled: Any) -> Iterator[str]:
    """What the README says the study found."""
    lab = find(study["settings"], name="polynomials")
    yield f"{len(lab['models'])} learners of four sizes, {len(lab['kinds']) - len(lab['controls'])} kinds of shift"
    yield f"in any of the {len(lab['models'])} learners"
    yield f"from × {exp(-gain(lab, 'mixture')):.2f} (a mixture of prompts) to nothing"
    yield f"(narrowed contexts, × {exp(-gain(lab, 'context_narrowed')):.2f})"
    yield f"fitted on the same {lab['search']} prompts"


def write_tale(logs: Any) -> Iterator[str]:
    """What docs/statistics.md says of TALE's logs: every row of its table, and the sums below."""
    for log in logs["logs"]:
        yield f"| {' | '.join(_write_log(log))} |"
    yield f"{len(logs['logs'])} of them, and asks twice"
    yield f"runs {logs['draws']:,} times"
    sums, medians = ([round(100 * row[name]) for row in logs["all"]] for name in ("share_of_sum", "median_share"))
    n_gains = logs["all"][0]["logs"]
    yield f"Of the sum of the {n_gains} gains selection explains {sums[0]} % at 0, {sums[1]} % at 0.5 and {sums[2]} % at 0.8"
    yield f"of the median gain {medians[0]}, {medians[1]} and {medians[2]} %"
    yield f"correction for {n_gains} gains"
    differing = [[round(100 * log["answers"][place]["differing"]) for log in logs["logs"]] for place in (2, 1, 0)]
    ranges = [f"{min(shares)} to {max(shares)} %" for shares in differing]
    yield f"answer {ranges[0]} of the rows differently, at 0.5 {ranges[1]}, at 0 {ranges[2]}"
    arc = [answer["optimism"] for log in logs["logs"] if "arc-challenge" in log["log"] for answer in log["answers"]]
    yield f"(290 rows) report {100 * min(arc):.0f} to {100 * max(arc):.0f} points"
    weak = next(log for log in logs["logs"] if log["baseline"] < 0.1)
    yield f"answers {100 * weak['baseline']:.0f} % rightly"


def _write_log(log: Any) -> Iterator[str]:
    yield log["log"].replace("slurm-", "")
    yield str(log["rows"])
    yield f"{100 * log['baseline']:.1f} %"
    yield f"{log['rounds']}{'' if log['finished'] else ', cut'}"
    yield f"{100 * log['gain']:.1f} ({log['best_drops']})"
    yield " / ".join(f"{100 * answer['optimism']:.1f}" for answer in log["answers"])
    yield " / ".join(f"{answer['p']:.3f}" for answer in log["answers"])
    for answer in log["answers"]:
        if answer["share"] is None:
            yield "–"
        else:
            share, low, high = (
                f"{100 * part:.0f}".replace("-0", "0").replace("-", "−")
                for part in (answer["share"], *answer["share_ci95"])
            )
            yield f"{share} [{low}, {high}]"


def write_learners(study: Any, *trainings: Any) -> Iterator[str]:
    """What studies/README.md says of how learners were trained, a row for each width."""
    models = find(study["settings"], name="polynomials")["models"]
    for width in WIDTHS:
        of_width = [training for training in trainings if training["config"]["width"] == width]
        steps = [training["config"]["steps"] for training in of_width]
        said = f"{steps[0]:,}" + (f"; {steps[2]:,} for seed 2" if steps[2] != steps[0] else "")
        losses = ", ".join(f"{training['final_loss']:.4f}" for training in of_width)
        yield f"| {width} | {said} | {find(models, name=f'learner_{width}_0')['parameters']:,} | {losses} |"
    fewest, most = (find(models, name=f"learner_{width}_0")["parameters"] for width in (WIDTHS[0], WIDTHS[-1]))
    yield f"({fewest:,} at width {WIDTHS[0]}; {most:,} at width {WIDTHS[-1]})"
    yield f"four sizes that span {most / fewest:.0f} times the parameters"


def write_language_models(study: Any, length: Any, jump: Any) -> Iterator[str]:
    """What studies/README.md says of the models trained on text."""
    sizes = [find(study["settings"], name=name)["models"][0]["parameters"] for name in ("scan_length", "polarity")]
    yield f"A SCAN model has {sizes[0]:,} parameters"
    yield f"a movie model {sizes[1]:,}"
    held_out = length["held_out"]
    yield f"{100 * held_out['answers_right']:.1f} % of the held-out answers are right ({held_out['answer_loss']:.4f} nats per token)"
    yield f"({held_out['rows']:,} and {jump['held_out']['rows']:,} rows"


PARTS = (
    Part(
        "docs/study.md",
        "## What was found",
        ("results/claims/study.json", "results/claims/scaled_outputs.json"),
        write_study,
        no_results=(
            "every interval includes 0",
            "A learner tuned for 200 steps",
            "with 16 it is",
            ", with 8",
            "Scaled to 0.75 or 0.5",
            "at 0.25 and 0 not surely",
            "logits times 1/temperature",
            "fitted on the same 64 prompts",
            "0: greedy's plan is empty",
            "with 66 search prompts from 15 passages",
            *(
                "| 3 | all inconclusive: at the floor",
                "| 3 | all inconclusive |",
                "| 3 | C5 not supported",
                "| 1 | all inconclusive: one model",
            ),
        ),
    ),
    Part(
        "README.md",
        "## What the study found",
        ("results/claims/study.json", "results/claims/scaled_outputs.json"),
        write_readme,
        no_results=(
            "decides 39 % of the cases at 512 inputs, 79 % [50, 100] of these rightly",
            "37 of 53 gained where the classifier was surest, 8 of 41 where it was least sure",
        ),
    ),
    Part(
        "studies/README.md",
        "## Learners",
        (
            "results/claims/study.json",
            *(f"weights/learner_{width}_{seed}/training.json" for width in WIDTHS for seed in range(3)),
        ),
        write_learners,
        no_results=(
            "polynomials of degree 3",
            "its last 500 steps",
            "at most 0.055; one that answers 0 everywhere has 0.56",
            "missed it at 3,000 steps (0.0555) and was trained anew for 4,000",
            "seeds 0, 1, 2",
        ),
    ),
    Part(
        "studies/README.md",
        "## Language models",
        ("results/claims/study.json", *(f"weights/scan_{split}_0/training.json" for split in ("length", "jump"))),
        write_language_models,
        whole=False,
    ),
    Part(
        "docs/statistics.md",
        "## What selection explains of TALE's published gains",
        ("results/tale_logs.json",),
        write_tale,
        no_results=(
            "above 100 the winner is",
            "correlations of 0, 0.5 and 0.8",
            "At 0.8 full model",
            "0 / 0.5 / 0.8 | p: 0 / 0.5 / 0.8 | share explained: 0 [95 %] | 0.5 | 0.8 |",
            "one of 32 layers",
            "joins them at 0.8",
            "of MATH-500",
            "GSM8K-hard",
            "Searches of 250 to 1,000 rows",
        ),
    ),
)
"""All that is held. Phrases under `no_results` are of the design, or of measurements whose record is not kept here."""
