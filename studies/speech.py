"""What a speech recogniser makes of words: others that sound like them, run together, torn apart, missed, numbers spelt out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

SOUND_ALIKE = """
    to two too; for four fore; i eye; you u ewe; are r; there their they're; your you're yore; know no; right write; by buy bye;
    be bee; see sea; meet meat; need knead; here hear; new knew; week weak; would wood; one won; eight ate; its it's; what's watts;
    where wear; which witch; whole hole; way weigh; wait weight; time thyme; not knot; or oar ore; in inn; so sew; some sum; sun son;
    do due dew; die dye; fare fair; flight fright; plane plain; check cheque; bill bell; card cart; account a_count;
    balance ballots; score store; pin pen; loan lone; cent sent scent; cost coast; price prize; sale sail; mail male; fax facts; play pray;
    song sung; role roll; read reed; red bread; blue blew; flower flour; milk mink; steak stake; wine whine; tea tee; recipe receipt;
    cook crook; gas gust; oil oral; tire tyre tired; brake break; road rode; route root; train rain reign; hotel hostel; visa visor;
    travel gravel; weather whether; phone foam; call cull; text test; word world; spell spill; alarm a_lamb; timer time_or;
    reminder remind_her; calendar colander; today to_day; tomorrow to_morrow; night knight; hour our; minute minuet; month mouth;
    add ad; list lest; shop chop; want won't; tell tale; ask axe; make mate; set sat; send sand; find fined; please pleas;
    thanks tanks; name main; can can't; have half; has as; him hymn; his is; them then than; from form; about a_bout; before be_four;
    again a_gain; around a_round; away a_weigh; maybe may_be; into in_two; i'm aim; don't dont; let's lets; joke yolk; flip flit;
    insurance in_sure_ants; vacation vocation; direct die_wrecked; deposit the_posit; transfer trance_for; payment pavement;
    interest in_trust; taxes taxis; luggage baggage; reservation preservation; restaurant rest_or_aunt; calories galleries;
    traffic terrific; uber hoover; jump chump; volume column; whisper whisker; schedule sked_jewel; application a_plication;
    credit edit; report re_port; bank bang; month's months; change chains; limit limb_it; apply a_ply; number numb_her; current currant
"""
"""Words, or runs of them (to_day), one of which is heard for another."""

WEAK_WORDS = (
    "a", "an", "the", "to", "of", "in", "on", "at", "for", "is", "are", "am", "be", "do", "does", "did", "my", "me", "i", "it",
    "that", "and", "can", "could", "would", "will",
)  # fmt: skip
"""Short unstressed words, which a recogniser misses."""

SOUNDS = (
    ("ph", "f"), ("igh", "ie"), ("ck", "k"), ("tion", "shun"), ("th", "f"), ("wh", "w"), ("kn", "n"), ("ee", "ea"), ("oo", "u"),
    ("ou", "ow"), ("ai", "ay"), ("ing$", "in"), ("er$", "a"), ("ed$", "t"), ("s$", ""), ("b", "p"), ("p", "b"), ("d", "t"), ("t", "d"),
    ("g", "k"), ("k", "g"), ("v", "f"), ("f", "v"), ("z", "s"), ("m", "n"), ("n", "m"), ("e", "i"), ("i", "e"), ("a", "e"), ("o", "a"), ("u", "o"),
)  # fmt: skip
"""Spellings whose sounds are the same or near: other spellings first, then voiced for unvoiced, one nasal or vowel for another."""

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def _confusions() -> dict[str, tuple[str, ...]]:
    """What may be heard for each word of `SOUND_ALIKE`."""
    sets = [[word.replace("_", " ") for word in entry.split()] for entry in SOUND_ALIKE.split(";")]
    return {word: tuple(heard for heard in words if heard != word) for words in sets for word in words}


CONFUSIONS = _confusions()


def mishear(text: str, strength: float, rng: np.random.Generator) -> str:
    """Every word is misheard with a probability, in one of the ways that are possible for it."""
    words = text.split()
    draws, ways = rng.random((2, len(words)))
    heard, index = [], 0
    while index < len(words):
        word, following = words[index], " ".join(words[index + 1 : index + 2])
        if draws[index] >= strength:
            heard.append(word)
        else:
            options = list(mishearings(word, following))
            choice = options[int(len(options) * ways[index])]
            heard.append(choice)
            index += choice == word + following and following != ""
        index += 1
    return " ".join(word for word in heard if word)


def mishearings(word: str, following: str) -> Iterator[str]:
    """What may be heard for a word in front of another one: "" where it is missed, both in one where they run together.

    A number is only ever spelt out. A word that no rule changes is missed.
    """
    if re.search(r"\d", word):
        yield " ".join(re.sub(r"\d+", lambda digits: f" {spell_out(digits[0])} ", word).split())
        return
    yield from CONFUSIONS.get(word, ())
    if word in WEAK_WORDS:
        yield ""
    if following and not re.search(r"\d", following):
        yield word + following
    if torn := re.fullmatch(r"(\w{2,}?[aeiou]\w?)([^\W\d_aeiou][aeiou]\w+)", word):
        yield " ".join(torn.groups())
    sound = next(
        (
            changed
            for spelling, replacement in SOUNDS
            if (changed := re.sub(spelling, replacement, word, count=1)) != word
        ),
        None,
    )
    yield sound or ""


def spell_out(digits: str) -> str:
    """How a number is said: as a whole below a hundred, else digit by digit."""
    number = int(digits)
    if len(digits) > 2 or digits[0] == "0":
        return " ".join(UNITS[int(digit)] for digit in digits)
    if number < len(UNITS):
        return UNITS[number]
    return " ".join([TENS[number // 10 - 2], *([UNITS[number % 10]] if number % 10 else [])])
