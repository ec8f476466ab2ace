"""How TALE's code finds an answer in a text, faults included: for comparison with it, never for a result of its own.

Source: github.com/omyokun/tale, commit da8bb75, `src/tale/search.py`.
"""

import re
from collections.abc import Collection

NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
NARROWER = (re.compile(r"\\boxed\{([^{}]+)\}"), re.compile(r"####\s*([^\n]+)"))
"""Where TALE looks for a number, if there is such a place: inside the first box, then behind the first ####."""


def find_letter(text: str, labels: Collection[str]) -> str | None:
    """The label a text begins with, else the first one that stands alone; in capitals, None where there is none.

    Wrong, since words begin with letters too: `Because` is B, `Answer: B` is A.
    """
    upper_text = text.strip().upper()
    if upper_text[:1] in labels:
        return upper_text[:1]
    match = re.search(rf"\b({'|'.join(map(re.escape, labels))})\b", upper_text)
    return match[0] if match else None


def find_number(text: str) -> str:
    """The last number of a text or of its box, as it is written without commas; the text itself where there is none.

    Wrong, since it takes numbers out of formulas: `\\frac{3}{4}` is 4, `2\\sqrt{5}` is 5. Gold answers are read in the
    same way, so wrong texts equal them; and `18.0` is not `18`.
    """
    text = text.strip()
    for narrower in NARROWER:
        match = narrower.search(text)
        text = match[1] if match else text
    numbers = NUMBER.findall(text)
    return numbers[-1].replace(",", "") if numbers else text.strip().strip(".")
